"""The keys that sign evidence and promotions: list them, rotate them, and trust those of other machines."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.config import LINE_NAME, Settings
from tasks.errors import ConfigError
from tasks.lake import Lake
from tasks.lake.object_store import JSON
from tasks.schemas import Frozen
from tasks.session import Session

if TYPE_CHECKING:
    from tasks.schemas import EvidenceEntry

_PATIENCE_S = 60


class DescribedKey(Frozen):
    """A public key that is trusted here."""

    fingerprint: str
    name: str
    added_at: str
    active: bool
    retired: dict[str, Any] | None
    endorsed_by: str | None
    public: str


class RotatedKey(DescribedKey):
    """The key that signs from now on."""

    lines: dict[str, int]
    """Line -> the number up to which the old key is believed."""


class TrustedKeys(Frozen):
    """The public keys that are trusted here."""

    keys: tuple[DescribedKey, ...]
    signs: str | None
    """The fingerprint of the key that this machine signs with; None: nothing was ever signed here."""
    trusted_keys: str
    """The file of public keys."""
    signing_key: str
    """The file of the private key."""


def list_keys(session: Session) -> TrustedKeys:
    """List the public keys that are trusted here, and which of them this machine signs with."""
    from tasks.lake import keys

    settings = session.settings
    return TrustedKeys(
        keys=tuple(DescribedKey(**keys.describe(key)) for key in keys.read_trusted(settings)),
        signs=keys.signing_key(settings)[1] if settings.signing_key.exists() else None,
        trusted_keys=str(settings.trusted_keys),
        signing_key=str(settings.signing_key),
    )


def rotate_key(session: Session, *, lost: bool = False, stolen: bool = False) -> RotatedKey:
    """Make a new signing key; the old one stays believed for what it signed until now.

    Orders that wait are signed anew, so that the next night still finishes them. No line is promoted or recorded of
    meanwhile: what the old key signed last must be known.

    Args:
        session: Whose keys.
        lost: The old private key is gone.
        stolen: Somebody else may have it: of what it signed, believe only what has its place in the evidence.

    Raises:
        ConfigError: There is no key to rotate.
        StorageUnavailable: The lake did not answer, or a line is being promoted; nothing was changed.
    """
    from tasks.lake import keys
    from tasks.lake.locks import lake_lock

    settings, lake = session.settings, session.lake
    with lake_lock(settings, "rotate-key", timeout_s=0), _still(lake):
        known = _last_words(lake, rows=not stolen)
        waiting = [] if lost or stolen else _waiting(lake)
        named = [
            keys.waiting_order(line, number, hashlib.sha256(keys.canonical(value)).hexdigest())
            for _, line, value, number in waiting
        ]
        new = keys.rotate(settings, known, lost=lost, stolen=stolen, waiting=named)
        for key, line, value, number in waiting:
            lake.store.put_bytes(key, _signed_anew(settings, line, key, value, number), JSON)
    return RotatedKey(**keys.describe(new), lines=known)


def trust_keys(session: Session, file: Path, fingerprints: tuple[str, ...] = ()) -> list[DescribedKey]:
    """Trust another machine's public keys.

    Args:
        session: Whose keys.
        file: Its `trusted-keys.json`, brought here by a way that can be trusted.
        fingerprints: Of keys that no key believed here endorses, as read on that machine.

    Returns:
        The keys that are new or have changed.

    Raises:
        ConfigError: The file is none, or holds nothing that may be believed.
    """
    from tasks.lake import keys

    settings = session.settings
    try:
        others = keys.parse_trusted(file.read_bytes(), str(file))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror})") from error
    changed = keys.trust(settings, others, fingerprints)
    known = {key.fingerprint for key in keys.read_trusted(settings)}
    strangers = [key.fingerprint for key in others if key.fingerprint not in known]
    if strangers and not changed:
        raise ConfigError(
            f"{file}: no key that is believed here endorses {', '.join(strangers)}",
            fix="compare them with `nightscope keys list` on that machine, and add --fingerprint for each",
        )
    return [DescribedKey(**keys.describe(key)) for key in changed]


@contextmanager
def _still(lake: Lake) -> Iterator[None]:
    """Hold off promotions and records of every line, in the order in which they take their locks themselves.

    Raises:
        StorageUnavailable: One is at work for longer than we wait.
    """
    from tasks.evidence import heads
    from tasks.lake.locks import lake_lock

    found = set(heads.read(lake.settings))
    for prefix in ("datasets/", "evidence/", "undertakings/"):
        found |= {info.key.split("/")[1].removesuffix(".json") for info in lake.store.list(prefix)}
    with ExitStack() as stack:
        for line in sorted(found):
            if re.fullmatch(LINE_NAME, line):  # a key in S3 may be anybody's, and a lock is a file
                for what in ("promote", "evidence"):
                    stack.enter_context(lake_lock(lake.settings, f"{what}-{line}", timeout_s=_PATIENCE_S))
        yield


def _last_words(lake: Lake, *, rows: bool) -> dict[str, int]:
    """Line → number up to which the key in use has surely signed.

    Args:
        lake: Whose lines.
        rows: Believe signed rows of the lake, too, where they are a chain. Else this machine's own memory alone: who
            has the key can sign rows of any number.
    """
    from tasks.evidence import heads
    from tasks.schemas import EvidenceEntry

    known = {line: one.head.number for line, one in heads.read(lake.settings).items()}
    chains: dict[str, dict[int, list[EvidenceEntry]]] = {}
    for row in lake.tables.rows("evidence", EvidenceEntry) if rows else ():
        chains.setdefault(row.line, {}).setdefault(row.number, []).append(row)
    for line, chain in chains.items():
        known[line] = max(_signed_until(lake, chain), known.get(line, 0))
    return known


def _signed_until(lake: Lake, chain: Mapping[int, Sequence[EvidenceEntry]]) -> int:
    """The number of the last row, without a gap before it, whose signature holds; unsigned are only the first ones."""
    from tasks.errors import SignatureError
    from tasks.evidence.chain import check_signed

    last = 0
    for number in count(1):
        signed = False
        for row in chain.get(number, ()):
            with suppress(SignatureError):
                check_signed(lake, row)
                signed = True
        if signed:
            last = number
        elif last or number not in chain:
            break
    return last


def _waiting(lake: Lake) -> list[tuple[str, str, Any, int]]:
    """Orders that the key in use (or another that is believed) signed and that nobody has finished yet."""
    from tasks.errors import SignatureError
    from tasks.evidence import pending_promotions

    found = []
    for info in lake.store.list("undertakings/"):
        line = info.key.removeprefix("undertakings/").removesuffix(".json")
        if "/" in line:
            continue
        try:
            opened = pending_promotions.opened(lake.settings, line, lake.store.get_bytes(info.key))
        except SignatureError:
            continue
        found.append((info.key, line, opened.value, opened.number))
    return found


def _signed_anew(settings: Settings, line: str, key: str, value: Any, number: int) -> bytes:
    from tasks.evidence.pending_promotions import KIND
    from tasks.lake.signed import seal_json

    return seal_json(settings, KIND, line, key, value, number)
