"""Audits are kept: the same rows, audited by the same code, are not audited again.

Result and report are blobs; `audits/<line>/<digest of rows and code>.json` in the lake's bucket names both, also where
an audit refused what it saw and no dataset version will ever name it. It is signed: what lets a training begin must be
ours. It is not written where a worker process died over the audit: the next try looks again.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tasks.datasets.audit.audit import COLUMNS, audit
from tasks.datasets.audit.code import audit_code
from tasks.datasets.audit.findings import WHAT, Audit, Kind
from tasks.datasets.audit.report import render_report
from tasks.datasets.audit.seeing import Viewer
from tasks.errors import LeakageError, NotFound
from tasks.lake import Lake
from tasks.lake.signed import keep, kept
from tasks.schemas import canonical_json, digest

if TYPE_CHECKING:
    import pyarrow as pa

_KIND = "audit"
_NAMED = 5  # pairs that an error spells out


def audited(lake: Lake, line: str, rows: pa.Table, viewer: Viewer | None = None) -> Audit:
    """The audit of a split dataset, with its report: the one that is filed, or made now and filed.

    Args:
        lake: Where everything is.
        line: Whose dataset it is.
        rows: One row per frame, e.g. a manifest's; `tasks.datasets.audit.audit.COLUMNS`.
        viewer: Shows recordings; None: only frames are compared.
    """
    key = _key(line, rows, clips=viewer is not None)
    with suppress(NotFound):
        if known := kept(lake, _KIND, line, key):
            data = json.loads(lake.blobs.get_bytes(known["result_oid"]))
            return Audit.from_full(data, known["result_oid"])
    found = audit(lake, rows, viewer)
    report = render_report(lake, line, found, viewer)
    found = replace(found, report_oid=lake.blobs.put_bytes(report.encode(), "text/html"))
    full = canonical_json(found.in_full()).encode()
    found = replace(found, result_oid=lake.blobs.put_bytes(full, "application/json"))
    if found.settled:
        keep(lake, _KIND, line, key, found.as_json())
    return found


def filed(lake: Lake, line: str, rows: pa.Table) -> dict[str, Any] | None:
    """The summary of the audit that today's code, clips included, made of these rows; None: it never audited them."""
    found: dict[str, Any] | None = kept(lake, _KIND, line, _key(line, rows, clips=True))
    return found


def require_passed(lake: Lake, line: str, audit: Audit) -> None:
    """Refuse what leaks, or what looks as if it did and cannot be looked at.

    Raises:
        LeakageError: Naming the pairs, and where the report is that shows them.
    """
    if audit.passed:
        return
    kinds: tuple[Kind, ...] = tuple(kind for kind in WHAT if any(found.kind == kind for found in audit.findings))
    named = []
    for kind in kinds:
        own = [str(finding) for finding in audit.findings if finding.kind == kind]
        rest = f" and {len(own) - _NAMED} more" if len(own) > _NAMED else ""
        named.append(f"{WHAT[kind]}: {'; '.join(own[:_NAMED])}{rest}")
    again = "" if audit.settled else "run it again, as a worker process died over it; else "
    raise LeakageError(
        ". ".join(named),
        expected="each group, recording and picture in one split only: the test would flatter the model",
        found=f"{len(audit.findings)} of them; pictures: {lake.blobs.uri(audit.report_oid)}",
        fix=f"{again}delete the labels of the copy in the test (or val) split in Label Studio, not those in train: a "
        "champion may have learned from them; recordings that belong together need the same donor when they are added "
        f"(see the pairs: nightscope audit {line} --out report.html)",
    )


def has_passed(leak_check: dict[str, Any]) -> bool:
    """Whether a version's record says that this code audited it for good, clips included, and nothing leaked."""
    settled = leak_check.get("settled") is True
    return settled and leak_check.get("passed") is True and leak_check.get("code") == audit_code()


def _key(line: str, rows: pa.Table, *, clips: bool) -> str:
    ordered = rows.select(list(COLUMNS)).sort_by([(name, "ascending") for name in COLUMNS])
    return f"audits/{line}/{digest(audit_code(clips=clips), ordered.to_pydict())}.json"
