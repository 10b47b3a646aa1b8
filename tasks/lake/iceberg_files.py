"""Which files an Iceberg table consists of, told by its metadata alone."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pyiceberg.manifest import FileFormat, ManifestContent, ManifestEntry, ManifestFile
from pyiceberg.serializers import FromInputFile

from tasks.errors import NotFound
from tasks.lake.partitions import values_of
from tasks.lake.table_cache import Plan, PlannedFile

if TYPE_CHECKING:
    from pyiceberg.table import Table
    from pyiceberg.table.snapshots import Snapshot


def plan(opened: Table) -> Plan:
    """Which files hold a table's rows, in the order in which they were appended."""
    snapshot = opened.current_snapshot()
    if snapshot is None:
        return Plan(None, ())
    if (entries := live_entries(opened)) is None:
        return Plan(snapshot.snapshot_id, None)
    files = [
        PlannedFile(file.file_path, int(file.file_size_in_bytes), values_of(file, opened.metadata))
        for file in (entry.data_file for entry in entries)
    ]
    return Plan(snapshot.snapshot_id, tuple(files))


def live_entries(opened: Table) -> list[ManifestEntry] | None:
    """The entries of a table's present files, in their order; None where reading the files is not enough."""
    snapshot = opened.current_snapshot()
    if snapshot is None:
        return []
    manifests = snapshot.manifests(opened.io)
    entries = _in_order(opened, manifests)
    return entries if _plain(opened, manifests, entries) else None


def _in_order(opened: Table, manifests: list[ManifestFile]) -> list[ManifestEntry]:
    entries = [entry for manifest in manifests for entry in manifest.fetch_manifest_entry(opened.io)]
    return sorted(entries, key=lambda entry: entry.sequence_number or 0)  # stable: a commit's files stay as written


def _plain(opened: Table, manifests: list[ManifestFile], entries: list[ManifestEntry]) -> bool:
    """Whether its Parquet files, read by name, are the table: no rows were deleted, no columns renamed."""
    return (
        all(manifest.content == ManifestContent.DATA for manifest in manifests)
        and all(entry.data_file.file_format == FileFormat.PARQUET for entry in entries)
        and _names_are_stable(opened)
    )


def count(opened: Table) -> int:
    """How many data files the present snapshot consists of."""
    snapshot = opened.current_snapshot()
    summary = snapshot.summary if snapshot else None
    return int((summary and summary["total-data-files"]) or 0)


def of_present(opened: Table) -> set[str]:
    """URIs of the files that the present snapshot consists of, and nothing older: no former metadata file."""
    found, snapshot = {opened.metadata_location}, opened.current_snapshot()
    if snapshot is not None:
        found.add(snapshot.manifest_list)
        for manifest in snapshot.manifests(opened.io):
            found.add(manifest.manifest_path)
            found.update(entry.data_file.file_path for entry in manifest.fetch_manifest_entry(opened.io))
    return found


def of_former(opened: Table) -> list[str]:
    """URIs of what snapshots consisted of that the table's former metadata files, while they are there, name.

    In the order in which they may be removed: rows, then what names them, the metadata files last. So whoever is
    killed between, and asks again, is told of all that is left.
    """
    former = [entry.metadata_file for entry in opened.metadata.metadata_log]
    lists: dict[str, list[ManifestFile]] = {}
    for uri in former:
        try:
            snapshots: list[Snapshot] = FromInputFile.table_metadata(opened.io.new_input(uri)).snapshots
        except NotFound:  # removed already
            continue
        for snapshot in snapshots:
            if snapshot.manifest_list not in lists:
                lists[snapshot.manifest_list] = []
                with contextlib.suppress(NotFound):
                    lists[snapshot.manifest_list] = snapshot.manifests(opened.io)
    manifests = {one.manifest_path: one for own in lists.values() for one in own}
    rows: dict[str, None] = {}
    for manifest in manifests.values():
        with contextlib.suppress(NotFound):
            entries = manifest.fetch_manifest_entry(opened.io, False)
            rows |= dict.fromkeys(entry.data_file.file_path for entry in entries)
    return [*rows, *manifests, *lists, *former]


def in_use(opened: Table) -> set[str]:
    """URIs of every file that the table, or a snapshot it remembers, consists of."""
    found = {opened.metadata_location, *(entry.metadata_file for entry in opened.metadata.metadata_log)}
    for snapshot in opened.snapshots():
        found.add(snapshot.manifest_list)
        for manifest in snapshot.manifests(opened.io):
            if manifest.manifest_path not in found:
                found.add(manifest.manifest_path)
                found.update(entry.data_file.file_path for entry in manifest.fetch_manifest_entry(opened.io, False))
    return found


def _names_are_stable(table: Table) -> bool:
    """Whether a column's name has always meant the same column, so that old files can be read by name."""
    ids: dict[str, int] = {}
    names: dict[int, str] = {}
    return all(
        ids.setdefault(field.name, field.field_id) == field.field_id
        and names.setdefault(field.field_id, field.name) == field.name
        for schema in table.metadata.schemas
        for field in schema.fields
    )
