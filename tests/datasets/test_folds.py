"""Folds are disjoint and complete, leak nothing, and are never mistaken for a night's dataset."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.config import Line
from tasks.datasets.experiments import experiment_of, refuse_experiment, starting_version
from tasks.datasets.folds import assign, make_folds
from tasks.datasets.freeze import freeze
from tasks.errors import ConfigError, DataError, InsufficientData, LeakageError, NotFound
from tasks.kinds import kind_of
from tasks.lake import Lake, Manifest
from tasks.validation.dataset import check_dataset
from tasks.validation.validate import validate
from tests.validation.factory import a_line, good_lake

DETECTION = kind_of("detection")

LINE = a_line()
GROUPS = st.dictionaries(
    st.text("abcdefgh0123456789", min_size=1, max_size=6),
    st.fixed_dictionaries({"frames": st.integers(1, 60)}, optional={"label sperm": st.integers(1, 900)}),
    min_size=2,
    max_size=14,
)


def base(lake: Lake, line: Line = LINE) -> Manifest:
    found = validate(lake, line, DETECTION)
    about: dict[str, Any] = {"result_oid": found.result_oid, "report_oid": found.report_oid, "snapshots": {}}
    return lake.datasets.load(
        line.line, freeze(lake, line, found.accepted, validation=about, check=check_dataset, kind=DETECTION)
    )


def fine(rows: Any) -> dict[str, Any]:
    """An audit that finds nothing."""
    return {"frames": rows.num_rows}


@given(GROUPS, st.integers(2, 14), st.integers(0, 9))
def test_every_group_is_tested_once_and_no_fold_is_empty(groups: dict[str, Any], folds: int, seed: int) -> None:
    if folds > len(groups):
        with pytest.raises(InsufficientData, match=f"cannot make {folds} folds of {len(groups)} donors"):
            assign(groups, folds, seed)
        return
    found = assign(groups, folds, seed)
    assert set(found) == set(groups)
    assert set(found.values()) == set(range(1, folds + 1))
    shuffled = dict(sorted(groups.items(), reverse=True))
    assert assign(shuffled, folds, seed) == found, "the order in which groups come must not matter"


def test_folds_hold_equal_shares_of_frames_and_of_every_class() -> None:
    groups = {f"g{n:02}": {"frames": 10, "label sperm": 100 + 10 * (n % 7)} for n in range(20)}
    for n in (3, 8, 11, 17):
        groups[f"g{n:02}"]["label impurity"] = 20  # one for each fold, if it is well spread
    held: dict[int, Counter[str]] = {fold: Counter() for fold in range(1, 5)}
    for group, fold in assign(groups, 4, seed=0).items():
        held[fold].update(groups[group])
    assert {counted["label impurity"] for counted in held.values()} == {20}
    assert {counted["frames"] for counted in held.values()} == {50}
    labels = [counted["label sperm"] for counted in held.values()]
    assert max(labels) - min(labels) <= 0.1 * max(labels)


def test_another_seed_makes_other_folds_of_groups_alike() -> None:
    groups = {f"g{n}": {"frames": 10} for n in range(12)}
    parts = {
        frozenset(frozenset(g for g in groups if found[g] == fold) for fold in range(1, 4))
        for found in (assign(groups, 3, seed) for seed in range(5))
    }
    assert len(parts) > 1


def test_one_fold_is_no_cross_validation() -> None:
    with pytest.raises(ConfigError, match="at least 2"):
        assign({"a": {"frames": 1}, "b": {"frames": 1}}, 1, 0)


def test_folds_are_versions_of_their_own_that_no_night_takes(lake: Lake) -> None:
    good_lake(lake, names=("a", "b", "c", "d"))
    night = base(lake)
    versions = make_folds(lake, LINE, DETECTION, night, 2, seed=0, audit=fine)
    assert make_folds(lake, LINE, DETECTION, night, 2, seed=0, audit=fine) == versions
    assert lake.datasets.versions(LINE.line) == [night.version]
    assert starting_version(lake, LINE).version == night.version
    assert starting_version(lake, LINE, night.version[:8]).version == night.version
    tested: Counter[tuple[str, int]] = Counter()
    for number, version in enumerate(versions, 1):
        fold = lake.datasets.load(LINE.line, version)
        rows = fold.rows.to_pylist()
        assert experiment_of(fold) == {
            "what": "cross-validation", "of": night.version, "fold": number, "folds": 2, "seed": 0,
        }  # fmt: skip
        groups = {split: {row["group"] for row in rows if row["split"] == split} for split in ("train", "test")}
        assert not groups["train"] & groups["test"] and fold.about["has_val"] is False
        assert len(rows) == night.rows.num_rows and {row["split"] for row in rows} == {"train", "test"}
        assert fold.about["leak_check"] == {"frames": len(rows)}
        tested.update((row["recording_id"], row["frame_index"]) for row in rows if row["split"] == "test")
        with pytest.raises(DataError, match=r"made for an experiment.*cross-validation of version"):
            refuse_experiment(fold)
    assert set(tested.values()) == {1} and len(tested) == night.rows.num_rows


def test_a_fold_that_holds_a_nights_very_rows_is_another_version(lake: Lake) -> None:
    good_lake(lake)
    night = base(lake)
    tested = {row["group"] for row in night.rows.to_pylist() if row["split"] == "test"}
    for version in make_folds(lake, LINE, DETECTION, night, 3, seed=0, audit=fine):
        fold = lake.datasets.load(LINE.line, version)
        if {row["group"] for row in fold.rows.to_pylist() if row["split"] == "test"} == tested:
            assert fold.rows.to_pylist() == night.rows.to_pylist() and version != night.version
            assert lake.datasets.load(LINE.line, night.version).about["counts"] == fold.about["counts"]
            return
    raise AssertionError("with three groups one fold tests what the night tests")


def test_what_no_night_has_frozen_cannot_be_cross_validated(lake: Lake) -> None:
    with pytest.raises(NotFound, match="no dataset version yet; to fix: nightscope run cells"):
        starting_version(lake, LINE)
    good_lake(lake)
    fold = make_folds(lake, LINE, DETECTION, base(lake), 2, seed=0, audit=fine)[0]
    with pytest.raises(DataError, match="made for an experiment"):
        starting_version(lake, LINE, fold)


def test_all_folds_are_audited_at_once_and_a_leak_makes_none(lake: Lake) -> None:
    good_lake(lake, names=("a", "b", "c", "d"))
    night = base(lake)
    seen: list[Any] = []

    def audit(rows: Any) -> dict[str, Any]:
        seen.append({(row["group"], row["split"]) for row in rows.to_pylist()})
        raise LeakageError("they leak")

    with pytest.raises(LeakageError, match="they leak"):
        make_folds(lake, LINE, DETECTION, night, 4, seed=0, audit=audit)
    (sides,) = seen
    assert {split for _, split in sides} == {f"fold {n}" for n in range(1, 5)} and len(sides) == 4
    assert len(list(lake.store.list(f"datasets/{LINE.line}/"))) == 2, "only the night's manifest and its record"
