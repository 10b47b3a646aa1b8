"""Immutable, content-addressed blobs: recordings, frames, checkpoints, reports.

A blob's name is the sha256 of its bytes (its oid), so that the same bytes are stored once, a blob never changes, and
whoever reads one can tell whether it is whole. The local cache holds verified copies; it is never the truth.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from tasks.errors import DataError, IntegrityError, NotFound
from tasks.lake.object_store import JSON, OCTETS, ObjectStore
from tasks.schemas import Oid, canonical_json, now

BLOBS = "blobs/sha256/"
"""Below it lie all blobs."""
_OID = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_CHUNK_BYTES = 2**20
_BATCH = 16
# Cached files carry this modification time. Whoever writes to one (through a hard link, say) changes it, so that a
# stat tells an untouched copy from a touched one without reading it.
_SEALED_NS = 946_684_800 * 10**9
RENEWED_AFTER = timedelta(days=3)
"""A blob that is put again is uploaded again from this age on; well below the grace period of `tasks.lake.gc`."""

A = TypeVar("A")
B = TypeVar("B")


def oids_in(text: str) -> set[Oid]:
    """All that may be an oid in a text: whatever names a blob has its oid in it, whole."""
    return set(_OID.findall(text))


def named(key: str) -> str:
    """What to call an object of the lake: a blob by its oid, anything else by its key."""
    return key.rpartition("/")[2] if key.startswith(BLOBS) else key


class Blobs:
    """The blobs of a lake.

    Args:
        store: The lake's bucket.
        cache_dir: Where verified copies are kept; `<cache_dir>/sha256/ab/<hex>`.
        threads: How many transfers run side by side in `put_many` and `fetch_many`.
        replacement: Oid → oid of the copy that stands for it, where a blob named a donor who was erased.
    """

    def __init__(
        self,
        store: ObjectStore,
        cache_dir: Path,
        *,
        threads: int = 8,
        replacement: Callable[[Oid], Oid | None] = lambda _: None,
    ) -> None:
        self._store = store
        self._replacement = replacement
        self._cache_dir = cache_dir
        self._threads = threads

    @staticmethod
    def key(oid: Oid) -> str:
        """Where the blob is in its bucket: 'blobs/sha256/ab/<hex>'.

        Raises:
            DataError: `oid` is not 64 lower-case hex digits.
        """
        if not _OID.fullmatch(oid):
            raise DataError(f"oid {oid!r}", expected="64 lower-case hex digits (a sha256)")
        return f"{BLOBS}{oid[:2]}/{oid}"

    def uri(self, oid: Oid) -> str:
        """The blob's address for other tools: 's3://lake/blobs/sha256/ab/<hex>'."""
        return f"s3://{self._store.bucket}/{self.key(oid)}"

    def exists(self, oid: Oid) -> bool:
        """Whether the lake holds the blob."""
        return self._store.head(self.key(oid)) is not None

    def put_bytes(self, data: bytes, content_type: str = OCTETS) -> Oid:
        """Store bytes under their hash; nothing is uploaded when they are already there."""
        oid = hashlib.sha256(data).hexdigest()
        if not self._stored(oid, len(data)):
            self._store.put_bytes(self.key(oid), data, content_type)
        return oid

    def put_json(self, value: Any) -> Oid:
        """Store a JSON document, with its keys in order, so that the same value is the same blob."""
        return self.put_bytes(canonical_json(value).encode(), JSON)

    def put_file(self, path: Path, content_type: str = OCTETS) -> Oid:
        """Store a file under its hash, reading it in chunks; nothing is uploaded when it is already there.

        Raises:
            IntegrityError: The file changed while it was read.
        """
        oid = hash_file(path)
        if self._stored(oid, path.stat().st_size):
            return oid
        self._store.put_file(self.key(oid), path, content_type)
        if hash_file(path) != oid:
            self._store.remove(self.key(oid))
            raise IntegrityError(f"{path}: changed while it was being stored", fix="store it again when it is complete")
        return oid

    def put_many(self, items: Iterable[bytes], content_type: str = OCTETS, *, absent: bool = False) -> list[Oid]:
        """Store many side by side; oids in the order of `items`, which are drawn a bounded number at a time.

        Args:
            items: What to store.
            content_type: Of all of them.
            absent: They are not expected to be there: nobody is asked, which halves the requests.
        """
        put = self._put_unasked if absent else self.put_bytes
        return self._side_by_side(lambda data: put(data, content_type), items)

    def _put_unasked(self, data: bytes, content_type: str) -> Oid:
        oid = hashlib.sha256(data).hexdigest()
        self._store.put_bytes(self.key(oid), data, content_type)
        return oid

    def get_bytes(self, oid: Oid) -> bytes:
        """The blob's bytes, verified.

        Raises:
            NotFound: The lake does not hold it.
            IntegrityError: What the lake holds is not what its name says.
        """
        path = self._cached(oid)
        if path is not None:
            return path.read_bytes()
        try:
            data = self._store.get_bytes(self.key(oid))
        except NotFound:
            copy = self._replacement(oid)
            if copy is None:
                raise
            return self.get_bytes(copy)
        self._verify(oid, hashlib.sha256(data).hexdigest())
        return data

    def fetch(self, oid: Oid) -> Path:
        """A read-only local copy, verified when it was downloaded.

        Raises:
            NotFound: The lake does not hold it.
            IntegrityError: What the lake holds is not what its name says.
        """
        path = self._cached(oid)
        if path is not None:
            return path
        path = self._path(oid)
        part = path.with_name(f".{oid}.{os.getpid()}.{os.urandom(4).hex()}")
        try:
            try:
                self._store.get_file(self.key(oid), part)
            except NotFound:
                copy = self._replacement(oid)
                if copy is None:
                    raise
                return self.fetch(copy)
            self._verify(oid, hash_file(part))
            part.chmod(0o444)
            os.utime(part, ns=(_SEALED_NS, _SEALED_NS))
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        return path

    def drop_copy(self, oid: Oid) -> None:
        """Delete the local copy, if there is one."""
        self._path(oid).unlink(missing_ok=True)

    def fetch_many(self, oids: Iterable[Oid]) -> dict[Oid, Path]:
        """Local copies of many blobs, downloaded side by side; those already here cost one stat each.

        Raises:
            NotFound: The lake does not hold one of them.
            IntegrityError: What the lake holds for one is not what its name says.
        """
        found: dict[Oid, Path | None] = {oid: self._cached(oid) for oid in oids}
        missing = [oid for oid, path in found.items() if path is None]
        found.update(zip(missing, self._side_by_side(self.fetch, missing), strict=True))
        return {oid: path for oid, path in found.items() if path is not None}

    def _path(self, oid: Oid) -> Path:
        return self._cache_dir / "sha256" / oid[:2] / oid

    def _cached(self, oid: Oid) -> Path | None:
        """The local copy if it is there and good. One that was written to is read again in full, and dropped if bad."""
        self.key(oid)  # refuses what is no oid before it becomes a path
        path = self._path(oid)
        try:
            sealed = path.stat().st_mtime_ns == _SEALED_NS
        except FileNotFoundError:
            return None
        if sealed:
            return path
        if hash_file(path) != oid:
            path.unlink(missing_ok=True)
            return None
        path.chmod(0o444)
        os.utime(path, ns=(_SEALED_NS, _SEALED_NS))
        return path

    def _stored(self, oid: Oid, size_bytes: int) -> bool:
        """Whether the lake holds it, whole and young.

        A wrong size (a damaged disk) is healed by uploading again. So is age: an old blob that nothing refers to may be
        collected at any moment, just when somebody is about to refer to it.
        """
        info = self._store.head(self.key(oid))
        return info is not None and info.size_bytes == size_bytes and now() - info.modified_at < RENEWED_AFTER

    def _verify(self, oid: Oid, found: Oid) -> None:
        if found != oid:
            raise IntegrityError(
                f"blob {self.uri(oid)}: its bytes are not what its name says",
                expected=f"sha256 {oid}",
                found=found,
                fix="restore the object from a backup, or remove it and store the original file again",
            )

    def _side_by_side(self, work: Callable[[A], B], items: Iterable[A]) -> list[B]:
        done: list[B] = []
        coming = iter(items)
        with ThreadPoolExecutor(self._threads) as threads:
            # In batches: `map` would draw, and hold, all items before the first one is done.
            while batch := list(islice(coming, _BATCH * self._threads)):
                done += threads.map(work, batch)
        return done


def hash_file(path: Path) -> Oid:
    """The oid of a file's bytes, read in chunks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def check_weights(path: Path, oid: Oid) -> None:
    """Check that a file of weights is what its oid names, before anything reads it.

    Raises:
        IntegrityError: It is not.
    """
    found = hash_file(path)
    if found != oid:
        raise IntegrityError(f"weights: {path}", expected=f"sha256 {oid}", found=found, fix="fetch them again")
