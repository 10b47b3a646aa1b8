"""Time without pictures: empty chunks of an AVI, pictures that are not coded, hidden ones. Times that do not rise."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tasks.errors import UnreadableRecording
from tasks.ingest.avi import slots_in
from tasks.ingest.sampling import Extractor, Rate, Sampler
from tests.ingest.clips import write_clip
from tests.ingest.remux import remux
from tests.ingest.test_video import number_of, read

MJPEG = {"codec": "mjpeg", "pix_fmt": "yuvj420p", "fps_hz": 25}
CODECS = {"mjpeg": MJPEG, "h264": {"fps_hz": 25}, "mpeg4": {"codec": "mpeg4", "fps_hz": 25}}


def check(path: Path, numbers: list[int], times: list[float] | None = None) -> None:
    """These pictures, none lost, at these times; each index by itself the same."""
    sampler = Sampler({"line": Rate(1e-5, 99999, 0)})
    media, pts = read(path, sampler)
    assert (media.frames_announced, media.frames_decoded) == (len(numbers), len(numbers))
    assert [number_of(picture) for picture in sampler.pictures] == numbers
    assert np.all(np.diff(pts) > 0)
    assert [picture.pts_s for picture in sampler.pictures] == pts.tolist()
    if times is not None:
        assert pts.tolist() == pytest.approx(times, abs=0.0006)
    for picture in sampler.pictures[::3]:
        sink = Extractor([picture.frame_index])
        read(path, sink, frames_known=media.frames_decoded)
        assert sink.pictures == [picture]


@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
def test_an_avi_with_two_slots_a_picture(tmp_path: Path, codec: str, b_frames: int) -> None:
    """As `ffmpeg -c copy` writes MPEG-4 and H.264 with B-frames: 50 slots a second, every second one empty."""
    source = write_clip(tmp_path / "a.avi", 40, codec=codec, b_frames=b_frames, fps_hz=25)
    path = remux(source, tmp_path / "b.avi", empty_slots=1)
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == 80
    assert slots_in(path, 0) == 80
    check(path, list(range(40)), [number / 25 for number in range(40)])
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 9 // 10])
    with pytest.raises(UnreadableRecording, match="cut short"):
        read(path, Sampler({}))


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("empty", [{0, 1}, {5, 6, 9}, {18, 19}, {0, 4, 11, 19}])
def test_empty_chunks_of_an_avi_show_the_picture_before_on(tmp_path: Path, codec: str, empty: set[int]) -> None:
    made = CODECS[codec] | ({"options": {"g": "1"}} if codec != "mjpeg" else {})
    source = write_clip(tmp_path / "a.avi", 20, **made)
    path = remux(source, tmp_path / "b.avi", lambda number, data: b"" if number in empty else data)
    assert slots_in(path, 0) == 20
    kept = sorted(set(range(20)) - empty)
    check(path, kept, [number / 25 for number in kept])


@pytest.mark.parametrize("part", [0.3, 0.9])
def test_what_is_cut_off_an_avi_with_empty_chunks_is_lost(tmp_path: Path, part: float) -> None:
    source = write_clip(tmp_path / "a.avi", 100, **MJPEG)
    path = remux(source, tmp_path / "b.avi", lambda number, data: b"" if number % 2 else data)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(UnreadableRecording, match="cut short"):
        read(path, Sampler({}))


def not_coded(data: bytes) -> bytes:
    """An MPEG-4 picture turned into one that is not coded, as writers put where a camera dropped a frame."""
    at = data.rindex(b"\0\0\1\xb6") + 4
    bits = f"{int.from_bytes(data[at : at + 8], 'big'):064b}"
    until = bits.index("0", 2) + 1 + 1 + 5 + 1  # type, seconds, marker, 1/25 s, marker
    ended = bits[:until] + "0"
    ended += "0" + "1" * (-(len(ended) + 1) % 8)
    return data[:at] + int(ended, 2).to_bytes(len(ended) // 8, "big")


@pytest.mark.parametrize("suffix", ["avi", "mp4", "mkv"])
def test_mpeg4_pictures_that_are_not_coded_are_no_frames(tmp_path: Path, suffix: str) -> None:
    source = write_clip(tmp_path / f"a.{suffix}", 20, codec="mpeg4", fps_hz=25)
    empty = {3, 4, 7, 12, 16}
    path = remux(source, tmp_path / f"b.{suffix}", lambda number, data: not_coded(data) if number in empty else data)
    sampler = Sampler({"line": Rate(1e-5, 99999, 0)})
    media, pts = read(path, sampler)
    assert (media.frames_announced, media.frames_decoded) == (15, 15)
    kept = sorted(set(range(20)) - empty)
    assert pts.tolist() == pytest.approx([number / 25 for number in kept], abs=0.0006)


def hide(data: bytes) -> bytes:
    return bytes([data[0] & ~0x10]) + data[1:]


def test_b_frames_packed_as_divx_and_xvid_do(tmp_path: Path) -> None:
    """A packet holds a picture and the B-frame before it; the next one holds a picture that is not coded."""
    source = write_clip(tmp_path / "a.mkv", 21, codec="mpeg4", b_frames=1, fps_hz=25)
    with av.open(str(source)) as container:
        header = bytes(container.streams.video[0].codec_context.extradata or b"")
        coded = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    is_b = [data[data.index(b"\0\0\1\xb6") + 4] >> 6 == 2 for data in coded]
    packed: list[bytes] = []
    for number, data in enumerate(coded):
        if is_b[number]:
            packed[-1] += data
            packed.append(b"\0\0\1\xb6\x51\xf0\x80")
        else:
            packed.append(data)
    assert sum(is_b) == 10 and len(packed) == 21
    first = packed[0].index(b"\0\0\1\xb6")
    packed[0] = header + packed[0][:first] + b"\0\0\1\xb2DivX503b1393p" + packed[0][first:]
    plain = write_clip(tmp_path / "plain.avi", 21, codec="mpeg4", fps_hz=25)
    check(
        remux(plain, tmp_path / "b.avi", lambda number, _: packed[number]),
        list(range(21)),
        [number / 25 for number in range(21)],
    )


@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize("codec", ["mjpeg", "libx264", "mpeg4"])
def test_what_an_edit_list_cuts_away_is_not_lost(tmp_path: Path, codec: str, b_frames: int) -> None:
    """As QuickTime trims: everything is still in the file, and a list says which part is shown."""
    pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    path = write_clip(tmp_path / "a.mov", 50, codec=codec, b_frames=b_frames, pix_fmt=pix_fmt, fps_hz=25)
    data = bytearray(path.read_bytes())
    at = data.index(b"elst") + 12
    shown, begin = (int.from_bytes(data[at + skip : at + skip + 4], "big") for skip in (0, 4))
    data[at : at + 8] = (shown // 2).to_bytes(4, "big") + (begin + 14 * 512).to_bytes(4, "big")
    path.write_bytes(data)
    check(path, list(range(14, 39)), [number / 25 for number in range(25)])


def test_hidden_pictures_of_vp8_are_no_frames(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "a.mkv", 20, codec="libvpx", fps_hz=25, options={"error-resilient": "1"})
    path = remux(source, tmp_path / "b.mkv", lambda number, data: hide(data) if number in (5, 11) else data)
    kept = [number for number in range(20) if number not in (5, 11)]
    check(path, kept, [number / 25 for number in kept])


@pytest.mark.parametrize(
    ("suffix", "codec"), [("mkv", "mjpeg"), ("mkv", "h264"), ("mkv", "mpeg4"), ("mp4", "h264"), ("mp4", "mpeg4")]
)
@pytest.mark.parametrize(
    "moment",
    [
        lambda number: number // 2 * 2 + 2,
        lambda number: number + 1000,
        lambda number: 12 if number < 9 else number + 12,
    ],
    ids=["twice", "late", "nine-times"],
)
def test_times_that_do_not_rise_as_they_should(
    tmp_path: Path, suffix: str, codec: str, moment: Callable[[int], int]
) -> None:
    source = write_clip(tmp_path / f"a.{suffix}", 12, **CODECS[codec])
    check(remux(source, tmp_path / f"b.{suffix}", pts=moment), list(range(12)))


@pytest.mark.parametrize("moment", [lambda number: 3, lambda number: number - 7], ids=["all the same", "before zero"])
def test_odd_times_in_matroska(tmp_path: Path, moment: Callable[[int], int]) -> None:
    for codec, made in CODECS.items():
        source = write_clip(tmp_path / f"{codec}.mkv", 12, **made)
        check(remux(source, tmp_path / "b.mkv", pts=moment, dts=moment), list(range(12)))


def test_a_camera_faster_than_matroskas_milliseconds(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mkv", 60, fps_hz=4000)
    check(path, list(range(60)))
    _, pts = read(path, Sampler({}))
    assert pts[-1] == pytest.approx(59 / 4000, abs=0.001)
    assert np.abs(pts - np.arange(60) / 4000).max() < 0.0011


@pytest.mark.parametrize("stated", ["inf", "nan", "1e999", "-1"])
def test_a_matroska_that_states_an_odd_duration(tmp_path: Path, stated: str) -> None:
    path = write_clip(tmp_path / "a.mkv", 10, fps_hz=Fraction(25))
    data = path.read_bytes()
    at = data.index(b"00:00:00.4")
    path.write_bytes(data[:at] + f"00:00:{stated}"[:18].ljust(18, "\0").encode() + data[at + 18 :])
    media, _ = read(path, Sampler({}))
    assert media.frames_decoded == 10
