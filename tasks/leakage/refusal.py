"""The error with which an audit refuses: which pairs, where their pictures are, and what a person can do."""

from __future__ import annotations

from tasks.errors import LeakageError
from tasks.lake import Lake
from tasks.leakage.findings import WHAT, Audit
from tasks.leakage.pair_id import CLEARABLE, Kind

_NAMED = 5  # pairs that an error spells out
DELETE_COPY = (
    "delete the labels of the copy in the test (or val) split in Label Studio, not those in train: a champion may have "
    "learned from them; recordings that belong together need the same donor when they are added"
)


def require_passed(lake: Lake, line: str, audit: Audit, *, if_copy: str = DELETE_COPY) -> None:
    """Refuse what leaks, and what may leak and cannot be checked, unless a person cleared it.

    Args:
        lake: Where the report is.
        line: Whose dataset was audited.
        audit: What was found.
        if_copy: What to do where one of two recordings is a copy of the other.

    Raises:
        LeakageError: Names the pairs, where the report is that shows them, and the command that clears one.
    """
    if audit.passed:
        return
    raise LeakageError(
        ". ".join(_pairs(audit, kind) for kind in WHAT if any(found.kind == kind for found in audit.findings)),
        expected="each group, recording and picture in one split only: the test would flatter the model",
        found=f"{len(audit.findings)} of them; pictures: {lake.blobs.uri(audit.report_oid)}{_ignored(audit)}",
        fix=_what_to_do(line, audit, if_copy),
    )


def _pairs(audit: Audit, kind: Kind) -> str:
    """The pairs of one kind, the first few in full."""
    named = [
        f"{finding} [pair {finding.pair_id}]" if kind in CLEARABLE else str(finding)
        for finding in audit.findings
        if finding.kind == kind
    ]
    rest = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    return f"{WHAT[kind]}: {'; '.join(named[:_NAMED])}{rest}"


def _ignored(audit: Audit) -> str:
    if not audit.ignored_clears:
        return ""
    key, why = audit.ignored_clears[0]
    more = f" (and {len(audit.ignored_clears) - 1} more)" if len(audit.ignored_clears) > 1 else ""
    return f"; the clear {key} is ignored: {why}{more}"


def _what_to_do(line: str, audit: Audit, if_copy: str) -> str:
    clearable = [finding.pair_id for finding in audit.findings if finding.kind in CLEARABLE]
    if not audit.settled:
        return f"run it again, as a worker process died over it; else {if_copy}"
    if not clearable:
        return f"{if_copy} (see the pairs: nightscope audit {line} --out report.html)"
    pair = clearable[0] if len(set(clearable)) == 1 else "PAIR"
    exact = len(clearable) < len(audit.findings)
    beside = "; pairs without an id are exact, and cannot be cleared" if exact else ""
    return (
        f"look at the pictures: `nightscope audit pair {line} {pair} --out report.html`; if one is a copy: {if_copy}; "
        f"if they only look alike: `nightscope audit clear {line} {pair} --note 'why'`, then run it again{beside}"
    )
