"""Tiny clips made by PyAV, with each frame's number burned into its pixels as blocks of black and white."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

WIDTH, HEIGHT, BLOCK, BITS = 128, 96, 16, 16
Image = npt.NDArray[np.uint8]


def numbered(number: int, width: int = WIDTH, height: int = HEIGHT) -> Image:
    """A grey picture [height, width] that carries `number`: 16 bits as 16 px blocks, in two rows at the top."""
    image = np.full((height, width), 110, dtype=np.uint8)
    # Something that changes everywhere, so that perceptual hashes of neighbours differ.
    generator = np.random.default_rng(number)
    texture = generator.integers(60, 180, size=(height // 8, width // 8), dtype=np.uint8)
    image[2 * BLOCK :] = np.kron(texture, np.ones((8, 8), np.uint8))[2 * BLOCK : height, :width]
    for bit in range(BITS):
        top, left = BLOCK * (bit // 8), BLOCK * (bit % 8)
        image[top : top + BLOCK, left : left + BLOCK] = 255 if number >> bit & 1 else 0
    return image


def number_in(image: npt.NDArray[np.uint8]) -> int:
    """Read the number back from a decoded picture, grey or BGR."""
    grey = image if image.ndim == 2 else image[..., 1]
    number = 0
    for bit in range(BITS):
        top, left = BLOCK * (bit // 8), BLOCK * (bit % 8)
        number |= int(grey[top + 4 : top + 12, left + 4 : left + 12].mean() > 127) << bit
    return number


def write_clip(
    path: Path,
    frames: int = 30,
    *,
    codec: str = "libx264",
    fps_hz: int | Fraction = 30,
    ticks: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    b_frames: int = 0,
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    picture: Callable[[int], Image] = numbered,
) -> Path:
    """Write a clip of numbered frames.

    Args:
        path: Its suffix says which container.
        frames: How many.
        codec: PyAV's name of the encoder.
        fps_hz: The rate, also where `ticks` vary (as encoders want one).
        ticks: Presentation time of each frame in units of `time_base`; default 0, 1, 2... frame times.
        time_base: Seconds per tick; default 1 / `fps_hz`.
        b_frames: How many in a row.
        pix_fmt: Pixel format.
        options: More for the encoder.
        container_options: For the muxer.
        picture: Number -> grey picture.
    """
    rate = Fraction(fps_hz)
    with av.open(str(path), "w", container_options=container_options or {}) as container:
        chosen = {"bf": str(b_frames), "g": "12"} if codec in ("libx264", "mpeg4") else {}
        if codec == "libx264":
            chosen |= {"crf": "18", "preset": "ultrafast" if not b_frames else "fast"}
        stream = container.add_stream(codec, rate=rate, options=chosen | (options or {}))
        stream.height, stream.width = picture(0).shape
        stream.pix_fmt = pix_fmt
        stream.codec_context.thread_count = 1  # MJPEG's quality, for one, depends on how many cores it finds
        if codec == "mjpeg":
            stream.codec_context.qmin = stream.codec_context.qmax = 3
        if codec == "mpeg4":
            stream.bit_rate = 4_000_000
        stream.time_base = stream.codec_context.time_base = time_base or 1 / rate
        container.start_encoding()  # so that a clip without frames is a file too
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(number), format="gray")
            frame.pts = ticks[number] if ticks is not None else number
            frame.time_base = time_base or 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def still(number: int) -> Image:
    """The same picture whatever the number."""
    return numbered(4711)


def moments(ticks: Iterable[int], time_base: Fraction) -> list[float]:
    """Ticks in seconds."""
    return [tick * time_base.numerator / time_base.denominator for tick in ticks]
