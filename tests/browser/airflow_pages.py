"""What people press in Airflow."""

from __future__ import annotations

from functools import partial
from typing import Any

import httpx
from playwright.sync_api import Locator, Page, expect

from tests import waiting

until = partial(waiting.until, patience_s=240)


def open_form(page: Page) -> Locator:
    """Press *Trigger* on a DAG's page, and wait for the form."""
    page.get_by_role("tab", name="Overview").or_(page.get_by_role("link", name="Overview")).first.wait_for()
    page.wait_for_load_state("networkidle")  # until all has arrived, the page is drawn anew, and the form with it
    page.get_by_role("button", name="Trigger").first.click()
    form = page.get_by_role("dialog")
    form.get_by_test_id("trigger-dag-submit").wait_for()
    return form


def submit(form: Locator) -> None:
    """Press the form's own *Trigger*."""
    button = form.get_by_test_id("trigger-dag-submit")
    expect(button).to_be_enabled()
    button.click()
    form.wait_for(state="hidden")


def choose(form: Locator, field: str, option: str) -> None:
    """Choose from a field's list."""
    form.locator(f"#element_{field}").click()
    form.page.get_by_role("option", name=option, exact=True).click()


def switch_on(form: Locator, field: str) -> None:
    """Press a field's switch."""
    form.locator(f"[id='switch:element_{field}']").click()


def newest_run(api: httpx.Client, dag_id: str) -> dict[str, Any]:
    """The DAG's run that was triggered last."""
    runs = api.get(f"/api/v2/dags/{dag_id}/dagRuns", params={"order_by": "-run_after", "limit": 1}).json()["dag_runs"]
    return dict(runs[0]) if runs else {}


def states(api: httpx.Client, dag_id: str) -> dict[str, str]:
    """Task -> state of that run."""
    run = newest_run(api, dag_id)
    tasks = api.get(f"/api/v2/dags/{dag_id}/dagRuns/{run['dag_run_id']}/taskInstances").json()["task_instances"]
    return {task["task_id"]: task["state"] for task in tasks}


def ended(api: httpx.Client, dag_id: str) -> str:
    """Wait until that run has ended; returns its state."""
    return str(until(lambda: (state := newest_run(api, dag_id).get("state")) in ("success", "failed") and state))


def reason(api: httpx.Client, dag_id: str, task_id: str) -> str:
    """What a task left as its reason."""
    return str(outcome(api, dag_id, task_id, "outcome"))


def outcome(api: httpx.Client, dag_id: str, task_id: str, key: str) -> Any:
    """What a task of that run left under a key."""
    run = newest_run(api, dag_id)["dag_run_id"]
    path = f"/api/v2/dags/{dag_id}/dagRuns/{run}/taskInstances/{task_id}/xcomEntries/{key}"
    return api.get(path).json()["value"]
