"""Is an export still the model that it was made of? Its cells and its metrics beside the original's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.config import Line
from tasks.errors import ConfigError
from tasks.evaluation.evaluation import Evaluation
from tasks.kind import Row
from tasks.kind.exports import Precision
from tasks.metrics import masks
from tasks.training.exported import ExportRecord

if TYPE_CHECKING:
    import pyarrow as pa

TOLERANCE = {"metric": 0.005, "mask_iou_p05": 0.95, "score_p95": 0.01, "unmatched_share": 0.01}
"""What an export may differ by: other kernels add up in another order, and what stood on an edge may fall off it."""
COMPARED = ("AP50_pooled", "PQ", "mask_AP")
PARTNER_IOU = 0.5
_SCORE = 0.3
"""Where the model says nothing: cells from here on are compared."""


def tolerance(precision: Precision, max_loss: float | None) -> dict[str, float]:
    """By how much an export may differ from its original.

    Args:
        precision: There is only one for this kind.
        max_loss: Of each metric, instead of the usual.

    Raises:
        ConfigError: `max_loss` is not a number from 0 to 1.
    """
    if max_loss is not None and not 0 <= max_loss <= 1:
        raise ConfigError(f"--max-ap-loss {max_loss}", expected="a number from 0 to 1, e.g. 0.02")
    return TOLERANCE | ({} if max_loss is None else {"metric": max_loss})


def checks(
    line: Line, evaluation: Evaluation, original: pa.Table, export: pa.Table, frames: Sequence[Row],
    predict: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """Cells matched one to one, and metrics with their paired bootstrap interval: export minus original."""
    score = float(predict.get("min_score") or line.evaluation.score_threshold or _SCORE)
    return {
        "images": evaluation.images,
        "score": score,
        "confidence": evaluation.confidence,
        "cells": _agreement(original, export, frames, score),
        "metrics": {name: _compared(evaluation, name) for name in COMPARED},
    }


def refusals(record: ExportRecord) -> list[str]:
    """Why an export is not the model that it was made of; empty = it is, within the tolerance."""
    allowed, cells, out = record.tolerance, record.checks["cells"], []
    for name, found in record.checks["metrics"].items():
        if found["difference"] is None:
            out.append(f"{name}: cannot be measured, the test split has no labels")
        elif abs(found["difference"]) > allowed["metric"]:
            out.append(f"{name}: differs by {abs(found['difference']):.4f}, allowed {allowed['metric']:g}")
    if cells["mask_iou_p05"] is not None and cells["mask_iou_p05"] < allowed["mask_iou_p05"]:
        out.append(
            f"masks: one in twenty overlaps its partner by {cells['mask_iou_p05']:.3f} (IoU) or less, allowed "
            f"{allowed['mask_iou_p05']:g}"
        )
    if cells["score_p95"] is not None and cells["score_p95"] > allowed["score_p95"]:
        out.append(f"scores: moved by {cells['score_p95']:.4f} (p95), allowed {allowed['score_p95']:g}")
    if cells["missing"] + cells["extra"] > allowed["unmatched_share"] * max(1, cells["compared"]):
        out.append(
            f"cells: {cells['missing']} of {cells['compared']} are missing and {cells['extra']} are new, allowed "
            f"{allowed['unmatched_share']:.1%} together"
        )
    return out


def described(checks: Mapping[str, Any]) -> list[str]:
    """How far the cells agree, in a sentence."""
    cells = checks["cells"]
    overlap = "–" if cells["mask_iou_p05"] is None else f"{cells['mask_iou_p05']:.4f}"
    return [
        f"cells from score {checks['score']:g}: {cells['compared']} compared, {cells['missing']} missing, "
        f"{cells['extra']} new; masks overlap by {overlap} (IoU, 5th percentile)"
    ]


def _agreement(original: pa.Table, export: pa.Table, frames: Sequence[Row], score: float) -> dict[str, Any]:
    """Cells of both, of one class and at or above a score, matched one to one picture by picture."""
    overlaps: list[float] = []
    moved: list[float] = []
    missing = extra = compared = 0
    first, second = _by_picture(original, score), _by_picture(export, score)
    for row in frames:
        key = (row["recording_id"], row["frame_index"])
        ours, theirs = first.get(key, []), second.get(key, [])
        found = _matched(ours, theirs, row["height_px"], row["width_px"])
        compared += len(ours)
        missing += len(ours) - len(found)
        extra += len(theirs) - len(found)
        overlaps += [overlap for overlap, _ in found]
        moved += [score for _, score in found]
    return {
        "compared": compared, "missing": missing, "extra": extra,
        "mask_iou_p05": float(np.percentile(overlaps, 5)) if overlaps else None,
        "score_p95": float(np.percentile(moved, 95)) if moved else None,
    }  # fmt: skip


_Cell = tuple[str, str, float]
"""Label, mask, score."""


def _matched(ours: list[_Cell], theirs: list[_Cell], height_px: int, width_px: int) -> list[tuple[float, float]]:
    """IoU and distance of scores of each pair. A model's masks share no pixel: above 0.5 there is one partner."""
    table = masks.iou(*([masks.as_coco(mask, height_px, width_px) for _, mask, _ in each] for each in (ours, theirs)))
    if not table.size:
        return []
    same = np.where([[a == b for b, _, _ in theirs] for a, _, _ in ours], table, 0.0)
    partners = same.argmax(axis=1)
    return [
        (float(same[place, partner]), abs(ours[place][2] - theirs[partner][2]))
        for place, partner in enumerate(partners.tolist())
        if same[place, partner] > PARTNER_IOU
    ]


def _by_picture(table: pa.Table, score: float) -> dict[tuple[str, int], list[_Cell]]:
    found: dict[tuple[str, int], list[_Cell]] = {}
    for row in table.select(["recording_id", "frame_index", "label", "score", "mask"]).to_pylist():
        if row["score"] >= score:
            key = (row["recording_id"], row["frame_index"])
            found.setdefault(key, []).append((row["label"], row["mask"], row["score"]))
    return found


def _compared(evaluation: Evaluation, metric: str) -> dict[str, float | None]:
    """Export minus original, with the paired interval."""
    difference = evaluation.difference(metric)
    interval = difference.interval(evaluation.confidence) if difference else None
    return {
        "original": evaluation.champion_value(metric),
        "export": evaluation.value(metric),
        "difference": difference.value if difference else None,
        "low": interval.low if interval else None,
        "high": interval.high if interval else None,
    }
