"""Is an export still the model that it was made of? Its boxes and average precision beside the original's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tasks.config import Line
from tasks.errors import ConfigError
from tasks.evaluation.evaluation import Evaluation
from tasks.kind import Row
from tasks.kind.exports import Precision
from tasks.kinds.detection.metrics import predicted_boxes
from tasks.metrics.agreement import compute_agreement
from tasks.training.exported import ExportRecord

if TYPE_CHECKING:
    import pyarrow as pa

FULL_TOLERANCE = {"ap": 0.001, "corner_px_p95": 0.5, "unmatched_share": 0.005}
"""What an export in full precision may differ by: other kernels add up in another order, and that is all."""
FP16_TOLERANCE = {"ap_loss": 0.005, "class_ap_loss": 0.02, "corner_px_p95": 1.0, "unmatched_share": 0.02}
"""What an export in fp16 may lose. Its numbers have 11 bits: at 1,024 px and above a corner is exact to a pixel."""
INT8_TOLERANCE = {"ap_loss": 0.02, "class_ap_loss": 0.05, "unmatched_share": 0.05}
"""What an export in int8 may lose. Its boxes may move: what that costs is in the average precision. But that is blind
to the scale of scores, so that the detections a user sees, above the operating score, must be nearly the same, too."""

COMPARED = ("AP50", "AP50_95")


def tolerance(precision: Precision, max_loss: float | None) -> dict[str, float]:
    """By how much an export may differ from its original.

    Args:
        precision: Of its weights.
        max_loss: Average precision that it may lose, instead of the usual.

    Raises:
        ConfigError: `max_loss` is not a number from 0 to 1.
    """
    usual = {"fp32": FULL_TOLERANCE, "fp16": FP16_TOLERANCE, "int8": INT8_TOLERANCE}[precision]
    if max_loss is None:
        return dict(usual)
    if not 0 <= max_loss <= 1:
        raise ConfigError(f"--max-ap-loss {max_loss}", expected="a number from 0 to 1, e.g. 0.02")
    return usual | {"ap" if precision == "fp32" else "ap_loss": max_loss}


def refusals(record: ExportRecord) -> list[str]:
    """Why an export is not the model that it was made of; empty = it is, within the tolerance."""
    allowed, boxes, out = record.tolerance, record.checks["boxes"], []
    for name, found in record.checks["metrics"].items():
        lost = None if found["difference"] is None else -found["difference"]
        if lost is None:
            out.append(f"{name}: cannot be measured, the test split has no labels")
        elif "ap" in allowed and abs(lost) > allowed["ap"]:
            out.append(f"{name}: differs by {abs(lost):.4f}, allowed {allowed['ap']:g}")
        elif "ap_loss" in allowed and lost > allowed["ap_loss"]:
            out.append(f"{name}: loses {lost:.4f}, allowed {allowed['ap_loss']:g}")
    for name, found in record.checks["classes"].items():
        lost = -(found["difference"] or 0.0)
        if "class_ap_loss" in allowed and lost > allowed["class_ap_loss"]:
            out.append(f"AP50 of {name}: loses {lost:.4f}, allowed {allowed['class_ap_loss']:g}")
    if "corner_px_p95" in allowed and (boxes["corner_px_p95"] or 0.0) > allowed["corner_px_p95"]:
        out.append(f"boxes: moved by {boxes['corner_px_p95']:.2f} px (p95), allowed {allowed['corner_px_p95']:g}")
    if "unmatched_share" in allowed:
        unmatched = boxes["without_partner"] + boxes["extra"]
        if unmatched > allowed["unmatched_share"] * max(1, boxes["compared"]):
            out.append(
                f"boxes: {boxes['without_partner']} of {boxes['compared']} are missing and {boxes['extra']} are new, "
                f"allowed {allowed['unmatched_share']:.1%} together"
            )
    return out


def checks(
    line: Line, evaluation: Evaluation, original: pa.Table, export: pa.Table, frames: Sequence[Row],
    predict: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """Boxes matched one to one, and average precision with its paired bootstrap interval: export minus original."""
    score = float(predict.get("conf", 0.25))
    boxes = [predicted_boxes(table, frames, line) for table in (original, export)]
    return {
        "images": evaluation.images,
        "score": score,
        "confidence": evaluation.confidence,
        "boxes": asdict(compute_agreement(boxes[0], boxes[1], score)),
        "metrics": {name: _compared(evaluation, name) for name in COMPARED},
        "classes": {name: _compared(evaluation, COMPARED[0], f"class.{name}") for name in evaluation.classes},
    }


def described(checks: Mapping[str, Any]) -> list[str]:
    """How far the boxes agree, in a sentence."""
    boxes = checks["boxes"]
    moved, most = ("–" if boxes[name] is None else f"{boxes[name]:.3f}" for name in ("corner_px_p95", "corner_px_max"))
    return [
        f"boxes from score {checks['score']:g}: {boxes['compared']} compared, {boxes['without_partner']} missing, "
        f"{boxes['extra']} new; moved by {moved} px (p95), {most} px at most"
    ]


def _compared(evaluation: Evaluation, metric: str, where: str | None = None) -> dict[str, float | None]:
    """Export minus original, with the paired interval."""
    difference = evaluation.difference(metric, where)
    interval = difference.interval(evaluation.confidence) if difference else None
    return {
        "original": evaluation.champion_value(metric, where),
        "export": evaluation.value(metric, where),
        "difference": difference.value if difference else None,
        "low": interval.low if interval else None,
        "high": interval.high if interval else None,
    }
