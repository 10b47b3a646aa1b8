"""A frame as a picture file: encoding, and recognising files that can be stored as they are.

Frames are kept as JPEG of quality 95 without chroma subsampling. Nearly all recordings come from lossy video, whose own
losses are many times larger; PNG would be three to five times the bytes for annotators to load and trainers to read.
What is a JPEG or an 8-bit PNG already (MJPEG packets, folders of images) is stored as it is, hence without any loss,
but not its metadata: where, when and by which camera it was taken, or its thumbnail, goes to no annotator.
"""

from __future__ import annotations

import io
import struct
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow

from tasks.errors import UnreadableRecording
from tasks.ingest.colour import in_srgb, shows_the_same
from tasks.ingest.stripping import Plain, stripped
from tasks.ingest.tiff_decoding import Decoder, is_tiff, opaque, open_tiff
from tasks.ingest.tiff_pages import directories, frames_of

Image = npt.NDArray[np.uint8]
MediaType = Literal["image/jpeg", "image/png"]
_MOST_PAGES = 1000

_QUALITY = (
    int(cv2.IMWRITE_JPEG_QUALITY), 95,
    int(cv2.IMWRITE_JPEG_SAMPLING_FACTOR), int(cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
)  # fmt: skip


def encode_jpeg(image: Image) -> bytes:
    """A picture as JPEG; the same picture gives the same bytes.

    Args:
        image: [h, w] grey or [h, w, 3] BGR, uint8.
    """
    done, data = cv2.imencode(".jpg", image, _QUALITY)
    if not done:
        raise ValueError(f"an image of shape {image.shape}, {image.dtype} cannot be a JPEG")
    return data.tobytes()


def kept_jpeg(data: bytes, size_px: tuple[int, int] | None = None) -> tuple[Image, bytes] | None:
    """The decoded picture, and the file to keep, where `data` is a whole JPEG that any browser shows; else None.

    MJPEG packets are not always that: some lack the Huffman tables (a common abbreviation in AVI), hold one field of
    two, or were cut; photos may need turning (EXIF). Those are decoded and encoded anew by the caller. The file to keep
    is the same picture, bit for bit, without metadata.

    Args:
        data: The file's bytes.
        size_px: The (width, height) that the picture must have.
    """
    plain = stripped(data) if data[:2] == b"\xff\xd8" else None
    if plain is None or (size_px is not None and (plain.width_px, plain.height_px) != size_px):
        return None
    return _kept(plain, data)


def kept_png(data: bytes) -> tuple[Image, bytes] | None:
    """The same for a PNG of 8 bits, grey or RGB, fully opaque."""
    plain = stripped(data) if data[:4] == b"\x89PNG" else None
    return None if plain is None else _kept(plain, data)


def _kept(plain: Plain, original: bytes) -> tuple[Image, bytes] | None:
    if not plain.browsable or plain.animated:
        return None
    if plain.profile is not None and not shows_the_same(plain.profile, plain.channels):
        return None
    image = _decoded(plain.data, cv2.IMREAD_COLOR)
    if image is None or (plain.had_exif and not _same(image, _decoded(original, cv2.IMREAD_COLOR))):
        return None
    return image, plain.data


def _same(one: Image, other: Image | None) -> bool:
    return other is not None and np.array_equal(one, other)


def claimed_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) that a picture file claims, before anything of it is decoded.

    None where it is no whole PNG, JPEG, BMP or TIFF; other kinds are not read, whatever they are called.
    """
    if is_tiff(data):
        first = next(iter(directories(io.BytesIO(data), len(data), _MOST_PAGES)), None)
        return None if first is None or not first.width or not first.height else (first.width, first.height)
    if data[:2] == b"BM" and len(data) > 26:
        kind, size = ("<HH", data[18:22]) if data[14:18] == b"\x0c\0\0\0" else ("<ii", data[18:26])
        width, height = struct.unpack(kind, size)
        return abs(width), abs(height)
    plain = stripped(data)
    return None if plain is None else (plain.width_px, plain.height_px)


def decode_image(data: bytes) -> npt.NDArray[Any] | None:
    """A PNG, JPEG, BMP or TIFF as [h, w] or [h, w, 3] BGR in its own depth, turned as it says; None if it is damaged.

    Pictures of 8 bits come in the colours that a browser shows (their profile is applied).

    Raises:
        UnreadableRecording: It is whole, and yet nobody can say what it shows: transparent, animated, several pages.
    """
    if is_tiff(data):
        return _tiff(data)
    plain = None if data[:2] == b"BM" else stripped(data)
    if plain is None and data[:2] != b"BM":
        return None
    if plain is not None and plain.animated:
        raise UnreadableRecording("is an animation", expected="one picture a file", fix="export its frames")
    flags = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
        if image is not None and plain is not None and plain.transparent:
            opaque(_with_alpha(plain))
    except (cv2.error, OSError, ValueError, SyntaxError):
        return None
    if image is None or plain is None or plain.profile is None or image.dtype != np.uint8:
        return image
    image = image.astype(np.uint8, copy=False)
    return image if shows_the_same(plain.profile, plain.channels) else in_srgb(image, plain.profile)


def _with_alpha(plain: Plain) -> npt.NDArray[Any]:
    if not plain.key_colour:
        return np.atleast_3d(np.asarray(cv2.imdecode(np.frombuffer(plain.data, np.uint8), cv2.IMREAD_UNCHANGED)))
    with Pillow.open(io.BytesIO(plain.data), formats=("PNG",)) as image:  # OpenCV passes over it
        return np.asarray(image.convert("RGBA"))


def _tiff(data: bytes) -> npt.NDArray[Any] | None:
    frames = frames_of(directories(io.BytesIO(data), len(data), _MOST_PAGES))
    if len(frames) > 1:
        raise UnreadableRecording(f"has {len(frames)} pages", expected="one picture a file", fix="add it as a stack")
    with open_tiff(io.BytesIO(data)) as tiff:
        decoder = Decoder(tiff, data)
        try:
            page = decoder.page(frames[0])
        finally:
            decoder.close()
    if page is None or not (frames[0].deep and frames[0].white_is_zero):
        return page
    return (2 ** frames[0].bits - 1 - page).astype(page.dtype) if page.dtype.kind == "u" else -page


def _decoded(data: bytes, flags: int) -> Image | None:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None
    return None if image is None else image.astype(np.uint8, copy=False)
