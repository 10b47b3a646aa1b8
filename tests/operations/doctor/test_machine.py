"""Settings, state folder, programs, locks, devices, lines: each broken on purpose, and found."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from tasks.config import HOME, Settings
from tasks.lake import Lake
from tasks.lake.locks import lake_lock
from tasks.operations.doctor import locks, programs, state_folder
from tasks.stack import ports
from tasks.stack.layout import Layout
from tasks.stack.processes import marked
from tests.hosts import host
from tests.operations.doctor.conftest import look
from tests.postgres import PostgresServer
from tests.services import running
from tests.waiting import until


def only(state_dir: Path, name: str, state: str) -> str:
    """What the one finding of a check in this state says."""
    found = look(state_dir, name)
    chosen = [each for each in found if each.state == state]
    assert len(chosen) == 1, found
    assert state == "ok" or chosen[0].fix, "a fault has a fix"
    return f"{chosen[0].found} | {chosen[0].fix}"


def test_a_setting_that_is_wrong(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(home, "settings.parse", "ok")
    monkeypatch.setenv("NIGHTSCOPE_WORKERS", "0")
    assert "workers" in only(home, "settings.parse", "wrong")
    everything = look(home)
    assert {each.state for each in everything if each.check.startswith("s3")} == {"unknown"}, "and nothing crashes"


def test_a_misspelt_setting_is_named_with_the_right_one(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTSCOPE_CATALOG__PROPERTIES__TOKEN", "anything goes below it")
    only(home, "settings.names", "ok")
    monkeypatch.setenv("NIGHTSCOPE_S3__ENDPOIN", "x")
    assert "did you mean NIGHTSCOPE_S3__ENDPOINT?" in only(home, "settings.names", "warning")
    monkeypatch.delenv("NIGHTSCOPE_S3__ENDPOIN")
    with (home / "settings.env").open("a") as file:
        file.write("nightscope_worker=3\n")
    assert "did you mean NIGHTSCOPE_WORKERS?" in only(home, "settings.names", "warning")


def test_a_state_folder_that_others_enter_and_one_that_is_missing(home: Path) -> None:
    only(home, "state.folder", "ok")
    home.chmod(0o750)
    assert f"chmod 700 {home}" in only(home, "state.folder", "wrong")
    assert "is not there" in only(home / "nowhere", "state.folder", "wrong")


def test_a_secret_that_others_read(home: Path) -> None:
    (home / "settings.env").chmod(0o600)
    only(home, "state.secrets", "ok")
    (home / "settings.env").chmod(0o640)
    assert f"chmod 600 {home / 'settings.env'}" in only(home, "state.secrets", "wrong")


def test_a_disk_on_which_no_night_fits(home: Path, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "a night needs about" in only(home, "state.disk", "ok")
    monkeypatch.setattr(state_folder, "TIMES_LANDED", shutil.disk_usage(home).free)
    lake.landing.put_bytes("clip.avi", b"four")
    assert "GB free, a night needs about" in only(home, "state.disk", "wrong")


def test_a_temporary_folder_that_runs_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert look(home, "state.noexec") == []
    monkeypatch.setattr(state_folder.os, "ST_NOEXEC", os.statvfs(home).f_flag or 1)  # to mount one takes rights
    Layout.at(home).temporary_dir.mkdir()
    assert {each.state for each in look(home, "state.noexec")} == {"warning"}


def test_programs_that_are_missing_or_fail(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (home / "settings.env").open("a") as file:
        file.write("")
    alone = home.parent / "alone"
    alone.mkdir(mode=0o700)
    assert "rclone v1" in only(alone, "programs.rclone", "ok")
    monkeypatch.setattr(programs, "program", lambda name: shutil.which("false"))
    assert "ends with 1" in only(alone, "programs.rclone", "wrong")
    only(alone, "programs.label-studio", "ok")
    monkeypatch.setenv("NIGHTSCOPE_LABEL_STUDIO_BIN", "/nowhere/label-studio")
    assert "not at /nowhere" in only(alone, "programs.label-studio", "wrong")


def test_a_library_that_is_not_the_locked_one(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(home, "programs.locked", "ok")
    text = (HOME / "uv.lock").read_text()
    (tmp_path / "uv.lock").write_text(
        text.replace('name = "filelock"\nversion = "', 'name = "filelock"\nversion = "0.')
    )
    monkeypatch.setattr(programs, "HOME", tmp_path)
    said = only(home, "programs.locked", "wrong")
    assert "filelock" in said and "(locked: 0." in said


def test_decoders_that_cannot_be_imported(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "with its own decoders" in only(home, "programs.video", "ok")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/av.py").write_text("raise ImportError('libavcodec.so.60: no such file')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "broken"))
    assert "libavcodec.so.60" in only(home, "programs.video", "wrong")


def test_a_disk_that_keeps_no_locks(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from contextlib import nullcontext

    only(home, "locks.exclude", "ok")
    monkeypatch.setattr(locks, "FileLock", lambda *_, **__: nullcontext())
    found = look(home, "locks.exclude")
    assert [each.state for each in found] == ["wrong"] and "local disk" in str(found[0].fix)


def test_a_lock_that_is_held_for_days(home: Path) -> None:
    code = (
        "import sys, time; from tasks.config import load_settings; from tasks.lake.locks import lake_lock\n"
        "with lake_lock(load_settings(), 'train-gpu0'): print('held', flush=True); time.sleep(600)"
    )
    environ = {**os.environ, "NIGHTSCOPE_STATE_DIR": str(home)}
    with subprocess.Popen([sys.executable, "-c", code], env=environ, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout and holder.stdout.readline() == "held\n"
        only(home, "locks.held", "ok")
        days_ago = time.time() - 3 * 86400
        os.utime(home / "locks/train-gpu0.pid", (days_ago, days_ago))
        assert f"held by process {holder.pid}" in only(home, "locks.held", "warning")
        holder.kill()
        holder.wait()
        only(home, "locks.held", "ok")


def test_locks_of_many_machines(
    home: Path, settings: Settings, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    uri = postgres.database(f"doctor-{uuid.uuid4().hex[:12]}")
    assert look(home, "locks.machines") == []
    monkeypatch.setenv("NIGHTSCOPE_CATALOG__URI", uri)
    assert "NIGHTSCOPE_LOCKS__URI" in str(look(home, "locks.machines")[0].fix)
    monkeypatch.setenv("NIGHTSCOPE_LOCKS__URI", uri)
    server = PostgresServer(postgres.folder, postgres.port, uri)
    with lake_lock(host(settings, uri, tmp_path / "two"), "promote-a"):
        assert "1 are held, none for long" in only(home, "locks.machines", "ok")
        server.ask("UPDATE nightscope_fences SET acquired_at = acquired_at - interval '3 days'")
        assert "lock 'promote-a' is held by process" in only(home, "locks.machines", "warning")
    user, _, rest = uri.partition("://")[2].partition(":")
    monkeypatch.setenv("NIGHTSCOPE_LOCKS__URI", f"postgresql://{user}:of-another@{rest.partition('@')[2]}")
    said = only(home, "locks.machines", "unknown")
    assert "refuses" in said and "of-another" not in said


def test_a_device_that_torch_does_not_see(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTSCOPE_DEVICES", "cpu")
    only(home, "devices.seen", "ok")
    monkeypatch.setenv("NIGHTSCOPE_DEVICES", "97")
    assert "does not see 97" in only(home, "devices.seen", "wrong")


def test_a_line_that_cannot_be_read_and_a_recipe_that_takes_no_such_value(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(HOME / "dags/lines", tmp_path / "lines")
    monkeypatch.setenv("NIGHTSCOPE_LINES_DIR", str(tmp_path / "lines"))
    only(home, "lines.read", "ok")
    path = tmp_path / "lines/sperm-detector.yaml"
    text = path.read_text()
    path.write_text(text.replace("recipe:\n", "recipe:\n  lerning_rate: 3\n", 1) if "recipe:\n" in text
                    else text.replace("recipe: {", "recipe: {lerning_rate: 3, ", 1))  # fmt: skip
    assert "lerning_rate" in only(home, "lines.read", "wrong")
    path.write_text("line: [")
    assert "sperm-detector" in only(home, "lines.read", "wrong")
    monkeypatch.setenv("NIGHTSCOPE_EXPECTATIONS_DIR", str(tmp_path / "nothing"))
    assert "no suite" in only(home, "lines.suites", "wrong")


def test_a_port_that_a_stranger_holds_and_a_stack_that_is_down(tmp_path: Path) -> None:
    with running(tmp_path / "state", ("s3",)):
        assert not [each for each in look(tmp_path / "state", "services.ports") if each.state != "ok"]
    up = {each.found.partition(":")[0]: each for each in look(tmp_path / "state", "services.up")}
    assert (
        up["s3"].state == "wrong" and "is stopped" in up["s3"].found and str(up["s3"].fix).startswith("nightscope up")
    )
    assert "neither embedded nor by URL" in up["airflow"].found
    port = ports.remembered(Layout.at(tmp_path / "state"))["s3-landing"]
    with socket.create_server(("127.0.0.1", port)):
        found = [each for each in look(tmp_path / "state", "services.ports") if each.state == "wrong"]
    assert [each.found for each in found] == [f"port {port} of s3-landing is held by another program"]


def test_processes_that_outlived_their_manager_and_one_that_listens_to_the_network(tmp_path: Path) -> None:
    import psutil

    layout = Layout.at(tmp_path / "state")
    with running(tmp_path / "state", ("s3",)):
        only(tmp_path / "state", "locks.leftovers", "ok")
        code = "import socket, time; s = socket.create_server(('', 0)); print(1, flush=True); time.sleep(600)"
        marks = {**os.environ, "NIGHTSCOPE_STACK": layout.marker, "NIGHTSCOPE_SERVICE": "mlflow"}
        with subprocess.Popen([sys.executable, "-c", code], env=marks, stdout=subprocess.PIPE) as open_one:
            assert open_one.stdout and open_one.stdout.readline()
            assert "mlflow" in only(tmp_path / "state", "services.ports", "wrong")
            manager = psutil.Process(int((layout.control_dir / "supervisord.pid").read_text()))
            manager.kill()
            manager.wait(10)
            assert "mlflow" in only(tmp_path / "state", "locks.leftovers", "wrong")
            open_one.kill()
        until(lambda: not list(marked(layout.marker)), 30)
        assert "supervisord.pid" in only(tmp_path / "state", "locks.leftovers", "warning")
