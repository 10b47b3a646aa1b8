"""The keys by which evidence and orders are signed: shown, rotated, and believed of other machines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tasks.config import Settings, load_settings
from tasks.errors import ConfigError
from tasks.lake import Lake, open_lake


def list_keys() -> dict[str, Any]:
    """The public keys that are believed here, and which of them this machine signs with.

    Returns:
        `keys` (each `fingerprint`, `name`, `added_at`, `active`, `retired`, `endorsed_by`, `public`), `signs` (a
        fingerprint; None: nothing was ever signed here), `trusted_keys` and `signing_key` (files).
    """
    from tasks.lake import keys

    settings = load_settings()
    return {
        "keys": [keys.describe(key) for key in keys.read_trusted(settings)],
        "signs": keys.signing_key(settings)[1] if settings.signing_key.exists() else None,
        "trusted_keys": str(settings.trusted_keys),
        "signing_key": str(settings.signing_key),
    }


def rotate_key(*, lost: bool = False, stolen: bool = False) -> dict[str, Any]:
    """Make a new signing key; the old one stays believed for what it signed until now.

    Orders that wait are signed anew, so that the next night still finishes them.

    Args:
        lost: The old private key is gone.
        stolen: Somebody else may have it: of what it signed, believe only what has its place in the evidence.

    Returns:
        The new key, as `list_keys` describes one; `lines` (line → number up to which the old key is believed).

    Raises:
        ConfigError: There is no key to rotate.
        StorageUnavailable: The lake did not answer; nothing was changed.
    """
    from tasks.evidence import heads
    from tasks.lake import keys
    from tasks.lake.locks import lake_lock
    from tasks.schemas import EvidenceEntry

    settings = load_settings()
    lake = open_lake(settings)
    known = {line: one.head.number for line, one in heads.read(settings).items()}
    for row in lake.tables.rows("evidence", EvidenceEntry):
        known[row.line] = max(row.number, known.get(row.line, 0))
    waiting = [] if lost or stolen else _waiting(lake)
    with lake_lock(settings, "rotate-key", timeout_s=0):
        new = keys.rotate(settings, known, lost=lost, stolen=stolen)
    for key, line, value, number in waiting:
        lake.store.put_bytes(key, _signed_anew(settings, line, key, value, number), "application/json")
    return {**keys.describe(new), "lines": known}


def trust_keys(file: Path, fingerprints: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """Believe another machine's public keys.

    Args:
        file: Its `trusted-keys.json`, brought here by a way that can be trusted.
        fingerprints: Of keys that no key believed here endorses, as read on that machine.

    Returns:
        What is new or has changed, as `list_keys` describes it.

    Raises:
        ConfigError: The file is none, or holds nothing that may be believed.
    """
    from tasks.lake import keys

    settings = load_settings()
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
    return [keys.describe(key) for key in changed]


def _waiting(lake: Lake) -> list[tuple[str, str, Any, int]]:
    """Orders that the key in use (or another that is believed) signed and that nobody has finished yet."""
    from tasks.errors import SignatureError
    from tasks.evidence import orders

    found = []
    for info in lake.store.list("undertakings/"):
        line = info.key.removeprefix("undertakings/").removesuffix(".json")
        if "/" in line:
            continue
        try:
            opened = orders.opened(lake.settings, line, lake.store.get_bytes(info.key))
        except SignatureError:
            continue
        found.append((info.key, line, opened.value, opened.number))
    return found


def _signed_anew(settings: Settings, line: str, key: str, value: Any, number: int) -> bytes:
    from tasks.evidence.orders import KIND
    from tasks.lake.signed import seal_json

    return seal_json(settings, KIND, line, key, value, number)
