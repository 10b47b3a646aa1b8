"""A dataset version follows from its annotations alone, and nothing is frozen that should not be."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tasks.config import Line
from tasks.datasets import splits
from tasks.datasets.freeze import freeze, manifest_rows
from tasks.errors import InsufficientData, LeakageError
from tasks.kinds import kind_of
from tasks.lake import Lake
from tasks.lake.datasets import COLUMNS, Datasets
from tasks.schemas import Frame
from tasks.validation.dataset import check_dataset
from tasks.validation.validate import validate
from tests.datasets.scenes import background, clip, jpeg
from tests.validation.factory import a_box, a_line, a_recording, an_annotation, fill, good_lake, put_frame

DETECTION = kind_of("detection")

LINE = a_line()


def night(lake: Lake, line: Line = LINE) -> str:
    found = validate(lake, line, DETECTION)
    about: dict[str, Any] = {"result_oid": found.result_oid, "snapshots": found.snapshots}
    return freeze(lake, line, found.accepted, validation=about, check=check_dataset, kind=DETECTION)


def test_a_version_holds_frames_labels_and_splits(lake: Lake) -> None:
    annotations = good_lake(lake)
    manifest = lake.datasets.load(LINE.line, night(lake))
    assert manifest.rows.schema.names == list(COLUMNS)
    assert json.loads(manifest.rows.schema.metadata[b"classes"]) == ["sperm", "impurity"]
    assert {row["revision_id"] for row in manifest.rows.to_pylist()} == {a.revision_id for a in annotations}
    about = manifest.about
    assert about["has_val"] is False
    assert about["counts"]["train"] == {"groups": 2, "recordings": 2, "frames": 4, "labels": {"sperm": 4}}
    assert about["counts"]["test"]["frames"] == 2
    assert "no validation split" in about["warnings"][0]
    assert about["leak_check"]["frames"] == 6
    assert json.loads(lake.blobs.get_bytes(about["validation"]["dataset_oid"]))["success"]
    assert about["splits"] == splits.recorded(lake, LINE)
    assert about["validation"]["snapshots"]["annotations"] is not None


def test_a_version_of_several_studies_has_each_frames_study(lake: Lake) -> None:
    recordings = [a_recording(name, minutes, study=study) for minutes, (name, study) in enumerate(
        [("a", "ivf"), ("b", "ivf"), ("c", "mice"), ("d", None)])]  # fmt: skip
    frames = [put_frame(lake, recording, index) for recording in recordings for index in range(2)]
    fill(lake, recordings, frames, [an_annotation(frame) for frame in frames])
    rows = lake.datasets.load(LINE.line, night(lake)).rows
    assert rows.schema.names == [*COLUMNS, "study"]
    assert {(row["recording_name"][0], row["study"]) for row in rows.to_pylist()} == {
        ("a", "ivf"), ("b", "ivf"), ("c", "mice"), ("d", None)}  # fmt: skip
    one = a_line(recordings={"studies": ["ivf"]}, minimums={})
    found = validate(lake, one, DETECTION).accepted.append_column("split", [["train"] * 4])
    assert manifest_rows(one, found).schema.names == list(COLUMNS), "one study is nothing to tell apart"


def test_the_same_annotations_are_the_same_version(lake: Lake) -> None:
    good_lake(lake)
    first = night(lake)
    created = lake.datasets.load(LINE.line, first).about["created_at"]
    assert night(lake) == first
    assert lake.datasets.versions(LINE.line) == [first]
    assert lake.datasets.load(LINE.line, first).about["created_at"] == created


def test_killed_between_splits_and_manifest_the_next_night_makes_the_same_version(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    good_lake(lake)
    with monkeypatch.context() as patch:
        patch.setattr(Datasets, "save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            night(lake)
    recorded = splits.recorded(lake, LINE)
    assert len(recorded) == 3
    first = night(lake)
    assert splits.recorded(lake, LINE) == recorded
    assert night(lake) == first


def test_growing_data_makes_new_versions_and_moves_no_group(lake: Lake) -> None:
    good_lake(lake)
    before = lake.datasets.load(LINE.line, night(lake)).about["splits"]
    new = a_recording("d", 9)
    frame = put_frame(lake, new, 0)
    fill(lake, [new], [frame], [an_annotation(frame)])
    after = lake.datasets.load(LINE.line, night(lake)).about
    assert before.items() <= after["splits"].items()
    assert after["has_val"]
    assert len(lake.datasets.versions(LINE.line)) == 2


def test_donors_stay_together_and_pins_are_kept(lake: Lake) -> None:
    recordings = [a_recording(f"r{n}", n, donor=f"d{n % 3}") for n in range(6)]
    recordings[4] = a_recording("r4", 4, donor="d1", pinned_split="test")
    frames = [put_frame(lake, recording, 0) for recording in recordings]
    fill(lake, recordings, frames, [an_annotation(frame) for frame in frames])
    about = lake.datasets.load(LINE.line, night(lake)).about
    assert about["splits"] == {"donor:d0": "train", "donor:d1": "test", "donor:d2": "train"}
    assert about["counts"]["test"]["recordings"] == 2


def test_a_line_below_its_minimums_per_split_stops_and_records_nothing(lake: Lake) -> None:
    good_lake(lake)
    line = a_line(minimums={"recordings": 3, "labels_per_split": {"sperm": 3}})
    with pytest.raises(InsufficientData, match=r"labels of class sperm in test: 2 of 3 \(1 more needed\)"):
        night(lake, line)
    assert splits.recorded(lake, line) == {}
    assert lake.datasets.versions(line.line) == []


def test_two_groups_are_too_few(lake: Lake) -> None:
    good_lake(lake, names=("a", "b"))
    with pytest.raises(InsufficientData, match="at least 3"):
        night(lake)


def test_a_clip_that_came_twice_under_two_encodings_is_refused_and_nothing_is_recorded(lake: Lake) -> None:
    pictures = clip(1, 5, background(1))
    frames: list[Frame] = []
    recordings = [a_recording(f"r{number}", number) for number in range(3)]
    for recording, quality in zip(recordings, (95, 90, 60), strict=True):
        frames += [put_frame(lake, recording, i, data=jpeg(p, quality), phash="0" * 16) for i, p in enumerate(pictures)]
    fill(lake, recordings, frames, [an_annotation(frame, [a_box()]) for frame in frames])
    with pytest.raises(LeakageError, match="nearly the same frame"):
        night(lake)
    assert splits.recorded(lake, LINE) == {}
