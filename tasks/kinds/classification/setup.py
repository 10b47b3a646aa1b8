"""What a training learns from, and how: the job, read. Used by the worker only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.kind import Job
from tasks.kinds.classification.dataset import ImageDataset
from tasks.kinds.classification.pictures import Pictures
from tasks.kinds.classification.plan import TrainingPlan
from tasks.schemas import Split
from tasks.training.installed import INSTALLED
from tasks.training.torch_setup import set_up_torch


@dataclass(frozen=True)
class Setup:
    """A training, before it begins.

    Attributes:
        data: Path of `dataset.json`.
        dataset: What it says.
        plan: How it learns.
        spec: Of the network, see `networks.py`.
        device: 'cpu' or 'cuda:0'.
        seed: Of everything random.
        has_val: Whether there is a validation split.
        weights_name: What the recipe calls those that it starts from.
    """

    data: Path
    dataset: ImageDataset
    plan: TrainingPlan
    spec: dict[str, Any]
    device: str
    seed: int
    has_val: bool
    weights_name: str | None = None

    def pictures(self, split: Split, augment: Any = None) -> Pictures:
        """The pictures of a split."""
        return Pictures(self.data, self.dataset, split, self.plan, augment=augment, seed=self.seed)


def prepare(job: Job) -> Setup:
    """Read a job, and set torch up in this process."""
    plan, dataset = TrainingPlan.model_validate(job.options["plan"]), ImageDataset.read(job.data)
    device = set_up_torch(job.seed, job.threads, deterministic=plan.deterministic)
    weights_name = job.options.get("weights_name")
    spec = spec_of(dataset, plan, weights_name)
    return Setup(job.data, dataset, plan, spec, device, job.seed, job.has_val, weights_name)


def spec_of(dataset: ImageDataset, plan: TrainingPlan, weights_name: str | None) -> dict[str, Any]:
    """The network to train, as its file of weights will say it; see `networks.py`."""
    mean, std = normalisation(plan.model, weights_name)
    return {
        "model": plan.model, "classes": list(dataset.classes), "multi_label": dataset.multi_label,
        "imgsz": plan.imgsz, "fit": plan.fit, "mean": mean, "std": std, "head": {"kind": "network"},
        "temperature": {"plain": 1.0, "tta": 1.0}, "dropout": plan.dropout, "drop_path": plan.drop_path,
    }  # fmt: skip


def normalisation(model: str, weights_name: str | None) -> tuple[list[float], list[float]]:
    """Mean and deviation, for R, G and B in [0, 1], that the weights were trained with; else timm's; else a half."""
    if weights_name in INSTALLED:
        known = INSTALLED[weights_name]
        return [known.mean] * 3, [known.std] * 3
    from timm.models import get_pretrained_cfg, is_model

    configuration = get_pretrained_cfg(model) if is_model(model) else None
    if configuration is None:
        return [0.5] * 3, [0.5] * 3
    return list(configuration.mean), list(configuration.std)
