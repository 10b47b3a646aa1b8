"""Learning from a teacher: what a finished detector answers to the same batch, beside the labels. For workers only.

Three losses, each by the weight that a recipe gives it, each 0 where the student answers as the teacher does:

    classes    KL divergence of each class's score by itself (Hinton et al. 2015, arXiv:1503.02531, of sigmoids)
    boxes      KL divergence of each edge's distribution (Zheng et al. 2022, arXiv:2102.12252, equation 3); where one of
               the two heads has none, or another: 1 - GIoU of the boxes
    features   squared distance of the maps of where the head's inputs are large (Zagoruyko and Komodakis 2017,
               arXiv:1612.03928, equation 2, of squares): widths may differ, and nothing has to be learned for it

The first two count at places where the teacher is sure of an object, by its score there. None has weights of its own:
nothing is added to the model or to a checkpoint. Ultralytics' own `distill_model` is not used: it knows features alone,
and learns a layer for them that a resumed training would have to find again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.nn import functional
from ultralytics.utils.metrics import bbox_iou

from tasks.training.ultralytics_knobs import Knobs

LOSSES = ("distill_cls_loss", "distill_box_loss", "distill_feature_loss")
"""Names of the parts of the loss, beside ultralytics' box_loss, cls_loss, dfl_loss."""
SURE = 0.05
"""Score from which a teacher's place counts: thousands of places of background at 0.001 would outweigh its objects."""

Answers = Mapping[str, Any]
"""Of a head: `boxes` [n, 4 x bins, places], `scores` [n, classes, places], both before softmax and sigmoid, `feats`."""


def sureness(scores: torch.Tensor) -> torch.Tensor:
    """How much each place counts: the teacher's best score there, 0 where it is not sure.

    Args:
        scores: Its logits, [n, classes, places].

    Returns:
        [n, places].
    """
    best = scores.float().sigmoid().amax(1)
    return torch.where(best >= SURE, best, 0)


def class_loss(student: torch.Tensor, teacher: torch.Tensor, weight: torch.Tensor, temperature: float) -> torch.Tensor:
    """KL divergence of the classes' scores, summed over classes, averaged over places by their weight.

    Args:
        student, teacher: Logits, [n, classes, places].
        weight: [n, places].
        temperature: Logits are divided by it; its square keeps the gradient's size.
    """
    mine, theirs = student.float() / temperature, teacher.float() / temperature
    wanted = theirs.sigmoid()
    bce = functional.binary_cross_entropy_with_logits
    apart = bce(mine, wanted, reduction="none") - bce(theirs, wanted, reduction="none")
    return (apart.sum(1) * weight).sum() / weight.sum().clamp_min(1) * temperature**2


def box_loss(student: torch.Tensor, teacher: torch.Tensor, weight: torch.Tensor, temperature: float) -> torch.Tensor:
    """KL divergence of the edges' distributions, their mean at each place, or 1 - GIoU; averaged as the classes' loss.

    Args:
        student, teacher: [n, 4 x bins, places]; one bin is a distance itself, in cells of the grid.
        weight: [n, places].
        temperature: Of the distributions.
    """
    sure = weight > 0
    mine, theirs = (each.float().transpose(1, 2)[sure].unflatten(1, (4, -1)) for each in (student, teacher))
    if mine.shape[-1] == theirs.shape[-1] > 1:
        log_mine, log_theirs = ((each / temperature).log_softmax(-1) for each in (mine, theirs))
        apart = (log_theirs.exp() * (log_theirs - log_mine)).sum(-1).mean(-1) * temperature**2
    else:
        apart = 1 - bbox_iou(_around(mine), _around(theirs), xywh=False, GIoU=True).squeeze(-1)
    return (apart * weight[sure]).sum() / weight.sum().clamp_min(1)


def _around(edges: torch.Tensor) -> torch.Tensor:
    """Boxes [places, 4] around a place at the origin, x1, y1, x2, y2, of their edges' distributions."""
    bins = edges.shape[-1]
    far = edges[..., 0]
    if bins > 1:  # no matrix product: mixed precision would make it one of half precision
        far = (edges.softmax(-1) * torch.arange(bins, dtype=edges.dtype, device=edges.device)).sum(-1)
    return torch.cat([-far[:, :2], far[:, 2:]], dim=1)


def feature_loss(student: list[torch.Tensor], teacher: list[torch.Tensor]) -> torch.Tensor:
    """Squared distance of the maps of squared activations, each scaled to length 1: from 0 to 2, averaged over levels.

    Args:
        student, teacher: What the head looks at, finest first, [n, channels, height, width]; channels may differ.
    """
    apart = [
        (_activity(mine) - _activity(theirs)).pow(2).sum(1).mean()
        for mine, theirs in zip(student, teacher, strict=True)
    ]
    return torch.stack(apart).mean()


def _activity(features: torch.Tensor) -> torch.Tensor:
    return functional.normalize(features.float().pow(2).mean(1).flatten(1), dim=1)


class Distilled:
    """A criterion of ultralytics', and what the teacher adds to it.

    It is no module: the teacher's weights are none of the model's.

    Args:
        theirs: Ultralytics' criterion, of one head or of two.
        teacher: Answers to a batch's pictures, without gradient; None: no weight is above 0, and it is not asked.
        knobs: The weights and the temperature.
    """

    def __init__(self, theirs: Any, teacher: Callable[[torch.Tensor], Answers] | None, knobs: Knobs) -> None:
        self.theirs, self.teacher, self.knobs = theirs, teacher, knobs

    def __getattr__(self, name: str) -> Any:
        if name == "theirs":  # while it is copied, before it has any
            raise AttributeError(name)
        return getattr(self.theirs, name)

    def __call__(self, preds: Any, batch: dict[str, Any]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The parts of the loss, times the batch's size, and the same by name, without gradient and size."""
        loss, items = self.theirs(preds, batch)
        images = batch["img"]
        added = loss.new_zeros(len(LOSSES))
        if self.teacher is not None:
            answers = preds[1] if isinstance(preds, tuple) else preds
            added = self._added(answers, self.teacher(images))
        parts = dict(zip(LOSSES, added.detach(), strict=True))
        return torch.cat([loss.view(-1), added * len(images)]), {**items, **parts}

    def _added(self, mine: Answers, theirs: Answers) -> torch.Tensor:
        heads = self._heads(mine, theirs)
        parts = torch.stack([self._of_a_head(own, other) * factor for own, other, factor in heads]).sum(0)
        features = parts.new_zeros(())
        if self.knobs.distill_features:  # both heads look at the same
            features = feature_loss(heads[0][0]["feats"], heads[0][1]["feats"]) * self.knobs.distill_features
        return torch.cat([parts, features.view(1)])

    def _of_a_head(self, mine: Answers, theirs: Answers) -> torch.Tensor:
        """Losses of classes and boxes, weighed."""
        weight, knobs = sureness(theirs["scores"]), self.knobs
        none = weight.new_zeros(())
        return torch.stack([
            class_loss(mine["scores"], theirs["scores"], weight, knobs.distill_temperature) * knobs.distill_classes
            if knobs.distill_classes else none,
            box_loss(mine["boxes"], theirs["boxes"], weight, knobs.distill_temperature) * knobs.distill_boxes
            if knobs.distill_boxes else none,
        ])  # fmt: skip

    def _heads(self, mine: Answers, theirs: Answers) -> list[tuple[Answers, Answers, float]]:
        """Which head learns from which, and by how much ultralytics' own criterion weighs it.

        Of two heads (YOLO26) the second answers once for each object: what one head alone answers, several places for
        each object, would teach it doubles. So it learns from its namesake or not at all.
        """
        many = theirs.get("one2many", theirs)
        if "one2many" not in mine:
            return [(mine, many, 1.0)]
        pairs = [(mine["one2many"], many, float(getattr(self.theirs, "o2m", 1.0)))]
        if "one2one" in theirs:
            pairs.append((mine["one2one"], theirs["one2one"], float(getattr(self.theirs, "o2o", 1.0))))
        return pairs
