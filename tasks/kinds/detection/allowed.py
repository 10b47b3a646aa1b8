"""What a recipe of a detector may say of its training, stage by stage, and why it may not say something else."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from tasks.escaping import short_repr
from tasks.kinds.detection.augmentation import AUGMENTATIONS, in_values
from tasks.training.ultralytics_allowed import ALLOWED, check_argument
from tasks.training.ultralytics_arguments import argument_defaults
from tasks.training.ultralytics_knobs import CHECKS as KNOBS
from tasks.training.values import Check, checked_values, one_of

OWNED = {
    "task": "the line's kind says so",
    "mode": "a recipe trains",
    "data": "the dataset version is the data",
    "split": "a model is chosen on the validation split, never on the test split",
    "classes": "the line's classes are the classes",
    "single_cls": "the line's classes are the classes",
    "resume": "a killed training resumes by itself",
    "save": "checkpoints are always kept",
    "project": "results go to the lake and to MLflow",
    "name": "the recipe's name comes from its file",
    "save_dir": "results go to the lake and to MLflow",
    "exist_ok": "every training has its own folder",
    "cfg": "this file is the configuration",
    "pretrained": "say `weights:`",
    "seed": "the seed belongs to the line, beside the recipe's name",
    "tracker": "a recipe trains",
    "source": "a recipe trains",
    "distill_model": "say `teacher`, which takes what `weights` takes",
    "dis": "say `distill_classes`, `distill_boxes`, `distill_features` beside a `teacher`",
    "dropout": "no layer of a detector drops anything out: ultralytics has it for classifiers; `weight_decay` and "
    "`augmentation` are what keeps a detector from learning by heart",
    "copy_paste_mode": "objects come from other frames; say how many with `copy_paste`",
}
"""Arguments of ultralytics that we set, with the reason we give to who tries. So has every other not in `ALLOWED`:"""
NO_PART = "it has no part in training a detector"

GONE = {
    "fl_gamma": "ultralytics dropped it; say `focal_gamma`",
    "obj": "these detectors have no objectness to weigh: they are anchor-free; say `cls` or `box`",
    "obj_pw": "these detectors have no objectness to weigh: they are anchor-free; say `cls_pw`",
    "anchors": "these detectors are anchor-free: anchors change nothing",
    "anchor_t": "these detectors are anchor-free: anchors change nothing",
    "iou_t": "these detectors are anchor-free: ultralytics assigns labels by how well boxes fit",
    "label_smoothing": "ultralytics dropped it: its targets are soft already, by how well a box fits",
    "image_weights": "ultralytics dropped it",
    "lr": "say `lr0`",
    "learning_rate": "say `lr0`",
    "accumulate": "say `nbs`, of how many frames a step takes the gradient; nbs / batch batches are accumulated",
    "gradient_accumulation": "say `nbs`, of how many frames a step takes the gradient",
    "half": "say `amp: fp16` or `amp: bf16`",
    "grad_clip": "say `clip_norm`",
    "clip_grad": "say `clip_norm`",
    "gradient_clipping": "say `clip_norm`",
    "ema_decay": "say `ema`, the decay itself; 0 is none",
    "freeze_epochs": "say `stages`, the first with `freeze: all-but-head`",
}
"""Names out of guides, of older releases and of other kinds; what to say here."""

ARGUMENTS: Mapping[str, Check] = {**{key: partial(check_argument, key) for key in ALLOWED}, **KNOBS}
"""What a trainer takes: ultralytics' own arguments, and ours."""

_NOT_OF_A_STAGE = frozenset({
    "amp", "attention", "average_last", "cache", "channels_last", "cls_remap", "compile", "conf", "denoiser",
    "deterministic", "fraction", "fusion", "iou", "max_det", "members", "patience", "plots", "prune", "teacher",
    "time", "val", "verbose", "workers",
})  # fmt: skip
MOST_STAGES = 10


def augmentation(value: Any) -> str:
    """The check of the word; a good one has been replaced by its values before."""
    return one_of(value, *AUGMENTATIONS)


STAGE: Mapping[str, Check] = {
    **{key: check for key, check in ARGUMENTS.items() if key not in _NOT_OF_A_STAGE},
    "augmentation": augmentation,
}
"""What one stage may say otherwise than the recipe around it."""


def _refused_in_a_stage(key: str) -> str | None:
    if key in _NOT_OF_A_STAGE:
        return "it holds for the whole training: say it beside `stages`"
    return refused(key)


def refused(key: str) -> str | None:
    """Why a key cannot be set; None: it can, or there is no such thing."""
    if key in OWNED or key in GONE:
        return OWNED.get(key) or GONE[key]
    return NO_PART if key in argument_defaults() and key not in ARGUMENTS and key not in _RECIPES_OWN else None


_RECIPES_OWN = frozenset({"model", "device"})
"""Keys of a recipe that ultralytics has, too."""


def stages(value: Any) -> list[dict[str, Any]]:
    """The stages, each with what it says otherwise, all faults at once.

    Raises:
        ValueError: Saying what would have been right, stage by stage.
    """
    if not isinstance(value, list | tuple) or not 0 < len(value) <= MOST_STAGES:
        raise ValueError(f"expected a list of 1 to {MOST_STAGES} stages, found {short_repr(value)}")
    found, faults = [], []
    for place, each in enumerate(value, start=1):
        if not isinstance(each, dict) or not each:
            faults.append(f"stage {place}: expected values by name, such as {{epochs: 5, imgsz: 320}}, "
                          f"found {short_repr(each)}")  # fmt: skip
            continue
        checked, wrong = checked_values(in_values(each), STAGE, _refused_in_a_stage)
        faults += [f"stage {place}: {fault}" for fault in wrong]
        found.append(checked)
    if faults:
        raise ValueError("; ".join(faults))
    return found
