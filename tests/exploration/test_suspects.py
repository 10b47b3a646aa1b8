"""Labels that a model of other groups finds unlikely: wrong ones are named, right ones mostly not."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.exploration.suspects import find_suspects


def clusters(count: int, seed: int = 0) -> tuple[np.ndarray, list[str | None], list[str]]:
    """Points of two classes, well apart, four of each group."""
    random = np.random.default_rng(seed)
    labels = ["ab"[number % 2] for number in range(count)]
    points = random.normal(size=(count, 20)) + np.array([[4.0 if label == "b" else 0.0] for label in labels])
    return points.astype(np.float32), list(labels), [f"g{number // 4}" for number in range(count)]


def test_swapped_labels_are_named_first_and_right_ones_are_not() -> None:
    features, labels, groups = clusters(200)
    swapped = {10, 51, 120, 163}
    given: list[str | None] = [("b" if label == "a" else "a") if place in swapped else label
                               for place, label in enumerate(labels)]  # fmt: skip
    found = find_suspects(features, given, groups)
    assert {one.row for one in found.found} == swapped
    assert all(one.likely == labels[one.row] and one.given == given[one.row] for one in found.found)
    assert found.looked_at == 200 and found.accuracy == pytest.approx(196 / 200)
    assert find_suspects(features, given, groups) == found, "the same again"


def test_who_said_nothing_is_not_suspected() -> None:
    features, labels, groups = clusters(80)
    labels[3], labels[8] = None, None
    found = find_suspects(features, labels, groups)
    assert found.looked_at == 78 and not found.found


def test_three_groups_are_enough_and_two_are_not() -> None:
    features, labels, _ = clusters(60)
    three = find_suspects(features, labels, [f"g{place % 3}" for place in range(60)])
    assert three.accuracy == 1.0
    two = find_suspects(features, labels, [f"g{place % 2}" for place in range(60)])
    assert two.accuracy is None and "in 3 groups at least" in two.why_not
    assert find_suspects(features, ["a"] * 60, ["g"] * 60).why_not == "there is one class only"
