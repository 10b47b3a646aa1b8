"""A real Label Studio on a free port, as the embedded stack starts it; images come from the given S3 server."""

from __future__ import annotations

import os
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError

from pydantic import SecretStr

from tasks.config import HOME, LabelStudioSettings, S3Settings
from tests.s3_servers import free_port

START_S = 300
"""The first start builds the database: 40 s on an idle machine."""


def label_studio_binary() -> Path:
    """Label Studio's program, in its own environment."""
    stated = os.environ.get("NIGHTSCOPE_LABEL_STUDIO_BIN")
    found = Path(stated) if stated else HOME / ".nightscope/envs/label-studio/bin/label-studio"
    fix = "run 'make install', or name it in NIGHTSCOPE_LABEL_STUDIO_BIN"
    assert os.access(found, os.X_OK), f"Label Studio is not at {found}: {fix}"
    return found


@contextmanager
def label_studio_server(folder: Path, s3: S3Settings) -> Iterator[LabelStudioSettings]:
    """A server with its own SQLite database under `folder`, and how to reach it, for as long as the block lasts."""
    binary, port = label_studio_binary(), free_port()
    account = LabelStudioSettings(
        url=f"http://127.0.0.1:{port}",
        password=SecretStr("a-long-test-password"),
        token=SecretStr("0123456789abcdef0123456789abcdef01234567"),
    )
    folder.mkdir(parents=True, exist_ok=True)
    command = [str(binary), "start", "--no-browser", "--internal-host", "127.0.0.1", "--port", str(port)]
    log = folder / "server.log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=_environment(folder, account, s3), stdout=out, stderr=out, cwd=folder)
    try:
        _await(account.url, process, log)
        yield account
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _environment(folder: Path, account: LabelStudioSettings, s3: S3Settings) -> dict[str, str]:
    strays = ("AWS_", "DJANGO_", "LABEL_STUDIO_", "PYTHON")
    return {key: value for key, value in os.environ.items() if not key.startswith(strays)} | {
        "LABEL_STUDIO_BASE_DATA_DIR": str(folder),
        "LABEL_STUDIO_USERNAME": account.username,
        "LABEL_STUDIO_PASSWORD": account.password.get_secret_value(),
        "LABEL_STUDIO_USER_TOKEN": account.token.get_secret_value(),
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
        "DJANGO_DB": "sqlite",
        "DEBUG": "false",
        "COLLECT_ANALYTICS": "false",
        "LATEST_VERSION_CHECK": "false",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
        # SSRF protection refuses 127.0.0.1 in a storage's settings and stays on; the environment is trusted.
        "S3_ENDPOINT": s3.endpoint,
        "AWS_ACCESS_KEY_ID": s3.access_key,
        "AWS_SECRET_ACCESS_KEY": s3.secret_key.get_secret_value(),
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }


def _await(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(f"{url}/health", timeout=5).close()
            return
        except (URLError, OSError):
            time.sleep(0.3)
    raise AssertionError(f"Label Studio did not start: {log.read_text()[-2000:]}")
