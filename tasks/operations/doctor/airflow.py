"""Airflow: DAGs that cannot be read, pools, nights that did not come."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from tasks.config import Line, dag_id_of
from tasks.errors import ConfigError, NightscopeError
from tasks.operations.doctor.findings import Finding, check, ok, warning, wrong
from tasks.operations.doctor.patient import Patient
from tasks.schemas import now
from tasks.stack.airflow import POOLS
from tasks.stack.airflow_api import AirflowApi

_LATE = timedelta(hours=1)
_QUICK_S = 2.0
_SHOWN = 300


def _api(patient: Patient) -> AirflowApi | None:
    return AirflowApi(patient.settings.airflow, patience_s=_QUICK_S) if patient.settings.airflow.url else None


@check("airflow.login")
def login(patient: Patient) -> Iterator[Finding]:
    """Our user may sign in, and may read what the commands read."""
    if (api := _api(patient)) is None:
        return
    try:
        api.get("/dags", limit=1)
    except ConfigError as error:
        yield wrong(error.thing, error.fix or "check NIGHTSCOPE_AIRFLOW__USERNAME and its password")
    else:
        yield ok(f"user {patient.settings.airflow.username!r} is let in")


@check("airflow.imports")
def imports(patient: Patient) -> Iterator[Finding]:
    """Every file of DAGs can be read."""
    if (api := _api(patient)) is None:
        return
    faults = api.get("/importErrors", limit=100)["import_errors"]
    for fault in faults:
        said = str(fault.get("stack_trace", "")).strip().splitlines() or ["no reason given"]
        yield wrong(f"{fault.get('filename')}: {said[-1][:_SHOWN]}", "correct that file; Airflow's home page has all")
    if not faults:
        yield ok("no import errors")


@check("airflow.pools")
def pools(patient: Patient) -> Iterator[Finding]:
    """The pools are there: without them no step runs, and without their limits two trainings share a device."""
    if (api := _api(patient)) is None:
        return
    slots = {each["name"]: int(each["slots"]) for each in api.get("/pools", limit=100)["pools"]}
    fix = "nightscope up makes them; elsewhere: Admin, Pools"
    for name, (single, about) in POOLS.items():
        if name not in slots:
            yield wrong(f"there is no pool {name!r}: {about}", fix)
        elif name != "gpu" and slots[name] != single:
            yield warning(f"pool {name!r} has {slots[name]} slots, not {single}: {about}", fix)
    if POOLS.keys() <= slots.keys():
        yield ok(", ".join(f"{name} {slots[name]}" for name in POOLS))


@check("airflow.nights")
def nights(patient: Patient) -> Iterator[Finding]:
    """Every line with a schedule has its nights."""
    if (api := _api(patient)) is None:
        return
    known = {each["dag_id"]: each for each in api.get("/dags", limit=500)["dags"]}
    for name in patient.session.line_names():
        try:
            line = patient.session.line(name)
        except NightscopeError:
            continue  # the lines' own check says so
        yield _night(api, line, known.get(dag_id_of("retrain", name)))


def _night(api: AirflowApi, line: Line, dag: dict[str, Any] | None) -> Finding:
    if dag is None:
        return wrong(f"line {line.line}: Airflow has no DAG {dag_id_of('retrain', line.line)}",
                     "wait a minute after a start; then see the import errors on Airflow's home page")  # fmt: skip
    if dag["is_paused"]:
        text = f"line {line.line}: its nights are paused"
        return warning(text, "switch it on in Airflow") if line.schedule else ok(f"{text}, and it has no schedule")
    due = dag.get("next_dagrun_run_after")
    if line.schedule and due and now() - datetime.fromisoformat(due) > _LATE:
        return wrong(f"line {line.line}: its night of {due[:16]} did not come",
                     "is the scheduler up? nightscope status, and its log")  # fmt: skip
    runs = api.get(f"/dags/{dag['dag_id']}/dagRuns", limit=1, order_by="-run_after")["dag_runs"]
    if runs and runs[0]["state"] == "failed":
        return warning(f"line {line.line}: its last night failed ({runs[0]['dag_run_id']})", "see its log in Airflow")
    return ok(f"line {line.line}: next {due[:16] if due else 'on demand'}")
