"""Reads the evidence again, and all it names; computes it again; says what no longer holds, and goes on.

Everything is read from the store: the local caches of blobs and tables hold copies that were good once, and would hide
what has changed since.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tasks.config import SigningSettings
from tasks.errors import NotFound, ServiceUnavailable, StorageUnavailable
from tasks.evidence import heads, pending_promotions
from tasks.evidence.checks.chain import check_chain, check_files, check_verdicts
from tasks.evidence.checks.clears import check_clears
from tasks.evidence.checks.erased import check_tombstones
from tasks.evidence.checks.findings import Findings, Verification
from tasks.evidence.checks.judging import check_judging
from tasks.evidence.checks.objects import check_objects
from tasks.evidence.checks.registered import check_aliases, check_models, check_tag, read_pins
from tasks.evidence.checks.signatures import check_orders, check_signatures, known_head
from tasks.lake import Lake, open_lake
from tasks.lake.locks import lake_lock
from tasks.registry.models import Registry
from tasks.schemas import EvidenceEntry, Oid

log = logging.getLogger(__name__)

_PATIENCE_S = 60.0


def verify(
    lake: Lake,
    registry: Registry | None,
    line: str,
    version: str | None = None,
    *,
    quick: bool = False,
    head: Oid | None = None,
) -> Verification:
    """Check a line's evidence.

    Args:
        lake: Where it is.
        registry: MLflow; None: leave it out.
        line: Whose evidence. Its YAML file need not exist any more.
        version: Of the model: only its bundles' objects and verdicts; the chain itself is always checked.
        quick: Read no recordings and no frames.
        head: A bundle's oid that somebody wrote down: it must be part of the chain.

    Raises:
        NotFound: The line has no (such) evidence.
        StorageUnavailable: The store or the catalog did not answer: nothing can be said.
    """
    began, found = time.monotonic(), Findings()
    with _remembering_nothing(lake) as fresh:
        pins: dict[str, tuple[int, Oid]] = {"what you wrote down": (0, head)} if head else {}
        with _quiet(lake, line, found):  # rows, tags and aliases of one moment
            aliases, unfinished = None, None
            if registry:
                try:
                    pins |= read_pins(registry, line, found)
                    check_tag(registry, line, found)
                    aliases, unfinished = registry.aliases(line), _unfinished(lake, line)
                except ServiceUnavailable as error:
                    found.add("aliases and tags in MLflow", "an answer", str(error), "unanswered")
            known = known_head(fresh.settings, line, found)
            if known:
                where = f"{lake.settings.heads}, which this machine keeps"
                pins |= {where: (known.head.number, known.head.bundle_oid)}
            chain = check_chain(fresh, line, pins, found)
            signed = check_signatures(fresh, line, chain, known, found)
            check_orders(fresh, line, found)
        everything = chain.in_order
        if not chain.rows and not everything:
            _raise_unknown(line, found)
        chosen = [one for one in everything if version in (None, one.model_version)]
        if not chosen and everything:
            versions = sorted({one.model_version for one in everything if one.model_version}, key=int)
            raise NotFound(
                f"line {line}: no evidence of model version {version}", expected=f"one of: {', '.join(versions)}"
            )
        check_tombstones(fresh, line, found)
        check_files(fresh, found)
        check_verdicts(fresh, chosen, found)
        check_objects(fresh, chosen, found, quick=quick)
        check_clears(fresh, chosen, found)
        check_judging(fresh, chosen, found)
    newest = chain.newest
    if registry and newest:
        if aliases is not None:
            check_aliases(newest, aliases, unfinished, found)
        last = {one.model_version: one for one in everything if one.model_version}
        check_models(lake, registry, chosen, last, found)
    elif registry is None:
        found.note("MLflow was left out: aliases, tags and what it serves were not checked")
    if not found.found:
        _remember(lake, line, chain.rows, signed.first)
    return Verification(
        line=line,
        model_version=version,
        holds=not found.found,
        findings=tuple(found.found),
        notes=tuple(found.notes),
        head=chain.rows[-1].bundle_oid if chain.rows else None,
        number=len(chain.rows),
        signed_by=signed.ranges,
        unsigned=len(signed.unsigned),
        checked=dict(sorted(found.checked.items())),
        seconds=round(time.monotonic() - began, 3),
    )


@contextmanager
def _remembering_nothing(lake: Lake) -> Iterator[Lake]:
    """The same lake with empty caches."""
    with tempfile.TemporaryDirectory(prefix="nightscope-verify-") as folder:
        settings = lake.settings
        signing = SigningSettings(
            private_key=settings.signing_key, trusted_keys=settings.trusted_keys, heads=settings.heads
        )
        own = {"state_dir": Path(folder), "catalog_uri": settings.iceberg_uri, "signing": signing}
        yield open_lake(settings.model_copy(update=own))


def _remember(lake: Lake, line: str, rows: Sequence[EvidenceEntry], signed_from: int | None) -> None:
    """What holds now must hold later."""
    try:
        heads.note(lake.settings, line, rows, signed_from)
    except OSError as error:  # of somebody who may only read
        log.warning(f"{lake.settings.heads}: not kept ({error.strerror})")


@contextmanager
def _quiet(lake: Lake, line: str, found: Findings) -> Iterator[None]:
    """Hold off promotions of the line while the chain is compared with MLflow."""
    with ExitStack() as stack:
        try:
            stack.enter_context(lake_lock(lake.settings, f"promote-{line}", timeout_s=_PATIENCE_S, fenced=False))
        except StorageUnavailable as error:
            if not error.thing.startswith("lock "):
                raise
            found.note(f"a promotion of line {line} is at work: {error}")
        yield


def _unfinished(lake: Lake, line: str) -> str | None:
    if lake.store.head(pending_promotions.key_of(line)):
        return "a promotion was broken off: the next night or promotion of the line finishes and records it"
    return None


def _raise_unknown(line: str, found: Findings) -> None:
    if not any(one.cause == "changed" for one in found.found):
        raise NotFound(f"line {line}: no evidence yet", fix=f"nightscope run {line}")
