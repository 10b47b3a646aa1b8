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
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

from tasks.config import Line
from tasks.kind import Kind
from tasks.lake import Lake, quarantine
from tasks.schemas import Oid, QuarantineItem
from tasks.validation import dataset, inputs, passed_record
from tasks.validation.accepted import accepted_table
from tasks.validation.inputs import Inputs
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


def validate(lake: Lake, line: Line, kind: Kind) -> Validation:
    """Judge everything the line could learn from; set aside what is bad, store the result and the report.

    The same data gives the same blobs. Nothing is raised for bad or too little data: see `Validation.require_enough`.

    Raises:
        ConfigError: A suite is wrong.
        DataError: A check could not be made.
    """
    before = passed_record.read(lake, line, kind)
    found = inputs.collect(lake, line, before.table)
    findings = Findings()
    judgement = judge(lake, line, kind, found, findings)
    accepted = accepted_table(line, kind, found, judgement.chosen, findings.notes)
    result, short = dataset.check_requirements(lake, dataset.overall_requirements(line, kind, accepted))
    findings.suites.append(result)
    findings.missing += short
    quarantine.set_aside(lake, findings.items)
    validation = _store(lake, line, kind, found, findings, accepted)
    passed_record.write(lake, line, kind, before, judgement.passed)
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
