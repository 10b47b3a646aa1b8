"""The real service in a process of its own, and what a client needs to speak to it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tasks.config import Settings
from tasks.operations.serving.token import token_file
from tasks.stack.loopback import past_proxies

PATIENCE_S = 120


@dataclass
class Service:
    """A running service."""

    url: str
    token: str
    log: Path
    pid: int

    def client(self, token: str | None = None) -> httpx.Client:
        """A client that bears the token, or another one."""
        bearer = {"Authorization": f"Bearer {self.token if token is None else token}"}
        return httpx.Client(
            base_url=self.url, headers=bearer if bearer["Authorization"] != "Bearer " else {}, timeout=60
        )


@contextmanager
def serving(settings: Settings, lines_dir: Path, line: str, folder: Path, **environment: str) -> Iterator[Service]:
    """`nightscope serve LINE --port 0`, for as long as the block lasts."""
    own = {"NIGHTSCOPE_STATE_DIR": str(settings.state_dir), "NIGHTSCOPE_LINES_DIR": str(lines_dir)}
    log = folder / f"serve-{time.monotonic_ns()}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tasks", "serve", line, "--port", "0"],
            env=os.environ | own | past_proxies(os.environ) | environment | {"OMP_NUM_THREADS": "1"},
            stdout=out, stderr=out,
        )  # fmt: skip
    try:
        url = _address(process, log)
        yield Service(url, token_file(settings, line).read_text().strip(), log, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        finally:
            process.kill()
            process.wait()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        if found := re.search(r"serving line .* at (http://\S+)", log.read_text()):
            return wait_for_it(found[1])
        assert process.poll() is None, log.read_text()
        time.sleep(0.1)
    raise AssertionError(f"the service did not come up:\n{log.read_text()}")


def wait_for_it(url: str) -> str:
    """The address, once something answers there."""
    with httpx.Client(transport=httpx.HTTPTransport(retries=50)) as client:
        client.get(f"{url}/healthz", timeout=PATIENCE_S)
    return url
