"""Upkeep of tables: nothing that somebody wrote or named is lost, whoever else writes and whoever dies."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tasks.errors import DataError
from tasks.lake import Lake, iceberg_writes, open_lake
from tasks.lake.gc import GRACE, collect
from tasks.lake.upkeep import TableUpkeep, maintain
from tasks.schemas import now
from tests.lake.nouns import frame
from tests.lake.test_datasets import LINE, rows

LATER = timedelta(days=31)


def indices(lake: Lake) -> list[int]:
    return lake.tables.scan("frames", columns=["frame_index"]).column(0).to_pylist()


def of_frames(done: list[TableUpkeep]) -> TableUpkeep:
    return next(one for one in done if one.table == "frames")


def filled(lake: Lake) -> list[int]:
    """Four appends. Returns the snapshots, oldest first; a dataset version names the second."""
    snapshots = []
    for number in range(4):
        lake.tables.append("frames", [frame(number)])
        snapshots.append(lake.tables.snapshot_id("frames") or 0)
    about = {"validation": {"snapshots": {"frames": snapshots[1], "annotations": None}}}
    lake.datasets.save(LINE, rows([1]), about)
    return snapshots


def remembered(lake: Lake) -> list[int]:
    found = lake.tables._iceberg.find("frames")
    assert found is not None
    return sorted(snapshot.snapshot_id for snapshot in found.snapshots())


def test_a_dry_run_changes_nothing(lake: Lake) -> None:
    snapshots = filled(lake)
    before = {info.key for info in lake.store.list()}
    assert of_frames(list(maintain(lake, at=now() + LATER))) == TableUpkeep(
        "frames", 4, sum(info.size_bytes for info in lake.store.list("tables/") if info.key.endswith(".parquet")), 2, 2
    )
    assert {info.key for info in lake.store.list()} == before and remembered(lake) == sorted(snapshots)


def test_a_snapshot_that_a_dataset_names_stays_readable(lake: Lake) -> None:
    snapshots = filled(lake)
    done = of_frames(list(maintain(lake, dry_run=False, at=now() + LATER)))
    assert (done.merged, done.forgotten, done.kept) == (4, 3, 2)
    assert collect(lake, at=now() + GRACE + timedelta(minutes=1), dry_run=False).table_files
    assert remembered(lake) == sorted([snapshots[1], lake.tables.snapshot_id("frames") or 0])
    found = open_lake(lake.settings).tables._iceberg.find("frames")
    assert found is not None
    assert sorted(found.scan(snapshot_id=snapshots[1]).to_arrow().column("frame_index").to_pylist()) == [0, 1]
    assert indices(lake) == [0, 1, 2, 3]
    again = of_frames(list(maintain(lake, dry_run=False, at=now() + LATER)))
    assert (again.merged, again.forgotten, again.kept) == (0, 0, 2)


def test_young_snapshots_are_kept_counted_from_when_they_were_superseded(lake: Lake) -> None:
    snapshots = filled(lake)
    assert of_frames(list(maintain(lake, dry_run=False))).forgotten == 0
    assert set(snapshots) < set(remembered(lake))
    # Made long ago, superseded just now: a night that is at work may still be about to name it.
    found = lake.tables._iceberg.find("frames")
    assert found is not None
    newest = max(snapshot.timestamp_ms for snapshot in found.snapshots())
    lake.tables.append("frames", [frame(9)])
    before = type(now()).fromtimestamp((newest + 1) / 1000, now().tzinfo)
    assert lake.tables.expire("frames", before, ())[1] == 2


def test_a_record_that_cannot_be_read_may_name_anything(lake: Lake) -> None:
    snapshots = filled(lake)
    lake.store.put_bytes(f"datasets/{LINE}/{'0' * 64}/about.json", b'{"validation": {"snapsh')
    with pytest.raises(DataError, match=r"about.json: cannot be read.*no snapshot was forgotten"):
        list(maintain(lake, dry_run=False, at=now() + LATER))
    assert remembered(lake) == sorted(snapshots)


def test_rows_that_others_append_during_a_compaction_are_kept(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        lake.tables.append("frames", [frame(number)])
    other, write, written = open_lake(lake.settings), iceberg_writes.data_files, []

    def slowly(*args):
        files = write(*args)
        if not written:  # the compaction's; the append below writes, too
            written.append(files)
            theirs = other.tables._iceberg
            theirs.append("frames", other.tables.scan("frames").slice(0, 1), onto=theirs.find("frames"))
        return files

    with monkeypatch.context() as busy:
        busy.setattr(iceberg_writes, "data_files", slowly)
        assert lake.tables.compact("frames")[0] == 3
    assert indices(lake) == [0, 1, 2, 0]
    assert len(lake.tables.planned("frames") or ()) == 2


def test_files_that_others_compact_or_erase_meanwhile_are_left_to_them(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        lake.tables.append("frames", [frame(number)])
    other, write = open_lake(lake.settings), iceberg_writes.data_files

    def overtaken(*args):
        monkeypatch.setattr(iceberg_writes, "data_files", write)
        files = write(*args)
        theirs = other.tables._iceberg
        found = theirs.find("frames")
        assert found is not None
        theirs.rewrite("frames", other.tables.scan("frames").slice(1), onto=found.metadata_location)
        return files

    monkeypatch.setattr(iceberg_writes, "data_files", overtaken)
    assert lake.tables.compact("frames") == (0, 0)
    assert indices(lake) == [1, 2], "what was erased did not come back"


def test_killed_before_its_commit_a_compaction_leaves_the_table_and_loose_files(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        lake.tables.append("frames", [frame(number)])
    before = lake.tables.snapshot_id("frames")
    with monkeypatch.context() as then:
        then.setattr(iceberg_writes, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            lake.tables.compact("frames")
    assert lake.tables.snapshot_id("frames") == before and indices(lake) == [0, 1, 2]
    loose = collect(lake, at=now() + GRACE + timedelta(minutes=1), dry_run=False).table_files
    assert len(loose) == 1 and loose[0].endswith(".parquet")
    assert collect(lake, at=now(), dry_run=False).table_files == ()
    assert lake.tables.compact("frames")[0] == 3 and indices(lake) == [0, 1, 2]
