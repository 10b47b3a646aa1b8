"""Train and test for an experiment: models that nobody may promote, and results that are kept and found again."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tasks.config import Line
from tasks.kinds import kind_of
from tasks.lake import Lake
from tasks.lake.signed import keep, kept
from tasks.schemas import Frozen, Oid
from tasks.steps.train import materialise_and_train

if TYPE_CHECKING:
    from tasks.evaluation.evaluation import Evaluation
    from tasks.kind import ModelRef
    from tasks.metrics.judgement import Metric
    from tasks.training.records import Trained
    from tasks.training.train import Watch

log = logging.getLogger(__name__)


class Score(Frozen):
    """A metric with its interval; None where it could not be measured."""

    value: float | None
    low: float | None = None
    high: float | None = None


def train_unregistered(
    lake: Lake, line: Line, dataset_version: str, watch: Watch | None = None
) -> tuple[Trained, ModelRef]:
    """Train the line's recipe on an experiment's version, without MLflow. Finished = returned, killed = resumed.

    Args:
        lake: Where the version is.
        line: With the experiment's changes.
        dataset_version: What is trained on.
        watch: Sees the epochs while it trains, and may end it.

    Returns:
        The training, and what evaluation needs to know of its model.

    Raises:
        StopTraining: `watch` ended it.
    """
    from tasks.kind import ModelRef
    from tasks.training import train

    kind = kind_of(line.kind)
    trained = materialise_and_train(
        lake,
        line,
        kind,
        lake.datasets.load(line.line, dataset_version),
        lambda data, has_val: train.train_unregistered(
            lake, line, kind, dataset_version, data, has_val, progress=log.info, watch=watch
        ),
    )
    model = ModelRef(
        model_version=f"run {trained.run_key[:12]}",
        weights_oid=trained.weights_oid,
        classes=tuple(line.classes),
        dataset_version=dataset_version,
        options={"imgsz": int(trained.setup.get("imgsz", 0)), "predict": trained.recipe.get("predict", {})},
    )
    return trained, model


def evaluate(
    lake: Lake, line: Line, dataset_version: str, model: ModelRef, other: ModelRef | None = None
) -> tuple[Oid, Evaluation]:
    """Test a model, or two on the same frames, on the test split of a version."""
    from tasks.evaluation.evaluate import evaluate as judge
    from tasks.training.devices import compute_slot

    with compute_slot(lake.settings, lambda what: log.info(f"waiting for {what}")):
        return judge(lake, line, dataset_version, kind=kind_of(line.kind), challenger=model, champion=other)


def measures(line: Line) -> Iterable[tuple[Metric, str | None]]:
    """List what there is to compare: every resampled metric of the line's kind overall, then in every slice."""
    kind = kind_of(line.kind).metrics
    slices = [f"{family}.{name}" for family, names in kind.slices(line).items() for name in names]
    for where in (None, *slices):
        for metric in kind.METRICS:
            if metric.paired:
                yield metric, where


def score_of(evaluation: Evaluation, metric: Metric, where: str | None) -> Score:
    """Read a metric of an evaluation's first model."""
    from tasks.metrics.judgement import address, find

    path = address(metric.name, where)
    interval = find(evaluation.challenger.intervals, path) or {}
    return Score(value=evaluation.value(metric.name, where), low=interval.get("low"), high=interval.get("high"))


def file_result(lake: Lake, key: str, result: dict[str, Any]) -> Oid:
    """Store an experiment's result as a blob, and name it under `key`, so that it is kept and found again."""
    oid = lake.blobs.put_json(result)
    keep(lake, "experiment", "", key, {"result_oid": oid})
    return oid


def filed_result(lake: Lake, key: str) -> dict[str, Any] | None:
    """Find the result that is filed under a key; None where there is none."""
    filed = kept(lake, "experiment", "", key)
    return {**json.loads(lake.blobs.get_bytes(filed["result_oid"])), **filed} if filed else None
