"""Audits are kept: the same rows and clears, audited by the same code, are not audited again.

Result and report are blobs; `audits/<line>/<digest of rows, code and clears>.json` in the lake's bucket names both,
also where an audit refused its rows and no dataset version will ever name it. The file is signed: what lets a training
begin must be ours. It is not written where a worker process died during the audit: the next try audits again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tasks.errors import DataError, NotFound
from tasks.lake import Lake
from tasks.lake.signed import keep, kept
from tasks.leakage.audit import audit
from tasks.leakage.clear import Clear
from tasks.leakage.clears import Clears, read_clears, recorded
from tasks.leakage.code import audit_code
from tasks.leakage.exact import COLUMNS
from tasks.leakage.findings import Audit, Finding
from tasks.leakage.report import render_report
from tasks.leakage.thumbnails import Viewer
from tasks.schemas import canonical_json, digest

if TYPE_CHECKING:
    import pyarrow as pa

_KIND = "audit"


def audited(lake: Lake, line: str, rows: pa.Table, viewer: Viewer | None = None) -> Audit:
    """Return the audit of a split dataset, with its report: the filed one, or one that is made now and filed.

    Args:
        lake: Where everything is, clears included.
        line: Whose dataset it is.
        rows: One row per frame, e.g. a manifest's; `tasks.leakage.COLUMNS`.
        viewer: Shows recordings; None: only frames are compared.
    """
    clears = read_clears(lake, line)
    relevant = _relevant(clears, rows)
    key = _key(line, rows, relevant, clears.ignored, clips=viewer is not None)
    with suppress(NotFound):
        if known := kept(lake, _KIND, line, key):
            return _from_result(lake, known["result_oid"])
    found = audit(lake, rows, viewer, [recorded(lake, clears, clear) for clear in relevant])
    found = replace(found, ignored_clears=clears.ignored)
    report = render_report(lake, line, found, viewer)
    found = replace(found, report_oid=lake.blobs.put_bytes(report.encode(), "text/html"))
    full = canonical_json(found.in_full()).encode()
    found = replace(found, result_oid=lake.blobs.put_bytes(full, "application/json"))
    if found.settled:
        keep(lake, _KIND, line, key, found.as_json())
    return found


def filed(lake: Lake, line: str, rows: pa.Table) -> dict[str, Any] | None:
    """Return the summary of the audit that today's code, clips included, made of these rows with today's clears.

    None: it never audited them so.
    """
    clears = read_clears(lake, line)
    key = _key(line, rows, _relevant(clears, rows), clears.ignored, clips=True)
    found: dict[str, Any] | None = kept(lake, _KIND, line, key)
    return found


def has_passed(leak_check: dict[str, Any]) -> bool:
    """Whether a summary is of this code's audit, clips included and no worker lost, and nothing leaked."""
    settled = leak_check.get("settled") is True
    return settled and leak_check.get("passed") is True and leak_check.get("code") == audit_code()


def find_refused(lake: Lake, line: str, pair: str) -> tuple[Finding, Audit]:
    """Find a pair again that a filed audit of the line refused, by its id; of several audits, the newest.

    Raises:
        NotFound: No filed audit of the line refused such a pair.
    """
    infos = sorted(lake.store.list(f"audits/{line}/"), key=lambda info: info.modified_at, reverse=True)
    for info in infos:
        with suppress(DataError):  # its result was erased, or is damaged
            summary = kept(lake, _KIND, line, info.key)
            if not summary or not summary.get("findings"):
                continue
            found = _from_result(lake, summary["result_oid"])
            for finding in found.findings:
                if finding.pair_id == pair:
                    return finding, found
    raise NotFound(
        f"pair {pair} of line {line}: no audit on record refused it",
        expected="the 12 digits that a refusal, `nightscope audit` or its report shows beside the pair",
        fix=f"`nightscope audit {line}` audits again, and shows every pair that it refuses",
    )


def _from_result(lake: Lake, result_oid: str) -> Audit:
    return Audit.from_full(json.loads(lake.blobs.get_bytes(result_oid)), result_oid)


def _relevant(clears: Clears, rows: pa.Table) -> list[Clear]:
    return clears.active(rows.column("recording_id").unique().to_pylist())


def _key(
    line: str, rows: pa.Table, clears: Sequence[Clear] = (), ignored: Sequence[tuple[str, str]] = (), *, clips: bool
) -> str:
    ordered = rows.select(list(COLUMNS)).sort_by([(name, "ascending") for name in COLUMNS])
    parts: list[Any] = [audit_code(clips=clips), ordered.to_pydict()]
    if clears or ignored:
        parts.append([[clear.as_json() for clear in clears], list(ignored)])
    return f"audits/{line}/{digest(*parts)}.json"
