"""Read the evidence: the chain, one bundle, a model card; and verify that all of it still holds."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from tasks.config import Settings
from tasks.errors import ConfigError, IntegrityError, NotFound
from tasks.escaping import plain_text
from tasks.schemas import EvidenceEntry, Frozen
from tasks.session import Session

if TYPE_CHECKING:
    from tasks.evidence.checks.findings import Verification

log = logging.getLogger(__name__)

_NAMED = 20


class VerifiedLines(Frozen):
    """How the evidence of every line came out."""

    lines: dict[str, dict[str, Any]]
    """Line -> the report on its evidence, as JSON."""
    without: tuple[str, ...]
    """Lines that have no evidence yet."""


def list_evidence(session: Session, name: str) -> list[EvidenceEntry]:
    """List every link of a line's chain, oldest first. The line's file need not exist any more.

    Raises:
        NotFound: The line has no evidence.
    """
    from tasks.evidence import chain

    entries = chain.entries(session.lake, name)
    if not entries:
        raise NotFound(f"line {name}: no evidence yet", fix=f"nightscope run {name}")
    return entries


def read_bundle(session: Session, name: str, number: int) -> dict[str, Any]:
    """Read one bundle of a line's chain, as it is stored: whichever version of Nightscope wrote it, nothing is changed.

    Raises:
        NotFound: There is none of that number.
        IntegrityError: It was changed.
    """
    lake, entries = session.lake, list_evidence(session, name)
    entry = next((entry for entry in entries if entry.number == number), None)
    if entry is None:
        raise NotFound(f"line {name}: no evidence {number}", expected=f"1 to {len(entries)}")
    content: dict[str, Any] = json.loads(lake.blobs.get_bytes(entry.bundle_oid))
    return {"bundle_oid": entry.bundle_oid, **content}


def read_card(session: Session, name: str, version: str | None = None) -> bytes:
    """Read the newest model card of a line, or of one of its model versions; Markdown.

    Raises:
        NotFound: There is none.
    """
    from tasks.evidence import chain

    lake = session.lake
    for entry in reversed(list_evidence(session, name)):
        if entry.model_version and version in (None, entry.model_version):
            oid = chain.load(lake, entry.bundle_oid).card_oid
            if oid:
                return lake.blobs.get_bytes(oid)
    raise NotFound(f"line {name}: no model card of version {version or 'any'}", fix=f"nightscope evidence {name}")


def verify_evidence(
    session: Session,
    name: str,
    version: str | None = None,
    *,
    quick: bool = False,
    head: str | None = None,
    mlflow: bool = True,
) -> Verification:
    """Read the evidence of a line again, and all it names; compute it again; report what no longer holds.

    Args:
        session: Whose lake and registry.
        name: The line.
        version: Of its model; default all of its chain.
        quick: Read no recordings and no frames.
        head: A bundle's oid that somebody wrote down: the chain must hold it.
        mlflow: Whether to check the registry, too.

    Raises:
        NotFound: The line has no (such) evidence.
    """
    from tasks.evidence.verify import verify

    registry = session.registry if mlflow else None
    return verify(session.lake, registry, name, version, quick=quick, head=head)


def verify_all(session: Session, *, quick: bool = False) -> VerifiedLines:
    """Verify every line that has evidence, or a file, or that this machine has seen evidence of.

    Raises:
        IntegrityError: Something no longer holds; names the lines and what it is.
        StorageUnavailable: The store or the catalog did not answer: nothing can be said.
    """
    from tasks.evidence.verify import verify

    lake, registry = session.lake, session.registry
    names = set(session.line_names())
    names |= {str(name) for name in lake.tables.scan("evidence", columns=["line"]).column("line").unique().to_pylist()}
    names |= _seen(session.settings)
    reports, without, broken = {}, [], []
    for name in sorted(names):
        try:
            report = verify(lake, registry, name, quick=quick)
        except NotFound:
            without.append(name)
            continue
        reports[name] = report.model_dump(mode="json")
        state = "holds" if report.holds else f"{len(report.findings)} no longer hold"
        log.info(f"{name}: {state}, evidence 1 to {report.number}, {report.seconds:.1f} s")
        for finding in report.findings:
            text = f"{finding.cause}: {finding.thing}; expected {finding.expected}; found {finding.found}"
            log.error(f"  {plain_text(text)}")
        if not report.holds:
            first = report.findings[0]
            broken.append(f"{name}: {state}: {first.cause}: {first.thing}; expected {first.expected}")
    if broken:
        more = f" (and {len(broken) - _NAMED} more lines, in the log)" if len(broken) > _NAMED else ""
        raise IntegrityError(
            f"evidence no longer holds: {plain_text(' | '.join(broken[:_NAMED]), 10_000)}{more}",
            fix="`nightscope verify LINE` shows all of it; restore what was changed, or find out who did it",
        )
    return VerifiedLines(lines=reports, without=tuple(without))


def _seen(settings: Settings) -> set[str]:
    """Name the lines of which this machine has seen evidence: it may all be gone."""
    from tasks.evidence import heads

    try:
        return set(heads.read(settings))
    except ConfigError:  # each line's verification reports it
        return set()
