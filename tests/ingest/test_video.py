from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from tasks.errors import UnreadableRecording
from tasks.ingest import video
from tasks.ingest.formats import check_content, format_of
from tasks.ingest.media import Media
from tasks.ingest.sampling import Extractor, Picture, Pts, Rate, Sampler, Sink
from tasks.ingest.stripping import stripped
from tests.ingest.clips import number_in, numbered, write_clip

FRAMES = 50
UNEVEN = np.cumsum(np.random.default_rng(1).integers(10, 90, FRAMES)).tolist()
MILLISECONDS = Fraction(1, 1000)
NTSC = Fraction(30000, 1001)

CLIPS: dict[str, dict[str, Any]] = {}
for suffix, rate, b_frames in itertools.product(("mp4", "mov", "mkv", "avi"), (24, 25, NTSC, 50), (0, 2)):
    CLIPS[f"h264 {float(rate):.5g} b{b_frames}.{suffix}"] = {"fps_hz": rate, "b_frames": b_frames}
for suffix in ("mp4", "mov", "mkv"):
    CLIPS[f"uneven.{suffix}"] = {"ticks": UNEVEN, "time_base": MILLISECONDS}
    CLIPS[f"uneven b3.{suffix}"] = {"ticks": UNEVEN, "time_base": MILLISECONDS, "b_frames": 3}
    CLIPS[f"late start.{suffix}"] = {"ticks": [75 + n for n in range(FRAMES)], "fps_hz": 25, "b_frames": 2}
for suffix in ("mp4", "mov", "mkv", "avi"):
    CLIPS[f"mjpeg.{suffix}"] = {"codec": "mjpeg", "pix_fmt": "yuvj420p"}
    CLIPS[f"mpeg4.{suffix}"] = {"codec": "mpeg4", "b_frames": 2}
CLIPS["uneven mjpeg.mkv"] = {"codec": "mjpeg", "pix_fmt": "yuvj420p", "ticks": UNEVEN, "time_base": MILLISECONDS}
CLIPS["dropped.avi"] = {"ticks": [0, 1, 2, 5, 6, 7, 9, 10, 12, *range(14, FRAMES + 5)]}
CLIPS["grey.avi"] = {"codec": "rawvideo", "pix_fmt": "gray"}
CLIPS["ffv1.mkv"] = {"codec": "ffv1", "pix_fmt": "gray"}
CLIPS["prores.mov"] = {"codec": "prores_ks", "pix_fmt": "yuv422p10le"}


def read(path: Path, sink: Sink, **more: Any) -> tuple[Media, Pts]:
    kind = format_of(path.name)
    assert kind is not None
    check_content(path, kind)
    return video.read(path, kind, sink, **more)


def number_of(picture: Picture) -> int:
    return number_in(cv2.imdecode(np.frombuffer(picture.data, np.uint8), cv2.IMREAD_COLOR))


@pytest.mark.parametrize("name", CLIPS)
def test_no_frame_is_off_by_one_and_every_timestamp_is_right(tmp_path: Path, name: str) -> None:
    made = CLIPS[name]
    path = write_clip(tmp_path / name, FRAMES, **made)
    sink = Extractor(range(FRAMES))
    media, _ = read(path, sink)
    assert [number_of(picture) for picture in sink.pictures] == list(range(FRAMES))

    sampler = Sampler({"often": Rate(0.2, 99, 0), "few": Rate(0.001, 7, 0)})
    media, pts = read(path, sampler)
    tick = float(made.get("time_base") or 1 / Fraction(made.get("fps_hz", 30)))
    truth = np.array(made.get("ticks") or range(FRAMES)) * tick
    assert (media.frames_announced, media.frames_decoded, pts.dtype) == (FRAMES, FRAMES, np.float64)
    assert np.abs(pts - truth).max() <= (0.00051 if name.endswith("mkv") else 1e-9)  # Matroska keeps milliseconds
    for picture in sampler.pictures:
        assert number_of(picture) == picture.frame_index
        assert picture.pts_s == pts[picture.frame_index]
    assert media.variable_frame_rate == ("uneven" in name or "dropped" in name)
    if not media.variable_frame_rate:
        assert media.fps_hz == pytest.approx(float(Fraction(made.get("fps_hz", 30))))
        assert media.duration_s == pytest.approx(FRAMES * tick, abs=0.002)


def test_extraction_stops_after_the_last_wanted_frame(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", 200, b_frames=2)
    sink = Extractor([30, 3])
    read(path, sink)
    assert [number_of(picture) for picture in sink.pictures] == [3, 30]


def test_mjpeg_packets_are_stored_unchanged(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.avi", 30, codec="mjpeg", pix_fmt="yuvj420p")
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    sampler = Sampler({"line": Rate(0.25, 60, 0)})
    read(path, sampler)
    wanted = [packets[index] for index in (0, 8, 15, 23)]
    kept = [stripped(packet) for packet in wanted]  # without the encoder's comment
    assert [picture.data for picture in sampler.pictures] == [plain.data for plain in kept if plain is not None]
    decoded = [cv2.imdecode(np.frombuffer(packet, np.uint8), cv2.IMREAD_COLOR) for packet in wanted]
    for picture, pixels in zip(sampler.pictures, decoded, strict=True):
        assert np.array_equal(cv2.imdecode(np.frombuffer(picture.data, np.uint8), cv2.IMREAD_COLOR), pixels)


def without_huffman_tables(path: Path) -> None:
    """As many cameras write MJPEG into AVI: every `DHT` segment made a comment of the same length."""
    data = path.read_bytes()
    assert data.count(b"\xff\xc4\x01\xa2") == 12
    path.write_bytes(data.replace(b"\xff\xc4\x01\xa2", b"\xff\xfe\x01\xa2"))


def test_mjpeg_without_huffman_tables_is_encoded_anew(tmp_path: Path) -> None:
    options = {"huffman": "default"}
    path = write_clip(tmp_path / "a.avi", 12, codec="mjpeg", pix_fmt="yuvj420p", options=options)
    without_huffman_tables(path)
    sampler = Sampler({"line": Rate(0.1, 60, 0)})
    read(path, sampler)
    assert [number_of(picture) for picture in sampler.pictures] == [0, 3, 6, 9]
    assert all(b"\xff\xc4" in picture.data for picture in sampler.pictures)


def test_turned_recordings_come_out_upright(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", 5)
    data = path.read_bytes()
    upright = b"".join(n.to_bytes(4, "big") for n in (0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000))
    turned = b"".join(n.to_bytes(4, "big") for n in (0, 0x10000, 0, 0xFFFF0000, 0, 0, 0, 0, 0x40000000))
    at = data.index(upright, data.index(b"tkhd"))
    path.write_bytes(data[:at] + turned + data[at + len(upright) :])
    sink = Extractor(range(5))
    media, _ = read(path, sink)
    assert (sink.pictures[0].width_px, sink.pictures[0].height_px) == (96, 128) == (media.width_px, media.height_px)
    image = cv2.imdecode(np.frombuffer(sink.pictures[3].data, np.uint8), cv2.IMREAD_COLOR)
    assert number_in(np.asarray(cv2.rotate(image, cv2.ROTATE_90_COUNTERCLOCKWISE), dtype=np.uint8)) == 3


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv", "a.avi", "m.avi", "m.mkv"])
@pytest.mark.parametrize("part", [0.03, 0.5, 0.9])
def test_a_cut_file_is_refused(tmp_path: Path, name: str, part: float) -> None:
    more: dict[str, Any] = {"codec": "mjpeg", "pix_fmt": "yuvj420p"} if name.startswith("m.") else {}
    if name.endswith(("mp4", "mov")):
        more["container_options"] = {"movflags": "faststart"}
    path = write_clip(tmp_path / name, 200, **more)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(UnreadableRecording):
        read(path, Sampler({"line": Rate(0.5, 60, 2)}))


def test_a_cut_fragmented_mp4_is_refused(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", 100, container_options={"movflags": "frag_keyframe+empty_moov"})
    read(path, Sampler({}))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(UnreadableRecording, match="fragmented"):
        read(path, Sampler({}))


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "m.avi", "m.mkv"])
def test_light_damage_is_survived_and_stated_heavy_damage_refused(tmp_path: Path, name: str) -> None:
    more: dict[str, Any] = {"codec": "mjpeg", "pix_fmt": "yuvj420p"} if name.startswith("m.") else {}
    whole = write_clip(tmp_path / name, 300, **more).read_bytes()
    for hits, refused in ((3, False), (400, True)):
        damaged, generator = bytearray(whole), np.random.default_rng(0)
        for at in generator.integers(len(whole) // 20, len(whole) * 9 // 10, hits):
            damaged[at : at + 8] = generator.bytes(8)
        path = tmp_path / name
        path.write_bytes(damaged)
        sampler = Sampler({"line": Rate(0.5, 60, 2)})
        if refused:
            with pytest.raises(UnreadableRecording):
                read(path, sampler)
            continue
        media, pts = read(path, sampler)
        assert media.frames_announced == 300
        assert 294 <= media.frames_decoded == len(pts) <= 300
        assert np.all(np.diff(pts) > 0)
        assert len(sampler.pictures) >= 18


def test_a_sampled_index_means_the_same_frame_when_extracted_from_a_damaged_file(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "m.avi", 200, codec="mjpeg", pix_fmt="yuvj420p")
    data = bytearray(path.read_bytes())
    start = data.index(b"\xff\xd8", len(data) // 2)
    end = data.index(b"\xff\xd8", start + 2)
    data[start:end] = bytes(end - start)  # one frame, and the header of the next
    path.write_bytes(data)
    sampler = Sampler({"line": Rate(0.5, 60, 0)})
    media, _ = read(path, sampler)
    assert media.frames_decoded < 200
    sink = Extractor([picture.frame_index for picture in sampler.pictures])
    read(path, sink, frames_known=media.frames_decoded)
    assert [picture.data for picture in sink.pictures] == [picture.data for picture in sampler.pictures]


def test_sampling_spans_the_whole_recording(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", 300)
    sampler = Sampler({"line": Rate(0.1, 10, 0)})
    read(path, sampler)
    assert sampler.kept["line"] == [0, 30, 60, 90, 120, 150, 180, 210, 240, 270]


def test_near_duplicates_are_left_out(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", 90, picture=lambda number: numbered(number // 45))
    sampler = Sampler({"all": Rate(0.5, 60, 0), "different": Rate(0.5, 60, 4)})
    read(path, sampler)
    assert sampler.kept == {"all": [0, 15, 30, 45, 60, 75], "different": [0, 45]}


def test_no_video_and_no_frames(tmp_path: Path) -> None:
    with pytest.raises(UnreadableRecording, match="0 frames"):
        read(write_clip(tmp_path / "none.mp4", 0), Sampler({}))
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(UnreadableRecording, match="no video"):
        read(path, Sampler({}))
