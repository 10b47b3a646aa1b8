"""What a night with nothing new costs, on the stack that is up: `python -m tests.bench.bench_night [LINE]`.

Run it after a night has finished. Overhead = from Airflow's start of the run to its end, less what the steps
themselves took, for each step that ran.
"""

from __future__ import annotations

import sys
import time
from datetime import datetime

from rich.console import Console
from rich.table import Table

from tasks.cli.night import run_night
from tasks.config import load_line, load_settings
from tasks.schemas import NightState
from tasks.stack.airflow_api import AirflowApi

ROUNDS = 5


def bench(line: str) -> None:
    """Run the night a few times and print the table."""
    table = Table(
        "night", "state", "trigger to done s", "steps s", "overhead a step s", title=f"nothing new for {line}"
    )
    settings = load_settings()
    airflow, dag_id = AirflowApi(settings.airflow), load_line(line, settings.lines_dir).dag_id
    for number in range(1, ROUNDS + 1):
        began = time.monotonic()
        report = run_night(line, {})
        took = time.monotonic() - began
        if report["state"] != NightState.SKIPPED:
            sys.exit(f"line {line} had something to do ({report['state']}): run this again")
        ran = [step["seconds"] for step in report["steps"] if step["seconds"]]
        run = airflow.run(dag_id, report["run_id"])
        inside = (datetime.fromisoformat(run["end_date"]) - datetime.fromisoformat(run["start_date"])).total_seconds()
        table.add_row(
            str(number), report["state"], f"{took:.1f}", f"{sum(ran):.1f}", f"{(inside - sum(ran)) / len(ran):.2f}"
        )
    Console().print(table)


if __name__ == "__main__":
    bench(*sys.argv[1:] or ["sperm-detector"])
