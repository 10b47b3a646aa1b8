"""The frames that annotators see, in a bucket of their own.

Recordings, weights and evidence are blobs of the lake's bucket, under one prefix: a key that reads a frame there reads
everything. So the frames that go to Label Studio are copied into a bucket that holds nothing else, and Label Studio's
key reads that bucket only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from tasks.errors import DataError
from tasks.lake.blobs import Blobs
from tasks.lake.object_store import ObjectInfo, ObjectStore
from tasks.schemas import Oid

_THREADS = 8
_JPEG, _PNG = "image/jpeg", "image/png"


class ServedFrames:
    """Copies of frame blobs, named by their oid.

    Args:
        store: The bucket.
        blobs: Where the frames are copied from.
    """

    def __init__(self, store: ObjectStore, blobs: Blobs) -> None:
        self.store = store
        self._blobs = blobs

    @staticmethod
    def key(oid: Oid) -> str:
        """Where the copy is in its bucket: 'ab/<hex>'."""
        return f"{oid[:2]}/{oid}"

    def uri(self, oid: Oid) -> str:
        """The copy's address, for Label Studio: 's3://frames/ab/<hex>'."""
        return f"s3://{self.store.bucket}/{self.key(oid)}"

    def publish(self, oids: Iterable[Oid]) -> dict[Oid, DataError]:
        """Copy frames that are not there yet. Their bytes are verified on the way.

        Returns:
            The frames that the lake does not hold, or not whole, and what is wrong with each: none of the others waits.
        """
        wanted = list(dict.fromkeys(oids))
        with ThreadPoolExecutor(_THREADS) as threads:
            faults = threads.map(self._publish, wanted)
            return {oid: fault for oid, fault in zip(wanted, faults, strict=True) if fault is not None}

    def _publish(self, oid: Oid) -> DataError | None:
        if self.store.head(self.key(oid)) is None:
            try:
                data = self._blobs.get_bytes(oid)
            except DataError as error:
                return error
            self.store.put_bytes(self.key(oid), data, _PNG if data.startswith(b"\x89PNG") else _JPEG)
        return None

    def withdraw(self, oid: Oid) -> None:
        """Remove a copy; one that is not there is fine."""
        self.store.remove(self.key(oid))

    def published(self) -> Iterator[tuple[Oid, ObjectInfo]]:
        """All copies."""
        for info in self.store.list():
            yield info.key.rpartition("/")[2], info
