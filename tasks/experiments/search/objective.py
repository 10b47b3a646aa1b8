"""What a trial is judged by: the line's metrics on the validation split. The test split is for the night that follows.

A search trains on a dataset version of its own, which has the training and validation frames of a night's version and
none of its test frames: what is not in the version cannot be looked at.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tasks.config import Line
from tasks.errors import InsufficientData
from tasks.kinds import kind_of
from tasks.lake import Lake, Manifest

if TYPE_CHECKING:
    from tasks.kind import ModelRef

log = logging.getLogger(__name__)

WHAT = "search"
_SHOWN = ("train", "val")


def without_test(lake: Lake, line: Line, base: Manifest) -> str:
    """Make (or find) the version that a search of a night's version trains and validates on.

    Returns:
        Its hash; the same for every search of `base`.

    Raises:
        InsufficientData: There is no validation split to measure on.
    """
    from tasks.datasets.experiments import save_experiment

    if not base.about["has_val"]:
        raise InsufficientData(
            f"line {line.line}: dataset version {base.version[:12]} has no validation split to measure trials on",
            expected="donors (else recordings) in train, val and test: the test split is not for choosing values",
            fix="add recordings of another donor, or pin one with 'nightscope add --split val'",
        )
    splits = base.rows.column("split").to_pylist()
    rows = base.rows.filter([split in _SHOWN for split in splits])
    places = [split for split in splits if split in _SHOWN]
    return save_experiment(
        lake, line, kind_of(line.kind), base, rows, places, {"what": WHAT}, has_val=True,
        splits={group: split for group, split in (base.about.get("splits") or {}).items() if split in _SHOWN},
        warnings=[], leak_check=base.about.get("leak_check"),
    )  # fmt: skip


def validation_metrics(lake: Lake, line: Line, dataset_version: str, model: ModelRef) -> dict[str, Any]:
    """Measure a model on the validation split of a version: the metrics tree of its kind.

    Raises:
        InsufficientData: There is no such split.
    """
    from tasks.evaluation.predict import pictures_of, predict
    from tasks.metrics.judgement import measured
    from tasks.training.devices import compute_slot

    frames = _validation_frames(lake, line, dataset_version)
    kind = kind_of(line.kind)
    shown = pictures_of(lake, kind, lake.datasets.load(line.line, dataset_version), frames)
    with compute_slot(lake.settings, lambda what: log.info(f"waiting for {what}")):
        predictor = kind.predictors.load(lake, model, None)
        outputs, latency = predict(predictor, shown.paths, f"{line.line}: validation", shown.originals)
    judgement = kind.metrics.judge(kind.metrics.tabulate(outputs, frames, model.classes, line), frames, line)
    cost = {"latency_ms_p50": latency.latency_ms_p50, "latency_ms_p95": latency.latency_ms_p95}
    size_mb = lake.blobs.fetch(model.weights_oid).stat().st_size / 1e6
    return {**measured(judgement, len(frames)), **cost, "model_size_mb": size_mb}


def _validation_frames(lake: Lake, line: Line, dataset_version: str) -> Sequence[dict[str, Any]]:
    rows = lake.datasets.load(line.line, dataset_version).rows.to_pylist()
    frames = [row for row in rows if row["split"] == "val"]
    if not frames:
        raise InsufficientData(f"line {line.line}: dataset version {dataset_version[:12]} has no validation split")
    return sorted(frames, key=lambda row: (row["recording_name"], row["recording_id"], row["frame_index"]))
