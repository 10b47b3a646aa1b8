"""What all our DAGs and tasks have in common."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import CronTriggerTimetable

TASK_DEFAULTS: dict[str, Any] = {
    "owner": "nightscope",
    # Transport errors are worth another try and a killed step heals on the next one; our other errors are raised as
    # AirflowFailException by failures.py, which never retries.
    "retries": 3,
    "retry_delay": timedelta(seconds=15),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": timedelta(minutes=5),
}

LAKE_POOL = "lake"
"""One slot: steps that write recordings or annotations take turns."""

GPU_POOL = "gpu"
"""One slot a GPU."""

PROMOTION_POOL = "promotion"
"""One slot: whatever changes who is in charge takes turns, on all machines; each takes a second."""

GPU_QUEUE = "gpu"
"""The Celery queue of machines with a GPU; the LocalExecutor ignores it."""


def cron(expression: str) -> CronTriggerTimetable:
    """A schedule in UTC. A new stack does not begin with last night's run, as Airflow would, given a start date."""
    return CronTriggerTimetable(expression, timezone="UTC", run_immediately=timedelta(0))


def dag_defaults(*tags: str) -> dict[str, Any]:
    """Arguments shared by every DAG: one active run, no catching up on nights that were missed."""
    return {
        "catchup": False,
        "max_active_runs": 1,
        "is_paused_upon_creation": False,
        "default_args": TASK_DEFAULTS,
        "tags": ["nightscope", *tags],
        "fail_fast": False,
    }
