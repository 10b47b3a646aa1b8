"""Label images and masks as arrays: PNG, BMP, TIFF, NumPy; never more than a picture can need, never unpickled."""

from __future__ import annotations

import hashlib
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.escaping import short_repr

SUFFIXES = (".png", ".tif", ".tiff", ".npy", ".bmp", ".gif")
MAX_PIXELS = 150_000_000
"""A little more than 12,000 x 12,000."""
MAX_BYTES = 2 * 2**30
_LOSSY = (".jpg", ".jpeg", ".webp")


def read_labels(path: Path) -> NDArray[Any]:
    """A label image: whole numbers [height, width], 0 the ground.

    Raises:
        ValueError: It is none; saying why.
        OSError: It cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix in _LOSSY:
        raise ValueError("it is a JPEG or WebP, which blurs ids; save it as PNG or TIFF")
    if not path.is_file():
        raise ValueError("it is not a file")
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"it is larger than {MAX_BYTES // 2**30} GiB")
    read = _read_npy if suffix == ".npy" else _read_tiff if suffix in (".tif", ".tiff") else _read_picture
    try:
        labels = read(path)
    except (OSError, ValueError):
        raise
    except Exception as error:  # zlib.error, struct.error, SyntaxError, ...: decoders fail in many ways on damage
        raise ValueError(f"it is damaged ({type(error).__name__})") from error
    return _whole_numbers(labels)


def _small_enough(shape: tuple[int, ...]) -> None:
    if np.prod([float(side) for side in shape]) > MAX_PIXELS:
        raise ValueError(f"it has {' x '.join(map(str, shape))} values, and at most {MAX_PIXELS} are taken")


def _read_npy(path: Path) -> NDArray[Any]:
    try:
        labels = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        if not re.search("pickle|python objects", str(error), re.IGNORECASE):
            raise
        raise ValueError(
            "it holds Python objects (Cellpose's _seg.npy does), which are not read: they may run code; save the label "
            "image alone as PNG, TIFF or NumPy array"
        ) from error
    if not isinstance(labels, np.ndarray):
        raise ValueError("it holds several arrays")
    _small_enough(labels.shape)
    return np.array(labels)


def _read_tiff(path: Path) -> NDArray[Any]:
    import tifffile

    # Opened so that no note in it makes tifffile open the other files of its set.
    with path.open("rb") as file, tifffile.TiffFile(file, _multifile=False, is_mmstack=False) as tiff:
        if not tiff.series:
            raise ValueError("it holds no picture")
        shape = tiff.series[0].shape
        if len(tiff.series) > 1 or (len(shape) > 2 and np.prod(shape) != np.prod(sorted(shape)[-2:])):
            raise ValueError(
                f"it holds a stack or several channels ({' x '.join(map(str, shape))}), expected one plane"
            )
        _small_enough(shape)
        labels: NDArray[Any] = tiff.series[0].asarray()
    return labels


def _read_picture(path: Path) -> NDArray[Any]:
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about its size, which is looked at here
        with Image.open(path, formats=("PNG", "BMP", "GIF")) as picture:
            _small_enough(picture.size)
            if picture.mode == "1":
                return np.asarray(picture).astype(np.uint8)
            labels = np.asarray(picture)
    if labels.ndim == 3:
        grey = labels[..., : 1 if labels.shape[2] == 2 else 3]
        if (grey != grey[..., :1]).any():
            raise ValueError("it is in colour, and colours are no ids; save a grey picture with an id for each cell")
        labels = grey[..., 0]
    return labels


def _whole_numbers(labels: NDArray[Any]) -> NDArray[Any]:
    shape = labels.shape
    labels = labels.reshape([side for side in shape if side != 1]) if labels.ndim > 2 else labels
    if labels.ndim != 2 or not labels.size:
        raise ValueError(f"it is an array of {' x '.join(map(str, shape))} values, expected [height, width]")
    if labels.dtype == np.bool_:
        return labels.astype(np.uint8)
    if labels.dtype.kind == "f":
        if not np.isfinite(labels).all() or (labels != np.rint(labels)).any() or np.abs(labels).max() >= 2**53:
            raise ValueError("it holds numbers that are not whole, so they are no ids")
        return labels.astype(np.int64)
    if labels.dtype.kind not in "iu":
        raise ValueError(f"it holds {short_repr(str(labels.dtype))}, expected whole numbers")
    if labels.dtype.kind == "i" and labels.min() < 0:
        raise ValueError("it holds negative numbers, so they are no ids")
    return labels


def oid_of(path: Path) -> str:
    """The sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
