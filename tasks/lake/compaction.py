"""Which small files of a table are worth making one of.

Every reader opens every file of a line, and every commit lists every file, so that without compaction a table of small
appends gets slower with each of them. Files are merged with their neighbours in the same partition, up to a size from
which on more would gain nothing: what was merged once is hardly rewritten again, however large the table grows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from tasks.lake import iceberg_files
from tasks.lake.partitions import values_of
from tasks.lake.table_cache import PlannedFile

if TYPE_CHECKING:
    from pyiceberg.manifest import ManifestEntry
    from pyiceberg.table import Table

SMALL_BYTES = 32 * 2**20
"""Files from this size on are left as they are."""
COMPACTED = "nightscope.files-when-compacted"
"""Table property: how many files the table had when it was last compacted."""


_BATCH = 64


@dataclass(frozen=True, eq=False)
class Run:
    """Files to be replaced by one for each partition that their rows are of: neighbours in the table's order.

    Attributes:
        entries: Their entries in the table's manifests.
    """

    entries: tuple[ManifestEntry, ...]

    @property
    def files(self) -> list[PlannedFile]:
        """The files, in order."""
        files = [entry.data_file for entry in self.entries]
        return [PlannedFile(file.file_path, int(file.file_size_in_bytes), {}) for file in files]

    @property
    def paths(self) -> set[str]:
        """Their URIs."""
        return {file.uri for file in self.files}

    @property
    def size_bytes(self) -> int:
        """All of them together, as Parquet."""
        return sum(file.size_bytes for file in self.files)


def runs(opened: Table) -> list[Run]:
    """What compaction would replace; none where other tools deleted rows or renamed columns (theirs to compact).

    Files are merged only where no file of another partition of the same line stands between them, so that a line's rows
    keep their order, whatever clocks did. Files of before the table had its partitions are divided among them, even
    where nothing becomes less.
    """
    lines: dict[Any, list[ManifestEntry]] = {}
    for entry in iceberg_files.live_entries(opened) or []:
        own = values_of(entry.data_file, opened.metadata)
        lines.setdefault((*own.keys(), *own.values()), []).append(entry)
    present = opened.spec().spec_id
    return [
        Run(tuple(run))
        for entries in lines.values()
        for spec_id, own_files in _by_partition(entries)
        for run in _neighbours(own_files, whole=spec_id == present)
        if len(run) > 1 or spec_id != present
    ]


def batches(todo: Sequence[Run]) -> Iterator[Sequence[Run]]:
    """Divide runs into those that one commit replaces.

    Each commit lists every file, and whoever is killed loses what was not committed.
    """
    for place in range(0, len(todo), _BATCH):
        yield todo[place : place + _BATCH]


def _by_partition(entries: list[ManifestEntry]) -> Iterator[tuple[int, list[ManifestEntry]]]:
    """Files of one partition that follow each other, with the number of the partition's spec."""
    for (spec_id, *_), own in groupby(entries, lambda one: (one.data_file.spec_id, *one.data_file.partition)):
        yield spec_id, list(own)


def _neighbours(entries: list[ManifestEntry], *, whole: bool) -> Iterator[list[ManifestEntry]]:
    """Runs of files that together reach `SMALL_BYTES`; large ones stand alone, or are left out if `whole`."""
    run: list[ManifestEntry] = []
    size = 0
    for entry in entries:
        own = int(entry.data_file.file_size_in_bytes)
        if run and (size >= SMALL_BYTES or own >= SMALL_BYTES):
            yield run
            run, size = [], 0
        if own < SMALL_BYTES or not whole:
            run.append(entry)
            size += own
    if run:
        yield run
