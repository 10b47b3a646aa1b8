"""Any catalog that PyIceberg knows: the same tables by an SQL catalog and by a REST one, and what refusals mean."""

from __future__ import annotations

import logging
import sqlite3
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from pydantic import SecretStr
from pyiceberg.table import Table as IcebergTable

from tasks.config import CatalogSettings, Settings, load_settings
from tasks.errors import ConfigError, StorageUnavailable
from tasks.lake import Lake, open_lake
from tasks.lake.catalog import described
from tasks.lake.gc import GRACE, collect
from tasks.schemas import Frame, now
from tasks.stack.ports import any_port
from tests.lake.nouns import frame
from tests.lake.rest_catalog import TOKEN, RestCatalog, rest_catalog

KEY = ("line", "frame_index")


def over_rest(settings: Settings, uri: str, token: str = TOKEN) -> Settings:
    chosen = CatalogSettings(type="rest", uri=SecretStr(uri), properties={"token": SecretStr(token)})
    return settings.model_copy(update={"catalog": chosen})


def over_postgres(settings: Settings, uri: str) -> Settings:
    return settings.model_copy(update={"catalog": CatalogSettings(uri=SecretStr(uri))})


@pytest.fixture
def served(settings: Settings, tmp_path: Path) -> Iterator[RestCatalog]:
    open_lake(settings).store.ensure_bucket()
    with rest_catalog(tmp_path / "rest", settings.s3) as catalog:
        yield catalog


@pytest.fixture(params=["sql", "postgres", "rest"])
def kept(request: pytest.FixtureRequest, settings: Settings) -> Lake:
    """An empty lake under each kind of catalog."""
    if request.param == "sql":
        return open_lake(settings)
    if request.param == "postgres":
        return open_lake(over_postgres(settings, request.getfixturevalue("postgres").database(uuid.uuid4().hex)))
    return open_lake(over_rest(settings, request.getfixturevalue("served").uri))


def test_rows_of_every_catalog(kept: Lake) -> None:
    assert kept.tables.scan("frames").num_rows == 0 and kept.tables.snapshot_id("frames") is None
    assert kept.tables.append("frames", [frame(1), frame(2), frame(1)], key=KEY) == 2
    other = open_lake(kept.settings)
    assert other.tables.append("frames", [frame(2), frame(3)], key=KEY) == 1
    assert kept.tables.rows("frames", Frame) == [frame(1), frame(2), frame(3)]
    assert kept.tables.snapshot_id("frames") == other.tables.snapshot_id("frames") is not None


def test_compaction_erasure_and_collection_under_every_catalog(kept: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.lake.tables.MAX_FILES", 3)
    for number in range(5):
        kept.tables.append("frames", [frame(number)], key=KEY)
    assert kept.tables.expire("frames", now() + timedelta(minutes=1), ())[1] == 1
    gone = collect(kept, at=now() + GRACE + timedelta(minutes=1), dry_run=False)
    assert any(key.endswith(".parquet") for key in gone.table_files)
    assert kept.tables.rows("frames", Frame) == [frame(number) for number in range(5)]
    assert kept.tables.rewrite("frames", lambda rows: rows.slice(1)) == 1
    assert open_lake(kept.settings).tables.rows("frames", Frame) == [frame(number) for number in range(1, 5)]
    assert {info.key.split("/")[1] for info in kept.store.list("tables/")} == {"nightscope"}


def test_an_overtaken_commit_is_tried_again(kept: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else commits between our look and our commit: both rows are there, and one with the same key once."""
    kept.tables.append("frames", [frame(0)], key=KEY)
    other = open_lake(kept.settings)
    iceberg = kept.tables._iceberg
    append, overtaken = iceberg.append, []

    def late(table: str, rows: pa.Table, *, onto: IcebergTable | None) -> int:
        if not overtaken:
            theirs = other.tables._iceberg
            overtaken.append(theirs.append("frames", rows.slice(0, 1), onto=theirs.find("frames")))
        return append(table, rows, onto=onto)

    monkeypatch.setattr(iceberg, "append", late)
    assert kept.tables.append("frames", [frame(1), frame(2)], key=KEY) == 1
    assert overtaken and kept.tables.rows("frames", Frame) == [frame(0), frame(1), frame(2)]


def test_a_night_with_nothing_new_asks_a_rest_catalog_once_a_table(settings: Settings, served: RestCatalog) -> None:
    lake = open_lake(over_rest(settings, served.uri))
    lake.tables.append("frames", [frame(1)], key=KEY)
    fresh = open_lake(lake.settings)
    assert fresh.tables.append("frames", [frame(1)], key=KEY) == 0
    served.asked.clear()
    assert fresh.tables.append("frames", [frame(1)], key=KEY) == 0
    assert served.asked == [("GET", "/v1/namespaces/nightscope/tables/frames")]


def test_an_append_loads_its_table_from_a_rest_catalog_once(settings: Settings, served: RestCatalog) -> None:
    lake = open_lake(over_rest(settings, served.uri))
    lake.tables.append("frames", [frame(1)], key=KEY)
    served.asked.clear()
    assert lake.tables.append("frames", [frame(1), frame(2)], key=KEY) == 1
    place = "/v1/namespaces/nightscope/tables/frames"
    assert served.asked == [("GET", place), ("POST", place)]
    assert lake.tables.rows("frames", Frame) == [frame(1), frame(2)]


def test_a_missing_privilege_is_never_an_empty_table(settings: Settings, served: RestCatalog) -> None:
    lake = open_lake(over_rest(settings, served.uri))
    lake.tables.append("frames", [frame(1)])
    served.forbidden = {("GET", "frames")}
    for ask in (
        lambda: lake.tables.scan("frames"), lambda: lake.tables.snapshot_id("frames"),
        lambda: lake.tables.append("frames", [frame(2)], key=KEY), lambda: collect(lake, dry_run=False),
        lambda: open_lake(lake.settings).tables.rows("frames", Frame),
    ):  # fmt: skip
        with pytest.raises(
            ConfigError, match=r"frames: Iceberg catalog 'nightscope' \(rest, http://127.*not yours"
        ) as e:
            ask()
        assert "grant the user or token" in str(e.value) and TOKEN not in str(e.value)
    served.forbidden = {("POST", "frames")}
    with pytest.raises(ConfigError, match=r"appending to table frames.*POST of frames is not yours"):
        lake.tables.append("frames", [frame(2)])
    assert lake.tables.rows("frames", Frame) == [frame(1)]


def test_a_wrong_token_a_dead_and_a_busy_catalog(settings: Settings, served: RestCatalog) -> None:
    with pytest.raises(ConfigError, match=r"connecting: .*who are you"):
        open_lake(over_rest(settings, served.uri, "wrong")).tables.scan("frames")
    with pytest.raises(StorageUnavailable, match=r"did not answer properly"):
        open_lake(over_rest(settings, f"http://127.0.0.1:{any_port()}")).tables.scan("frames")
    served.failing = {"frames"}
    with pytest.raises(StorageUnavailable, match=r"reading table frames.*not now"):
        open_lake(over_rest(settings, served.uri)).tables.scan("frames")


def test_sqlite_that_may_not_be_opened_or_written(lake: Lake, tmp_path: Path) -> None:
    lake.tables.append("frames", [frame(1)])
    with pytest.raises(ConfigError, match=r"connecting: Iceberg catalog 'nightscope'.*unable to open"):
        open_lake(lake.settings.model_copy(update={"catalog_uri": f"sqlite:///{tmp_path}"})).tables.scan("frames")
    file = lake.settings.state_dir / "catalog.db"
    read_only = f"sqlite:///file:{file}?mode=ro&uri=true"
    reader = open_lake(lake.settings.model_copy(update={"catalog_uri": read_only}))
    assert reader.tables.rows("frames", Frame) == [frame(1)]
    with pytest.raises(ConfigError, match=r"appending to table frames.*readonly"):
        reader.tables.append("frames", [frame(2)])


def test_a_catalog_whose_own_tables_cannot_be_read_is_not_empty(lake: Lake) -> None:
    """The database answers, but not this question: what a missing right on PyIceberg's table looks like."""
    lake.tables.append("frames", [frame(1)])
    with sqlite3.connect(lake.settings.state_dir / "catalog.db") as database:
        database.execute("ALTER TABLE iceberg_tables RENAME COLUMN metadata_location TO hidden")
    with pytest.raises(StorageUnavailable, match=r"reading table frames.*metadata_location"):
        open_lake(lake.settings).tables.scan("frames")


def test_settings_choose_the_catalog_and_say_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("NIGHTSCOPE_CATALOG__TYPE", "rest")
    monkeypatch.setenv("NIGHTSCOPE_CATALOG__URI", f"http://ana:hidden@127.0.0.1:{any_port()}/api")
    monkeypatch.setenv("NIGHTSCOPE_CATALOG__PROPERTIES", '{"token": "hidden", "warehouse": "lake"}')
    settings = load_settings(tmp_path)
    assert settings.catalog.type == "rest" and "127.0.0.1" in described(settings)
    with pytest.raises(StorageUnavailable) as error:
        open_lake(settings).tables.scan("frames")
    assert "hidden" not in f"{settings!r} {error.value} {caplog.text}"
    monkeypatch.setenv("NIGHTSCOPE_CATALOG__TYPE", "stone")
    with pytest.raises(ConfigError, match=r"catalog.type"):
        load_settings(tmp_path)


def test_a_catalog_without_what_it_needs_says_so(settings: Settings) -> None:
    lacking = settings.model_copy(update={"catalog": CatalogSettings(type="hive")})
    with pytest.raises(ConfigError, match=r"NIGHTSCOPE_CATALOG"):
        open_lake(lacking).tables.scan("frames")
