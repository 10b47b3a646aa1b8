"""Verdicts and their reports, for people to read."""

from __future__ import annotations

from tasks.errors import NotFound
from tasks.promotion.verdict_rows import verdict_named
from tasks.schemas import Verdict
from tasks.session import Session


def list_verdicts(session: Session, name: str) -> list[Verdict]:
    """List every verdict of a line, newest first."""
    session.line(name)
    rows = session.lake.tables.rows("verdicts", Verdict, {"line": name})
    return sorted(rows, key=lambda verdict: verdict.at, reverse=True)


def read_report(session: Session, name: str, verdict_id: str | None = None, *, of_validation: bool = False) -> bytes:
    """Read the HTML report of a verdict, or of the validation of the dataset it was judged on.

    Args:
        session: Whose lake.
        name: The line.
        verdict_id: Which verdict; default the newest.
        of_validation: The validation's instead.

    Raises:
        NotFound: The line has no (such) verdict.
    """
    session.line(name)
    lake = session.lake
    rows = lake.tables.rows("verdicts", Verdict, {"line": name} | ({"verdict_id": verdict_id} if verdict_id else {}))
    if not rows:
        raise NotFound(f"line {name}: no verdict {verdict_id or 'yet'}", fix=f"nightscope verdicts {name}")
    verdict = max(rows, key=lambda row: row.at)
    oid = str(verdict.report_oid)
    if of_validation:
        oid = lake.datasets.load(name, verdict.dataset_version).about["validation"]["report_oid"]
    return lake.blobs.get_bytes(oid)


def report_of(session: Session, verdict_id: str) -> bytes:
    """Read the HTML report of any line's verdict.

    Raises:
        NotFound: There is no verdict of that id, or it has no report.
    """
    lake = session.lake
    oid = verdict_named(lake, verdict_id).report_oid
    if oid is None:
        raise NotFound(f"verdict {verdict_id!r}: it has no report")
    return lake.blobs.get_bytes(oid)
