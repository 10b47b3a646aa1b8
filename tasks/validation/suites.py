"""Runs an expectation suite over a table. The only door to Great Expectations.

A suite is a JSON file in `expectations/`: Great Expectations' own form, with a `meta` on each expectation that says in
plain words what a failure means:

    check        its name, unique in the suite
    title        what holds when it passes
    sets_aside   what a failing row costs: 'recording', 'frame', 'annotation', 'object', 'requirement'; null where the
                 table as a whole is judged
    reason       why the row is bad; {column} is filled in from it
    advice       what a person can do about it

Numbers that depend on the line are parameters (`{"$PARAMETER": "min_side_px"}`).
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.errors import ConfigError, DataError

if TYPE_CHECKING:
    import pandas as pd

logging.getLogger("great_expectations").setLevel(logging.WARNING)  # on import it tells a log how its docs are made

_META = ("check", "title", "sets_aside", "reason", "advice")


@dataclass(frozen=True)
class CheckResult:
    """What one expectation found.

    Attributes:
        checked: Rows it looked at; None where the table as a whole was judged.
        failed_rows: Ids of the rows that failed, in the table's order.
        observed: What it saw, where the table as a whole was judged.
    """

    check: str
    title: str
    expectation: str
    sets_aside: str | None
    reason: str
    advice: str
    success: bool
    checked: int | None
    failed_rows: tuple[str, ...]
    observed: Any = None


@dataclass(frozen=True)
class SuiteResult:
    """What a suite found, its checks in the order of the JSON file."""

    suite: str
    success: bool
    rows: int
    parameters: dict[str, Any]
    checks: tuple[CheckResult, ...]
    _index: dict[str, list[CheckResult]] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        for check in self.checks:
            for row in check.failed_rows:
                self._index.setdefault(row, []).append(check)

    @property
    def failures(self) -> Mapping[str, list[CheckResult]]:
        """Row id -> the checks it failed, in the suite's order."""
        return self._index

    @property
    def table_failures(self) -> list[CheckResult]:
        """Failed checks that judge the table as a whole."""
        return [check for check in self.checks if not check.success and check.sets_aside is None]

    def with_passed(self, rows: int) -> SuiteResult:
        """What it would be if it had looked at so many rows more, all of which pass each check."""
        counted = [
            replace(
                check,
                checked=None if check.checked is None else check.checked + rows,
                observed=check.observed + rows if "row_count" in check.expectation else check.observed,
            )
            for check in self.checks
        ]
        return replace(self, rows=self.rows + rows, checks=tuple(counted))

    def as_json(self) -> dict[str, Any]:
        """Plain data for storing."""
        data = asdict(self)
        data.pop("_index")
        return data


def run_suite(
    name: str, table: pd.DataFrame, *, row_id: str, parameters: Mapping[str, Any], folder: Path
) -> SuiteResult:
    """Run a suite over a table.

    Args:
        name: The suite: `<folder>/<name>.json`.
        table: What is checked. An empty one fails the suite's row count, and only that.
        row_id: Column whose values name the rows; unique, or rows that share an id fail together.
        parameters: A value for each `$PARAMETER` of the suite.
        folder: Where the suites are.

    Raises:
        ConfigError: The suite is not there or not right, or a parameter has no value.
        DataError: A check could not be made, e.g. for want of a column: that is a failure, never a pass.
    """
    spec = _read(name, folder)
    suite = _build(name, spec)
    wanted = set(suite.suite_parameter_options)
    if lacking := sorted(wanted - set(parameters)):
        raise ConfigError(f"suite {name}: no value for the parameters {', '.join(lacking)}")
    used = {key: parameters[key] for key in sorted(wanted)}
    batch = (
        _context()
        .data_sources.add_pandas(_unique_name(name))
        .add_dataframe_asset(name)
        .add_batch_definition_whole_dataframe(name)
        .get_batch({"dataframe": table})
    )
    outcome = batch.validate(
        suite,
        expectation_parameters=used,
        result_format={
            "result_format": "COMPLETE",
            "unexpected_index_column_names": [row_id],
            "return_unexpected_index_query": False,
        },
    )
    # Great Expectations returns the results in an order of its own.
    by_check = {result.expectation_config.meta["check"]: result for result in outcome.results}
    checks = tuple(_check_result(name, entry, by_check.get(entry["meta"]["check"]), row_id) for entry in spec)
    return SuiteResult(name, all(check.success for check in checks), len(table), used, checks)


def _read(name: str, folder: Path) -> list[dict[str, Any]]:
    path = folder / f"{name}.json"
    try:
        spec = json.loads(path.read_text())["expectations"]
    except FileNotFoundError as error:
        raise ConfigError(f"suite {name}: {path} is not there", fix="restore it, or set expectations_dir") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"suite {name}: {path} is not a suite: {error}") from error
    for number, entry in enumerate(spec):
        lacking = [key for key in _META if key not in entry.get("meta", {})]
        if lacking:
            raise ConfigError(
                f"suite {name}: expectation {number} ({entry.get('type')}): meta lacks {', '.join(lacking)}"
            )
    names = [entry["meta"]["check"] for entry in spec]
    if twice := sorted({check for check in names if names.count(check) > 1}):
        raise ConfigError(f"suite {name}: two expectations are called {', '.join(twice)}")
    if not any(entry["meta"]["sets_aside"] is None and "row_count" in entry["type"] for entry in spec):
        # Great Expectations passes an empty table through every check of a column.
        raise ConfigError(f"suite {name}: has no row count, so that an empty table would pass", fix="add one to it")
    return list(spec)


def _build(name: str, spec: list[dict[str, Any]]) -> Any:
    from great_expectations import ExpectationSuite

    try:
        suite = ExpectationSuite(name=name, expectations=spec)
    except Exception as error:  # whatever pydantic or marshmallow of a vendor throws at a wrong suite
        raise ConfigError(f"suite {name}: Great Expectations does not accept it: {error}") from error
    built = {expectation.meta["check"] for expectation in suite.expectations}
    # A wrong expectation is logged and left out by Great Expectations: the rest would pass without it.
    if lost := sorted({entry["meta"]["check"] for entry in spec} - built):
        raise ConfigError(f"suite {name}: Great Expectations does not accept {', '.join(lost)}")
    return suite


@cache
def _context() -> Any:
    """One context per process: in memory, silent, and not phoning home."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    logging.getLogger("great_expectations.data_context.types.base").setLevel(logging.WARNING)  # sets its own on import
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    return context


def _unique_name(name: str) -> str:
    """A data source's name: adding the same one twice raises."""
    return f"{name}-{len(_context().data_sources.all())}"


def _check_result(suite: str, entry: dict[str, Any], result: Any, row_id: str) -> CheckResult:
    meta = entry["meta"]
    found = {} if result is None else dict(result.result or {})
    if result is None or not found:
        raise DataError(
            f"suite {suite}: the check {meta['check']} could not be made",
            expected=f"a table it applies to ({', '.join(f'{k}={v}' for k, v in entry['kwargs'].items())})",
            found=_exception(None if result is None else result.exception_info),
        )
    rows = tuple(str(row[row_id]) for row in found.get("unexpected_index_list") or ())
    success = bool(result.success)
    if not success and meta["sets_aside"] is not None and not rows:
        raise DataError(f"suite {suite}: the check {meta['check']} failed without naming a row")
    return CheckResult(
        check=meta["check"],
        title=meta["title"],
        expectation=entry["type"],
        sets_aside=meta["sets_aside"],
        reason=meta["reason"],
        advice=meta["advice"],
        success=success,
        checked=found.get("element_count"),
        failed_rows=rows,
        observed=_plain(found.get("observed_value")),
    )


def _exception(info: Any) -> str:
    """The message hidden in `exception_info`, which is one record, or one per metric that failed."""
    if not isinstance(info, dict):
        return "nothing"
    records = [info] if "exception_message" in info else [value for value in info.values() if isinstance(value, dict)]
    messages = {str(record["exception_message"]) for record in records if record.get("exception_message")}
    return "; ".join(sorted(messages)) or "an empty result"


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
