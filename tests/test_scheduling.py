"""Which worker runs which tests, and when."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from tests.scheduling import LONGEST_FIRST, TOGETHER, ByFileOrFolder, rank

TESTS = Path(__file__).parent
FILES = sorted(path.relative_to(TESTS).as_posix() for path in TESTS.rglob("test_*.py"))


def test_every_name_is_of_tests_that_are_there() -> None:
    for start in (*LONGEST_FIRST, *(f"{folder}/" for folder in TOGETHER)):
        assert any(name.startswith(start) for name in FILES), start


def test_the_tests_of_a_folder_that_shares_much_are_one_unit() -> None:
    scheduler = object.__new__(ByFileOrFolder)
    ordered = sorted(FILES, key=rank)
    units = [scheduler._split_scope(f"tests/{name}::test_it[a/b::c]") for name in ordered]
    assert len(list(groupby(units))) == len(set(units)), "no other's tests stand between a unit's"
    assert units.count("browser") == len(list((TESTS / "browser").glob("test_*.py"))) > 1
    assert "tests/e2e/test_night.py" in units and units[0] == "tests/production/test_production_night.py"
