"""Search spaces: what people write, what is refused, and what is drawn from them."""

from __future__ import annotations

import itertools
import math
import shlex
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tasks.cli.output import parse_changes
from tasks.config import HOME, Line, load_line
from tasks.errors import ConfigError
from tasks.experiments.search import study
from tasks.experiments.search.records import Search, TrialPlan, TrialResult
from tasks.experiments.search.space import Choice, Range, Sampler, cells, dumped, parse_space, read_space, restored
from tasks.experiments.search.summary import command
from tasks.kinds import kind_of
from tasks.schemas import now

DETECTION = kind_of("detection")
SPACE = """
lr0: {low: 1e-4, high: 0.02, log: true}
batch: {low: 4, high: 16, step: 4}
optimizer: [AdamW, SGD]
cos_lr: [true, false]
"""


@pytest.fixture(scope="module")
def line() -> Line:
    return load_line("sperm-detector", HOME / "dags" / "lines")


def a_search(space: Any, sampler: Sampler, line: Line, **other: Any) -> Search:
    parsed = parse_space(space, line, DETECTION, {}, sampler)
    asked = {"seed": 0, "trials": 30, "metric": "AP50", "better": "higher", "pruner": "median", **other}
    return Search(
        line=line.line, name="any", of="a" * 64, dataset_version="b" * 64, space=dumped(parsed), changes={},
        where=None, sampler=sampler, at=now(), **asked,
    )  # fmt: skip


def finished(plan: TrialPlan, value: float, epochs: int = 4) -> TrialResult:
    return TrialResult(
        number=plan.number, params=plan.params, changes=plan.params, state="complete", value=value, metrics={},
        epochs=tuple((epoch, value) for epoch in range(1, epochs + 1)), run_key="", weights_oid=None, code_version="",
        seconds=1.0, at=now(),
    )  # fmt: skip


def goodness(params: Any) -> float:
    """Best at a learning rate of 0.004; nothing else counts."""
    return 1 - abs(math.log(params["lr0"] / 0.004)) / 5


def run(search: Search, trials: int) -> list[TrialResult]:
    done: list[TrialResult] = []
    for number in range(1, trials + 1):
        plan = study.draw(search, number, done, [])
        done.append(finished(plan, goodness(plan.params)))
    return done


def test_a_space_is_read_as_people_write_it(line: Line) -> None:
    space = parse_space(read_space(SPACE, "space.yaml"), line, DETECTION, {}, "tpe")
    assert space["lr0"] == Range(low=0.0001, high=0.02, log=True), "1e-4 is a number, whatever YAML 1.1 thinks"
    assert space["batch"].grid() == (4, 8, 12, 16) and space["cos_lr"] == Choice(values=(True, False))
    assert restored(dumped(space)) == space


FAULTS = {
    "momentun: [0.9]": "momentun: no such argument (did you mean momentum",
    "batch: [8, many, few]": "batch: expected a number of frames",
    "seed: [0, 1]": "seed: cannot be searched, a seed is no setting",
    "gate.AP50.sperm.at_least: [0.1]": "cannot be searched, gates judge a model",
    "imgsz: [320]": "imgsz: stands in the space and in --set",
    "lr0: {low: 0.1, high: 0.01}": "lr0: low must be below high, found 0.1 and 0.01",
    "lrf: {low: 0, high: 1, log: true}": "lrf: log needs a low above 0",
    "box: {low: 1.0, high: 9.0, log: true, step: 1.0}": "log and step exclude each other",
    "cls: {low: 1}": "cls: high: Field required",
    "dfl: {low: 1, high: 2, steps: 3}": "dfl: steps: Extra inputs",
    "mosaic: 0.5": "mosaic: expected a list of values or {low, high, log, step}, found 0.5",
    "scale: []": "scale: expected 1 to 100 values, found 0",
    "hsv_v: [0.1, 0.1]": "hsv_v: a value stands twice",
    "hsv_h: [[0.1]]": "hsv_h: takes lists, and only plain values",
    "degrees: [2026-11-26]": "degrees: expected plain values",
    "hsv_s: [.nan]": "hsv_s: expected plain values",
    "recipe: [detection-from-nothing]": "recipe 'detection-from-nothing': no such recipe",
}


@pytest.mark.parametrize("text", FAULTS)
def test_a_fault_is_named(line: Line, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_space(yaml.safe_load(text), line, DETECTION, {"imgsz": 64}, "tpe")
    assert FAULTS[text] in str(caught.value)


def test_all_faults_are_named_at_once(line: Line) -> None:
    own = {text: said for text, said in FAULTS.items() if not text.startswith("recipe")}
    with pytest.raises(ConfigError) as caught:
        parse_space(yaml.safe_load("\n".join(own)), line, DETECTION, {"imgsz": 64}, "tpe")
    assert [said for said in own.values() if said not in str(caught.value)] == []


def test_a_grid_must_be_countable_and_its_combinations_must_go_together(line: Line) -> None:
    with pytest.raises(ConfigError, match=r"lr0: a grid needs a list, or a range with a step"):
        parse_space({"lr0": {"low": 0.1, "high": 0.2}}, line, DETECTION, {}, "grid")
    large = {key: {"low": 0.0, "high": 0.5, "step": 0.01} for key in ("lr0", "lrf")}
    with pytest.raises(ConfigError, match=r"its grid has 2,601 combinations"):
        parse_space(large, line, DETECTION, {}, "grid")
    together = {"min_steps": [0, 100], "batch": [8, -1]}
    with pytest.raises(ConfigError, match=r"'min_steps': 100, 'batch': -1.*must be a fixed number"):
        parse_space(together, line, DETECTION, {}, "grid")
    assert parse_space(together, line, DETECTION, {}, "random"), "beside min_steps 0, a batch of -1 is fine"


def test_what_is_no_space_is_refused(line: Line) -> None:
    for data in (None, [], {}, "lr0", {f"k{n}": [1] for n in range(31)}):
        with pytest.raises(ConfigError, match="the search space is empty, or none"):
            parse_space(data, line, DETECTION, {}, "tpe")


def test_a_grid_is_tried_whole_and_nothing_twice(line: Line) -> None:
    space = {
        "batch": [4, 8],
        "degrees": {"low": 0, "high": 10, "step": 5},
        "lr0": {"low": 0.1, "high": 0.3, "step": 0.1},
    }
    search = a_search(space, "grid", line)
    assert cells(restored(search.space)) == 18
    drawn = [study.draw(search, number, [], []).params for number in range(1, 19)]
    expected = itertools.product([4, 8], [0, 5, 10], [0.1, 0.2, 0.3])
    assert {tuple(params[key] for key in ("batch", "degrees", "lr0")) for params in drawn} == set(expected)


@pytest.mark.parametrize("sampler", ["grid", "random", "tpe"])
def test_the_same_question_has_the_same_answer(line: Line, sampler: Sampler) -> None:
    space = {"lr0": [0.001, 0.002, 0.004, 0.008], "batch": [4, 8, 16]}
    one, two = (run(a_search(space, sampler, line, seed=5), 12) for _ in range(2))
    other = run(a_search(space, sampler, line, seed=6), 12)
    assert [each.params for each in one] == [each.params for each in two] != [each.params for each in other]


@given(st.integers(0, 2**31 - 1), st.sampled_from(["random", "tpe"]))
def test_values_are_drawn_from_the_space(seed: int, sampler: Any) -> None:
    line = load_line("sperm-detector", HOME / "dags" / "lines")
    search = a_search(yaml.safe_load(SPACE.replace("1e-4", "0.0001")), sampler, line, seed=seed)
    params = study.draw(search, 1, [], []).params
    assert 0.0001 <= float(params["lr0"] or 0) <= 0.02 and params["batch"] in (4, 8, 12, 16)  # type: ignore[arg-type]
    assert params["optimizer"] in ("AdamW", "SGD") and params["cos_lr"] in (True, False)
    assert isinstance(params["batch"], int) and isinstance(params["cos_lr"], bool)


def test_tpe_looks_where_it_was_good_and_says_what_mattered(line: Line) -> None:
    space = yaml.safe_load(SPACE.replace("1e-4", "0.0001"))
    means = {}
    for sampler in ("random", "tpe"):
        search = a_search(space, sampler, line, seed=2)  # type: ignore[arg-type]
        done = run(search, 30)
        means[sampler] = sum(result.value or 0 for result in done[10:]) / 20
        shares, by = study.importances(search, done)
        assert by == "fANOVA" and sum(shares.values()) == pytest.approx(1, abs=1e-4) and shares["lr0"] > 0.8
        best = study.best_of(search, done)
        assert best is not None and best.value == max(result.value or 0 for result in done)
    assert means["tpe"] > means["random"] + 0.1, means


def test_the_lowest_is_best_where_less_is_more(line: Line) -> None:
    search = a_search({"batch": [4, 8, 16]}, "grid", line, better="lower")
    done = [
        finished(TrialPlan(number=number, params={"batch": 4}), value)
        for number, value in ((1, 0.3), (2, 0.1), (3, 0.1))
    ]
    best = study.best_of(search, done)
    assert best is not None and best.number == 2, "the earliest of several"
    assert study.best_of(search, []) is None and study.importances(search, done) == ({}, "")


def test_only_a_hopeless_trial_is_ended_and_only_when_there_is_something_to_compare_with(line: Line) -> None:
    search = a_search({"batch": [4, 8, 16]}, "random", line)
    plan = TrialPlan(number=9, params={"batch": 4})
    others = [finished(TrialPlan(number=n, params={"batch": 8}), n / 10) for n in (1, 2, 3, 4, 5)]

    def hopeless(scores: list[float], among: list[TrialResult], **changed: Any) -> bool:
        epochs = list(enumerate(scores, 1))
        return study.is_hopeless(search.model_copy(update=changed), plan, epochs, among)

    assert hopeless([0.1, 0.2], others) and not hopeless([0.1, 0.4], others), "the median of the others is 0.3"
    assert not hopeless([0.1], others), "the first epoch says little"
    assert not hopeless([0.1, 0.2], others[:3]), "three others say little"
    assert not hopeless([0.1, 0.2], others, pruner="none") and not hopeless([], others)
    assert hopeless([0.1, 0.2], others, better="lower"), "an epoch's score is higher where the model is better"


def test_the_command_gives_a_night_the_very_same_values() -> None:
    changes = {
        "lr0": 1e-5,
        "optimizer": "AdamW",
        "cos_lr": True,
        "weights": None,
        "batch": 8,
        "model": "1e-5",
        "x": "a b",
    }
    words = shlex.split(command("cells", changes))
    assert words[:3] == ["nightscope", "run", "cells"] and words[3::2] == ["--set"] * len(changes)
    read = parse_changes(words[4::2])
    assert read == changes and [type(value) for value in read.values()] == [type(value) for value in changes.values()]
