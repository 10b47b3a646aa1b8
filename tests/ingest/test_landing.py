from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from tasks.errors import ConfigError
from tasks.ingest.landing import add
from tasks.ingest.recordings import ingest_new
from tasks.ingest.sidecar import key_of
from tasks.lake import Lake
from tasks.schemas import Recording
from tests.ingest.clips import numbered, write_clip


def listing(lake: Lake) -> dict[str, tuple[str, object]]:
    return {info.key: (info.etag, info.modified_at) for info in lake.landing.list()}


def test_adding_twice_changes_nothing(lake: Lake, tmp_path: Path) -> None:
    clip = tmp_path / "a b.mp4"
    clip.write_bytes(b"whatever it is")
    first = add(lake, [clip], study="trial/1", donor=" D7 ", um_per_px=0.5, split="test", fps_hz=25)
    (entry,) = first.accepted
    assert entry.key.startswith("trial_1/") and entry.key.endswith("/a b.mp4")
    said = json.loads(lake.landing.get_bytes(key_of(entry.key)))
    assert said == {
        "study": "trial/1", "donor": "D7", "um_per_px": 0.5, "split": "test", "fps_hz": 25, "name": "a b.mp4",
    }  # fmt: skip
    before = listing(lake)
    assert add(lake, [clip], study="trial/1", donor="D7", um_per_px=0.5, split="test", fps_hz=25) == first
    assert listing(lake) == before and len(before) == 2
    assert add(lake, [clip], study="trial/1", donor="D8").accepted[0].key == entry.key
    assert json.loads(lake.landing.get_bytes(key_of(entry.key)))["donor"] == "D8"


def test_bad_metadata_adds_nothing(lake: Lake, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"x")
    with pytest.raises(ConfigError, match=r"um_per_px.*split"):
        add(lake, [tmp_path / "a.mp4"], um_per_px=-1, split="exam")  # type: ignore[arg-type]
    assert listing(lake) == {}


def test_what_is_no_recording_is_refused(lake: Lake, tmp_path: Path) -> None:
    for name in ("notes.txt", "single.png", "a.mp4.nightscope.json", "old.zip"):
        (tmp_path / name).write_bytes(b"x")
    report = add(lake, [tmp_path / n for n in ("notes.txt", "single.png", "a.mp4.nightscope.json", "old.zip", "gone")])
    reasons = {Path(entry.path).name: entry.reason for entry in report.refused}
    assert "expected .mp4" in reasons["notes.txt"]
    assert "folder" in reasons["single.png"]
    assert "sidecar" in reasons["a.mp4.nightscope.json"]
    assert "no such file" in reasons["gone"]
    assert (len(reasons), report.accepted) == (5, ())


def test_folders_are_walked_and_folders_of_images_packed(lake: Lake, tmp_path: Path) -> None:
    root = tmp_path / "day 1"
    for folder in ("scan.v1", "pages", "deep/er", ".hidden"):
        (root / folder).mkdir(parents=True)
    for number in range(11):
        cv2.imwrite(str(root / "scan.v1" / f"{number}.png"), numbered(number))
        tifffile.imwrite(root / "pages" / f"t{number}.tif", numbered(number))
    tifffile.imwrite(root / "pages" / "stack.tif", np.stack([numbered(n) for n in range(5)]), photometric="minisblack")
    (root / "deep/er/a.avi").write_bytes(b"x")
    (root / "..b.avi").write_bytes(b"y")
    (root / ".hidden/b.avi").write_bytes(b"x")
    for system_file in (".DS_Store", "._a.avi", ".mp4"):
        (root / system_file).write_bytes(b"x")
    report = add(lake, [root], fps_hz=10)
    assert report.refused == ()
    names = sorted(entry.key.rpartition("/")[2] for entry in report.accepted)
    assert names == ["a.avi", "b.avi", "pages.frames.zip", "scan.v1.frames.zip", "stack.tif"]
    assert add(lake, [root], fps_hz=10) == report

    ingest_new(lake, [])
    found = {r.name: (r.stem, r.frames_decoded, r.fps_hz) for r in lake.tables.rows("recordings", Recording)}
    assert found == {
        "pages.frames.zip": ("pages", 11, 10),
        "scan.v1.frames.zip": ("scan.v1", 11, 10),
        "stack.tif": ("stack", 5, 10),
    }


def test_metadata_that_contradicts_an_ingested_recording_is_refused(lake: Lake, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", frames=10)
    add(lake, [clip], donor="D1", um_per_px=0.5)
    ingest_new(lake, [])
    assert len(add(lake, [clip]).accepted) == 1, "saying nothing contradicts nothing"
    assert len(add(lake, [clip], donor="D1").accepted) == 1
    refused = add(lake, [clip], donor="D2", split="test").refused
    assert "donor 'D1', not 'D2'" in refused[0].reason and "split None, not 'test'" in refused[0].reason


def test_a_folder_without_recordings_is_named(lake: Lake, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert [entry.reason for entry in add(lake, [tmp_path / "empty"]).refused] == ["holds no recording"]
