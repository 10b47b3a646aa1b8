"""The leak audit of a dataset version, when a person asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict

from tasks.config import load_line
from tasks.errors import NotFound
from tasks.kinds import kind_of
from tasks.lake.datasets import BEGINNING, only_one
from tasks.schemas import Frozen, Oid
from tasks.session import Session
from tasks.steps.audit import audited

if TYPE_CHECKING:
    import pyarrow as pa


class AuditedDataset(Frozen):
    """A finished audit."""

    model_config = ConfigDict(frozen=True, extra="allow")  # what else the audit counts comes along under its own name

    line: str
    dataset_version: str | None
    """None: nothing is frozen yet."""
    passed: bool
    code: str
    frames: int
    recordings: int
    suspects: int
    looked_at: int
    findings: tuple[dict[str, Any], ...]
    """What leaks, each with its `pair_id`."""
    ruled_out: tuple[dict[str, Any], ...]
    """Pairs that the close check ruled out."""
    cleared_by_people: tuple[dict[str, Any], ...]
    """Each `finding` with its `clear`: who, when and why."""
    ignored_clears: tuple[tuple[str, str], ...]
    not_compared: tuple[tuple[str, str], ...]
    settled: bool
    result_oid: Oid
    report_oid: Oid
    report: str
    """The report's address."""


def audit_dataset(session: Session, name: str) -> AuditedDataset:
    """Audit a dataset version: the newest of a line (or what would be frozen now, where there is none), or a named one.

    What is filed for the same rows and the same code is not computed again. A leak is a finding here, not an error.

    Args:
        session: Whose lake and lines.
        name: A line, or a version's hash or its unambiguous beginning (4 digits or more).

    Raises:
        NotFound: There is no such line or version, or the line has no labels yet.
        ConfigError: Several versions begin so.
        InsufficientData: Nothing is frozen yet, and too little is labelled to freeze.
    """
    lake = session.lake
    line, version = _resolve(session, name)
    rows = lake.datasets.load(line, version).rows if version else _about_to_be_frozen(session, line)
    audit = audited(lake, line, rows)
    parts = {**audit.as_json(), **audit.in_full(), "result_oid": audit.result_oid}
    return AuditedDataset(line=line, dataset_version=version, report=lake.blobs.uri(audit.report_oid), **parts)


def read_audit_report(session: Session, report_oid: Oid) -> bytes:
    """Read the HTML report that an audit names."""
    return session.lake.blobs.get_bytes(report_oid)


def _resolve(session: Session, name: str) -> tuple[str, str | None]:
    """Find the line, and the version if there is one."""
    settings, lake = session.settings, session.lake
    if (settings.lines_dir / f"{name}.yaml").is_file():
        known = lake.datasets.versions(name)
        return name, known[-1] if known else None
    if not BEGINNING.fullmatch(name):
        load_line(name, settings.lines_dir)  # its error lists the lines
    versions = lake.datasets.beginning_with(name)
    if not versions:
        raise NotFound(f"{name}: neither a line nor the beginning of a dataset version", fix="nightscope verdicts LINE")
    return only_one(name, versions)


def _about_to_be_frozen(session: Session, name: str) -> pa.Table:
    """Make the rows that a night would freeze now."""
    from tasks.datasets import splits
    from tasks.datasets.freeze import placed
    from tasks.validation.validate import validate

    lake, line = session.lake, session.line(name)
    accepted = validate(lake, line, kind_of(line.kind)).accepted
    planned = splits.plan(line, splits.pins_of(accepted), splits.recorded(lake, line))
    return placed(accepted, planned.splits)
