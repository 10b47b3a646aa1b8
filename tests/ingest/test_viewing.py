"""A recording is seen in small: every frame while it is short, all phases of time when it is long."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tasks.ingest import watching
from tasks.ingest.viewing import Viewer
from tasks.ingest.watching import WHOLE, Watcher, load
from tasks.lake import Lake
from tasks.schemas import Recording, now
from tests.ingest.clips import number_in, numbered, write_clip


def put(lake: Lake, path: Path, frames: int) -> str:
    recording = Recording(
        recording_id=lake.blobs.put_file(path), name=path.name, stem=path.stem, landing_key=path.name,
        container="mp4", codec="h264", width_px=128, height_px=96, fps_hz=30, frames_announced=frames,
        frames_decoded=frames, pts_oid="0" * 64, size_bytes=path.stat().st_size, ingested_at=now(),
    )  # fmt: skip
    lake.tables.append("recordings", [recording])
    return recording.recording_id


def test_every_frame_is_seen_with_its_time(lake: Lake, tmp_path: Path) -> None:
    oid = put(lake, write_clip(tmp_path / "a.mp4", 30), 30)
    with Viewer(lake) as viewer:
        ((seen, clip),) = viewer.watch([(oid, WHOLE)])
        pictures = viewer.pictures({oid: [4, 17]})
    assert seen == oid and not isinstance(clip, str)
    assert (clip.width_px, clip.height_px) == (128, 96)
    assert clip.indices.tolist() == list(range(30))
    assert clip.pts_s == pytest.approx(np.arange(30) / 30, abs=1e-3)
    assert clip.thumbs.shape == (30, 64, 64)
    assert [still.shape for still in clip.stills] == [(96, 128)] * 3
    import cv2

    shown = {key: cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) for key, data in pictures.items()}
    assert {key: number_in(picture) for key, picture in shown.items()} == {(oid, 4): 4, (oid, 17): 17}


def test_a_region_is_cut_out(lake: Lake, tmp_path: Path) -> None:
    oid = put(lake, write_clip(tmp_path / "a.mp4", 6, picture=numbered), 6)
    with Viewer(lake) as viewer:
        (_, whole), (_, corner) = viewer.watch([(oid, WHOLE), (oid, (0.0, 0.0, 0.125, 0.1667))])
    assert not isinstance(whole, str) and not isinstance(corner, str)
    assert np.ptp(whole.thumbs[4].astype(int)) > 200, "black and white blocks"
    assert corner.thumbs[5].mean() > 200 > 60 > corner.thumbs[4].mean(), "the first block is the lowest bit"


def test_what_cannot_be_seen_is_a_reason(lake: Lake, tmp_path: Path) -> None:
    (tmp_path / "b.mp4").write_bytes(b"\0\0\0\x18ftypmp42 nothing more")
    bad = put(lake, tmp_path / "b.mp4", 5)
    with Viewer(lake) as viewer:
        found = dict(viewer.watch([(bad, WHOLE), ("f" * 64, WHOLE)]))
        assert viewer.pictures({bad: [0]}) == {}
    assert "moov" in str(found[bad])
    assert found["f" * 64] == "the lake has no recording of this id"


def test_of_a_long_recording_every_phase_is_seen_in_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(watching, "MOST_FRAMES", 100)
    watcher, count = Watcher(WHOLE), 950
    watcher.plan(np.arange(count) / 30)
    for index in range(count):
        if watcher.wants(index, index / 30):
            watcher.take(index, index / 30, numbered(index))
    watcher.save(tmp_path / "w.npz")
    indices = load(tmp_path / "w.npz").indices
    assert set(range(0, count, 10)) <= set(indices.tolist())
    assert len(indices) < 100 + 12 * 10 + 3
    runs = indices[np.flatnonzero(np.diff(indices) == 1)]
    assert set((runs % 10).tolist()) >= set(range(9)), "whatever phase a copy begins in, some frame meets it"
