"""A watched folder on a real S3 server: half-written files, replaced ones, bad ones, kill -9, a server that is away."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tasks.config import Settings, load_settings
from tasks.errors import ConfigError, IntegrityError, StorageUnavailable
from tasks.ingest.landing import metadata
from tasks.ingest.sidecar import SUFFIX, key_of
from tasks.lake import Lake, open_lake
from tasks.lake.blobs import hash_file
from tasks.operations.watch_folder import Grouping, Plan, Watched, watch_folder
from tasks.operations.watch_folder.journal import Entry, Journal, journal_path
from tasks.session import Session
from tests.s3_servers import rclone
from tests.services import use_external_s3
from tests.waiting import until

SETTLE_S = 0.3


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "microscope"
    made.mkdir()
    return made


def watch(lake: Lake, folder: Path, settle_s: float = SETTLE_S, **rest: object) -> Watched:
    plan = Plan(folder, rest.pop("said", metadata()), settle_s, **rest)  # type: ignore[arg-type]
    return watch_folder(Session(lake.settings), plan, once=True)


def landed(lake: Lake) -> dict[str, bytes]:
    """File name → bytes of what is in the landing bucket, sidecars left out; each name once."""
    keys = [info.key for info in lake.landing.list() if not info.key.endswith(SUFFIX)]
    found = {key.rpartition("/")[2]: lake.landing.get_bytes(key) for key in keys}
    assert len(found) == len(keys), keys
    return found


def entries(lake: Lake, folder: Path) -> dict[str, Entry]:
    journal = Journal(journal_path(lake.settings.state_dir, folder.resolve()))
    try:
        return {entry.path: entry for entry in journal.entries()}
    finally:
        journal.close()


def test_what_is_new_lands_once(lake: Lake, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "day").mkdir()
    (folder / "day" / "a.avi").write_bytes(b"a")
    (folder / "b.avi").write_bytes(b"b")
    assert watch(lake, folder, said=metadata(donor="d7")) == Watched(landed=2)
    assert landed(lake) == {"a.avi": b"a", "b.avi": b"b"}
    key = entries(lake, folder)["day/a.avi"].note
    assert json.loads(lake.landing.get_bytes(key_of(key)))["donor"] == "d7"
    monkeypatch.setattr("tasks.operations.watch_folder.watch.add_found", None)  # nothing is even hashed again
    assert watch(lake, folder) == Watched()
    assert (folder / "day" / "a.avi").read_bytes() == b"a", "and nothing in the folder is touched"


def test_a_file_that_grows_waits(lake: Lake, folder: Path) -> None:
    grows, done = folder / "grows.avi", threading.Event()
    grows.write_bytes(b"x")

    def write() -> None:
        while not done.wait(0.05):
            with grows.open("ab") as file:
                file.write(b"x")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert watch(lake, folder) == Watched(waiting=1)
    finally:
        done.set()
        writer.join()
    assert landed(lake) == {}
    whole = grows.read_bytes()
    assert watch(lake, folder) == Watched(landed=1)
    assert landed(lake) == {"grows.avi": whole}


def test_a_file_that_somebody_has_open_for_writing_waits(lake: Lake, folder: Path) -> None:
    path = folder / "open.avi"
    code = "import sys; f = open(sys.argv[1], 'wb'); f.write(b'half'); f.flush(); print(1, flush=True); input()"
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout and writer.stdout.readline()
        assert watch(lake, folder) == Watched(waiting=1), "it has stayed as it is, and may go on"
        writer.communicate(b"\n")
    with path.open("rb"):
        assert watch(lake, folder) == Watched(landed=1), "who only reads it is in nobody's way"


def test_a_file_that_is_replaced_while_it_is_sent_does_not_land_by_halves(lake: Lake, folder: Path) -> None:
    path, times = folder / "a.avi", 5_000_000_000
    path.write_bytes(b"the first")
    oid = hash_file(path)
    path.write_bytes(b"the other")
    os.utime(path, ns=(times, times))
    with pytest.raises(IntegrityError, match="changed while it was read"):
        lake.landing.put_file("a.avi", path, sha256=oid)
    large = folder / "large.avi"
    large.write_bytes(os.urandom(40 * 2**20))  # in several parts
    oid = hash_file(large)
    with large.open("r+b") as file:
        file.seek(-5, os.SEEK_END)
        file.write(b"other")
    with pytest.raises(IntegrityError):
        lake.landing.put_file("large.avi", large, sha256=oid)
    assert landed(lake) == {}, "and nothing of it was ever to be seen"
    lake.landing.put_file("large.avi", large, sha256=hash_file(large))
    assert lake.landing.rehash("large.avi")[0] == hash_file(large)


def test_a_file_that_changes_between_hash_and_upload_waits_again(
    lake: Lake, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "a.avi").write_bytes(b"first")

    def hash_and_replace(path: Path) -> str:
        oid = hash_file(path)
        (folder / "new").write_bytes(b"other")
        (folder / "new").replace(path)
        return oid

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr("tasks.ingest.landing.hash_file", hash_and_replace)
        assert watch(lake, folder).landed == 0
    assert landed(lake) == {}
    assert watch(lake, folder).landed == 1
    assert landed(lake) == {"a.avi": b"other"}


def test_a_file_that_changes_after_it_landed_lands_again(lake: Lake, folder: Path) -> None:
    (folder / "a.avi").write_bytes(b"first")
    watch(lake, folder)
    (folder / "a.avi").write_bytes(b"second, longer")
    assert watch(lake, folder) == Watched(landed=1)
    assert sorted(lake.landing.get_bytes(info.key) for info in lake.landing.list() if info.key.endswith(".avi")) == [
        b"first", b"second, longer",
    ]  # fmt: skip


def test_a_bad_file_is_named_set_aside_and_stays(lake: Lake, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "notes.txt").write_bytes(b"x")
    (folder / "good.avi").write_bytes(b"g")
    with caplog.at_level("INFO"):
        assert watch(lake, folder) == Watched(landed=1, refused=1)
    assert "set aside notes.txt: the suffix" in caplog.text and "landed good.avi → unsorted/" in caplog.text
    assert entries(lake, folder)["notes.txt"].became == "refused"
    caplog.clear()
    assert watch(lake, folder) == Watched(), "it is named once"
    (folder / "notes.txt").unlink()
    assert watch(lake, folder) == Watched()
    assert set(entries(lake, folder)) == {"good.avi"}, "what is gone is forgotten"


def test_a_sidecar_says_whose_a_recording_is(lake: Lake, folder: Path) -> None:
    for name, said in (("a.avi", '{"donor": "ana"}'), ("b.avi", '{"donor": 7'), ("c.avi", None)):
        (folder / name).write_bytes(name.encode())
        if said:
            (folder / f"{name}{SUFFIX}").write_text(said)
    assert watch(lake, folder, said=metadata(study="s", donor="of all")) == Watched(landed=2, refused=1)
    told = entries(lake, folder)
    assert "its sidecar" in told["b.avi"].note and told["b.avi"].became == "refused"
    said = json.loads(lake.landing.get_bytes(key_of(told["a.avi"].note)))
    assert (said["donor"], said["study"]) == ("ana", "s")
    assert json.loads(lake.landing.get_bytes(key_of(told["c.avi"].note)))["donor"] == "of all"
    (folder / f"b.avi{SUFFIX}").write_text('{"donor": "ben"}')
    assert watch(lake, folder, said=metadata(study="s")) == Watched(landed=1), "a corrected one lets it in"


def test_a_folder_of_pictures_is_one_recording_and_stills_are_samples(lake: Lake, folder: Path) -> None:
    import cv2
    import numpy as np

    for number in range(4):
        (folder / "donor-1").mkdir(exist_ok=True)
        cv2.imwrite(str(folder / "donor-1" / f"{number}.png"), np.full((8, 8), number, np.uint8))
    assert watch(lake, folder) == Watched(landed=1)
    assert list(landed(lake)) == ["donor-1.frames.zip"]
    cv2.imwrite(str(folder / "donor-1" / "0_masks.png"), np.zeros((8, 8), np.uint8))
    other = folder.parent / "stills"
    (folder / "donor-1").rename(other)
    (folder / "donor-2").mkdir()
    other.rename(folder / "donor-2" / "deep")
    assert watch(lake, folder, stills=Grouping("folder")) == Watched(landed=4, refused=1)
    assert "mask" in entries(lake, folder)["donor-2/deep/0_masks.png"].note
    assert watch(lake, folder, stills=Grouping("folder")) == Watched()
    cv2.imwrite(str(folder / "donor-2" / "deep" / "9.png"), np.full((8, 8), 9, np.uint8))
    assert watch(lake, folder, stills=Grouping("folder")) == Watched(landed=1)


def test_clear_names_stay_here(lake: Lake, folder: Path) -> None:
    (folder / "Ana Lopez.avi").write_bytes(b"x")
    assert watch(lake, folder, said=metadata(donor="Ana Lopez"), pseudonyms=True) == Watched(landed=1)
    everything = b"".join(info.key.encode() + lake.landing.get_bytes(info.key) for info in lake.landing.list())
    assert b"Ana" not in everything
    with pytest.raises(ConfigError, match="has a pseudonym here"):
        watch(lake, folder, said=metadata(donor="Ana Lopez"))


def test_a_folder_that_cannot_be_read_is_never_an_empty_one(lake: Lake, folder: Path) -> None:
    (folder / "a.avi").write_bytes(b"x")
    watch(lake, folder)
    folder.rename(folder.with_name("unmounted"))
    with pytest.raises(ConfigError, match="is not a folder"):
        watch(lake, folder)
    assert "a.avi" in entries(lake, folder)


def test_one_watch_of_a_folder_at_a_time(lake: Lake, folder: Path) -> None:
    def second(_: float) -> None:
        with pytest.raises(ConfigError, match="another process watches it already"):
            watch(lake, folder)

    (folder / "a.avi").write_bytes(b"x")
    watch_folder(Session(lake.settings), Plan(folder, metadata(), 0.01), once=True, sleep=second)


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[tuple[Callable[..., subprocess.Popen[str]], Settings, int]]:
    """The command as a process of its own, on a server that the test starts and stops."""
    from tasks.stack.ports import any_port

    port, state = any_port(), tmp_path / "state"
    with rclone(tmp_path / "served", port) as server:
        use_external_s3(state, server.settings)
    environ = {**os.environ, "NIGHTSCOPE_STATE_DIR": str(state)}
    started: list[subprocess.Popen[str]] = []

    def start(*words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tasks", "watch", *words]
        started.append(subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield start, load_settings(state), port
    for process in started:
        process.kill()
        process.wait()


def test_a_server_that_is_away_and_comes_back(
    installed: tuple[Callable[..., subprocess.Popen[str]], Settings, int], tmp_path: Path, folder: Path
) -> None:
    start, settings, port = installed
    (folder / "a.avi").write_bytes(b"a")
    once = start(str(folder), "--once", "--settle", "0")
    assert once.wait(60) == 1 and "did not answer" in str(once.communicate()[1])
    running = start(str(folder), "--settle", "0.2", "--every", "0.2")
    assert running.stderr
    while "not now" not in (line := running.stderr.readline()):
        assert line
    (folder / "b.avi").write_bytes(b"b")
    lake = open_lake(settings)
    with rclone(tmp_path / "served", port):
        until(lambda: len(landed(lake)) == 2, 60)
    with pytest.raises(StorageUnavailable):
        landed(lake)
    (folder / "c.avi").write_bytes(b"c")
    with rclone(tmp_path / "served", port):
        until(lambda: len(landed(lake)) == 3, 60)
        assert landed(lake) == {"a.avi": b"a", "b.avi": b"b", "c.avi": b"c"}


def test_kill_9_anywhere_loses_nothing_and_lands_nothing_twice(
    installed: tuple[Callable[..., subprocess.Popen[str]], Settings, int], tmp_path: Path, folder: Path
) -> None:
    start, settings, port = installed
    contents = {f"{number}.avi": os.urandom(3 * 2**20) for number in range(12)}
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    lake = open_lake(settings)
    with rclone(tmp_path / "served", port):
        for least in (0, 3, 6):
            watcher = start(str(folder), "--settle", "0", "--every", "0.1")
            until(lambda least=least: len(list(lake.landing.list())) > 2 * least, 60)
            time.sleep(0.02 * least)
            watcher.send_signal(signal.SIGKILL)
            watcher.wait()
        before = {info.key: info.modified_at for info in lake.landing.list()}
        assert start(str(folder), "--once", "--settle", "0").wait(60) == 0
        assert landed(lake) == contents
        after = {info.key: info.modified_at for info in lake.landing.list()}
        again = [key for key, at in before.items() if after[key] != at]
        assert len(again) <= 2, "at most what was on its way when it was killed"
        assert {entry.became for entry in entries(lake, folder).values()} == {"landed"}
