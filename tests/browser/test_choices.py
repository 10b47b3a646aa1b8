"""An annotator ticks classes in the real Label Studio, and what nobody judged stays missing."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from tasks.config import Line, Settings, parse_line
from tasks.ingest.frames import take_frames
from tasks.ingest.picture_names import picture_names
from tasks.ingest.recordings import ingest_new
from tasks.ingest.stills.adding import add_stills
from tasks.kinds import kind_of
from tasks.labeling.importing import import_labels
from tasks.labeling.state import load as load_state
from tasks.labeling.sync import sync
from tasks.lake import Lake, open_lake
from tasks.synthetic.morphology import draw_picture
from tests.browser.airflow_pages import until
from tests.browser.conftest import Visitor
from tests.kinds.classification.lake_of_pictures import as_png

CLASSIFICATION = kind_of("classification")
LINE = parse_line(
    {
        "line": "ticked-heads", "kind": "classification", "multi_label": True,
        "classes": {"acrosome": {"hotkey": "a"}, "head": {"hotkey": "d"}, "vacuole": {"hotkey": "c"}},
        "recordings": {"studies": ["morphology"]}, "recipe": {"name": "fine-tune"},
        "gates": [{"metric": "balanced_accuracy", "at_least": 0.5}],
    },
    "a browser test",
)  # fmt: skip
Shot = Callable[[Page, str], None]


@pytest.fixture
def tasks(stack: Settings, tmp_path: Path) -> dict[str, int]:
    """Picture -> its labeling task: one labelled by a table that lacks a value, one that nobody has seen."""
    lake = open_lake(stack)
    for number, name in ((1, "known"), (4, "new")):
        (tmp_path / f"{name}.png").write_bytes(as_png(draw_picture(number).image))
    assert add_stills(lake, [str(tmp_path)], study="morphology").new == 2
    ingest_new(lake, [LINE])
    (tmp_path / "labels.csv").write_text("file,acrosome,head,vacuole\nknown.png,1,0,\n")
    report = import_labels(
        lake, LINE, tmp_path, "csv",
        kind=CLASSIFICATION, take_frames=take_frames, picture_names=partial(picture_names, lake),
    )  # fmt: skip
    assert (report.annotations, report.boxes, report.crowds) == (1, 1, 0)
    sync(lake, LINE, CLASSIFICATION)
    names = {row["recording_id"]: row["stem"] for row in lake.tables.scan("recordings").to_pylist()}
    placed = load_state(lake, LINE.line).placed()
    return {names[recording_id]: task for (recording_id, _), task in placed.items()}


def judged(lake: Lake, line: Line = LINE) -> dict[str, dict[str, bool]]:
    """Picture -> what the newest annotation in the lake says of it."""
    sync(lake, line, CLASSIFICATION)
    names = {row["recording_id"]: row["stem"] for row in lake.tables.scan("recordings").to_pylist()}
    rows = lake.tables.scan("annotations", where={"line": line.line}).to_pylist()
    newest: dict[str, Any] = {}
    for row in sorted(rows, key=lambda row: row["synced_at"]):
        assert not row["unread"], row
        newest[names[row["recording_id"]]] = row["objects"]
    return {name: {each["label"]: each["present"] for each in json.loads(text)} for name, text in newest.items()}


def test_ticks_reach_the_lake_and_missing_values_survive_an_update(
    visitor: Visitor, stack: Settings, tasks: dict[str, int], shot: Shot
) -> None:
    lake = open_lake(stack)
    assert judged(lake) == {"known": {"acrosome": True, "head": False}}
    project = load_state(lake, LINE.line).project_id

    page = _opened(visitor, project, tasks["known"])
    ticked = page.locator(".lsf-choices input:checked, [class*=choice] input:checked")
    expect(ticked).to_have_count(2)  # acrosome, and that nobody judged the vacuole
    shot(page, "choices")
    until(lambda: _updated(page, "d", ticked))
    assert judged(lake) == {"known": {"acrosome": True, "head": True}}

    page = _opened(visitor, project, tasks["new"])
    submit = page.get_by_role("button", name="Submit current annotation")
    submit.click()
    expect(page.get_by_text("Tick what the picture shows")).to_be_visible()  # nothing is not an answer
    shot(page, "choices-required")
    page.keyboard.press("Escape")
    page.get_by_text("none of these").first.click()
    with page.expect_response(lambda r: "/annotations" in r.url and r.request.method == "POST"):
        submit.click()
    assert judged(lake)["new"] == dict.fromkeys(LINE.classes, False)
    assert judged(lake)["known"] == {"acrosome": True, "head": True}


def _updated(page: Page, hotkey: str, ticked: Locator) -> bool:
    """Whether a key ticked a third class and the update was sent. What is pressed while the page is still being set up
    is lost, or taken for how the answer was before, which closes *Update* again: then the key is pressed once more."""
    page.keyboard.press(hotkey)
    try:
        expect(ticked).to_have_count(3, timeout=5_000)
        with page.expect_response(lambda r: "/annotations" in r.url and r.request.method == "PATCH"):
            page.get_by_test_id("bottombar-update-button").click(timeout=5_000)
    except (AssertionError, PlaywrightTimeout):
        return False
    return True


def _opened(visitor: Visitor, project: int, task: int) -> Page:
    """A picture, opened by its row once the list stands. Where the list of tasks arrives after a task, as when its
    address is gone to, Label Studio 1.23 begins an empty annotation beside the one that is there."""
    page = visitor.label_studio(f"/projects/{project}/data")
    page.wait_for_load_state("networkidle")
    row = page.get_by_test_id("table-row").filter(has=page.get_by_label(f"Select Task {task}", exact=True))
    row.locator("img").last.click()
    return page
