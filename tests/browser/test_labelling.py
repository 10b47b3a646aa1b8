"""A night is started by a click, and what an annotator draws with the mouse is found in the lake."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from tasks.config import Settings
from tasks.ingest.landing import add
from tasks.lake import open_lake
from tasks.synthetic import make_recordings
from tests.browser.airflow_pages import ended, newest_run, open_form, states, submit, until
from tests.browser.conftest import LINE, Visitor

NIGHT = "retrain_sperm_detector"
Shot = Callable[[Page, str], None]


def test_a_click_starts_a_night_and_a_drawn_box_is_found_in_the_lake(
    visitor: Visitor, stack: Settings, airflow_api: httpx.Client, tmp_path: Path, shot: Shot
) -> None:
    (recording,) = make_recordings(tmp_path, count=1, seed=1, frames=8)
    assert add(open_lake(stack), [recording.path], study="browser").accepted
    _start_a_night(visitor, airflow_api, shot)
    drawn = _draw_a_box(visitor, shot)

    page = visitor.airflow("/dags/sync_annotations")
    before = newest_run(airflow_api, "sync_annotations").get("dag_run_id")
    submit(open_form(page))
    until(lambda: newest_run(airflow_api, "sync_annotations")["dag_run_id"] != before)
    assert ended(airflow_api, "sync_annotations") == "success"
    lake = open_lake(stack)
    (row,) = lake.tables.scan("annotations", where={"line": LINE}).to_pylist()
    (found,) = json.loads(row["objects"])
    assert found["label"] == "sperm"
    for side in ("x_px", "y_px", "width_px", "height_px"):
        assert found[side] == pytest.approx(drawn[side], abs=0.01), side
    assert visitor.called == set(), "no page called out"


def _start_a_night(visitor: Visitor, airflow_api: httpx.Client, shot: Shot) -> None:
    page = visitor.airflow("/dags")
    page.get_by_role("link", name="Retrain: Sperm detection").click()
    form = open_form(page)
    submit(form)
    page.wait_for_url(f"**/dags/{NIGHT}/runs/**")
    until(lambda: states(airflow_api, NIGHT).get("sync_annotations") == "success")
    assert newest_run(airflow_api, NIGHT)["triggering_user_name"] == "admin"
    shot(page, "night")


def _draw_a_box(visitor: Visitor, shot: Shot) -> dict[str, float]:
    page = visitor.label_studio()
    page.get_by_text("Sperm detection").first.click()
    page.get_by_role("button", name="Label").first.click()
    page.locator(".lsf-label").filter(has_text="sperm").click()
    page.wait_for_function("[...document.images].some(each => each.complete && each.naturalWidth > 100)")
    page.wait_for_load_state("networkidle")
    until(lambda: _drag(page))
    shot(page, "labelling")
    with page.expect_response(lambda r: "/annotations" in r.url and r.request.method == "POST") as sent:
        page.get_by_role("button", name="Submit current annotation").click()
    (region,) = sent.value.json()["result"]
    width, height = region["original_width"], region["original_height"]
    sides = {"x_px": ("x", width), "y_px": ("y", height), "width_px": ("width", width), "height_px": ("height", height)}
    return {name: region["value"][key] * size / 100 for name, (key, size) in sides.items()}


def _drag(page: Page) -> bool:
    """Draw a box with the mouse; False where the page was not ready for it, and has no region."""
    canvas = page.locator("canvas").last.bounding_box()
    if canvas is None:
        return False
    x, y = canvas["x"] + canvas["width"] / 4, canvas["y"] + canvas["height"] / 4
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 100, y + 60, steps=8)
    page.mouse.up()
    try:
        page.locator(".lsf-outliner-item").first.wait_for(timeout=10_000)
    except PlaywrightTimeout:
        return False
    return True
