"""Values that ultralytics would take and make nothing of, because of others: refused, not swallowed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from tasks.training.installed import INSTALLED
from tasks.training.ultralytics_arguments import argument_defaults
from tasks.training.ultralytics_knobs import ALL, EFFECTIVE, NONE, WEIGHTS, Knobs, apart
from tasks.training.ultralytics_precision import HALF
from tasks.training.ultralytics_stages import spelt_out

_ADAM = ("Adam", "Adamax", "AdamW", "NAdam", "RAdam")
_MIXING = ("mosaic", "mixup", "cutmix")
_DISTILLED = ("distill_classes", "distill_boxes", "distill_features", "distill_temperature")

Values = Mapping[str, Any]


@dataclass(frozen=True)
class _Rule:
    keys: tuple[str, ...]
    idle: Callable[[Values, str], bool]
    """Whether the key has no effect among these values."""
    reason: str
    because_of: str = ""
    """A key that, said by a person, makes the others' idleness that person's affair, too."""


_RULES = (
    _Rule(
        ("lr0", "momentum", "warmup_bias_lr"), lambda values, _: values["optimizer"] == "auto",
        "optimizer auto chooses it itself; name an optimizer",
    ),
    _Rule(
        ("warmup_momentum",), lambda values, _: values["optimizer"] in _ADAM,
        "ultralytics warms up the momentum of SGD, MuSGD and RMSProp only",
    ),
    _Rule(
        ("warmup_momentum", "warmup_bias_lr"), lambda values, _: not values["warmup_epochs"],
        "warmup_epochs is 0",
    ),
    _Rule(
        _MIXING, lambda values, key: bool(values["rect"] and values[key]),
        "rect: true trains on whole frames alone, of their own shape; set rect: false, or this to 0", "rect",
    ),
    _Rule(
        ("close_mosaic",),
        lambda values, _: bool(values["close_mosaic"]) and not any(values[key] for key in (*_MIXING, "copy_paste")),
        "mosaic, mixup, cutmix and copy_paste are 0 all along",
    ),
    _Rule(
        ("cls_pw",), lambda values, _: bool(values["cls_pw"]) and values["class_weights"] != NONE,
        "class_weights weighs classes instead", "class_weights",
    ),
    _Rule(("class_beta",), lambda values, _: values["class_weights"] != EFFECTIVE, "class_weights is not effective"),
    _Rule(
        ("copy_paste_classes",), lambda values, _: values["copy_paste_classes"] != ALL and not values["copy_paste"],
        "copy_paste is 0: nothing is pasted", "copy_paste",
    ),
    _Rule(("ema_tau",), lambda values, _: not values["ema"], "ema is 0: there is no average"),
    _Rule(
        ("amp",), lambda values, _: values["device"] == "cpu" and values["amp"] in HALF,
        "ultralytics computes in half precision on a GPU only, and device is cpu; set amp: auto or fp32", "device",
    ),
    _Rule(_DISTILLED, lambda values, _: values["teacher"] is None, "there is no teacher to learn from; name one"),
    _Rule(("cls_remap",), lambda values, _: values["weights"] is None, "no weights are loaded"),
)  # fmt: skip


def without_effect(values: Values, said: Collection[str]) -> list[str]:
    """Faults, a phrase each: what a person said and nothing would come of.

    Args:
        values: Checked ones of a recipe, with what is said over it, perhaps with `stages`.
        said: Keys that the line or the run sets. What the recipe's file says beside them is not held against anybody:
            `--set optimizer=auto` takes the file's `lr0` out of use, as it should.
    """
    defaults = {**argument_defaults(), **Knobs().model_dump(), "weights": None}
    base = {**defaults, **{key: value for key, value in values.items() if key != "stages"}}
    stages = values.get("stages")
    if not stages:
        return _idle(base, said, "")
    return [
        fault
        for place, stage in enumerate(stages, start=1)
        for fault in _idle({**base, **stage}, {*said, *stage} if "stages" in said else said, f"stage {place}: ")
    ]


def _idle(values: Values, said: Collection[str], where: str) -> list[str]:
    return [
        f"{where}{key}: {values[key]} has no effect: {rule.reason}"
        for rule in _RULES
        for key in rule.keys
        if (key in said or rule.because_of in said) and rule.idle(values, key)
    ]


def of_several(values: Values) -> list[str]:
    """Faults, a phrase each: several detectors, or epochs, that cannot become one, or none to prune.

    Args:
        values: Checked ones of a recipe, perhaps with `stages`.
    """
    faults, last = [], spelt_out(values)[-1]
    members, one = values.get("members", 1), values.get("average_last", 0)
    if values.get("prune") and values.get("weights") in {None, *INSTALLED}:
        faults.append("prune: needs `weights` of a whole detector, finished: which channels weigh least is learned")
    if values.get("prune") and values.get("attention", NONE) != NONE:
        faults.append("prune: is not to be had with attention, whose channels nobody has tried to take out")
    if one == 1:
        faults.append("average_last: the mean of one epoch is that epoch: say 0, or 2 at least")
    if one > last.get("epochs", argument_defaults()["epochs"]) and not values.get("min_steps"):
        faults.append(f"average_last: the last stage has fewer epochs than {one}")
    if members > 1 and "," in (values.get("device") or ""):
        faults.append(f"members: are trained on one device, found {values['device']}")
    if members == 1 and "fusion" in values:
        faults.append("fusion: has no effect: there is one detector; say how many with `members`")
    if members > 1 and values.get("fusion") == WEIGHTS and values.get("weights") in {None, *INSTALLED}:
        faults.append(
            "fusion: weights can be averaged of detectors alone that began with the same; name a whole detector's with "
            "`weights`, or set fusion: boxes"
        )
    return faults


def of_a_teacher(values: Values) -> list[str]:
    """Faults, a phrase each: a teacher that is asked nothing in any stage, or cannot be asked.

    Args:
        values: Checked ones of a recipe, perhaps with `stages`.
    """
    if not values.get("teacher"):
        return []
    faults, stages = [], [apart(stage)[1] for stage in spelt_out(values)]
    if not any(stage.asks_teacher for stage in stages):
        faults.append("teacher: is asked nothing: distill_classes, distill_boxes and distill_features are all 0")
    elif "distill_temperature" in values and not any(each.distill_classes or each.distill_boxes for each in stages):
        faults.append("distill_temperature: softens scores and edges, and distill_classes and distill_boxes are 0")
    if values.get("compile"):
        faults.append("compile: is not to be had with a teacher, which is asked in the middle of the loss")
    return faults
