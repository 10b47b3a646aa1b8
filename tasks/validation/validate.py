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
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

from tasks.config import Line
from tasks.kind import Kind
from tasks.kind.label_counts import label_counts
from tasks.lake import Lake, quarantine
from tasks.schemas import Frame, Oid, QuarantineItem
from tasks.validation import dataset, inputs, passed_record, tables
from tasks.validation.inputs import Inputs, Row, frame_key
from tasks.validation.judging import Findings, judge

if TYPE_CHECKING:
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
    "annotator": "string", "objects": "string", "labels": "string", "learned_from": "bool",
}  # fmt: skip
"""Columns of the accepted table. `group` is what keeps together in a split, `pinned_split` where its user wants it;
`objects` is canonical JSON of the objects that passed, `labels` of how many of them count for each class;
`learned_from`: a training takes the frame."""


def validate(lake: Lake, line: Line, kind: Kind) -> Validation:
    """Judge everything the line could learn from; set aside what is bad, store the result and the report.

    The same data gives the same blobs. Nothing is raised for bad or too little data: see `Validation.require_enough`.

    Raises:
        ConfigError: A suite is wrong.
        DataError: A check could not be made.
    """
    before = passed_record.read(lake, line, kind)
    found = inputs.collect(lake, line, before.annotations)
    findings = Findings()
    accepted = _accepted(line, kind, found, judge(lake, line, kind, found, findings), findings)
    result, short = dataset.check_requirements(lake, dataset.overall_requirements(line, kind, accepted))
    findings.suites.append(result)
    findings.missing += short
    quarantine.set_aside(lake, findings.items)
    validation = _store(lake, line, kind, found, findings, accepted)
    passed_record.write(lake, line, kind, before, findings.passed)
    return validation


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


def _accepted(line: Line, kind: Kind, found: Inputs, chosen: Sequence[Row], findings: Findings) -> pa.Table:
    import pyarrow as pa

    settled = tables.settled_splits(line, found)
    rows, noted = [], []
    unfinished: Counter[str] = Counter()
    for row in chosen:
        recording, frame = found.recordings[row["recording_id"]], found.frames[frame_key(row)]
        if reason := row.get("unfinished"):
            unfinished[reason] += 1
            continue
        own, group = row["passed"], line.splits.group_of(recording)
        objects = own.text(row)
        if own.noted or not kind.judged_alone:
            noted.append(json.loads(objects))
        rows.append({
            "group": group, "pinned_split": settled[group][0] if group in settled else None,
            **_frame_columns(frame), "recording_name": recording.name, "study": recording.study,
            "annotation_id": row["annotation_id"], "revision_id": row["revision_id"], "annotator": row["annotator"],
            "objects": objects, "labels": own.labels, "learned_from": own.learned_from,
        })  # fmt: skip
    images = kind.words.images
    findings.notes += [f"{images} left out until somebody finishes them: {n}, {why}" for why, n in unfinished.items()]
    schema = pa.schema([(name, pa.type_for_alias(kind_)) for name, kind_ in ACCEPTED.items()])
    accepted = pa.Table.from_pylist(rows, schema=schema)
    _note_classes(line, kind, accepted, findings)
    findings.notes += kind.checks.notes(noted)
    return accepted


def _frame_columns(frame: Frame) -> Row:
    return {
        "recording_id": frame.recording_id, "frame_index": frame.frame_index, "frame_oid": frame.oid,
        "media_type": frame.media_type, "pts_s": frame.pts_s, "width_px": frame.width_px, "height_px": frame.height_px,
        "phash": frame.phash,
    }  # fmt: skip


def _note_classes(line: Line, kind: Kind, accepted: pa.Table, findings: Findings) -> None:
    labels = label_counts(accepted, kind)
    if unseen := [name for name in line.classes if not labels[name]]:
        findings.notes.append(f"no accepted label of class {', '.join(unseen)}: the model cannot learn it")


def _store(lake: Lake, line: Line, kind: Kind, found: Inputs, findings: Findings, accepted: pa.Table) -> Validation:
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
