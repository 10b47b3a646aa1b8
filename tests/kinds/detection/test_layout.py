"""The YOLO layout: right files, right numbers, made once, healed when damaged."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import cv2
import pytest
import yaml

from tasks.datasets.folds import sizes
from tasks.datasets.freeze import freeze
from tasks.errors import DataError, InsufficientData, NotFound
from tasks.kinds import kind_of
from tasks.kinds.detection import layout as yolo
from tasks.kinds.detection.layout import image_name, label_text, materialise
from tasks.kinds.detection.metrics import labelled_boxes
from tasks.lake import Lake
from tasks.validation.dataset import check_dataset
from tasks.validation.validate import validate
from tests.validation.factory import a_box, a_line, a_recording, an_annotation, fill, good_lake, put_frame

DETECTION = kind_of("detection")

LINE = a_line()


def frozen(lake: Lake) -> str:
    found = validate(lake, LINE, DETECTION)
    return freeze(lake, LINE, found.accepted, validation={}, check=check_dataset, kind=DETECTION)


@pytest.fixture
def version(lake: Lake) -> str:
    good_lake(lake, names=("a", "b", "c", "d é/../x"))
    empty = a_recording("a", 0)
    frame = put_frame(lake, empty, 9)
    fill(lake, [], [frame], [an_annotation(frame, [])])
    return frozen(lake)


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_ino, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_layout_is_what_the_manifest_says(lake: Lake, version: str) -> None:
    data = materialise(lake, LINE, version)
    said = yaml.safe_load(data.read_text())
    assert said["names"] == {0: "sperm", 1: "impurity"}
    manifest = lake.datasets.load(LINE.line, version)
    assert manifest.about["has_val"]
    for row in manifest.rows.to_pylist():
        image = Path(said["path"]) / said[row["split"]] / image_name(row)
        assert image.read_bytes() == lake.blobs.get_bytes(row["frame_oid"])
        assert image.stat().st_ino == lake.blobs.fetch(row["frame_oid"]).stat().st_ino
        label = data.parent / "labels" / row["split"] / f"{image.stem}.txt"
        wanted = "" if row["frame_index"] == 9 else "0 0.21875000 0.27083333 0.12500000 0.12500000\n"
        assert label.read_text() == wanted
        assert cv2.imread(str(image)) is not None
    assert len(list(data.parent.glob("images/*/*"))) == len(list(data.parent.glob("labels/*/*"))) == 9


def test_without_a_validation_split_val_names_the_training_images(lake: Lake) -> None:
    good_lake(lake)
    said = yaml.safe_load(materialise(lake, LINE, frozen(lake)).read_text())
    assert said["val"] == said["train"] == "images/train"


def test_the_second_time_touches_nothing(lake: Lake, version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = materialise(lake, LINE, version)
    before = files(data.parent)
    (data.parent / "labels" / "train.cache").write_bytes(b"a trainer's own")
    monkeypatch.setattr(yolo, "_build", None)
    assert materialise(lake, LINE, version) == data
    assert files(data.parent).items() >= before.items()


@pytest.mark.parametrize("damage", ["images/train", "labels/test", "complete.json", "data.yaml"])
def test_a_damaged_layout_is_built_again(lake: Lake, version: str, damage: str) -> None:
    data = materialise(lake, LINE, version)
    before = {name: content for name, (_, content) in files(data.parent).items()}
    target = data.parent / damage
    next(target.iterdir()).unlink() if target.is_dir() else target.unlink()
    materialise(lake, LINE, version)
    assert {name: content for name, (_, content) in files(data.parent).items()} == before


def test_what_another_writer_wrote_is_written_anew(lake: Lake, version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = materialise(lake, LINE, version)
    labels = data.parent / "labels"
    before = [path.read_text() for path in sorted(labels.rglob("*.txt"))]
    monkeypatch.setattr(yolo, "label_text", lambda *_: "written by another release\n")
    materialise(lake, LINE, version)
    assert [path.read_text() for path in sorted(labels.rglob("*.txt"))] == before
    monkeypatch.setattr(yolo, "code_of", lambda *_: "another release")
    materialise(lake, LINE, version)
    assert {path.read_text() for path in labels.rglob("*.txt")} == {"written by another release\n"}


def test_a_killed_build_is_finished_by_the_next(lake: Lake, version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(yolo, "_data_yaml", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            materialise(lake, LINE, version)
    assert not (lake.settings.work_dir / "datasets" / version).exists()
    assert materialise(lake, LINE, version).is_file()
    assert not list((lake.settings.work_dir / "datasets").glob(".*"))


def test_another_version_shares_frames_and_labels_with_the_first(lake: Lake, version: str) -> None:
    first = files(materialise(lake, LINE, version).parent)
    new = a_recording("new", 30)
    frame = put_frame(lake, new, 0)
    fill(lake, [new], [frame], [an_annotation(frame, [a_box("impurity", x=30)])])
    second = files(materialise(lake, LINE, frozen(lake)).parent)
    shared = [name for name in second if name.startswith(("images", "labels")) and name in first]
    assert len(shared) == 18
    assert all(first[name] == second[name] for name in shared)


@pytest.mark.parametrize("code", [errno.EXDEV, errno.EPERM, errno.EMLINK])
def test_where_links_are_impossible_files_are_copied(
    lake: Lake, version: str, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    linked = {name: content for name, (_, content) in files(materialise(lake, LINE, version).parent).items()}
    shutil.rmtree(lake.settings.work_dir)

    def refuse(source: Any, target: Any) -> None:
        if not Path(source).exists():
            raise FileNotFoundError(source)
        raise OSError(code, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    copied = materialise(lake, LINE, version).parent
    assert {name: content for name, (_, content) in files(copied).items()} == linked
    assert next(copied.glob("images/*/*")).stat().st_nlink == 1


def test_a_root_of_ones_own(lake: Lake, version: str, tmp_path: Path) -> None:
    assert materialise(lake, LINE, version, tmp_path / "mine") == tmp_path / "mine" / version / "data.yaml"


def test_a_version_that_is_not_there(lake: Lake) -> None:
    with pytest.raises(NotFound, match="no dataset version"):
        materialise(lake, LINE, "0" * 64)


def test_names_are_safe_readable_and_different(lake: Lake) -> None:
    row = {"recording_name": "a b/../é.mp4", "recording_id": "0123456789abcdef", "media_type": "image/jpeg"}
    names = [image_name({**row, "frame_index": index}) for index in (1, 12)]
    assert names == ["recording-0123456789ab_000001.jpg", "recording-0123456789ab_000012.jpg"]


def test_a_label_of_no_class_is_an_error() -> None:
    with pytest.raises(DataError, match="'tail'"):
        label_text([a_box(label="tail")], ["sperm"], 64, 48)


def test_frames_with_crowds_are_neither_learned_from_nor_counted(lake: Lake) -> None:
    """As a single object a crowd would be a wrong label; left out, its objects would be learned as background."""
    good_lake(lake, names=("a", "b", "c", "d"))
    crowd = {**a_box(x=20, width=20), "crowd": True}
    recordings = [a_recording(name, 0) for name in ("a", "b", "c", "d")]
    frames = [put_frame(lake, recording, 9) for recording in recordings]
    fill(lake, [], frames, [an_annotation(frame, [a_box(x=5), crowd]) for frame in frames])
    found = validate(lake, LINE, DETECTION)
    assert any(note.startswith("boxes that mark crowds of objects: 4, on 4 frames") for note in found.notes)
    version = freeze(lake, LINE, found.accepted, validation={}, check=check_dataset, kind=DETECTION)
    manifest = lake.datasets.load(LINE.line, version)
    rows = [row for row in manifest.rows.to_pylist() if row["frame_index"] == 9]
    assert [json.loads(row["objects"])[1] for row in rows] == [crowd] * 4
    assert {row["split"] for row in rows} >= {"train", "test"}
    counts = manifest.about["counts"].values()
    assert (sum(part["labels"]["sperm"] for part in counts), sum(part["frames"] for part in counts)) == (12, 12)
    folder = materialise(lake, LINE, version).parent
    for row in rows:
        image = folder / "images" / row["split"] / image_name(row)
        assert image.exists() == (row["split"] == "test")
    assert len(list(folder.glob("images/train/*"))) == 2 * len({r["group"] for r in rows if r["split"] == "train"})
    assert labelled_boxes(rows, LINE).crowd.tolist() == [False, True] * 4
    assert sizes(manifest.rows, DETECTION)[rows[0]["group"]] == {"frames": 3, "label sperm": 3}


def test_crowds_are_no_lines() -> None:
    assert label_text([{**a_box(), "crowd": True}], ["sperm"], 64, 48) == ""


def test_only_crowds_are_nothing_to_learn_from(lake: Lake) -> None:
    crowd = {**a_box(x=20, width=20), "crowd": True}
    recordings = [a_recording(name, 0) for name in ("a", "b", "c", "d")]
    frames = [put_frame(lake, recording, 9) for recording in recordings]
    fill(lake, recordings, frames, [an_annotation(frame, [a_box(x=5), crowd]) for frame in frames])
    with pytest.raises(InsufficientData, match="labelled frames in train"):
        frozen(lake)
