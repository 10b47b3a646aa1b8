"""What the DAGs by which a person changes the champion have in common."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param, get_current_context

from nightscope_airflow.assets import CHAMPIONS, champions
from nightscope_airflow.params import refuse_unknown_conf
from tasks.config import load_settings


def line_field() -> Param:
    """A choice of this installation's lines."""
    names = sorted(path.stem for path in load_settings().lines_dir.glob("*.yaml"))
    return Param(type="string", enum=names, description="Whose champion.")


def note_field() -> Param:
    """Free text."""
    return Param("", type="string", description="Why; kept in the evidence.")


def asked(*names: str) -> dict[str, Any]:
    """The run's values of these fields, who triggered it, and a key by which a retried task is the same order.

    Raises:
        ConfigError: The run's conf has fields that the form has not.
    """
    refuse_unknown_conf()
    context = get_current_context()
    params, run = context["params"], context["dag_run"]
    values = {{"line": "name"}.get(name, name): params[name] for name in names}
    return values | {"by": run.triggering_user_name or "", "key": f"{run.dag_id} {run.run_id}"}


def announce(order: dict[str, Any]) -> dict[str, Any]:
    """Wake whoever waits for the line's champion; for a task with the outlet `CHAMPIONS`."""
    get_current_context()["outlet_events"][CHAMPIONS].add(champions(order["line"]))
    return order
