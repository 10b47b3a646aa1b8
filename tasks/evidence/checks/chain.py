"""Is the chain whole: every bundle, its row in the table, its place, its verdict's row, and the tables' own files."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tasks.errors import IntegrityError, NotFound, SignatureError, StorageUnavailable
from tasks.evidence import chain
from tasks.evidence.bundle import Bundle
from tasks.evidence.checks.findings import Findings, differing
from tasks.lake import Lake
from tasks.schemas import EvidenceEntry, Oid, Verdict, canonical_json

_MANY = 3
Row = EvidenceEntry | Verdict


@dataclass(frozen=True)
class Chain:
    """A line's chain as far as it can be read.

    Attributes:
        rows: As the table has them, by number.
        bundles: By oid, also those that no row names but a later bundle, the seal or MLflow does.
    """

    rows: tuple[EvidenceEntry, ...]
    bundles: dict[Oid, Bundle]

    @property
    def in_order(self) -> list[Bundle]:
        """All bundles that could be read, by number."""
        return sorted(self.bundles.values(), key=lambda bundle: bundle.number)

    @property
    def newest(self) -> Bundle | None:
        """The last one."""
        return self.in_order[-1] if self.bundles else None


def check_chain(lake: Lake, line: str, pins: dict[str, tuple[int, Oid]], found: Findings) -> Chain:
    """Read the whole chain, and compare every row with its bundle.

    Args:
        lake: One that remembers nothing.
        line: Whose chain.
        pins: Heads of the chain that were written down elsewhere: where → number (0: unknown) and oid.
        found: Hears what is wrong.
    """
    rows = _rows(lake, line, found)
    seal = _seal(lake, line, found)
    sealed = (int(seal["number"]), seal["bundle_oid"]) if seal else None
    if sealed and sealed[1]:
        pins = {**pins, chain.seal_key(line): sealed}
    bundles = _bundles(lake, rows, [oid for _, oid in pins.values()], found)
    _check_rows(rows, bundles, found)
    _check_seals(line, seal, bundles, found)
    by_row = {row.bundle_oid: row.number for row in rows}
    for where, (number, oid) in pins.items():
        if oid not in by_row or number not in (0, by_row[oid]):
            row = next((row for row in rows if row.number == number), None)
            there = f"{row.bundle_oid} has that number" if row else f"{len(rows)} bundles, and this is none of them"
            found.add(f"head of the chain in {where}", f"bundle {number or '?'}: {oid}", there, "changed", [number])
    if sealed and rows and sealed[0] != rows[-1].number:
        found.note(f"the seal is of bundle {sealed[0]}, the newest is {rows[-1].number}: recording was broken off")
    return Chain(tuple(rows), bundles)


def check_verdicts(lake: Lake, bundles: list[Bundle], found: Findings) -> None:
    """Compare the rows of the table of verdicts with what the bundles say."""
    wanted = {bundle.verdict.verdict_id: bundle for bundle in bundles if bundle.verdict}
    touched: dict[str, list[int]] = {}
    for bundle in bundles:
        if bundle.verdict:
            touched.setdefault(bundle.verdict.verdict_id, []).append(bundle.number)
    try:
        rows = lake.tables.rows("verdicts", Verdict, {"verdict_id": sorted(wanted)})
    except StorageUnavailable:
        raise
    except Exception as error:  # a damaged Parquet, Avro or JSON file may raise anything
        numbers = [number for own in touched.values() for number in own]
        found.add("table verdicts", "rows", f"cannot be read: {error!r}", "changed", numbers)
        return
    for verdict_id, bundle in wanted.items():
        own = [row for row in rows if row.verdict_id == verdict_id]
        thing, numbers = f"row of verdict {verdict_id} in table verdicts", touched[verdict_id]
        if len(own) != 1:
            found.add(thing, "one row", f"{len(own)} rows", "missing" if not own else "changed", numbers)
        for row in own:
            _compare(thing, bundle.verdict, row, numbers, found)
        found.count("verdicts")


def check_files(lake: Lake, found: Findings) -> None:
    """Compare the files that the tables consist of with the seals of all lines, each of which must agree."""
    sealed = chain.sealed_files(lake)
    used: set[str] = set()
    for table in chain.SEALED_TABLES:
        try:
            used |= chain.files_of(lake, table)
        except StorageUnavailable:
            raise
        except Exception as error:  # a damaged metadata file may raise anything
            found.add(f"table {table}", "files that can be listed", f"{error!r}", "changed")
            used |= {key for key in sealed if f"/{table}/" in key and lake.store.head(key)}
    with ThreadPoolExecutor(lake.settings.workers * 4) as threads:
        hashes = dict(zip(sorted(used), threads.map(lambda key: _hash(lake, key), sorted(used)), strict=True))
    for key, oid in hashes.items():
        for wanted in sorted(sealed.get(key, ())):
            if oid not in (None, wanted):
                found.add(f"file of a table: {key}", f"sha256 {wanted}", oid, "changed")
    found.count("files of tables", sum(key in sealed for key in hashes))
    if unsealed := sum(key not in sealed for key in hashes):
        found.note(f"{unsealed} files of tables are newer than the last seal: their rows were compared, not bytes")


def _rows(lake: Lake, line: str, found: Findings) -> list[EvidenceEntry]:
    try:
        return chain.entries(lake, line)
    except StorageUnavailable:
        raise
    except Exception as error:  # a damaged Parquet, Avro or JSON file may raise anything
        found.add("table evidence", "rows", f"cannot be read: {error!r}", "changed")
        return []


def _seal(lake: Lake, line: str, found: Findings) -> dict[str, Any] | None:
    try:
        return chain.read_seal(lake, line)
    except NotFound:
        found.add(f"seal {chain.seal_key(line)}", "a seal over the tables' files", "no such object", "missing")
    except SignatureError:  # said with the other signatures
        return None
    except IntegrityError as error:
        found.add(f"seal {chain.seal_key(line)}", str(error.expected), str(error.found), "changed")
    return None


def _check_seals(line: str, seal: dict[str, Any] | None, bundles: dict[Oid, Bundle], found: Findings) -> None:
    """Was the seal ever lost: the seal that was made anew says so, and so does the bundle that was recorded then."""
    sealing = [bundle for bundle in bundles.values() if bundle.schema_version >= chain.SEALING]
    lost = {bundle.number: bundle.made_at for bundle in sealing if bundle.seal is None}
    lost |= {int(mark["number"]): datetime.fromisoformat(mark["at"]) for mark in (seal or {}).get("restarted", [])}
    for number, at in sorted(lost.items()):
        said = f"the seal was lost before entry {number}: table files older than that are compared by rows only"
        thing = f"seal {chain.seal_key(line)}, made anew {at:%Y-%m-%d %H:%M} UTC"
        found.add(thing, "the one that was there before", said, "missing", [number])


def _bundles(lake: Lake, rows: list[EvidenceEntry], pinned: list[Oid], found: Findings) -> dict[Oid, Bundle]:
    """Every bundle that something names, read from the store."""
    numbers = {row.bundle_oid: row.number for row in rows}
    todo, seen = [*numbers, *pinned], set()
    bundles: dict[Oid, Bundle] = {}
    while todo:
        oid = todo.pop()
        if oid in seen:
            continue
        seen.add(oid)
        known = [numbers[oid]] if oid in numbers else []
        try:
            bundles[oid] = chain.load(lake, oid)
        except NotFound as error:
            found.add(f"evidence bundle {known[0] if known else ''} {oid}", "a blob", str(error), "missing", known)
            continue
        except IntegrityError as error:
            wanted, there = error.expected or f"sha256 {oid}", error.found or str(error)
            found.add(f"evidence bundle {known[0] if known else ''} {oid}", wanted, there, "changed", known)
            continue
        found.count("bundles")
        if bundles[oid].previous:
            todo.append(str(bundles[oid].previous))
    return bundles


def _check_rows(rows: list[EvidenceEntry], bundles: dict[Oid, Bundle], found: Findings) -> None:
    for place, row in enumerate(rows):
        thing = f"row of evidence {row.number} in table evidence"
        if row.number != place + 1:
            found.add("numbers of the chain", f"{place + 1} after {place}", f"{row.number}", "changed", [row.number])
        before = rows[place - 1].bundle_oid if place else None
        if row.previous_oid != before:
            found.add(f"{thing}: the bundle before it", before, row.previous_oid, "changed", [row.number])
        if row.bundle_oid in bundles:
            _compare(thing, bundles[row.bundle_oid].entry(row.bundle_oid), row, [row.number], found)
    named = {row.bundle_oid for row in rows}
    for oid, bundle in bundles.items():
        if oid not in named:
            thing = f"row of evidence {bundle.number} in table evidence"
            found.add(thing, f"a row that names bundle {oid}", "none", "missing", [bundle.number])


def _compare(thing: str, expected: Row | None, row: Row, numbers: list[int], found: Findings) -> None:
    """Field by field, as JSON."""
    if expected is None:
        return
    nouns = (noun.model_dump(mode="json", exclude={"signature"}) for noun in (expected, row))  # checked on its own
    one, other = (json.loads(canonical_json(noun)) for noun in nouns)
    differences = list(differing(one, other))
    for where, wanted, there in differences[:_MANY]:
        found.add(f"{thing}: {where}", wanted, there, "changed", numbers)
    if len(differences) > _MANY:
        found.add(thing, "the bundle's values", f"{len(differences)} others", "changed", numbers)


def _hash(lake: Lake, key: str) -> Oid | None:
    try:
        return lake.store.rehash(key)[0]
    except NotFound:  # old metadata that Iceberg has dropped; what rows need is read by the other checks
        return None
