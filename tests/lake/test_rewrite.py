"""Rows that go for good: no snapshot, no file and no cache of the table holds them any more."""

from __future__ import annotations

from datetime import timedelta

import pyarrow.compute as pc
import pytest
from pydantic import create_model

from tasks.lake import Lake, ObjectStore
from tasks.lake.table_schemas import TABLES, columns_of
from tasks.lake.tables import FILES
from tasks.schemas import Landing, now


def _landing(key: str) -> Landing:
    return Landing(
        key=key, etag="e", size_bytes=1, modified_at=now(), recording_id=None, outcome="quarantined", seen_at=now()
    )


def _without(word: str):
    return lambda rows: rows.filter(pc.invert(pc.match_substring(rows.column("key"), word)))


def _bytes_of(lake: Lake) -> bytes:
    stored = b"".join(lake.store.get_bytes(info.key) for info in lake.store.list())
    return stored + b"".join(path.read_bytes() for path in lake.settings.state_dir.rglob("*") if path.is_file())


def test_no_snapshot_and_no_file_holds_what_was_left_out(lake: Lake) -> None:
    for number in range(5):
        lake.tables.append("landings", [_landing(f"keep-{number}"), _landing(f"gone-{number}")])
    lake.tables.scan("landings")
    assert b"gone-3" in _bytes_of(lake)
    assert lake.tables.rewrite("landings", _without("gone")) == 5
    assert lake.tables.scan("landings").column("key").to_pylist() == [f"keep-{n}" for n in range(5)]
    assert b"gone-" not in _bytes_of(lake)
    lake.tables.append("landings", [_landing("new")])  # and goes on as before
    assert lake.tables.scan("landings").num_rows == 6
    assert lake.tables.rewrite("landings", _without("gone")) == 0
    assert lake.tables.files_in_use("landings")


def test_a_table_that_loses_all_its_rows_is_an_empty_table(lake: Lake) -> None:
    lake.tables.append("landings", [_landing("gone")])
    lake.tables.rewrite("landings", _without("gone"))
    assert lake.tables.scan("landings").num_rows == 0
    assert b"gone" not in _bytes_of(lake)
    lake.tables.append("landings", [_landing("new")], key="key")
    assert lake.tables.scan("landings").column("key").to_pylist() == ["new"]


def test_killed_between_commit_and_sweep_it_is_finished_by_the_next_call(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.tables.append("landings", [_landing("gone"), _landing("keep")])
    with monkeypatch.context() as patch:
        patch.setattr(type(lake.tables), "_sweep", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            lake.tables.rewrite("landings", _without("gone"))
    assert b"gone" in _bytes_of(lake)
    lake.tables.rewrite("landings", _without("gone"))
    assert b"gone" not in _bytes_of(lake)
    assert lake.tables.scan("landings").column("key").to_pylist() == ["keep"]


def test_a_table_of_before_its_noun_gained_columns_is_rewritten_too(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = create_model(
        "Older", **{name: (f.annotation, f) for name, f in Landing.model_fields.items() if name != "etag"}
    )
    with monkeypatch.context() as patch:
        patch.setitem(TABLES, "landings", older)
        rows = [_landing("gone"), _landing("keep")]
        lake.tables.append("landings", [older(**one.model_dump(exclude={"etag"})) for one in rows])
    assert "etag" in columns_of(Landing) and lake.tables.scan("landings").column("etag").to_pylist() == [None, None]
    assert lake.tables.rewrite("landings", _without("gone")) == 1
    assert lake.tables.scan("landings").column("key").to_pylist() == ["keep"]
    assert b"gone" not in _bytes_of(lake)


def test_files_of_a_commit_in_flight_stay_and_old_orphans_go(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.tables.append("landings", [_landing("gone"), _landing("keep")])
    (file,) = [i.key for i in lake.store.list(f"{FILES}landings/") if i.key.endswith(".parquet")]
    flying = f"{file.rpartition('/')[0]}/00000-0-of-another-machine.parquet"
    lake.store.put_bytes(flying, b"rows that will be committed")
    lake.tables.rewrite("landings", _without("gone"))
    assert lake.store.head(flying) and not lake.store.head(file) and b"gone" not in _bytes_of(lake)
    monkeypatch.setattr("tasks.lake.tables._IN_FLIGHT", timedelta(seconds=-5))  # an hour later
    lake.tables.rewrite("landings", _without("gone"))
    assert not lake.store.head(flying)
    assert lake.tables.scan("landings").column("key").to_pylist() == ["keep"]


def test_killed_at_any_removal_of_the_sweep_the_next_call_finds_the_rest(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        lake.tables.append("landings", [_landing(f"gone-{number}"), _landing(f"keep-{number}")])
    remove, kills = type(lake.store).remove, []

    def dying(store: ObjectStore, key: str) -> None:
        remove(store, key)
        kills.append(key)
        raise KeyboardInterrupt

    while True:
        with monkeypatch.context() as patch:
            patch.setattr(type(lake.store), "remove", dying)
            try:
                lake.tables.rewrite("landings", _without("gone"))
                break
            except KeyboardInterrupt:
                continue
    assert len(kills) > 6 and len(kills) == len(set(kills))
    assert b"gone-" not in _bytes_of(lake)
    assert sorted(lake.tables.scan("landings").column("key").to_pylist()) == ["keep-0", "keep-1", "keep-2"]
