"""Taking in what is new in the landing bucket: the work of the DAG `ingest_recordings`.

Every object of the landing bucket is looked at once. A good one becomes a recording, with frames for every line that
wants it; the same content again is a duplicate; a bad one goes to quarantine with its reason. Whatever moment a night
is cut at, the next one picks up from the tables: an object counts as dealt with when its `landings` row is there, which
is committed last, and a recording that lacks a line's frames gets them from its blob.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tasks.config import Line
from tasks.ingest.arrivals import new_in_landing
from tasks.ingest.missing import unsampled
from tasks.lake import Lake
from tasks.lake.locks import lake_lock
from tasks.schemas import Frozen, Oid, QuarantineItem

log = logging.getLogger(__name__)


class IngestReport(Frozen):
    """What a night took in.

    Attributes:
        new: Ids of new recordings.
        duplicates: Landing keys with content that the lake has already.
        quarantined: What was set aside, with reasons.
        delayed: (landing key, reason) of what did not come through; the next night tries again.
        frames: Frames taken, over all lines.
        seconds: How long it took.
    """

    new: tuple[Oid, ...] = ()
    duplicates: tuple[str, ...] = ()
    quarantined: tuple[QuarantineItem, ...] = ()
    delayed: tuple[tuple[str, str], ...] = ()
    frames: int = 0
    seconds: float = 0.0


def ingest_new(lake: Lake, lines: Sequence[Line]) -> IngestReport:
    """Take in everything new in the landing bucket, and sample what lines still lack.

    Recordings are decoded side by side in `settings.workers` processes. Commits are made every so often, so that a
    night that is cut loses little; nothing in the landing bucket is moved or deleted.

    Args:
        lake: The lake.
        lines: Which frames are wanted, by whom.

    Raises:
        StorageUnavailable: S3, the catalog or the local disk failed. Running it again goes on from there.
    """
    begin = time.monotonic()
    with lake_lock(lake.settings, "ingest"):
        arrived = new_in_landing(lake)
        lacking = unsampled(lake, lines)
        if not arrived and not lacking:
            return IngestReport(seconds=time.monotonic() - begin)
        from tasks.ingest.night import Night  # decoders' nouns: not in a night with nothing to do

        log.info("ingest: %d new in landing, %d recordings lack frames", len(arrived), len(lacking))
        with _scratch(lake.settings.work_dir / "ingest") as scratch, Night(lake, lines, scratch) as night:
            night.take_in(arrived)
            # Looked up again: what just came in as a known recording may have been half done.
            night.sample(unsampled(lake, lines))
        return night.report(seconds=time.monotonic() - begin)


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """An empty folder, without what a killed night left there (we hold the lock: nobody else uses it)."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
