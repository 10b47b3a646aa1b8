"""An annotator paints a cell in the real Label Studio: its pixels are found in the lake, and imported ones stay."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from label_studio_sdk.converter.brush import decode_rle
from PIL import Image
from playwright.sync_api import Locator, Page
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from tasks.config import Line, Settings
from tasks.ingest.frames import take_frames
from tasks.ingest.picture_names import picture_names
from tasks.ingest.recordings import ingest_new
from tasks.ingest.stills.adding import add_stills
from tasks.kinds.segmentation.labels import to_fill
from tasks.kinds.segmentation.objects import mask_object
from tasks.labeling.convert import to_regions
from tasks.labeling.filling import fill_objects
from tasks.labeling.importing import import_labels
from tasks.labeling.state import load as load_state
from tasks.labeling.sync import sync
from tasks.lake import Lake, open_lake
from tasks.metrics import masks
from tests.browser.airflow_pages import until
from tests.browser.conftest import Visitor
from tests.kinds.segmentation.labelled import SEGMENTATION, cell_line
from tests.labeling.annotators import Annotator

LINE = cell_line(line="painted-cells", classes={"cell": {"hotkey": "c"}}, recordings={"studies": ["cells"]})
BOXED = cell_line(line="boxed-cells", recordings={"studies": ["boxed"]})
WIDTH_PX, HEIGHT_PX = 251, 187
FROM, TO = (60, 90), (180, 110)
"""A stroke of the brush, in pixels of the picture."""
Shot = Callable[[Page, str], None]


def picture(seed: int) -> bytes:
    sink = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 60, (HEIGHT_PX, WIDTH_PX), dtype=np.uint8)
    Image.fromarray(noise).save(sink, "PNG")
    return sink.getvalue()


def ragged() -> np.ndarray:
    """A mask that no brush paints: noise in a corner, single pixels at the border."""
    mask = np.zeros((HEIGHT_PX, WIDTH_PX), dtype=np.bool_)
    mask[8:40, 9:50] = np.random.default_rng(3).random((32, 41)) < 0.7
    mask[0, 0] = mask[-1, -1] = True
    return mask


@pytest.fixture
def tasks(stack: Settings, tmp_path: Path) -> dict[str, int]:
    """Picture -> its labeling task: one with an imported mask, one that nobody has seen."""
    lake = open_lake(stack)
    for number, name in enumerate(("known", "new")):
        (tmp_path / f"{name}.png").write_bytes(picture(number))
    assert add_stills(lake, [str(tmp_path)], study="cells").new == 2
    ingest_new(lake, [LINE])
    Image.fromarray(ragged().astype(np.uint8) * 7).save(tmp_path / "known_masks.png")
    report = import_labels(
        lake, LINE, tmp_path, "masks",
        kind=SEGMENTATION, take_frames=take_frames, picture_names=partial(picture_names, lake),
    )  # fmt: skip
    assert (report.annotations, report.boxes, report.unmatched) == (1, 1, ())
    sync(lake, LINE, SEGMENTATION)
    names = {row["recording_id"]: row["stem"] for row in lake.tables.scan("recordings").to_pylist()}
    placed = load_state(lake, LINE.line).placed()
    return {names[recording_id]: task for (recording_id, _), task in placed.items()}


def painted(lake: Lake, line: Line = LINE) -> dict[str, list[np.ndarray]]:
    """Picture -> the masks that annotations in the lake have now."""
    sync(lake, line, SEGMENTATION)
    names = {row["recording_id"]: row["stem"] for row in lake.tables.scan("recordings").to_pylist()}
    rows = lake.tables.scan("annotations", where={"line": line.line}).to_pylist()
    newest = {row["annotation_id"]: row for row in sorted(rows, key=lambda row: row["synced_at"])}
    found: dict[str, list[np.ndarray]] = {}
    for row in newest.values():
        assert not row["unread"], row
        of_picture = found.setdefault(names[row["recording_id"]], [])
        of_picture += [masks.decode(each["mask"], HEIGHT_PX, WIDTH_PX) for each in json.loads(row["objects"])]
    return found


def test_a_painted_mask_reaches_the_lake_to_the_pixel_and_an_imported_one_stays(
    visitor: Visitor, stack: Settings, tasks: dict[str, int], shot: Shot
) -> None:
    lake = open_lake(stack)
    assert (painted(lake)["known"][0] == ragged()).all()
    project = load_state(lake, LINE.line).project_id

    page = opened(visitor, project, tasks["new"])
    until(lambda: paint(page, regions=1))
    shot(page, "masks")
    with page.expect_response(lambda r: "/annotations" in r.url and r.request.method == "POST") as sent:
        page.get_by_role("button", name="Submit current annotation").click()
    (region,) = sent.value.json()["result"]
    alpha = decode_rle(region["value"]["rle"]).reshape(HEIGHT_PX, WIDTH_PX, 4)[..., 3]
    (mask,) = painted(lake)["new"]
    assert (mask == (alpha >= 128)).all(), "what Label Studio stores is what we read"
    covers_where_the_mouse_went(mask)

    page = opened(visitor, project, tasks["known"])
    until(lambda: paint(page, regions=2))
    shot(page, "masks-update")
    with page.expect_response(lambda r: "/annotations" in r.url and r.request.method == "PATCH"):
        page.get_by_test_id("bottombar-update-button").click()
    imported, added = painted(lake)["known"]
    assert (imported == ragged()).all(), "an annotator's update leaves an imported mask as it is"
    covers_where_the_mouse_went(added)


def covers_where_the_mouse_went(mask: np.ndarray) -> None:
    """The stroke's centre line lies inside; what is farther from it than a thick brush does not."""
    y, x = np.mgrid[:HEIGHT_PX, :WIDTH_PX] + 0.5
    (x1, y1), (x2, y2) = FROM, TO
    length = np.hypot(x2 - x1, y2 - y1)
    along = np.clip(((x - x1) * (x2 - x1) + (y - y1) * (y2 - y1)) / length**2, 0, 1)
    away = np.hypot(x - x1 - along * (x2 - x1), y - y1 - along * (y2 - y1))
    assert mask[away < 1].all()
    thick = away[mask].max()
    assert 1 < thick < 25
    assert mask[away < thick - 3].all(), "the mask is a stroke as thick as the brush all along"


def opened(visitor: Visitor, project: int, task: int) -> Page:
    """A picture, opened by its row once the list stands; see `test_choices`."""
    page = visitor.label_studio(f"/projects/{project}/data")
    page.wait_for_load_state("networkidle")
    row = page.get_by_test_id("table-row").filter(has=page.get_by_label(f"Select Task {task}", exact=True))
    row.locator("img").last.click()
    page.wait_for_function(f"[...document.images].some(each => each.complete && each.naturalWidth === {WIDTH_PX})")
    page.wait_for_load_state("networkidle")
    return page


def choose(page: Page, tab: Locator, what: str) -> None:
    """Open an annotation or prediction by its tab, and choose from the tab's menu."""
    tab.click()
    page.wait_for_load_state("networkidle")
    tab.hover()
    tab.locator(".lsf-annotation-button__trigger").click()
    page.get_by_text(what, exact=True).click()


def paint(page: Page, regions: int) -> bool:
    """Paint the stroke with the mouse; False where the page was not ready for it, and has no region more."""
    if page.locator(".lsf-outliner-item").count() < regions:
        page.keyboard.press("Escape")
        page.locator(".lsf-label").filter(has_text="cell").first.click()
        (x1, y1), (x2, y2) = (on_screen(page, point) for point in (FROM, TO))
        page.mouse.move(x1, y1)
        page.mouse.down()
        page.mouse.move(x2, y2, steps=12)
        page.mouse.up()
    try:
        page.locator(".lsf-outliner-item").nth(regions - 1).wait_for(timeout=10_000)
    except PlaywrightTimeout:
        return False
    return True


def on_screen(page: Page, point: tuple[float, float]) -> tuple[float, float]:
    """Where a pixel of the picture is shown."""
    shown = page.evaluate(
        f"""() => {{
            const shown = [...document.images].filter(each => each.naturalWidth === {WIDTH_PX})
                .map(each => each.getBoundingClientRect());
            const largest = shown.reduce((a, b) => a.width > b.width ? a : b);
            return [largest.x, largest.y, largest.width, largest.height];
        }}"""
    )
    x, y, width, height = shown
    return x + point[0] * width / WIDTH_PX, y + point[1] * height / HEIGHT_PX


def test_an_annotator_takes_the_models_outline_of_a_box_over(
    visitor: Visitor, stack: Settings, tmp_path: Path, shot: Shot
) -> None:
    lake = open_lake(stack)
    (tmp_path / "boxed.png").write_bytes(picture(5))
    assert add_stills(lake, [str(tmp_path)], study="boxed").new == 1
    ingest_new(lake, [BOXED])
    sync(lake, BOXED, SEGMENTATION)
    state = load_state(lake, BOXED.line)
    (task,) = state.placed().values()
    box = to_fill("cell", 9, 8, 41, 32)
    drawn = to_regions(SEGMENTATION, [box], WIDTH_PX, HEIGHT_PX, "0" * 16, line=BOXED)
    Annotator(stack.label_studio).submit(task, drawn)
    sync(lake, BOXED, SEGMENTATION)
    outlined = mask_object("cell", ragged())
    report = fill_objects(lake, BOXED, SEGMENTATION, lambda image, boxes: [outlined for _ in boxes], "1")
    assert (report.objects, report.filled, report.predictions) == (1, 1, 1)

    page = opened(visitor, state.project_id, task)
    shot(page, "prediction")
    choose(page, page.locator(".lsf-annotation-button").filter(has_text="boxed"), "Duplicate Annotation")
    with page.expect_response(lambda r: "/annotations" in r.url and r.request.method == "POST"):
        page.get_by_role("button", name="Submit current annotation").click()
    choose(page, page.locator(".lsf-annotation-button").last, "Delete Annotation")  # the older one, with the box
    with page.expect_response(lambda r: "/annotations" in r.url and r.request.method == "DELETE"):
        page.get_by_test_id("dialog-ok-button").click()
    (mask,) = painted(lake, BOXED)["boxed"]
    assert (mask == ragged()).all()
