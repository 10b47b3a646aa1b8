"""What epochs say of a training: standing still, getting better, broken."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from tasks.registry.runs import EpochMetrics
from tasks.training.health import broken_part, loss_names, plateau_of, rising_at_the_end, series_of

SCORE = "val/AP50"


def epochs(values: Sequence[float | None], name: str = SCORE, **more: float) -> list[EpochMetrics]:
    return [
        EpochMetrics(epoch=number, at_ms=0, metrics={**({} if value is None else {name: value}), "lr": 0.1, **more})
        for number, value in enumerate(values, 1)
    ]


def test_a_score_that_stands_still_is_said_with_since_when_and_what_came_after() -> None:
    history = epochs([0.1, 0.5, 0.8, *[0.801] * 10])
    found = plateau_of(history, SCORE, planned=40)
    assert found is not None and (found.since, found.epoch) == (3, 13) and found.gain == pytest.approx(0.001)
    assert str(found) == "plateau since epoch 3: val/AP50 0.801, and the 10 epochs after it brought 0.001"
    assert plateau_of(history[:-1], SCORE, planned=40) is None, "at least ten epochs"
    assert plateau_of(history, SCORE, planned=100) is None, "a fifth of the planned ones"


@pytest.mark.parametrize(
    "values",
    [[0.01 * n for n in range(40)], [0.5] * 5 + [0.502] * 10, [0.9, *[0.1] * 9], [], [None] * 30],
    ids=["rises", "rose by 0.002", "too short", "nothing", "nothing measured"],
)
def test_no_plateau(values: Sequence[float | None]) -> None:
    assert plateau_of(epochs(values), SCORE, planned=20) is None


def test_a_score_that_falls_stands_still_too() -> None:
    found = plateau_of(epochs([0.9, *[0.5] * 12]), SCORE, planned=20)
    assert found is not None and found.since == 1 and found.gain == 0.0 and found.value == 0.9


def test_epochs_without_a_score_are_left_out() -> None:
    history = epochs([0.5 if number % 3 == 0 else None for number in range(30)])
    found = plateau_of(history, SCORE, planned=20)
    assert found is not None and (found.since, found.epoch) == (1, 28)


def test_without_a_validation_split_the_loss_is_looked_at_relative_to_its_value() -> None:
    falling = epochs([100 * 0.9**n for n in range(30)], "train/loss")
    still = epochs([100 * 0.9**n for n in range(10)] + [38.7] * 12, "train/loss")
    assert plateau_of(falling, SCORE, planned=30) is None
    found = plateau_of(still, SCORE, planned=30)
    assert found is not None and found.metric == "train/loss" and found.since == 11
    assert found.value == pytest.approx(38.7, rel=0.01)


def test_parts_of_a_loss_are_summed_where_there_is_no_whole_and_stages_are_not_compared() -> None:
    parts = {"train/box_loss": 1.0, "train/cls_loss": 2.0, "lr/pg0": 0.1}
    assert loss_names(parts) == ("train/box_loss", "train/cls_loss")
    assert loss_names({"train/stage1/loss": 3.0, "train/stage1/mask_loss": 2.0}) == ("train/stage1/loss",)
    first = epochs([1.0] * 12, "train/box_loss", **{"train/cls_loss": 1.0, "stage": 1.0})
    second = [
        each.model_copy(update={"epoch": each.epoch + 12})
        for each in epochs([9.0] * 5, "train/box_loss", **{"train/cls_loss": 1.0, "stage": 2.0})
    ]
    series = series_of([*first, *second], None)
    assert series is not None and series.epochs[0] == 13 and series.values[0] == -10.0
    assert plateau_of([*first, *second], None, planned=20) is None, "five epochs of a stage are few"


def test_scores_of_two_stages_are_not_compared() -> None:
    first = epochs([0.5, 0.9, *[0.9] * 6], stage=1.0)
    second = [each.model_copy(update={"epoch": each.epoch + 8}) for each in epochs([0.4, 0.5, 0.6, 0.7], stage=2.0)]
    series = series_of([*first, *second], SCORE)
    assert series is not None and series.values == (0.4, 0.5, 0.6, 0.7)
    assert plateau_of([*first, *second], SCORE, planned=12) is None


def test_what_the_end_still_added() -> None:
    assert rising_at_the_end(epochs([0.1, 0.2, 0.3, 0.4, 0.5]), SCORE) == pytest.approx(0.1)
    assert rising_at_the_end(epochs([0.1, 0.9, 0.3, 0.4, 0.5]), SCORE) == pytest.approx(-0.4)
    assert rising_at_the_end(epochs([0.1, 0.9]), SCORE) is None
    assert rising_at_the_end(epochs([5.0] * 9, "train/loss"), SCORE) is None


def test_the_part_that_is_no_number_is_named_before_the_whole() -> None:
    assert broken_part({"loss": 1.0, "box_loss": 2.0}) is None
    assert broken_part({"loss": math.nan, "box_loss": 2.0, "mask": math.inf}) == "mask"
    assert broken_part({"train/stage1/loss": math.nan}) == "train/stage1/loss"
