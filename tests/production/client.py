"""A person's machine, outside: reaches the proxy alone, over TLS. `python -m tests.production.client COMMAND ...`

follow DAG          trigger the DAG through Airflow's REST API and print, one JSON a line, what becomes of it
reaches HOST PORT   exit code 0 if something answers there
"""

from __future__ import annotations

import json
import socket
import sys
import time
import urllib.error
import urllib.request


def follow(dag_id: str) -> None:
    """Print the run's task instances whenever one of them changes, and its state at the end."""
    from tasks.config import load_settings
    from tasks.stack.airflow_api import AirflowApi

    api = AirflowApi(load_settings().airflow)
    api.await_dag(dag_id)
    run_id = api.trigger(dag_id, {})
    before, state = None, ""
    while state not in ("success", "failed"):
        state = str(api.run(dag_id, run_id)["state"])
        found = api.task_instances(dag_id, run_id)
        now = {name: [each["state"], each["try_number"], each["hostname"]] for name, each in found.items()}
        if now != before:
            print(json.dumps(now), flush=True)
            before = now
        time.sleep(0.3)
    faults = {
        name: api.last_words(dag_id, run_id, name, each["try_number"])
        for name, each in found.items()
        if each["state"] == "failed"
    }
    print(json.dumps({"run_id": run_id, "state": state, "faults": faults}), flush=True)


def reaches(host: str, port: str) -> int:
    """Exit code: whether something listens."""
    try:
        socket.create_connection((host, int(port)), timeout=2).close()
    except OSError:
        return 1
    return 0


def status(url: str) -> None:
    """Print the status of a GET."""
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            print(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            print(error.code)


if __name__ == "__main__":
    command, *words = sys.argv[1:]
    sys.exit({"follow": follow, "reaches": reaches, "status": status}[command](*words))
