"""Label files say what the truth says."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tasks.synthetic import SyntheticRecording, write_coco, write_voc, write_yolo
from tasks.synthetic.labels import frame_name


def test_frames_are_named_from_zero_with_four_digits() -> None:
    assert frame_name("swim-01", 0) == "swim-01_0000"
    assert frame_name("swim-01", 12345) == "swim-01_12345"


def test_voc(tmp_path: Path, recording: SyntheticRecording) -> None:
    write_voc(recording, tmp_path)
    assert len(list(tmp_path.iterdir())) == recording.frames
    for index in (0, 17, recording.frames - 1):
        root = ElementTree.parse(tmp_path / f"{recording.stem}_{index:04d}.xml").getroot()
        assert root.findtext("size/width") == str(recording.width_px)
        objects = root.findall("object")
        assert len(objects) == len(recording.boxes[index])
        for element, box in zip(objects, recording.boxes[index], strict=True):
            assert element.findtext("name") == box.label
            assert float(element.findtext("bndbox/xmin") or "nan") == pytest.approx(box.x_px, abs=0.006)
            assert float(element.findtext("bndbox/ymax") or "nan") == pytest.approx(box.y_px + box.height_px, abs=0.006)


def test_every(tmp_path: Path, recording: SyntheticRecording) -> None:
    write_voc(recording, tmp_path, every=12)
    names = sorted(path.stem for path in tmp_path.iterdir())
    assert names == [f"{recording.stem}_{index:04d}" for index in (0, 12, 24, 36)]


def test_yolo(tmp_path: Path, recording: SyntheticRecording) -> None:
    write_yolo(recording, tmp_path)
    assert (tmp_path / "classes.txt").read_text().split() == ["sperm", "impurity"]
    lines = (tmp_path / f"{recording.stem}_0003.txt").read_text().splitlines()
    assert len(lines) == len(recording.boxes[3])
    number, x, y, width, height = (float(part) for part in lines[0].split())
    box = recording.boxes[3][0]
    assert ["sperm", "impurity"][int(number)] == box.label
    assert (x - width / 2) * recording.width_px == pytest.approx(box.x_px, abs=1e-3)
    assert (y + height / 2) * recording.height_px == pytest.approx(box.y_px + box.height_px, abs=1e-3)


def test_coco(tmp_path: Path, recording: SyntheticRecording) -> None:
    write_coco(recording, tmp_path)
    document = json.loads((tmp_path / f"{recording.stem}.json").read_text())
    assert len(document["images"]) == recording.frames
    assert len(document["annotations"]) == sum(len(boxes) for boxes in recording.boxes)
    per_class = {entry["id"]: entry["name"] for entry in document["categories"]}
    labels = [per_class[entry["category_id"]] for entry in document["annotations"]]
    assert labels.count("sperm") == recording.count("sperm") > 0
    assert len({entry["id"] for entry in document["annotations"]}) == len(labels)
