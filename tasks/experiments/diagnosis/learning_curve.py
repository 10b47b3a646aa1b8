"""Would more data help? The recipe, trained on shares of the groups, tested on the same test split.

Each training leaves a record when it is finished, and another when it failed; running again does only what is missing,
and a killed one goes on from its checkpoint.

    experiments/<line>/learning-curves/<key>.json           a training's result
    experiments/<line>/learning-curves/<key>.failed.json    why its last try failed
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from tasks.config import Line
from tasks.datasets.shares import SHARES, WHAT, Share, make_shares
from tasks.experiments.diagnosis.findings import CurvePoint, LearningCurve
from tasks.experiments.experiment_runs import evaluate, kept_or_made, score_digest, train_unregistered
from tasks.kinds import kind_of
from tasks.lake import Lake, Manifest
from tasks.metrics.learning_curve import Measured, last_doubling

log = logging.getLogger(__name__)


def measure_curve(lake: Lake, line: Line, base: Manifest, seeds: Sequence[int]) -> LearningCurve:
    """Train and test every share with every seed, whatever becomes of each.

    Args:
        lake: Where versions, trainings and results are.
        line: Whose recipe.
        base: The version whose groups are shared out; audited.
        seeds: Of the groups' order, and of the training.

    Raises:
        InsufficientData: Fewer than two training groups, or no test split.
    """
    metric = kind_of(line.kind).metrics.METRICS[0]
    shares = make_shares(lake, line, kind_of(line.kind), base, seeds)
    points = []
    for number, share in enumerate(shares, 1):
        log.info(f"learning curve: training {number} of {len(shares)}, {share.groups} groups, seed {share.seed}")
        points.append(_point(lake, line.with_changes({"seed": share.seed}), share, metric.name))
    measured = [
        Measured(groups=point.groups, seed=point.seed, value=point.value) for point in points if point.value is not None
    ]
    return LearningCurve(
        metric=metric.name,
        seeds=tuple(seeds),
        points=tuple(points),
        rise=last_doubling(measured, line.evaluation.confidence, better=metric.better),
        complete=all(point.state == "finished" for point in points),
    )


def trainings(seeds: int) -> int:
    """How many trainings a curve takes at most."""
    return len(SHARES) * seeds


def _point(lake: Lake, line: Line, share: Share, metric: str) -> CurvePoint:
    """One training: done now, or found."""
    key = f"experiments/{line.line}/learning-curves/{score_digest(lake, line, share.version)}"
    about = {
        "groups": share.groups, "frames": share.frames, "seed": share.seed, "dataset_version": share.version,
        "warnings": share.warnings,
    }  # fmt: skip

    def made() -> CurvePoint:
        trained, model = train_unregistered(lake, line, share.version)
        oid, evaluation = evaluate(lake, line, share.version, model)
        return CurvePoint(
            state="finished", **about, value=evaluation.value(metric), steps=trained.steps, seconds=trained.seconds,
            run_key=trained.run_key, weights_oid=trained.weights_oid, evaluation_oid=oid,
        )  # fmt: skip

    try:
        return CurvePoint.model_validate(kept_or_made(lake, WHAT, line.line, key, made))
    except Exception as error:  # one training's crash must not lose the others; the curve names it
        log.error(f"{share.groups} groups, seed {share.seed}: {error}")
        return CurvePoint(state="failed", **about, why=str(error))
