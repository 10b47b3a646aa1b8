"""The validation report: one HTML file for annotators and operators, readable offline and on paper.

It holds no date: the same data gives the same report, byte for byte.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.config import Line
from tasks.kind import Kind
from tasks.schemas import Oid, QuarantineItem, Recording
from tasks.validation.suites import SuiteResult

if TYPE_CHECKING:
    import pyarrow as pa

_TEMPLATE = Path(__file__).with_name("report.html.j2")
_MOST_ITEMS = 200  # per recording and annotator; a page of 100,000 rows helps nobody
_SUITES = {
    "recordings": "Recordings",
    "annotations": "Annotations",
    "frames": "Frames",
    "dataset": "The dataset as a whole",
}


def render_report(
    line: Line,
    kind: Kind,
    recordings: Mapping[Oid, Recording],
    accepted: pa.Table,
    suites: Sequence[SuiteResult],
    items: Sequence[QuarantineItem],
    missing: Sequence[str],
    notes: Sequence[str],
    *,
    replaced: Sequence[Mapping[str, Any]] = (),
    agreement: Sequence[Mapping[str, Any]] = (),
) -> str:
    """Render the report.

    Args:
        line: Whose data was validated.
        kind: Of the line.
        recordings: For their names.
        accepted: What may be learnt from (`accepted.ACCEPTED`).
        suites: Results of all suites, in the order they ran.
        items: What was set aside.
        missing: What there is not enough of; empty = the line can train.
        notes: What else a person should know.
        replaced: Annotations that do not count because another one of the same frame does.
        agreement: How far each two people agree (`annotators.agreement`).
    """
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    advice = {check.check: check.advice for suite in suites for check in suite.checks}
    titles = {**_SUITES, kind.checks.SUITE: kind.checks.TITLE}
    work = [item for item in items if item.annotator]

    def entry(item: QuarantineItem) -> dict[str, Any]:
        return _entry(item, advice, kind)

    return environment.from_string(_TEMPLATE.read_text()).render(
        line=line,
        missing=missing,
        notes=notes,
        counts=_counts(line, accepted),
        kinds=Counter(item.what for item in items),
        annotators=_by_annotator(work, recordings, entry),
        others=[entry(item) for item in items if not item.annotator][:_MOST_ITEMS],
        others_more=max(0, len(items) - len(work) - _MOST_ITEMS),
        replaced=replaced[:_MOST_ITEMS],
        replaced_more=max(0, len(replaced) - _MOST_ITEMS),
        agreement=agreement[:_MOST_ITEMS],
        agreement_more=max(0, len(agreement) - _MOST_ITEMS),
        suites=[(titles.get(suite.suite, suite.suite), suite) for suite in suites],
    )


def _by_annotator(
    items: Iterable[QuarantineItem],
    recordings: Mapping[Oid, Recording],
    entry: Callable[[QuarantineItem], dict[str, Any]],
) -> list[dict[str, Any]]:
    found: dict[str, dict[str, list[QuarantineItem]]] = defaultdict(lambda: defaultdict(list))
    for item in items:
        recording = recordings.get(item.recording_id or "")
        found[item.annotator or ""][recording.name if recording else "a recording that is not in the lake"].append(item)
    return [
        {
            "name": annotator,
            "total": sum(len(own) for own in places.values()),
            "recordings": [
                {
                    "name": name,
                    "entries": [entry(item) for item in places[name][:_MOST_ITEMS]],
                    "more": max(0, len(places[name]) - _MOST_ITEMS),
                }
                for name in sorted(places)
            ],
        }
        for annotator, places in sorted(found.items())
    ]


def _entry(item: QuarantineItem, advice: Mapping[str, str], kind: Kind) -> dict[str, Any]:
    thing = item.details.get("object")
    checks = item.details.get("checks", [])
    return {
        "what": item.what,
        "subject": item.subject,
        "reason": item.reason,
        "advice": advice.get(checks[0], "") if checks else "",
        "place": kind.checks.described(thing) if isinstance(thing, dict) else "",
    }


def _counts(line: Line, accepted: pa.Table) -> dict[str, Any]:
    """Frames and objects per class, for each recording and in all."""
    rows: dict[str, dict[str, Any]] = {}
    parsed = cache(json.loads)  # many frames have the same few
    for row in accepted.select(["recording_id", "recording_name", "group", "labels"]).to_pylist():
        entry = rows.setdefault(
            row["recording_id"],
            {"name": row["recording_name"], "group": row["group"], "frames": 0, "labels": Counter()},
        )
        entry["frames"] += 1
        entry["labels"].update(parsed(row["labels"]))
    ordered = sorted(rows.values(), key=lambda entry: (entry["name"], entry["group"]))
    return {
        "classes": list(line.classes),
        "recordings": ordered,
        "frames": sum(entry["frames"] for entry in ordered),
        "labels": sum((entry["labels"] for entry in ordered), Counter()),
    }
