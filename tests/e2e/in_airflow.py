"""A line's night through its DAG, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from tasks.config import HOME


def run_in_airflow(line: str, conf: dict[str, Any], environment: dict[str, str]) -> dict[str, Any]:
    """Run the night; how it ended, as `tests.e2e.night` prints it."""
    command = [sys.executable, "-m", "tests.e2e.night", line, json.dumps(conf)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=HOME)
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))
