"""An evaluation as flat tables, for spreadsheets and for MLflow: every number once, none of them rounded."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Any

from tasks.escaping import csv_cell
from tasks.evaluation.evaluation import Difference, Evaluation
from tasks.metrics.judgement import find

Row = dict[str, Any]
SLICE = "per_"
"""How families of slices are called in a metrics tree: 'per_class'."""
_CONFUSION_WORDS = {
    "predicted": ("predicted", "labelled "),
    "labelled": ("labelled", "predicted "),
    "labels": ("label", ""),
}
"""What the rows of a confusion table are -> a row's heading, and what its columns' headings begin with."""


def tables(evaluation: Evaluation) -> dict[str, list[Row]]:
    """Every table by its name: one for each family of slices ('per_class', ...), the differences, the errors."""
    found = {key: list(_slice_rows(evaluation, key)) for key in evaluation.metrics if key.startswith(SLICE)}
    found["differences"] = [_difference_row(evaluation, d) for d in evaluation.differences]
    found["breakdown"] = list(_breakdown_rows(evaluation))
    found["confusion"] = list(_confusion_rows(evaluation))
    found["mcnemar"] = [test.model_dump() for test in evaluation.paired_tests]
    return {name: rows for name, rows in found.items() if rows}


def as_csv(rows: Iterable[Row]) -> str:
    """Rows as CSV text; a column for every key that occurs, nothing where a row has none."""
    listed = list(rows)
    columns = dict.fromkeys(key for row in listed for key in row)
    sink = io.StringIO()
    writer = csv.DictWriter(sink, list(columns), lineterminator="\n")
    writer.writerow({key: csv_cell(key) for key in columns})
    writer.writerows({key: csv_cell(value) for key, value in row.items()} for row in listed)
    return sink.getvalue()


def numbers(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """The numbers of a metrics tree by their address, e.g. ('per_class/sperm/AP50', 0.9)."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from numbers(value, f"{prefix}{key}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{prefix}{key}", float(value)


def _slice_rows(evaluation: Evaluation, family: str) -> Iterator[Row]:
    for name, own in evaluation.metrics[family].items():
        theirs = find(evaluation.champion_metrics, (family, name)) or {}
        flat = {key: value for key, value in own.items() if not isinstance(value, dict)}
        counts = own.get("count_per_frame") or {}
        yield {
            family.removeprefix(SLICE): name,
            **flat,
            **{f"{cls} {what} per frame": value for cls, per in counts.items() for what, value in per.items()},
            **{f"champion {key}": theirs[key] for key in flat if key in theirs and key not in ("labels", "images")},
        }


def _difference_row(evaluation: Evaluation, difference: Difference) -> Row:
    path, found = difference.path, difference.interval(evaluation.confidence)
    return {
        "slice": " ".join(path[:-1]).removeprefix(SLICE) or "overall",
        "metric": path[-1],
        "challenger": find(evaluation.metrics, path),
        "champion": find(evaluation.champion_metrics, path),
        "difference": difference.value,
        **found.model_dump(),
        "clusters": difference.clusters,
    }


def _breakdown_rows(evaluation: Evaluation) -> Iterator[Row]:
    before = {kind.name: kind for kind in evaluation.champion.breakdown} if evaluation.champion else {}
    for kind in evaluation.challenger.breakdown:
        row = {"error": kind.name, "meaning": kind.meaning, "count": kind.count, "cost": kind.cost}
        if kind.name in before:
            row |= {"champion count": before[kind.name].count, "champion cost": before[kind.name].cost}
        yield row


def _confusion_rows(evaluation: Evaluation) -> Iterator[Row]:
    for role, result in (("challenger", evaluation.challenger), ("champion", evaluation.champion)):
        if result and result.confusion:
            row, column = _CONFUSION_WORDS[result.confusion.rows_are]
            for name, counts in zip(result.confusion.rows, result.confusion.counts, strict=True):
                columns = (f"{column}{each}" for each in result.confusion.columns)
                yield {"model": role, row: name, **dict(zip(columns, counts, strict=True))}
