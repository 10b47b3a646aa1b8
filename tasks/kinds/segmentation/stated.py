"""What a picture's file states of its size, looked at before anything is decoded: a few bytes can claim any memory."""

from __future__ import annotations

import io
import math
import warnings
from typing import Any

from tasks.errors import DataError

MAX_VALUES = 400_000_000
"""Pixels times channels: a picture of 20,000 x 20,000 pixels of one channel."""
_OURS = ("PNG", "JPEG", "BMP", "WEBP")
_BOUNDED = {1, 2, 3, 4, 5, 8, 32946, 32773, 34925, 50000}
"""TIFF compressions that give no more than the page states: plain, fax, LZW, deflate, packed bits, LZMA, Zstd."""
_JPEG = (6, 7)


def check_file(data: bytes, name: str) -> None:
    """Look at the header of a PNG, JPEG, BMP or WebP.

    Raises:
        DataError: It is none of these, or states too many values.
    """
    width, height, channels = _stated(data, name, _OURS)
    _few_enough(name, (height, width, channels))


def check_tiff(tiff: Any, series: Any, data: bytes, name: str) -> None:
    """Look at what a TIFF states of its picture.

    Args:
        tiff: A tifffile.TiffFile, open.
        series: The one of it that is to be decoded.
        data: The file.
        name: For messages.

    Raises:
        DataError: It states too many values, or is compressed so that nobody knows how many come out.
    """
    _few_enough(name, tuple(series.shape))
    page = series.keyframe
    _few_enough(name, tuple(page.chunks))  # a tile may be larger than the picture
    compression = int(page.compression)
    if compression in _JPEG:
        _check_jpegs(series, data, name)
    elif compression not in _BOUNDED:
        raise DataError(
            f"picture {name}: is compressed as {page.compression!r}",
            expected="plain, LZW, deflate, packed bits, LZMA, Zstd, fax or JPEG", fix="export it uncompressed",
        )  # fmt: skip


def _check_jpegs(series: Any, data: bytes, name: str) -> None:
    """Each part of the page is a JPEG, which states a size of its own."""
    most = math.prod(series.keyframe.chunks[-3:])
    for page in series.pages:
        for offset, count in zip(*((page.dataoffsets, page.databytecounts) if page else ((), ())), strict=True):
            width, height, _ = _stated(data[offset : offset + count], name, ("JPEG",))
            if width * height > most:
                raise DataError(
                    f"picture {name}: a part of it is larger than the picture says", expected=f"{most} pixels at most",
                    found=f"{width} x {height}", fix="export it again",
                )  # fmt: skip


def _stated(data: bytes, name: str, formats: tuple[str, ...]) -> tuple[int, int, int]:
    """Width, height and channels, of the header alone."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large pictures, whose size is looked at here
            with Image.open(io.BytesIO(data), formats=formats) as picture:
                return (*picture.size, len(picture.getbands()))
    except Image.DecompressionBombError as error:  # Pillow's own limit: 179 million pixels
        raise DataError(f"picture {name}: is too large", found=str(error), fix="cut it into smaller ones") from error
    except Exception as error:  # OSError, SyntaxError, struct.error ...: headers are damaged in many ways
        raise DataError(
            f"picture {name}: cannot be read", expected="a whole TIFF, PNG, JPEG, BMP or WebP",
            found=f"{type(error).__name__}: its header is none of a {' or '.join(formats)}",
            fix="copy it again from where it was taken",
        ) from error  # fmt: skip


def _few_enough(name: str, shape: tuple[int, ...]) -> None:
    if math.prod(shape) > MAX_VALUES:
        raise DataError(
            f"picture {name}: is too large", expected=f"at most {MAX_VALUES} values (pixels x channels)",
            found=" x ".join(map(str, shape)), fix="cut it into smaller ones",
        )  # fmt: skip
