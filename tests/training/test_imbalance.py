"""Which pictures an epoch shows where classes are of very different frequency, and how much each class weighs."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.training.imbalance import (
    Mixture,
    balanced_weights,
    effective_weights,
    named_weights,
    rare_classes,
    repeat_factors,
    with_every_class,
)

SPERM, IMPURITY = 0, 1
UNEVEN = [{SPERM}] * 90 + [{SPERM, IMPURITY}] * 9 + [set[int]()]
"""A hundred pictures: nine have the rare class, one has none."""


def test_repeat_factors_are_those_of_the_paper() -> None:
    factors = repeat_factors([{0}, {0, 1}, {0}, {0, 2}, set()], threshold=0.4)
    assert factors.tolist() == pytest.approx([1, 2**0.5, 1, 2**0.5, 1]), "sqrt(0.4 / 0.2) of a fifth, 1 of four fifths"
    assert repeat_factors(UNEVEN, 0).tolist() == [1.0] * 100
    assert max(repeat_factors(UNEVEN, 1.0)) == pytest.approx((1 / 0.09) ** 0.5)


def test_pictures_come_as_often_as_their_factors_say_and_an_epoch_keeps_its_length() -> None:
    mixture = Mixture(UNEVEN, threshold=0.36)
    epochs = [mixture.epoch(seed) for seed in range(300)]
    assert {len(epoch) for epoch in epochs} == {100}
    due = mixture.factors / mixture.factors.mean()
    seen = Counter(picture for epoch in epochs for picture in epoch)
    assert np.abs(np.array([seen[picture] for picture in range(100)]) / 300 - due).max() < 0.1
    shares = [sum(IMPURITY in UNEVEN[picture] for picture in epoch) / 100 for epoch in epochs]
    assert np.mean(shares) == pytest.approx(9 * 2 / 109, abs=0.005), "twice as often, of 91 + 9 x 2"
    for epoch in epochs:
        assert max(abs(count - due[picture]) for picture, count in Counter(epoch).items()) < 1, "rounded, no more"


def test_without_a_threshold_each_comes_once() -> None:
    epoch = Mixture(UNEVEN, threshold=0).epoch(5)
    assert sorted(epoch) == list(range(100)) and epoch != sorted(epoch)


def test_an_epoch_follows_from_its_seed() -> None:
    mixture, again = (Mixture(UNEVEN, 0.36, batch=8) for _ in range(2))
    assert mixture.epoch(7) == again.epoch(7) != mixture.epoch(8)
    assert mixture.epoch(7) == again.epoch(7), "nothing is left of the epochs before"


def test_each_batch_has_a_picture_of_the_rare_class_and_its_pictures_take_turns() -> None:
    order = Mixture(UNEVEN, threshold=0, batch=8).epoch(3)
    batches = [order[start : start + 8] for start in range(0, 100, 8)]
    assert len(order) == 100
    assert all(any(IMPURITY in UNEVEN[picture] for picture in batch) for batch in batches)
    assert all(any(SPERM in UNEVEN[picture] for picture in batch) for batch in batches)
    shown = Counter(picture for picture in order if IMPURITY in UNEVEN[picture])
    assert len(shown) == 9 and max(shown.values()) - min(shown.values()) <= 1


@given(
    classes_of=st.lists(st.sets(st.integers(0, 4), max_size=3), min_size=1, max_size=40),
    batch=st.integers(1, 8), threshold=st.floats(0, 1), seed=st.integers(0, 2**40),
)  # fmt: skip
def test_whatever_the_pictures_batches_have_what_they_have_room_for(
    classes_of: list[set[int]], batch: int, threshold: float, seed: int
) -> None:
    order = Mixture(classes_of, threshold, batch).epoch(seed)
    assert len(order) == len(classes_of) and set(order) <= set(range(len(classes_of)))
    there = set().union(*classes_of)
    pictures_of = Counter(each for classes in classes_of for each in classes)
    rarest = min(there, key=lambda each: (pictures_of[each], each), default=None)
    for start in range(0, len(order), batch):
        found = set().union(*(classes_of[picture] for picture in order[start : start + batch]))
        assert rarest is None or rarest in found
        if len(order[start : start + batch]) >= len(there):
            assert found == there


def test_a_batch_without_room_has_the_rarest() -> None:
    classes_of = [{0}, {0}, {0}, {1}, {1}, {2}]
    order = with_every_class([0, 1, 2, 3], 2, classes_of, np.random.default_rng(0))
    assert [{min(classes_of[each]) for each in order[at : at + 2]} for at in (0, 2)] == [{1, 2}, {1, 2}]


COUNTS = np.array([6724.0, 149.0])


def test_weights_by_frequency() -> None:
    balanced = balanced_weights(COUNTS)
    assert balanced.mean() == pytest.approx(1) and balanced[1] / balanced[0] == pytest.approx(6724 / 149)
    effective = effective_weights(COUNTS, 0.999)
    assert effective.mean() == pytest.approx(1)
    assert effective[1] / effective[0] == pytest.approx((1 - 0.999**6724) / (1 - 0.999**149)), "equation 4"
    assert effective_weights(COUNTS, 0.0).tolist() == [1, 1]
    assert effective_weights(COUNTS, 0.999999)[1] == pytest.approx(balanced[1], rel=0.01)
    assert effective_weights(np.array([5.0, 0.0, 5.0]), 0.9).tolist() == pytest.approx([1, 1, 1]), "none of a class"
    assert balanced_weights(np.zeros(2)).tolist() == [1, 1]
    assert named_weights({"impurity": 5.0}, ["sperm", "impurity"]).tolist() == [1, 5]


def test_balanced_is_what_ultralytics_makes_of_cls_pw_1() -> None:
    from types import SimpleNamespace

    from ultralytics.models.yolo.detect import DetectionTrainer

    counts = np.array([6724.0, 0.0, 149.0])
    theirs = DetectionTrainer.compute_class_weights(SimpleNamespace(args=SimpleNamespace(cls_pw=1.0)), counts)
    assert balanced_weights(counts) == pytest.approx(theirs / theirs.mean())


def test_what_is_rare() -> None:
    assert rare_classes(COUNTS) == {1}
    assert rare_classes(np.array([100.0, 50.0, 49.0, 0.0])) == {2}
    assert rare_classes(np.zeros(0)) == rare_classes(np.zeros(2)) == frozenset()
