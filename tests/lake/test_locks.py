"""Locks between processes."""

from __future__ import annotations

import os

import pytest

from tasks.config import Settings
from tasks.errors import StorageUnavailable
from tasks.lake.locks import lake_lock
from tests.lake.test_tables import spawn


def test_the_holder_is_named_and_others_wait(settings: Settings) -> None:
    with lake_lock(settings, "train-cpu") as path:
        assert path.with_suffix(".pid").read_text() == f"{os.getpid()}\n"
        other = spawn(
            settings,
            """
            from tasks.lake.locks import lake_lock
            from tasks.errors import StorageUnavailable
            try:
                with lake_lock(lake.settings, "train-cpu", timeout_s=0):
                    print("taken")
            except StorageUnavailable as error:
                print(error)
            """,
        )
        assert f"held by process {os.getpid()}" in other.communicate()[0]
    assert not path.with_suffix(".pid").exists()


def test_death_releases(settings: Settings) -> None:
    holder = spawn(
        settings,
        """
        import time
        from tasks.lake.locks import lake_lock
        with lake_lock(lake.settings, "train-cpu"):
            print("held", flush=True)
            time.sleep(600)
        """,
    )
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    with (
        pytest.raises(StorageUnavailable, match=f"held by process {holder.pid}"),
        lake_lock(settings, "train-cpu", timeout_s=0),
    ):
        pass
    holder.kill()
    holder.wait()
    with lake_lock(settings, "train-cpu", timeout_s=5):
        pass


def test_locks_of_other_names_do_not_wait(settings: Settings) -> None:
    with lake_lock(settings, "a", timeout_s=0), lake_lock(settings, "b", timeout_s=0):
        pass
