"""Pairs that a person cleared in a leak audit on which evidence rests: does a trusted key vouch for each of them?"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from tasks.errors import DataError, SignatureError
from tasks.evidence.bundle import Bundle
from tasks.evidence.checks.findings import Findings
from tasks.lake import Lake
from tasks.lake.keys import read_trusted
from tasks.leakage.clear import Clear
from tasks.leakage.clears import open_record
from tasks.schemas import Oid

_DAMAGED = (DataError, ValueError, LookupError, TypeError, AttributeError)
"""What reading a damaged or erased result raises: `check_objects` names it, or a tombstone excuses it."""


def check_clears(lake: Lake, bundles: Iterable[Bundle], found: Findings) -> None:
    """List every clear on which the bundles rest, and check the signature of its record.

    Args:
        lake: One that remembers nothing.
        bundles: The bundles to check.
        found: Takes a note for each clear, and a finding for each one that no trusted key vouches for.
    """
    touched: dict[tuple[str, Oid], tuple[Clear, set[int]]] = {}
    for bundle in bundles:
        for clear in _clears_of(lake, bundle):
            touched.setdefault((bundle.line, clear.record_oid), (clear, set()))[1].add(bundle.number)
    retired = {key.fingerprint for key in read_trusted(lake.settings) if key.retired}
    for (line, _), (clear, numbers) in touched.items():
        thing = f"clear of pair {clear.pair_id} in the leak audit"
        found.note(f"{thing}: two recordings look the same, and {clear.by} cleared them at {clear.at}: {clear.note}")
        found.count("clears")
        try:
            open_record(lake, line, clear)
        except SignatureError as error:
            if _signer(lake, clear) in retired:  # the bundle names it by hash, and vouches for it
                found.note(f"{thing}: {error}")
            else:
                found.add(thing, "a signed record of it by a trusted key", str(error), "signature", numbers)
        except _DAMAGED:
            continue


def _clears_of(lake: Lake, bundle: Bundle) -> Iterator[Clear]:
    """The clears in every result of a leak check that a bundle names."""
    for named in bundle.objects:
        if "leak check" not in named.what or "'s result of dataset" not in named.what:
            continue
        try:
            content = json.loads(lake.blobs.get_bytes(named.sha256))
            clears = [Clear.from_json(own["clear"]) for own in content.get("cleared_by_people", ())]
        except _DAMAGED:
            continue
        yield from clears


def _signer(lake: Lake, clear: Clear) -> str | None:
    try:
        signer = json.loads(lake.blobs.get_bytes(clear.record_oid))["signature"]["key"]
    except _DAMAGED:
        return None
    return str(signer)
