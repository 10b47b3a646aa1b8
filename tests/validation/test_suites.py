"""The suites run for real; what they must never do is pass something they did not look at."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tasks.config import HOME
from tasks.errors import ConfigError, DataError
from tasks.kinds.classification import checks as classification
from tasks.kinds.detection import checks as detection
from tasks.kinds.segmentation import checks as segmentation
from tasks.validation.suites import run_suite
from tasks.validation.tables import PARAMETERS
from tests.validation.factory import a_line

FOLDER = HOME / "expectations"
KINDS = (classification, segmentation, detection)
KNOWN = {**PARAMETERS, **{name: value for kind in KINDS for name, value in kind.parameters(a_line()).items()}}


def boxes(**changes: list[Any]) -> pd.DataFrame:
    data: dict[str, list[Any]] = {
        "row_id": ["a#0", "a#1"], "label": ["sperm", "impurity"], "box_complete": [True, True], "width_px": [8.0, 8.0],
        "height_px": [6.0, 6.0], "shortest_side_px": [6.0, 6.0], "outside_px": [0.0, 0.5],
        "longest_side_fraction": [0.1, 0.1], "longest_side_percent": [10.0, 10.0], "duplicate_iou": [0.0, 0.95],
    }  # fmt: skip
    return pd.DataFrame({**data, **changes})


def run(table: pd.DataFrame, **more: Any) -> Any:
    given = {"row_id": "row_id", "parameters": KNOWN, "folder": FOLDER, **more}
    return run_suite("detection_labels", table, **given)


def test_good_rows_pass() -> None:
    result = run(boxes())
    assert result.success
    assert not result.failures
    assert result.rows == 2
    assert result.parameters == detection.parameters(a_line())


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"label": ["sperm", None]}, "class_is_given"),
        ({"label": ["sperm", "tail"]}, "class_is_known"),
        ({"box_complete": [True, False]}, "box_is_complete"),
        ({"shortest_side_px": [6.0, 0.0]}, "box_has_area"),
        ({"outside_px": [0.0, 0.51]}, "box_is_inside_the_frame"),
        ({"shortest_side_px": [6.0, 2.9]}, "box_is_not_too_small"),
        ({"longest_side_fraction": [0.1, 0.51]}, "box_is_not_too_large"),
        ({"duplicate_iou": [0.0, 0.951]}, "box_is_not_a_duplicate"),
    ],
)
def test_a_bad_row_is_named_with_its_check(change: dict[str, list[Any]], check: str) -> None:
    result = run(boxes(**change))
    assert not result.success
    assert list(result.failures) == ["a#1"]
    assert check in [failed.check for failed in result.failures["a#1"]]


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.json")))
def test_an_empty_table_fails_every_suite(name: str) -> None:
    spec = json.loads((FOLDER / f"{name}.json").read_text())["expectations"]
    columns = {v for e in spec for k, v in e["kwargs"].items() if k.startswith("column")}
    result = run_suite(
        name, pd.DataFrame({c: [] for c in sorted(columns | {"id"})}), row_id="id", parameters=KNOWN, folder=FOLDER
    )
    assert not result.success
    assert len(result.table_failures) == 1


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.json")))
def test_suites_read_well(name: str) -> None:
    for entry in json.loads((FOLDER / f"{name}.json").read_text())["expectations"]:
        meta = entry["meta"]
        assert re.fullmatch(r"[a-z0-9_]+", meta["check"])
        assert meta["title"]
        assert meta["reason"]
        assert meta["advice"].endswith((".", ")", "..", "DIR"))


def test_a_missing_column_is_an_error_that_names_it() -> None:
    with pytest.raises(DataError, match=r"class_is_given.*label"):
        run(boxes().drop(columns="label"))


def test_a_parameter_without_a_value_is_an_error() -> None:
    with pytest.raises(ConfigError, match="classes, max_duplicate_iou"):
        run(boxes(), parameters={})


@pytest.mark.parametrize(
    ("expectation", "says"),
    [
        ({"type": "expect_nothing", "kwargs": {}}, "does not accept"),
        ({"type": "expect_column_values_to_be_between", "kwargs": {"no_such_argument": 1}}, "does not accept"),
    ],
)
def test_a_wrong_expectation_is_an_error_not_left_out(tmp_path: Path, expectation: dict[str, Any], says: str) -> None:
    meta = {"check": "x", "title": "t", "sets_aside": None, "reason": "r", "advice": "a."}
    rows = {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 1}, "meta": {**meta, "check": "y"}}
    spec = {"name": "s", "expectations": [rows, {**expectation, "meta": meta}]}
    (tmp_path / "s.json").write_text(json.dumps(spec))
    with pytest.raises(ConfigError, match=says):
        run_suite("s", boxes(), row_id="row_id", parameters={}, folder=tmp_path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "is not there"),
        ("{", "is not a suite"),
        ('{"expectations": [{"type": "x", "kwargs": {}}]}', "meta lacks"),
        ('{"expectations": []}', "no row count"),
    ],
)
def test_a_broken_suite_file_is_an_error(tmp_path: Path, text: str | None, says: str) -> None:
    if text is not None:
        (tmp_path / "s.json").write_text(text)
    with pytest.raises(ConfigError, match=says):
        run_suite("s", boxes(), row_id="row_id", parameters={}, folder=tmp_path)


def test_ten_thousand_bad_rows_come_back_by_name() -> None:
    many = pd.concat([boxes(label=["sperm", "tail"])] * 10_000, ignore_index=True)
    many["row_id"] = [f"r{number}" for number in range(len(many))]
    assert set(run(many).failures) == {f"r{number}" for number in range(1, 20_000, 2)}


def test_a_step_log_holds_nothing_of_how_great_expectations_makes_its_docs() -> None:
    script = (
        "import logging; logging.basicConfig(level=logging.INFO)\n"
        "from tests.validation.test_suites import boxes, run; run(boxes())"
    )
    ended = subprocess.run([sys.executable, "-c", script], cwd=HOME, capture_output=True, text=True, check=True)
    assert "great_expectations" not in ended.stderr
