"""Does a key that is trusted here vouch for each bundle, the seal, and what is about to be done?"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from tasks.config import Settings
from tasks.errors import ConfigError, IntegrityError, NotFound, SignatureError
from tasks.evidence import chain, heads, pending_promotions
from tasks.evidence.bundle import SIGNING
from tasks.evidence.checks.chain import Chain
from tasks.evidence.checks.findings import Findings
from tasks.lake import Lake
from tasks.lake.keys import TrustedKey, read_trusted
from tasks.lake.signed import bundle_statement, check_with


@dataclass
class Signed:
    """Who signed what of a chain.

    Attributes:
        by: Number → fingerprint, where the signature holds.
        first: The first number from which everything must be signed; None: nothing of the line ever was.
        unsigned: Numbers from before that.
    """

    by: dict[int, str] = field(default_factory=dict)
    first: int | None = None
    unsigned: list[int] = field(default_factory=list)

    @property
    def ranges(self) -> dict[str, str]:
        """Fingerprint → what it signed, '3-9, 11'."""
        return {key: _ranges([n for n, own in sorted(self.by.items()) if own == key]) for key in set(self.by.values())}


def known_head(settings: Settings, line: str, found: Findings) -> heads.Known | None:
    """What this machine has seen of the line's evidence."""
    try:
        return heads.read(settings).get(line)
    except ConfigError as error:
        found.add(f"heads of the chains in {settings.heads}", "what this machine has seen", str(error), "changed")
        return None


def check_signatures(lake: Lake, line: str, read: Chain, known: heads.Known | None, found: Findings) -> Signed:
    """Check the signature of each row's bundle, and that the chain is as long as it was.

    Args:
        lake: One that remembers nothing.
        line: Whose chain.
        read: The chain.
        known: What this machine has seen of it.
        found: Hears what is wrong.
    """
    signed, believed = Signed(), _believed(lake.settings, found)
    without: list[int] = []
    for row in read.rows:
        if row.signature is None:
            without.append(row.number)
            continue
        try:
            statement = bundle_statement(line, row.evidence_id, row.number, row.bundle_oid)
            signed.by[row.number] = check_with(believed, statement, row.signature).fingerprint
        except SignatureError as error:
            _add(f"signature of evidence {row.number}", error, [row.number], found)
    modern = [bundle.number for bundle in read.bundles.values() if bundle.schema_version >= SIGNING]
    starts = [*signed.by, *modern, *([known.signed_from] if known and known.signed_from else [])]
    signed.first = min(starts, default=None)
    for number in without:
        if signed.first is not None and number >= signed.first:
            found.add(f"signature of evidence {number}", "a signature by a trusted key", "none", "signature", [number])
        else:
            signed.unsigned.append(number)
    if signed.unsigned:
        sealed = next((f"sealed by evidence {n}, which is signed" for n in sorted(signed.by)), None)
        sealed = sealed or "the line's next record seals it"
        found.note(f"evidence {_ranges(signed.unsigned)}: unsigned, from before signing; {sealed}")
    for place in heads.lost_of(known, read.rows):
        there = next((row.bundle_oid for row in read.rows if row.number == place.number), "no such evidence")
        thing = f"evidence {place.number}, as this machine has seen it ({place.at[:16]} UTC)"
        found.add(thing, f"bundle {place.bundle_oid}", there, "changed", [place.number])
    found.count("signatures", len(signed.by))
    _check_seal(lake, line, signed, found)
    return signed


def check_orders(lake: Lake, line: str, found: Findings) -> None:
    """What waits to be carried out, and what was set aside instead: did somebody here sign it?"""
    aside = [info.key for info in lake.store.list(pending_promotions.aside_prefix(line))]
    for key in (pending_promotions.key_of(line), *aside):
        try:
            data = lake.store.get_bytes(key)
        except NotFound:
            continue
        became = "was set aside, and" if key in aside else "will be set aside, and"
        try:
            pending_promotions.opened(lake.settings, line, data)
        except SignatureError as error:
            thing = f"order {key} (sha256 {hashlib.sha256(data).hexdigest()[:16]}), which {became} not carried out"
            _add(thing, error, [], found)
        else:
            if key in aside:
                found.note(f"{key}: an order that could not be finished was set aside; remove it when you have read it")
        found.count("orders")


def _check_seal(lake: Lake, line: str, signed: Signed, found: Findings) -> None:
    try:
        chain.read_seal(lake, line, signed.first)
    except SignatureError as error:
        _add(f"seal {chain.seal_key(line)}", error, [], found)
    except (IntegrityError, NotFound):  # the chain's own check says what is wrong with it
        return


def _believed(settings: Settings, found: Findings) -> dict[str, TrustedKey]:
    try:
        return {key.fingerprint: key for key in read_trusted(settings)}
    except ConfigError as error:
        found.add(f"trusted keys {settings.trusted_keys}", "public keys", str(error), "changed")
        return {}


def _add(thing: str, error: SignatureError, numbers: list[int], found: Findings) -> None:
    found.add(thing, error.expected or "a signature by a trusted key", error.found or str(error), "signature", numbers)


def _ranges(numbers: list[int]) -> str:
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(f"{part[0]}-{part[-1]}" if len(part) > 1 else f"{part[0]}" for part in parts)
