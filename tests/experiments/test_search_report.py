"""The page of a search: what stands on it, and that nothing a person wrote becomes markup or a formula."""

from __future__ import annotations

import re
from typing import Any

from tasks.config import HOME, load_line
from tasks.experiments.search import study, summary
from tasks.experiments.search.records import Search, TrialResult
from tasks.experiments.search.report import render_report
from tasks.schemas import now

HOSTILE = ["$\\frac{$", "<img src=x onerror=alert(1)>", "</svg><script>alert(2)</script>", "a&b"]
LINE = load_line("sperm-morphology", HOME / "dags" / "lines").model_copy(update={"title": "<b>heads</b>"})


def a_search() -> tuple[Search, list[TrialResult]]:
    """Eight trials; the last was ended early."""
    space = {"model": HOSTILE, "lr": {"low": 0.001, "high": 0.01, "log": True}}
    search = Search(
        line=LINE.line, name="any", of="a" * 64, dataset_version="b" * 64, space=space, changes={"weights": "<i>w</i>"},
        where=None, sampler="tpe", seed=0, trials=9, metric="balanced_accuracy", better="higher", pruner="median",
        at=now(),
    )  # fmt: skip
    finished = []
    for number in range(1, 9):
        params: dict[str, Any] = {"model": HOSTILE[number % 4], "lr": 0.001 * number}
        pruned = number == 8
        finished.append(TrialResult(
            number=number, params=params, changes=params, state="pruned" if pruned else "complete",
            value=None if pruned else number / 10, metrics={}, epochs=((1, 0.1), (2, number / 10)), run_key="",
            weights_oid=None, code_version="", seconds=1.0, at=now(),
        ))  # fmt: skip
    return search, finished


def page(search: Search, finished: list[TrialResult]) -> str:
    trials = [{**result.model_dump(exclude={"epochs"}), "epochs": result.epochs[-1][0], "why": None}
              for result in finished]  # fmt: skip
    failed = dict.fromkeys(("value", "seconds", "epochs")) | {
        "number": 9, "state": "failed", "params": {}, "metrics": {}, "why": "<script>alert(3)</script>"
    }  # fmt: skip
    best = study.best_of(search, finished)
    assert best is not None
    summed_up = {
        "trials": [*trials, failed], "notice": summary.NOTICE, "warnings": [],
        "best": {"trial": "any#7", "number": best.number, "value": best.value},
        "command": summary.command(search.line, best.changes),
    }  # fmt: skip
    return render_report(LINE, search, summed_up, finished)


def test_the_page_shows_table_winner_and_plots() -> None:
    text = page(*a_search())
    titles = ["How the search went", "What mattered", "All trials side by side", "Key by key", "Epoch by epoch"]
    assert [title for title in titles if f"<h2>{title}</h2>" not in text] == []
    assert "Trial 7 is the best of 8" in text and "--from-search any#7" in text
    table = re.findall(r'<tr(?: class="best")?><td>(\d)</td><td class="(\w+)"', text)
    assert table == [*((str(n), "complete") for n in (7, 6, 5, 4, 3, 2, 1)), ("8", "pruned"), ("9", "failed")]


def test_what_people_wrote_is_text() -> None:
    text = page(*a_search())
    assert not re.search(r"<(script|img|b>heads|i>w)", text)
    assert "&lt;img src=x onerror=alert(1)&gt;" in text and "$\\frac{$" in text and "&lt;b&gt;heads" in text


def test_the_same_trials_give_the_same_page() -> None:
    assert page(*a_search()) == page(*a_search())
