"""Grey frames into a video file: h264 in mp4, or Motion JPEG in avi."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

from tasks.errors import ConfigError

Container = Literal["mp4", "avi"]
VFR_TICKS_HZ = 90_000
"""Clock of files with a variable frame rate."""


def frame_rate(fps_hz: float) -> Fraction:
    """The exact rate that is meant: 29.97 is 30000/1001, not 2997/100."""
    for rate in (Fraction(round(fps_hz)), Fraction(round(fps_hz * 1.001) * 1000, 1001)):
        if abs(float(rate) - fps_hz) < 0.005:
            return rate
    return Fraction(fps_hz).limit_denominator(1000)


def variable_ticks(frames: int, fps_hz: float, rng: np.random.Generator) -> list[int]:
    """Presentation times of a camera that drops and delays frames, in 1/VFR_TICKS_HZ s; the first is 0, all differ."""
    gaps = rng.choice((0.5, 1.0, 1.0, 1.0, 1.5, 2.0, 3.0), size=frames) + rng.uniform(0, 0.1, frames)
    return [0, *np.cumsum(np.rint(gaps[1:] * VFR_TICKS_HZ / fps_hz).astype(int)).tolist()]


def write_video(
    path: Path,
    frames: Iterable[NDArray[np.uint8]],
    *,
    rate: Fraction,
    ticks: list[int] | None = None,
    tint: tuple[float, float] = (0.0, 0.0),
    container: Container = "mp4",
) -> None:
    """Write a video; it appears at `path` when it is complete, and is the same bytes for the same input.

    Args:
        path: The file.
        frames: Grey frames [height, width] of full range, with even sides.
        rate: Frames per second; the mean one of a variable rate.
        ticks: Presentation times in 1/VFR_TICKS_HZ s, for a variable rate (mp4 only); None = constant.
        tint: Chroma offsets (U, V).
        container: mp4 with h264 (4:2:0, limited range), or avi with Motion JPEG (full range).

    Raises:
        ConfigError: A variable rate in an avi.
    """
    if ticks is not None and container == "avi":
        raise ConfigError("an avi file has one frame rate", expected="container mp4 for a variable frame rate")
    part = path.with_name(f".{path.name}.part")
    time_base = 1 / rate if ticks is None else Fraction(1, VFR_TICKS_HZ)
    with av.open(str(part), "w", format=container, options={"fflags": "+bitexact"}) as output:
        stream: VideoStream | None = None
        for index, grey in enumerate(frames):
            if stream is None:
                stream = _stream(output, container, rate, time_base, grey.shape)
            frame = _picture(grey, tint, full_range=container == "avi")
            frame.pts = index if ticks is None else ticks[index]
            frame.time_base = time_base
            output.mux(stream.encode(frame))
        if stream is not None:
            output.mux(stream.encode(None))
    part.replace(path)


def _stream(
    output: av.container.OutputContainer,
    container: Container,
    rate: Fraction,
    time_base: Fraction,
    shape: tuple[int, ...],
) -> VideoStream:
    stream: VideoStream = output.add_stream("mjpeg" if container == "avi" else "libx264", rate=rate)
    stream.height, stream.width = shape
    stream.codec_context.time_base = time_base
    stream.codec_context.thread_count = 1  # the same bytes on any number of cores
    stream.codec_context.flags |= av.codec.context.Flags.bitexact
    if container == "avi":
        stream.pix_fmt = "yuvj420p"
        stream.options = {"qmin": "3", "qmax": "3"}
    else:
        stream.pix_fmt = "yuv420p"
        stream.options = {"preset": "veryfast", "crf": "20", "g": str(max(1, round(2 * rate)))}
    return stream


def _picture(grey: NDArray[np.uint8], tint: tuple[float, float], *, full_range: bool) -> av.VideoFrame:
    """A 4:2:0 frame from luma and two constant chroma planes: no library converts, none rounds."""
    height, width = grey.shape
    planes = np.empty((height * 3 // 2, width), np.uint8)
    planes[:height] = grey if full_range else _LIMITED[grey]
    chroma = planes[height:].reshape(-1)
    half = chroma.size // 2
    chroma[:half], chroma[half:] = round(128 + tint[0]), round(128 + tint[1])
    return av.VideoFrame.from_ndarray(planes, format="yuvj420p" if full_range else "yuv420p")


_LIMITED = np.rint(16 + np.arange(256) * (219 / 255)).astype(np.uint8)
