"""S3, its keys, the catalog, the signing keys, evidence and nights: each broken on purpose, and found."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tasks.config import Settings
from tasks.lake import Lake, quarantine
from tasks.lake.keys import signing_key
from tasks.operations.doctor import nights, services
from tasks.schemas import Decision, GateResult, QuarantineItem, Verdict, digest, now
from tasks.stack.ports import any_port
from tests.lake.nouns import frame
from tests.operations.doctor.conftest import look
from tests.operations.doctor.test_machine import only
from tests.s3_servers import S3Server, rclone_binary
from tests.services import running


def test_a_bucket_that_is_missing(home: Path) -> None:
    assert {each.state for each in look(home, "s3.buckets")} == {"ok"}
    with (home / "settings.env").open("a") as file:
        file.write("NIGHTSCOPE_S3__FRAMES_BUCKET=frames-of-nobody\n")
    assert "'frames-of-nobody' (frames) is not at" in only(home, "s3.buckets", "wrong")


def test_a_key_that_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = look(home, "s3")
    assert {each.state for each in found} == {"ok", "warning"}
    assert ["landing has the lake's key" in each.found for each in found if each.state == "warning"] == [True]
    monkeypatch.setenv("NIGHTSCOPE_S3__SECRET_KEY", "not-the-secret-of-this-server")
    found = look(home, "s3.keys", "s3.buckets")
    assert {each.state for each in found} == {"wrong"}
    assert all("refuses our keys" in each.found and each.fix for each in found)
    assert not any("not-the-secret" in str(each) for each in found)


@contextmanager
def serving(folder: Path, *keys: str) -> Iterator[str]:
    """An rclone that knows several keys, or none."""
    port = any_port()
    options = [part for key in keys for part in ("--auth-key", key)]
    command = [rclone_binary(), "serve", "s3", str(folder), "--config", "/dev/null", "--addr", f"127.0.0.1:{port}"]
    with subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr
        while "Starting" not in server.stderr.readline():
            assert server.poll() is None
        yield f"http://127.0.0.1:{port}"
        server.kill()


def test_a_key_that_opens_more_than_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for bucket in ("landing", "lake", "frames"):
        (tmp_path / "served" / bucket).mkdir(parents=True)
    with serving(tmp_path / "served", "lake-access,lake-secret", "other-access,other-secret") as url:
        lake, other = {"ACCESS_KEY": "lake-access", "SECRET_KEY": "lake-secret"}, {"ACCESS_KEY": "other-access"}
        other |= {"SECRET_KEY": "other-secret"}
        values = {"ENDPOINT": url, **lake} | {f"LANDING__{k}": v for k, v in other.items()}
        values |= {f"FRAMES__{k}": v for k, v in other.items()}
        for key, value in values.items():
            monkeypatch.setenv(f"NIGHTSCOPE_S3__{key}", value)
        said = {each.found for each in look(tmp_path, "s3.strangers") if each.state == "wrong"}
    assert {
        "key of landing reads 'lake'", "key of landing writes 'lake'", "key of lake reads 'landing'",
        "annotators' key writes 'frames': they could exchange what they are shown",
    } <= said  # fmt: skip


def test_a_server_that_lets_anybody_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for bucket in ("landing", "lake", "frames"):
        (tmp_path / "served" / bucket).mkdir(parents=True)
    with serving(tmp_path / "served") as url:
        for key, value in {"ENDPOINT": url, "ACCESS_KEY": "any-access", "SECRET_KEY": "any-secret"}.items():
            monkeypatch.setenv(f"NIGHTSCOPE_S3__{key}", value)
        said = [each.found for each in look(tmp_path, "s3.strangers") if each.state == "wrong"]
    assert said and all("to who has no key" in each for each in said)


@contextmanager
def clock_of(off: timedelta) -> Iterator[str]:
    class Off(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(403)
            self.end_headers()

        def date_time_string(self, timestamp: float | None = None) -> str:
            return format_datetime(now() + off, usegmt=True)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Off) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize(("off_s", "state"), [(0, "ok"), (-300, "warning"), (3600, "wrong")])
def test_clocks_that_disagree(home: Path, monkeypatch: pytest.MonkeyPatch, off_s: int, state: str) -> None:
    with clock_of(timedelta(seconds=off_s)) as url:
        monkeypatch.setenv("NIGHTSCOPE_S3__ENDPOINT", url)
        said = only(home, "s3.clock", state)
    assert {0: "0 s", -300: "behind", 3600: "refuses"}[off_s] in said or off_s == 0


def test_a_service_that_listens_and_does_not_answer(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.setattr(services, "PATIENCE_S", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        monkeypatch.setenv("NIGHTSCOPE_MLFLOW__URL", f"http://127.0.0.1:{deaf.getsockname()[1]}")
        said = [each.found for each in look(home, "services.answer") if each.state == "wrong"]
    assert len(said) == 1 and said[0].startswith("mlflow: listens")
    said = [each.found for each in look(home, "services.up") if "nothing answers" in each.found]
    assert len(said) == 1 and said[0].startswith("mlflow: nothing answers at")


def test_a_service_that_asks_for_no_login(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Open(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Open) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("NIGHTSCOPE_MLFLOW__URL", f"http://127.0.0.1:{server.server_address[1]}")
        assert "mlflow: lets anybody in" in only(home, "services.login", "wrong")
        server.shutdown()


def test_a_catalog_that_is_gone_is_no_new_one(home: Path, lake: Lake) -> None:
    assert "made when the first table is" in only(home, "catalog.there", "ok")
    lake.tables.append("frames", [frame(1)])
    lake.close()
    assert "1 tables, all files there" in only(home, "catalog.tables", "ok")
    (home / "catalog.db").rename(home / "away.db")
    assert "is gone, and the lake's bucket holds tables" in only(home, "catalog.there", "wrong")
    look(home, "state", "services", "s3", "evidence", "nights", "lines")
    assert not (home / "catalog.db").exists(), "looking makes none"
    (home / "catalog.db").touch()
    assert "knows no table" in only(home, "catalog.tables", "wrong")


@pytest.mark.parametrize("what", ["data", "snap-"])
def test_a_file_of_a_table_that_is_gone(home: Path, lake: Lake, what: str) -> None:
    lake.tables.append("frames", [frame(1)])
    lake.tables.append("frames", [frame(2)])
    lake.tables.scan("frames")  # and there are local copies now
    for info in list(lake.store.list("tables/")):
        name = info.key.rpartition("/")[2]
        if (what == "data" and name.endswith(".parquet")) or name.startswith(what):
            lake.store.remove(info.key)
    said = only(home, "catalog.tables", "wrong")
    assert "table frames" in said and "gone" in said


def test_a_signing_key_that_is_open_lost_or_not_believed(home: Path, settings: Settings) -> None:
    assert "made when something is signed" in only(home, "signing.key", "ok")
    signing_key(settings)
    only(home, "signing.key", "ok")
    key = settings.signing_key
    key.chmod(0o644)
    assert f"chmod 600 {key}" in only(home, "signing.key", "wrong")
    key.chmod(0o600)
    trusted = settings.trusted_keys.read_text()
    settings.trusted_keys.write_text('{"keys": []}')
    assert "nobody would believe it" in only(home, "signing.key", "wrong")
    settings.trusted_keys.write_text("{")
    assert "is no file of trusted keys" in only(home, "signing.trusted", "wrong")
    settings.trusted_keys.write_text(trusted)
    only(home, "signing.trusted", "ok")
    settings.trusted_keys.chmod(0o666)
    assert f"chmod go-w {settings.trusted_keys}" in only(home, "signing.trusted", "wrong")
    key.unlink()
    assert "keys rotate --lost" in only(home, "signing.key", "wrong")


def test_evidence_that_was_here_and_is_not(home: Path, lake: Lake, settings: Settings) -> None:
    only(home, "evidence.heads", "ok")
    head = {"number": 3, "bundle_oid": digest("bundle"), "at": now().isoformat()}
    settings.heads.parent.mkdir(mode=0o700, exist_ok=True)
    settings.heads.write_text(json.dumps({"a-line": {"head": head}}))
    assert "compare" in look(home, "evidence.heads")[0].found, "no catalog: unknown"
    lake.tables.append("frames", [frame(1)])
    assert "line a-line: evidence 3 was here" in only(home, "evidence.heads", "wrong")
    settings.heads.write_text("{")
    assert "cannot be read" in only(home, "evidence.heads", "wrong")


def a_verdict(number: int, decision: Decision) -> Verdict:
    gate = GateResult(gate="AP50.sperm.at_least", decision=decision, reason="below")
    return Verdict(
        verdict_id=digest(number), line="sperm-detector", run_key=digest("run"), verdict=decision, reasons=("below",),
        gates=(gate,), metrics={}, dataset_version=digest("d"), model_version=str(number), mlflow_run="r",
        evaluation_oid=digest("e"), at=now() + timedelta(seconds=number),
    )  # fmt: skip


def test_a_gate_that_holds_for_ever(home: Path, lake: Lake) -> None:
    lake.tables.append("verdicts", [a_verdict(0, Decision.PROMOTE)])
    lake.tables.append("verdicts", [a_verdict(n, Decision.HOLD) for n in range(1, nights.HELD)])
    only(home, "nights.gates", "ok")
    lake.tables.append("verdicts", [a_verdict(nights.HELD, Decision.HOLD)])
    assert f"AP50.sperm.at_least ({nights.HELD} of {nights.HELD})" in only(home, "nights.gates", "warning")


def test_much_in_quarantine(home: Path, lake: Lake) -> None:
    bad = [QuarantineItem.of("recording", f"{number}.avi", "is empty") for number in range(nights.LEAST)]
    quarantine.set_aside(lake, bad[1:])
    only(home, "nights.quarantine", "ok")
    quarantine.set_aside(lake, bad[:1])
    assert "most often: is empty" in only(home, "nights.quarantine", "warning")


def test_what_landed_and_nobody_takes_in(home: Path, lake: Lake, settings: Settings, s3_server: S3Server) -> None:
    lake.tables.append("frames", [frame(1)])
    assert s3_server.folder
    path = s3_server.folder / settings.s3.landing_bucket / "old.avi"
    path.write_bytes(b"x")
    os.utime(path, (now().timestamp() - 5 * 86400,) * 2)
    assert "1 recordings have waited" in only(home, "nights.landing", "warning")


def test_a_small_stack_of_s3_alone_is_well_but_for_what_is_not_there(tmp_path: Path) -> None:
    with running(tmp_path / "state", ("s3",)):
        found = look(tmp_path / "state")
    assert {each.check for each in found if each.state not in ("ok", "warning")} == {"services.up"}
    assert not [each for each in found if each.check.startswith("s3") and each.state != "ok"]
    assert not (tmp_path / "state" / "catalog.db").exists(), "looking makes nothing"
