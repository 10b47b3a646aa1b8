"""A classical classifier on a frozen network's features, by scikit-learn. Used by the worker only.

Features are pooled from several blocks of one network or several, of each picture in several of its symmetries: one row
each, or their average.
What scikit-learn fits is kept as numbers, in a `networks.FrozenFeatures`: nothing is pickled.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tasks.kinds.classification import networks
from tasks.kinds.classification.inference import BATCH, as_input, turned
from tasks.kinds.classification.more_encoders import further_networks, listed_weights, looks_of
from tasks.kinds.classification.pictures import Pictures
from tasks.kinds.classification.plan import TrainingPlan
from tasks.kinds.classification.platt import platt
from tasks.kinds.classification.setup import Setup
from tasks.kinds.classification.trainer import AfterStep

Floats = NDArray[np.float64]
Groups = NDArray[Any]

MOST_ITERATIONS = 5000
ABSENT = -30.0
"""Score of a class that the training split does not show."""


class FeatureTraining:
    """Looks at the training split in one symmetry after the other, an epoch each, and then fits the head.

    Args:
        setup: What to learn from, and how.
        network: Its features are taken as they are, and those of the plan's `more_encoders`.
        state: What `checkpoint` wrote, to go on from.
    """

    def __init__(self, setup: Setup, network: Any, state: dict[str, Any] | None = None) -> None:
        self.setup = setup
        self._backbone, self._more = network, further_networks(setup)
        self.network = self._with(features=0, pca=0, support=0, views=0)
        self.pictures = setup.pictures("train")
        self.steps_per_epoch = -(-len(self.pictures) // BATCH)
        self.epochs = setup.plan.views
        self.rows: list[dict[str, float]] = []  # nothing is measured before the head is fitted
        self._features: list[torch.Tensor] = list(state["features"]) if state else []

    @property
    def more_encoders(self) -> list[dict[str, str]]:
        """Which further weights it looks through: `model`, `weights` and the `sha256` of their file."""
        return listed_weights(self.setup)

    @property
    def epoch(self) -> int:
        """Symmetries seen."""
        return len(self._features)

    @property
    def steps(self) -> int:
        """Batches seen."""
        return self.epoch * self.steps_per_epoch

    @property
    def finished(self) -> bool:
        """Whether all symmetries are seen."""
        return self.epoch >= self.epochs

    def run_epoch(self, after_step: AfterStep) -> dict[str, float]:
        """Look at the training split in the next symmetry."""
        self._features.append(features(self.network, self.pictures, self.setup, self.epoch, after_step, self.steps))
        return {}

    def averaged(self) -> torch.Tensor:
        """Features [pictures, f], float64, averaged over the symmetries seen."""
        return torch.stack(self._features).double().mean(0)

    def chosen(self) -> Any:
        """The network with its fitted head."""
        targets = self.pictures.targets.numpy().astype(np.float64)
        plan, groups = self.setup.plan, np.array(self.pictures.groups)
        if plan.average_views:
            rows = self.averaged().numpy()
        else:
            rows = torch.cat(self._features).double().numpy()
            targets, groups = np.tile(targets, (self.epoch, 1)), np.tile(groups, self.epoch)
        head = fit(rows, targets, plan, multi_label=self.setup.dataset.multi_label, groups=groups)
        made = self._with(
            features=rows.shape[1], pca=len(head.axes), support=len(head.support),
            views=self.epoch if plan.average_views else 0,
        )  # fmt: skip
        for name, values in vars(head).items():
            getattr(made, name).copy_(torch.as_tensor(values, dtype=torch.float64))
        return made

    def _with(self, **shape: int) -> networks.FrozenFeatures:
        """The networks with a head of such a shape, whose numbers are 0; the spec then describes them."""
        plan, spec = self.setup.plan, self.setup.spec
        head: dict[str, Any] = {
            "blocks": plan.blocks, "pooling": plan.pooling, "last_layer": plan.last_layer, "window": plan.window,
            **shape,
        }  # fmt: skip
        listed, looks = listed_weights(self.setup), looks_of(self.setup)
        head |= {"looks": looks} if looks else {}  # a file of one network stays what it was
        spec["head"] = {"kind": plan.head, **head} | ({"more": listed} if listed else {})
        made = networks.FrozenFeatures(
            self._backbone, len(spec["classes"]), more=self._more, mean=spec["mean"], std=spec["std"], **head
        )
        made.to(self.setup.device, memory_format=torch.channels_last)
        made.eval()
        return made

    def checkpoint(self) -> bytes:
        """The features so far."""
        buffer = io.BytesIO()
        torch.save({"features": self._features, "finished": self.finished}, buffer)
        return buffer.getvalue()


def features(
    network: networks.FrozenFeatures, pictures: Pictures, setup: Setup, way: int, after_step: AfterStep, steps: int
) -> torch.Tensor:
    """Features [pictures, f], float32, of pictures in one of their symmetries."""
    parts: list[torch.Tensor] = []
    with torch.inference_mode():
        for batch in pictures.batches():
            squares = turned(batch.to(setup.device), way)
            parts.append(network.features(as_input(squares, setup.spec)).float().cpu())
            after_step(steps + len(parts), None)
    return torch.cat(parts).clone()


@dataclass
class Head:
    """The numbers of a `networks.FrozenFeatures`, by the names that they have there."""

    centre: Floats
    spread: Floats
    axes: Floats
    support: Floats
    gamma: float
    coef: Floats
    intercept: Floats


def fit(rows: Floats, targets: Floats, plan: TrainingPlan, *, multi_label: bool, groups: Groups | None = None) -> Head:
    """Fit the plan's head.

    Args:
        rows: Features [n, f].
        targets: [n, classes], NaN where nobody said.
        plan: Names the head, its C, gamma and principal components.
        multi_label: Whether labels are independent of each other: one classifier each, of the pictures judged for it.
        groups: [n], what rows depend on each other, for `plan.calibration`; None: each stands for itself.
    """
    groups = np.arange(len(rows)) if groups is None else groups
    centre, spread = rows.mean(0), rows.std(0)
    spread[spread < 1e-8] = 1.0
    seen, axes = (rows - centre) / spread, np.zeros((0, rows.shape[1]))
    if plan.pca:
        from sklearn.decomposition import PCA

        axes = PCA(min(plan.pca, *seen.shape), random_state=0).fit(seen).components_  # of rows whose mean is 0
        seen = seen @ axes.T
    gamma = (plan.gamma or 1.0) / (seen.shape[1] * max(float(seen.var()), 1e-12))
    if plan.head == "logistic" and not multi_label:
        support, coef, intercept = _one_choice(seen, targets.argmax(1), targets.shape[1], plan)
    else:
        support, coef, intercept = _one_each(seen, targets, plan, gamma, groups)
    return Head(centre, spread, axes, support, gamma, coef, intercept)


def _one_choice(seen: Floats, labels: NDArray[np.int64], classes: int, plan: TrainingPlan) -> tuple[Floats, ...]:
    """Multinomial logistic regression."""
    there = np.unique(labels)
    coef, intercept = np.zeros((classes, seen.shape[1])), np.full(classes, ABSENT)
    if len(there) == 1:
        intercept[there] = 0.0
    else:
        fitted = _classifier(plan, 0.0).fit(seen, labels)
        if len(there) == 2:  # scikit-learn keeps the second class's row alone
            coef[there[1]], intercept[there] = fitted.coef_[0], [0.0, fitted.intercept_[0]]
        else:
            coef[fitted.classes_], intercept[fitted.classes_] = fitted.coef_, fitted.intercept_
    return np.zeros((0, seen.shape[1])), coef, intercept


def _one_each(seen: Floats, targets: Floats, plan: TrainingPlan, gamma: float, groups: Groups) -> tuple[Floats, ...]:
    """A classifier for each label against all else; support vectors of all of them stand in one table."""
    classes, kernel = targets.shape[1], plan.head == "svm-rbf"
    weights = np.zeros((classes, len(seen) if kernel else seen.shape[1]))
    intercept = np.zeros(classes)
    for label in range(classes):
        known = np.flatnonzero(~np.isnan(targets[:, label]))
        there = targets[known, label] > 0.5
        if there.all() or not there.any():  # nothing to tell apart: as often as it was there, smoothed
            intercept[label] = np.log((there.sum() + 0.5) / ((~there).sum() + 0.5))
            continue
        fitted = _classifier(plan, gamma).fit(seen[known], there)
        intercept[label] = fitted.intercept_[0]
        if kernel:
            weights[label, known[fitted.support_]] = fitted.dual_coef_[0]
        else:
            weights[label] = fitted.coef_[0]
        if plan.calibration == "platt":
            slope, shift = platt(_classifier(plan, gamma), seen[known], there, groups[known])
            weights[label], intercept[label] = slope * weights[label], slope * intercept[label] + shift
    used = np.flatnonzero(weights.any(0)) if kernel else np.arange(0)
    return (seen[used], weights[:, used], intercept) if kernel else (seen[:0], weights, intercept)


def _classifier(plan: TrainingPlan, gamma: float) -> Any:
    weight = "balanced" if plan.class_weights == "balanced" else None
    if plan.head == "svm-rbf":
        from sklearn.svm import SVC

        return SVC(C=plan.C, kernel="rbf", gamma=gamma, class_weight=weight)
    if plan.head == "svm-linear":
        from sklearn.svm import LinearSVC

        return LinearSVC(C=plan.C, class_weight=weight, random_state=0, max_iter=MOST_ITERATIONS)
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=plan.C, class_weight=weight, max_iter=MOST_ITERATIONS)
