"""The chain of a line's bundles: a table row for each, in order, and a seal over the tables' own files.

    table "evidence"             one row a bundle: number, bundle, the bundle before it
    evidence/<line>/seal.json    the head of the chain, and the sha256 of every file that the tables consist of

The row is what makes a bundle part of the chain. The seal comes after it: rows are compared with bundles value by
value, but a Parquet file also has bytes that no row shows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tasks.errors import IntegrityError, NotFound
from tasks.evidence.bundle import Action, Bundle, decode
from tasks.lake import Lake
from tasks.schemas import EvidenceEntry, Oid, canonical_json, digest

TABLE = "evidence"
SEALED_TABLES = (TABLE, "verdicts")
PREFIX = "evidence/"


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
    """Seal the tables as they are now. Files that were sealed before keep the hash that they had then.

    Args:
        lake: The lake.
        line: Whose chain was added to; only one process may seal a line's at a time.
        head: Its newest row.
    """
    try:
        known: dict[str, Oid] = read_seal(lake, line)["files"]
    except (NotFound, IntegrityError):  # `verify` complains of a broken one until it is written anew here
        known = {}
    used = {key for table in SEALED_TABLES for key in files_of(lake, table)}
    files = {key: oid for key, oid in known.items() if key in used}
    files |= _hashed(lake, used - files.keys())
    content = {"line": line, "number": head.number, "bundle_oid": head.bundle_oid, "files": files}
    data = canonical_json({**content, "sha256": _checksum(content)}).encode()
    lake.store.put_bytes(seal_key(line), data, "application/json")


def read_seal(lake: Lake, line: str) -> dict[str, Any]:
    """`line`, `number` and `bundle_oid` of the head, `files` {key: sha256}.

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


def _checksum(content: dict[str, Any]) -> Oid:
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()
