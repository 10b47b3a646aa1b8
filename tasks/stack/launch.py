"""Becomes one service of the stack: `python -m tasks.stack.launch <service file>`, run by supervisord.

Before it does, it ends what a killed predecessor left behind. When Airflow's scheduler dies by kill -9, its forked
workers, their tasks and a training live on; without this they would run beside those of the new scheduler.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import sqlite3
import sys
import time
from pathlib import Path

from tasks.stack.processes import SERVICE_MARK, STACK_MARK, end_marked

_PR_SET_PDEATHSIG = 1
_PATIENCE_S = 180


def main(service_file: Path) -> None:
    """Replace this process by the service that `service_file` describes. Does not return."""
    service = json.loads(service_file.read_text())
    own = service["environment"]
    end_marked(own[STACK_MARK], own[SERVICE_MARK], patience_s=0)
    if service.get("airflow_db"):
        retire_schedulers(Path(service["airflow_db"]))
    _die_with_supervisord()
    if service.get("waits_for"):
        wait_for(int(service["waits_for"]), _PATIENCE_S)
    environment = {**os.environ, **own}
    os.execvpe(service["command"][0], service["command"], environment)


def retire_schedulers(airflow_db: Path) -> int:
    """Mark the jobs of schedulers that are dead as failed, so that the new one takes over their tasks at once.

    Airflow itself would wait for their heartbeat to grow old (30 s), and meanwhile fail the running tasks for their
    missing heartbeats (20 s), which needs a retry and waits for its delay. We know better: this stack has one
    scheduler, and it is about to start.

    Returns:
        How many jobs were marked.
    """
    connection = sqlite3.connect(airflow_db, timeout=10)
    try:
        with connection:
            return connection.execute(
                "UPDATE job SET state = 'failed' WHERE job_type = 'SchedulerJob' AND state = 'running'"
            ).rowcount
    finally:
        connection.close()


def wait_for(port: int, patience_s: float) -> bool:
    """Wait until somebody listens on `port` of 127.0.0.1; after `patience_s` go on without. Returns whether it does."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=2):
                return True
        except OSError:
            time.sleep(0.2)
    return False


def _die_with_supervisord() -> None:
    """Let the kernel end this service when supervisord dies; survives the exec that follows."""
    manager = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != manager:  # it died before the call took effect
        os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
