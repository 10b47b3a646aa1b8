"""What a classification line may learn from: unknown classes, contradictions between pictures, and sizes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tasks.config import Line
from tasks.kind import Object
from tasks.kinds.classification import checks
from tasks.lake import Lake
from tasks.metrics.label_agreement import LabelAgreement
from tasks.validation.validate import Validation, validate
from tests.ingest.stills.pictures import cell
from tests.kinds.classification.lake_of_pictures import brighter, fill, label, put_picture
from tests.kinds.classification.lines import CLASSIFICATION, a_line, a_multi_label_line

ONE, MANY = a_line(), a_multi_label_line()
NORMAL, ABNORMAL = {"label": "normal"}, {"label": "abnormal"}


def judged(lake: Lake, line: Line = ONE) -> Validation:
    return validate(lake, line, CLASSIFICATION)


def aside(found: Validation) -> dict[str, str]:
    """Picture -> why it was set aside."""
    return {item.subject.removesuffix(" frame 0"): item.reason for item in found.quarantined}


def accepted(found: Validation) -> dict[str, list[Object]]:
    return {row["recording_name"]: json.loads(row["objects"]) for row in found.accepted.to_pylist()}


def test_good_labels_are_accepted_as_they_are(lake: Lake) -> None:
    fill(lake, [NORMAL, ABNORMAL])
    found = judged(lake)
    assert found.success and not found.quarantined
    assert sorted(str(each) for each in accepted(found).values()) == sorted([str([NORMAL])] * 3 + [str([ABNORMAL])] * 3)
    assert found.notes == ["no accepted label of class non_sperm: the model cannot learn it"]


def test_unknown_missing_and_several_classes_are_set_aside_and_the_night_goes_on(lake: Lake) -> None:
    fill(lake, [NORMAL])
    label(lake, put_picture(lake, "unknown.png", cell(1)), {"label": "tail"})
    label(lake, put_picture(lake, "several.png", cell(2)), NORMAL, ABNORMAL)
    label(lake, put_picture(lake, "none.png", cell(3)))
    label(lake, put_picture(lake, "small.png", cell(4, (40, 60))[:12]), NORMAL)
    found = judged(lake)
    assert aside(found) == {
        "unknown.png": "the class 'tail' is not one of this line's",
        "several.png": "2 classes are chosen (normal and abnormal), expected one",
        "none.png": "no class is chosen",
        "small.png": "the picture is only 12 px wide or high",
    }
    assert len(accepted(found)) == 3


def test_a_line_may_say_how_small_its_pictures_are(lake: Lake) -> None:
    fill(lake, [NORMAL])
    label(lake, put_picture(lake, "small.png", cell(4, (40, 60))[:12]), NORMAL)
    assert "small.png" in accepted(judged(lake, a_line(plausible={"min_side_px": 10})))


def test_a_picture_that_is_there_twice_under_two_classes_is_set_aside_with_its_partner(lake: Lake) -> None:
    fill(lake, [NORMAL, ABNORMAL])
    for name, item in (("one.png", NORMAL), ("two.png", ABNORMAL)):
        label(lake, put_picture(lake, name, cell(1)), item)
    found = aside(judged(lake))
    assert found["one.png"] == "is labelled normal, and the same picture, two.png frame 0, abnormal"
    assert found["two.png"] == "is labelled abnormal, and the same picture, one.png frame 0, normal"
    assert len(found) == 2


def test_so_is_one_that_only_looks_the_same_and_not_one_that_agrees(lake: Lake) -> None:
    fill(lake, [NORMAL, ABNORMAL])
    for number, (name, item) in enumerate((("one", NORMAL), ("two", ABNORMAL), ("three", NORMAL), ("four", NORMAL))):
        image = cell(1 + number // 2)
        label(lake, put_picture(lake, f"{name}.png", brighter(image) if number % 2 else image), item)
    found = judged(lake)
    assert aside(found) == {
        "one.png": "is labelled normal, and two.png frame 0, which shows the same, abnormal",
        "two.png": "is labelled abnormal, and one.png frame 0, which shows the same, normal",
    }
    assert {"three.png", "four.png"} <= accepted(found).keys()


def test_pictures_with_one_perceptual_hash_that_look_different_stay(lake: Lake) -> None:
    fill(lake, [NORMAL])
    same_hash = {"phash": "0f0f0f0f0f0f0f0f"}
    for number, item in enumerate((NORMAL, ABNORMAL)):
        frame = put_picture(lake, f"{number}.png", cell(30 + number)).model_copy(update=same_hash)
        lake.tables.append("frames", [frame])
        label(lake, frame, item)
    assert not judged(lake).quarantined


def test_people_who_disagree_on_one_picture_do_not_contradict_another(lake: Lake) -> None:
    fill(lake, [NORMAL, ABNORMAL])
    first, second = (put_picture(lake, f"{name}.png", cell(1)) for name in ("one", "two"))
    label(lake, first, NORMAL, by="ann", minutes=5)
    label(lake, first, ABNORMAL, by="bob")
    label(lake, second, NORMAL, by="ann")
    found = judged(lake)
    assert aside(found) == {"one.png": "is labelled abnormal, and the same picture, two.png frame 0, normal"}
    assert accepted(found)["one.png"] == accepted(found)["two.png"] == [NORMAL]
    label(lake, second, ABNORMAL, by="bob", minutes=9)  # now of each picture another answer would count
    assert set(aside(judged(lake))) == {"one.png", "two.png"}


def judgements(**said: bool) -> list[Object]:
    return [{"label": name, "present": value} for name, value in said.items()]


def test_several_labels_contradict_each_other_only_where_both_have_a_value(lake: Lake) -> None:
    for number in range(3):
        values = judgements(acrosome=bool(number % 2), head=False, vacuole=True)
        label(lake, put_picture(lake, f"good-{number}.png", cell(100 + number)), *values)
    pairs = {
        "one": judgements(acrosome=True),
        "two": judgements(head=True),
        "three": judgements(head=False, acrosome=True),
    }
    for name, objects in pairs.items():
        label(lake, put_picture(lake, f"{name}.png", cell(1)), *objects)
    found = judged(lake, MANY)
    assert aside(found) == {
        "two.png": "is labelled head, and the same picture, three.png frame 0, acrosome",
        "three.png": "is labelled acrosome, and the same picture, two.png frame 0, head",
    }
    assert accepted(found)["one.png"] == judgements(acrosome=True)
    assert "label head: 1 of 4 pictures have no value" in found.notes
    assert any("label vacuole holds of all pictures" in note for note in found.notes)


def test_minimums_count_what_is_there(lake: Lake) -> None:
    for number in range(4):
        values = judgements(acrosome=number == 0, head=True, vacuole=False)
        label(lake, put_picture(lake, f"{number}.png", cell(number)), *values)
    found = judged(lake, a_multi_label_line(minimums={"recordings": 3, "labels": {"acrosome": 2, "head": 4}}))
    assert len(found.missing) == 1 and "labels of class acrosome: 1" in found.missing[0], found.missing


def test_how_far_two_people_agree() -> None:
    assert checks.agreement([NORMAL], [ABNORMAL], ONE) == [
        LabelAgreement(0, 1, 0), LabelAgreement(0, 0, 1), LabelAgreement(),
    ]  # fmt: skip
    assert checks.agreement([NORMAL], [NORMAL], ONE)[0] == LabelAgreement(1, 1, 1)
    first, second = judgements(acrosome=True, head=True, vacuole=False), judgements(acrosome=True, vacuole=True)
    assert checks.agreement(first, second, MANY) == [
        LabelAgreement(1, 1, 1), LabelAgreement(), LabelAgreement(0, 0, 1),
    ]  # fmt: skip


@pytest.mark.parametrize("count", [3000])
def test_many_pictures_are_compared_in_blocks(lake: Lake, count: int) -> None:
    """No picture is opened for pairs that agree, or whose hashes differ."""
    from tasks.kinds.classification.duplicates import Labelled, contradictions

    frame = put_picture(lake, "a.png", cell(1))
    hashes = np.random.default_rng(0).integers(0, 2**63, count)
    labels = [
        Labelled(
            number, frame.model_copy(update={"phash": f"{value:016x}", "oid": f"{number:064x}"}), {"": number % 2}, True
        )
        for number, value in enumerate(hashes)
    ]

    def closed(oid: str) -> bytes:
        raise AssertionError(oid)

    assert contradictions(labels, closed) == {}
