"""Videos that claim too much, and headers in odd encodings or attitudes."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from tasks.config import IngestLimits
from tasks.errors import UnreadableRecording
from tasks.ingest.sampling import Extractor, Rate, Sampler
from tests.ingest.clips import Image, number_in, write_clip
from tests.ingest.remux import remux
from tests.ingest.test_video import read

pytestmark = pytest.mark.integration  # decodes at length

MJPEG = {"codec": "mjpeg", "pix_fmt": "yuvj420p"}
ROOT = Path(__file__).parents[2]


def claim(path: Path, width: int, height: int) -> Path:
    """Let an AVI's header say that its frames are as large as that."""
    data = bytearray(path.read_bytes())
    at = data.index(b"strf") + 8 + 4
    data[at : at + 8] = width.to_bytes(4, "little") + height.to_bytes(4, "little")
    path.write_bytes(data)
    return path


SIZES = [(30000, 30000), (65535, 65535), (2**30, 3), (3, 2**30), (2**31 - 1, 2**31 - 1), (12001, 10000)]
ALONE = """
import json, pathlib, resource, sys
from tasks.config import IngestLimits
from tasks.errors import UnreadableRecording
from tasks.ingest import video
from tasks.ingest.formats import Format
from tasks.ingest.sampling import Rate, Sampler

told = []
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sys.argv[1:]:
    try:
        video.read(pathlib.Path(path), Format.AVI, Sampler({"line": Rate(0.1, 9, 0)}))
    except UnreadableRecording as error:
        told.append(str(error))
print(json.dumps([told, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before]))
"""


def test_a_header_that_claims_too_much_is_refused_before_anything_is_decoded(tmp_path: Path) -> None:
    paths = []
    for codec, pix_fmt in [("rawvideo", "gray"), ("ffv1", "gray"), ("ffv1", "gray16le")]:
        for number, size in enumerate(SIZES):
            clip = write_clip(tmp_path / f"{codec}-{pix_fmt}-{number}.avi", 5, codec=codec, pix_fmt=pix_fmt)
            paths.append(claim(clip, *size))
    done = subprocess.run(
        [sys.executable, "-c", ALONE, *map(str, paths)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    told, grown_kib = json.loads(done.stdout)
    assert len(told) == len(paths)
    for reason in told:
        assert "the header claims frames of" in reason and "at most 120 million pixels" in reason
    assert grown_kib < 100_000


@pytest.mark.parametrize("size", SIZES)
def test_a_codec_that_knows_its_size_better_is_believed(tmp_path: Path, size: tuple[int, int]) -> None:
    path = claim(write_clip(tmp_path / "a.avi", 5, codec="mpeg4"), *size)
    media, _ = read(path, Sampler({"line": Rate(0.1, 9, 0)}))
    assert (media.width_px, media.height_px) == (128, 96)


def huge_jpeg(data: bytes) -> bytes:
    """A JPEG whose header says 60000 x 60000 px."""
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + (60000).to_bytes(2, "big") * 2 + data[at + 4 :]


@pytest.mark.parametrize("suffix", ["avi", "mkv"])
def test_a_picture_midway_that_claims_too_much_is_a_lost_frame(tmp_path: Path, suffix: str) -> None:
    source = write_clip(tmp_path / f"a.{suffix}", 100, **MJPEG)
    path = remux(source, tmp_path / f"b.{suffix}", lambda number, data: huge_jpeg(data) if number == 30 else data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    media, _ = read(path, Sampler({"line": Rate(0.5, 99, 0)}))
    assert (media.frames_announced, media.frames_decoded) == (100, 99)
    sink = Extractor([30])  # by the indices of this reading, the one behind it
    read(path, sink, frames_known=media.frames_decoded)
    assert number_in(cv2.imdecode(np.frombuffer(sink.pictures[0].data, np.uint8), cv2.IMREAD_COLOR)) == 31
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


def test_the_limits_are_settings(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", 30)
    with pytest.raises(UnreadableRecording, match=r"128 x 96 px; expected at most 0\.01 million pixels"):
        read(path, Sampler({}), limits=IngestLimits(picture_mpx=0.01))
    with pytest.raises(UnreadableRecording, match="thousand million pixels together"):
        read(path, Sampler({}), limits=IngestLimits(recording_gpx=0.0001))
    read(path, Sampler({}), limits=IngestLimits(picture_mpx=0.02, recording_gpx=0.001))


def test_titles_in_another_encoding_do_not_matter(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "a.avi", 5, **MJPEG)
    path = tmp_path / "b.avi"
    with av.open(str(source)) as read_from, av.open(str(path), "w") as container:
        container.metadata["title"] = "XXXXX"
        stream = container.add_stream_from_template(read_from.streams.video[0])
        for packet in read_from.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                container.mux(packet)
    data = path.read_bytes()
    assert data.count(b"XXXXX") == 1
    path.write_bytes(data.replace(b"XXXXX", "Größe".encode("latin-1")))
    media, _ = read(path, Sampler({}))
    assert media.frames_decoded == 5


ONE, MINUS = 0x10000, 0xFFFF0000
VIEWS: dict[str, tuple[int, int, int, int, list[list[int]]]] = {
    "as it is": (ONE, 0, 0, ONE, [[1, 2], [3, 4]]),
    "mirrored": (MINUS, 0, 0, ONE, [[2, 1], [4, 3]]),
    "upside down": (ONE, 0, 0, MINUS, [[3, 4], [1, 2]]),
    "turned by 180": (MINUS, 0, 0, MINUS, [[4, 3], [2, 1]]),
    "turned right": (0, ONE, MINUS, 0, [[3, 1], [4, 2]]),
    "turned left": (0, MINUS, ONE, 0, [[2, 4], [1, 3]]),
    "transposed": (0, ONE, ONE, 0, [[1, 3], [2, 4]]),
    "transposed the other way": (0, MINUS, MINUS, 0, [[4, 2], [3, 1]]),
}


def quarters(_: int) -> Image:
    return np.kron(np.array([[1, 2], [3, 4]], np.uint8) * 50, np.ones((48, 64), np.uint8))


@pytest.mark.parametrize(("codec", "pix_fmt"), [("libx264", "yuv420p"), ("mjpeg", "yuvj420p"), ("ffv1", "gray16le")])
@pytest.mark.parametrize("view", VIEWS)
def test_videos_are_shown_as_players_show_them(tmp_path: Path, view: str, codec: str, pix_fmt: str) -> None:
    path = write_clip(tmp_path / "a.mp4", 3, codec=codec, pix_fmt=pix_fmt, picture=quarters)
    data = bytearray(path.read_bytes())
    matrix = (ONE, 0, 0, 0, ONE, 0, 0, 0, 0x40000000)
    at = data.index(b"".join(number.to_bytes(4, "big") for number in matrix), data.index(b"tkhd"))
    a, b, c, d, expected = VIEWS[view]
    changed = (a, b, 0, c, d, 0, 0, 0, 0x40000000)
    data[at : at + 36] = b"".join(number.to_bytes(4, "big") for number in changed)
    path.write_bytes(data)
    sink = Extractor([1])
    read(path, sink)
    image = cv2.imdecode(np.frombuffer(sink.pictures[0].data, np.uint8), cv2.IMREAD_GRAYSCALE).astype(float)
    height, width = image.shape
    means = image.reshape(2, height // 2, 2, width // 2).mean((1, 3))
    assert np.argsort(means.ravel()).tolist() == np.argsort(np.array(expected).ravel()).tolist()
    media, _ = read(path, Sampler({"line": Rate(0.1, 9, 0)}))
    assert (media.width_px, media.height_px) == (width, height) == ((96, 128) if a == 0 else (128, 96))


def test_a_broken_file_of_each_kind_is_a_reason_and_no_crash(tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    for name, codec, pix_fmt in [
        ("a.avi", "rawvideo", "gray"), ("a.mov", "png", "gray16be"), ("a.mkv", "ffv1", "gray16le"),
        ("a.mp4", "mpeg4", "yuv420p"), ("a.avi", "mjpeg", "yuvj420p"),
    ]:  # fmt: skip
        whole = write_clip(tmp_path / name, 30, codec=codec, pix_fmt=pix_fmt).read_bytes()
        for _ in range(15):
            damaged = bytearray(whole)
            for at in generator.integers(16, len(whole) - 16, 20):
                damaged[at : at + 4] = generator.bytes(4)
            (tmp_path / name).write_bytes(damaged)
            try:
                read(tmp_path / name, Sampler({"line": Rate(0.1, 9, 0)}))
            except UnreadableRecording as error:
                assert error.thing
