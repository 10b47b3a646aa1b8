"""Videos of more than 8 bits: stretched over the recording's range, which is recorded."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest

from tasks.ingest.frames import take_frames
from tasks.ingest.grey import Brightness, stretched
from tasks.ingest.landing import add
from tasks.ingest.recordings import ingest_new
from tasks.ingest.sampling import Extractor, Rate, Sampler
from tasks.lake import Lake
from tasks.schemas import Frame, Recording
from tests.ingest.clips import numbered
from tests.ingest.test_recordings import LINE, a_line
from tests.ingest.test_video import number_of, read

Deep = npt.NDArray[np.uint16]
CAMERAS = [
    ("a.mkv", "ffv1", "gray16le"), ("a.avi", "ffv1", "gray16le"), ("a.mkv", "ffv1", "gray12le"),
    ("a.mkv", "ffv1", "gray10le"), ("a.mov", "rawvideo", "gray16be"), ("a.mov", "png", "gray16be"),
    ("a.mkv", "jpeg2000", "gray16le"), ("a.mp4", "libx265", "gray12le"), ("a.mkv", "ffv1", "rgb48le"),
    ("a.mkv", "ffv1", "gbrp12le"),
]  # fmt: skip
LOSSLESS = {"libx265": {"x265-params": "lossless=1:log-level=none"}, "jpeg2000": {"pred": "1"}}


def twelve_bits(number: int) -> Deep:
    """A numbered picture in the lower part of 10 bits, so that all formats hold it: 64 + 3 * grey."""
    return (numbered(number).astype(np.uint16) * 3 + 64).astype(np.uint16)


def write(path: Path, codec: str, pix_fmt: str, frames: int = 20) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options={"strict": "-2"} | LOSSLESS.get(codec, {}))
        stream.height, stream.width = numbered(0).shape
        stream.pix_fmt = pix_fmt
        for number in range(frames):
            frame = av.VideoFrame(stream.width, stream.height, pix_fmt)
            order = ">" if frame.format.is_big_endian else "<"
            repeated = len(frame.format.components) if len(frame.planes) == 1 else 1
            for plane in frame.planes:
                rows = np.zeros((stream.height, plane.line_size // 2), f"{order}u2")
                rows[:, : stream.width * repeated] = np.repeat(twelve_bits(number), repeated, axis=1)
                plane.update(rows.tobytes())
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def range_of(frames: int) -> tuple[float, float]:
    """By definition: the percentiles of all values of all frames."""
    values = np.sort(np.concatenate([twelve_bits(number).ravel() for number in range(frames)]))
    low, high = (values[int(np.ceil(len(values) * percent / 100)) - 1] for percent in (0.01, 99.99))
    return float(low), float(high)


def pixels(data: bytes) -> npt.NDArray[np.float64]:
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE), np.float64)


@pytest.mark.parametrize(("name", "codec", "pix_fmt"), CAMERAS)
def test_a_camera_of_few_bits_in_wide_words(tmp_path: Path, name: str, codec: str, pix_fmt: str) -> None:
    path = write(tmp_path / name, codec, pix_fmt)
    sampler = Sampler({"line": Rate(0.04, 99, 0)})
    media, _ = read(path, sampler)
    assert [number_of(picture) for picture in sampler.pictures] == list(range(20))
    assert (media.grey_low, media.grey_high) == range_of(20)
    low, high = range_of(20)
    for picture in sampler.pictures[::6]:
        back = low + pixels(picture.data) / 255 * (high - low)
        assert np.abs(back - twelve_bits(picture.frame_index)).mean() < 2 * (high - low) / 255
        for known in (None, (low, high)):
            sink = Extractor([picture.frame_index])
            read(path, sink, frames_known=20, grey_range=known)
            assert sink.pictures == [picture]


def test_one_scale_for_the_whole_recording(tmp_path: Path) -> None:
    """A dim beginning stays dim beside a bright end, also for who asks for the beginning only."""
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "gray16le"
        for number in range(10):
            values = np.full((48, 64), 100 + 300 * number, np.uint16)
            frame = av.VideoFrame.from_ndarray(values, format="gray16le")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    sink = Extractor([0, 1, 9])
    media, _ = read(path, sink)
    assert (media.grey_low, media.grey_high) == (100, 2800)
    assert [round(pixels(picture.data).mean()) for picture in sink.pictures] == [0, 28, 255]
    sink = Extractor([1])
    read(path, sink)
    assert round(pixels(sink.pictures[0].data).mean()) == 28


def test_the_mapping_is_in_the_recordings_table_and_holds_for_later_frames(lake: Lake, tmp_path: Path) -> None:
    add(lake, [write(tmp_path / "a.mkv", "ffv1", "gray16le")])
    ingest_new(lake, [])  # recorded even where nobody wants a frame yet
    (recording,) = lake.tables.rows("recordings", Recording)
    assert recording.grey_range == range_of(20)

    ingest_new(lake, [LINE])
    taken = take_frames(lake, recording, LINE.line, [0, 3, 11])
    other = a_line("other", frames={"every_s": 0.12, "max_per_recording": 60})
    ingest_new(lake, [LINE, other])
    low, high = range_of(20)
    rows = lake.tables.rows("frames", Frame)
    assert len(rows) > 5
    for frame in rows:
        back = low + pixels(lake.blobs.get_bytes(frame.oid)) / 255 * (high - low)
        assert np.abs(back - twelve_bits(frame.frame_index)).mean() < 2 * (high - low) / 255
    shared = {frame.frame_index: frame.oid for frame in rows if frame.line == "other"}
    assert shared[3] == taken[1].oid


def test_ordinary_video_has_no_mapping(lake: Lake, tmp_path: Path) -> None:
    for number, (codec, pix_fmt) in enumerate([("ffv1", "gray"), ("ffv1", "yuv420p10le"), ("libx264", "yuv420p")]):
        with av.open(str(tmp_path / f"{number}.mkv"), "w") as container:
            stream = container.add_stream(codec, rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 48, pix_fmt
            frame = av.VideoFrame.from_ndarray(np.full((48, 64), 90 + number, np.uint8), format="gray")
            container.mux(stream.encode(frame.reformat(format=pix_fmt)))
            container.mux(stream.encode())
        media, _ = read(tmp_path / f"{number}.mkv", Sampler({}))
        assert (media.grey_low, media.grey_high) == (None, None)


def test_brightness_and_stretching() -> None:
    seen = Brightness()
    assert seen.range is None
    seen.see(np.array([[np.nan, np.inf, -np.inf]], np.float32))
    assert seen.range is None
    seen.see(np.array([[0.25, 0.5, np.nan, np.inf]], np.float32))
    seen.see(np.array([[0.75]], np.float32))
    assert seen.range == pytest.approx((0.25, 0.75), abs=1e-4)
    image = stretched(np.array([[0.25, 0.5, 0.75, np.nan, np.inf, -np.inf]], np.float32), (0.25, 0.75))
    assert image.tolist() == [[0, 128, 255, 0, 255, 0]]
    assert stretched(np.array([[7, 7]], np.uint16), (7, 7)).tolist() == [[0, 0]]
    assert stretched(np.array([[10, 30, 110, 200]], np.uint16), (110, 10)).tolist() == [[255, 204, 0, 0]]
    wide = np.arange(2**17, dtype=np.uint32).reshape(2, -1).astype(np.uint16)
    assert np.array_equal(stretched(wide, (300, 4000)), stretched(wide.astype(float), (300, 4000)))
    hot = Brightness()
    hot.see(np.full((1000, 1000), 100, np.uint16))
    hot.see(np.array([[65535]], np.uint16))
    assert hot.range == (100, 100)
