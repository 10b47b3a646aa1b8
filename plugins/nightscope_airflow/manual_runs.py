"""What the DAGs by which a person changes the champion have in common."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param, get_current_context

from nightscope_airflow.assets import CHAMPIONS, champions
from nightscope_airflow.params import check_form, note_of
from tasks.config import load_settings
from tasks.errors import ConfigError


def line_names() -> list[str]:
    """This installation's lines."""
    return sorted(path.stem for path in load_settings().lines_dir.glob("*.yaml"))


def line_field(description: str = "Whose champion.") -> Param:
    """A choice of this installation's lines: its only one unless another is chosen; one of several must be chosen."""
    names = line_names()
    if len(names) == 1:
        return Param(names[0], type="string", enum=names, title="Line", description=description)
    return Param(
        None, type=["null", "string"], enum=[*names, None], values_display={"null": "(none chosen)"}, title="Line",
        description=f"{description} Choose one.",
    )  # fmt: skip


def chosen_line() -> str:
    """The run's line.

    Raises:
        ConfigError: There are several, and none was chosen.
    """
    line = get_current_context()["params"]["line"]
    if line is None:
        raise ConfigError(
            "Line: none was chosen", expected=f"one of: {', '.join(line_names()) or 'none yet'}", fix="trigger again"
        )
    return str(line)


def version_field(empty: str) -> Param:
    """A version of a line's model."""
    return Param(
        None, type=["null", "string"], pattern="^[0-9]+$", title="Version",
        description=f"A number, as reports and MLflow have it. Empty: {empty}.",
    )  # fmt: skip


def asked(*names: str) -> dict[str, Any]:
    """The run's values of these fields, who triggered it, and a key by which a retried task is the same order.

    Raises:
        ConfigError: The run's conf has fields that the form has not, or something is missing.
    """
    check_form()
    context = get_current_context()
    params, run = context["params"], context["dag_run"]
    values = {{"line": "name"}.get(name, name): params[name] for name in names}
    values |= {"name": chosen_line(), "note": note_of(params)}
    if "override" in values:
        values["override"] = bool(values["override"])
    return values | {"by": triggered_by(run), "key": f"{run.dag_id} {run.run_id}"}


def triggered_by(run: Any) -> str:
    """Who triggered a run, as Airflow's API server knows them, never what its conf says; empty: the clock."""
    from tasks.operations.who import airflow_user

    return airflow_user(run.triggering_user_name)


def announce(order: dict[str, Any]) -> dict[str, Any]:
    """Wake whoever waits for the line's champion; for a task with the outlet `CHAMPIONS`."""
    get_current_context()["outlet_events"][CHAMPIONS].add(champions(order["line"]))
    return order
