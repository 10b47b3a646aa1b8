"""What a search draws: the same for the same seed and number, whoever asks, and of a grid every combination once."""

from __future__ import annotations

import threading

import pytest

from tasks.training.trial_values import Choice, Range, Sampler, Space, attempt_each, cells, draw, draw_each

SPACE: Space = {
    "rate": Choice(values=(0.1, 0.01, 0.001)), "flip": Choice(values=(True, False)),
    "batch": Range(low=2, high=8, step=2),
}  # fmt: skip


@pytest.mark.parametrize("sampler", ["grid", "random", "tpe"])
def test_all_at_once_are_those_that_are_drawn_one_by_one(sampler: Sampler) -> None:
    together = draw_each(SPACE, sampler, 3, 24)
    assert together == [draw(SPACE, sampler, 3, number) for number in range(1, 25)]
    assert together != draw_each(SPACE, sampler, 4, 24)


def test_a_grid_has_every_combination_once() -> None:
    drawn = draw_each(SPACE, "grid", 0, cells(SPACE))
    assert cells(SPACE) == 24 and len({tuple(values.items()) for values in drawn}) == 24


@pytest.mark.parametrize("max_parallel", [1, 3])
def test_trials_are_attempted_side_by_side_and_given_in_order(max_parallel: int) -> None:
    together = threading.Barrier(max_parallel)  # nobody passes before as many are there

    def attempt(number: int) -> int:
        together.wait(timeout=60)
        return number * number

    assert attempt_each([3, 1, 2], attempt, max_parallel) == [9, 1, 4]
