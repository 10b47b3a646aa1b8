"""Values of a training that ultralytics has no argument for, or none any more: ours, beside its own.

    focal_gamma  focal loss of the classes; ultralytics dropped its `fl_gamma` with the anchors
    clip_norm    longest gradient; ultralytics clips at 10, whatever one asks for
    ema          decay of the average of weights that is validated and kept; ultralytics has 0.9999
    ema_tau      steps in which that average becomes slow; ultralytics has 2000
    iou_loss     by which overlap the loss of the boxes is measured; ultralytics has CIoU
    attention    before the head of any architecture; ultralytics wants an architecture for each

    repeat_threshold, balanced_batches   which pictures an epoch shows, where classes are of very different frequency
    class_weights, class_beta            how much each class weighs in the classes' loss; ultralytics has `cls_pw` alone
    copy_paste_classes                   whose objects our copy-paste pastes
    microscope                           what happens to pictures under a microscope; ultralytics has its own selection
    teacher, distill_...                 a finished detector to learn from; ultralytics learns from its features alone
    denoiser                             what every frame goes through before the detector; ultralytics has none
    average_last                         the model is the mean of several epochs' weights; ultralytics takes one's
    members, fusion                      several trainings make one model; ultralytics knows one
    prune                                channels are taken out of the weights that it starts from

Their defaults are what ultralytics does. `ultralytics_resume.py` puts them into its trainer. Nothing heavy is imported.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from pydantic import Field

from tasks.escaping import short_repr
from tasks.schemas import Frozen
from tasks.training.microscope import Microscope, microscope
from tasks.training.values import Check, between, denoiser, number, one_of, switch, text, weights, whole

OVERLAPS = ("ciou", "diou", "giou", "iou")
ATTENTION = ("none", "cbam", "coordinate", "shuffle")
NONE, BALANCED, EFFECTIVE = "none", "balanced", "effective"
ALL, RARE = "all", "rare"
BOXES, WEIGHTS = "boxes", "weights"
MOST_WEIGHT = 1000
MOST_CLASSES = 1000

ClassWeights = str | dict[str, float]


class Knobs(Frozen):
    """What our trainer does otherwise than ultralytics'."""

    focal_gamma: float = Field(default=0.0, description="How much the class loss looks away from what is easy; 0: no.")
    clip_norm: float = Field(default=10.0, description="Longest gradient; 0: any.")
    ema: float = Field(default=0.9999, description="Decay of the average of weights that is kept; 0: no average.")
    ema_tau: float = Field(default=2000.0, description="Steps in which the average's decay rises.")
    repeat_threshold: float = Field(default=0.0, description="Classes in a smaller share of pictures come oftener.")
    balanced_batches: bool = Field(default=False, description="Each batch has a picture of every class.")
    class_weights: ClassWeights = Field(default=NONE, description="none, balanced, effective, or weights by name.")
    class_beta: float = Field(default=0.999, description="Beta of `effective`.")
    copy_paste_classes: str | tuple[str, ...] = Field(default=ALL, description="all, rare, or names of classes.")
    microscope: Microscope | None = Field(default=None, description="How often each thing happens to a picture.")
    iou_loss: str = Field(default="ciou", description="The overlap in the loss of the boxes.")
    attention: str = Field(default="none", description="What is put between neck and head.")
    teacher: str | None = Field(
        default=None, description="Weights of a detector to learn from, as `weights` are named."
    )
    denoiser: str | None = Field(default=None, description="What every frame goes through before the detector.")
    distill_classes: float = Field(default=1.0, description="Weight of the teacher's scores.")
    distill_boxes: float = Field(default=1.0, description="Weight of the teacher's boxes.")
    distill_features: float = Field(default=0.0, description="Weight of where the teacher's features are large.")
    distill_temperature: float = Field(default=1.0, description="Divides logits of teacher and student.")
    average_last: int = Field(default=0, description="So many last epochs' weights are averaged; 0: the best epoch's.")
    members: int = Field(default=1, description="Detectors that are trained, by one seed after the other.")
    prune: float = Field(default=0.0, description="Share of the channels taken out of `weights` first; 0: none.")
    fusion: str = Field(default=BOXES, description="What of the members becomes one: their boxes, or their weights.")

    @property
    def mixes(self) -> bool:
        """Whether an epoch shows other pictures than each one once."""
        return bool(self.repeat_threshold or self.balanced_batches)

    @property
    def asks_teacher(self) -> bool:
        """Whether anything is learned from a teacher."""
        return self.teacher is not None and bool(self.distill_classes or self.distill_boxes or self.distill_features)

    def unknown_classes(self, names: Collection[str]) -> list[str]:
        """Faults, a phrase each: classes that are named, and are none of these."""
        weighed = self.class_weights if isinstance(self.class_weights, dict) else ()
        pasted = () if isinstance(self.copy_paste_classes, str) else self.copy_paste_classes
        return [
            f"{key}: {short_repr(name)} is no class"
            for key, named in (("class_weights", weighed), ("copy_paste_classes", pasted))
            for name in named
            if name not in names
        ]


def _name(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"expected the name of a class, found {short_repr(value)}")
    return text(value)


def class_weights(value: Any) -> ClassWeights:
    """`none`, `balanced`, `effective`, or the weight of each class that does not weigh 1, by its name.

    Raises:
        ValueError: Saying all that is wrong, and what would have been right.
    """
    if not isinstance(value, Mapping):
        try:
            return one_of(NONE if value is None else value, NONE, BALANCED, EFFECTIVE)
        except ValueError as error:
            raise ValueError(f"{error}; or weights by name, such as {{impurity: 5}}") from None
    found, faults = {}, []
    if not 0 < len(value) <= MOST_CLASSES:
        faults.append(f"expected 1 to {MOST_CLASSES} classes, found {len(value)}")
    for name, weight in list(value.items())[:MOST_CLASSES]:
        try:
            found[_name(name)] = float(number(weight, 0.001, MOST_WEIGHT))
        except ValueError as error:
            faults.append(f"{short_repr(name)}: {error}")
    if faults:
        raise ValueError("; ".join(faults))
    return found


def copy_paste_classes(value: Any) -> str | list[str]:
    """`all`, `rare`, or the names of classes.

    Raises:
        ValueError: It is none of these.
    """
    if isinstance(value, list | tuple):
        if not 0 < len(value) <= MOST_CLASSES:
            raise ValueError(f"expected 1 to {MOST_CLASSES} names of classes, found {len(value)}")
        return list(dict.fromkeys(_name(each) for each in value))
    try:
        return one_of(value, ALL, RARE)
    except ValueError as error:
        raise ValueError(f"{error}; or names of classes, such as [impurity]") from None


CHECKS: Mapping[str, Check] = {
    **between(number, 0, 10, "focal_gamma"),
    **between(number, 0, 1000, "clip_norm"),
    **between(number, 0, 0.99999, "ema"),
    **between(number, 1, 1_000_000, "ema_tau"),
    **between(number, 0, 1, "repeat_threshold"),
    **between(number, 0, 0.999999, "class_beta"),
    "balanced_batches": switch,
    "class_weights": class_weights,
    "copy_paste_classes": copy_paste_classes,
    "microscope": microscope,
    "iou_loss": lambda value: one_of(value, *OVERLAPS),
    "attention": lambda value: one_of(value, *ATTENTION),
    "teacher": weights,
    "denoiser": denoiser,
    **between(number, 0, 1000, "distill_classes", "distill_boxes", "distill_features"),
    **between(number, 0.1, 100, "distill_temperature"),
    **between(whole, 0, 50, "average_last"),
    **between(whole, 1, 10, "members"),
    **between(number, 0, 0.9, "prune"),
    "fusion": lambda value: one_of(value, BOXES, WEIGHTS),
}
"""What a good value of each is."""


def apart(arguments: Mapping[str, Any]) -> tuple[dict[str, Any], Knobs]:
    """Ultralytics' own arguments, and ours, of a dict that holds both."""
    theirs = {key: value for key, value in arguments.items() if key not in CHECKS}
    return theirs, Knobs(**{key: value for key, value in arguments.items() if key in CHECKS})
