"""Runs a line's checks over what it could learn from, and tells what passes from what is set aside.

The rules are in `tasks.validation.validate`. What passed on an earlier night is not looked at again: the results say of
it what they would say if it had been (`SuiteResult.with_passed`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.config import Line
from tasks.kind import Kind, Object, Surroundings
from tasks.lake import Lake
from tasks.schemas import Frame, Oid, QuarantineItem
from tasks.validation import annotators, inputs, setting_aside, tables
from tasks.validation.inputs import FrameKey, Inputs, Row, frame_key
from tasks.validation.passed import judgement_of, table_of
from tasks.validation.suites import CheckResult, SuiteResult, run_suite

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_Frames = Mapping[FrameKey, Frame]


@dataclass
class Findings:
    """What is found on the way, in the order in which it is."""

    suites: list[SuiteResult] = field(default_factory=list)
    items: list[QuarantineItem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    replaced: list[Row] = field(default_factory=list)
    agreement: list[Row] = field(default_factory=list)


@dataclass(frozen=True)
class Annotations:
    """A line's annotations on their way through the checks.

    Attributes:
        rows: Those that are judged; once their objects are, `passed` of each says what it shows.
        known: Those that passed on an earlier night (`Inputs.known`).
    """

    rows: list[Row]
    known: pa.Table

    def without(self, bad: Callable[[Row], bool], bad_known: Any) -> Annotations:
        """Leave out rows, and those known ones at which an array of bools is true."""
        return Annotations([row for row in self.rows if not bad(row)], self.known.filter(~np.asarray(bad_known)))

    def __len__(self) -> int:
        return len(self.rows) + len(self.known)


@dataclass(frozen=True)
class Judgement:
    """What came of it.

    Attributes:
        chosen: What to learn from, one annotation a frame.
        passed: Everything that passed whole: what the next night need not judge (`passed.schema`).
    """

    chosen: Annotations
    passed: pa.Table


def judge(lake: Lake, line: Line, kind: Kind, found: Inputs, findings: Findings) -> Judgement:
    """Run the checks; what each of them says goes into `findings`."""
    table = tables.recordings_table(line, found)
    bad = _check(lake, "recordings", table, "recording_id", tables.PARAMETERS, findings)
    findings.items += [setting_aside.recording_item(line, found.recordings[i], why) for i, why in bad.items()]
    annotations = _without_recordings(Annotations(found.annotations, found.known), bad, findings)
    annotations = _one_again(annotations)

    annotations = _judge_annotations(lake, line, found, annotations, findings)
    frames = found.frames.of(frame_key(row) for row in annotations.rows)
    annotations = _judge_frames(lake, line, found, annotations, frames, findings)
    annotations, passed = _judge_objects(lake, line, kind, found, annotations, frames, findings)
    return Judgement(_choose(line, kind, found, annotations, findings), passed)


def _without_recordings(annotations: Annotations, bad: Collection[Oid], findings: Findings) -> Annotations:
    import pyarrow as pa
    import pyarrow.compute as pc

    of_bad = pc.is_in(annotations.known.column("recording_id"), pa.array(list(bad), pa.string()))
    good = annotations.without(lambda row: row["recording_id"] in bad, of_bad)
    _note_left_out(annotations, good, "recordings", findings)
    return good


def _note_left_out(before: Annotations, after: Annotations, with_what: str, findings: Findings) -> None:
    if len(after) < len(before):
        findings.notes.append(f"annotations left out with the {with_what} they belong to: {len(before) - len(after)}")


def _one_again(annotations: Annotations) -> Annotations:
    """Judge one of those that passed again, with objects if any has: a suite asks whether there is something at all."""
    known = annotations.known
    if not len(known):
        return annotations
    seen = np.asarray(known.column("rows")) > 0
    one = int(np.argmax(seen))  # the first; 0 where none has any
    (row,) = inputs.rows_of(known.slice(one, 1))
    rows = sorted([*annotations.rows, inputs.with_objects(row)], key=inputs.in_order)
    return Annotations(rows, _joined(known.slice(0, one), known.slice(one + 1)))


def _judge_annotations(
    lake: Lake, line: Line, found: Inputs, annotations: Annotations, findings: Findings
) -> Annotations:
    table = tables.annotations_table(annotations.rows, found)
    known = len(annotations.known)
    bad = _check(lake, "annotations", table, "annotation_id", tables.PARAMETERS, findings, known=known)
    findings.items += [
        setting_aside.annotation_item(line, row, found.recordings, bad[row["annotation_id"]])
        for row in annotations.rows
        if row["annotation_id"] in bad
    ]
    return Annotations([row for row in annotations.rows if row["annotation_id"] not in bad], annotations.known)


def _judge_frames(
    lake: Lake, line: Line, found: Inputs, annotations: Annotations, frames: _Frames, findings: Findings
) -> Annotations:
    numbers = np.asarray(annotations.known.column(inputs.PLACE))
    known = len(np.setdiff1d(numbers, [found.frames.numbers[key] for key in frames]))
    sizes = inputs.stored_sizes(lake, (frame.oid for frame in frames.values()))
    table = tables.frames_table(list(frames.values()), found.recordings, sizes)
    bad = _check(lake, "frames", table, "row_id", tables.PARAMETERS, findings, known=known)
    findings.items += [
        setting_aside.frame_item(line, frame, found.recordings[frame.recording_id], bad[tables.frame_row_id(*key)])
        for key, frame in frames.items()
        if tables.frame_row_id(*key) in bad
    ]
    bad_numbers = [found.frames.numbers[key] for key in frames if tables.frame_row_id(*key) in bad]
    good = annotations.without(lambda row: tables.frame_row_id(*frame_key(row)) in bad, np.isin(numbers, bad_numbers))
    _note_left_out(annotations, good, "frames", findings)
    return good


def _judge_objects(
    lake: Lake, line: Line, kind: Kind, found: Inputs, annotations: Annotations, frames: _Frames, findings: Findings
) -> tuple[Annotations, pa.Table]:
    """Return the annotations that may be used, and what passed whole; the others are set aside."""
    checks = kind.checks
    surroundings = Surroundings(
        called=lambda row: setting_aside.place(row, found.recordings),
        standing=lambda row: inputs.standing(row, line.annotators),
        picture=lake.blobs.get_bytes,
    )
    table = kind.labels_table(annotations.rows, frames, surroundings)
    folder = kind.expectations(lake.settings.expectations_dir)
    known = int(np.asarray(annotations.known.column("rows")).sum())
    bad = _check(lake, checks.SUITE, table, "row_id", checks.parameters(line), findings, folder, known=known)
    usable, passed = [], {}
    for row in annotations.rows:
        # One row at least: a kind may have a row for what is not there, such as the class of a whole picture.
        numbers = range(max(1, len(row["objects"])))
        own = {n: bad[i] for n in numbers if (i := checks.row_id(row["annotation_id"], n)) in bad}
        faults = [fault for fails in own.values() for fault in fails]
        if any(check.sets_aside == "annotation" for check, _ in faults) or (own and len(own) >= len(row["objects"])):
            findings.items.append(setting_aside.annotation_item(line, row, found.recordings, faults))
            continue
        findings.items += [setting_aside.object_item(line, row, n, found.recordings, why) for n, why in own.items()]
        kept = [each for n, each in enumerate(row["objects"]) if n not in own]
        objects = checks.cleaned(kept, frames[frame_key(row)])
        judgement = judgement_of(checks, row, objects, len(row["objects"]))
        usable.append({**row, "passed": judgement, "unfinished": kind.unfinished(objects)})
        if not own and usable[-1]["unfinished"] is None:
            passed[row["content"]] = judgement
    whole = table_of(passed)
    before = annotations.known.select(whole.schema.names)
    return Annotations(usable, annotations.known), _joined(before, whole)


def _choose(line: Line, kind: Kind, found: Inputs, passed: Annotations, findings: Findings) -> Annotations:
    """Of the annotations that passed, one a frame; notes what they replace, and how far people agree."""

    def objects(row: Row) -> list[Object]:
        shown: list[Object] = json.loads(row["passed"].text(row))
        return shown

    contested, alone = _contested(passed)
    chosen, replaced = annotators.choose(contested, line.annotators)
    findings.agreement = annotators.agreement(line, kind, contested, objects)
    findings.replaced = [each.as_json(setting_aside.place(each.row, found.recordings)) for each in replaced]
    if replaced:
        findings.notes.append(
            f"annotations not used because another one of the same frame is: {len(replaced)}, namely "
            + some(f"{one['place']} by {one['annotator']} ({one['because']})" for one in findings.replaced)
        )
    if strangers := annotators.unknown_names(line.annotators, found.annotators):
        findings.notes.append(f"the line prefers annotators who have labelled nothing: {', '.join(strangers)}")
    if found.elsewhere:
        findings.notes.append(f"annotations on studies that this line does not learn from: {found.elsewhere}")
    return Annotations(sorted([*chosen, *alone.rows], key=inputs.in_order), alone.known)


def _contested(passed: Annotations) -> tuple[list[Row], Annotations]:
    """Annotations of frames that have several, in order; and those that are their frame's only one."""
    moments = list(
        zip(*(passed.known.column(name).to_pylist() for name in ("recording_id", "frame_index")), strict=True)
    )
    own = [(row["recording_id"], row["frame_index"]) for row in passed.rows]
    counts = Counter([*moments, *own])
    several = np.array([counts[each] > 1 for each in moments], np.bool_)
    contested = inputs.rows_of(passed.known.filter(several))
    contested += [row for row, each in zip(passed.rows, own, strict=True) if counts[each] > 1]
    alone = passed.without(lambda row: counts[row["recording_id"], row["frame_index"]] > 1, several)
    return sorted(contested, key=inputs.in_order), alone


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


def _joined(*tables: pa.Table) -> pa.Table:
    import pyarrow as pa

    return pa.concat_tables(tables)


def some(names: Iterable[str], limit: int = 5) -> str:
    """The first of many names, and how many more there are."""
    everything = list(names)
    rest = f" and {len(everything) - limit} more" if len(everything) > limit else ""
    return ", ".join(everything[:limit]) + rest
