"""Runs a line's checks over what it could learn from, and tells what passes from what is set aside.

The rules are in `tasks.validation.validate`. What passed on an earlier night is not looked at again: the results say of
it what they would say if it had been (`SuiteResult.with_passed`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.config import Line
from tasks.kind import Kind, Object, Surroundings
from tasks.lake import Lake
from tasks.schemas import QuarantineItem
from tasks.validation import annotators, inputs, setting_aside, tables
from tasks.validation.inputs import Inputs, Row, frame_key
from tasks.validation.passed import Passed, content_of, judgement_of
from tasks.validation.suites import CheckResult, SuiteResult, run_suite

if TYPE_CHECKING:
    import pandas as pd


@dataclass
class Findings:
    """What is found on the way, in the order in which it is.

    Attributes:
        passed: What passed whole, by `passed.content_of`: what the next night need not judge.
    """

    suites: list[SuiteResult] = field(default_factory=list)
    items: list[QuarantineItem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    replaced: list[Row] = field(default_factory=list)
    agreement: list[Row] = field(default_factory=list)
    passed: dict[str, Passed] = field(default_factory=dict)


def judge(lake: Lake, line: Line, kind: Kind, found: Inputs, findings: Findings) -> list[Row]:
    """Return the annotations to learn from, one a frame; `passed` of each says what it shows."""
    table = tables.recordings_table(line, found)
    bad = _check(lake, "recordings", table, "recording_id", tables.PARAMETERS, findings)
    findings.items += [setting_aside.recording_item(line, found.recordings[i], why) for i, why in bad.items()]
    annotations = _without(found.annotations, lambda row: row["recording_id"] in bad, "recordings", findings)
    annotations = _one_again(annotations)

    annotations = _judge_annotations(lake, line, found, annotations, findings)
    annotations = _judge_frames(lake, line, found, annotations, findings)
    annotations = _judge_objects(lake, line, kind, found, annotations, findings)
    return _choose(line, kind, found, annotations, findings)


def _one_again(annotations: Sequence[Row]) -> list[Row]:
    """Judge one of those that passed again, with objects if any has: a suite asks whether there is something at all."""
    known = [n for n, row in enumerate(annotations) if row["passed"] is not None]
    one = next((n for n in known if annotations[n]["passed"].rows), known[0] if known else None)
    return [inputs.with_objects(row) if n == one else row for n, row in enumerate(annotations)]


def _judge_annotations(
    lake: Lake, line: Line, found: Inputs, annotations: Sequence[Row], findings: Findings
) -> list[Row]:
    new = [row for row in annotations if row["passed"] is None]
    table = tables.annotations_table(new, found)
    known = len(annotations) - len(new)
    bad = _check(lake, "annotations", table, "annotation_id", tables.PARAMETERS, findings, known=known)
    findings.items += [
        setting_aside.annotation_item(line, row, found.recordings, bad[row["annotation_id"]])
        for row in new
        if row["annotation_id"] in bad
    ]
    return [row for row in annotations if row["annotation_id"] not in bad]


def _judge_frames(lake: Lake, line: Line, found: Inputs, annotations: Sequence[Row], findings: Findings) -> list[Row]:
    frames = {frame_key(row): found.frames[frame_key(row)] for row in annotations if row["passed"] is None}
    known = len({frame_key(row) for row in annotations}) - len(frames)
    sizes = inputs.stored_sizes(lake, (frame.oid for frame in frames.values()))
    table = tables.frames_table(list(frames.values()), found.recordings, sizes)
    bad = _check(lake, "frames", table, "row_id", tables.PARAMETERS, findings, known=known)
    findings.items += [
        setting_aside.frame_item(line, frame, found.recordings[frame.recording_id], bad[tables.frame_row_id(*key)])
        for key, frame in frames.items()
        if tables.frame_row_id(*key) in bad
    ]
    return _without(annotations, lambda row: tables.frame_row_id(*frame_key(row)) in bad, "frames", findings)


def _judge_objects(
    lake: Lake, line: Line, kind: Kind, found: Inputs, annotations: Sequence[Row], findings: Findings
) -> list[Row]:
    """Return the annotations that may be used, each with what it shows; the others are set aside."""
    checks = kind.checks
    surroundings = Surroundings(
        called=lambda row: setting_aside.place(row, found.recordings),
        standing=lambda row: inputs.standing(row, line.annotators),
        picture=lake.blobs.get_bytes,
    )
    new = [row for row in annotations if row["passed"] is None]
    table = kind.labels_table(new, found.frames, surroundings)
    folder = kind.expectations(lake.settings.expectations_dir)
    known = sum(row["passed"].rows for row in annotations if row["passed"] is not None)
    bad = _check(lake, checks.SUITE, table, "row_id", checks.parameters(line), findings, folder, known=known)
    usable = []
    for row in annotations:
        frame = found.frames[frame_key(row)]
        if row["passed"] is not None:
            findings.passed[content_of(row, frame)] = row["passed"]
            usable.append(row)
            continue
        # One row at least: a kind may have a row for what is not there, such as the class of a whole picture.
        numbers = range(max(1, len(row["objects"])))
        own = {n: bad[i] for n in numbers if (i := checks.row_id(row["annotation_id"], n)) in bad}
        faults = [fault for fails in own.values() for fault in fails]
        if any(check.sets_aside == "annotation" for check, _ in faults) or (own and len(own) >= len(row["objects"])):
            findings.items.append(setting_aside.annotation_item(line, row, found.recordings, faults))
            continue
        findings.items += [setting_aside.object_item(line, row, n, found.recordings, why) for n, why in own.items()]
        kept = [each for n, each in enumerate(row["objects"]) if n not in own]
        objects = checks.cleaned(kept, frame)
        passed = judgement_of(checks, row, objects, len(row["objects"]))
        usable.append({**row, "passed": passed, "unfinished": kind.unfinished(objects)})
        if not own and usable[-1]["unfinished"] is None:
            findings.passed[content_of(row, frame)] = passed
    return usable


def _choose(line: Line, kind: Kind, found: Inputs, passed: Sequence[Row], findings: Findings) -> list[Row]:
    """Of the annotations that passed, one a frame; notes what they replace, and how far people agree."""

    def objects(row: Row) -> list[Object]:
        shown: list[Object] = json.loads(row["passed"].text(row))
        return shown

    chosen, replaced = annotators.choose(passed, line.annotators)
    findings.agreement = annotators.agreement(line, kind, passed, objects)
    findings.replaced = [each.as_json(setting_aside.place(each.row, found.recordings)) for each in replaced]
    if replaced:
        findings.notes.append(
            f"annotations not used because another one of the same frame is: {len(replaced)}, namely "
            + some(f"{one['place']} by {one['annotator']} ({one['because']})" for one in findings.replaced)
        )
    if strangers := annotators.unknown_names(line.annotators, found.annotations):
        findings.notes.append(f"the line prefers annotators who have labelled nothing: {', '.join(strangers)}")
    if found.elsewhere:
        findings.notes.append(f"annotations on studies that this line does not learn from: {found.elsewhere}")
    return chosen


def _check(
    lake: Lake,
    suite: str,
    table: pd.DataFrame,
    row_id: str,
    parameters: Mapping[str, Any],
    findings: Findings,
    folder: Path | None = None,
    *,
    known: int = 0,
) -> dict[str, list[tuple[CheckResult, str]]]:
    """Run a suite, file its result, with so many rows more that passed before; row id -> why the row is bad."""
    result = run_suite(
        suite, table, row_id=row_id, parameters=parameters, folder=folder or lake.settings.expectations_dir
    )
    findings.suites.append(result.with_passed(known))
    findings.missing += [check.reason for check in result.table_failures]
    return setting_aside.reasons(result, table, row_id)


def _without(rows: Sequence[Row], bad: Callable[[Row], bool], what: str, findings: Findings) -> list[Row]:
    good = [row for row in rows if not bad(row)]
    if len(good) < len(rows):
        findings.notes.append(f"annotations left out with the {what} they belong to: {len(rows) - len(good)}")
    return good


def some(names: Iterable[str], limit: int = 5) -> str:
    """The first of many names, and how many more there are."""
    everything = list(names)
    rest = f" and {len(everything) - limit} more" if len(everything) > limit else ""
    return ", ".join(everything[:limit]) + rest
