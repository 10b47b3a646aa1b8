"""The report: answers first, nothing from outside, nothing unescaped."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest

from tasks.evaluation.evaluate import evaluate
from tasks.evaluation.evaluation import Evaluation, ModelRef
from tasks.evaluation.plots import signed
from tasks.evaluation.report import Link, store_report
from tasks.gates.decide import decide
from tasks.lake import Lake
from tests.evaluation.world import a_line, loader, make_world, model

AT = datetime(2026, 11, 20, 2, 30, tzinfo=UTC)


class Words(HTMLParser):
    """The text of a page, and its tags that must be closed."""

    def __init__(self) -> None:
        super().__init__()
        self.text, self.open, self.addresses = "", [], []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "br"):
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
    lake: Lake, recordings: list[str], champion: ModelRef | None, error: float, links: list[Link]
) -> tuple[str, Evaluation]:
    world = make_world(lake, a_line(), recordings)
    _, found = evaluate(
        lake, world.line, world.version, challenger=model("12", error), champion=champion, load=loader(world)
    )
    outcome = decide(world.line, found)
    oid = store_report(
        lake,
        world.line,
        found,
        decision=outcome.decision,
        reasons=outcome.reasons,
        gates=outcome.gates,
        at=AT,
        links=links,
    )
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


def test_names_from_people_cannot_become_markup(lake: Lake) -> None:
    html, _ = page(lake, ["<script>alert(1)</script>.mp4", "b & c.mp4"], model("11", 0.2), 0.9, [Link("<b>", "<i>")])
    assert "<script" not in html and "<i>" not in html.replace("<i style", "")
    assert "<script>alert(1)</script>.mp4" in read(html).text


def test_the_same_evaluation_is_the_same_report(lake: Lake) -> None:
    world = make_world(lake, a_line(), ["a.mp4", "b.mp4"])
    _, found = evaluate(lake, world.line, world.version, challenger=model("2", 0.3), champion=None, load=loader(world))
    outcome = decide(world.line, found)
    one, two = (
        store_report(
            lake, world.line, found, decision=outcome.decision, reasons=outcome.reasons, gates=outcome.gates, at=AT
        )
        for _ in range(2)
    )
    assert one == two


@pytest.mark.parametrize(("value", "text"), [(0.0124, "+0.012"), (-0.003, "−0.003"), (-0.0001, "0.000")])
def test_signed(value: float, text: str) -> None:
    assert signed(value, 3) == text
