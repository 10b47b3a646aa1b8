"""Image stacks: multi-page TIFF files, folders of images packed into one ZIP, and stills, which are stacks of one.

What a page claims is looked at first (`tasks.ingest.limits`). Then every page is decoded once to see that it is whole
(and, beyond 8 bits, how bright the stack gets); frame `i` is the i-th page that decodes. Pages of more than 8 bits
become 8 bits by one linear scale for the whole stack, from its 0.01th to its 99.99th percentile, which is recorded: hot
pixels do not dim the rest, and brightness stays comparable between frames.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import tifffile

from tasks.config import IngestLimits
from tasks.errors import UnreadableRecording
from tasks.ingest.calibration import Calibration, calibration_of
from tasks.ingest.channels import ChannelPicture, has_channels, says_channels
from tasks.ingest.formats import IMAGE_SUFFIXES, Format
from tasks.ingest.grey import Brightness, Range, stretched
from tasks.ingest.images import Image, MediaType, claimed_size, decode_image, kept_jpeg, kept_png
from tasks.ingest.limits import Budget
from tasks.ingest.media import Media, check_complete, mean_rate
from tasks.ingest.names import natural_key, split_suffix
from tasks.ingest.packing import check_entries
from tasks.ingest.sampling import Pts, Sink
from tasks.ingest.single_picture import SinglePicture, encode_png
from tasks.ingest.tiff_decoding import Decoder, is_tiff, open_tiff, shown
from tasks.ingest.tiff_pages import directories, frames_of
from tasks.ingest.tiff_series import order_of
from tasks.schemas import STILL

_PLAIN_PAGES = 64  # enough to scale floating-point stacks by
_COUNTED_AT_ONCE = 2**22
_Page = npt.NDArray[Any]
_DAMAGE = (
    tifffile.TiffFileError, zipfile.BadZipFile, zlib.error, struct.error, OSError, EOFError, LookupError, ValueError,
    TypeError, AssertionError, ArithmeticError, NotImplementedError, RuntimeError,
)  # fmt: skip


class _Pages(Protocol):
    """The pages of a stack, read when asked for."""

    container: str
    codec: str
    announced: int
    calibration: Calibration
    names: list[str] | None
    """Of the pages, where each is a picture with a name of its own."""
    reversed_grey: bool
    lossless: bool
    """Whether what has to be encoded anew becomes a PNG, not a JPEG."""

    def __len__(self) -> int: ...

    def admit(self, number: int) -> None:
        """Look at what a page claims before it is decoded, if that has not been done."""

    def page(self, number: int) -> _Page | None:
        """[h, w] or [h, w, 3] BGR in its own depth; None where it does not decode."""

    def as_it_is(self, number: int) -> tuple[Image, tuple[bytes, MediaType]] | None:
        """The page's picture and its file, where a browser can show that."""


def read(
    path: Path,
    kind: Format,
    sink: Sink,
    *,
    fps_hz: float | None = None,
    grey_range: Range | None = None,
    limits: IngestLimits | None = None,
    channels: Mapping[str, int] | None = None,
) -> tuple[Media, Pts]:
    """Read a stack and give the wanted frames to `sink`.

    Args:
        path: A local file.
        kind: `Format.TIFF`, `Format.IMAGES` or `Format.STILL`.
        sink: Says which frames it wants.
        fps_hz: Frames per second as the user states them; else what the file states; else there is no time.
        grey_range: The values that frames show as black and white, where an earlier reading has settled them.
        limits: How much it may ask of this machine.
        channels: Of a still of several channels, which is what; None: unknown; empty: such a still is refused.

    Returns:
        What the stack is, and the timestamps of its frames: index / fps, or NaN without a rate.

    Raises:
        UnreadableRecording: It cannot be read, less than 98 % of its pages can, or it is beyond the limits.
    """
    with _opened(path, kind, limits or IngestLimits(), channels) as pages:
        survey = _survey(pages)
        scale = (grey_range or survey.scale) if survey.scale else None
        rate = fps_hz or pages.calibration.fps_hz
        pts = np.arange(len(survey.whole)) / rate if rate else np.full(len(survey.whole), np.nan)
        timing = mean_rate(pts, stated_hz=rate)
        media = Media(
            container=pages.container,
            codec=pages.codec,
            width_px=survey.size[0],
            height_px=survey.size[1],
            fps_hz=rate,
            variable_frame_rate=False,
            duration_s=timing.duration_s,
            frames_announced=max(pages.announced, len(pages)),
            frames_decoded=len(survey.whole),
            um_per_px=pages.calibration.um_per_px,
            frame_names=None if pages.names is None else [pages.names[number] for number in survey.whole],
            grey_low=scale[0] if scale else None,
            grey_high=scale[1] if scale else None,
        )
        check_complete(media)
        sink.plan(pts)
        for index, number in enumerate(survey.whole):
            if sink.wants(index, float(pts[index])):
                _take(pages, number, scale, sink, index, float(pts[index]))
                if sink.done:
                    break
    return media, pts


def _take(pages: _Pages, number: int, scale: Range | None, sink: Sink, index: int, pts_s: float) -> None:
    ready = pages.as_it_is(number)
    if ready is not None:
        sink.take(index, pts_s, *ready)
        return
    page = pages.page(number)
    if page is None:
        raise UnreadableRecording(f"page {number} could be read once but not twice", fix="is the disk well?")
    image = to_8_bits(page, scale)
    sink.take(index, pts_s, image, (encode_png(image), "image/png") if pages.lossless else None)


@dataclass(frozen=True)
class _Survey:
    """Which pages decode; (width, height) of the first; and the scale to 8 bits, if one is needed."""

    whole: list[int]
    size: tuple[int, int]
    scale: Range | None


def _survey(pages: _Pages) -> _Survey:
    whole: list[int] = []
    size, brightness = (1, 1), Brightness()
    for number in range(len(pages)):
        pages.admit(number)
        page = pages.page(number)
        if page is None or not page.size:
            continue
        if not whole:
            size = (page.shape[1], page.shape[0])
        whole.append(number)
        if page.dtype == np.uint16:
            values = page.reshape(-1)
            for start in range(0, values.size, _COUNTED_AT_ONCE):
                brightness.see(values[start : start + _COUNTED_AT_ONCE])
        elif page.dtype not in (np.uint8, np.bool_) and number % max(1, len(pages) // _PLAIN_PAGES) == 0:
            brightness.see(page)
    scale = brightness.range
    return _Survey(whole, size, scale[::-1] if scale and pages.reversed_grey else scale)


def to_8_bits(page: _Page, scale: Range | None) -> Image:
    """A page as uint8: as it is where it has 8 bits, else `scale` (low, high) stretched over 0..255 and clipped.

    `low` is what becomes black; it is the larger number where the page shows large values dark.
    """
    if page.dtype == np.uint8:
        return page
    if page.dtype == np.bool_:
        return page.astype(np.uint8) * np.uint8(255)
    low, high = scale or (float(page.min()), float(page.max()))
    if page.dtype == np.uint16:  # looked up: a few times faster, and no page of wide numbers
        table = stretched(np.arange(2**16), (min(low, high), max(low, high)))
        return np.asarray((table if low <= high else 255 - table)[page])
    return stretched(page, (low, high)) if low <= high else 255 - stretched(page, (high, low))


@contextmanager
def _opened(path: Path, kind: Format, limits: IngestLimits, channels: Mapping[str, int] | None) -> Iterator[_Pages]:
    budget = Budget(limits, path.stat().st_size)
    try:
        if kind is Format.STILL and not is_tiff(head_of(path)):
            yield SinglePicture(path.read_bytes(), budget)
        elif kind in (Format.TIFF, Format.STILL):
            # Opened here: tifffile resolves links first, and an upload's place in /proc leads to no name.
            with path.open("rb") as file, open_tiff(file) as tiff:
                if kind is Format.STILL and channels != {} and has_channels(tiff, named=bool(channels)):
                    yield ChannelPicture(tiff, budget, channels)
                    return
                pages = _TiffPages(tiff, path, budget, limits)
                try:
                    if kind is Format.STILL:
                        _be_still(pages)
                    yield pages
                finally:
                    pages.close()
        else:
            with zipfile.ZipFile(path) as archive:
                yield _ZippedImages(archive, budget)
    except UnreadableRecording:
        raise
    except _DAMAGE as error:
        titles = {Format.TIFF: "TIFF stack", Format.STILL: "picture"}
        title = titles.get(kind, "packed folder of images")
        raise UnreadableRecording(f"the {title} cannot be read ({error})", fix="export it again") from error


def is_one_picture(path: Path, channels: Mapping[str, int], most: int) -> bool:
    """Whether a TIFF is one picture, by what it says of its pages: nothing is decoded.

    Args:
        path: A local file. One that is damaged is no picture: whoever reads it as a stack will say what is wrong.
        channels: Where there are any, pages of which the file says nothing are channels; else they are frames.
        most: Pages that are followed.
    """
    try:
        with path.open("rb") as file, open_tiff(file) as tiff:
            if has_channels(tiff, named=bool(channels)):
                return bool(channels) or says_channels(tiff)
            frames = frames_of(directories(file, path.stat().st_size, most))
            return len(frames) == 1 == order_of(tiff, frames).announced
    except (UnreadableRecording, *_DAMAGE):
        return False


def head_of(path: Path) -> bytes:
    """A file's first bytes."""
    with path.open("rb") as file:
        return file.read(16)


class _TiffPages:
    """All pages of a TIFF that are frames; `reversed_grey` where large values are dark and must be stretched."""

    container = "tiff"
    names: list[str] | None = None
    lossless = False

    def __init__(self, tiff: tifffile.TiffFile, path: Path, budget: Budget, limits: IngestLimits) -> None:
        size = path.stat().st_size
        with path.open("rb") as file:
            frames = frames_of(directories(file, size, limits.pictures))
        stated = next(page for page in frames if page.width)
        budget.spend(stated.width, stated.height, pictures=len(frames), bytes_per_px=stated.bytes_per_px)
        order = order_of(tiff, frames)
        self.announced = order.announced
        self.reversed_grey = stated.white_is_zero and stated.deep
        self.calibration = calibration_of(tiff)
        self.codec = f"tiff-{_compression(stated.compression)}"
        self._decoder = Decoder(tiff, path)
        by_index = {page.index: page for page in frames}
        self._pages = [by_index[index] for index in order.pages]
        # ImageJ writes stacks beyond 4 GB, and any contiguous ones, as one page and the rest of the pixels behind it.
        self._first, self._stated = tiff.pages.first, stated
        self._flat = self._mapped(path) if len(frames) == 1 < self.announced else None

    def _mapped(self, path: Path) -> npt.NDArray[Any]:
        page = self._first
        if page.compression != 1 or not page.is_contiguous or page.bitspersample % 8 or not page.nbytes:
            raise UnreadableRecording(
                f"the TIFF announces {self.announced} frames, and has one page that is not followed by the others",
                fix="export it again, one page a frame",
            )
        room = (path.stat().st_size - page.dataoffsets[0]) // page.nbytes
        dtype = page.dtype.newbyteorder(page.parent.byteorder)
        shape = (min(room, self.announced), *page.shape)
        return np.memmap(path, dtype, "r", page.dataoffsets[0], shape)

    def __len__(self) -> int:
        return len(self._pages) if self._flat is None else len(self._flat)

    def admit(self, number: int) -> None:
        """All were looked at before."""

    def close(self) -> None:
        """Close what is open beside the file."""
        self._decoder.close()

    def page(self, number: int) -> _Page | None:
        if self._flat is None:
            return self._decoder.page(self._pages[number])
        native = self._flat.dtype.newbyteorder("=")
        plane = np.ascontiguousarray(self._flat[number]).astype(native, copy=False)
        return shown(self._first, plane, self._stated)

    def as_it_is(self, number: int) -> None:
        """No browser shows a TIFF."""
        return None


def _be_still(pages: _TiffPages) -> None:
    if len(pages) > 1 or pages.announced > 1:
        raise UnreadableRecording(
            f"has {max(len(pages), pages.announced)} pages",
            expected="one picture a file",
            fix="add it as a stack, without --stills",
        )
    pages.container, pages.lossless = STILL, True


def _compression(number: int) -> str:
    try:
        return str(tifffile.COMPRESSION(number).name).lower()
    except ValueError:
        return str(number)


class _ZippedImages:
    """The images of a packed folder, in natural order of their names. What an archiver adds to a folder is none."""

    container = "images"
    reversed_grey = False
    lossless = False

    def __init__(self, archive: zipfile.ZipFile, budget: Budget) -> None:
        self._archive, self._budget = archive, budget
        self._last = (-1, b"")
        self.calibration = Calibration(None, None)
        budget.count(len(archive.infolist()))
        entries = [entry for entry in archive.infolist() if _is_picture(entry.filename)]
        check_entries(archive, entries)
        self._entries = sorted(entries, key=lambda entry: natural_key(entry.filename))
        self.announced = len(self._entries)
        self.names: list[str] | None = [entry.filename for entry in self._entries]
        self.codec = split_suffix(self._entries[0].filename)[1].lower().lstrip(".") if self._entries else "none"

    def __len__(self) -> int:
        return len(self._entries)

    def name(self, number: int) -> str:
        """The picture's file name."""
        return self._entries[number].filename

    def _bytes(self, number: int) -> bytes:
        if self._last[0] != number:
            self._last = (number, self._inflated(number))
        return self._last[1]

    def _inflated(self, number: int) -> bytes:
        entry = self._entries[number]
        try:
            with self._archive.open(entry) as packed:
                return packed.read(entry.file_size + 1)  # with a number: without, it inflates whatever comes
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, NotImplementedError):
            return b""  # damaged, encrypted or oddly compressed: a lost frame

    def admit(self, number: int) -> None:
        self._budget.inflate(self._entries[number].file_size)
        size = claimed_size(self._bytes(number))
        if size is not None:
            self._budget.spend(*size, bytes_per_px=3)

    def page(self, number: int) -> _Page | None:
        try:
            return decode_image(self._bytes(number))
        except UnreadableRecording as error:
            raise UnreadableRecording(
                f"picture {self.name(number)!r}: {error.thing}",
                expected=error.expected,
                found=error.found,
                fix=error.fix,
            ) from error

    def as_it_is(self, number: int) -> tuple[Image, tuple[bytes, MediaType]] | None:
        data = self._bytes(number)
        kept = kept_jpeg(data)
        if kept is not None:
            return kept[0], (kept[1], "image/jpeg")
        kept = kept_png(data)
        return None if kept is None else (kept[0], (kept[1], "image/png"))


def _is_picture(name: str) -> bool:
    """Whether an entry is a picture of the folder, and not a system's own business (`__MACOSX/._a.png`)."""
    parts = name.replace("\\", "/").split("/")
    hidden = parts[0] == "__MACOSX" or parts[-1].startswith("._")
    return not hidden and split_suffix(parts[-1])[1].lower() in IMAGE_SUFFIXES
