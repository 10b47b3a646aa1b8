"""A picture as it was taken, and as the network is shown it. Training, evaluation and the served model use the same.

**Channels.** A picture of several channels needs a mapping, e.g. `{nucleus: 2, membrane: 0}`: names to places, counted
from 0. Each name has its colour (`tasks.config.channels`): nuclei blue, membranes green, any other the first colour
left. One mapped channel alone is shown grey, and so is a picture of one channel. Without a mapping a picture is grey,
or RGB; an alpha channel is dropped.

**Normalisation.** v' = (v - low) / (high - low), low and high the percentiles of the whole picture, or of each channel
where channels are mapped (stains differ in brightness, colours of one camera do not). Above 1, which a picture of few
bright cells reaches, v' becomes 1 + ln v', so that no cell is cut off and none dazzles. Then v' ** gamma.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tasks.config.channels import colours_of
from tasks.errors import DataError
from tasks.kinds.segmentation.stated import check_file, check_tiff

if TYPE_CHECKING:
    from tasks.kinds.segmentation.plan import InputPlan

Picture = NDArray[Any]
"""[height, width, 1 or 3], uint8, uint16 or float32; three are RGB."""
Floats = NDArray[np.float32]

_MOST_VALUES = 4_000_000
"""Percentiles are taken of about as many values, evenly spread: exact for pictures up to 2,000 x 2,000 pixels."""


def read_picture(source: Path | str | bytes, channels: Mapping[str, int] | None = None) -> Picture:
    """Read a picture in its own depth.

    Args:
        source: A file (TIFF, PNG, JPEG, BMP, WebP), or its bytes.
        channels: What is where in a picture of several channels. None: it is grey, or shows its colours already.

    Returns:
        uint8, uint16 or float32 [height, width, 1 or 3].

    Raises:
        DataError: It is larger than any that we take, does not decode, or nobody can say which of its channels to show.
    """
    name = "of these bytes" if isinstance(source, bytes) else Path(source).name
    data = source if isinstance(source, bytes) else Path(source).read_bytes()
    tiff = data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
    values = _tiff(data, name, named=bool(channels)) if tiff else _other(data, name)
    return mapped(_in_depth(values, name), channels or {}, name)


def mapped(values: Picture, channels: Mapping[str, int], name: str = "given") -> Picture:
    """A picture [h, w] or [h, w, channels] as [h, w, 1 or 3], see above.

    Raises:
        DataError: It has not the channels that are named, or more than three and none is named.
    """
    if values.ndim == 2:
        values = values[:, :, None]
    count = values.shape[2]
    missing = {key: place for key, place in channels.items() if not 0 <= place < count} if count > 1 else {}
    if missing:
        raise DataError(
            f"picture {name}: has {count} channels", expected=f"at least {1 + max(missing.values())} for {missing}",
            found=f"{count}", fix="correct `channels` of the line; places are counted from 0",
        )  # fmt: skip
    if count == 1 or (not channels and count == 3):
        return np.ascontiguousarray(values)
    if not channels:
        raise DataError(
            f"picture {name}: has {count} channels", expected="1 or 3, or a mapping", found=f"{count}",
            fix="name them in the line: channels: {nucleus: <place>, membrane: <place>}, counted from 0",
        )  # fmt: skip
    if len(channels) == 1:
        (place,) = channels.values()
        return np.ascontiguousarray(values[:, :, place : place + 1])
    try:
        colours = colours_of(channels)
    except ValueError as error:
        raise DataError(f"channels: {error}") from error
    out = np.zeros((*values.shape[:2], 3), values.dtype)
    for key, colour in colours.items():
        out[:, :, colour] = values[:, :, channels[key]]
    return out


def prepare(picture: Picture, how: InputPlan) -> Floats:
    """A picture as the network is shown it: float32 [h, w, 3], about 0 to 1.

    Args:
        picture: As `read_picture` gives it.
        how: Of the model; stored with its weights.

    Raises:
        DataError: It has neither one channel nor three.
    """
    if picture.ndim != 3 or picture.shape[2] not in (1, 3) or not picture.size:
        raise DataError("picture", expected="[height, width, 1 or 3]", found=str(picture.shape))
    if how.stain != "none":
        from tasks.kinds.segmentation.stain import stain_normalised

        picture = stain_normalised(picture, how.stain)
    values = _percentile_normalised(picture, how) if how.normalise == "percentile" else _by_range(picture)
    if how.gamma != 1:
        np.power(values, np.float32(how.gamma), out=values)
    return np.ascontiguousarray(np.broadcast_to(values, (*values.shape[:2], 3)))


def scaled(picture: Floats, scale: float) -> Floats:
    """A prepared picture with `scale` pixels for each of its pixels along a side; sides are rounded, 1 at least.

    What lies at x lies at x * scale, exactly: what sides are rounded by is cut off at the far edge, or filled there.
    """
    if scale == 1:
        return picture
    import cv2

    height, width = _scaled_sides(picture, scale)
    size = None if min(picture.shape[:2]) * scale > 0.5 else (width, height)  # None: OpenCV takes the factors as given
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, size, fx=scale, fy=scale, interpolation=how), dtype=np.float32)


def scaled_labels(labels: NDArray[np.int32], scale: float) -> NDArray[np.int32]:
    """A label image as `scaled` scales its picture: each pixel has the number that lies under its middle."""
    if scale == 1:
        return labels
    places = (
        np.minimum(((np.arange(count) + 0.5) / scale).astype(np.int64), side - 1)
        for count, side in zip(_scaled_sides(labels, scale), labels.shape, strict=True)
    )
    return np.ascontiguousarray(labels[np.ix_(*places)])


def _scaled_sides(picture: NDArray[Any], scale: float) -> tuple[int, int]:
    height, width = (max(1, round(side * scale)) for side in picture.shape[:2])
    return height, width


def padded(picture: Floats, height: int, width: int) -> Floats:
    """A prepared picture with what is missing below and on the right filled with its median colour: mostly ground."""
    below, right = max(0, height - picture.shape[0]), max(0, width - picture.shape[1])
    if not below and not right:
        return picture
    out = np.empty((picture.shape[0] + below, picture.shape[1] + right, 3), np.float32)
    out[:] = ground_of(picture)
    out[: picture.shape[0], : picture.shape[1]] = picture
    return out


def ground_of(picture: Floats) -> Floats:
    """The median colour of a prepared picture, float32 [3]."""
    return np.asarray(np.median(_sample(picture), axis=0), dtype=np.float32)


def _sample(picture: Picture) -> Picture:
    """Values [n, channels], evenly spread over the picture."""
    step = max(1, int(np.ceil(np.sqrt(picture.shape[0] * picture.shape[1] / _MOST_VALUES))))
    return picture[::step, ::step].reshape(-1, picture.shape[2])


def _percentile_normalised(picture: Picture, how: InputPlan) -> Floats:
    sample = _sample(picture).astype(np.float32)
    low, high = np.percentile(sample, how.percentiles, axis=0 if how.channels else None).astype(np.float32)
    span = np.maximum(high - low, np.float32(1e-6) * np.maximum(np.abs(high), 1))
    values = picture.astype(np.float32)
    values -= low
    values /= span
    np.maximum(values, 0, out=values)
    bright = values > 1
    values[bright] = 1 + np.log(values[bright])
    return values


def _by_range(picture: Picture) -> Floats:
    top = np.iinfo(picture.dtype).max if picture.dtype.kind == "u" else 1
    return np.clip(picture.astype(np.float32) / np.float32(top), 0, 1)


def _in_depth(values: Picture, name: str) -> Picture:
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype in (np.uint8, np.uint16):
        return values
    if values.dtype.kind in "uif":
        values = values.astype(np.float32)
        if not np.isfinite(values).all():
            raise DataError(f"picture {name}: has values that are no numbers", expected="finite values")
        return values
    raise DataError(f"picture {name}: has values that are no brightness", expected="numbers", found=str(values.dtype))


def _other(data: bytes, name: str) -> Picture:
    import cv2

    check_file(data, name)
    try:
        found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
        turned = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data[:2] == b"\xff\xd8" else None
    except cv2.error as error:
        raise _unreadable(name, str(error)) from error
    if found is None:
        raise _unreadable(name, "bytes that do not decode")
    if found.ndim == 2:
        return np.asarray(found if turned is None or turned.shape[:2] == found.shape else turned[:, :, 0])
    found = found if turned is None else turned  # as annotators saw it: turned as its EXIF says
    return np.ascontiguousarray(found[:, :, 2::-1])


def _tiff(data: bytes, name: str, *, named: bool) -> Picture:
    """A TIFF's only picture, [h, w] or [h, w, channels]; pages of one size are channels.

    Where channels are `named`, four of them are no colours with an opacity, as tifffile calls them by itself.
    """
    import io

    import tifffile

    try:
        with tifffile.TiffFile(io.BytesIO(data), _multifile=False, is_mmstack=False) as tiff:
            series = [each for each in tiff.series if each.size]
            if len(series) != 1:
                raise DataError(
                    f"picture {name}: has {len(series)} pictures",
                    expected="one",
                    fix="export each as a file of its own",
                )
            check_tiff(tiff, series[0], data, name)
            page = tiff.pages[0]
            values, axes = np.asarray(series[0].asarray()), str(series[0].axes)
            photometric, table = int(getattr(page, "photometric", 1) or 0), getattr(page, "colormap", None)
            turn = int(page.tags.valueof(274, default=1) or 1)
    except DataError:
        raise
    except Exception as error:  # zlib.error, struct.error, ValueError ...: decoders fail in many ways on damage
        raise _unreadable(name, f"{type(error).__name__}: {error}") from error
    plane = _one_plane(values, axes, name)
    if plane.ndim == 3 and (photometric == 1 or (photometric == 2 and named and plane.shape[2] > 3)):
        return plane  # of channels annotators' frame is not turned either
    return _turned(_coloured(plane, photometric, table), turn)


def _turned(values: Picture, orientation: int) -> Picture:
    """As annotators see it: turned as the TIFF's tag Orientation says (TIFF 6.0; 5 to 8 lie on their side)."""
    if orientation in (5, 6, 7, 8):
        values = values.swapaxes(0, 1)
    down, back = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    return np.ascontiguousarray(values[:: -1 if down else 1, :: -1 if back else 1])


def _one_plane(values: Picture, axes: str, name: str) -> Picture:
    """[h, w] or [h, w, channels] of values whose axes are named as tifffile names them."""
    keep = [axis for axis, length in zip(axes, values.shape, strict=True) if length > 1 or axis in "YX"]
    values = values.reshape(
        [length for axis, length in zip(axes, values.shape, strict=True) if length > 1 or axis in "YX"]
    )
    others = [axis for axis in keep if axis not in "YX"]
    if len(others) > 1 or any(axis in "ZTR" for axis in others):
        raise DataError(
            f"picture {name}: is a stack ({''.join(keep)})", expected="one plane, with channels (C) or samples (S)",
            found=str(values.shape), fix="export one plane, or a projection; or take it in as a recording",
        )  # fmt: skip
    order = [keep.index("Y"), keep.index("X"), *(keep.index(axis) for axis in others)]
    return np.ascontiguousarray(np.transpose(values, order))


def _coloured(values: Picture, photometric: int, table: Any) -> Picture:
    """What viewers show: the colour table applied, grey of which white is 0 turned round, no alpha with RGB."""
    if photometric == 3 and table is not None and values.ndim == 2:
        return np.moveaxis(np.asarray(table >> 8, dtype=np.uint8)[:, values], 0, -1)
    if photometric == 0 and values.dtype.kind == "u":
        return np.asarray(np.iinfo(values.dtype).max - values)
    if photometric == 2 and values.ndim == 3 and values.shape[2] == 4:
        return np.ascontiguousarray(values[:, :, :3])
    return values


def _unreadable(name: str, found: str) -> DataError:
    return DataError(
        f"picture {name}: cannot be read", expected="a whole TIFF, PNG, JPEG, BMP or WebP", found=found,
        fix="copy it again from where it was taken",
    )  # fmt: skip
