"""Image stacks: multi-page TIFF files, and folders of images packed into one ZIP.

Every page is decoded once to see that it is whole (and, beyond 8 bits, how bright the stack gets); frame `i` is the
i-th page that decodes. Pages of more than 8 bits become 8 bits by one linear scale for the whole stack, from its
0.01th to its 99.99th percentile: hot pixels do not dim the rest, and brightness stays comparable between frames.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt
import tifffile

from tasks.errors import UnreadableRecording
from tasks.ingest.calibration import Calibration, calibration_of
from tasks.ingest.formats import IMAGE_SUFFIXES, Format, check_page_chain
from tasks.ingest.images import Image, MediaType, decode_image, jpeg_as_it_is, png_as_it_is
from tasks.ingest.media import Media, check_complete, mean_rate
from tasks.ingest.names import natural_key, split_suffix
from tasks.ingest.sampling import Pts, Sink

LOW_PERCENTILE, HIGH_PERCENTILE = 0.01, 99.99
_PLAIN_PAGES = 64  # enough to scale floating-point stacks by
_MAX_IMAGE_BYTES = 2**30
_Page = npt.NDArray[Any]


class _Pages(Protocol):
    """The pages of a stack, read when asked for."""

    container: str
    codec: str
    announced: int
    calibration: Calibration
    names: list[str] | None
    """Of the pages, where each is a picture with a name of its own."""

    def __len__(self) -> int: ...

    def page(self, number: int) -> _Page | None:
        """[h, w] or [h, w, 3] BGR in its own depth; None where it does not decode."""

    def as_it_is(self, number: int) -> tuple[Image, tuple[bytes, MediaType]] | None:
        """The page's picture and its file, where a browser can show that."""


def read(path: Path, kind: Format, sink: Sink, *, fps_hz: float | None = None) -> tuple[Media, Pts]:
    """Read a stack and give the wanted frames to `sink`.

    Args:
        path: A local file.
        kind: `Format.TIFF` or `Format.IMAGES`.
        sink: Says which frames it wants.
        fps_hz: Frames per second as the user states them; else what the file states; else there is no time.

    Returns:
        What the stack is, and the timestamps of its frames: index / fps, or NaN without a rate.

    Raises:
        UnreadableRecording: It cannot be read, or less than 98 % of its pages can.
    """
    with _opened(path, kind) as pages:
        whole, size, scale = _survey(pages)
        rate = fps_hz or pages.calibration.fps_hz
        pts = np.arange(len(whole)) / rate if rate else np.full(len(whole), np.nan)
        timing = mean_rate(pts, stated_hz=rate)
        media = Media(
            container=pages.container,
            codec=pages.codec,
            width_px=size[0],
            height_px=size[1],
            fps_hz=rate,
            variable_frame_rate=False,
            duration_s=timing.duration_s,
            frames_announced=max(pages.announced, len(pages)),
            frames_decoded=len(whole),
            um_per_px=pages.calibration.um_per_px,
            frame_names=None if pages.names is None else [pages.names[number] for number in whole],
        )
        check_complete(media)
        sink.plan(pts)
        for index, number in enumerate(whole):
            if sink.wants(index, float(pts[index])):
                _take(pages, number, scale, sink, index, float(pts[index]))
                if sink.done:
                    break
    return media, pts


def _take(pages: _Pages, number: int, scale: tuple[float, float] | None, sink: Sink, index: int, pts_s: float) -> None:
    ready = pages.as_it_is(number)
    if ready is not None:
        sink.take(index, pts_s, *ready)
        return
    page = pages.page(number)
    if page is None:
        raise UnreadableRecording(f"page {number} could be read once but not twice", fix="is the disk well?")
    sink.take(index, pts_s, to_8_bits(page, scale))


def _survey(pages: _Pages) -> tuple[list[int], tuple[int, int], tuple[float, float] | None]:
    """Which pages decode; (width, height) of the first; and the scale to 8 bits, if one is needed."""
    whole: list[int] = []
    size, histogram, spread = (1, 1), None, []
    for number in range(len(pages)):
        page = pages.page(number)
        if page is None or not page.size:
            continue
        if not whole:
            size = (page.shape[1], page.shape[0])
        whole.append(number)
        if page.dtype == np.uint16:
            counts = np.bincount(page.ravel(), minlength=2**16)
            histogram = counts if histogram is None else histogram + counts
        elif page.dtype not in (np.uint8, np.bool_) and number % max(1, len(pages) // _PLAIN_PAGES) == 0:
            spread.append(np.nanpercentile(page, (LOW_PERCENTILE, HIGH_PERCENTILE)))
    if histogram is not None:
        share = np.cumsum(histogram) / histogram.sum() * 100
        low, high = np.searchsorted(share, (LOW_PERCENTILE, HIGH_PERCENTILE))
        return whole, size, (float(low), float(high))
    if spread:
        return whole, size, (float(min(low for low, _ in spread)), float(max(high for _, high in spread)))
    return whole, size, None


def to_8_bits(page: _Page, scale: tuple[float, float] | None) -> Image:
    """A page as uint8: as it is where it has 8 bits, else `scale` (low, high) stretched over 0..255 and clipped."""
    if page.dtype == np.uint8:
        return page
    if page.dtype == np.bool_:
        return page.astype(np.uint8) * np.uint8(255)
    low, high = scale or (float(page.min()), float(page.max()))
    stretched = (np.nan_to_num(page.astype(np.float64)) - low) * (255.0 / max(high - low, 1e-12))
    return np.rint(np.clip(stretched, 0, 255)).astype(np.uint8)


@contextmanager
def _opened(path: Path, kind: Format) -> Iterator[_Pages]:
    try:
        if kind is Format.TIFF:
            check_page_chain(path)
            with tifffile.TiffFile(path) as tiff:
                yield _TiffPages(tiff, path)
        else:
            with zipfile.ZipFile(path) as archive:
                yield _ZippedImages(archive)
    except (tifffile.TiffFileError, zipfile.BadZipFile, OSError, EOFError, IndexError, KeyError, ValueError) as error:
        title = "TIFF stack" if kind is Format.TIFF else "packed folder of images"
        raise UnreadableRecording(f"the {title} cannot be read ({error})", fix="export it again") from error


class _TiffPages:
    """A TIFF's first series: one axis of frames, or a single picture."""

    container = "tiff"
    names: list[str] | None = None

    def __init__(self, tiff: tifffile.TiffFile, path: Path) -> None:
        self._path = path
        series = tiff.series[0]
        axes = dict(zip(series.axes, series.shape, strict=True))
        stacked = {axis: length for axis, length in axes.items() if axis not in "YXS" and length > 1}
        if len(stacked) > 1:
            found = ", ".join(f"{axis}={length}" for axis, length in stacked.items())
            raise UnreadableRecording(
                "the TIFF has several axes beside height and width",
                expected="one: frames over time",
                found=found,
                fix="export one channel and one plane",
            )
        stated = int((tiff.imagej_metadata or {}).get("images", 1)) if tiff.is_imagej else 1
        self.announced = max(stated, next(iter(stacked.values()), 1))
        self.calibration = calibration_of(tiff)
        self.codec = f"tiff-{tiff.pages.first.compression.name.lower()}"
        # ImageJ writes stacks beyond 4 GB, and any contiguous ones, as one page and the rest of the pixels behind it.
        self._flat = self._mapped(series, path) if len(series.pages) < self.announced else None
        self._pages = [page for page in series.pages if page is not None]

    def _mapped(self, series: tifffile.TiffPageSeries, path: Path) -> npt.NDArray[Any]:
        shape = (self.announced, *series.keyframe.shape)
        room = (path.stat().st_size - series.dataoffset) // (int(np.prod(shape[1:])) * series.dtype.itemsize)
        dtype = series.dtype.newbyteorder(series.parent.byteorder)
        return np.memmap(path, dtype, "r", series.dataoffset, (min(room, self.announced), *shape[1:]))

    def __len__(self) -> int:
        return len(self._pages) if self._flat is None else len(self._flat)

    def page(self, number: int) -> _Page | None:
        if self._flat is not None:
            native = self._flat.dtype.newbyteorder("=")
            return _as_bgr(np.ascontiguousarray(self._flat[number]).astype(native, copy=False))
        try:
            return _as_bgr(np.asarray(self._pages[number].asarray()))
        except (ValueError, RuntimeError, OSError, KeyError, IndexError, tifffile.TiffFileError):
            return self._by_opencv(number)

    def _by_opencv(self, number: int) -> _Page | None:
        """Compressions that tifffile leaves to others (LZW, JPEG), through OpenCV's libtiff."""
        try:
            done, pages = cv2.imreadmulti(str(self._path), number, 1, flags=cv2.IMREAD_UNCHANGED)
        except cv2.error:
            return None
        return _without_alpha(pages[0]) if done and pages else None

    def as_it_is(self, number: int) -> None:
        """No browser shows a TIFF."""
        return None


class _ZippedImages:
    """The images of a packed folder, in natural order of their names."""

    container = "images"

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self.calibration = Calibration(None, None)
        entries = (entry for entry in archive.infolist() if split_suffix(entry.filename)[1].lower() in IMAGE_SUFFIXES)
        self._entries = sorted(entries, key=lambda entry: natural_key(entry.filename))
        self.announced = len(self._entries)
        self.names: list[str] | None = [entry.filename for entry in self._entries]
        self.codec = split_suffix(self._entries[0].filename)[1].lower().lstrip(".") if self._entries else "none"

    def __len__(self) -> int:
        return len(self._entries)

    def _bytes(self, number: int) -> bytes:
        entry = self._entries[number]
        if entry.file_size > _MAX_IMAGE_BYTES:
            return b""
        try:
            return self._archive.read(entry)
        except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, NotImplementedError):
            return b""  # damaged, encrypted or oddly compressed: a lost frame

    def page(self, number: int) -> _Page | None:
        page = decode_image(self._bytes(number))
        return None if page is None else _without_alpha(page)

    def as_it_is(self, number: int) -> tuple[Image, tuple[bytes, MediaType]] | None:
        data = self._bytes(number)
        image = jpeg_as_it_is(data)
        if image is not None:
            return image, (data, "image/jpeg")
        image = png_as_it_is(data)
        return None if image is None else (image, (data, "image/png"))


def _as_bgr(page: _Page) -> _Page:
    """tifffile's RGB(A) or grey page; axes of length one are dropped."""
    squeezed = page.reshape([length for length in page.shape[:-2] if length > 1] + list(page.shape[-2:]))
    if squeezed.ndim == 3 and squeezed.shape[0] in (3, 4) and squeezed.shape[-1] not in (3, 4):
        squeezed = np.moveaxis(squeezed, 0, -1)  # planar colour
    if squeezed.ndim == 3 and squeezed.shape[-1] in (3, 4):
        return np.ascontiguousarray(squeezed[..., 2::-1])
    return squeezed[..., 0] if squeezed.ndim == 3 and squeezed.shape[-1] <= 2 else squeezed


def _without_alpha(page: _Page) -> _Page:
    return np.ascontiguousarray(page[..., :3]) if page.ndim == 3 and page.shape[-1] == 4 else page
