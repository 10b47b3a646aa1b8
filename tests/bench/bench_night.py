"""What a night with nothing new costs, on the stack that is up: `python -m tests.bench.bench_night [LINE]`.

Run it after a night has finished. Overhead = from trigger to done, less what the steps themselves took, for each step
that ran.
"""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.table import Table

from tasks.cli.night import run_night
from tasks.schemas import NightState

ROUNDS = 5


def bench(line: str) -> None:
    """Run the night a few times and print the table."""
    table = Table(
        "night", "state", "trigger to done s", "steps s", "overhead a step s", title=f"nothing new for {line}"
    )
    for number in range(1, ROUNDS + 1):
        began = time.monotonic()
        report = run_night(line, {})
        took = time.monotonic() - began
        if report["state"] != NightState.SKIPPED:
            sys.exit(f"line {line} had something to do ({report['state']}): run this again")
        ran = [step["seconds"] for step in report["steps"] if step["seconds"]]
        table.add_row(
            str(number), report["state"], f"{took:.1f}", f"{sum(ran):.1f}", f"{(took - sum(ran)) / len(ran):.2f}"
        )
    Console().print(table)


if __name__ == "__main__":
    bench(*sys.argv[1:] or ["sperm-detector"])
