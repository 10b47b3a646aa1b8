"""Groups are placed once and never move; train and test are never empty; fractions are approached."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.datasets.splits import assign, pins_of, plan, record, recorded
from tasks.errors import DataError, InsufficientData
from tasks.lake import Lake
from tasks.schemas import Split
from tests.validation.factory import a_line

LINE = a_line()
GROUPS = st.lists(st.text("abcdefgh", min_size=1, max_size=6), min_size=3, max_size=40, unique=True)
PINS: st.SearchStrategy[Split | None] = st.sampled_from([None, None, None, "train", "val", "test"])


def counts(splits: dict[str, Split]) -> dict[str, int]:
    return dict(Counter(splits.values()))


@given(names=st.lists(st.text(min_size=1), min_size=3, max_size=3, unique=True))
def test_three_groups_make_two_to_train_and_one_to_test(names: list[str]) -> None:
    found = plan(LINE, dict.fromkeys(names), {})
    assert counts(found.splits) == {"train": 2, "test": 1}
    assert "no validation split" in found.warnings[0]


@given(names=st.lists(st.text(min_size=1), min_size=3, max_size=3, unique=True), pinned=st.integers(0, 2))
def test_of_three_groups_one_pinned_to_test_leaves_both_others_to_train(names: list[str], pinned: int) -> None:
    pins: dict[str, Split | None] = dict.fromkeys(names)
    pins[names[pinned]] = "test"
    found = plan(LINE, pins, {})
    assert found.splits[names[pinned]] == "test"
    assert counts(found.splits) == {"train": 2, "test": 1}
    assert found.pinned == {names[pinned]}


@pytest.mark.parametrize(
    ("pins", "expected"),
    [
        (["test", "test", None], {"test": 2, "train": 1}),
        (["train", "train", None], {"train": 2, "test": 1}),
        (["val", None, None], {"val": 1, "train": 1, "test": 1}),
        (["train", "test", "val"], {"train": 1, "val": 1, "test": 1}),
        (["test", None, None, None], {"test": 1, "train": 2, "val": 1}),
    ],
)
def test_pins_come_first(pins: list[Split | None], expected: dict[str, int]) -> None:
    named = {f"g{number}": pin for number, pin in enumerate(pins)}
    assert counts(plan(LINE, named, {}).splits) == expected


@given(names=st.lists(st.text(min_size=1), max_size=2, unique=True))
def test_with_fewer_than_three_the_line_stops_and_says_what_it_needs(names: list[str]) -> None:
    with pytest.raises(InsufficientData, match=r"at least 3: two to train on, one to test on"):
        plan(LINE, dict.fromkeys(names), {})


def test_pins_that_leave_nothing_to_test_on_stop_the_line() -> None:
    with pytest.raises(InsufficientData, match=r"stands in test.*a in train; b in train; c in val"):
        plan(LINE, {"a": "train", "b": "train", "c": "val"}, {})


def test_the_fourth_group_fills_the_validation_split() -> None:
    three = plan(LINE, dict.fromkeys(["a", "b", "c"]), {}).splits
    found = plan(LINE, dict.fromkeys(["a", "b", "c", "d"]), three)
    assert found.new == {"d": "val"}
    assert found.warnings == ()


def test_a_line_that_wants_no_validation_split_gets_none() -> None:
    line = a_line(splits={"train": 0.8, "val": 0, "test": 0.2})
    found = plan(line, dict.fromkeys(f"g{n}" for n in range(20)), {})
    assert counts(found.splits) == {"train": 16, "test": 4}


@settings(max_examples=60, deadline=None)
@given(groups=GROUPS, data=st.data())
def test_no_group_moves_as_data_grows(groups: list[str], data: st.DataObject) -> None:
    pins = {group: data.draw(PINS) for group in groups}
    known: dict[str, Split] = {}
    for end in range(1, len(groups) + 1):
        present = {group: pins[group] for group in groups[:end]}
        try:
            found = plan(LINE, present, known)
        except InsufficientData:
            continue
        assert known.items() <= found.splits.items()
        assert found.splits.keys() == present.keys()
        assert {"train", "test"} <= set(found.splits.values())
        assert all(found.splits[g] == pin for g, pin in present.items() if pin and g in found.new)
        known = found.splits


@settings(max_examples=60, deadline=None)
@given(groups=GROUPS, data=st.data())
def test_the_order_within_a_night_does_not_matter(groups: list[str], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(groups))
    assert plan(LINE, dict.fromkeys(groups), {}) == plan(LINE, dict.fromkeys(shuffled), {})


@settings(max_examples=40, deadline=None)
@given(count=st.integers(10, 200), nightly=st.integers(3, 20), salt=st.text(max_size=4))
def test_fractions_are_approached(count: int, nightly: int, salt: str) -> None:
    known: dict[str, Split] = {}
    names = [f"{salt}{number}" for number in range(count)]
    for end in range(nightly, count + nightly, nightly):
        known = plan(LINE, dict.fromkeys(names[:end]), known).splits
    found = Counter(known.values())
    for split, fraction in (("train", 0.7), ("val", 0.15), ("test", 0.15)):
        assert abs(found[split] - fraction * count) <= 1.5


def test_a_recorded_split_wins_over_a_later_pin_and_it_is_said() -> None:
    known: dict[str, Split] = {"a": "train", "b": "train", "c": "test"}
    found = plan(LINE, {"a": "test", "b": None, "c": None}, known)
    assert found.splits == known
    assert "a is pinned to test but was assigned to train, where it stays" in found.warnings


def test_groups_whose_labels_are_gone_do_not_count() -> None:
    known: dict[str, Split] = {"a": "train", "b": "train", "c": "test"}
    found = plan(LINE, dict.fromkeys(["a", "b", "d"]), known)
    assert found.splits["d"] == "test"
    with pytest.raises(InsufficientData, match="stands in test"):
        plan(LINE, dict.fromkeys(["a", "b", "e"]), {**known, "e": "train"})


def test_assigning_is_recorded_once(lake: Lake) -> None:
    first = assign(lake, LINE, {"a": None, "b": "test", "c": None})
    assert first == {"a": "train", "b": "test", "c": "train"}
    assert assign(lake, LINE, dict.fromkeys(["c", "b", "a"])) == first
    rows = lake.tables.scan("splits").to_pylist()
    assert sorted((row["group"], row["pinned"]) for row in rows) == [("a", False), ("b", True), ("c", False)]
    assert recorded(lake, a_line(line="organs")) == {}


def test_whoever_records_first_decides(lake: Lake) -> None:
    ours = plan(LINE, {"a": "train", "b": "train", "c": "test"}, {})
    theirs = plan(LINE, {"a": "test", "b": "train", "c": "train"}, {})
    assert record(lake, LINE, ours) == 3
    assert record(lake, LINE, theirs) == 0
    assert recorded(lake, LINE) == ours.splits


def test_one_group_pinned_to_two_splits_is_an_error_that_names_them() -> None:
    table = pa.table({"group": ["g", "g", "h"], "pinned_split": ["train", "test", None], "recording_name": list("abc")})
    with pytest.raises(DataError, match="g: b to test, a to train"):
        pins_of(table)
    assert pins_of(table.slice(1)) == {"g": "test", "h": None}
