from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tasks.errors import NotFound
from tasks.ingest.frames import take_frames
from tasks.ingest.landing import add
from tasks.ingest.recordings import ingest_new
from tasks.lake import Lake
from tasks.schemas import Frame, Recording
from tests.ingest.clips import number_in, write_clip
from tests.ingest.test_recordings import LINE, a_line
from tests.ingest.test_video_state import write_palette


def taken_in(lake: Lake, clip: Path) -> Recording:
    add(lake, [clip])
    ingest_new(lake, [LINE])
    return lake.tables.rows("recordings", Recording)[-1]


def number_of(lake: Lake, frame: Frame) -> int:
    return number_in(cv2.imdecode(np.frombuffer(lake.blobs.get_bytes(frame.oid), np.uint8), cv2.IMREAD_COLOR))


def test_exactly_the_frames_asked_for(lake: Lake, tmp_path: Path) -> None:
    recording = taken_in(lake, write_clip(tmp_path / "a.mp4", 60, b_frames=2))
    wanted = [41, 0, 59, 15, 41]
    found = take_frames(lake, recording, LINE.line, wanted)
    assert [number_of(lake, frame) for frame in found] == [frame.frame_index for frame in found] == wanted
    assert {frame.frame_index: frame.reason for frame in found} == {
        0: "sampled", 15: "sampled", 41: "labelled", 59: "labelled",
    }  # fmt: skip
    rows = lake.tables.rows("frames", Frame)
    assert len(rows) == 4 + 2  # four were sampled
    snapshot = lake.tables.snapshot_id("frames")
    assert take_frames(lake, recording, LINE.line, wanted) == found
    assert lake.tables.snapshot_id("frames") == snapshot


def test_another_line_shares_the_pictures(lake: Lake, tmp_path: Path) -> None:
    recording = taken_in(lake, write_clip(tmp_path / "a.avi", 30, codec="mjpeg", pix_fmt="yuvj420p"))
    own = take_frames(lake, recording, LINE.line, [0, 7])
    others = take_frames(lake, recording, "other-line", [7, 0, 8])
    assert [frame.oid for frame in others[:2]] == [own[1].oid, own[0].oid]
    assert [number_of(lake, frame) for frame in others] == [7, 0, 8]
    assert {frame.line for frame in others} == {"other-line"}


@pytest.mark.parametrize("name", ["a.avi", "a.mov"])
def test_frames_of_palette_video_are_what_sampling_takes(lake: Lake, tmp_path: Path, name: str) -> None:
    recording = taken_in(lake, write_palette(tmp_path / name, "rawvideo"))
    found = take_frames(lake, recording, LINE.line, [0, 3, 7])
    assert [number_of(lake, frame) for frame in found] == [0, 3, 7]
    sampled = ingest_new(lake, [LINE, a_line("all", frames={"every_s": 0.04, "max_per_recording": 99})])
    assert sampled.frames == 8
    rows = {frame.frame_index: frame.oid for frame in lake.tables.rows("frames", Frame, {"line": "all"})}
    assert [rows[index] for index in (0, 3, 7)] == [frame.oid for frame in found]


def test_no_such_frame(lake: Lake, tmp_path: Path) -> None:
    recording = taken_in(lake, write_clip(tmp_path / "a.mp4", 10))
    with pytest.raises(NotFound, match=r"'a.mp4': no frame 10.*0 to 9 \(10 frames\)"):
        take_frames(lake, recording, LINE.line, [3, 10])
    with pytest.raises(NotFound):
        take_frames(lake, recording, LINE.line, [-1])


def test_a_line_whose_every_frame_was_taken_for_labels_needs_no_sampling(lake: Lake, tmp_path: Path) -> None:
    recording = taken_in(lake, write_clip(tmp_path / "a.mp4", 20))
    take_frames(lake, recording, "later-line", range(20))
    later = LINE.model_copy(update={"line": "later-line"})
    assert ingest_new(lake, [LINE, later]).frames == 0
    assert len(lake.tables.rows("frames", Frame, {"line": "later-line"})) == 20
