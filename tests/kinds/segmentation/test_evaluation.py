"""From stored masks to the verdict and the report: a kind's metrics in the hands of those who know no mask."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import cv2
import numpy as np
import pytest

from tasks.evaluation.evaluation import Evaluation, Latency
from tasks.evaluation.measure import Run, measure
from tasks.evaluation.report import Judged, render
from tasks.gates.checks import check_gates
from tasks.gates.decide import decide
from tasks.kind import ModelRef
from tasks.kinds import kind_of
from tasks.kinds.segmentation.instances import Instances
from tasks.kinds.segmentation.objects import mask_object
from tasks.metrics.masks import encode
from tasks.schemas import Decision
from tasks.synthetic.cells import CellPicture, draw_picture
from tests.evaluation.test_report import read
from tests.kinds.segmentation.measured import a_line

KIND = kind_of("segmentation")
LINE = a_line(
    classes=["cell"],
    gates=[
        {"metric": "AP50_pooled", "at_least": 0.5},
        {"metric": "PQ", "not_worse_by": 0.05},
        {"metric": "AP50_pooled", "for_each": ["class"], "not_worse_by": 0.2},
        {"metric": "RQ", "slice": "size.medium", "not_worse_by": 0.2},
        {"metric": "mask_AP", "not_worse_by": 0.1},
        {"metric": "boundary_F", "at_least": 0.3},
    ],
    evaluation={"small_px": 12, "large_px": 24, "resamples": 200},
)
LATENCY = Latency(device="cpu", hardware="a CPU", images=10, latency_ms_p50=4.0, latency_ms_p95=6.0)


@pytest.fixture(scope="module")
def pictures() -> list[CellPicture]:
    return [draw_picture(number, donors=8) for number in range(1, 17)]


def frame(number: int, picture: CellPicture) -> dict[str, Any]:
    height, width = picture.labels.shape
    cells = [mask_object("cell", picture.labels == k) for k in range(1, int(picture.labels.max()) + 1)]
    return {
        "split": "test", "recording_id": f"{number:064x}"[::-1], "recording_name": picture.file, "frame_index": 0,
        "group": f"donor:{picture.donor}", "frame_oid": f"{number + 1:064x}", "pts_s": None, "width_px": width,
        "height_px": height, "objects": json.dumps(cells),
    }  # fmt: skip


def found_in(picture: CellPicture, skill: float, seed: int) -> Instances:
    """Every cell with this chance, a pixel too small; the others grown over what is around them."""
    rng, out = np.random.default_rng([seed, picture.number]), []
    for k in range(1, int(picture.labels.max()) + 1):
        mask = (picture.labels == k).astype(np.uint8)
        good = rng.random() < skill
        mask = cv2.erode(mask, np.ones((3, 3), np.uint8)) if good else cv2.dilate(mask, np.ones((15, 15), np.uint8))
        out.append((encode(mask), rng.uniform(0.6, 1) if good else rng.uniform(0.4, 0.8)))
    out.sort(key=lambda one: -one[1])
    height, width = picture.labels.shape
    return Instances(
        height, width, tuple(text for text, _ in out), np.zeros(len(out), np.int64),
        np.array([score for _, score in out]), np.zeros((len(out), 4)),
    )  # fmt: skip


def evaluation_of(pictures: list[CellPicture], skills: dict[str, float], names: Sequence[str] = ()) -> Evaluation:
    """Measure models of these skills; `names` are other names of the first pictures."""
    frames, runs = [frame(number, picture) for number, picture in enumerate(pictures)], {}
    for row, name in zip(frames, names, strict=False):
        row["recording_name"] = name
    for number, (role, skill) in enumerate(skills.items()):
        outputs = [found_in(picture, skill, number) for picture in pictures]
        table = KIND.metrics.tabulate(outputs, frames, ("cell",), LINE)
        model = ModelRef(model_version=str(number), weights_oid=str(number) * 64, classes=("cell",))
        runs[role] = Run(model, table, str(number) * 64, (LATENCY,), 3.2)
    return measure(LINE, KIND, "d" * 64, frames, runs, measured_by="0123456789abcdef")


def test_a_good_model_passes_its_gates_and_a_poor_one_does_not(pictures: list[CellPicture]) -> None:
    check_gates(LINE, KIND)
    good = decide(LINE, evaluation_of(pictures, {"challenger": 0.95, "champion": 0.9}), KIND)
    assert good.decision is Decision.PROMOTE, good.reasons
    poor = decide(LINE, evaluation_of(pictures, {"challenger": 0.4, "champion": 0.95}), KIND)
    assert poor.decision is Decision.REJECT


def test_donors_are_measured_one_by_one(pictures: list[CellPicture]) -> None:
    """Where groups are kinds of pictures, this is the table by kind of picture."""
    parts = evaluation_of(pictures * 2, {"challenger": 0.9}).metrics["per_donor"]
    assert parts.keys() == {f"D{n:02d}" for n in range(1, 9)}
    assert all(0 < own["AP50_pooled"] <= 1 and own["images"] == 4 and own["labels"] > 0 for own in parts.values())


def test_the_report_shows_outlines_worst_pictures_first(pictures: list[CellPicture]) -> None:
    found = evaluation_of(pictures, {"challenger": 0.8, "champion": 0.6})
    worst = found.challenger.worst
    assert len(worst) == KIND.words.shown and [view.errors for view in worst] == sorted(
        (view.errors for view in worst), reverse=True
    )
    picture = cv2.imencode(".png", np.full((200, 200, 3), 90, np.uint8))[1].tobytes()
    judged = Judged(*decide(LINE, found, KIND), datetime(2026, 11, 26, 2, 30, tzinfo=UTC))
    html = render(LINE, KIND, found, judged, images={view.frame_oid: picture for view in worst}, heats={})
    text = read(html).text
    for words in ("AP at IoU 0.5, pooled (StarDist)", "panoptic quality (PQ)", "Bolya", "By size", "within 2 px"):
        assert words in text, words
    drawn = re.findall(r'<polygon class="shape (\w+)" points="([^"]+)"', html)
    assert {state for state, _ in drawn} >= {"right", "wrong", "missed"}
    assert sum(len(points.split()) > 6 for _, points in drawn) > 0.5 * len(drawn), "outlines, not boxes"
    assert len(html) < 5_000_000


def test_a_picture_whose_name_is_a_hash_is_shown_by_its_first_digits(pictures: list[CellPicture]) -> None:
    names = [f"{hashlib.sha256(bytes([number])).hexdigest()}{end}" for number, end in enumerate((".png", "", ".tif"))]
    found = evaluation_of(pictures, {"challenger": 0.8, "champion": 0.6}, names)
    assert set(names) <= found.metrics["per_recording"].keys(), "what is stored has the whole name"
    judged = Judged(*decide(LINE, found, KIND), datetime(2026, 11, 26, 2, 30, tzinfo=UTC))
    html = render(LINE, KIND, found, judged, images={}, heats={})
    text = html[html.index("<h2>By recording</h2>") : html.index("<h2>What running it costs</h2>")]
    for name, end in zip(names, (".png", "", ".tif"), strict=True):
        assert f'<td><span title="{name}">{name[:8]}…{end}</span>' in text
    assert f"<td>{pictures[3].file}</td>" in text and "<th>pictures</th>" not in text, "of stills each is one"
    assert not any(name in read(html).text for name in names)
