"""Codecs whose decoder remembers: palettes and tables that came with an earlier packet, headers that change midway."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from tasks.ingest.codecs import Jpeg, jpeg_of
from tasks.ingest.sampling import Extractor, Rate, Sampler
from tests.ingest.clips import Image, number_in, numbered, write_clip
from tests.ingest.remux import concatenated, remux
from tests.ingest.test_video import number_of, read

pytestmark = pytest.mark.integration  # decodes at length

MJPEG = {"codec": "mjpeg", "pix_fmt": "yuvj420p", "options": {"huffman": "default"}}
DQT, DHT = 0xDB, 0xC4


def segments(jpeg: bytes) -> list[tuple[int, bytes]]:
    """Marker and bytes of each segment up to the scan, which is the last, with all behind it."""
    found, at = [], 2
    while True:
        end = at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
        if jpeg[at + 1] == 0xDA:
            return [*found, (0xDA, jpeg[at:])]
        found.append((jpeg[at + 1], jpeg[at:end]))
        at = end


def without(jpeg: bytes, *markers: int) -> bytes:
    return b"\xff\xd8" + b"".join(data for marker, data in segments(jpeg) if marker not in markers)


def tables_of(jpeg: bytes) -> bytes:
    return b"\xff\xd8" + b"".join(data for marker, data in segments(jpeg) if marker in (DQT, DHT)) + b"\xff\xd9"


def check_all_ways_agree(path: Path, numbers: list[int]) -> None:
    """Sampling gives these numbers, and each index by itself the same picture."""
    sampler = Sampler({"line": Rate(0.001, 999, 0)})
    media, pts = read(path, sampler)
    assert [number_of(picture) for picture in sampler.pictures] == numbers
    assert media.frames_announced == media.frames_decoded == len(pts) == len(numbers)
    for picture in sampler.pictures:
        sink = Extractor([picture.frame_index])
        read(path, sink, frames_known=media.frames_decoded)
        assert sink.pictures == [picture]
        assert picture.pts_s == pts[picture.frame_index]


def write_palette(path: Path, codec: str, *, changes_at: int = 99) -> Path:
    """Numbered frames by a palette in which no index is its own grey; it is turned round at a frame."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = numbered(0).shape
        stream.pix_fmt = "pal8"
        for number in range(8):
            shades = (np.arange(256) * 7 % 256).astype(np.uint8)
            shades = shades if number < changes_at else shades[::-1]
            palette = np.stack([np.full(256, 255, np.uint8), shades, shades, shades], axis=1)
            indices = np.argsort(shades).astype(np.uint8)[numbered(number)]
            frame = av.VideoFrame.from_ndarray((indices, palette), format="pal8")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.avi", "rawvideo"), ("a.mov", "rawvideo"), ("a.avi", "msrle"), ("a.mov", "smc"), ("a.avi", "zmbv")],
)
def test_palette_video(tmp_path: Path, name: str, codec: str) -> None:
    check_all_ways_agree(write_palette(tmp_path / name, codec), list(range(8)))


def test_a_palette_that_changes_midway(tmp_path: Path) -> None:
    path = write_palette(tmp_path / "a.avi", "rawvideo", changes_at=3)
    assert b"00pc" in path.read_bytes()
    check_all_ways_agree(path, list(range(8)))


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "options"),
    [
        ("a.avi", "ffvhuff", "yuv420p", {"context": "1", "non_deterministic": "1"}),
        ("a.avi", "ffvhuff", "gbrp", {"context": "1", "pred": "median"}),
        ("a.avi", "huffyuv", "rgb24", {"pred": "left"}),
        ("a.avi", "utvideo", "gbrp", {"pred": "median"}), ("a.avi", "magicyuv", "gray", {"pred": "median"}),
        ("a.mkv", "ffv1", "gray", {"g": "12", "level": "3", "coder": "1", "context": "1"}),
        ("a.avi", "ffv1", "yuv420p", {"g": "5", "level": "1"}), ("a.mov", "png", "gray", {"pred": "mixed"}),
        ("a.avi", "cinepak", "rgb24", {}), ("a.avi", "msvideo1", "rgb555le", {}), ("a.mov", "qtrle", "gray", {}),
        ("a.mov", "qtrle", "rgb24", {"g": "20"}), ("a.avi", "zmbv", "bgr0", {}), ("a.avi", "asv2", "yuv420p", {}),
        ("a.mov", "prores_ks", "yuv444p10le", {"profile": "4444"}), ("a.mkv", "jpeg2000", "gray", {"pred": "1"}),
        ("a.mov", "v210", "yuv422p10le", {}), ("a.avi", "mjpeg", "yuvj420p", {"huffman": "optimal"}),
    ],
)  # fmt: skip
def test_codecs_with_contexts_and_predictions(
    tmp_path: Path, name: str, codec: str, pix_fmt: str, options: dict[str, str]
) -> None:
    path = write_clip(tmp_path / name, 15, codec=codec, pix_fmt=pix_fmt, options={"strict": "-2"} | options)
    check_all_ways_agree(path, list(range(15)))


def test_grey_quicktime_without_a_palette_of_its_own(tmp_path: Path) -> None:
    """QuickTime's 8-bit grey has a palette that the demuxer makes up and sends with the first packet."""
    path = write_clip(tmp_path / "a.mov", 8, codec="rawvideo", pix_fmt="gray")
    check_all_ways_agree(path, list(range(8)))


@pytest.mark.parametrize("suffix", ["avi", "mov", "mkv"])
@pytest.mark.parametrize("missing", [(DQT,), (DHT,), (DQT, DHT)])
def test_mjpeg_whose_tables_came_earlier(tmp_path: Path, suffix: str, missing: tuple[int, ...]) -> None:
    whole = write_clip(tmp_path / f"whole.{suffix}", 8, **MJPEG)
    path = remux(whole, tmp_path / f"a.{suffix}", lambda number, jpeg: without(jpeg, *missing) if number else jpeg)
    check_all_ways_agree(path, list(range(8)))
    reference = Extractor([5])
    read(whole, reference)
    sink = Extractor([5])
    read(path, sink)
    images = [
        cv2.imdecode(np.frombuffer(taken.pictures[0].data, np.uint8), cv2.IMREAD_COLOR).astype(int)
        for taken in (reference, sink)
    ]
    assert np.abs(images[0] - images[1]).mean() < 2


@pytest.mark.parametrize("suffix", ["avi", "mov", "mkv"])
def test_mjpeg_with_a_packet_of_nothing_but_tables(tmp_path: Path, suffix: str) -> None:
    whole = write_clip(tmp_path / f"whole.{suffix}", 8, **MJPEG)
    path = remux(
        whole,
        tmp_path / f"a.{suffix}",
        lambda number, jpeg: without(jpeg, DQT, DHT) if number else tables_of(jpeg),
    )
    check_all_ways_agree(path, list(range(1, 8)))


def test_what_the_headers_of_a_jpeg_say(tmp_path: Path) -> None:
    with av.open(str(write_clip(tmp_path / "a.avi", 1, **MJPEG))) as container:
        jpeg = bytes(next(container.demux(video=0)))
    for data, expected in [
        (jpeg, Jpeg(complete=True, huffman=True)),
        (without(jpeg, DHT), Jpeg(complete=True)),
        (without(jpeg, DQT), Jpeg(huffman=True)),
        (tables_of(jpeg), Jpeg(tables_only=True, huffman=True)),
        (b"\0" + jpeg, Jpeg(begins=False)),
        (jpeg[:30], Jpeg()),
        (b"\xff\xd8", Jpeg()),
    ]:
        assert jpeg_of(memoryview(data)) == expected
    for number in range(2, len(jpeg), 7):  # whatever is in there, nothing is raised
        jpeg_of(memoryview(jpeg[:number]))
        jpeg_of(memoryview(jpeg[:number] + bytes(range(255, 0, -1))))


def big(number: int) -> Image:
    return numbered(number, 160, 112)


def small(number: int) -> Image:
    return numbered(number + 6)


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("mjpeg.avi", "mjpeg", {}), ("mjpeg.mkv", "mjpeg", {}), ("mjpeg.mov", "mjpeg", {}),
        ("h264.avi", "libx264", {}), ("h264.mp4", "libx264", {"x264-params": "repeat-headers=1"}),
        ("h264.mkv", "libx264", {"x264-params": "repeat-headers=1"}), ("mpeg4.avi", "mpeg4", {}),
        ("h265.mp4", "libx265", {"x265-params": "repeat-headers=1:log-level=none"}),
        ("png.avi", "png", {}), ("png.mov", "png", {}), ("j2k.mkv", "jpeg2000", {}), ("vp8.mkv", "libvpx", {}),
        ("vp9.mkv", "libvpx-vp9", {}),
    ],
)  # fmt: skip
def test_a_size_that_changes_midway(tmp_path: Path, name: str, codec: str, options: dict[str, str]) -> None:
    suffix = name.rpartition(".")[2]
    pix_fmt = {"mjpeg": "yuvj420p", "png": "rgb24", "jpeg2000": "gray"}.get(codec, "yuv420p")
    parts = [
        write_clip(
            tmp_path / f"{drawn.__name__}.{suffix}", 6, codec=codec, pix_fmt=pix_fmt, picture=drawn, options=options
        )
        for drawn in (big, small)
    ]
    path = concatenated(parts, tmp_path / name)
    check_all_ways_agree(path, list(range(12)))
    for wanted in (range(12), [9], [2]):
        sink = Extractor(wanted)
        media, _ = read(path, sink)
        for picture in sink.pictures:
            size = (160, 112) if picture.frame_index < 6 else (128, 96)
            image = cv2.imdecode(np.frombuffer(picture.data, np.uint8), cv2.IMREAD_COLOR)
            assert (picture.width_px, picture.height_px) == size == image.shape[1::-1]
            assert number_in(image) == picture.frame_index
    media, _ = read(path, Sampler({"line": Rate(0.001, 99, 0)}))
    assert (media.width_px, media.height_px) == (160, 112)  # the first's, however it was read
