"""Locks of an installation with many machines: advisory locks in a real PostgreSQL, and what their loss forbids."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from tasks.config import LocksSettings, Settings
from tasks.errors import ConfigError, LockLost, StorageUnavailable
from tasks.lake import Lake, open_lake
from tasks.lake.fences import on_loss, require_held
from tasks.lake.lock_database import same_database
from tasks.lake.lock_sessions import _Session, full_name, number_of
from tasks.lake.locks import at_work, holders, lake_lock, machine_lock
from tasks.schemas import Frame
from tests.hosts import host, proxied, run_on
from tests.lake.nouns import frame
from tests.postgres import PostgresServer
from tests.waiting import until

HOLD = """
    import time
    from tasks.lake.locks import lake_lock
    with lake_lock(settings, "promote-a"):
        print("held", flush=True)
        time.sleep(600)
"""


@pytest.fixture
def uri(postgres: PostgresServer) -> str:
    """An empty database."""
    return postgres.database(f"test-{uuid.uuid4().hex[:12]}")


@pytest.fixture
def hosts(settings: Settings, uri: str, tmp_path: Path) -> tuple[Settings, Settings]:
    """Two machines."""
    return host(settings, uri, tmp_path / "one"), host(settings, uri, tmp_path / "two")


@pytest.fixture
def here(hosts: tuple[Settings, Settings]) -> Iterator[Lake]:
    """The lake, as the first machine has it."""
    lake = open_lake(hosts[0])
    lake.store.ensure_bucket()
    yield lake
    lake.close()


def end_sessions(server: PostgresServer) -> None:
    """As an administrator or a restart does: every session that holds a lock of ours."""
    server.ask("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name LIKE 'nightscope%'")


def test_the_holder_is_named_on_another_machine_and_others_wait(hosts: tuple[Settings, Settings]) -> None:
    one, two = hosts
    holder = run_on(one, HOLD)
    assert holder.line() == "held"
    began = time.monotonic()
    with (
        pytest.raises(StorageUnavailable, match=f"'promote-a' is held by process {holder.pid} on "),
        lake_lock(two, "promote-a", timeout_s=1),
    ):
        pass
    assert 0.9 < time.monotonic() - began < 20
    with lake_lock(two, "promote-b", timeout_s=0):  # other names do not wait
        assert [(one.lock, one.pid) for one in holders(two)] == [("promote-a", holder.pid), ("promote-b", os.getpid())]
    holder.kill()
    with lake_lock(two, "promote-a", timeout_s=10):
        pass
    assert holders(two) == []


def test_one_waits_and_is_next(hosts: tuple[Settings, Settings]) -> None:
    one, two = hosts
    waits = """
        from tasks.lake.locks import lake_lock
        print("waits", flush=True)
        with lake_lock(settings, "promote-a"):
            print("held")
    """
    with lake_lock(one, "promote-a"):
        waiter = run_on(two, waits)
        assert waiter.line() == "waits"
        time.sleep(3)  # longer than one wait at the database
        assert waiter.process.poll() is None
    assert waiter.rest() == "held"


def test_what_is_held_stands_in_pg_stat_activity(hosts: tuple[Settings, Settings], postgres: PostgresServer) -> None:
    with lake_lock(hosts[0], "promote-a"), lake_lock(hosts[0], "evidence-a"):
        (found,) = postgres.ask(
            "SELECT application_name FROM pg_stat_activity WHERE application_name LIKE 'nightscope%'"
        )
        assert found[0].endswith(f"{os.getpid()}: promote-a, evidence-a")
    gone = "SELECT 1 FROM pg_stat_activity WHERE application_name LIKE 'nightscope%'"
    until(lambda: not postgres.ask(gone), 10)  # the server hears of it a moment later


def test_two_machines_in_one_process_are_two(hosts: tuple[Settings, Settings]) -> None:
    """PostgreSQL grants a session what it has; so a session is never shared by two machines."""
    one, two = hosts
    with lake_lock(one, "a"), pytest.raises(StorageUnavailable, match="'a' is held"), lake_lock(two, "a", timeout_s=0):
        pass


def test_locks_of_a_machine_ask_nobody(hosts: tuple[Settings, Settings]) -> None:
    one, two = hosts
    with machine_lock(one, "materialise-1"), machine_lock(two, "materialise-1", timeout_s=0):
        assert holders(one) == [] and at_work(one) == at_work(two) == ["materialise-1"]
    with lake_lock(one, "train-1"):
        assert (at_work(one), at_work(two)) == (["train-1"], []), "its scratch lies on one machine"


def test_a_holder_that_was_cut_off_writes_no_more(here: Lake, postgres: PostgresServer) -> None:
    """Neither documents nor rows; what is named by its content may be written, for it decides nothing."""
    here.tables.append("frames", [frame(0)])
    with pytest.raises(LockLost, match="'promote-a': lost while at work"), lake_lock(here.settings, "promote-a"):
        here.store.put_bytes("a.json", b"1")
        end_sessions(postgres)
        here.blobs.put_bytes(b"a picture")
        for write in (
            lambda: here.store.put_bytes("a.json", b"2"),
            lambda: here.store.remove("a.json"),
            lambda: here.tables.append("frames", [frame(1)]),
            lambda: here.tables.rewrite("frames", lambda rows: rows.slice(1)),
        ):
            with pytest.raises(LockLost, match="run this again"):
                write()
    assert here.store.get_bytes("a.json") == b"1" and here.tables.rows("frames", Frame) == [frame(0)]
    with lake_lock(here.settings, "promote-a"):  # run again
        here.store.put_bytes("a.json", b"2")
        here.tables.append("frames", [frame(1)])
    assert here.tables.rows("frames", Frame) == [frame(0), frame(1)]


def test_a_block_whose_lock_went_does_not_end_well(hosts: tuple[Settings, Settings], postgres: PostgresServer) -> None:
    with pytest.raises(LockLost), lake_lock(hosts[0], "a"):
        end_sessions(postgres)
    with lake_lock(hosts[0], "a", fenced=False):  # a courtesy, or only reading
        end_sessions(postgres)
        require_held()
    with pytest.raises(KeyError), lake_lock(hosts[0], "a"):
        end_sessions(postgres)
        raise KeyError  # what went wrong is told, not what came of it


def test_a_stale_token_is_refused_in_the_transaction(
    here: Lake, hosts: tuple[Settings, Settings], postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A holder that was stopped after its last look, and goes on when another has had its turn."""
    here.tables.append("frames", [frame(0)])
    with pytest.raises(LockLost), lake_lock(here.settings, "ingest"), monkeypatch.context() as stopped:
        stopped.setattr(_Session, "lost", lambda self: "")
        here.tables.append("frames", [frame(1)])
        end_sessions(postgres)
        here.tables.append("frames", [frame(2)])  # nobody has had a turn since: it harms nobody
        run_on(hosts[1], 'from tasks.lake.locks import lake_lock\nwith lake_lock(settings, "ingest"): pass').rest()
        with pytest.raises(LockLost, match="another has had its turn"):
            here.tables.append("frames", [frame(3)])
    assert here.tables.rows("frames", Frame) == [frame(number) for number in range(3)]


def test_tokens_grow(hosts: tuple[Settings, Settings], postgres: PostgresServer, uri: str) -> None:
    server = PostgresServer(postgres.folder, postgres.port, uri)
    found = []
    for settings in (*hosts, *hosts):
        with lake_lock(settings, "a"):
            found += server.ask("SELECT token, name FROM nightscope_fences")
    assert found == sorted(set(found)) and {name for _, name in found} == {full_name(hosts[0], "a")}
    server.ask("UPDATE nightscope_fences SET token = token + 10::bigint ^ 15")  # another server's clock was ahead
    (ahead,) = server.ask("SELECT token FROM nightscope_fences")
    with lake_lock(hosts[0], "a"):
        assert server.ask("SELECT token FROM nightscope_fences") == [(ahead[0] + 1,)]


def test_a_lock_rests_after_a_holder_of_another_machine_that_was_cut_off(
    hosts: tuple[Settings, Settings], postgres: PostgresServer, uri: str
) -> None:
    """Not after one that gave it back, nor after a process of this machine that is gone."""
    server = PostgresServer(postgres.folder, postgres.port, uri)

    def waited_s() -> float:
        began = time.monotonic()
        with lake_lock(hosts[1], "promote-a"):
            return time.monotonic() - began

    patient = hosts[1].locks.grace_s
    holder = run_on(hosts[0], HOLD)
    assert holder.line() == "held"
    holder.kill()
    assert waited_s() < patient
    cut_off = "UPDATE nightscope_fences SET released_at = NULL, place = 'another machine', seen_at = clock_timestamp()"
    server.ask(cut_off)
    assert waited_s() >= patient
    assert waited_s() < patient
    server.ask(f"{cut_off} - interval '1 minute'")
    assert waited_s() < patient


def test_a_look_that_finds_a_lock_held_is_noted(
    hosts: tuple[Settings, Settings], postgres: PostgresServer, uri: str
) -> None:
    """So whoever comes next knows since when nothing can have been sent."""
    server = PostgresServer(postgres.folder, postgres.port, uri)
    seen = "SELECT extract(epoch FROM clock_timestamp() - seen_at) FROM nightscope_fences"
    with lake_lock(hosts[0], "a"):
        server.ask("UPDATE nightscope_fences SET seen_at = seen_at - interval '1 hour'")
        require_held()
        assert server.ask(seen)[0][0] < 60


def test_a_cut_cable(settings: Settings, postgres: PostgresServer, uri: str, tmp_path: Path) -> None:
    """Nobody is told; both sides find out: the holder ends its work first, then the lock is free for others."""
    two = host(settings, uri, tmp_path / "two")
    with proxied(postgres, uri.rpartition("/")[2]) as (proxy, through):
        one = host(settings, through, tmp_path / "one")
        ended = threading.Event()
        with pytest.raises(LockLost), lake_lock(one, "train-1"), on_loss(ended.set):
            proxy.cut()
            began = time.monotonic()
            assert ended.wait(20)
            assert [one.lock for one in holders(two)] in ([], ["train-1"])
            with pytest.raises(LockLost):
                require_held()
        # The proxy's own sockets answer the server's probes; a machine that is gone does not: so it is told here.
        end_sessions(postgres)
        with lake_lock(two, "train-1", timeout_s=30 - (time.monotonic() - began)):
            pass


def test_a_child_does_not_disturb_its_parents_lock(hosts: tuple[Settings, Settings]) -> None:
    script = """
        import os, sys
        from tasks.lake.fences import require_held
        from tasks.lake.locks import lake_lock
        with lake_lock(settings, "a"):
            if (child := os.fork()) == 0:
                require_held()  # it holds nothing
                with lake_lock(settings, "b"):
                    pass
                sys.exit(7)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            require_held()
        print(status)
    """
    assert run_on(hosts[0], script).rest() == "7"


def test_refusals_and_silence(settings: Settings, postgres: PostgresServer, uri: str, tmp_path: Path) -> None:
    wrong = host(settings, uri.replace("://nightscope:", "://nightscope:wrong"), tmp_path)
    with pytest.raises(ConfigError, match="NIGHTSCOPE_LOCKS__URI") as refused, lake_lock(wrong, "a"):
        pass
    assert uri.split(":")[2].split("@")[0] not in str(refused.value), "no password in a message"
    away = host(settings, uri.replace(f":{postgres.port}/", ":9/"), tmp_path)
    with pytest.raises(StorageUnavailable, match=r"127\.0\.0\.1:9"), lake_lock(away, "a"):
        pass
    postgres.ask("CREATE ROLE guest LOGIN PASSWORD 'guest'")
    guest = host(settings, f"postgresql://guest:guest@{uri.rpartition('@')[2]}", tmp_path)
    with pytest.raises(ConfigError, match="may make tables"), lake_lock(guest, "a"):
        pass
    with pytest.raises(ValidationError, match="PostgreSQL"):
        LocksSettings(uri=SecretStr("redis://localhost"))


def test_one_machine_needs_no_database(settings: Settings, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tasks.config import Settings; from tasks.lake.locks import *\n"
        f"settings = Settings(state_dir=Path({str(tmp_path)!r}))\n"
        "with lake_lock(settings, 'a') as path: assert path.is_file()\n"
        "assert not holders(settings) and 'psycopg2' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_numbers_and_databases() -> None:
    assert number_of("lake/promote-a") == number_of("lake/promote-a") != number_of("lake2/promote-a")
    assert len({number_of(f"lake/train-{number}") for number in range(10_000)}) == 10_000
    assert all(-(2**63) <= number_of(str(number)) < 2**63 for number in range(100))
    here = "postgresql://ana:secret@db/nightscope"
    assert same_database(here, "postgresql+psycopg2://ana:other@db:5432/nightscope?sslmode=require")
    assert not same_database(here, "postgresql://ana:secret@db/other")
    assert not same_database(here, "postgresql://ben:secret@db/nightscope"), "another user may not see the tokens"
    assert not same_database(here, "sqlite:////var/catalog.db") and not same_database("", "")
