"""Train and test for an experiment: models that nobody may promote, and results that are kept and found again."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from tasks.config import Line
from tasks.kinds import kind_of
from tasks.lake import Lake
from tasks.lake.signed import keep, kept
from tasks.schemas import Frozen, Oid, digest, now
from tasks.steps.train import materialise_and_train

if TYPE_CHECKING:
    from tasks.evaluation.evaluation import Evaluation
    from tasks.kind import ModelRef
    from tasks.metrics.judgement import Metric
    from tasks.training.records import Trained
    from tasks.training.run_worker import Watch

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


def score_digest(lake: Lake, line: Line, dataset_version: str) -> str:
    """Digest all that decides the scores of a training and its test: where an experiment keeps them."""
    from tasks.provenance import code_of
    from tasks.training.identity import run_key

    parts = (
        run_key(lake, line, dataset_version, kind_of(line.kind)),
        code_of("evaluation", line.kind),
        line.evaluation.model_dump(),
        list(line.classes),
    )
    return digest(*parts)


def kept_or_made(lake: Lake, what: str, line: str, key: str, make: Callable[[], Frozen]) -> dict[str, Any]:
    """Find what an experiment's part left when it was finished, or do it now.

    A failure is kept, too, beside where the result would be, until the next try.

    Args:
        lake: Where records are.
        what: Which experiment's: a result is signed for it.
        line: The line.
        key: Without its end: `<key>.json` has the result, `<key>.failed.json` why the last try failed.
        make: Does the part.

    Raises:
        Exception: Whatever `make` raises.
    """
    result: dict[str, Any] | None = kept(lake, what, line, f"{key}.json")
    if result is None:
        try:
            result = make().model_dump(mode="json")
        except Exception as error:
            failure = {"error": type(error).__name__, "why": str(error), "at": now().isoformat()}
            lake.store.put_json(f"{key}.failed.json", failure)
            raise
        keep(lake, what, line, f"{key}.json", result)
    lake.store.remove(f"{key}.failed.json")
    return result


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
