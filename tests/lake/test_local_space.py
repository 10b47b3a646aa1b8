"""What this machine can make again goes when nobody uses it, and nothing else does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from threading import Thread
from time import monotonic, sleep

import pytest

from tasks.config import Settings
from tasks.config.settings import LocalSpaceSettings
from tasks.errors import StorageUnavailable
from tasks.lake import open_lake
from tasks.lake.local_space import ABANDONED, AREAS, free
from tasks.lake.locks import lake_lock
from tasks.schemas import now
from tests.s3_servers import rclone

MB = 10**6


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """An installation that has worked: a cached picture, a layout that links to it, and what killed steps left."""
    settings = Settings(state_dir=tmp_path / "state")
    written(settings.cache_dir / "blobs/sha256/ab/abc", 3 * MB)
    written(settings.cache_dir / "tables/plan.json", 1 * MB)
    layout = settings.work_dir / "datasets" / "v1"
    written(layout / "complete.json", 10)
    os.link(settings.cache_dir / "blobs/sha256/ab/abc", layout / "picture.jpg")
    written(settings.work_dir / "training" / "key" / "last.pt", 2 * MB)
    written(settings.work_dir / "frames-x1" / "a.jpg", 5)
    written(settings.state_dir / "s3" / "lake" / "blobs" / ".rclone_temp_put_1", 7)
    written(settings.state_dir / "s3" / "lake" / "blobs" / "whole", 9)
    written(settings.state_dir / "keys" / "signing-key.pem", 11)
    return settings


def written(path: Path, size_bytes: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size_bytes))
    return path


def in_days(days: float) -> datetime:
    return now() + timedelta(days=days)


def files(settings: Settings) -> set[str]:
    return {str(path.relative_to(settings.state_dir)) for path in settings.state_dir.rglob("*") if path.is_file()}


def test_what_is_used_stays(settings: Settings) -> None:
    before = files(settings)
    found = free(settings, dry_run=False)
    assert found.size_bytes == 0
    assert set(found.pieces.values()) == {0}
    assert files(settings) == before


def test_a_dry_run_only_tells(settings: Settings) -> None:
    before = files(settings)
    told = free(settings, at=in_days(31))
    assert (told.pieces, told.removed) == ({"cache": 2, "layouts": 1, "scratch": 2, "uploads": 1}, False)
    assert files(settings) == before
    assert told.size_bytes == 6 * MB + 10 + 5 + 7  # the linked picture once
    assert tuple(told.pieces) == AREAS


def test_what_nobody_uses_goes_and_nothing_else(settings: Settings) -> None:
    told = free(settings, at=in_days(31))
    done = free(settings, dry_run=False, at=in_days(31))
    assert (done.pieces, done.size_bytes, done.kept_bytes) == (told.pieces, told.size_bytes, 0)
    assert files(settings) == {"s3/lake/blobs/whole", "keys/signing-key.pem"}
    assert not any(path.is_dir() for path in settings.cache_dir.iterdir())
    assert free(settings, dry_run=False, at=in_days(31)).size_bytes == 0


def test_what_killed_steps_left_goes_earlier(settings: Settings) -> None:
    free(settings, dry_run=False, at=now() + ABANDONED + timedelta(minutes=1))
    assert files(settings) == {
        "cache/blobs/sha256/ab/abc", "cache/tables/plan.json", "work/datasets/v1/complete.json",
        "work/datasets/v1/picture.jpg", "s3/lake/blobs/whole", "keys/signing-key.pem",
    }  # fmt: skip


def test_a_layout_whose_pictures_are_read_stays(settings: Settings) -> None:
    later = in_days(20).timestamp()
    os.utime(settings.work_dir / "datasets/v1/complete.json", (later, later))
    found = free(settings, dry_run=False, at=in_days(31))
    assert found.pieces["layouts"] == 0
    assert (settings.work_dir / "datasets/v1/picture.jpg").stat().st_size == 3 * MB
    assert found.size_bytes == 3 * MB + 5 + 7  # its picture lies in the cache no more, and still on the disk


def test_beyond_a_size_the_least_recently_used_goes(settings: Settings) -> None:
    small = settings.model_copy(update={"local_space": LocalSpaceSettings(most_gb=0.0035)})
    assert free(small).size_bytes == 0  # all of it was used today
    later = in_days(1.5).timestamp()
    os.utime(settings.cache_dir / "tables/plan.json", (later, later))
    found = free(small, dry_run=False, at=in_days(1.9))
    # The layout first, which frees nothing, since its picture is the cache's; then that picture, and no more.
    assert (found.kept_bytes, found.pieces["cache"]) == (3 * MB + 12, 1)
    assert "cache/tables/plan.json" in files(settings)
    assert found.pieces["layouts"] == 1


def test_a_link_is_removed_and_not_followed(settings: Settings, tmp_path: Path) -> None:
    outside = written(tmp_path / "elsewhere" / "data.bin", 5)
    (settings.work_dir / "datasets" / "linked").symlink_to(outside.parent)
    (settings.cache_dir / "one").symlink_to(outside)
    free(settings, dry_run=False, at=in_days(40))
    assert outside.exists()
    assert not (settings.work_dir / "datasets" / "linked").is_symlink()


def test_nothing_goes_under_a_running_training(settings: Settings) -> None:
    before = files(settings)
    with lake_lock(settings, "train-cpu"):
        assert free(settings, at=in_days(31)).size_bytes > 0
        with pytest.raises(StorageUnavailable, match="train-cpu"):
            free(settings, dry_run=False, at=in_days(31))
    assert before <= files(settings)


@contextmanager
def uploading(settings: Settings, size_bytes: int) -> Iterator[None]:
    def upload() -> None:
        with suppress(StorageUnavailable):
            open_lake(settings).blobs.put_bytes(os.urandom(size_bytes), "application/octet-stream")

    thread = Thread(target=upload)
    thread.start()
    yield
    thread.join()


def test_what_a_killed_server_had_received_goes(tmp_path: Path) -> None:
    """By the real rclone, killed with -9 in the middle of an upload."""
    state = tmp_path / "state"
    with rclone(state / "s3") as server:
        settings = Settings(state_dir=state, s3=server.settings)
        open_lake(settings).store.ensure_bucket()
        with uploading(settings, 200 * MB):
            until = monotonic() + 60
            while not list((state / "s3").rglob(".rclone_temp_put_*")) and monotonic() < until:
                sleep(0.005)
            server.process.kill()
    left = list((state / "s3").rglob(".rclone_temp_put_*"))
    assert left
    free(settings, dry_run=False)
    assert all(path.exists() for path in left)  # perhaps somebody is still at it
    assert free(settings, dry_run=False, at=in_days(3)).pieces["uploads"] == len(left)
    assert not any(path.exists() for path in left)
