"""Steps that read the evidence: the chain, one bundle, and whether all of it still holds."""

from __future__ import annotations

import json
from typing import Any

from tasks.config import Settings, load_settings
from tasks.errors import ConfigError, IntegrityError, NotFound
from tasks.escaping import plain_text
from tasks.lake import open_lake
from tasks.schemas import EvidenceEntry

_NAMED = 20


def list_evidence(name: str) -> list[dict[str, Any]]:
    """Every link of a line's chain, oldest first. The line's file need not exist any more.

    Raises:
        NotFound: The line has no evidence.
    """
    return [entry.model_dump(mode="json") for entry in _entries(name)]


def read_bundle(name: str, number: int) -> dict[str, Any]:
    """One bundle of a line's chain, as it is stored.

    Raises:
        NotFound: There is none of that number.
        IntegrityError: It was changed.
    """
    lake, entries = open_lake(load_settings()), _entries(name)
    entry = next((entry for entry in entries if entry.number == number), None)
    if entry is None:
        raise NotFound(f"line {name}: no evidence {number}", expected=f"1 to {len(entries)}")
    content: dict[str, Any] = json.loads(lake.blobs.get_bytes(entry.bundle_oid))
    return {"bundle_oid": entry.bundle_oid, **content}


def read_card(name: str, version: str | None = None) -> bytes:
    """The newest model card of a line, or of one of its model versions; Markdown.

    Raises:
        NotFound: There is none.
    """
    from tasks.evidence import chain

    lake = open_lake(load_settings())
    for entry in reversed(_entries(name)):
        if entry.model_version and version in (None, entry.model_version):
            oid = chain.load(lake, entry.bundle_oid).card_oid
            if oid:
                return lake.blobs.get_bytes(oid)
    raise NotFound(f"line {name}: no model card of version {version or 'any'}", fix=f"nightscope evidence {name}")


def verify_evidence(
    name: str, version: str | None = None, *, quick: bool = False, head: str | None = None, mlflow: bool = True
) -> dict[str, Any]:
    """Read the evidence of a line again, and all it names; compute it again; say what no longer holds.

    Args:
        name: The line.
        version: Of its model; default all of its chain.
        quick: Read no recordings and no frames.
        head: A bundle's oid that somebody wrote down: the chain must hold it.
        mlflow: Whether to check the registry, too.

    Returns:
        `line`, `model_version`, `holds`, `findings` (thing, expected, found, cause, bundles), `notes`, `head`,
        `number` (bundles in the chain), `signed_by` (fingerprint → numbers), `unsigned` (how many are from before
        signing), `checked` (what, how many), `seconds`.

    Raises:
        NotFound: The line has no (such) evidence.
    """
    from tasks.evidence.verify import verify
    from tasks.registry.models import open_registry

    settings = load_settings()
    registry = open_registry(settings) if mlflow else None
    return verify(open_lake(settings), registry, name, version, quick=quick, head=head).model_dump(mode="json")


def verify_all(*, quick: bool = False) -> dict[str, Any]:
    """Verify every line that has evidence, or a file, or that this machine has seen evidence of.

    Returns:
        `lines` (name → as `verify_evidence`), `without` (lines that have no evidence yet).

    Raises:
        IntegrityError: Something no longer holds; names the lines and what it is.
        StorageUnavailable: The store or the catalog did not answer: nothing can be said.
    """
    from tasks.evidence.verify import verify
    from tasks.registry.models import open_registry

    settings = load_settings()
    lake, registry = open_lake(settings), open_registry(settings)
    names = {path.stem for path in settings.lines_dir.glob("*.yaml")}
    names |= {str(name) for name in lake.tables.scan("evidence", columns=["line"]).column("line").unique().to_pylist()}
    names |= _seen(settings)
    reports, without, broken = {}, [], []
    for name in sorted(names):
        try:
            report = verify(lake, registry, name, quick=quick)
        except NotFound:
            without.append(name)
            continue
        reports[name] = report.model_dump(mode="json")
        state = "holds" if report.holds else f"{len(report.findings)} no longer hold"
        print(f"{name}: {state}, evidence 1 to {report.number}, {report.seconds:.1f} s", flush=True)
        for finding in report.findings:
            said = f"{finding.cause}: {finding.thing}; expected {finding.expected}; found {finding.found}"
            print(f"  {plain_text(said)}", flush=True)
        if not report.holds:
            first = report.findings[0]
            broken.append(f"{name}: {state}: {first.cause}: {first.thing}; expected {first.expected}")
    if broken:
        more = f" (and {len(broken) - _NAMED} more lines, in the log)" if len(broken) > _NAMED else ""
        raise IntegrityError(
            f"evidence no longer holds: {plain_text(' | '.join(broken[:_NAMED]), 10_000)}{more}",
            fix="`nightscope verify LINE` shows all of it; restore what was changed, or find out who did it",
        )
    return {"lines": reports, "without": without}


def _seen(settings: Settings) -> set[str]:
    """Lines of which this machine has seen evidence: it may all be gone."""
    from tasks.evidence import heads

    try:
        return set(heads.read(settings))
    except ConfigError:  # each line's verification says so
        return set()


def _entries(name: str) -> list[EvidenceEntry]:
    from tasks.evidence import chain

    found = chain.entries(open_lake(load_settings()), name)
    if not found:
        raise NotFound(f"line {name}: no evidence yet", fix=f"nightscope run {name}")
    return found
