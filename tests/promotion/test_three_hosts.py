"""Promotions and rollbacks from three machines at once: one order, each once, whatever ends in the middle."""

from __future__ import annotations

import itertools
import random
import time
import uuid
from pathlib import Path

from tasks import evidence, steps
from tasks.config import Settings
from tasks.evidence import chain
from tasks.lake import open_lake
from tasks.registry import open_registry
from tasks.schemas import NightState
from tasks.session import open_session
from tests.hosts import Process, host, run_on
from tests.postgres import PostgresServer
from tests.promotion.promoting import Scene

EACH = 2

WORK = """
    import time
    from tasks import operations
    from tasks.errors import DataError, TransportError
    from tasks.session import open_session

    def until_done(do):  # as Airflow tries again
        for _ in range(40):
            try:
                return do()
            except TransportError as error:
                print("again:", type(error).__name__, flush=True)
                time.sleep(0.1)
        raise SystemExit("never done")

    session = open_session(settings)
    for number in range({each}):
        key = f"{me}-{{number}}"
        version = str(1 + (number + {turn}) % 3)
        try:
            if version == "1":
                until_done(lambda: operations.roll_back(session, {line!r}, "1", by="ben", key=key))
            else:
                until_done(lambda: operations.promote_version(
                    session, {line!r}, version, by="ana", note="a race", override=True, key=key))
        except DataError as error:
            assert "in charge already" in str(error), error
            print("refused", key, flush=True)
        else:
            print("did", key, flush=True)
    session.close()
"""


def made_on(settings: Settings, line: str, folder: Path) -> Scene:
    scene = Scene(line, open_lake(settings), open_registry(settings), folder)
    scene.configure()
    first = scene.version().version
    with open_session(settings) as session:
        steps.promote_model(session, line, {}, scene.verdict(first, None))
    assert [scene.version().version for _ in range(2)] == ["2", "3"]
    return scene


def in_order(scene: Scene, keys: set[str]) -> None:
    """One chain without a gap, each request in it once, and each change begins where the one before ended."""
    links = evidence.entries(scene.lake, scene.name)
    assert [link.number for link in links] == list(range(1, len(links) + 1))
    bundles = [chain.load(scene.lake, link.bundle_oid) for link in links]
    assert sorted(bundle.key for bundle in bundles[1:]) == sorted(keys), "something is missing, or there twice"
    for before, after in itertools.pairwise(bundles):
        # Challengers are the trainings' affair: the scene registers two after its first night.
        found = (after.before.champion, after.before.previous)
        assert found == (before.after.champion, before.after.previous) and after.previous is not None
    assert scene.registry.aliases(scene.name) == bundles[-1].after
    scene.champion()  # nothing is left half done


def test_one_order_from_three_machines(with_registry: Settings, postgres: PostgresServer, tmp_path: Path) -> None:
    """One machine's process is killed in the middle, then all sessions at the database are ended under the others."""
    uri = postgres.database(f"test-{uuid.uuid4().hex[:12]}")
    shared = with_registry.model_copy(update={"lines_dir": tmp_path})
    hosts = [host(shared, uri, tmp_path / name) for name in ("one", "two", "three")]
    line = f"line-{uuid.uuid4().hex[:8]}"
    scene = made_on(hosts[0], line, tmp_path)

    def started(turn: int) -> Process:
        return run_on(hosts[turn], WORK.format(each=EACH, me=f"host{turn}", turn=turn, line=line))

    running = [started(turn) for turn in range(3)]
    said = [running[0].line()]
    time.sleep(random.Random(7).uniform(0, 0.8))
    running[0].kill()
    postgres.ask(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name LIKE 'nightscope%%'"
        " AND datname = %s", uri.rpartition("/")[2],
    )  # fmt: skip
    running[0] = started(0)  # its machine's next try: the same requests
    said += [one for process in running for one in process.rest(timeout_s=400).splitlines()]
    assert not [one for one in said if not one.startswith(("did", "refused", "again"))], said
    in_order(scene, {one.split()[1] for one in said if one.startswith("did")})
    with open_session(hosts[1]) as session:
        found = evidence.verify(session.lake, session.registry, line)
        # The scene's verdict is made by hand; all else is as verified in a night: chain, seals, signatures, aliases.
        assert [one for one in found.findings if "verdict" not in one.thing] == [], found
        assert evidence.entries(session.lake, line)[0].outcome is NightState.PROMOTED
