"""One lake, as everybody above passes it around."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.config import Settings
from tasks.lake.blobs import Blobs
from tasks.lake.datasets import Datasets
from tasks.lake.fences import require_held
from tasks.lake.object_store import ObjectStore
from tasks.lake.served_frames import ServedFrames
from tasks.lake.tables import Tables
from tasks.lake.tombstones import Tombstones


@dataclass(frozen=True)
class Lake:
    """The landing bucket, the lake's own bucket, and what lies in it.

    Attributes:
        landing: Where people drop recordings. We never move or delete anything in it.
        store: The lake's bucket; most code wants `blobs`, `tables` or `datasets` instead.
        frames: Copies of the frames that annotators see, in a bucket of their own.
        tombstones: What was erased.
    """

    settings: Settings
    landing: ObjectStore
    store: ObjectStore
    frames: ServedFrames
    blobs: Blobs
    tables: Tables
    datasets: Datasets
    tombstones: Tombstones

    def close(self) -> None:
        """Close the connections to S3 and to the catalog's database that are open."""
        for store in (self.landing, self.store, self.frames.store):
            store.close()
        self.tables.close()


def open_lake(settings: Settings) -> Lake:
    """Open the lake of an installation. Touches neither network nor disk: what is used first, connects first."""
    threads = settings.workers * 4
    landing = ObjectStore(settings.s3.by(settings.s3.landing), settings.s3.landing_bucket, connections=threads)
    served = ObjectStore(settings.s3, settings.s3.frames_bucket, connections=threads)
    store = ObjectStore(settings.s3, settings.s3.lake_bucket, connections=threads, guard=require_held)
    tombstones = Tombstones(settings, store)
    replacement = tombstones.replacement
    blobs = Blobs(store, settings.cache_dir / "blobs", threads=threads, replacement=replacement)
    return Lake(
        settings=settings,
        landing=landing,
        store=store,
        frames=ServedFrames(served, blobs),
        blobs=blobs,
        tables=Tables(settings, store),
        datasets=Datasets(store, replacement=replacement),
        tombstones=tombstones,
    )
