"""The training of a detector with anchors: epochs that can be gone on with, to the same bytes."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from tasks.errors import DataError
from tasks.kinds.detection.anchored import retinanet
from tasks.kinds.detection.anchored.dataset import Example, Split, changed, tensors_of
from tasks.kinds.detection.anchored.measure import average_precisions
from tasks.kinds.detection.anchored.plan import BACKBONES, FIRST_LEVEL, LEVELS, AnchoredPlan
from tasks.metrics.anchors import cluster_anchors, pyramid_level
from tasks.training.contact_sheet import PICTURES, Picture
from tasks.training.determinism import epoch_seed
from tasks.training.imbalance import Mixture
from tasks.training.meter import note_gradient
from tasks.training.tensors import by_order, known_weights, read_tensors

SCORE = "metrics/mAP50(B)"
"""As the kind's other trainer calls it: AP50 on the validation split."""
_PARTS = {"classification": "cls_loss", "bbox_regression": "box_loss"}
"""Parts of torchvision's loss, called as those of the kind's other trainer are."""
_RATIOS = (1.0, 0.5, 2.0, 1 / 3, 3.0, 0.25, 4.0, 0.2, 5.0)
"""Width over height of anchors that nothing was fitted to."""


class AnchoredTraining:
    """One training.

    Args:
        plan: How it learns.
        train: The training split.
        val: The validation split; None: there is none.
        imgsz: Side that pictures are scaled to.
        min_steps: Epochs are raised until there are so many steps.
        seed: Of everything random.
        device: 'cpu' or 'cuda:0'.
        weights: To start from, and their oid.
        state: A checkpoint's content, to go on from.
    """

    def __init__(
        self,
        plan: AnchoredPlan,
        train: Split,
        val: Split | None,
        *,
        imgsz: int,
        min_steps: int,
        seed: int,
        device: str,
        weights: tuple[Path, str] | None = None,
        state: dict[str, Any] | None = None,
    ) -> None:
        if not len(train):
            raise DataError("the training split is empty", expected="at least one picture", fix="label some")
        torch.manual_seed(seed)
        self.plan, self.train, self.val, self.seed, self.device = plan, train, val, seed, device
        self.steps_per_epoch = math.ceil(len(train) / plan.batch)
        self.epochs = max(plan.epochs, math.ceil(min_steps / self.steps_per_epoch))
        self.spec: dict[str, Any] = {
            "backbone": BACKBONES[plan.backbone], "width": plan.width, "classes": train.classes, "imgsz": imgsz,
            "anchors": state["anchors"] if state else fitted_anchors(plan, train, imgsz, seed),
        }  # fmt: skip
        self.network = retinanet.build(self.spec)
        if weights and state is None:
            start_from(self.network, *weights)
        self.network.to(device)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=plan.lr0, weight_decay=plan.weight_decay)
        self.epoch, self.best, self.best_state = 0, -1.0, None
        self._mixture = mixture(plan, train)
        self._microscope = microscope(plan)
        self.seen: list[Picture] = []
        """The first pictures of the first epoch, as the network sees them."""
        if state:
            self.network.load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.epoch, self.best, self.best_state = state["epoch"], state["best"], state["best_state"]

    @property
    def finished(self) -> bool:
        """Whether all epochs are done."""
        return self.epoch >= self.epochs

    def run_epoch(self, after_step: Callable[[int, dict[str, float]], None]) -> dict[str, float]:
        """Train one epoch, and measure it; what was measured, by name."""
        order = self._order()
        self.network.train()
        # `find` sets the transform's size for prediction; training pictures are squares of imgsz already.
        self.network.transform.min_size, self.network.transform.max_size = (self.spec["imgsz"],), self.spec["imgsz"]
        sums: dict[str, float] = {}
        for number in range(self.steps_per_epoch):
            chosen = order[number * self.plan.batch : (number + 1) * self.plan.batch]
            losses = self._step(self.epoch * self.steps_per_epoch + number, [int(each) for each in chosen])
            for name, value in losses.items():
                sums[f"train/{name}"] = sums.get(f"train/{name}", 0.0) + value / self.steps_per_epoch
            after_step(self.epoch * self.steps_per_epoch + number + 1, losses)
        self.epoch += 1
        if self.val is not None:
            sums |= self._validate(self.val)
        return sums

    def _order(self) -> Sequence[int]:
        if self._mixture:
            return self._mixture.epoch(epoch_seed(self.seed, self.epoch))
        order: list[int] = np.random.default_rng([self.seed, self.epoch]).permutation(len(self.train)).tolist()
        return order

    def _example(self, step: int, index: int) -> Example:
        """A picture of the training split, changed by what follows from seed, step and picture."""
        rng = np.random.default_rng([self.seed, 1, step, index])
        example = changed(self.train.read(index), self.plan, self.spec["imgsz"], rng)
        if self._microscope:
            image, boxes, rows = self._microscope(example.image, example.boxes, int(rng.integers(2**32)))
            example = Example(image, boxes, example.labels[rows])
        if self.epoch == 0 and len(self.seen) < PICTURES:
            self.seen.append(Picture(np.ascontiguousarray(example.image[..., ::-1]), example.boxes, example.labels))
        return example

    def _step(self, step: int, chosen: list[int]) -> dict[str, float]:
        rate = self.plan.lr0 * rate_at(step, self.epochs * self.steps_per_epoch, self.plan)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        examples = [self._example(step, index) for index in chosen]
        losses = self.network(*tensors_of(examples, self.device))
        total = sum(losses.values())
        parts = {_PARTS[name]: float(value.detach()) for name, value in losses.items()}
        if not torch.isfinite(total):
            return parts  # who is told of the step ends the training, and nothing is learned from it
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        if self.plan.clip:
            note_gradient(nn.utils.clip_grad_norm_(self.network.parameters(), self.plan.clip))
        self.optimizer.step()
        return parts

    def _validate(self, val: Split) -> dict[str, float]:
        found = average_precisions(self.network.eval(), val, self.spec["imgsz"], self.device)
        if found["AP50"] > self.best:
            self.best = found["AP50"]
            self.best_state = {
                name: tensor.detach().cpu().clone() for name, tensor in self.network.state_dict().items()
            }
        return {SCORE: found["AP50"], "metrics/mAP50-95(B)": found["AP50_95"]}

    def checkpoint(self) -> bytes:
        """All that going on needs: numbers and text."""
        buffer = io.BytesIO()
        content = {
            "network": self.network.state_dict(), "optimizer": self.optimizer.state_dict(), "epoch": self.epoch,
            "best": self.best, "best_state": self.best_state, "anchors": self.spec["anchors"],
        }  # fmt: skip
        torch.save(content, buffer)
        return buffer.getvalue()

    def chosen(self) -> Any:
        """The finished network: of the epoch that did best on the validation split, else of the last."""
        if self.best_state is not None:
            self.network.load_state_dict(self.best_state)
        return self.network.eval()


def mixture(plan: AnchoredPlan, train: Split) -> Mixture | None:
    """Which pictures an epoch shows, where that is not each one once."""
    if not plan.repeat_threshold and not plan.balanced_batches:
        return None
    return Mixture(train.classes_of(), plan.repeat_threshold, plan.batch if plan.balanced_batches else 0)


def microscope(plan: AnchoredPlan) -> Any:
    """What changes pictures as under a microscope, where the plan asks for it; it takes a second to import."""
    if plan.microscope is None:
        return None
    from tasks.training.microscope_transforms import MicroscopeEffects

    return MicroscopeEffects(plan.microscope)


def rate_at(step: int, steps: int, plan: AnchoredPlan) -> float:
    """What part of `lr0` a step gets: rising along a line first, then falling along a cosine to `lrf`."""
    warm = max(1, round(plan.warmup * steps))
    if step < warm:
        return (step + 1) / warm
    along = (step - warm) / max(1, steps - warm)
    return plan.lrf + (1 - plan.lrf) * (1 + math.cos(math.pi * along)) / 2


def fitted_anchors(plan: AnchoredPlan, train: Split, imgsz: int, seed: int) -> list[list[float]]:
    """The plan's anchors; else of each level the clusters of those boxes of the training split that it is to find.

    A level that is to find too few of them gets RetinaNet's own: a side of four strides, in several shapes.
    """
    if plan.anchors:
        return [list(size) for size in plan.anchors]
    sizes = train.sizes(imgsz)
    sizes = sizes[(sizes > 0).all(axis=1)]
    level_of = np.clip(pyramid_level(sizes), FIRST_LEVEL, FIRST_LEVEL + LEVELS - 1)
    anchors: list[list[float]] = []
    for level in range(FIRST_LEVEL, FIRST_LEVEL + LEVELS):
        own, wanted = sizes[level_of == level], plan.anchors_per_level
        found = cluster_anchors(own, wanted, seed=seed).sizes.tolist() if len(own) >= wanted else []
        side = 4.0 * 2**level
        usual = [[side * ratio**0.5, side / ratio**0.5] for ratio in _RATIOS]
        anchors += [[round(width, 2), round(height, 2)] for width, height in (*found, *usual)][:wanted]
    return anchors


def start_from(network: Any, path: Path, oid: str) -> None:
    """Put weights into a fresh network: an installed backbone's, or all that fits of a detector of ours.

    Raises:
        DataError: They are of something else.
    """
    tensors = read_tensors(path)
    part = network
    if known := known_weights(oid):
        import timm

        tensors = by_order(timm.create_model(known.model, pretrained=False).state_dict(), tensors, known, path.name)
        part = network.backbone.body
    ours = part.state_dict()
    fitting = {name: value for name, value in tensors.items() if name in ours and value.shape == ours[name].shape}
    needed = [name for name in ours if part is not network or name.startswith("backbone.")]
    if lacking := [name for name in needed if name not in fitting]:
        raise DataError(
            f"weights {path.name}: are not those of this detector", expected=f"{lacking[0]} and {len(ours) - 1} more",
            found=f"{len(fitting)} that fit, of {len(tensors)}", fix="set `backbone` and `width` to what they are of",
        )  # fmt: skip
    part.load_state_dict({**ours, **fitting})
