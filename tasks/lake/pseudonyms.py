"""Names of people and files, replaced by keyed pseudonyms before anything leaves this machine.

    <state_dir>/keys/pseudonym-key      32 random bytes, 0600, made on first use; never in S3
    <state_dir>/keys/pseudonyms.json    pseudonym → clear name, 0600: what this machine has replaced; never in S3

The same name always gets the same pseudonym (HMAC-SHA-256), so that a donor stays one donor. Machines that add
recordings of the same donors share the key: copy the file.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from tasks.config import Settings
from tasks.errors import ConfigError
from tasks.lake.locks import lake_lock
from tasks.private_files import write_private

What = Literal["donor", "file", "picture"]
_PREFIX: dict[What, str] = {"donor": "donor", "file": "rec", "picture": "pic"}
_KEY_BYTES, _DIGITS = 32, 16


def donor_mark(settings: Settings, donor: str) -> str:
    """A keyed hash that stands for a donor on a tombstone."""
    return _hmac(settings, "tombstone", donor)


def pseudonym(settings: Settings, what: What, name: str) -> str:
    """What a name is replaced by: 'donor-3f5a...', 'rec-91c0...'; the same every time."""
    return f"{_PREFIX[what]}-{_hmac(settings, what, name)[:_DIGITS]}"


def remember(settings: Settings, names: Mapping[str, str], donor: str = "") -> None:
    """Note what was replaced.

    Args:
        settings: Whose table.
        names: Pseudonym → clear name.
        donor: The pseudonym of the donor whose they are, so that they can be forgotten together; empty: nobody's.
    """
    remember_all(settings, {donor: names})


def remember_all(settings: Settings, by_donor: Mapping[str, Mapping[str, str]]) -> None:
    """Note what was replaced of many donors, in one go: pseudonym of the donor → as in `remember`."""
    with lake_lock(settings, "pseudonyms"):
        known = _read(settings)
        new = dict(known)
        for donor, names in by_donor.items():
            for own, clear in names.items():
                of = set(new[own]["donors"]) if own in new else set()
                new[own] = {"clear": clear, "donors": sorted({*of, donor})}
        if new != known:
            _write(settings, new)


def forget(settings: Settings, donor: str) -> None:
    """Remove what is of this donor, by pseudonym, and of nobody else."""
    with lake_lock(settings, "pseudonyms"):
        known = _read(settings)
        left = {}
        for own, one in known.items():
            donors = [each for each in one["donors"] if each != donor]
            if donors:
                left[own] = {**one, "donors": donors}
        if left != known:
            _write(settings, left)


def known_names(settings: Settings) -> dict[str, str]:
    """Pseudonym → clear name, as far as this machine has replaced them.

    Raises:
        ConfigError: The table cannot be read.
    """
    return {own: one["clear"] for own, one in _read(settings).items()}


def _read(settings: Settings) -> dict[str, dict[str, Any]]:
    path = _table(settings)
    try:
        found = json.loads(path.read_text())
        return {
            str(own): {"clear": str(one["clear"]), "donors": [str(donor) for donor in one["donors"]]}
            for own, one in found.items()
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, LookupError, TypeError) as error:
        raise ConfigError(f"{path}: the table of pseudonyms cannot be read ({error})") from error


def _write(settings: Settings, known: Mapping[str, Any]) -> None:
    write_private(_table(settings), json.dumps(dict(sorted(known.items())), ensure_ascii=False, indent=1).encode())


def _hmac(settings: Settings, what: str, name: str) -> str:
    composed = unicodedata.normalize("NFC", name.strip())
    return hmac.new(_key(settings), f"{what}\n{composed}".encode("utf-8", "replace"), hashlib.sha256).hexdigest()


def _key(settings: Settings) -> bytes:
    path = _folder(settings) / "pseudonym-key"
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        with lake_lock(settings, "pseudonym-key"):
            if not path.exists():
                write_private(path, os.urandom(_KEY_BYTES))
        data = path.read_bytes()
    if len(data) != _KEY_BYTES:
        raise ConfigError(f"{path}: is no pseudonym key", expected=f"{_KEY_BYTES} bytes", fix="restore it")
    return data


def _folder(settings: Settings) -> Path:
    return settings.signing_key.parent if settings.signing.private_key is None else settings.state_dir / "keys"


def _table(settings: Settings) -> Path:
    return _folder(settings) / "pseudonyms.json"
