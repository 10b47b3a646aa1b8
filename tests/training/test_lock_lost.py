"""A training whose lock went: its worker is ended, and the next holder goes on from its checkpoint."""

from __future__ import annotations

import threading
import time
import uuid
from pathlib import Path

import psutil
import pytest
from pydantic import SecretStr

from tasks.config import Line, LocksSettings
from tasks.errors import LockLost
from tasks.kind import Event
from tasks.kinds import kind_of
from tasks.lake import Lake, open_lake
from tasks.lake.locks import holders
from tasks.training import supervise
from tasks.training.train import train_unregistered
from tests.postgres import PostgresServer
from tests.training.conftest import write_dataset
from tests.waiting import until

DETECTION = kind_of("detection")
VERSION = "f" * 64


def workers() -> list[psutil.Process]:
    return [each for each in psutil.Process().children() if "tasks.training.worker" in each.cmdline()]


def test_a_worker_ends_with_its_lock_and_the_next_goes_on(
    lake: Lake, line: Line, postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = postgres.database(f"test-{uuid.uuid4().hex[:12]}")
    locks = LocksSettings(uri=SecretStr(uri), grace_s=0)
    many = open_lake(lake.settings.model_copy(update={"locks": locks}))
    data = write_dataset(tmp_path / "data", val=False)
    real, heard = supervise.events, list[Event]()

    def events(job, log):  # type: ignore[no-untyped-def]
        for event in real(job, log):
            yield event
            heard.append(event)
            if event["event"] == "checkpoint" and len([one for one in heard if one["event"] == "checkpoint"]) == 1:
                (worker,) = workers()
                worker.suspend()  # it is busy with its next epoch, and reports nothing
                cut.set()

    def cut_off() -> None:
        cut.wait(120)
        postgres.ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE '%: train-%'")

    cut = threading.Event()
    threading.Thread(target=cut_off, daemon=True).start()
    monkeypatch.setattr(supervise, "events", events)
    with pytest.raises(LockLost, match="'train-"):
        train_unregistered(many, line, DETECTION, VERSION, data, False, progress=lambda _: None)
    assert until(lambda: not workers(), 5), "its worker goes on"
    began = time.monotonic()
    trained = train_unregistered(many, line, DETECTION, VERSION, data, False, progress=lambda _: None)
    assert (trained.resumed_from_epoch, trained.epochs) == (1, 4)
    assert holders(many.settings) == [] and time.monotonic() - began < 300
