"""Tables and documents written from three machines at once: nothing lost, nothing twice, whoever dies in the middle."""

from __future__ import annotations

import time
import uuid
from pathlib import Path

from tasks.config import Settings
from tasks.lake import open_lake
from tasks.schemas import Frame
from tests.hosts import host, run_on
from tests.lake.nouns import frame
from tests.postgres import PostgresServer

EACH = 8

APPEND = """
    from tasks.errors import TransportError
    from tasks.lake.conditional import look, put_as_seen
    from tasks.lake.locks import lake_lock

    def add(number):  # a document that every machine reads, changes and writes
        with lake_lock(settings, "list"):
            seen = look(lake, "list.json")
            known = lake.store.get_json("list.json") or []
            if number not in known:
                put_as_seen(lake, "list.json", repr([*known, number]).encode(), "application/json", seen)

    for number in range({first}, {first} + {each}):
        while True:
            try:
                lake.tables.append("frames", [frame(number), frame(1000 + number % 4)], key=("line", "frame_index"))
                add(number)
                break
            except TransportError as error:
                print("again", type(error).__name__, flush=True)
        print("did", number, flush=True)
"""


def test_nothing_is_lost_and_nothing_is_there_twice(
    settings: Settings, postgres: PostgresServer, tmp_path: Path
) -> None:
    """The machines' rows and requests overlap; one process is killed, and sessions are ended twice."""
    uri = postgres.database(f"test-{uuid.uuid4().hex[:12]}")
    hosts = [host(settings, uri, tmp_path / name) for name in ("one", "two", "three")]
    open_lake(hosts[0]).store.ensure_bucket()
    scripts = [APPEND.format(first=turn * EACH // 2, each=EACH) for turn in range(3)]
    running = [run_on(own, script) for own, script in zip(hosts, scripts, strict=True)]
    assert running[0].line().startswith(("did", "again"))
    running[0].kill()
    running[0] = run_on(hosts[0], scripts[0])
    for _ in range(2):
        postgres.ask(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", uri.rpartition("/")[2]
        )
        time.sleep(1.5)
    for process in running:
        process.rest(timeout_s=300)
    rows = open_lake(hosts[2]).tables.rows("frames", Frame)
    wanted = [*range(2 * EACH), *range(1000, 1004)]
    assert sorted(row.frame_index for row in rows) == wanted
    assert sorted(rows, key=lambda row: row.frame_index) == [frame(number) for number in wanted]
    assert sorted(open_lake(hosts[1]).store.get_json("list.json")) == list(range(2 * EACH))
