from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest

from tasks.config import Line, parse_line
from tasks.ingest.landing import add
from tasks.ingest.recordings import ingest_new
from tasks.ingest.sidecar import key_of
from tasks.lake import Lake
from tasks.schemas import Frame, Landing, QuarantineItem, Recording
from tests.ingest.clips import number_in, write_clip


def a_line(name: str = "sperm-detector", **more: object) -> Line:
    data = {
        "line": name,
        "kind": "detection",
        "classes": ["sperm"],
        "frames": {"every_s": 0.5, "max_per_recording": 60},
        "recipe": {"name": "none"},
        "gates": [{"metric": "AP50", "at_least": 0.5}],
    }
    return parse_line(data | more, name)


LINE = a_line()


def recordings(lake: Lake) -> list[Recording]:
    return lake.tables.rows("recordings", Recording)


def frames(lake: Lake) -> list[Frame]:
    return lake.tables.rows("frames", Frame)


def outcomes(lake: Lake) -> dict[str, str]:
    return {row.key.rpartition("/")[2]: row.outcome for row in lake.tables.rows("landings", Landing)}


def picture_of(lake: Lake, frame: Frame) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(lake.blobs.get_bytes(frame.oid), np.uint8), cv2.IMREAD_COLOR)


def test_a_recording_and_its_frames_come_in(lake: Lake, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "S_0001.mp4", 60)
    add(lake, [clip], study="trial", donor="D7", um_per_px=0.5, split="test")
    report = ingest_new(lake, [LINE])

    (recording,) = recordings(lake)
    assert report.new == (recording.recording_id,)
    assert (recording.name, recording.stem, recording.study, recording.donor) == ("S_0001.mp4", "S_0001", "trial", "D7")
    assert (recording.um_per_px, recording.pinned_split, recording.codec) == (0.5, "test", "h264")
    assert (recording.fps_hz, recording.frames_announced, recording.frames_decoded) == (30, 60, 60)
    assert lake.blobs.get_bytes(recording.recording_id) == clip.read_bytes()
    pts = np.load(BytesIO(lake.blobs.get_bytes(recording.pts_oid)))
    assert pts.dtype == np.float64 and np.allclose(pts, np.arange(60) / 30)

    assert [frame.frame_index for frame in frames(lake)] == [0, 15, 30, 45]
    assert report.frames == 4
    for frame in frames(lake):
        assert number_in(picture_of(lake, frame)) == frame.frame_index
        assert frame.pts_s == pytest.approx(frame.frame_index / 30)
        assert (frame.line, frame.reason, frame.media_type) == ("sperm-detector", "sampled", "image/jpeg")


def test_a_second_night_finds_nothing_and_imports_no_decoder(lake: Lake, tmp_path: Path) -> None:
    add(lake, [write_clip(tmp_path / "a.mp4", 10)])
    ingest_new(lake, [LINE])
    snapshots = [lake.tables.snapshot_id(table) for table in ("recordings", "frames", "landings", "quarantine")]
    report = ingest_new(lake, [LINE])
    assert (report.new, report.frames, report.quarantined) == ((), 0, ())
    assert snapshots == [lake.tables.snapshot_id(t) for t in ("recordings", "frames", "landings", "quarantine")]

    code = (
        "import sys; from tasks.config import load_settings; from tasks.lake import open_lake;"
        "from tasks.ingest.recordings import ingest_new; ingest_new(open_lake(load_settings()), []);"
        "print(sorted({'av', 'cv2', 'torch', 'tifffile'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(lake), capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def environment(lake: Lake) -> dict[str, str]:
    s3 = lake.settings.s3
    return os.environ | {
        "NIGHTSCOPE_STATE_DIR": str(lake.settings.state_dir),
        "NIGHTSCOPE_S3__ENDPOINT": s3.endpoint,
        "NIGHTSCOPE_S3__ACCESS_KEY": s3.access_key,
        "NIGHTSCOPE_S3__SECRET_KEY": s3.secret_key.get_secret_value(),
        "NIGHTSCOPE_S3__LANDING_BUCKET": s3.landing_bucket,
        "NIGHTSCOPE_S3__LAKE_BUCKET": s3.lake_bucket,
    }


def test_the_hostile_folder(lake: Lake, tmp_path: Path) -> None:
    folder = tmp_path / "dropped"
    folder.mkdir()
    good = write_clip(folder / "good.mp4", 40, b_frames=2)
    shutil.copy(good, folder / "good, again.mp4")
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("this is no video\n" * 40)
    whole = write_clip(tmp_path / "whole.mp4", 60, container_options={"movflags": "faststart"}).read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (folder / "unfinished.mp4").write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    write_clip(folder / "no frames.mp4", 0)
    write_clip(tmp_path / "other.avi", 20, codec="mjpeg", pix_fmt="yuvj420p").rename(folder / "avi inside.mp4")
    write_clip(folder / "Probe ü 精子 ..\\..\\x.mp4", 30)
    (folder / "notes.txt").write_text("not a recording")

    added = add(lake, [folder, folder / ".." / "dropped" / "good.mp4", folder / "gone.mp4"])
    assert sorted(Path(entry.path).name for entry in added.refused) == ["gone.mp4", "notes.txt"]
    assert len(added.accepted) == 10
    assert all(entry.key.count("/") == 2 and ".." not in entry.key.split("/") for entry in added.accepted)

    report = ingest_new(lake, [LINE])
    reasons = {item.details["name"]: item.reason for item in report.quarantined}
    assert sorted(reasons) == ["avi inside.mp4", "cut.mp4", "empty.mp4", "no frames.mp4", "text.mp4", "unfinished.mp4"]
    assert "empty (0 bytes)" in reasons["empty.mp4"]
    assert "plain text" in reasons["text.mp4"]
    assert "of 60 frames are lost" in reasons["cut.mp4"]
    assert "moov" in reasons["unfinished.mp4"]
    assert "0 frames" in reasons["no frames.mp4"]
    assert "an AVI video" in reasons["avi inside.mp4"]
    assert sorted(recording.name for recording in recordings(lake)) == ["Probe ü 精子 .._.._x.mp4", "good, again.mp4"]
    assert len(report.duplicates) == 1
    assert outcomes(lake)["good.mp4"] == "duplicate"
    assert len(outcomes(lake)) == 9
    assert {item.reason for item in lake.tables.rows("quarantine", QuarantineItem)} == set(reasons.values())
    # Nothing is moved or deleted, and nothing is looked at twice.
    assert sum(not info.key.endswith(".json") for info in lake.landing.list()) == 9
    assert ingest_new(lake, [LINE]).quarantined == ()


def test_files_dropped_by_hand_and_their_sidecars(lake: Lake, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", 10).read_bytes()
    other = write_clip(tmp_path / "b.mp4", 11).read_bytes()
    third = write_clip(tmp_path / "c.mp4", 12).read_bytes()
    lake.landing.put_bytes("by hand/a.mp4", clip)
    lake.landing.put_bytes(key_of("b.mp4"), json.dumps({"donor": "D1", "name": "../B 1.mp4"}).encode())
    lake.landing.put_bytes("b.mp4", other)
    lake.landing.put_bytes(key_of("c.mp4"), b'{"donor": 7, "colour": "red", "um_per_px": -1}')
    lake.landing.put_bytes("c.mp4", third)
    lake.landing.put_bytes("readme.txt", b"hello")
    lake.landing.put_bytes(".hidden/x.mp4", b"")
    report = ingest_new(lake, [LINE])
    assert {(r.name, r.donor) for r in recordings(lake)} == {("a.mp4", None), ("_B 1.mp4", "D1")}
    reasons = {item.subject: item.reason for item in report.quarantined}
    assert sorted(reasons) == ["c.mp4", "readme.txt"]
    assert all(word in reasons["c.mp4"] for word in ("donor", "colour", "um_per_px"))
    # A corrected sidecar is taken up when the recording is put again.
    lake.landing.put_bytes(key_of("c.mp4"), b'{"donor": "D2"}')
    lake.landing.put_bytes("c.mp4", third + b"\0" * 8)
    assert len(ingest_new(lake, [LINE]).new) == 1


def test_dropped_again_with_other_metadata_it_is_a_duplicate_that_says_so(lake: Lake, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", 10)
    add(lake, [clip], donor="D1")
    ingest_new(lake, [LINE])
    lake.landing.put_bytes(key_of("other/a.mp4"), b'{"donor": "D2"}')
    lake.landing.put_bytes("other/a.mp4", clip.read_bytes())
    report = ingest_new(lake, [LINE])
    assert (len(report.new), len(report.duplicates)) == (0, 1)
    assert [recording.donor for recording in recordings(lake)] == ["D1"]
    reason = lake.tables.rows("landings", Landing)[-1].reason
    assert reason is not None and "metadata stay" in reason


def test_lines_get_what_they_want_also_later(lake: Lake, tmp_path: Path) -> None:
    add(lake, [write_clip(tmp_path / "a.mp4", 60)], study="one")
    add(lake, [write_clip(tmp_path / "b.avi", 61, codec="mjpeg", pix_fmt="yuvj420p")], study="two")
    first, picky = a_line("first-line"), a_line("picky-line", recordings={"except_studies": ["one"]})
    report = ingest_new(lake, [first, picky])
    assert (len(report.new), report.frames) == (2, 4 + 5 + 5)
    dense = a_line("dense-line", frames={"every_s": 0.1, "max_per_recording": 8})
    report = ingest_new(lake, [first, picky, dense])
    assert (report.new, report.frames) == ((), 16)
    for frame in frames(lake):
        assert number_in(picture_of(lake, frame)) == frame.frame_index
    assert ingest_new(lake, [first, picky, dense]).frames == 0
    # Lines share the pictures: a frame is one blob however many want it.
    shared = {(f.recording_id, f.frame_index): f.oid for f in frames(lake)}
    assert len(set(shared.values())) == len(shared)


KILLED_NIGHT = """
import os, signal, sys
from tasks.config import load_settings
from tasks.ingest import night
from tasks.ingest.recordings import ingest_new
from tasks.lake import open_lake
from tasks.lake.tables import Tables
from tests.ingest.test_recordings import LINE

table, moment = sys.argv[1].split(":")
night.COMMIT_RECORDINGS = 2
append = Tables.append
def killing(self, name, rows, **more):
    if name == table and moment == "before" and len(rows): os.kill(os.getpid(), signal.SIGKILL)
    count = append(self, name, rows, **more)
    if name == table and moment == "after" and count: os.kill(os.getpid(), signal.SIGKILL)
    return count
Tables.append = killing
ingest_new(open_lake(load_settings()), [LINE])
"""


@pytest.mark.parametrize(
    "point", ["recordings:before", "recordings:after", "frames:after", "quarantine:after", "landings:after"]
)
def test_a_killed_night_is_completed_by_the_next(lake: Lake, tmp_path: Path, point: str) -> None:
    clips = [write_clip(tmp_path / f"S_{number}.mp4", 30 + number) for number in range(3)]
    (tmp_path / "bad.mp4").write_text("no video")
    add(lake, [*clips, tmp_path / "bad.mp4"])
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_NIGHT, point], env=environment(lake), cwd=Path.cwd(), check=False
    )
    assert killed.returncode == -signal.SIGKILL
    ingest_new(lake, [LINE])
    assert sorted(recording.name for recording in recordings(lake)) == ["S_0.mp4", "S_1.mp4", "S_2.mp4"]
    found = sorted((frame.recording_id, frame.frame_index) for frame in frames(lake))
    wanted = [(recording.recording_id, index) for recording in recordings(lake) for index in (0, 15)]
    wanted += [(r.recording_id, 30) for r in recordings(lake) if r.frames_decoded > 30]
    assert found == sorted(wanted)
    assert outcomes(lake) == {
        "S_0.mp4": "ingested",
        "S_1.mp4": "ingested",
        "S_2.mp4": "ingested",
        "bad.mp4": "quarantined",
    }
    assert len(lake.tables.rows("landings", Landing)) == 4
    assert len(lake.tables.rows("quarantine", QuarantineItem)) == 1
    assert ingest_new(lake, [LINE]).new == ()


def test_the_same_file_under_many_names_in_one_night(lake: Lake, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "0.mp4", 30)
    copies = [Path(shutil.copy(clip, tmp_path / f"{number}.mp4")) for number in range(1, 12)]
    add(lake, [clip, *copies])
    report = ingest_new(lake, [LINE])
    assert (len(report.new), len(report.duplicates), len(recordings(lake))) == (1, 11, 1)
    assert len(frames(lake)) == 2
