from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tasks.errors import ConfigError
from tasks.labeling.formats import BadFile, ForeignBox, LabelFile, coco, voc, yolo

VOC = """<annotation><filename>other.png</filename><size><width>698</width><height>528</height></size>
<object><name> S </name><bndbox><xmin>156</xmin><ymin>1</ymin><xmax>175.5</xmax><ymax>9</ymax></bndbox></object>
</annotation>"""


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name.replace("__", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_voc(tmp_path: Path) -> None:
    (found,) = voc.read(write(tmp_path, S_0001_0002__xml=VOC))
    assert found == LabelFile(
        file="S_0001_0002.xml",
        image="S_0001_0002",
        boxes=(ForeignBox("S", 156, 1, 19.5, 8),),
        width_px=698,
        height_px=528,
    )


def test_voc_without_objects_or_size(tmp_path: Path) -> None:
    (found,) = voc.read(write(tmp_path, a_1__xml="<annotation><size><width>0</width></size></annotation>"))
    assert isinstance(found, LabelFile)
    assert (found.boxes, found.width_px, found.height_px) == ((), None, None)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no element found"),
        ("not xml", "syntax error"),
        ("<labels/>", "expected <annotation>"),
        (VOC.replace("<xmax>175.5</xmax>", ""), "no <bndbox/xmax>"),
        (VOC.replace("175.5", "nan"), "'nan'"),
        (VOC.replace("175.5", "wide"), "wide"),
        ('<!DOCTYPE a [<!ENTITY b "bbb"><!ENTITY c "&b;&b;">]><annotation>&c;</annotation>', "defines the entity 'b'"),
        ('<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><annotation>&b;</annotation>', "defines the entity"),
    ],
)
def test_voc_that_is_none(tmp_path: Path, text: str, reason: str) -> None:
    (found,) = voc.read(write(tmp_path, a_1__xml=text))
    assert isinstance(found, BadFile)
    assert reason in found.reason
    assert found.image == "a_1"


def a_coco(**changes: Any) -> str:
    content = {
        "images": [
            {"id": 7, "file_name": "images/S_0001_0002.jpg", "width": 698, "height": 528},
            {"id": 8, "file_name": "S_0001_0003.jpg"},
        ],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 3, "bbox": [10, 20.5, 30, 40]}],
        "categories": [{"id": 3, "name": "sperm"}],
    }
    return json.dumps(content | changes)


def test_coco(tmp_path: Path) -> None:
    empty, full = coco.read(write(tmp_path, instances__json=a_coco()))
    assert empty == LabelFile(file="instances.json: S_0001_0003.jpg", image="S_0001_0003", boxes=())
    assert full == LabelFile(
        file="instances.json: images/S_0001_0002.jpg",
        image="S_0001_0002",
        boxes=(ForeignBox("sperm", 10, 20.5, 30, 40),),
        width_px=698,
        height_px=528,
    )


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"images": 3, "annotations": [], "categories": []}'])
def test_coco_that_is_none(tmp_path: Path, text: str) -> None:
    (found,) = coco.read(write(tmp_path, a__json=text))
    assert isinstance(found, BadFile)


@pytest.mark.parametrize("wrong", [{"bbox": [1, 2, 3]}, {"category_id": 9}, {"bbox": None}])
def test_one_damaged_coco_image_spoils_only_itself(tmp_path: Path, wrong: dict[str, Any]) -> None:
    entry = {"id": 1, "image_id": 7, "category_id": 3, "bbox": [1, 2, 3, 4]} | wrong
    found = list(coco.read(write(tmp_path, a__json=a_coco(annotations=[entry]))))
    assert [(type(each), each.image) for each in found] == [(LabelFile, "S_0001_0003"), (BadFile, "S_0001_0002")]


@pytest.mark.parametrize(
    ("entry", "file", "reason"),
    [
        ({"id": 5, "image_id": 99}, "a.json: annotation 5", "its image_id 99 is not in images"),
        ({"image_id": "7"}, "a.json: annotation no. 1", "its image_id '7' is not in images"),
        ({"id": 5}, "a.json: annotation 5", "has no image_id"),
    ],
)
def test_coco_annotations_of_no_image_are_listed(tmp_path: Path, entry: dict[str, Any], file: str, reason: str) -> None:
    entry = {"category_id": 3, "bbox": [1, 2, 3, 4]} | entry
    *images, stray = coco.read(write(tmp_path, a__json=a_coco(annotations=[entry])))
    assert [type(each) for each in images] == [LabelFile, LabelFile]
    assert stray == BadFile(file, reason)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ({"id": 9}, BadFile("a.json: image 9", "has no file_name")),
        ({"id": 9, "file_name": None}, BadFile("a.json: image 9", "has no file_name")),
        ({}, BadFile("a.json: image no. 2", "has no file_name")),
        ({"file_name": "b/S_1.png"}, BadFile("a.json: b/S_1.png", "has no id", "S_1")),
    ],
)
def test_coco_images_that_cannot_be_told_are_listed(tmp_path: Path, image: dict[str, Any], expected: BadFile) -> None:
    images = [{"id": 7, "file_name": "S_0001_0002.jpg"}, image]
    found = list(coco.read(write(tmp_path, a__json=a_coco(images=images))))
    assert expected in found
    assert [each.image for each in found if isinstance(each, LabelFile)] == ["S_0001_0002"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classes__txt", "sperm\nimpurity\n"),
        ("obj__names", "sperm\nimpurity"),
        ("data__yaml", "names: [sperm, impurity]"),
        ("data__yaml", "names: {0: sperm, 1: impurity}"),
    ],
)
@pytest.mark.parametrize("above", [False, True])
def test_yolo(tmp_path: Path, name: str, text: str, above: bool) -> None:
    folder = tmp_path / "labels"
    write(folder, a_1__txt="1 0.5 0.5 0.2 0.1\n\n0 0.25 0.5 0.5 1\n", a_2__txt="")
    write(tmp_path if above else folder, **{name: text})
    full, empty = yolo.read(folder)
    assert isinstance(full, LabelFile) and isinstance(empty, LabelFile)
    assert full.normalised
    assert [each.label for each in full.boxes] == ["impurity", "sperm"]
    assert full.boxes[1] == ForeignBox("sperm", 0.0, 0.0, 0.5, 1.0)
    assert empty.boxes == ()


def test_yolo_outlines_become_their_hull(tmp_path: Path) -> None:
    write(tmp_path, classes__txt="sperm", a_1__txt="0 0.1 0.2 0.5 0.2 0.3 0.6")
    (found,) = yolo.read(tmp_path)
    assert isinstance(found, LabelFile)
    (hull,) = found.boxes
    assert (hull.x, hull.y, hull.width) == (0.1, 0.2, 0.4)
    assert round(hull.height, 9) == 0.4


@pytest.mark.parametrize(
    "text",
    [
        "0 0.1 0.2",
        "0 0.1 0.2 0.3 0.4 0.9",
        "sperm 0.1 0.1 0.1 0.1",
        "0 nan 0.1 0.1 0.1",
        "0 0.5 0.5 0 0.1",
        "0 0.5 0.5 0.1 -0.1",
        "0 1.00001 0.5 0.1 0.1",
        "0 0.5 -0.00001 0.1 0.1",
        "0 320 240 16 16",
        "0 0.1 0.2 0.5 0.2 0.3 0.2",
        "0 1.1 0.2 1.5 0.2 1.3 0.6",
    ],
)
def test_yolo_that_is_none(tmp_path: Path, text: str) -> None:
    write(tmp_path, classes__txt="sperm", a_1__txt=text)
    (found,) = yolo.read(tmp_path)
    assert isinstance(found, BadFile)
    assert found.image == "a_1"


def test_yolo_centres_on_the_edge_may_be_rounded(tmp_path: Path) -> None:
    write(tmp_path, classes__txt="sperm", a_1__txt="0 1.0000005 -0.0000005 0.1 0.1")
    (found,) = yolo.read(tmp_path)
    assert isinstance(found, LabelFile)


def labels_of(folder: Path) -> dict[str, str]:
    """File -> label of its one box; a bad file fails."""
    found = list(yolo.read(folder))
    assert all(isinstance(each, LabelFile) for each in found)
    return {each.file: each.boxes[0].label for each in found if isinstance(each, LabelFile)}


@pytest.mark.parametrize("name", ["classes__txt", "Classes__txt", "obj__names", "data__yaml"])
@pytest.mark.parametrize("where", ["train", "train/deep", "lists"])
def test_yolo_class_names_below_the_folder(tmp_path: Path, name: str, where: str) -> None:
    folder = tmp_path / "labels"
    write(folder / "train/deep", a_1__txt="0 0.5 0.5 0.1 0.1")
    write(folder / where, **{name: "names: [sperm]" if name == "data__yaml" else "sperm"})
    assert labels_of(folder) == {"train/deep/a_1.txt": "sperm"}


def test_yolo_takes_the_nearest_class_names(tmp_path: Path) -> None:
    folder = tmp_path / "labels"
    write(folder / "one", a_1__txt="0 0.5 0.5 0.1 0.1", classes__txt="sperm")
    write(folder / "two" / "deep", a_2__txt="0 0.5 0.5 0.1 0.1")
    write(folder / "two", data__yaml="names: [impurity]")
    write(folder, a_3__txt="0 0.5 0.5 0.1 0.1", obj__names="other")
    write(tmp_path, classes__txt="above")
    assert labels_of(folder) == {"one/a_1.txt": "sperm", "two/deep/a_2.txt": "impurity", "a_3.txt": "other"}


def test_yolo_class_names_elsewhere_that_contradict_each_other(tmp_path: Path) -> None:
    folder = tmp_path / "labels"
    write(folder, a_1__txt="0 0.5 0.5 0.1 0.1")
    write(folder / "one", classes__txt="sperm")
    write(folder / "two", obj__names="impurity")
    with pytest.raises(ConfigError, match="do not agree"):
        list(yolo.read(folder))


def test_yolo_without_class_names(tmp_path: Path) -> None:
    write(tmp_path / "inner", a_1__txt="0 0.1 0.1 0.1 0.1")
    with pytest.raises(ConfigError, match="which class has which number"):
        list(yolo.read(tmp_path / "inner"))
    write(tmp_path / "inner", data__yaml="nc: 2")
    with pytest.raises(ConfigError, match="names"):
        list(yolo.read(tmp_path / "inner"))
