"""What the trigger form calls a gate: words that somebody understands who has never read the line's file."""

from __future__ import annotations

from tasks.config import Condition, Gate

_METRICS = {
    "AP50": "{who} found and placed well enough (AP50)",
    "AP50_95": "{who} found and placed exactly (AP50-95)",
    "AP50_pooled": "{who} found and outlined well enough (AP50, all pictures together)",
    "AP_pooled": "{who} found and outlined exactly (AP, all pictures together)",
    "AP50_mean": "{who} found and outlined well enough (AP50, mean over pictures)",
    "PQ": "{who} found and outlined (panoptic quality)",
    "AJI": "{who}: pixels given to the right one (aggregated Jaccard index)",
    "F1_50": "{who}: right and complete at once (F1)",
    "mask_AP": "{who} found and outlined exactly, surest first (COCO mask AP)",
    "boundary_F": "{who}: outlines where they belong (boundary F)",
    "AR": "{who} found at all (average recall)",
    "precision": "{who}: what the model marks is right (precision)",
    "recall": "{who}: what is there gets marked (recall)",
    "F1": "{who}: right and complete at once (F1)",
    "count_mae": "{who}: miscounted per frame",
    "ECE": "{who}: how far its scores are from the truth (calibration error)",
    "latency_ms_p50": "Time for one image, usually (ms)",
    "latency_ms_p95": "Time for one image, also when slow (ms, 95 of 100 are faster)",
    "model_size_mb": "Size of the model (MB)",
}
"""Metric -> what it says about `who`. A metric that is not here is called by its name."""

_CONDITIONS: dict[Condition, str] = {
    "at_least": "at least",
    "at_most": "at most",
    "not_worse_by": "worse than the champion by at most",
    "better_by": "better than the champion by more than",
}


def gate_title(gate: Gate) -> str:
    """A gate in an operator's words, e.g. 'Sperm found and placed well enough (AP50), at least'."""
    said = _METRICS.get(gate.metric, f"{{who}}: {gate.metric.replace('_', ' ')}").format(who=_who(gate))
    on = f" on {gate.device}" if gate.device else ""
    return f"{said}{on}, {_CONDITIONS[gate.condition]}"


def _who(gate: Gate) -> str:
    if gate.for_each:
        return _capital(" and ".join(_slice(asked) if "." in asked else f"each {asked}" for asked in gate.for_each))
    return _capital(_slice(gate.where)) if gate.where else "All objects"


def _slice(where: str) -> str:
    """'class.sperm' -> 'sperm', 'size.small' -> 'small objects', 'study.a' -> 'those of study a'."""
    family, _, name = where.partition(".")
    if family == "class":
        return name
    return f"{name} objects" if family == "size" else f"objects of {family} {name}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
