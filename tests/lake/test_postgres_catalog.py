"""The Iceberg catalog on a real PostgreSQL: writers on several hosts, rights, and a server that goes and comes back."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.config import Settings
from tasks.errors import ConfigError, StorageUnavailable
from tasks.lake import Lake, open_lake
from tasks.schemas import Frame
from tests.lake.nouns import frame
from tests.lake.test_catalog import over_postgres
from tests.lake.test_tables import spawn
from tests.postgres import PostgresServer, postgres_server


@pytest.fixture
def uri(postgres: PostgresServer) -> str:
    return postgres.database(uuid.uuid4().hex)


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """One that a test may stop."""
    with postgres_server() as server:
        yield server


def on_host(settings: Settings, folder: Path) -> Settings:
    """As another host has it: a state folder, and so locks and caches, of its own."""
    return settings.model_copy(update={"state_dir": folder})


def test_three_hosts_append_and_compact_at_once(settings: Settings, uri: str, tmp_path: Path) -> None:
    """Nobody shares a lock: only the catalog keeps commits apart. Everything is there, and each key once."""
    open_lake(settings).store.ensure_bucket()
    hosts = [on_host(settings, tmp_path / name) for name in ("one", "two", "three")]
    script = """
        from tests.lake.test_catalog import over_postgres
        lake = open_lake(over_postgres(lake.settings, URI))
        for number in range(4):
            rows = [frame(START + number), frame(1000 + number)]
            lake.tables.append("frames", rows, key=("line", "frame_index"))
            if START == 300 and number in (1, 3):
                lake.tables.compact("frames")
    """
    writers = [
        spawn(host, script.replace("START", str(start)).replace("URI", repr(uri)))
        for host, start in zip(hosts, (100, 200, 300), strict=True)
    ]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    lake = open_lake(over_postgres(on_host(settings, tmp_path / "four"), uri))
    wanted = [start + number for start in (100, 200, 300, 1000) for number in range(4)]
    assert sorted(row.frame_index for row in lake.tables.rows("frames", Frame)) == wanted
    lake.tables.compact("frames")
    assert sorted(row.frame_index for row in lake.tables.rows("frames", Frame)) == wanted
    assert len(lake.tables.planned("frames") or ()) == 1


def test_a_role_that_may_only_read_and_one_that_may_nothing(
    settings: Settings, lake: Lake, postgres: PostgresServer, uri: str
) -> None:
    open_lake(over_postgres(settings, uri)).tables.append("frames", [frame(1)])
    name, password = f"reader_{uuid.uuid4().hex[:8]}", "a-password-of-the-reader"
    postgres.ask(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'")
    theirs = uri.replace(uri.split("//")[1].split("@")[0], f"{name}:{password}")
    with pytest.raises(ConfigError, match=r"refuses it.*permission denied") as refused:
        open_lake(over_postgres(settings, theirs)).tables.scan("frames")
    assert password not in str(refused.value)
    _ask(uri, f"GRANT SELECT ON iceberg_tables, iceberg_namespace_properties TO {name}")
    reader = open_lake(over_postgres(settings, theirs))
    assert reader.tables.rows("frames", Frame) == [frame(1)]
    with pytest.raises(ConfigError, match=r"appending to table frames.*permission denied"):
        reader.tables.append("frames", [frame(2)])
    with pytest.raises(ConfigError, match="password authentication failed") as wrong:
        open_lake(over_postgres(settings, theirs.replace(password, "wrong"))).tables.scan("frames")
    assert "wrong" not in str(wrong.value).replace("went wrong", "")


def _ask(uri: str, query: str) -> None:
    import psycopg2

    with psycopg2.connect(uri) as connection, connection.cursor() as cursor:
        cursor.execute(query)
    connection.close()


def test_a_server_that_went_is_unavailable_and_then_the_same_lake_goes_on(
    settings: Settings, lake: Lake, own_server: PostgresServer
) -> None:
    kept = open_lake(over_postgres(settings, own_server.uri))
    kept.tables.append("frames", [frame(1)])
    own_server.stop("immediate")
    with pytest.raises(StorageUnavailable, match=r"reading table frames.*did not answer properly"):
        kept.tables.append("frames", [frame(2)])
    own_server.start()
    assert kept.tables.append("frames", [frame(2)], key=("line", "frame_index")) == 1
    assert open_lake(kept.settings).tables.rows("frames", Frame) == [frame(1), frame(2)]
