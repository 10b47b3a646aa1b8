"""Decoded frames of a video to pictures: upright, in 8 bits, grey or BGR."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from av.sidedata.sidedata import Type
from av.video.reformatter import VideoReformatter

from tasks.ingest.grey import Range, Values, stretched
from tasks.ingest.images import Image

if TYPE_CHECKING:
    from av.video.format import VideoFormat
    from av.video.frame import VideoFrame
    from av.video.plane import VideoPlane


class NeedsRange(Exception):
    """A frame of more than 8 bits, and nobody knows yet how bright the recording gets."""


class Converter:
    """Decoded frames to pictures. Keeps what the conversion needs between frames; notices what frames were like.

    Args:
        over: What the recording's values of more than 8 bits are stretched over, if known.

    Attributes:
        turned: Whether the last picture lies on its side in the file.
        size_px: (width, height) of the first frame looked at, as stored; None before.
        over: As given.
    """

    def __init__(self, over: Range | None = None) -> None:
        self._reformatter = VideoReformatter()
        self.over = over
        self.turned = False
        self.size_px: tuple[int, int] | None = None

    def see(self, frame: VideoFrame) -> None:
        """Note a frame's size."""
        if self.size_px is None:
            self.size_px = (frame.width, frame.height)

    def of(self, frame: VideoFrame) -> Image:
        """[h, w] or [h, w, 3] BGR, uint8.

        Raises:
            NeedsRange: It has more than 8 bits, and there is no range to stretch.
        """
        self.see(frame)
        values = deep_values(frame, self._reformatter)
        if values is None:
            converted = self._reformatter.reformat(frame, format="bgr24", threads=1)
            image = np.asarray(converted.to_ndarray(), dtype=np.uint8)
        elif self.over is None:
            raise NeedsRange
        else:
            image = stretched(values, self.over)
        shown = _shown(frame)
        self.turned = shown is not None and shown.turned
        return image if shown is None else shown.of(image)


@dataclass(frozen=True)
class _Shown:
    """How the container wants a picture shown: turned on its side first, then mirrored."""

    turned: bool
    left_right: bool
    upside_down: bool

    def of(self, image: Image) -> Image:
        """The picture as it is shown."""
        upright = image.swapaxes(0, 1) if self.turned else image
        rows, columns = (
            slice(None, None, -1 if self.upside_down else 1),
            slice(None, None, -1 if self.left_right else 1),
        )
        return np.ascontiguousarray(upright[rows, columns])


def is_as_stored(frame: VideoFrame) -> bool:
    """Whether the container wants the frame shown as it is stored: neither turned nor mirrored."""
    return _shown(frame) is None


def _shown(frame: VideoFrame) -> _Shown | None:
    """By the frame's display matrix: x' = a x + c y, y' = b x + d y. Oblique angles are left as they are stored."""
    try:
        matrix: Any = frame.side_data.get(Type.DISPLAYMATRIX.name)
    except ValueError:  # PyAV does not know some kinds of side data (EXIF), and then shows none
        return _QUARTERS.get(round(frame.rotation))
    if matrix is None:
        return None
    a, b, _, c, d = (int(number) for number in np.frombuffer(matrix, np.int32)[:5])
    if max(abs(a), abs(d)) * 100 < min(abs(b), abs(c)):
        return _Shown(True, c < 0, b < 0)
    if max(abs(b), abs(c)) * 100 < min(abs(a), abs(d)) and (a < 0 or d < 0):
        return _Shown(False, a < 0, d < 0)
    return None


_QUARTERS = {
    90: _Shown(True, False, True), -90: _Shown(True, True, False),
    180: _Shown(False, True, True), -180: _Shown(False, True, True),
}  # fmt: skip


def is_deep(kind: VideoFormat | None) -> bool:
    """Whether a pixel format has grey or colour values of more than 8 bits, each in a word of its own.

    Not so YUV, whose black and white are defined whatever its depth, nor what packs 10 bits tightly for screens.
    """
    if kind is None or not kind.components or kind.components[0].bits <= 8 or kind.name.startswith("x2"):
        return False
    return kind.is_rgb or kind.name.startswith(("gray", "ya"))


def deep_values(frame: VideoFrame, reformatter: VideoReformatter) -> Values | None:
    """[h, w] grey or [h, w, 3] BGR values as they are stored, without alpha; None where `is_deep` is not so."""
    if not is_deep(frame.format):
        return None
    if frame.format.is_bayer:
        frame = reformatter.reformat(frame, format="rgb48le", threads=1)
    kind = frame.format
    planes = [_plane(plane, kind) for plane in frame.planes]
    if len(planes) >= 3:  # green, blue, red
        return np.dstack((planes[1], planes[0], planes[2]))
    channels = planes[0].reshape(frame.height, -1, len(kind.components))[:, : frame.width]
    if not kind.is_rgb:
        return np.ascontiguousarray(channels[..., 0])
    return np.ascontiguousarray(channels[..., :3] if kind.name.startswith("bgr") else channels[..., 2::-1])


def _plane(plane: VideoPlane, kind: VideoFormat) -> Values:
    """[h, row] values in the machine's byte order, without what pads the rows."""
    letter = "f" if "f16" in kind.name or "f32" in kind.name else "u"
    dtype = np.dtype(f"{'>' if kind.is_big_endian else '<'}{letter}{4 if kind.components[0].bits > 16 else 2}")
    per_pixel = 1 if kind.is_planar else len(kind.components)
    rows: Values = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, abs(plane.line_size))
    if plane.line_size < 0:  # stored from the bottom up
        rows = rows[::-1]
    row = np.ascontiguousarray(rows[:, : plane.width * per_pixel * dtype.itemsize]).view(dtype)
    return row.astype(dtype.newbyteorder("="))
