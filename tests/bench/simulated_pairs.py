"""Champion and challenger on simulated recordings, for `bench_gates.py`: boxes of which the true quality is known.

A recording has a few frames and, as real ones do, its own number of objects and its own difficulty, which both models
feel (`shared`). In the worlds "each model its own", each model moreover has recordings that suit it and recordings that
do not, whatever the other does. An object is found, placed and scored the better the easier it is; false alarms come on
top. So the two models agree in much and differ in part, frames of one recording resemble each other, and nothing is
normal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.config import Line, parse_line
from tasks.evaluation.evaluation import Difference, Evaluation, ModelResult
from tasks.kind import ModelRef
from tasks.metrics.bootstrap import paired_bootstrap, supporting_clusters
from tasks.metrics.boxes import Boxes
from tasks.metrics.detection import judge
from tasks.metrics.judgement import MetricPath, find, measured

FRAMES, OBJECTS, FALSE_ALARMS = 3, 6, 1.0
SHARED_SD, BREAKDOWN = 0.8, 4.0
OID = "0" * 64
METRIC = "AP50_95"


@dataclass(frozen=True)
class World:
    """What recordings and models are like. Effects are in logits of finding an object of middling difficulty.

    Attributes:
        own_sd: Spread, over recordings, of what suits one model and not the other; 0 = they find the same ones hard.
        failing: Share of the recordings on which a model, and not the other, breaks down.
        count_sd: Spread of the logarithm of the number of objects, over recordings.
        sliced: Two classes and three sizes instead of one of each.
    """

    own_sd: float
    failing: float = 0.0
    count_sd: float = 0.5
    sliced: bool = False

    @property
    def classes(self) -> tuple[str, ...]:
        """Names."""
        return ("sperm", "impurity") if self.sliced else ("sperm",)


@dataclass(frozen=True)
class Model:
    """How much worse than the champion a model is, in everything and in the second class alone."""

    worse: float = 0.0
    spoiled: float = 0.0


@dataclass(frozen=True)
class Drawn:
    """Labels, and what the models made of them, over `recordings` x `FRAMES` images."""

    world: World
    recordings: int
    truth: Boxes
    champion: Boxes
    challengers: dict[str, Boxes]


def draw(world: World, challengers: Mapping[str, Model], recordings: int, seed: int) -> Drawn:
    """One test split, and the predictions of a champion and of several challengers on it."""
    rng = np.random.default_rng(seed)
    mean = OBJECTS * np.exp(rng.normal(-(world.count_sd**2) / 2, world.count_sd, recordings))
    count = rng.poisson(np.repeat(mean, FRAMES))
    image = np.repeat(np.arange(len(count)), count)
    place = np.concatenate([np.zeros(0, dtype=np.int64), *(np.arange(n) for n in count)])
    label = (rng.random(len(image)) < 0.3).astype(np.int64) if world.sliced else np.zeros(len(image), dtype=np.int64)
    corner = np.stack([place % 8, place // 8], axis=1) * 80.0 + rng.uniform(0, 40, (len(image), 2))
    truth = Boxes.of(image, label, np.concatenate([corner, _sides(rng, len(image))], axis=1))
    ease, shared = rng.normal(0, 0.8, len(image)), rng.normal(0, SHARED_SD, recordings)

    def found(model: Model) -> Boxes:
        effect = shared + rng.normal(0, world.own_sd, recordings) - model.worse
        effect -= BREAKDOWN * (rng.random(recordings) < world.failing)
        return _predict(rng, truth, ease - model.spoiled * label, effect, world)

    champion = found(Model())
    return Drawn(world, recordings, truth, champion, {name: found(model) for name, model in challengers.items()})


def _sides(rng: np.random.Generator, n: int) -> np.ndarray:
    side = np.exp(rng.uniform(np.log(10), np.log(40), n))
    return np.stack([side, side * np.exp(rng.normal(0, 0.1, n))], axis=1)


def _predict(rng: np.random.Generator, truth: Boxes, ease: np.ndarray, effect: np.ndarray, world: World) -> Boxes:
    skill = ease + effect[truth.image // FRAMES]
    seen = np.flatnonzero(rng.random(len(skill)) < _logistic(1.5 + skill))
    jitter = 0.09 * np.exp(-0.35 * skill[seen])[:, None] * rng.normal(size=(len(seen), 4))
    box = truth.xywh[seen]
    box = np.concatenate([box[:, :2] + jitter[:, :2] * box[:, 2:], box[:, 2:] * np.exp(jitter[:, 2:])], axis=1)
    score = _logistic(1 + 0.8 * skill[seen] + rng.normal(size=len(seen)))
    alarms = rng.poisson(np.repeat(FALSE_ALARMS * np.exp(-0.5 * effect), FRAMES))
    where = np.repeat(np.arange(len(alarms)), alarms)
    corner = rng.uniform(0, (640, 240), (len(where), 2))
    wild = np.concatenate([corner, _sides(rng, len(where))], axis=1)
    label = (rng.random(len(where)) < 0.3).astype(np.int64) * int(world.sliced)
    return Boxes.of(
        np.concatenate([truth.image[seen], where]),
        np.concatenate([truth.label[seen], label]),
        np.concatenate([box, wild]),
        np.concatenate([score, _logistic(-0.6 + rng.normal(size=len(where)))]),
    )


def _logistic(x: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-x)))


def line_with(world: World, *gates: dict[str, Any], resamples: int = 1000) -> Line:
    """A line of that world; without slices all objects are of one size, which leaves less to compute."""
    limits = {"small_px": 16, "large_px": 28} if world.sliced else {"small_px": 0.1, "large_px": 10_000}
    return parse_line(
        {
            "line": "simulated", "kind": "detection", "classes": list(world.classes), "recipe": {"name": "any"},
            "evaluation": {**limits, "resamples": resamples}, "gates": list(gates),
        },
        "simulation",
    )  # fmt: skip


def evaluate(drawn: Drawn, line: Line) -> dict[str, Evaluation]:
    """Each challenger against the champion, as `tasks.evaluation.evaluate` does it, from boxes instead of images."""
    images, plan, names = drawn.recordings * FRAMES, line.evaluation, drawn.world.classes
    limits = {"small_px": plan.small_px, "large_px": plan.large_px}
    judged = {
        name: judge(boxes, drawn.truth, classes=names, images=images, **limits)
        for name, boxes in {"champion": drawn.champion, **drawn.challengers}.items()
    }
    cluster = np.repeat(np.arange(drawn.recordings), FRAMES)
    statistics = {name: judgement.statistic for name, judgement in judged.items()}
    resampled = paired_bootstrap(statistics, cluster, resamples=plan.resamples, seed=plan.seed)
    assert resampled is not None
    metrics = {name: measured(judgement, images) for name, judgement in judged.items()}
    support = judged["champion"].support
    paths = [path for path in support if path[-1] == METRIC and (drawn.world.sliced or len(path) == 1)]
    recordings = tuple(f"recording:{number}" for number in range(drawn.recordings))
    out = {}
    for name in drawn.challengers:
        draws = resampled.differences(name, "champion")
        differences = tuple(
            _difference(path, metrics[name], metrics["champion"], draws[path],
                        supporting_clusters(support[path], cluster))
            for path in paths
        )  # fmt: skip
        out[name] = Evaluation(
            line=line.line, kind=line.kind, classes=names, dataset_version=OID, images=images, recordings=recordings,
            clusters=recordings, device="cpu", confidence=plan.confidence, resamples=plan.resamples, seed=plan.seed,
            challenger=_result(metrics[name]), champion=_result(metrics["champion"]), differences=differences,
        )  # fmt: skip
    return out


def _difference(
    path: MetricPath, mine: dict[str, Any], theirs: dict[str, Any], draws: np.ndarray, clusters: int
) -> Difference:
    ours, champions = find(mine, path), find(theirs, path)
    known = ours is not None and champions is not None
    values = tuple(None if np.isnan(draw) else float(draw) for draw in draws)
    return Difference(path=path, value=ours - champions if known else None, clusters=clusters, draws=values)


def _result(metrics: dict[str, Any]) -> ModelResult:
    model = ModelRef(model_version="1", weights_oid=OID, classes=("sperm",))
    return ModelResult(model=model, metrics=metrics, intervals={}, predictions_oid=OID, latencies=())


def swapped(evaluation: Evaluation) -> Evaluation:
    """The same pair with the roles exchanged."""
    differences = tuple(
        found.model_copy(
            update={
                "value": None if found.value is None else -found.value,
                "draws": tuple(None if draw is None else -draw for draw in found.draws),
            }
        )
        for found in evaluation.differences
    )
    assert evaluation.champion is not None
    roles = {"challenger": evaluation.champion, "champion": evaluation.challenger}
    return evaluation.model_copy(update={**roles, "differences": differences})


def true_difference(world: World, model: Model, where: str | None, recordings: int) -> tuple[float, float]:
    """A challenger's AP50-95 minus the champion's over a very large population, and that figure's standard error."""
    line = line_with(world, {"metric": METRIC, "at_least": 0}, resamples=100)
    found = evaluate(draw(world, {"it": model}, recordings, seed=12345), line)["it"].difference(METRIC, where)
    assert found is not None and found.value is not None
    return found.value, float(np.nanstd([np.nan if draw is None else draw for draw in found.draws]))
