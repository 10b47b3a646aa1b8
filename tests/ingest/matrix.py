"""Every combination of container, codec and pixel format that the installed PyAV can write, as tiny numbered clips."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.codec import Codec, codecs_available

FRAMES = 8
DARK, LIGHT = 20, 230
_HARDWARE = ("_amf", "_nvenc", "_qsv", "_v4l2m2m", "_vaapi", "_vulkan", "_mf", "_videotoolbox")
_CONTAINERS = {"mp4": "mp4", "mov": "mov", "avi": "avi", "mkv": "matroska"}
_RAW = {  # FFmpeg's muxers write others too, but say in no header what they are
    "avi": ("gray", "bgr24", "pal8", "yuv420p", "yuyv422", "uyvy422", "rgb555le", "monow"),
    "mov": ("gray", "gray16be", "rgb24", "pal8", "yuyv422", "uyvy422", "monow"),
    "mkv": ("yuv420p", "yuyv422", "uyvy422"),
}
_SIZES = {"dvvideo": (720, 576), "h261": (176, 144), "h263": (176, 144), "flv": (176, 144), "dnxhd": (256, 128)}
_OPTIONS = {
    "libx264": {"preset": "ultrafast"},
    "libx264rgb": {"preset": "ultrafast"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none"},
    "libvpx": {"cpu-used": "8", "deadline": "realtime"},
    "libvpx-vp9": {"cpu-used": "8", "deadline": "realtime"},
    "libsvtav1": {"preset": "12"},
}
_DNXHR = {"yuv422p": "dnxhr_hq", "yuv422p10le": "dnxhr_hqx", "yuv444p10le": "dnxhr_444", "gbrp10le": "dnxhr_444"}

Case = tuple[str, str, str]


def cases() -> list[Case]:
    """(suffix, encoder, pixel format) of all that can be muxed."""
    found = []
    for name in sorted({Codec(name, "w").name for name in codecs_available if _is_video_encoder(name)}):
        for suffix, muxer in _CONTAINERS.items():
            if _takes(muxer, name):
                formats = (
                    _RAW.get(suffix, ())
                    if name == "rawvideo"
                    else [f.name for f in Codec(name, "w").video_formats or ()]
                )
                found += [(suffix, name, pix_fmt) for pix_fmt in formats if not _impossible(suffix, name, pix_fmt)]
    return found


def _is_video_encoder(name: str) -> bool:
    try:
        return Codec(name, "w").type == "video" and not name.endswith(_HARDWARE)
    except ValueError:  # only a decoder
        return False


def _takes(muxer: str, codec: str) -> bool:
    with av.open(io.BytesIO(), "w", format=muxer) as container:
        try:
            container.add_stream(codec, rate=25)
        except ValueError:
            return False
    return True


def _impossible(suffix: str, codec: str, pix_fmt: str) -> bool:
    """What FFmpeg lists and does not do: its muxer or encoder refuses, or its own decoder does not read it back."""
    return (
        "f16" in pix_fmt  # nothing converts to half floats
        or (suffix == "mov" and codec in ("libsvtav1", "libvpx", "libvpx-vp9"))
        or (codec in ("libvpx", "libx265") and pix_fmt.startswith("yuva"))
        or codec in ("rv10", "rv20")
        or (codec == "jpeg2000" and pix_fmt in ("yuv440p10le", "yuv440p12le"))
        or (codec == "ffv1" and pix_fmt == "gbrpf32le")
        or (codec == "libvpx-vp9" and suffix == "mp4" and pix_fmt == "yuv440p")
    )


def size_of(codec: str) -> tuple[int, int]:
    """(width, height) of the clips: some codecs know few."""
    return _SIZES.get(codec, (64, 48))


def picture(number: int, width: int, height: int) -> npt.NDArray[np.uint8]:
    """Grey: the number in blocks at the top, a ramp below."""
    image = np.full((height, width), DARK, np.uint8)
    image[height // 2 :] = np.linspace(DARK, LIGHT, width).astype(np.uint8)
    for bit in range(3):
        image[: height // 2, bit * (width // 4) : (bit + 1) * (width // 4)] = LIGHT if number >> bit & 1 else DARK
    return image


def number_in(image: npt.NDArray[np.generic]) -> int:
    """The number in a picture, grey or BGR."""
    height, width = image.shape[:2]
    grey = image if image.ndim == 2 else image[..., 1]
    block = [grey[4 : height // 2 - 4, bit * (width // 4) + 4 : (bit + 1) * (width // 4) - 4] for bit in range(3)]
    return sum(int(part.mean() > (DARK + LIGHT) / 2) << bit for bit, part in enumerate(block))


def is_deep(codec: str, pix_fmt: str) -> bool:
    """Grey or colour of more than 8 bits, each value in its own word. (H.264's decoder makes YUV of deep grey.)"""
    kind = av.VideoFormat(pix_fmt)
    return codec != "libx264" and kind.components[0].bits > 8 and (kind.is_rgb or pix_fmt.startswith(("gray", "ya")))


def frame(number: int, codec: str, pix_fmt: str) -> av.VideoFrame:
    """A numbered frame; of deep formats only the lower bits are used, as cameras do."""
    grey = picture(number, *size_of(codec))
    if pix_fmt == "pal8":
        mixed = (np.arange(256) * 7 % 256).astype(np.uint8)  # the colour of each index: none is its own
        palette = np.dstack([np.full(256, 255, np.uint8), mixed, mixed, mixed])[0]
        return av.VideoFrame.from_ndarray((np.argsort(mixed).astype(np.uint8)[grey], palette), format="pal8")
    made = av.VideoFrame.from_ndarray(grey, format="gray").reformat(format=pix_fmt)
    if is_deep(codec, pix_fmt):
        kind = made.format
        letter, bits = ("f" if "f32" in pix_fmt else "u"), (4 if kind.components[0].bits > 16 else 2)
        for plane in made.planes:
            words = np.frombuffer(memoryview(plane), f"{'>' if kind.is_big_endian else '<'}{letter}{bits}")
            plane.update((words / 8).astype(words.dtype).tobytes())
    return made


def write(path: Path, codec: str, pix_fmt: str) -> Path:
    """Write `FRAMES` numbered frames at 25/s."""
    with _scheduled_as_before():
        return _written(path, codec, pix_fmt)


@contextmanager
def _scheduled_as_before() -> Iterator[None]:
    """Undo what SVT-AV1 does where it is run by root: it leaves its caller with the highest realtime priority.

    Every process that such a test process started inherited it, and the machine stood still under a few S3 servers.
    """
    policy, priority = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, priority)


def _written(path: Path, codec: str, pix_fmt: str) -> Path:
    width, height = size_of(codec)
    options = {"strict": "-2"} | _OPTIONS.get(codec, {})
    if codec == "dnxhd":
        options["profile"] = _DNXHR[pix_fmt]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.bit_rate = 0 if codec == "libsvtav1" else 2_000_000
        for number in range(FRAMES):
            made = frame(number, codec, pix_fmt)
            made.pts, made.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(made))
        container.mux(stream.encode())
    return path
