"""Class folders, and tables, as people bring them."""

from __future__ import annotations

import logging
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tasks.config import Line
from tasks.kind import BadFile, LabelFile
from tasks.kinds.classification.files import place
from tasks.kinds.classification.formats.records import oid_of
from tests.ingest.stills.pictures import write
from tests.kinds.classification.lines import CLASSIFICATION, a_line, a_multi_label_line

ONE, MANY = a_line(), a_multi_label_line()


def read(form: str, folder: Path, line: Line = ONE) -> list[LabelFile | BadFile]:
    return list(CLASSIFICATION.read_files(form, folder, line))


def said(form: str, folder: Path, line: Line = ONE) -> dict[str, Any]:
    """Image -> the objects' classes (of several labels: with whether they are there), or what is wrong."""
    found: dict[str, Any] = {}
    for each in read(form, folder, line):
        if isinstance(each, BadFile):
            found[each.image or each.file] = each.reason
            continue
        objects = place(each, None, line)  # type: ignore[arg-type]
        found[each.image] = {o["label"]: o["present"] for o in objects} if line.multi_label else objects[0]["label"]
    return found


def table(folder: Path, text: str | bytes, name: str = "labels.csv") -> Path:
    data = text if isinstance(text, bytes) else text.encode()
    (folder / name).write_bytes(data)
    return folder


def test_the_folder_is_the_class(tmp_path: Path) -> None:
    write(tmp_path / "normal" / "a.png", 1)
    write(tmp_path / "set 2" / "STAIN" / "deeper" / "b.bmp", 2)
    write(tmp_path / "abnormal" / "normal_3.jpg", 3)
    (tmp_path / "normal" / "notes.txt").write_text("no picture")
    (tmp_path / "normal" / ".hidden.png").write_text("no picture")
    assert said("folders", tmp_path) == {"a": "normal", "b": "non_sperm", "normal_3": "abnormal"}
    assert said("folders", tmp_path / "normal") == {"a": "normal"}, "the folder that was given counts, too"
    by_name = {each.file: each for each in read("folders", tmp_path) if isinstance(each, LabelFile)}
    assert by_name["normal/a.png"].picture_oid == oid_of(tmp_path / "normal" / "a.png")


def test_a_zip_is_read_like_a_folder(tmp_path: Path) -> None:
    write(tmp_path / "in" / "normal" / "a.png", 1)
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.write(tmp_path / "in/normal/a.png", "normal/a.png")
        archive.writestr("__MACOSX/normal/._a.png", b"x")
    (one,) = read("folders", tmp_path / "set.zip")
    assert isinstance(one, LabelFile) and one.picture_oid == oid_of(tmp_path / "in/normal/a.png")
    (tmp_path / "bad.zip").write_bytes(b"PK no zip")
    (bad,) = read("folders", tmp_path / "bad.zip")
    assert isinstance(bad, BadFile)


@pytest.mark.parametrize("how", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_of_a_damaged_picture_in_a_zip_the_others_are_read(tmp_path: Path, how: int) -> None:
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w", how) as archive:
        archive.writestr("normal/a.png", bytes(range(256)) * 40)
        archive.writestr("normal/b.png", b"b" * 999)
        start = archive.getinfo("normal/a.png")
    data = bytearray(path.read_bytes())
    begin = start.header_offset + 30 + len("normal/a.png")
    skipped = 9 if how == zipfile.ZIP_LZMA else 0  # its header
    data[begin + skipped : begin + start.compress_size] = b"\xff" * (start.compress_size - skipped)
    path.write_bytes(data)
    bad, good = read("folders", path)
    assert isinstance(bad, BadFile) and bad.image == "a" and isinstance(good, LabelFile)


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("Normal (3).png", "normal"),
        ("abnormal_3.png", "abnormal"),
        ("3-ABNORMAL.png", "abnormal"),
        ("Non-Sperm 12.png", "non_sperm"),  # and not `Sperm`, an alias of normal, which is a part of it
        ("sperm7.png", "normal"),
        ("donor_stain_3.png", "non_sperm"),
        ("normality.png", "named like a class"),
        ("normal_or_abnormal.png", "means several classes"),
    ],
)
def test_else_the_class_is_a_word_of_the_pictures_name(tmp_path: Path, name: str, label: str) -> None:
    write(tmp_path / name, 1)
    (found,) = said("folders", tmp_path).values()
    assert label == found if label in ONE.classes else label in found


def test_beside_folders_of_classes_a_folder_of_none_wins_over_the_pictures_name(tmp_path: Path) -> None:
    write(tmp_path / "normal" / "7.png", 0)
    write(tmp_path / "tail_defect" / "normal_ref_01.png", 1)
    write(tmp_path / "unclear" / "not normal 3.png", 2)
    write(tmp_path / "abnormal 4.png", 3)
    assert said("folders", tmp_path) == {
        "7": "normal", "normal_ref_01": "tail_defect", "not normal 3": "unclear", "abnormal 4": "abnormal",
    }  # fmt: skip


def test_in_folders_of_donors_the_pictures_names_count(tmp_path: Path) -> None:
    write(tmp_path / "smids" / "donor 1" / "Normal_1.png", 1)
    write(tmp_path / "smids" / "donor 2" / "Abnormal_2.png", 2)
    assert said("folders", tmp_path) == {"Normal_1": "normal", "Abnormal_2": "abnormal"}


def test_folders_that_are_two_classes_are_refused_and_one_that_is_none_is_named(tmp_path: Path) -> None:
    write(tmp_path / "normal" / "abnormal" / "a.png", 1)
    write(tmp_path / "pictures" / "unlike.png", 2)
    found = said("folders", tmp_path)
    assert "several classes" in found["a"] and found["unlike"] == "pictures"


def test_a_folder_of_a_multi_label_line_says_nothing_of_the_other_labels(tmp_path: Path) -> None:
    write(tmp_path / "head" / "a.png", 1)
    assert said("folders", tmp_path, MANY) == {"a": {"head": True}}


@pytest.mark.parametrize(
    "text",
    [
        "file,label\nx/1.png,normal\n2.png, Abnormal \n",
        "\ufefffilename;class\r\nx/1.png;Sperm\r\n\r\n2.png;abnormal\r\n",
        "label\tImage\nnormal\tx\\1.png\nabnormal\t2.png\n",
        'path|category\n"x/1.png"|normal\n2|abnormal\n',
        "file,normal,abnormal,stain\n1.png,1,0,0\n2.png,no,YES,\n",
        "file,class,normal,abnormal\n1.png,normal,0,1\n2.png,abnormal,,\n",  # with both, the label column counts
        "file,label\n1.png,normal\n2.png,abnormal\n".encode("utf-16"),
    ],
)
def test_tables_of_one_class_a_picture(tmp_path: Path, text: str | bytes) -> None:
    assert said("csv", table(tmp_path, text)) == {"1": "normal", "2": "abnormal"}


def test_a_table_may_have_gaps_in_a_multi_label_line(tmp_path: Path) -> None:
    rows = ["file,Acrosome,head,vacuole,donor", "1.png,1,0,,D1", "2.png,yes,False,NaN,D2", "3.png,0.0,1.0,0.0,D3"]
    assert said("csv", table(tmp_path, "\n".join([*rows, "4.png,,,,D4"])), MANY) == {
        "1": {"acrosome": True, "head": False},
        "2": {"acrosome": True, "head": False},
        "3": {"acrosome": False, "head": True, "vacuole": False},
        "4": "has a value for no class; nothing is labelled",
    }


def test_a_label_column_of_a_multi_label_line_names_what_is_there(tmp_path: Path) -> None:
    text = "file,labels\n1.png,head|vacuole\n2.png,none\n3.png,acrosome; head\n4.png,\n5.png,tail\n"
    found = said("csv", table(tmp_path, text), MANY)
    assert found["1"] == {"acrosome": False, "head": True, "vacuole": True}
    assert found["2"] == dict.fromkeys(MANY.classes, False)
    assert found["3"] == {"acrosome": True, "head": True, "vacuole": False}
    assert found["4"] == "has no label" and found["5"]["tail"] is True  # the import names the unknown class


def test_what_is_wrong_with_a_row_is_said_with_file_and_line(tmp_path: Path) -> None:
    rows = ["file,acrosome,head", "1.png,maybe,0", "2.png,1", ",1,0", "", "3.png,1,0"]
    bad = [each for each in read("csv", table(tmp_path, "\n".join(rows)), MANY) if isinstance(each, BadFile)]
    assert [(each.file, each.reason) for each in bad] == [
        ("labels.csv line 2: 1.png", "has 'maybe' in the column 'acrosome', expected 1, 0, or nothing"),
        ("labels.csv line 3: 2.png", "has 2 cells, the head has 3"),
        ("labels.csv line 4", "names no picture"),
    ]
    (one,) = said("csv", table(tmp_path, "file,normal,abnormal\n1.png,1,1\n")).values()
    assert one == "has 2 classes with a 1 (normal, abnormal), expected one"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it is empty"),
        ("a,b\n1,2\n", "no column names the pictures"),
        ("file,donor\n1.png,D1\n", "expected a column 'label', or columns named normal, abnormal, non_sperm"),
        ("file,stain,non_sperm\n1.png,1,0\n", "both of the class 'non_sperm'"),
        (b"\xff\xfe\x00", "not text"),
    ],
)
def test_a_table_that_is_none_of_labels_is_named_whole(tmp_path: Path, text: str | bytes, reason: str) -> None:
    (bad,) = read("csv", table(tmp_path, text))
    assert isinstance(bad, BadFile) and bad.file == "labels.csv" and reason in bad.reason


def test_columns_that_are_passed_over_and_classes_without_one_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        said("csv", table(tmp_path, "file,acrosom,head\n1.png,1,0\n"), MANY)
    assert "passed over the columns 'acrosom'" in caplog.text and "no column for acrosome, vacuole" in caplog.text


def test_a_picture_beside_the_table_is_known_by_its_bytes_and_nothing_outside_is_read(tmp_path: Path) -> None:
    inside, outside = write(tmp_path / "set" / "normal" / "1.png", 1), write(tmp_path / "2.png", 2)
    text = f"file,label\nnormal/1.png,normal\n../2.png,normal\n{outside},normal\n"
    oids = [each.picture_oid for each in read("csv", table(tmp_path / "set", text)) if isinstance(each, LabelFile)]
    assert oids == [oid_of(inside), None, None]
    assert len(read("csv", tmp_path / "set" / "labels.csv")) == 3, "the file itself may be named"
