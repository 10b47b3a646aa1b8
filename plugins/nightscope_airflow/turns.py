"""Mapped tasks that take turns: no more of them at once than a run's form says, which Airflow fixes when it parses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import get_current_context
from airflow.sdk.exceptions import AirflowRescheduleException

_ENDED = {"success", "failed", "skipped", "upstream_failed", "removed"}


def wait_for_turn(at_once: int, *, again_in: timedelta) -> None:
    """Let a mapped task go on if fewer than `at_once` of those before it have not ended; else give its slot back.

    It goes by Airflow's own states, in the tasks' order: two that ask at the same moment cannot both wait for ever, and
    one that waits for a retry keeps its turn.

    Raises:
        AirflowRescheduleException: It is not its turn; it is tried again later, which costs no retry.
    """
    instance = get_current_context()["ti"]
    if instance.map_index < at_once:
        return
    states = instance.get_task_states(
        dag_id=instance.dag_id, task_ids=[instance.task_id], run_ids=[instance.run_id]
    ).get(instance.run_id, {})  # fmt: skip
    before = [states.get(f"{instance.task_id}_{index}") for index in range(instance.map_index)]
    if sum(state not in _ENDED for state in before) >= at_once:
        raise AirflowRescheduleException(datetime.now(UTC) + again_in)
