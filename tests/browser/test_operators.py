"""What an operator does in Airflow: start a night, approve, promote, roll back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from playwright.sync_api import Page, expect

from tasks import evidence
from tests.browser.airflow_pages import (
    choose,
    ended,
    newest_run,
    open_form,
    outcome,
    reason,
    states,
    submit,
    switch_on,
    until,
)
from tests.browser.conftest import ASKED, Visitor
from tests.promotion.promoting import Scene

DAGS = (
    "retrain_sperm_detector", "promote", "rollback", "cross_validate", "ingest_recordings", "sync_annotations",
    "maintain_lake", "search",
)  # fmt: skip
HOSTILE = "fine [click](http://evil.test) ![x](http://evil.test/x.png) www.evil.test <img src=http://evil.test/y> |"
ENDING = "ending_asked_line"
Shot = Callable[[Page, str], None]


def test_every_form_can_be_triggered_as_it_is_and_none_backfills(visitor: Visitor, shot: Shot) -> None:
    for dag_id in DAGS:
        page = visitor.airflow(f"/dags/{dag_id}")
        form = open_form(page)
        expect(form.get_by_test_id("trigger-dag-submit")).to_be_enabled()
        expect(form.get_by_role("radio", name="Backfill")).to_be_disabled()
        shot(page, f"form-{dag_id}")
        page.close()


@pytest.mark.parametrize("dag_id", ["retrain_sperm_detector", "ingest_recordings", "promote"])
def test_a_backfill_is_refused(airflow_api: httpx.Client, dag_id: str) -> None:
    today = datetime.now(UTC)
    days = {"from_date": (today - timedelta(days=30)).isoformat(), "to_date": today.isoformat()}
    asked = {"dag_id": dag_id, **days, "reprocess_behavior": "none", "max_active_runs": 3, "dag_run_conf": {}}
    for path in ("/api/v2/backfills", "/api/v2/backfills/dry_run"):
        answer = airflow_api.post(path, json=asked)
        assert answer.status_code in (400, 409, 422), answer.text
        assert "backfill" in answer.text
    assert airflow_api.get("/api/v2/backfills", params={"dag_id": dag_id}).json()["backfills"] == []


def test_orders_say_what_is_missing(visitor: Visitor, airflow_api: httpx.Client) -> None:
    page = visitor.airflow("/dags/promote")
    submit(open_form(page))
    assert ended(airflow_api, "promote") == "failed"
    assert "Line: none was chosen" in reason(airflow_api, "promote", "promote_version")

    page = visitor.airflow("/dags/rollback")
    form = open_form(page)
    choose(form, "line", ASKED)
    submit(form)
    assert ended(airflow_api, "rollback") == "failed"
    assert "no model of that name" in reason(airflow_api, "rollback", "roll_back")


def test_a_search_names_what_cannot_be_tried(visitor: Visitor, airflow_api: httpx.Client, shot: Shot) -> None:
    page = visitor.airflow("/dags/search")
    form = open_form(page)
    choose(form, "line", ASKED)
    form.locator("#element_space").fill("lr0: {low: 0.1, high: 0.01}\nmomentun: [0.9]")
    shot(page, "form-search-filled")
    submit(form)
    assert ended(airflow_api, "search") == "failed"
    told = reason(airflow_api, "search", "plan_search")
    assert "low must be below high" in told and "did you mean momentum" in told


def test_tidying_up_says_what_would_go(visitor: Visitor, airflow_api: httpx.Client, shot: Shot) -> None:
    cached = visitor.settings.cache_dir / "tables" / "read-today.json"
    cached.parent.mkdir(parents=True, exist_ok=True)
    cached.write_text("{}")
    page = visitor.airflow("/dags/maintain_lake")
    form = open_form(page)
    switch_on(form, "dry_run")
    shot(page, "form-tidy-up")
    submit(form)
    assert ended(airflow_api, "maintain_lake") == "success"
    assert newest_run(airflow_api, "maintain_lake")["conf"]["dry_run"] is True
    told = outcome(airflow_api, "maintain_lake", "free_local_space", "return_value")
    assert set(told["pieces"]) == {"cache", "layouts", "scratch", "uploads"}
    assert told["kept_bytes"] >= 2 and cached.exists()


def test_a_person_reads_the_report_and_approves(
    visitor: Visitor, airflow_api: httpx.Client, scene: Scene, shot: Shot
) -> None:
    version = scene.version().version
    verdict_id = scene.verdict(version, None, changes={"gate.AP50.sperm.at_least": 0.1})
    page = visitor.airflow(f"/dags/{ENDING}")
    form = open_form(page)
    switch_on(form, "override")
    form.locator("#element_note").fill(HOSTILE)
    submit(form)
    until(lambda: states(airflow_api, ENDING).get("approve_promotion") == "awaiting_input")
    _read_and_approve(visitor, page, verdict_id, shot)
    assert ended(airflow_api, ENDING) == "success"
    entry = evidence.find(scene.lake, ASKED, "night", verdict_id)
    assert entry is not None and entry.by == "airflow:admin" and "looked at every frame" in entry.note
    assert scene.champion() == (version, None)
    assert visitor.called == set(), "nothing was fetched from elsewhere"


def _read_and_approve(visitor: Visitor, page: Page, verdict_id: str, shot: Shot) -> None:
    page.goto(f"{visitor.settings.airflow.url}/required_actions")
    page.get_by_role("link", name="may version").click()
    expect(page.get_by_text("The run overrides that", exact=False)).to_be_visible()
    shot(page, "question")
    report = f"{visitor.settings.airflow.url}/nightscope/verdicts/{verdict_id}/report"
    expect(page.get_by_role("link", name="Open the report")).to_have_attribute("href", report)
    # The question links to it alone. Asked in one go, and again: Airflow draws the page anew while it is read.
    expect(page.locator("a[href]:not([href^='/']):not([href=''])")).to_have_count(1)
    assert page.locator("[src*=evil]").count() == 0

    with visitor.context.expect_page() as opened:
        page.get_by_role("link", name="Open the report").click()
    expect(opened.value.get_by_text("report")).to_be_visible()

    page.locator("#element_note").fill("looked at every frame")
    page.get_by_role("button", name="Approve").click()


def test_a_promotion_and_the_way_back_by_the_forms(visitor: Visitor, airflow_api: httpx.Client, scene: Scene) -> None:
    first, second = scene.registry.champion(ASKED), scene.version().version
    assert first is not None, "the test before promoted it"
    page = visitor.airflow("/dags/promote")
    form = open_form(page)
    choose(form, "line", ASKED)
    form.locator("#element_version").fill(second)
    switch_on(form, "override")
    form.locator("#element_note").fill("by eye")
    submit(form)
    assert ended(airflow_api, "promote") == "success", reason(airflow_api, "promote", "promote_version")
    assert scene.champion() == (second, first.version)

    page = visitor.airflow("/dags/rollback")
    form = open_form(page)
    choose(form, "line", ASKED)
    submit(form)
    assert ended(airflow_api, "rollback") == "success"
    assert scene.champion() == (first.version, second)
