"""What all our DAGs and tasks have in common."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Any

from airflow.sdk import CronTriggerTimetable

from tasks.config import Line, load_line, load_settings
from tasks.errors import ConfigError

TASK_DEFAULTS: dict[str, Any] = {
    "owner": "nightscope",
    # Transport errors are worth another try and a killed step heals on the next one; our other errors are raised as
    # AirflowFailException by failures.py, which never retries.
    "retries": 3,
    "retry_delay": timedelta(seconds=15),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": timedelta(minutes=5),
    # Nothing may hang for ever; a task that honestly takes longer says so itself.
    "execution_timeout": timedelta(hours=2),
}

LONG = timedelta(hours=12)
"""For tasks that grow with what a lab brings: a first archive that is decoded, models that are measured."""

RUN_TYPES = ("scheduled", "manual", "asset_triggered", "asset_materialization", "operator_triggered")
"""Not `backfill`: a night looks at what there is now, whatever date it is told, so that a backfill of a month would run
the same night thirty times. Airflow refuses it, and its form does not offer it."""

LAKE_POOL = "lake"
"""One slot: steps that write recordings or annotations take turns."""

GPU_POOL = "gpu"
"""One slot a GPU."""

PROMOTION_POOL = "promotion"
"""One slot: whatever changes who is in charge takes turns, on all machines; each takes a second."""

GPU_QUEUE = "gpu"
"""The Celery queue of machines with a GPU; the LocalExecutor ignores it."""

ON_GPU: dict[str, Any] = {
    "pool": GPU_POOL,
    "queue": GPU_QUEUE,
    # A training whose worker died goes on elsewhere within half a minute: Airflow notices after some 23 s, and then
    # waits for once to twice the delay. More tries, so that a service that is away for minutes is waited for as well.
    "retries": 8,
    "retry_delay": timedelta(seconds=1),
}
"""What tasks have that train or evaluate."""


def longest_training() -> timedelta:
    """How long a training may take, for a task that learns its line only from its run's form: the longest of all."""
    settings = load_settings()
    lines = [path.stem for path in settings.lines_dir.glob("*.yaml")]
    hours = [Line.model_fields["max_training_h"].default]
    for name in lines:
        with suppress(ConfigError):  # a broken line has a DAG that says so
            hours.append(load_line(name, settings.lines_dir).max_training_h)
    return timedelta(hours=max(hours))


def cron(expression: str) -> CronTriggerTimetable:
    """A schedule in UTC. A new stack does not begin with last night's run, as Airflow would, given a start date."""
    return CronTriggerTimetable(expression, timezone="UTC", run_immediately=timedelta(0))


def dag_defaults(*tags: str) -> dict[str, Any]:
    """Arguments shared by every DAG: one active run, no catching up on nights that were missed, no backfills."""
    return {
        "catchup": False,
        "max_active_runs": 1,
        "is_paused_upon_creation": False,
        "default_args": TASK_DEFAULTS,
        "tags": ["nightscope", *tags],
        "fail_fast": False,
        "allowed_run_types": RUN_TYPES,
    }
