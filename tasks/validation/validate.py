"""What may a line learn from tonight? The rest is set aside with its reason, and the night goes on.

    recordings  a bad one takes its annotations with it
    annotations set aside whole where nobody can tell what the frame shows: wrong image, unknown class, unreadable,
                or more objects than anybody draws
    frames      a bad one takes its annotations with it
    objects     a bad box alone goes, and its frame stays: one object missing in a frame of many costs a little recall,
                a degenerate or doubled one teaches nonsense. A frame that loses *all* its objects goes too: it would
                pass for an empty one.

An annotation of which Label Studio's answer could not be read whole is set aside whole: its frame would seem to show
fewer objects than it does. Several annotators on one frame: of the work that passes, the line's `annotators` says whose
counts, nothing is merged. An annotation without objects is a frame labelled as empty, and legal.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.config import Line
from tasks.kind import Kind, Object, Surroundings
from tasks.lake import Lake, quarantine
from tasks.schemas import Frame, Oid, QuarantineItem, canonical_json
from tasks.validation import annotators, dataset, inputs, setting_aside, tables
from tasks.validation.inputs import FrameKey, Inputs, Row
from tasks.validation.suites import CheckResult, SuiteResult, run_suite

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


@dataclass(frozen=True)
class Validation:
    """What validation found.

    Attributes:
        accepted: One row per frame to learn from; columns `ACCEPTED`.
        quarantined: Everything that was set aside tonight (also if it was set aside before).
        result_oid: Blob: all of this as JSON, with each check's result; `load_validation` reads it.
        report_oid: Blob: the report for people, HTML.
        success: The dataset has enough of everything.
        missing: What there is not enough of, a sentence each.
        notes: What else a person should know.
        snapshots: Snapshot id of each table that was read.
    """

    line: str
    accepted: pa.Table
    quarantined: list[QuarantineItem]
    result_oid: Oid
    report_oid: Oid
    success: bool
    missing: list[str]
    notes: list[str]
    snapshots: dict[str, int | None]

    def require_enough(self, line: Line) -> None:
        """Stop a line that has too little data.

        Raises:
            InsufficientData: Saying what is missing.
        """
        if self.missing:
            raise dataset.insufficient(line, self.missing)


ACCEPTED: dict[str, str] = {
    "group": "string", "pinned_split": "string", "recording_id": "string", "recording_name": "string",
    "study": "string", "frame_index": "int64", "frame_oid": "string", "media_type": "string", "pts_s": "float64",
    "width_px": "int64", "height_px": "int64", "phash": "string", "annotation_id": "string", "revision_id": "string",
    "annotator": "string", "objects": "string",
}  # fmt: skip
"""Columns of the accepted table. `group` is what keeps together in a split, `pinned_split` where its user wants it;
`objects` is canonical JSON of the objects that passed."""


@dataclass
class _Findings:
    suites: list[SuiteResult] = field(default_factory=list)
    items: list[QuarantineItem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    replaced: list[Row] = field(default_factory=list)
    agreement: list[Row] = field(default_factory=list)


def validate(lake: Lake, line: Line, kind: Kind) -> Validation:
    """Judge everything the line could learn from; set aside what is bad, store the result and the report.

    The same data gives the same blobs. Nothing is raised for bad or too little data: see `Validation.require_enough`.

    Raises:
        ConfigError: A suite is wrong.
        DataError: A check could not be made.
    """
    found = inputs.collect(lake, line)
    findings = _Findings()
    chosen, kept = _judge(lake, line, kind, found, findings)
    accepted = _accepted(line, kind, found, chosen, kept, findings)
    result, short = dataset.check_requirements(lake, dataset.overall_requirements(line, kind, accepted))
    findings.suites.append(result)
    findings.missing += short
    _note_classes(line, kind, accepted, findings)
    findings.notes += kind.checks.notes([json.loads(text) for text in accepted.column("objects").to_pylist()])
    quarantine.set_aside(lake, findings.items)
    return _store(lake, line, kind, found, findings, accepted)


def load_validation(lake: Lake, line: str, result_oid: Oid) -> Validation:
    """Read a stored validation again, in another process.

    Raises:
        NotFound: There is no such result.
    """
    import pyarrow.parquet as pq

    data = json.loads(lake.blobs.get_bytes(result_oid))
    wanted = {item["item_id"] for item in data["quarantined"]}
    items = [item for item in quarantine.listed(lake, line) if item.item_id in wanted]
    return Validation(
        line=line,
        accepted=pq.read_table(BytesIO(lake.blobs.get_bytes(data["accepted_oid"]))),
        quarantined=items,
        result_oid=result_oid,
        report_oid=data["report_oid"],
        success=data["success"],
        missing=data["missing"],
        notes=data["notes"],
        snapshots=data["snapshots"],
    )


def _judge(
    lake: Lake, line: Line, kind: Kind, found: Inputs, findings: _Findings
) -> tuple[list[Row], dict[str, list[int]]]:
    """The annotations to learn from, one per frame, and which of its objects each keeps."""
    table = tables.recordings_table(line, found)
    bad = _check(lake, "recordings", table, "recording_id", tables.PARAMETERS, findings)
    findings.items += [setting_aside.recording_item(line, found.recordings[i], why) for i, why in bad.items()]
    annotations = _without(found.annotations, lambda row: row["recording_id"] in bad, "recordings", findings)

    table = tables.annotations_table(annotations, found)
    bad = _check(lake, "annotations", table, "annotation_id", tables.PARAMETERS, findings)
    findings.items += [
        setting_aside.annotation_item(line, row, found.recordings, bad[row["annotation_id"]])
        for row in annotations
        if row["annotation_id"] in bad
    ]
    annotations = [row for row in annotations if row["annotation_id"] not in bad]

    frames = {_frame_key(row): found.frames[_frame_key(row)] for row in annotations}
    sizes = inputs.stored_sizes(lake, (frame.oid for frame in frames.values()))
    table = tables.frames_table(list(frames.values()), found.recordings, sizes)
    bad = _check(lake, "frames", table, "row_id", tables.PARAMETERS, findings)
    findings.items += [
        setting_aside.frame_item(line, frame, found.recordings[frame.recording_id], bad[tables.frame_row_id(*key)])
        for key, frame in frames.items()
        if tables.frame_row_id(*key) in bad
    ]
    annotations = _without(annotations, lambda row: tables.frame_row_id(*_frame_key(row)) in bad, "frames", findings)

    kept = _judge_objects(lake, line, kind, found, annotations, findings)
    return _choose(
        line, kind, found, [row for row in annotations if row["annotation_id"] in kept], kept, findings
    ), kept


def _choose(
    line: Line, kind: Kind, found: Inputs, passed: Sequence[Row], kept: Mapping[str, Sequence[int]],
    findings: _Findings,
) -> list[Row]:  # fmt: skip
    """Of the annotations that passed, one a frame; notes what they replace, and how far people agree."""

    def objects(row: Row) -> list[Object]:
        own = [row["objects"][number] for number in kept[row["annotation_id"]]]
        return kind.checks.cleaned(own, found.frames[_frame_key(row)])

    chosen, replaced = annotators.choose(passed, line.annotators)
    findings.agreement = annotators.agreement(line, kind, passed, objects)
    findings.replaced = [each.as_json(setting_aside.place(each.row, found.recordings)) for each in replaced]
    if replaced:
        findings.notes.append(
            f"annotations not used because another one of the same frame is: {len(replaced)}, namely "
            + _some(f"{one['place']} by {one['annotator']} ({one['because']})" for one in findings.replaced)
        )
    if strangers := annotators.unknown_names(line.annotators, found.annotations):
        findings.notes.append(f"the line prefers annotators who have labelled nothing: {', '.join(strangers)}")
    if found.elsewhere:
        findings.notes.append(f"annotations on studies that this line does not learn from: {found.elsewhere}")
    return chosen


def _judge_objects(
    lake: Lake, line: Line, kind: Kind, found: Inputs, annotations: Sequence[Row], findings: _Findings
) -> dict[str, list[int]]:
    """Annotation id -> its objects that may be used. Annotations that are set aside are not in it."""
    checks = kind.checks
    surroundings = Surroundings(
        called=lambda row: setting_aside.place(row, found.recordings),
        standing=lambda row: inputs.standing(row, line.annotators),
        picture=lake.blobs.get_bytes,
    )
    table = kind.labels_table(annotations, found.frames, surroundings)
    folder = kind.expectations(lake.settings.expectations_dir)
    bad = _check(lake, checks.SUITE, table, "row_id", checks.parameters(line), findings, folder)
    kept: dict[str, list[int]] = {}
    for row in annotations:
        # One row at least: a kind may have a row for what is not there, such as the class of a whole picture.
        numbers = range(max(1, len(row["objects"])))
        own = {n: bad[i] for n in numbers if (i := checks.row_id(row["annotation_id"], n)) in bad}
        faults = [fault for fails in own.values() for fault in fails]
        if any(check.sets_aside == "annotation" for check, _ in faults) or (own and len(own) >= len(row["objects"])):
            findings.items.append(setting_aside.annotation_item(line, row, found.recordings, faults))
            continue
        findings.items += [setting_aside.object_item(line, row, n, found.recordings, why) for n, why in own.items()]
        kept[row["annotation_id"]] = [n for n in range(len(row["objects"])) if n not in own]
    return kept


def _check(
    lake: Lake,
    suite: str,
    table: pd.DataFrame,
    row_id: str,
    parameters: Mapping[str, Any],
    findings: _Findings,
    folder: Path | None = None,
) -> dict[str, list[tuple[CheckResult, str]]]:
    """Run a suite, file its result; row id -> why the row is bad."""
    result = run_suite(
        suite, table, row_id=row_id, parameters=parameters, folder=folder or lake.settings.expectations_dir
    )
    findings.suites.append(result)
    findings.missing += [check.reason for check in result.table_failures]
    return setting_aside.reasons(result, table, row_id)


def _without(rows: Sequence[Row], bad: Any, what: str, findings: _Findings) -> list[Row]:
    good = [row for row in rows if not bad(row)]
    if len(good) < len(rows):
        findings.notes.append(f"annotations left out with the {what} they belong to: {len(rows) - len(good)}")
    return good


def _frame_key(row: Row) -> FrameKey:
    return row["recording_id"], row["frame_index"], row["frame_oid"]


def _accepted(
    line: Line, kind: Kind, found: Inputs, chosen: Sequence[Row], kept: Mapping[str, Sequence[int]], findings: _Findings
) -> pa.Table:
    import pyarrow as pa

    settled = tables.settled_splits(line, found)
    rows = []
    unfinished: Counter[str] = Counter()
    for row in chosen:
        recording, frame = found.recordings[row["recording_id"]], found.frames[_frame_key(row)]
        group = line.splits.group_of(recording)
        objects = kind.checks.cleaned([row["objects"][number] for number in kept[row["annotation_id"]]], frame)
        if reason := kind.unfinished(objects):
            unfinished[reason] += 1
            continue
        rows.append({
            "group": group, "pinned_split": settled[group][0] if group in settled else None,
            **_frame_columns(frame), "recording_name": recording.name, "study": recording.study,
            "annotation_id": row["annotation_id"],
            "revision_id": row["revision_id"], "annotator": row["annotator"], "objects": canonical_json(objects),
        })  # fmt: skip
    images = kind.words.images
    findings.notes += [f"{images} left out until somebody finishes them: {n}, {why}" for why, n in unfinished.items()]
    schema = pa.schema([(name, pa.type_for_alias(kind_)) for name, kind_ in ACCEPTED.items()])
    return pa.Table.from_pylist(rows, schema=schema)


def _frame_columns(frame: Frame) -> Row:
    return {
        "recording_id": frame.recording_id, "frame_index": frame.frame_index, "frame_oid": frame.oid,
        "media_type": frame.media_type, "pts_s": frame.pts_s, "width_px": frame.width_px, "height_px": frame.height_px,
        "phash": frame.phash,
    }  # fmt: skip


def _note_classes(line: Line, kind: Kind, accepted: pa.Table, findings: _Findings) -> None:
    labels = dataset.label_counts(accepted.column("objects").to_pylist(), kind)
    if unseen := [name for name in line.classes if not labels[name]]:
        findings.notes.append(f"no accepted label of class {', '.join(unseen)}: the model cannot learn it")


def _store(lake: Lake, line: Line, kind: Kind, found: Inputs, findings: _Findings, accepted: pa.Table) -> Validation:
    """Store table, report and result, in this order: the result names the others."""
    import pyarrow.parquet as pq

    from tasks.validation.report import render_report

    sink = BytesIO()
    pq.write_table(accepted, sink, compression="zstd")
    accepted_oid = lake.blobs.put_bytes(sink.getvalue(), "application/vnd.apache.parquet")
    missing = list(dict.fromkeys(findings.missing))
    html = render_report(
        line, kind, found.recordings, accepted, findings.suites, findings.items, missing, findings.notes,
        replaced=findings.replaced, agreement=findings.agreement,
    )  # fmt: skip
    report_oid = lake.blobs.put_bytes(html.encode(), "text/html")
    result = {
        "line": line.line,
        "success": not missing,
        "missing": missing,
        "notes": findings.notes,
        "replaced": findings.replaced,
        "agreement": findings.agreement,
        "snapshots": found.snapshots,
        "accepted_oid": accepted_oid,
        "report_oid": report_oid,
        "quarantined": [item.model_dump(mode="json", exclude={"at"}) for item in findings.items],
        "suites": [suite.as_json() for suite in findings.suites],
    }
    result_oid = lake.blobs.put_json(result)
    return Validation(
        line=line.line,
        accepted=accepted,
        quarantined=findings.items,
        result_oid=result_oid,
        report_oid=report_oid,
        success=not missing,
        missing=missing,
        notes=findings.notes,
        snapshots=found.snapshots,
    )


def _some(names: Iterable[str], limit: int = 5) -> str:
    everything = list(names)
    rest = f" and {len(everything) - limit} more" if len(everything) > limit else ""
    return ", ".join(everything[:limit]) + rest
