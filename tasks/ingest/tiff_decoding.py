"""A TIFF's page as a picture: grey or BGR, as every viewer shows it.

tifffile reads what is stored plain or deflated, at any depth. What is compressed otherwise (LZW, JPEG, fax) is left to
Pillow, whose libtiff stops at damage; OpenCV's goes on and shows black, but stops where only it reads: deep.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image as Pillow
from PIL import UnidentifiedImageError

from tasks.errors import UnreadableRecording
from tasks.ingest.tiff_pages import INK, PALETTE, RGB, WHITE_IS_ZERO, YCBCR, Directory

Page = npt.NDArray[Any]
_BY_TIFFFILE = {1, 8, 32946, 32773}  # plain, deflated (two numbers), packed bits
_WHOLE_BITS, _SHIFTED = {1, 8, 16, 32, 64}, {10, 12, 14}
_TURNED: dict[int, Callable[[Page], Page]] = {
    2: lambda page: page[:, ::-1],
    3: lambda page: page[::-1, ::-1],
    4: lambda page: page[::-1],
    5: lambda page: page.swapaxes(0, 1),
    6: lambda page: page.swapaxes(0, 1)[:, ::-1],
    7: lambda page: page.swapaxes(0, 1)[::-1, ::-1],
    8: lambda page: page.swapaxes(0, 1)[::-1],
}
"""TIFF 6.0, tag Orientation."""


class Decoder:
    """Decodes pages of one open TIFF.

    Args:
        tiff: The file, open.
        source: The same file: a path, or its bytes.
    """

    def __init__(self, tiff: tifffile.TiffFile, source: Path | bytes) -> None:
        self._tiff, self._source = tiff, source
        self._pillow: Pillow.Image | None = None
        self._size: int = tiff.filehandle.size

    def close(self) -> None:
        """Close what was opened beside the file."""
        if self._pillow is not None:
            self._pillow.close()

    def page(self, stated: Directory) -> Page | None:
        """[h, w] grey or [h, w, 3] BGR in its own depth; None where it does not decode, whatever the reason.

        Deep grey of which white is zero comes as it is stored: the caller's stretch to 8 bits turns it round.

        Raises:
            UnreadableRecording: It is whole, and yet nobody can say what it shows.
            MemoryError: It does not fit.
        """
        if not (stated.width and stated.height):
            return None
        try:
            packed = stated.bits not in _WHOLE_BITS
            if packed or stated.compression not in _BY_TIFFFILE or stated.photometric in (INK, YCBCR):
                deep = stated.deep and (packed or stated.samples > 1)
                return self._by_opencv(stated) if deep else self._by_pillow(stated)
            page = self._tiff.pages.get(stated.index, aspage=True, cache=False)
            if not self._is_whole(page) or (page.imagewidth, page.imagelength) != (stated.width, stated.height):
                return None
            return shown(page, np.asarray(page.asarray()), stated)
        except (UnreadableRecording, MemoryError):
            raise
        except Exception:  # zlib.error, struct.error, assertions, ...: decoders fail in many ways on damage
            return None

    def _is_whole(self, page: tifffile.TiffPage) -> bool:
        """Whether all its parts are in the file (tifffile fills up what is missing with zeros), and none is a bomb.

        Compressing makes numbers hardly longer, even noise. What is twice as long inflates to something else.
        """
        if sum(page.databytecounts) > 2 * page.nbytes + 1024 * len(page.databytecounts):
            return False
        parts = zip(page.dataoffsets, page.databytecounts, strict=True)
        return all(offset > 0 and count > 0 and offset + count <= self._size for offset, count in parts)

    def _by_pillow(self, stated: Directory) -> Page | None:
        try:
            if self._pillow is None:
                source = io.BytesIO(self._source) if isinstance(self._source, bytes) else self._source
                self._pillow = Pillow.open(source, formats=("TIFF",))
            self._pillow.seek(stated.index)
            self._pillow.load()
            return _of_pillow(self._pillow.copy(), stated)
        except (UnidentifiedImageError, OSError, ValueError, SyntaxError, EOFError, KeyError, TypeError):
            with suppress(Exception):
                self.close()
            self._pillow = None  # its state is unknown after a failure
            return None

    def _by_opencv(self, stated: Directory) -> Page | None:
        """Deep colour, which Pillow would cut to 8 bits, and 10, 12 or 14 bits packed, which it does not know."""
        if isinstance(self._source, bytes):
            page = cv2.imdecode(np.frombuffer(self._source, np.uint8), cv2.IMREAD_UNCHANGED)
        else:
            done, pages = cv2.imreadmulti(str(self._source), stated.index, 1, flags=cv2.IMREAD_UNCHANGED)
            page = pages[0] if done and pages else None
        if page is None:
            return None
        if stated.bits in _SHIFTED and page.dtype == np.uint16:
            page = page >> (16 - stated.bits)  # OpenCV moves them up
        return page if page.ndim == 2 else np.ascontiguousarray(opaque(page)[..., :3])


def shown(page: tifffile.TiffPage, array: Page, stated: Directory) -> Page:
    """A page's values as a picture.

    Args:
        page: What it states.
        array: Its values, in the shape that tifffile gives them.
        stated: What it states, once more.

    Raises:
        UnreadableRecording: It has channels or a transparency that nobody can show for certain.
    """
    axes = page.axes
    array = array.reshape(page.shape)
    if "S" in axes:
        array = np.moveaxis(array, axes.index("S"), -1)
        axes = axes.replace("S", "") + "S"
    array = array.reshape(
        [length for axis, length in zip(axes, array.shape, strict=True) if axis in "YXS" or length > 1]
    )
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if stated.photometric == RGB:
        if array.ndim != 3 or array.shape[-1] < 3:
            raise UnreadableRecording(
                "the TIFF claims to be RGB, and has no three values a pixel", fix="export it as grey"
            )
        return _turned(np.ascontiguousarray(opaque(array)[..., 2::-1]), page)
    if array.ndim == 3:
        array = opaque(array)[..., 0]
    if array.dtype != np.bool_ and array.dtype.kind == "u" and stated.bits < 8 and stated.photometric != PALETTE:
        array = (array.astype(np.uint16) * 255 // (2**stated.bits - 1)).astype(np.uint8)
    if stated.photometric == PALETTE:
        array = _coloured(array, np.asarray(page.colormap))
    elif stated.photometric == WHITE_IS_ZERO and not stated.deep:
        array = ~array
    return _turned(array, page)


def opaque(array: Page) -> Page:
    """[..., samples], checked to be of no other than full opacity: viewers differ in what they show behind the rest.

    Raises:
        UnreadableRecording: It has a further channel that is not simply full everywhere.
    """
    colours = array.shape[-1] - 1 if array.shape[-1] in (2, 4) else 3
    for channel in range(colours, array.shape[-1]):
        extra = array[..., channel]
        full = np.iinfo(extra.dtype).max if extra.dtype.kind in "ui" else 1
        if not bool((extra == full).all()):
            raise UnreadableRecording(
                "a picture is transparent in parts, or has one channel more than its colours",
                expected="grey or RGB, fully opaque",
                fix="export it without the alpha channel; a further stain belongs to pages of grey, one each",
            )
    return array


def _coloured(array: Page, table: Page) -> Page:
    """Indices looked up in the page's colour table [3, n]; a table of greys gives a grey picture."""
    table = np.asarray(table if table.max(initial=0) < 256 else table >> 8).astype(np.uint8)
    indices = array.astype(np.uint8) if array.dtype == np.bool_ else array
    if bool((table[0] == table[1]).all() and (table[1] == table[2]).all()):
        return np.asarray(table[0][indices])
    return np.ascontiguousarray(np.moveaxis(table[::-1][:, indices], 0, -1))


def _turned(array: Page, page: tifffile.TiffPage) -> Page:
    turn = _TURNED.get(int(page.tags.valueof(274, default=1) or 1))
    return array if turn is None else np.ascontiguousarray(turn(array))


def _of_pillow(image: Pillow.Image, stated: Directory) -> Page | None:
    """Pillow's picture, turned as the file says; it has applied what is white, and the ink."""
    if image.mode in ("1", "L", "I", "F") or image.mode.startswith("I;"):
        array = np.asarray(image)
        return array.astype(array.dtype.newbyteorder("="), copy=False)
    if image.mode in ("LA", "La"):
        return np.asarray(opaque(np.asarray(image))[..., 0])
    if image.mode in ("RGBA", "RGBa"):
        return np.ascontiguousarray(opaque(np.asarray(image))[..., 2::-1])
    if image.mode not in ("P", "PA", "RGB", "RGBX", "CMYK", "YCbCr"):
        return None
    colours = np.asarray(image.convert("RGB"))
    if stated.photometric == PALETTE and bool((colours == colours[..., :1]).all()):
        return np.ascontiguousarray(colours[..., 0])
    return np.ascontiguousarray(colours[..., ::-1])


def is_tiff(data: bytes) -> bool:
    """Whether a picture file is a TIFF."""
    return data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def open_tiff(source: BinaryIO) -> tifffile.TiffFile:
    """Open a TIFF so that nothing in it makes tifffile open other files: its name for them is no reason to."""
    return tifffile.TiffFile(source, _multifile=False, is_mmstack=False)
