"""The key that signs, and the keys that are believed."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from tasks.errors import ConfigError
from tasks.lake.keys import fingerprint_of, load_private_key, raw_public, read_trusted
from tasks.operations.doctor.findings import Finding, check, ok, wrong
from tasks.operations.doctor.patient import Patient

_RESTORE = "restore it from a backup, or `nightscope keys rotate --lost` makes another one"


@check("signing.key")
def key(patient: Patient) -> Iterator[Finding]:
    """The private key is there, closed to others, and one that is believed here."""
    settings = patient.settings
    path = settings.signing_key
    if not path.exists():
        if path.with_suffix(".pub").exists():
            yield wrong(f"{path}: the signing key is gone, its public half is still here", _RESTORE)
        else:
            yield ok(f"{path}: made when something is signed first")
        return
    try:
        name = fingerprint_of(raw_public(load_private_key(path, shared=settings.signing.private_key is not None)))
        believed = {each.fingerprint: each for each in read_trusted(settings)}
    except ConfigError as error:
        yield wrong(error.thing, error.fix or _RESTORE)
        return
    if name not in believed:
        yield wrong(
            f"{path}: key {name} is not among {settings.trusted_keys}: nobody would believe it",
            f"nightscope keys trust FILE --fingerprint {name}, or restore {settings.trusted_keys.name}",
        )
    elif believed[name].retired:
        yield wrong(f"{path}: key {name} was rotated out, and signs nothing any more", _RESTORE)
    else:
        yield ok(f"{name} signs")


@check("signing.trusted")
def trusted(patient: Patient) -> Iterator[Finding]:
    """The list of believed keys can be read, and changed by its owner only."""
    path = patient.settings.trusted_keys
    try:
        keys = read_trusted(patient.settings)
    except ConfigError as error:
        yield wrong(error.thing, error.fix or "restore it from a backup")
        return
    if not path.exists():
        yield ok(f"{path}: made when something is signed first")
    elif loose := _writable_by_others(path):
        yield wrong(f"{loose}: others can change which keys are believed", f"chmod go-w {loose}")
    else:
        yield ok(f"{len(keys)} keys are believed")


def _writable_by_others(path: Path) -> Path | None:
    """The file or its folder, where others than the owner may write; a folder with the sticky bit is fine."""
    if path.stat().st_mode & 0o022:
        return path
    mode = path.parent.stat().st_mode
    return path.parent if mode & 0o022 and not mode & stat.S_ISVTX else None
