from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.errors import ConfigError
from tasks.kind import BadFile, LabelFile
from tasks.kinds.detection.files import FORMATS as READERS
from tasks.kinds.detection.formats import coco, voc, yolo
from tasks.kinds.detection.formats.records import ForeignBox
from tasks.labeling.formats import content
from tasks.schemas import MAX_OBJECTS

VOC = """<annotation><filename>other.png</filename><size><width>698</width><height>528</height></size>
<object><name> S </name><bndbox><xmin>156</xmin><ymin>1</ymin><xmax>175.5</xmax><ymax>9</ymax></bndbox></object>
</annotation>"""


def write(folder: Path, **files: str | bytes) -> Path:
    for name, text in files.items():
        path = folder / name.replace("__", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def reason_of(found: LabelFile | BadFile) -> str:
    assert isinstance(found, BadFile), found
    return found.reason


MARKED = [
    pytest.param(lambda text: text.encode("utf-8-sig"), id="utf-8 with its mark"),
    pytest.param(lambda text: b"\xff\xfe" + text.encode("utf-16-le"), id="utf-16, little"),
    pytest.param(lambda text: b"\xfe\xff" + text.encode("utf-16-be"), id="utf-16, big"),
    pytest.param(lambda text: text.encode("utf-16-le"), id="utf-16, no mark"),
    pytest.param(lambda text: text.encode("utf-16-be"), id="utf-16, big, no mark"),
    pytest.param(lambda text: text.encode("utf-32"), id="utf-32"),
    pytest.param(lambda text: ("\ufeff" + text.replace("\n", "\r\n\ufeff")).encode(), id="joined with `copy`"),
]


def test_voc(tmp_path: Path) -> None:
    (found,) = voc.read(write(tmp_path, S_0001_0002__xml=VOC))
    assert found == LabelFile(
        file="S_0001_0002.xml",
        image="S_0001_0002",
        objects=(ForeignBox("S", 156, 1, 19.5, 8),),
        width_px=698,
        height_px=528,
    )


def test_voc_without_objects_or_size(tmp_path: Path) -> None:
    (found,) = voc.read(write(tmp_path, a_1__xml="<annotation><size><width>0</width></size></annotation>"))
    assert isinstance(found, LabelFile)
    assert (found.objects, found.width_px, found.height_px) == ((), None, None)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no element found"),
        ("not xml", "syntax error"),
        ("<labels/>", "expected <annotation>"),
        (VOC.replace("<xmax>175.5</xmax>", ""), "<object> no. 1: it has no <bndbox/xmax>"),
        (VOC.replace("175.5", "nan"), "<xmax> is 'nan', expected a number"),
        (VOC.replace("175.5", "wide"), "<xmax> is 'wide', expected a number"),
        (VOC.replace("175.5", "1e400"), "<xmax> is '1e400', expected a number"),
        (VOC.replace("175.5", "1e300"), "<xmax> is '1e300', which lies in no picture"),
        (VOC.replace("175.5", "156"), "<object> no. 1: a box of width 0 and height 8, expected more than 0"),
        (VOC.replace("175.5", "100"), "a box of width -56"),
        (VOC.replace("698", "1e400"), "<size/width> is '1e400', expected a number"),
        (VOC.replace("698", "-5"), "<size/width> is '-5', expected a size in pixels"),
        (VOC.replace("<xmin>", "<xmin><!-- ").replace("</ymax>", " --></ymax>"), "mismatched tag"),
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
    assert empty == LabelFile(file="instances.json: S_0001_0003.jpg", image="S_0001_0003", objects=())
    assert full == LabelFile(
        file="instances.json: images/S_0001_0002.jpg",
        image="S_0001_0002",
        objects=(ForeignBox("sperm", 10, 20.5, 30, 40),),
        width_px=698,
        height_px=528,
    )


@pytest.mark.parametrize("as_bytes", MARKED)
def test_voc_with_a_byte_order_mark(tmp_path: Path, as_bytes: Callable[[str], bytes]) -> None:
    plain, marked, wrong_head = voc.read(
        write(
            tmp_path,
            a_1__xml=VOC,
            a_2__xml=as_bytes(VOC),
            # .NET writes this head into files of any encoding.
            a_3__xml=as_bytes('<?xml version="1.0" encoding="utf-16"?>' + VOC),
        )
    )
    assert isinstance(plain, LabelFile) and isinstance(marked, LabelFile) and isinstance(wrong_head, LabelFile)
    assert plain.objects == marked.objects == wrong_head.objects


def test_voc_in_an_old_encoding(tmp_path: Path) -> None:
    text = '<?xml version="1.0" encoding="iso-8859-1"?>' + VOC.replace(" S ", "Kopfst\u00fcck")
    (found,) = voc.read(write(tmp_path, a_1__xml=text.encode("latin-1")))
    assert isinstance(found, LabelFile)
    assert found.objects[0].label == "Kopfst\u00fcck"


def test_voc_of_an_unknown_encoding(tmp_path: Path) -> None:
    (found,) = voc.read(
        write(tmp_path, a_1__xml=b'<?xml version="1.0" encoding="klingon"?><annotation>\xff</annotation>')
    )
    assert "is not a Pascal VOC file" in reason_of(found)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not a COCO file: Expecting value"),
        ("[]", "it holds no object with images, annotations and categories"),
        ("{}", "it has no 'images'"),
        ('{"images": 3, "annotations": [], "categories": []}', "images is not a list of objects"),
        ("[" * 200_000, "it is nested too deep"),
        ('{"images": ' + "9" * 5000 + "}", "is not a COCO file"),
    ],
)
def test_coco_that_is_none(tmp_path: Path, text: str, reason: str) -> None:
    (found,) = coco.read(write(tmp_path, a__json=text))
    assert reason in reason_of(found)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"bbox": [1, 2, 3]}, "annotation 1: its bbox [1, 2, 3] has 3 values, expected 4: [x, y, width, height]"),
        ({"bbox": None}, "annotation 1: it has no bbox"),
        ({"bbox": {"x": 1}}, "annotation 1: its bbox is {'x': 1}, expected [x, y, width, height]"),
        ({"bbox": [1, 2, "wide", 4]}, "annotation 1: width of its bbox is 'wide', expected a number"),
        ({"bbox": [1, None, 3, 4]}, "annotation 1: y of its bbox is None, expected a number"),
        ({"bbox": [True, 2, 3, 4]}, "annotation 1: x of its bbox is True, expected a number"),
        ({"bbox": [1e400, 2, 3, 4]}, "annotation 1: x of its bbox is inf, expected a number"),
        ({"bbox": [10**400, 2, 3, 4]}, "annotation 1: x of its bbox is a huge number, expected a number"),
        ({"bbox": [1e9, 2, 3, 4]}, "which lies in no picture"),
        ({"bbox": [1, 2, 0, 4]}, "annotation 1: a box of width 0 and height 4, expected more than 0"),
        ({"bbox": [1, 2, 3, -4]}, "annotation 1: a box of width 3 and height -4, expected more than 0"),
        ({"category_id": 9}, "annotation 1: its category 9 is not in categories"),
        ({"category_id": None}, "annotation 1: it has no category_id"),
        ({"category_id": [3]}, "annotation 1: it has no category_id that can be one ([3])"),
        ({"iscrowd": 2}, "annotation 1: its iscrowd is 2, expected 0 or 1"),
        ({"id": "9" * 5000, "bbox": None}, "it has no bbox"),
    ],
)
def test_one_damaged_coco_image_spoils_only_itself(tmp_path: Path, wrong: dict[str, Any], reason: str) -> None:
    entry = {"id": 1, "image_id": 7, "category_id": 3, "bbox": [1, 2, 3, 4]} | wrong
    empty, bad = coco.read(write(tmp_path, a__json=a_coco(annotations=[entry])))
    assert (type(empty), empty.image, bad.image) == (LabelFile, "S_0001_0003", "S_0001_0002")
    assert reason in reason_of(bad)


@pytest.mark.parametrize("as_bytes", MARKED)
def test_coco_with_a_byte_order_mark(tmp_path: Path, as_bytes: Callable[[str], bytes]) -> None:
    found = list(coco.read(write(tmp_path, a__json=as_bytes(a_coco()))))
    assert [type(each) for each in found] == [LabelFile, LabelFile]


def test_coco_ids_may_be_text_or_numbers(tmp_path: Path) -> None:
    images = [
        {"id": "7", "file_name": "a_1.png"},
        {"id": 8.0, "file_name": "a_2.png"},
        {"id": "x", "file_name": "a_3.png"},
    ]
    entries = [
        {"id": n, "image_id": image_id, "category_id": category, "bbox": [n, 2, 3, 4]}
        for n, (image_id, category) in enumerate([(7, "3"), ("8", 3), ("x", 3.0)])
    ]
    found = list(coco.read(write(tmp_path, a__json=a_coco(images=images, annotations=entries))))
    assert [
        (type(each), each.image, [box.x for box in each.objects]) for each in found if isinstance(each, LabelFile)
    ] == [
        (LabelFile, "a_1", [0]),
        (LabelFile, "a_2", [1]),
        (LabelFile, "a_3", [2]),
    ]


@pytest.mark.parametrize("ids", [(1, 1), ("1", 1), (1.0, "1")])
def test_coco_images_that_share_an_id_are_refused(tmp_path: Path, ids: tuple[Any, Any]) -> None:
    images = [{"id": i, "file_name": f"clip{n}_0000.png"} for n, i in enumerate(ids)]
    images.append({"id": 2, "file_name": "other_0000.png"})
    entries = [{"id": n, "image_id": n, "category_id": 3, "bbox": [1, 2, 3, 4]} for n in (1, 2)]
    *bad, good = coco.read(write(tmp_path, a__json=a_coco(images=images, annotations=entries)))
    assert [reason_of(each) for each in bad] == [
        "its id 1 is another image's, too: nobody can tell whose boxes are whose"
    ] * 2
    assert isinstance(good, LabelFile) and len(good.objects) == 1


def test_coco_annotations_that_share_an_id_are_refused(tmp_path: Path) -> None:
    entries = [{"id": 5, "image_id": i, "category_id": 3, "bbox": [1, 2, 3, 4]} for i in (7, 8)]
    found = list(coco.read(write(tmp_path, a__json=a_coco(annotations=entries))))
    assert ["the annotation id 5 stands twice in annotations" in reason_of(each) for each in found] == [True, True]


def test_coco_categories_that_share_an_id_are_refused(tmp_path: Path) -> None:
    categories = [{"id": 3, "name": "sperm"}, {"id": "3", "name": "impurity"}]
    empty, bad = coco.read(write(tmp_path, a__json=a_coco(categories=categories)))
    assert isinstance(empty, LabelFile)
    assert "the category id 3 stands twice in categories" in reason_of(bad)


def test_coco_crowds_are_marked(tmp_path: Path) -> None:
    entries = [
        {"id": n, "image_id": 7, "category_id": 3, "bbox": [n, 2, 3, 4]} | more
        for n, more in enumerate(({}, {"iscrowd": 0}, {"iscrowd": 1}, {"iscrowd": True}))
    ]
    _, found = coco.read(write(tmp_path, a__json=a_coco(annotations=entries)))
    assert isinstance(found, LabelFile)
    assert [box.crowd for box in found.objects] == [False, False, True, True]


@pytest.mark.parametrize(
    ("entry", "file", "reason"),
    [
        ({"id": 5, "image_id": 99}, "a.json: annotation 5", "its image_id 99 is not in images"),
        ({"image_id": "seven"}, "a.json: annotation no. 2", "its image_id 'seven' is not in images"),
        ({"id": 5}, "a.json: annotation 5", "has no image_id"),
        ({"id": 5, "image_id": [7]}, "a.json: annotation 5", "has no image_id that can be one ([7])"),
    ],
)
def test_coco_annotations_of_no_image_are_listed(tmp_path: Path, entry: dict[str, Any], file: str, reason: str) -> None:
    """What is on no image is on some image: one that has nothing of its own is not believed to be empty."""
    entries = [{"id": 1, "image_id": 7, "category_id": 3, "bbox": [1, 2, 3, 4]}]
    entries.append({"category_id": 3, "bbox": [1, 2, 3, 4]} | entry)
    empty, full, stray = coco.read(write(tmp_path, a__json=a_coco(annotations=entries)))
    assert stray == BadFile(file, reason)
    assert "may not be empty: 1 annotation of this file belong" in reason_of(empty)
    homeless = "has no image_id" in reason
    assert ("may lack some of its own" in reason_of(full)) if homeless else isinstance(full, LabelFile)


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
    ("file_name", "image"),
    [
        ("images/a_1.png", "a_1"),
        ("images\\a_1.png", "a_1"),
        ("a.b_1", "a.b_1"),
        ("why?#_1.png", "why?#_1"),
        ("https://host/bucket/a%20b_1.png?X-Amz-Signature=a/b.c", "a%20b_1"),
        ("/data/local-files/?d=folder%2Fa_1.png", "a_1"),
        ("/tasks/3/resolve/?fileuri=czM6Ly9idWNrZXQvYV8xLnBuZw==", "a_1"),
    ],
)
def test_coco_file_names_may_be_paths_and_addresses(tmp_path: Path, file_name: str, image: str) -> None:
    images = [{"id": 7, "file_name": file_name}]
    (found,) = coco.read(write(tmp_path, a__json=a_coco(images=images)))
    assert (type(found), found.image) == (LabelFile, image)


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
    assert [each.label for each in full.objects] == ["impurity", "sperm"]
    assert full.objects[1] == ForeignBox("sperm", 0.0, 0.0, 0.5, 1.0)
    assert empty.objects == ()


def test_yolo_outlines_become_their_hull(tmp_path: Path) -> None:
    write(tmp_path, data__yaml="names: [sperm]", a_1__txt="0 0.1 0.2 0.5 0.2 0.3 0.6")
    (found,) = yolo.read(tmp_path)
    assert isinstance(found, LabelFile)
    (hull,) = found.objects
    assert (hull.x, hull.y, hull.width) == (0.1, 0.2, 0.4)
    assert round(hull.height, 9) == 0.4


BOX = "0.20 0.25 0.05 0.06"
POSE = f"0 {BOX} 0.19 0.25 0.22 0.26"
TRACK = f"0 {BOX} 0.87 1"
PLAIN, TWO = "names: [sperm]", "kpt_shape: [2, 2]\nnames: [sperm]"


@pytest.mark.parametrize("shape", ["kpt_shape: [2, 2]", "kpt_shape: [1, 3]", "kpt_shape: [3, 2]"])
def test_yolo_poses_give_their_box(tmp_path: Path, shape: str) -> None:
    points = " 0.2" * math.prod(yaml.safe_load(shape)["kpt_shape"])
    write(
        tmp_path, classes__txt="sperm", data__yaml=f"{shape}\nnames: {{0: sperm}}", a_1__txt=f"0 {BOX}{points}\n0 {BOX}"
    )
    (found,) = yolo.read(tmp_path)
    assert isinstance(found, LabelFile)
    assert [(round(box.x, 9), round(box.y, 9), box.width, box.height) for box in found.objects] == [
        (0.175, 0.22, 0.05, 0.06)
    ] * 2


@pytest.mark.parametrize(
    ("described", "line", "reason"),
    [
        (None, POSE, "9 values, expected 5"),
        (None, TRACK, "7 values, expected 5"),
        (None, f"0 {BOX} 0.87", "remove the extra column (a score or a track's number)"),
        (None, "0 0.1 0.2 0.5 0.2 0.3 0.6", "nothing says which: put the data.yaml of the labels beside them"),
        (PLAIN, TRACK, "a track's, as `yolo track` writes it"),
        (PLAIN, f"0 {BOX} 0.87 17", "a track's, as `yolo track` writes it"),
        (PLAIN, f"0 {BOX} 0.87 17.0", "a place outside the image"),
        (PLAIN, f"0 {BOX} 0.87 0.5 0.5", "8 values, expected 5"),
        (TWO, f"{POSE} 0.87", "10 values, expected 9 for kpt_shape [2, 2], or 5; remove the extra columns"),
        (TWO, f"{POSE} 0.87 1", "11 values, expected 9 for kpt_shape [2, 2], or 5; remove the extra columns"),
        (TWO, TRACK, "7 values, expected 9 for kpt_shape [2, 2], or 5"),
        (TWO, "0 0.1 0.2 0.5 0.2 0.3 0.6 0.1 0.1 0.2 0.2 0.3 0.3 0.4 0.4", "15 values, expected 9"),
    ],
)
def test_yolo_lines_that_may_be_something_else_are_refused(
    tmp_path: Path, described: str | None, line: str, reason: str
) -> None:
    write(
        tmp_path, classes__txt="sperm", a_1__txt=f"0 {BOX}\n{line}\n", **{"data__yaml": described} if described else {}
    )
    (found,) = yolo.read(tmp_path)
    assert reason in reason_of(found)
    assert f"line 2 ({line}):" in reason_of(found)


@pytest.mark.parametrize("shape", ["2", "[2]", "[2, 4]", "[0, 2]", "[2.5, 2]", "[1000000000, 3]", "[a, b]"])
def test_yolo_with_a_kpt_shape_that_is_none(tmp_path: Path, shape: str) -> None:
    write(tmp_path, data__yaml=f"kpt_shape: {shape}\nnames: [sperm]", a_1__txt=f"0 {BOX}")
    with pytest.raises(ConfigError, match="kpt_shape is"):
        list(yolo.read(tmp_path))


@pytest.mark.parametrize("as_bytes", MARKED)
def test_yolo_with_byte_order_marks(tmp_path: Path, as_bytes: Callable[[str], bytes]) -> None:
    write(tmp_path, classes__txt=as_bytes("sperm\nimpurity\n"))
    write(tmp_path, a_0__txt=as_bytes(f"0 {BOX}\n1 {BOX}\n"), a_1__txt=as_bytes(f"0 {BOX}\n"), a_2__txt=b"\xef\xbb\xbf")
    found = list(yolo.read(tmp_path))
    labels = [[box.label for box in each.objects] for each in found if isinstance(each, LabelFile)]
    assert labels == [["sperm", "impurity"], ["sperm"], []]
    (tmp_path / "classes.txt").unlink()
    write(tmp_path, data__yaml=as_bytes("names: [sperm, impurity]\nkpt_shape: [2, 2]\n"), a_3__txt=as_bytes(POSE))
    found = list(yolo.read(tmp_path))
    assert [len(each.objects) for each in found if isinstance(each, LabelFile)] == [2, 1, 0, 1]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0 0.1 0.2", "3 values, expected 5"),
        ("sperm 0.1 0.1 0.1 0.1", "'sperm' is no class number"),
        ("1.0 0.1 0.1 0.1 0.1", "'1.0' is no class number"),
        ("9" * 5000 + " 0.1 0.1 0.1 0.1", "is no class number"),
        ("0 nan 0.1 0.1 0.1", "value 2 is 'nan', expected a number"),
        ("0 1e400 0.1 0.1 0.1", "value 2 is '1e400', expected a number"),
        ("0 0.5 0.5 0 0.1", "a box of width 0 and height 0.1, expected more than 0"),
        ("0 0.5 0.5 0.1 -0.1", "a box of width 0.1 and height -0.1, expected more than 0"),
        ("0 1.00001 0.5 0.1 0.1", "a box with its centre at 1.00001 0.5"),
        ("0 0.5 -0.00001 0.1 0.1", "a box with its centre at"),
        ("0 320 240 16 16", "a box with its centre at 320 240, expected fractions of the image"),
        ("0 0.5 0.5 16 16", "a box of width 16 and height 16, expected fractions of the image"),
        ("0 0.1 0.2 0.5 0.2 0.3 0.2", "a box of width 0.4 and height 0, expected more than 0"),
        ("0 1.1 0.2 1.5 0.2 1.3 0.6", "an outline with a place outside the image"),
        ("\0\0\0\0\0\0", "is no class number"),
    ],
)
def test_yolo_that_is_none(tmp_path: Path, text: str, reason: str) -> None:
    write(tmp_path, data__yaml="names: [sperm]", a_1__txt=f"0 {BOX}\n{text}")
    (found,) = yolo.read(tmp_path)
    assert found.image == "a_1"
    assert reason in reason_of(found)
    assert "line 2 (" in reason_of(found)
    assert len(reason_of(found)) < 600


def test_yolo_that_is_no_text(tmp_path: Path) -> None:
    (found,) = yolo.read(write(tmp_path, classes__txt="sperm", a_1__txt=b"\x89PNG\r\n\x1a\n"))
    assert "it is not text in UTF-8 or UTF-16" in reason_of(found)


def test_yolo_centres_on_the_edge_may_be_rounded(tmp_path: Path) -> None:
    write(tmp_path, classes__txt="sperm", a_1__txt="0 1.0000005 -0.0000005 0.1 0.1")
    (found,) = yolo.read(tmp_path)
    assert isinstance(found, LabelFile)


def labels_of(folder: Path) -> dict[str, str]:
    """File -> label of its one box; a bad file fails."""
    found = list(yolo.read(folder))
    assert all(isinstance(each, LabelFile) for each in found)
    return {each.file: each.objects[0].label for each in found if isinstance(each, LabelFile)}


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


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (BOMB + "names: *i", "it has aliases"),
        ("names: " + "[" * 100_000, "it is nested too deep"),
        ("names: [&x sperm, *x]", "it has aliases"),
        ("names: [[sperm]]", "no `names` that can be read"),
        ("names: sperm", "no `names` that can be read"),
        ("names: {.inf: sperm}", "no `names` that can be read"),
        ("names: [sperm", "it is not YAML"),
        ("names: [sperm]\n" + "#" * 2**19, "it is larger than 256 KiB"),
        ("names: !!python/object/apply:os.system [echo]", "it is not YAML"),
    ],
)
def test_a_bad_data_yaml_costs_only_the_labels_beside_it(tmp_path: Path, text: str, reason: str) -> None:
    write(tmp_path / "bad", data__yaml=text, a_1__txt=f"0 {BOX}")
    with pytest.raises(ConfigError, match=reason):
        list(yolo.read(tmp_path))
    write(tmp_path / "good", classes__txt="sperm", a_2__txt=f"0 {BOX}")
    good, bad = yolo.read(tmp_path)
    assert (type(good), good.image, bad.image) == (LabelFile, "a_2", "a_1")
    assert re.search(reason, reason_of(bad))


FULL: dict[str, Callable[[int], dict[str, str]]] = {
    "yolo": lambda count: {"classes__txt": "sperm", "a_1__txt": f"0 {BOX}\n" * count},
    "voc": lambda count: {
        "a_1__xml": VOC.replace("</annotation>", VOC[VOC.index("<object>") :][:-14] * (count - 1) + "</annotation>")
    },
    "coco": lambda count: {
        "a__json": a_coco(
            images=[{"id": 7, "file_name": "a_1.png"}],
            annotations=[{"id": n, "image_id": 7, "category_id": 3, "bbox": [1, 2, 3, 4]} for n in range(count)],
        )
    },
}


@pytest.mark.parametrize("label_format", READERS)
def test_a_frame_has_only_so_many_boxes(tmp_path: Path, label_format: str) -> None:
    most = MAX_OBJECTS
    (found,) = READERS[label_format](write(tmp_path, **FULL[label_format](most)))
    assert isinstance(found, LabelFile) and len(found.objects) == most
    (found,) = READERS[label_format](write(tmp_path, **FULL[label_format](most + 1)))
    assert f"it has {most + 1} boxes on one image, and at most {most} are taken" in reason_of(found)


@pytest.mark.parametrize(("label_format", "name"), [("yolo", "a_1.txt"), ("voc", "a_1.xml"), ("coco", "a_1.json")])
def test_what_is_no_file_or_too_large_is_not_read(
    tmp_path: Path, label_format: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, classes__txt="sperm")
    os.mkfifo(tmp_path / name)
    (tmp_path / f"b{name}").mkdir()
    (tmp_path / f"c{name}").symlink_to("/dev/zero")
    found = list(READERS[label_format](tmp_path))
    assert ["it is not a file" in reason_of(each) for each in found] == [True] * 3
    for path in (tmp_path / name, tmp_path / f"c{name}"):
        path.unlink()
    for limit in ("MAX_TEXT_BYTES", "MAX_JSON_BYTES"):
        monkeypatch.setattr(content, limit, 2**20)
    monkeypatch.setattr(voc, "MAX_TEXT_BYTES", 2**20)
    with (tmp_path / name).open("wb") as file:
        file.truncate(2**21)
    found = list(READERS[label_format](tmp_path))
    assert any("it is larger than 1024 KiB" in reason_of(each) for each in found)


@pytest.mark.parametrize("label_format", READERS)
def test_names_that_cannot_be_printed_are_shown_with_marks(tmp_path: Path, label_format: str) -> None:
    write(tmp_path, classes__txt="sperm")
    suffix = {"yolo": b".txt", "voc": b".xml", "coco": b".json"}[label_format]
    (tmp_path / os.fsdecode(b"a\xff\x1b[31m_1" + suffix)).write_bytes(b"0 \x1b[31m 0.1")
    (bad,) = READERS[label_format](tmp_path)
    assert bad.file == f"a\ufffd\ufffd[31m_1{suffix.decode()}"
    assert (bad.file + reason_of(bad)).isprintable()


def test_coco_names_that_cannot_be_printed_are_shown_with_marks(tmp_path: Path) -> None:
    images = [{"id": 7, "file_name": "a\x1b\ud800\n_1.png"}, {"id": 8, "file_name": "b_1.png"}]
    entries = [{"id": "\x1b", "image_id": 8, "category_id": 3, "bbox": None}]
    found = list(coco.read(write(tmp_path, a__json=a_coco(images=images, annotations=entries))))
    assert found[0].file == "a.json: a\ufffd\ufffd\ufffd_1.png"
    assert (
        reason_of(found[1]) == "cannot be taken: annotation \ufffd: it has no bbox, nor a segmentation to take one from"
    )
