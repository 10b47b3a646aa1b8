"""Show what leakage buys: the same data and recipe, split by frame at random and split by recording."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tasks.config import Line
from tasks.experiments.experiment_runs import (
    Score,
    evaluate,
    file_result,
    filed_result,
    measures,
    score_of,
    train_unregistered,
)
from tasks.kinds import kind_of
from tasks.lake import Lake
from tasks.schemas import Frozen, Oid, digest
from tasks.session import Session
from tasks.steps.audit import audited, require_audit
from tasks.steps.change_detection import check_request

if TYPE_CHECKING:
    from tasks.datasets.leaking import Pair
    from tasks.evaluation.evaluation import Evaluation
    from tasks.kind import ModelRef
    from tasks.lake import Manifest
    from tasks.metrics.judgement import Metric

log = logging.getLogger(__name__)


class LeakageDemonstration(Frozen):
    """Both ways to split, side by side.

    A score has `metric`, `title`, `where`, `digits`, and `by_frame`, `by_group` and `difference`, each with `value`,
    `low` and `high`.
    """

    line: str
    dataset_version: str
    seed: int
    confidence: float
    splits: dict[str, dict[str, Any]]
    """`by_frame` and `by_group`: frames and groups, and how many groups stand on both sides."""
    scores: tuple[dict[str, Any], ...]
    same_frames: dict[str, Any] | None
    """`frames`, `groups`, `scores`."""
    new_groups: dict[str, Any] | None
    """As `same_frames`; None: there is no validation split, and so there are no such groups."""
    audit: dict[str, Any]
    sentence: str
    result_oid: Oid


def demonstrate_leakage(
    session: Session,
    name: str,
    changes: Mapping[str, Any] | None = None,
    *,
    dataset_version: str | None = None,
) -> LeakageDemonstration:
    """Train the line's recipe twice on the same frames, split in two ways, and set both test scores side by side.

    The frames are those of a dataset version's train and test splits. *By frame*: as many of them as the version tests
    on are drawn at random and tested on, the rest is trained on. *By group*: its own split, by donor or recording. So
    both train on the same number of frames and test on the same number, with one recipe and one seed.

    Four things are measured, because the two test scores alone would not be a fair comparison: they are of different
    frames, and the recordings that the honest split tests on may simply be harder.

    1. `scores`: each model on its own test split, what a user of that split would report; and the difference. Its
       interval draws groups (`tasks.metrics.split_bias`), and there is none with a single test group.
    2. `same_frames`: both models on the test frames that the two splits share. The frames, the number of training
       frames, recipe and seed are the same; the one model has been trained on other frames of these recordings, the
       other has not. That difference is what knowing the recording is worth, and what will be missing tomorrow. Its
       interval is paired.
    3. `new_groups`: both models on groups that neither has seen, where the version has a validation split, whose groups
       both trainings leave out: there the one falls from its promised score to what it is worth. (It may still do
       better than the other: it has learned from more recordings, each with fewer frames. That is no leak.) Without a
       validation split there are no such groups, and `new_groups` is None: nothing is made up.
    4. `audit`: what the leak audit says of the split by frame (its summary, and an `example`). No other training of it
       would start.

    Args:
        session: Whose lake.
        name: The line.
        changes: Of its recipe, for this run.
        dataset_version: Whose frames; default the newest that a night froze.

    Returns:
        The demonstration. Finished = returned, killed = resumed.

    Raises:
        NotFound: The line has no (such) dataset version.
        InsufficientData: It has nothing to train or to test on.
        LeakageError: The version itself leaks: there is nothing honest to compare with.
        StepFailed, StepKilled: A training failed.
    """
    from tasks.datasets.experiments import require_classes, starting_version
    from tasks.datasets.leaking import make_pair
    from tasks.provenance import code_of
    from tasks.training.identity import run_key

    check_request(session, name, changes or {})
    lake, line = session.lake, session.line(name, changes)
    base = starting_version(lake, line, dataset_version)
    require_classes(line, base)
    require_audit(lake, base)  # or the honest side of the comparison would leak, too
    pair = make_pair(lake, line, kind_of(line.kind), base, line.recipe.seed)
    keys = [run_key(lake, line, version, kind_of(line.kind)) for version in (pair.by_frame, pair.by_group)]
    key = digest(
        "demonstration", keys, code_of("evaluation", line.kind), line.evaluation.model_dump(), list(line.classes)
    )
    where = f"experiments/{name}/demonstrations/{key}.json"
    result = filed_result(lake, where)
    if result is None:
        result = _demonstrate(lake, line, base, pair)
        result["result_oid"] = file_result(lake, where, result)
    log.info(result["sentence"])
    return LeakageDemonstration(**result)


def _demonstrate(lake: Lake, line: Line, base: Manifest, pair: Pair) -> dict[str, Any]:
    log.info("training on frames drawn at random, recordings on both sides")
    _, by_frame = train_unregistered(lake, line, pair.by_frame)
    log.info("training on as many frames, whole recordings left out")
    _, by_group = train_unregistered(lake, line, pair.by_group)
    flattered_oid, flattered = evaluate(lake, line, pair.by_frame, by_frame)
    honest_oid, honest = evaluate(lake, line, pair.by_group, by_group)
    scores = _apart(lake, line, flattered, honest)
    result = {
        "line": line.line,
        "dataset_version": base.version,
        "seed": line.recipe.seed,
        "confidence": line.evaluation.confidence,
        "splits": {
            "by_frame": {**_split(lake, line, pair.by_frame), "evaluation_oid": flattered_oid},
            "by_group": {**_split(lake, line, pair.by_group), "evaluation_oid": honest_oid},
        },
        "scores": scores,
        "same_frames": _paired(lake, line, pair.same_frames, by_frame, by_group),
        "new_groups": _paired(lake, line, pair.new_groups, by_frame, by_group),
        "audit": _audit(lake, line, pair.by_frame),
    }
    return {**result, "sentence": _sentence(result)}


def _audit(lake: Lake, line: Line, version: str) -> dict[str, Any]:
    """Audit a split that no other training would be let start on."""
    found = audited(lake, line.line, lake.datasets.load(line.line, version).rows)
    return {**found.as_json(), "example": str(found.findings[0]) if found.findings else None}


def _split(lake: Lake, line: Line, version: str) -> dict[str, Any]:
    rows = lake.datasets.load(line.line, version).rows
    groups: dict[str, set[str]] = {"train": set(), "test": set()}
    frames = {"train": 0, "test": 0}
    for split, group in zip(rows.column("split").to_pylist(), rows.column("group").to_pylist(), strict=True):
        groups[split].add(group)
        frames[split] += 1
    return {
        "dataset_version": version,
        "train_frames": frames["train"],
        "test_frames": frames["test"],
        "train_groups": len(groups["train"]),
        "test_groups": len(groups["test"]),
        "groups_on_both_sides": len(groups["train"] & groups["test"]),
    }


def _apart(lake: Lake, line: Line, flattered: Evaluation, honest: Evaluation) -> list[dict[str, Any]]:
    """Score each model on its own test split, and the difference."""
    from tasks.evaluation.evaluate import frames_of_test_split, stored_predictions
    from tasks.metrics.bootstrap import interval, supporting_clusters
    from tasks.metrics.judgement import address
    from tasks.metrics.split_bias import split_bias

    plan = line.evaluation
    judged, groups = [], []
    for evaluation in (flattered, honest):
        frames = frames_of_test_split(lake, line, evaluation.dataset_version)
        predictions = stored_predictions(lake, evaluation.challenger.predictions_oid)
        judged.append(kind_of(line.kind).metrics.judge(predictions, frames, line))
        groups.append([row["group"] for row in frames])
    draws = split_bias(judged[0], judged[1], groups[0], groups[1], resamples=plan.resamples, seed=plan.seed)
    numbers = [[sorted(set(names)).index(name) for name in names] for names in groups]
    found = []
    for metric, where in measures(line):
        path = address(metric.name, where)
        told, true = (score_of(evaluation, metric, where) for evaluation in (flattered, honest))
        if path not in draws or told.value is None or true.value is None:
            continue
        clusters = min(
            supporting_clusters(judgement.support[path], _array(own))
            for judgement, own in zip(judged, numbers, strict=True)
        )
        bounds = interval(draws[path], plan.confidence, clusters)
        difference = Score(value=told.value - true.value, low=bounds.low, high=bounds.high)
        found.append(_row(metric, where, told, true, difference))
    return found


def _paired(
    lake: Lake, line: Line, version: str | None, by_frame: ModelRef, by_group: ModelRef
) -> dict[str, Any] | None:
    """Score both models on the same frames, if there are any."""
    if version is None:
        return None
    oid, evaluation = evaluate(lake, line, version, by_frame, by_group)
    rows = []
    for metric, where in measures(line):
        ours, theirs = evaluation.value(metric.name, where), evaluation.champion_value(metric.name, where)
        found = evaluation.difference(metric.name, where)
        if ours is None or theirs is None or found is None:
            continue
        bounds = found.interval(line.evaluation.confidence)
        difference = Score(value=found.value, low=bounds.low, high=bounds.high)
        rows.append(_row(metric, where, Score(value=ours), Score(value=theirs), difference))
    groups = len(evaluation.clusters)
    return {"frames": evaluation.images, "groups": groups, "evaluation_oid": oid, "scores": rows}


def _row(metric: Metric, where: str | None, by_frame: Score, by_group: Score, difference: Score) -> dict[str, Any]:
    return {
        "metric": metric.name,
        "title": metric.title,
        "where": where,
        "digits": metric.digits,
        "by_frame": by_frame.model_dump(),
        "by_group": by_group.model_dump(),
        "difference": difference.model_dump(),
    }


def _sentence(result: dict[str, Any]) -> str:
    """Put the first metric into words."""
    if not result["scores"]:
        return "neither split has anything to measure"
    first = result["scores"][0]
    told, true = first["by_frame"]["value"], first["by_group"]["value"]
    text = (
        f"{first['title']} {told:.3f} is what a split by frame at random reports, {true:.3f} what one by recording "
        f"does ({told - true:+.3f}, on different test frames)"
    )
    if result["same_frames"] and result["same_frames"]["scores"]:
        same = result["same_frames"]["scores"][0]
        frames = result["same_frames"]["frames"]
        text += (
            f"; on the {frames} test frames of both, {same['by_frame']['value']:.3f} against "
            f"{same['by_group']['value']:.3f}"
        )
    if result["new_groups"] and result["new_groups"]["scores"]:
        new = result["new_groups"]["scores"][0]
        text += f"; on recordings that neither has seen, {new['by_frame']['value']:.3f}"
        text += f" against {new['by_group']['value']:.3f}"
    return text


def _array(numbers: list[int]) -> Any:
    import numpy as np

    return np.array(numbers, dtype=np.int64)
