"""Verdicts as the lake keeps them: find one, sign one, and check that somebody trusted signed it."""

from __future__ import annotations

from tasks.config import Settings
from tasks.errors import NotFound, SignatureError
from tasks.lake import Lake
from tasks.lake.signed import check, sign, verdict_statement
from tasks.schemas import Verdict


def verdict_named(lake: Lake, verdict_id: str) -> Verdict:
    """Find a verdict by its id.

    Raises:
        NotFound: There is none of that id.
    """
    rows = lake.tables.rows("verdicts", Verdict, {"verdict_id": verdict_id})
    if not rows:
        raise NotFound(f"verdict {verdict_id!r}: there is none of that id")
    return rows[0]


def verdict_if_there(lake: Lake, verdict_id: str | None) -> Verdict | None:
    """Find the verdict that a model version's tag names; None where it names none, or one whose row is gone."""
    try:
        return verdict_named(lake, verdict_id) if verdict_id else None
    except NotFound:
        return None


def newest_verdict(lake: Lake, line: str, version: str) -> Verdict | None:
    """Find the newest verdict on a model version; None where it was never judged."""
    rows = lake.tables.rows("verdicts", Verdict, {"line": line, "model_version": version})
    return max(rows, key=lambda verdict: verdict.at, default=None)


def signed(settings: Settings, verdict: Verdict) -> Verdict:
    """Sign a verdict for this installation. Without a signature it puts nothing in charge."""
    return verdict.model_copy(update={"signature": sign(settings, verdict_statement(verdict))})


def doubt(settings: Settings, verdict: Verdict) -> str | None:
    """Say why a verdict's row is not believed; None where somebody who is trusted here signed it."""
    try:
        check(settings, verdict_statement(verdict), verdict.signature)
    except SignatureError as error:
        return str(error)
    return None
