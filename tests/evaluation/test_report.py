"""The report: answers first, nothing from outside, nothing unescaped."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import cv2
import numpy as np
import pytest

from tasks.evaluation.content import losses
from tasks.evaluation.evaluation import Evaluation, Latency
from tasks.evaluation.plots import outlines, signed
from tasks.evaluation.report import Judged, Link, Sheet, _jpeg, store_report
from tasks.gates.decide import decide
from tasks.kind import ModelRef, Shape
from tasks.lake import Lake
from tasks.metrics.detection import METRICS
from tests.evaluation.world import DETECTION, a_line, judged, make_world, model

AT = datetime(2026, 11, 20, 2, 30, tzinfo=UTC)


class Words(HTMLParser):
    """The text of a page, and its tags that must be closed."""

    def __init__(self) -> None:
        super().__init__()
        self.text, self.open, self.addresses = "", [], []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "br", "img"):
            self.open.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("href", "src")]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("href", "src")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data


def page(
    lake: Lake, recordings: list[str], champion: ModelRef | None, error: float, links: list[Link], **line: Any
) -> tuple[str, Evaluation]:
    world = make_world(lake, a_line(**line), recordings)
    _, found = judged(lake, world, model("12", error), champion)
    outcome = decide(world.line, found, DETECTION)
    oid = store_report(lake, world.line, DETECTION, found, Judged(*outcome, AT), links=links)
    return lake.blobs.get_bytes(oid).decode(), found


def read(html: str) -> Words:
    words = Words()
    words.feed(html)
    assert words.open == []
    words.text = re.sub(r"\s+", " ", words.text)
    return words


def test_it_answers_first(lake: Lake) -> None:
    html, found = page(lake, ["a.mp4", "b.mp4", "c.mp4"], model("11", 0.1), 0.5, [])
    top = read(html).text[:1500]
    assert "Sperm <detector>, model 12 against champion 11, 20 November 2026, 02:30 UTC" in top
    for words in ("Reject", "By how much", "How sure", "Where it got worse", "from 3 independent test groups"):
        assert words in top
    difference = found.difference("AP50")
    assert difference is not None and difference.value is not None
    assert signed(difference.value, 3) in top


def test_every_part_is_there(lake: Lake) -> None:
    gates = [
        {"metric": "AP50", "at_least": 0.2},
        {"metric": "AP50", "not_worse_by": 0.02, "for_each": ["class", "size"]},
    ]
    html, found = page(lake, [f"{name}.mp4" for name in "abcdef"], model("11", 0.2), 0.4, [], gates=gates)
    text = read(html).text
    for heading in (
        "Gates", "Difference from the champion", "Where it got worse", "What goes wrong, and what it costs",
        "What was taken for what", "Counts per frame", "By class", "By size", "By recording", "Curves",
        "How to read reliability", "Frames with the most mistakes", "What running it costs", "What this rests on",
    ):  # fmt: skip
        assert heading in text, heading
    for kind in found.challenger.breakdown:
        assert kind.title in text
        assert (kind.advice in text) == bool(kind.count or kind.cost)
    gate = text[text.index("AP50.each-class-size.not_worse_by") : text.index("Difference from the champion")]
    for where in ("class sperm", "class impurity", "size small", "size medium", "size large"):
        assert gate.count(where) == 2, "once in the finding's sentence, once with its numbers"
    assert "sides to 12 px" in text and "beyond chance" in text and found.measured_by in text


def test_running_costs_stand_side_by_side(lake: Lake) -> None:
    html, found = page(lake, ["a.mp4", "b.mp4"], model("11", 0.2), 0.4, [])
    text = read(html).text
    costs = text[text.index("What running it costs") : text.index("What this rests on")]
    assert found.champion is not None
    for role, result in (("Challenger", found.challenger), ("Champion", found.champion)):
        (taken,) = result.latencies
        assert taken.fps and taken.fps >= 1e3 / taken.latency_ms_p95 * 0.5
        assert taken.peak_memory_mib and taken.peak_memory_mib > 50
        row = costs[costs.index(role) :]
        cells = f"{taken.latency_ms_p50:.1f} ms", f"{taken.latency_ms_p95:.1f} ms", f"{taken.fps:,.1f}"
        assert f"{taken.images}{''.join(cells)}{taken.peak_memory_mib:,.0f} MiB" in row
    older = found.challenger.latencies[0].model_dump(exclude={"fps", "peak_memory_mib"})
    assert Latency.model_validate(older).fps is None, "an evaluation from before is still read"


def test_it_says_how_many_losses_are_sure(lake: Lake) -> None:
    html, found = page(lake, [f"{name}.mp4" for name in "abcdef"], model("11", 0.0), 0.6, [])
    every = losses(found, METRICS)
    assert every == sorted(every, key=lambda loss: not loss.sure), "the sure ones come first"
    sure = sum(loss.sure for loss in every)
    assert sure > 0 and all(loss.shown for loss in every)
    for loss in every:
        assert (loss.difference > 0) == (loss.metric.better == "lower")
    assert f"{sure} of {len(every)} measured losses are beyond chance" in read(html).text


def test_a_better_model_got_worse_nowhere(lake: Lake) -> None:
    html, _ = page(lake, ["a.mp4", "b.mp4"], model("11", 0.7), 0.0, [])
    assert "Nowhere" in read(html).text


def test_what_must_not_be_overlooked(lake: Lake) -> None:
    html, _ = page(lake, ["a.mp4"], None, 0.0, [], approval={"required": True, "timeout_h": 12})
    top = read(html).text[:900]
    assert "Promote" in top and "First champion: there was none to compare with" in top
    assert "Takes charge only once a person approves, within 12 hours" in top
    html, _ = page(lake, ["a.mp4"], None, 0.9, [], approval="required")
    top = read(html).text[:900]
    assert "No champion yet: only the absolute gates judged" in top and "a person approves" not in top


def test_a_threshold_that_the_line_sets_is_said(lake: Lake) -> None:
    html, _ = page(lake, ["a.mp4"], None, 0.2, [], evaluation={"resamples": 200, "score_threshold": 0.3})
    assert "0.300, as the line sets it" in read(html).text


@pytest.mark.parametrize(("width", "height"), [(1920, 1080), (1080, 1920), (700, 3000)])
def test_a_frame_full_of_noise_stays_small_enough(width: int, height: int) -> None:
    """Six of them, in base64, must leave room in 5 MB."""
    noise = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    jpeg = _jpeg(cv2.imencode(".png", noise)[1].tobytes())
    assert 6 * len(jpeg) * 4 / 3 < 4_000_000
    shown = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert shown is not None and shown.shape[1] / shown.shape[0] == pytest.approx(width / height, rel=0.01)


def test_a_first_model(lake: Lake) -> None:
    html, _ = page(lake, ["a.mp4"], None, 0.0, [])
    text = read(html).text
    for words in ("no champion yet", "There is no champion to compare with.", "Where it is weakest", "Not compared",
                  "Not known", "1 recording (a.mp4)"):  # fmt: skip
        assert words in text
    assert "Difference from the champion" not in text


def test_it_needs_nothing_from_outside_and_links_only_to_the_web(lake: Lake) -> None:
    links = [Link("MLflow run", "run 7", "http://127.0.0.1:5000/#/runs/7"), Link("Bad", "no", "javascript:alert(1)")]
    html, found = page(lake, ["a.mp4", "b.mp4"], model("11", 0.2), 0.4, links)
    outside = [a for a in read(html).addresses if not a.startswith(("data:image/jpeg;base64,", "#frame"))]
    assert outside == ["http://127.0.0.1:5000/#/runs/7"]
    assert "<script" not in html and "@import" not in html and "url(" not in html
    assert found.dataset_version in html and found.challenger.predictions_oid in html
    assert len(html) < 5_000_000


def test_it_shows_what_the_model_saw_in_training(lake: Lake) -> None:
    world = make_world(lake, a_line(), ["a.mp4", "b.mp4"])
    _, found = judged(lake, world, model("2", 0.3))
    outcome = Judged(*decide(world.line, found, DETECTION), AT)

    def shown(*sheets: Sheet) -> str:
        oid = store_report(lake, world.line, DETECTION, found, outcome, sheets=sheets)
        return lake.blobs.get_bytes(oid).decode()

    one, two = b"\xff\xd8\xffone", b"\xff\xd8\xfftwo"
    staged = shown(Sheet("Stage 1 of 2", one), Sheet("Stage 2 of 2", two))
    text = read(staged).text
    assert "What the model saw in training" in text and "the first epoch of each stage" in text
    assert text.index("Stage 1 of 2") < text.index("Stage 2 of 2")
    for jpeg in (one, two):
        assert f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}" in read(staged).addresses
    assert "of each stage" not in read(shown(Sheet("", one))).text
    assert "What the model saw" not in read(shown()).text
    last = read(shown(Sheet("", one, predicted=True)))
    assert "What the model predicted when its training ended" in last.text and "What the model saw" not in last.text
    assert f"data:image/jpeg;base64,{base64.b64encode(one).decode()}" in last.addresses


def test_names_from_people_cannot_become_markup(lake: Lake) -> None:
    html, _ = page(lake, ["<script>alert(1)</script>.mp4", "b & c.mp4"], model("11", 0.2), 0.9, [Link("<b>", "<i>")])
    assert "<script" not in html and "<i>" not in html.replace("<i style", "")
    assert "<script>alert(1)</script>.mp4" in read(html).text


def test_the_same_evaluation_is_the_same_report(lake: Lake) -> None:
    world = make_world(lake, a_line(), ["a.mp4", "b.mp4"])
    _, found = judged(lake, world, model("2", 0.3))
    outcome = decide(world.line, found, DETECTION)
    one, two = (store_report(lake, world.line, DETECTION, found, Judged(*outcome, AT)) for _ in range(2))
    assert one == two


@pytest.mark.parametrize(("value", "text"), [(0.0124, "+0.012"), (-0.003, "−0.003"), (-0.0001, "0.000")])
def test_signed(value: float, text: str) -> None:
    assert signed(value, 3) == text


def test_a_right_box_is_seen_where_a_wrong_one_lies_on_it() -> None:
    points = ((0.0, 0.0), (4.0, 0.0), (4.0, 4.0), (0.0, 4.0))
    drawn = outlines(
        [Shape(points=points, label=label, state=state) for label, state in (("a", "right"), ("b", "wrong"))]
    )
    assert drawn.index("shape wrong") < drawn.index("shape right"), "the thicker line is drawn first"
