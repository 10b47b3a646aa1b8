"""What the checks of boxes rest on: places inside the frame, and overlaps."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest

from tasks.kinds.detection import checks as detection
from tasks.schemas import Frame
from tasks.validation.inputs import Row
from tests.validation.factory import NOON, a_box

FRAME = Frame(
    line="cells", recording_id="1" * 64, frame_index=3, oid="2" * 64, media_type="image/png", pts_s=0.1, width_px=64,
    height_px=48, phash="0" * 16, reason="sampled", taken_at=NOON,
)  # fmt: skip


def rows(*objects: Row) -> list[Row]:
    annotation = {"annotation_id": "1-7", "recording_id": "1" * 64, "frame_index": 3, "frame_oid": "2" * 64}
    table = detection.labels_table(
        [{**annotation, "objects": list(objects)}], {(FRAME.recording_id, FRAME.frame_index, FRAME.oid): FRAME}
    )
    return table.to_dict("records")  # type: ignore[return-value]


def test_a_box_inside_the_frame() -> None:
    (row,) = rows(a_box(x=10, y=20, width=8, height=6))
    assert row["row_id"] == "1-7#0"
    assert row["box_complete"]
    assert (row["width_px"], row["height_px"], row["shortest_side_px"], row["outside_px"]) == (8, 6, 6, 0)
    assert row["longest_side_fraction"] == 8 / 64


@pytest.mark.parametrize(
    ("box", "outside", "shortest"),
    [
        (a_box(x=-0.4), 0.4, 6),
        (a_box(x=60, width=8), 4, 4),
        (a_box(y=45, height=6), 3, 3),
        (a_box(x=100), 44, 0),
        (a_box(width=-5), 0, -5),
        (a_box(height=0), 0, 0),
    ],
)
def test_how_far_a_box_sticks_out_and_what_is_left(box: Row, outside: float, shortest: float) -> None:
    (row,) = rows(box)
    assert row["outside_px"] == pytest.approx(outside)
    assert row["shortest_side_px"] == pytest.approx(shortest)


@pytest.mark.parametrize(
    "box",
    [
        {"label": "sperm"},
        a_box(x=math.nan),
        a_box(width=math.inf),
        {**a_box(), "y_px": "10"},
        {**a_box(), "y_px": None},
        {**a_box(), "y_px": True},
        {**a_box(), "y_px": 10**400},
        {},
    ],
)
def test_a_box_without_four_finite_numbers_is_not_complete(box: Row) -> None:
    bad, good = rows(box, a_box())
    assert not bad["box_complete"]
    assert math.isnan(bad["shortest_side_px"])
    assert good["box_complete"]
    assert good["duplicate_iou"] == 0


@pytest.mark.parametrize("label", [None, "", 3, ["sperm"]])
def test_a_label_that_is_none(label: object) -> None:
    assert rows({**a_box(), "label": label})[0]["label"] is None


def test_the_later_duplicate_of_the_same_class_is_the_one() -> None:
    same, nearly, other = a_box(), a_box(width=8.2), a_box(label="impurity")
    assert [row["duplicate_iou"] > 0.95 for row in rows(same, other, nearly, same)] == [False, False, True, True]


def test_a_duplicate_of_a_duplicate_is_judged_by_the_original() -> None:
    chain = [a_box(x=10, width=20), a_box(x=10.5, width=20), a_box(x=11, width=20)]  # neighbours 0.951, ends 0.905
    assert [row["duplicate_iou"] > 0.95 for row in rows(*chain)] == [False, True, False]


def test_overlaps_agree_with_the_definition() -> None:
    rng = np.random.default_rng(0)
    corner, size = rng.uniform(0, 40, (30, 2)), rng.uniform(5, 20, (30, 2))
    boxes = np.concatenate([corner, corner + size], axis=1)
    labels = ["a" if number % 2 else "b" for number in range(30)]
    found = detection.duplicate_overlaps(boxes, labels)
    for i in range(30):
        best = 0.0
        for j in (j for j in range(i) if labels[j] == labels[i]):
            wide = min(boxes[i, 2], boxes[j, 2]) - max(boxes[i, 0], boxes[j, 0])
            high = min(boxes[i, 3], boxes[j, 3]) - max(boxes[i, 1], boxes[j, 1])
            shared = max(wide, 0) * max(high, 0)
            best = max(best, shared / (np.prod(size[i]) + np.prod(size[j]) - shared))
        assert found[i] == pytest.approx(best)


def test_what_passed_is_clipped_to_the_frame() -> None:
    inside, over = a_box(x=10.1, width=8.3), a_box(x=-0.4, y=42.3, width=8, height=6)
    clean = detection.cleaned([inside, over], FRAME)
    assert clean[0] == inside
    assert clean[1]["x_px"] == 0
    assert clean[1]["width_px"] == pytest.approx(7.6)
    assert clean[1]["y_px"] + clean[1]["height_px"] == pytest.approx(48)


def test_a_frame_without_objects_has_no_rows() -> None:
    assert rows() == []


@pytest.mark.parametrize("seed", range(5))
def test_comparing_in_blocks_is_comparing_all_with_all(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(seed)
    corner = rng.choice(rng.uniform(0, 40, (40, 2)), 150) + rng.uniform(0, 0.3, (150, 2))  # many duplicates
    boxes = np.concatenate([corner, corner + 12], axis=1)
    labels = ["a" if number % 3 else None for number in range(150)]
    boxes[7] = math.nan
    whole = detection.duplicate_overlaps(boxes, labels)
    monkeypatch.setattr(detection, "_BLOCK", 8)
    assert np.array_equal(detection.duplicate_overlaps(boxes, labels), whole)
    assert (whole > detection.MAX_DUPLICATE_IOU).any()
    originals: list[int] = []
    for number in range(150):
        same = [other for other in originals if labels[other] == labels[number]]
        best = max((iou(boxes[number], boxes[other]) for other in same), default=0.0)
        assert whole[number] == pytest.approx(best)
        if best <= detection.MAX_DUPLICATE_IOU:
            originals.append(number)


def iou(one: np.ndarray, other: np.ndarray) -> float:
    wide, high = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    shared = max(wide, 0) * max(high, 0)
    found = shared / (np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]) - shared)
    return 0.0 if math.isnan(found) else float(found)


def test_many_boxes_on_one_frame_take_little_memory() -> None:
    corner = np.random.default_rng(0).uniform(0, 1000, (20_000, 2))
    boxes = np.concatenate([corner, corner + 5], axis=1)
    tracemalloc.start()
    detection.duplicate_overlaps(boxes, ["sperm"] * len(boxes))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * 2**20  # all with all at once: 20,000 x 20,000 x 8 bytes, several times


def test_a_crowd_may_be_large_and_have_objects_on_it() -> None:
    crowd = {**a_box(x=0, y=0, width=64, height=48), "crowd": True}
    large, single, again = rows(crowd, a_box(x=0, y=0, width=64, height=48), crowd)
    assert (large["longest_side_fraction"], single["longest_side_fraction"]) == (0, 1)
    assert (large["duplicate_iou"], single["duplicate_iou"], again["duplicate_iou"]) == (0, 0, 1)


def test_what_is_cleaned_stays_a_crowd() -> None:
    crowd, single = detection.cleaned([{**a_box(x=-0.2), "crowd": True}, a_box()], FRAME)
    assert crowd["crowd"] is True
    assert "crowd" not in single
