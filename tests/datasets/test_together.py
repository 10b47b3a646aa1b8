"""Stills that show the same end up in one split, and nothing else moves."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence

import pytest

from tasks.datasets import splits, together
from tasks.datasets.splits import Placement
from tasks.lake import Lake
from tasks.leakage import Audit, Finding, Side
from tasks.schemas import Split
from tests.validation.factory import a_line, a_recording

LINE = a_line()
STILLS = 40


def oid(number: int) -> str:
    return hashlib.sha256(f"still {number}".encode()).hexdigest()


def group(number: int) -> str:
    return f"recording:{oid(number)}"


@pytest.fixture
def stills(lake: Lake) -> Lake:
    rows = [a_recording(f"cell_{n}", recording_id=oid(n), container="still", donor=None) for n in range(STILLS)]
    lake.tables.append("recordings", rows)
    return lake


def looks(alike: Sequence[tuple[int, int]]) -> Callable[[Mapping[str, Split]], Audit]:
    """An audit that sees these pairs wherever they stand in two splits."""

    def audit(placed: Mapping[str, Split]) -> Audit:
        def side(number: int) -> Side:
            return Side(placed[group(number)], group(number), oid(number), f"cell_{number}.png", 0)

        found = [
            Finding("clip", side(one), side(other), "")
            for one, other in alike
            if placed[group(one)] != placed[group(other)]
        ]
        return Audit("code", len(placed), len(placed), len(found), 0, tuple(found))

    return audit


def plan(known: Mapping[str, Split] | None = None, pins: Mapping[str, Split] | None = None) -> Placement:
    return splits.plan(LINE, {group(n): (pins or {}).get(group(n)) for n in range(STILLS)}, known or {})


CHAIN = [(n, n + 1) for n in range(9)]


def test_a_chain_of_overlapping_stills_stands_in_one_split(stills: Lake) -> None:
    planned = plan()
    assert len({planned.splits[group(n)] for n in range(10)}) > 1, "else there is nothing to bring together"
    found, audit = together.settled(stills, LINE, planned, looks(CHAIN))
    assert audit.passed and len({found.splits[group(n)] for n in range(10)}) == 1
    assert {g: s for g, s in found.splits.items() if g not in map(group, range(10))} == {
        g: s for g, s in planned.splits.items() if g not in map(group, range(10))
    }
    assert found.new == found.splits and "cell_5.png and cell_6.png" in found.warnings[-1]
    assert together.settled(stills, LINE, planned, looks(CHAIN))[0] == found, "the same plan every time"


def test_what_is_alike_nowhere_stays(stills: Lake) -> None:
    planned = plan()
    assert together.settled(stills, LINE, planned, looks([]))[0] is planned


@pytest.mark.parametrize("how", ["recorded", "pinned"])
def test_new_stills_follow_the_one_that_stands_already(stills: Lake, how: str) -> None:
    there: dict[str, Split] = {group(4): "test"}
    planned = plan(known=there) if how == "recorded" else plan(pins=there)
    found, audit = together.settled(stills, LINE, planned, looks(CHAIN))
    assert audit.passed and {found.splits[group(n)] for n in range(10)} == {"test"}


def test_what_was_recorded_never_moves_and_is_refused(stills: Lake) -> None:
    planned = plan(known={group(0): "train", group(1): "test"})
    found, audit = together.settled(stills, LINE, planned, looks([(0, 1)]))
    assert found == planned and not audit.passed


def test_donors_and_films_do_not_move(lake: Lake) -> None:
    lake.tables.append("recordings", [a_recording(f"film_{n}", recording_id=oid(n), donor=None) for n in range(STILLS)])
    planned = plan()
    found, audit = together.settled(lake, LINE, planned, looks(CHAIN))
    assert found == planned and not audit.passed


def test_never_at_the_price_of_a_split(stills: Lake) -> None:
    everything = [(n, n + 1) for n in range(STILLS - 1)]
    planned = plan()
    found, audit = together.settled(stills, LINE, planned, looks(everything))
    assert found == planned and not audit.passed


def test_folds_keep_a_chain_whole_and_none_becomes_empty(stills: Lake) -> None:
    def audit(placed: Mapping[str, int]) -> Audit:
        return looks(CHAIN)({name: f"fold {fold}" for name, fold in placed.items()})  # type: ignore[misc]

    folds = {group(n): n % 5 + 1 for n in range(STILLS)}
    found = together.brought_together(stills, "cells 0", folds, folds, audit, needed=range(1, 6))
    assert found.audit.passed and len({found.places[group(n)] for n in range(10)}) == 1
    assert {n: found.places[group(n)] for n in range(10, STILLS)} == {n: n % 5 + 1 for n in range(10, STILLS)}
    few = {group(n): n + 1 for n in range(3)}
    found = together.brought_together(
        stills, "cells 0", few, few, lambda placed: looks(CHAIN[:2])({g: str(f) for g, f in placed.items()}),  # type: ignore[misc]
        needed=range(1, 4),
    )  # fmt: skip
    assert found.places == few and not found.audit.passed
