"""The real S3 server and MLflow under supervisord: start, heal, and end without leaving anything behind."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from tasks.config import S3Access, load_settings
from tasks.errors import StackError
from tasks.lake.object_store import ObjectStore
from tasks.stack import health, ports, s3
from tasks.stack.down import down
from tasks.stack.events import Event
from tasks.stack.layout import Layout
from tasks.stack.processes import marked
from tasks.stack.secrets import load_or_create
from tasks.stack.service import Service
from tasks.stack.status import ServiceStatus, status
from tasks.stack.up import up
from tests.services import ANY_PORT, use_external_s3

PATIENCE_S = 120


def seen(layout: Layout, name: str) -> ServiceStatus:
    return next(each for each in status(layout.state_dir) if each.name == name)


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "did not happen"
        time.sleep(0.1)


def kill_and_await(layout: Layout, name: str) -> None:
    """Kill -9 a service and wait until another process of it answers."""
    before = seen(layout, name)
    assert before.pid and before.url
    os.kill(before.pid, signal.SIGKILL)
    path = "/health" if name == "mlflow" else "/"
    service = Service(name, name, (), {}, port=int(before.url.rsplit(":", 1)[1]), health_path=path)

    def is_back() -> bool:
        pid = seen(layout, name).pid
        return pid not in (None, before.pid) and health.serves(service, pid)

    eventually(is_back)


def test_says_what_is_up_where_since_when(stack: Layout) -> None:
    found = {each.name: each.report() for each in status(stack.state_dir)}

    assert found["s3"]["state"] == found["mlflow"]["state"] == "running"
    assert found["s3"]["url"] == load_settings(stack.state_dir).s3.endpoint
    assert found["s3"]["pid"] and found["s3"]["since"].endswith("+00:00")
    assert found["airflow-scheduler"] == {
        "name": "airflow-scheduler",
        "state": "stopped",
        "url": None,
        "pid": None,
        "since": None,
    }


def test_everything_is_for_its_owner_only(stack: Layout) -> None:
    open_to_others = [
        path
        for path in stack.state_dir.rglob("*")
        if not path.is_symlink() and path.stat().st_mode & 0o077 and path.parent != stack.control_dir / "services"
    ]

    assert open_to_others == []


def test_secrets_stand_in_no_log_and_on_no_command_line(stack: Layout) -> None:
    secret = load_settings(stack.state_dir).s3.secret_key.get_secret_value()

    assert not [log for log in stack.logs_dir.iterdir() if secret in log.read_text()]
    assert not [each for each in marked(stack.marker) if secret in " ".join(each.process.cmdline())]


def test_up_again_changes_nothing(stack: Layout) -> None:
    before = status(stack.state_dir)

    up(stack.state_dir, units=("s3", "mlflow"), preferred=ANY_PORT)

    assert status(stack.state_dir) == before


def test_every_server_has_its_own_buckets_and_s3_wants_a_key(stack: Layout) -> None:
    settings = load_settings(stack.state_dir)

    found = {name: sorted(path.name for path in stack.s3_root(name).iterdir()) for name in s3.SERVICES}
    assert found == {
        "s3": ["frames", "lake"], "s3-landing": ["landing"], "s3-mlflow": ["mlflow"], "s3-frames": ["frames"]
    }  # fmt: skip
    assert httpx.get(f"{settings.s3.endpoint}/lake/").status_code in (400, 403)


def test_annotators_see_a_frame_as_soon_as_it_is_written(stack: Layout) -> None:
    settings, (access, secret) = load_settings(stack.state_dir).s3, s3.keys(load_or_create(stack))["s3-frames"]
    theirs = S3Access(endpoint=str(seen(stack, "s3-frames").url), access_key=access, secret_key=SecretStr(secret))
    ours, annotators = (ObjectStore(access, settings.frames_bucket) for access in (settings, settings.by(theirs)))
    for key in ("ab/first", "ab/second", "cd/third"):  # a folder was looked into before the next frame comes
        ours.put_bytes(key, key.encode())

        assert annotators.get_bytes(key) == key.encode()


def test_mlflow_keeps_artifacts_in_its_own_bucket(stack: Layout) -> None:
    settings = load_settings(stack.state_dir).mlflow
    artifact = f"{settings.url}/api/2.0/mlflow-artifacts/artifacts/1/weights.bin"
    login = (settings.username, settings.password.get_secret_value())
    experiment = {"name": "one"}
    httpx.post(f"{settings.url}/api/2.0/mlflow/experiments/create", json=experiment, auth=login, timeout=60)

    sent = httpx.put(artifact, content=b"weights" * 1000, auth=login, timeout=60)

    assert sent.status_code == 200, sent.text
    assert (stack.s3_root("s3-mlflow") / "mlflow" / "1" / "weights.bin").read_bytes() == b"weights" * 1000
    got = httpx.get(artifact, auth=login, timeout=60)
    assert got.content == b"weights" * 1000


def test_a_killed_s3_server_comes_back_with_its_objects(stack: Layout) -> None:
    (stack.s3_root("s3") / "lake" / "kept").write_bytes(b"kept")

    kill_and_await(stack, "s3")

    assert (stack.s3_root("s3") / "lake" / "kept").read_bytes() == b"kept"


def test_a_killed_mlflow_comes_back_though_its_worker_held_the_port(stack: Layout) -> None:
    kill_and_await(stack, "mlflow")

    assert httpx.get(f"{seen(stack, 'mlflow').url}/health", timeout=30).status_code == 200


def test_down_leaves_nothing(s3_stack: Layout) -> None:
    assert sorted(down(s3_stack.state_dir)) == sorted(s3.SERVICES)

    assert list(marked(s3_stack.marker)) == []
    assert not s3_stack.socket.exists()
    assert seen(s3_stack, "s3").state == "stopped"
    assert down(s3_stack.state_dir) == []


STUBBORN = """#!{python}
import http.server, os, signal, sys

signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.fork()  # a child that nobody knows of, like a worker's training
signal.signal(signal.SIGHUP, signal.SIG_IGN)
port = int(sys.argv[sys.argv.index("--port") + 1])
try:
    server = http.server.HTTPServer(("127.0.0.1", port), http.server.SimpleHTTPRequestHandler)
except OSError:
    signal.pause()
server.serve_forever()
"""


def test_down_ends_what_a_killed_process_manager_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binary = tmp_path / "label-studio"
    binary.write_text(STUBBORN.format(python=sys.executable))
    binary.chmod(0o755)
    monkeypatch.setenv("NIGHTSCOPE_LABEL_STUDIO_BIN", str(binary))
    layout = Layout.at(tmp_path / "state")
    up(layout.state_dir, units=("label-studio",), preferred=ANY_PORT)
    manager = next(each.process for each in marked(layout.marker, "supervisord"))
    manager.kill()
    eventually(lambda: seen(layout, "label-studio").state == "orphaned")

    assert down(layout.state_dir) == ["label-studio"]

    assert list(marked(layout.marker)) == []


def test_up_after_a_killed_process_manager_starts_again_on_the_same_port(s3_stack: Layout) -> None:
    before = seen(s3_stack, "s3")
    next(each.process for each in marked(s3_stack.marker, "supervisord")).kill()

    up(s3_stack.state_dir, units=("s3",), preferred=ANY_PORT)

    after = seen(s3_stack, "s3")
    assert after.state == "running"
    assert (after.url, after.pid != before.pid) == (before.url, True)


def test_a_taken_port_is_replaced_and_said(tmp_path: Path) -> None:
    told: list[Event] = []
    with socket.socket() as neighbour:
        neighbour.bind(("127.0.0.1", 0))
        neighbour.listen()
        taken = neighbour.getsockname()[1]
        try:
            up(tmp_path, units=("s3",), preferred={"s3": taken}, on_event=told.append)

            port = ports.remembered(Layout.at(tmp_path))["s3"]
            assert port != taken
            assert load_settings(tmp_path).s3.endpoint == f"http://127.0.0.1:{port}"
            assert f"port {taken} is taken by another program: using {port}" in [event.note for event in told]
        finally:
            down(tmp_path)


def test_a_service_that_is_there_already_is_used_and_not_started(s3_stack: Layout, tmp_path: Path) -> None:
    other = Layout.at(tmp_path / "other")
    use_external_s3(other.state_dir, load_settings(s3_stack.state_dir).s3)

    found = up(other.state_dir, units=("s3",))

    assert found == [ServiceStatus("s3", "external", url=load_settings(s3_stack.state_dir).s3.endpoint)]
    assert list(marked(other.marker)) == []


def test_an_external_service_that_does_not_answer_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTSCOPE_S3__ENDPOINT", "http://127.0.0.1:9")

    with pytest.raises(StackError, match=r"NIGHTSCOPE_S3__ENDPOINT names http://127\.0\.0\.1:9, and nothing"):
        up(tmp_path, units=("s3",))


def test_a_service_that_dies_is_named_with_its_last_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binary = tmp_path / "label-studio"
    binary.write_text("#!/bin/sh\necho no such table: users >&2\nexit 3\n")
    binary.chmod(0o755)
    monkeypatch.setenv("NIGHTSCOPE_LABEL_STUDIO_BIN", str(binary))
    layout = Layout.at(tmp_path / "state")

    with pytest.raises(StackError) as caught:
        up(layout.state_dir, units=("label-studio",), preferred=ANY_PORT)

    message = str(caught.value)
    assert "label-studio: dies when started" in message
    assert "no such table: users" in message
    assert str(layout.log("label-studio")) in message
    assert list(marked(layout.marker)) == []


def test_a_silent_neighbour_is_not_taken_for_ours(s3_stack: Layout) -> None:
    service = Service("mlflow", "mlflow", (), {}, port=ports.remembered(s3_stack)["s3"], health_path="/")

    assert not health.serves(service, os.getpid())
    assert health.serves(service, seen(s3_stack, "s3").pid or 0)


def test_a_service_that_is_no_more_wanted_is_stopped(s3_stack: Layout, tmp_path: Path) -> None:
    endpoint = load_settings(s3_stack.state_dir).s3
    other = Layout.at(tmp_path / "other")
    try:
        up(other.state_dir, units=("s3",), preferred=ANY_PORT)
        text = other.settings_env.read_text()
        other.settings_env.write_text(f"NIGHTSCOPE_S3__ENDPOINT={endpoint.endpoint}\n{text}")

        up(other.state_dir, units=("s3",), preferred=ANY_PORT)

        assert list(marked(other.marker, "s3")) == []
    finally:
        down(other.state_dir)
