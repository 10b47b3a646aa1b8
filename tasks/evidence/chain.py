"""The chain of a line's bundles: a table row for each, in order, and a seal over the tables' own files.

    table "evidence"             one row a bundle: number, bundle, the bundle before it
    evidence/<line>/seal.json    the head of the chain, and the sha256 of every file that the tables consist of

The row is what makes a bundle part of the chain. The seal comes after it: rows are compared with bundles value by
value, but a Parquet file also has bytes that no row shows. A chain has a seal before it has a row: one that is missing
was lost. It is made anew then, with a mark that stays (`restarted`), and the bundle after it names no seal.

Rows carry the signature of their bundle, the seal one of its own: who can write to S3 can make all hashes fit, but not
those. The rows of before signing are sealed by the first one that is signed, as it names the bundle before it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tasks.errors import ConfigError, IntegrityError, NotFound
from tasks.evidence import heads
from tasks.evidence.bundle import SIGNING, Action, Bundle, decode
from tasks.lake import Lake
from tasks.lake.conditional import Seen, look, put_as_seen
from tasks.lake.signed import Statement, bundle_statement, check, sign
from tasks.schemas import EvidenceEntry, Oid, Signature, canonical_json, digest, now

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


def check_signed(lake: Lake, entry: EvidenceEntry) -> None:
    """Make sure that a key which is trusted here vouches for a row's bundle, at its place.

    Raises:
        SignatureError: None does.
    """
    statement = bundle_statement(entry.line, entry.evidence_id, entry.number, entry.bundle_oid)
    check(lake.settings, statement, entry.signature)


def check_row(lake: Lake, row: EvidenceEntry, links: Sequence[EvidenceEntry]) -> None:
    """Make sure that a row says what its bundle says, and that a trusted key vouches for the bundle.

    Without a signature one is believed that comes before the first signed one of its chain (`links`), and before all
    that this machine has seen signed.

    Raises:
        SignatureError: Nobody who is trusted here signed it.
        IntegrityError, NotFound: Its bundle says something else, or is gone.
    """
    since = _signed_from(lake, row.line)
    starts = [*(link.number for link in links if link.signature), *([since] if since is not None else [])]
    bundle = load(lake, row.bundle_oid)
    if row.signature or row.number >= min(starts, default=row.number + 1) or bundle.schema_version >= SIGNING:
        check_signed(lake, row)
    told = bundle.entry(row.bundle_oid, row.signature)
    for name in ("line", "number", "evidence_id", "outcome", "model_version", "verdict_id"):
        if getattr(told, name) != getattr(row, name):
            raise IntegrityError(
                f"evidence {row.number} of line {row.line}: its row is not what its bundle says",
                expected=f"{name} {getattr(told, name)}",
                found=str(getattr(row, name)),
                fix=f"`nightscope verify {row.line}` says what else was changed",
            )


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
    seen = look(lake, seal_key(line))
    try:
        old = read_seal(lake, line, _signed_from(lake, line))
        known, restarted = old["files"], old.get("restarted", [])
    except (NotFound, IntegrityError):
        known, restarted = {}, [{"number": head.number, "at": now().isoformat()}]
    used = {key for table in SEALED_TABLES for key in files_of(lake, table)}
    others = {key: min(oids) for key, oids in sealed_files(lake).items() if len(oids) == 1}
    files = {key: oid for key, oid in {**others, **known}.items() if key in used}
    files |= _hashed(lake, used - files.keys())
    _write_seal(lake, line, head.number, head.bundle_oid, files, restarted, seen)


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
        content = read_seal(lake, line, _signed_from(lake, line))
        return str(content["seal"])
    except NotFound:
        return None if links else _write_seal(lake, line, 0, None, {}, [], look(lake, seal_key(line)))
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


def read_seal(lake: Lake, line: str, signed_from: int | None = None) -> dict[str, Any]:
    """What a seal says.

    Args:
        lake: The lake.
        line: Whose seal.
        signed_from: The number of the first evidence that is signed: a seal of it or later must be, too.

    Returns:
        `line`; `number` and `bundle_oid` of the head (0 and None: nothing is recorded yet); `files` {key: sha256};
        `restarted`, where it was ever lost: the entries before which, and when it was made anew (`number`, `at`);
        `seal` (sha256 of its bytes), `signed_by` (fingerprint; None: it is from before signing).

    Raises:
        NotFound: Nothing of the line was ever sealed.
        IntegrityError: It was changed by another hand; a SignatureError: it is not signed by one that is trusted.
    """
    key = seal_key(line)
    data = lake.store.get_bytes(key)
    found = hashlib.sha256(data).hexdigest()
    try:
        content: dict[str, Any] = json.loads(data)
        whole, signature = canonical_json(content).encode() == data, content.pop("signature", None)
        checksum = content.pop("sha256")
        number = int(content["number"])
        whole = whole and checksum == _checksum(content) and content["line"] == line
        signed = Signature.model_validate(signature) if signature else None
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        whole = False
    if not whole:
        raise IntegrityError(f"{key}: was changed", expected="a seal with the checksum of its own content", found=found)
    if signed or (signed_from is not None and number >= signed_from):
        check(lake.settings, _statement(line, number, checksum), signed)
    return {**content, "seal": found, "signed_by": signed.key if signed else None}


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
    lake: Lake, line: str, number: int, bundle_oid: Oid | None, files: dict[str, Oid], restarted: list[dict[str, Any]],
    seen: Seen | None,
) -> Oid:  # fmt: skip
    content = {"line": line, "number": number, "bundle_oid": bundle_oid, "files": files, "restarted": restarted}
    checksum = _checksum(content)
    signature = sign(lake.settings, _statement(line, number, checksum)).model_dump()
    data = canonical_json({**content, "sha256": checksum, "signature": signature}).encode()
    put_as_seen(lake, seal_key(line), data, "application/json", seen)
    return hashlib.sha256(data).hexdigest()


def _statement(line: str, number: int, checksum: Oid) -> Statement:
    return Statement("seal", line, seal_key(line), number, checksum)


def _signed_from(lake: Lake, line: str) -> int | None:
    """The first evidence that is signed, as this machine knows."""
    try:
        known = heads.read(lake.settings).get(line)
    except ConfigError:  # `verify` says so
        return None
    return known.signed_from if known else None


def _checksum(content: dict[str, Any]) -> Oid:
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()
