"""The chain of a line's bundles: a table row for each, in order, and a seal over the tables' own files.

    table "evidence"             one row a bundle: number, bundle, the bundle before it
    evidence/<line>/seal.json    the head of the chain, and the sha256 of every file that the tables consist of

The row is what makes a bundle part of the chain. The seal comes after it: rows are compared with bundles value by
value, but a Parquet file also has bytes that no row shows. A chain has a seal before it has a row: one that is missing
was lost. It is made anew then, with a mark that stays (`restarted`), and the bundle after it names no seal.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tasks.errors import IntegrityError, NotFound
from tasks.evidence.bundle import Action, Bundle, decode
from tasks.lake import Lake
from tasks.schemas import EvidenceEntry, Oid, canonical_json, digest, now

TABLE = "evidence"
SEALED_TABLES = (TABLE, "verdicts")
PREFIX = "evidence/"
SEALING = 2
"""The first schema version whose bundles name the seal before them."""


def evidence_id(line: str, action: Action, key: str) -> str:
    """The identity of what is recorded: recording it twice is recording it once."""
    return digest(line, action, key)


def entries(lake: Lake, line: str) -> list[EvidenceEntry]:
    """The line's chain, by number."""
    return sorted(lake.tables.rows(TABLE, EvidenceEntry, {"line": line}), key=lambda entry: entry.number)


def find(lake: Lake, line: str, action: Action, key: str) -> EvidenceEntry | None:
    """What was recorded of this action, if it was."""
    wanted = evidence_id(line, action, key)
    return next((entry for entry in entries(lake, line) if entry.evidence_id == wanted), None)


def load(lake: Lake, oid: Oid) -> Bundle:
    """A bundle.

    Raises:
        NotFound: The lake does not hold it.
        IntegrityError: Its bytes are not what its name says, or are no bundle.
    """
    return decode(lake.blobs.get_bytes(oid), oid)


def seal_key(line: str) -> str:
    """Where the line's seal is."""
    return f"{PREFIX}{line}/seal.json"


def seal(lake: Lake, line: str, head: EvidenceEntry) -> None:
    """Seal the tables as they are now. Files that any line sealed before keep the hash that they had then.

    Args:
        lake: The lake.
        line: Whose chain was added to; only one process may seal a line's at a time.
        head: Its newest row.
    """
    try:
        old = read_seal(lake, line)
        known, restarted = old["files"], old.get("restarted", [])
    except (NotFound, IntegrityError):
        known, restarted = {}, [{"number": head.number, "at": now().isoformat()}]
    used = {key for table in SEALED_TABLES for key in files_of(lake, table)}
    others = {key: min(oids) for key, oids in sealed_files(lake).items() if len(oids) == 1}
    files = {key: oid for key, oid in {**others, **known}.items() if key in used}
    files |= _hashed(lake, used - files.keys())
    _write_seal(lake, line, head.number, head.bundle_oid, files, restarted)


def seal_before(lake: Lake, line: str, links: Sequence[EvidenceEntry]) -> Oid | None:
    """The sha256 of the seal that the line's next entry comes after; a new chain's first one is made here.

    Args:
        lake: The lake.
        line: Whose chain.
        links: What it consists of.

    Returns:
        None where the seal is lost or broken.
    """
    try:
        return hashlib.sha256(_encoded(read_seal(lake, line))).hexdigest()
    except NotFound:
        return None if links else _write_seal(lake, line, 0, None, {}, [])
    except IntegrityError:
        return None


def sealed_files(lake: Lake) -> dict[str, set[Oid]]:
    """Table file → what the seals of all lines say its sha256 was. A seal that cannot be read says nothing."""
    sealed: dict[str, set[Oid]] = {}
    for info in lake.store.list(PREFIX):
        try:
            files = read_seal(lake, info.key.removeprefix(PREFIX).partition("/")[0])["files"]
        except (IntegrityError, NotFound):  # the line's own verification says so
            continue
        for key, oid in files.items():
            sealed.setdefault(key, set()).add(oid)
    return sealed


def read_seal(lake: Lake, line: str) -> dict[str, Any]:
    """What a seal says.

    Returns:
        `line`; `number` and `bundle_oid` of the head (0 and None: nothing is recorded yet); `files` {key: sha256};
        `restarted`, where it was ever lost: the entries before which, and when it was made anew (`number`, `at`).

    Raises:
        NotFound: Nothing of the line was ever sealed.
        IntegrityError: It was changed by another hand.
    """
    key = seal_key(line)
    data = lake.store.get_bytes(key)
    try:
        content: dict[str, Any] = json.loads(data)
        whole = canonical_json(content).encode() == data and content.pop("sha256") == _checksum(content)
    except (ValueError, KeyError, AttributeError):
        whole = False
    if not whole:
        found = hashlib.sha256(data).hexdigest()
        raise IntegrityError(f"{key}: was changed", expected="a seal with the checksum of its own content", found=found)
    return content


def files_of(lake: Lake, table: str) -> set[str]:
    """Keys of the files that a table consists of."""
    bucket = f"s3://{lake.store.bucket}/"
    return {uri.removeprefix(bucket) for uri in lake.tables.files_in_use(table)}


def _hashed(lake: Lake, keys: Iterable[str]) -> dict[str, Oid]:
    def one(key: str) -> tuple[str, Oid | None]:
        try:
            return key, lake.store.rehash(key)[0]
        except NotFound:  # old metadata, superseded by another commit a moment ago
            return key, None

    with ThreadPoolExecutor(lake.settings.workers * 4) as threads:
        return {key: oid for key, oid in threads.map(one, sorted(keys)) if oid is not None}


def _write_seal(
    lake: Lake, line: str, number: int, bundle_oid: Oid | None, files: dict[str, Oid], restarted: list[dict[str, Any]]
) -> Oid:
    content = {"line": line, "number": number, "bundle_oid": bundle_oid, "files": files, "restarted": restarted}
    data = _encoded(content)
    lake.store.put_bytes(seal_key(line), data, "application/json")
    return hashlib.sha256(data).hexdigest()


def _encoded(content: dict[str, Any]) -> bytes:
    return canonical_json({**content, "sha256": _checksum(content)}).encode()


def _checksum(content: dict[str, Any]) -> Oid:
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()
