"""What a training learns from, and how: the job, read. Used by the worker only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.kind import Job
from tasks.kinds.segmentation.dataset import CellDataset
from tasks.kinds.segmentation.plan import InputPlan, TrainingPlan
from tasks.kinds.segmentation.training.crops import Crops
from tasks.schemas import Split
from tasks.training.torch_setup import set_up_torch

_MIN_SCORES = {"two-stage": 0.3, "star-convex": 0.4}
"""Where no validation split says a better one; of the first it is measured (docs/segmenters.md, "Few cells")."""


@dataclass(frozen=True)
class Setup:
    """A training, before it begins.

    Attributes:
        data: Path of `dataset.json`.
        plan: How it learns.
        spec: Of the network, see `networks/files.py`.
        device: 'cpu' or 'cuda:0'.
        seed: Of everything random.
        has_val: Whether there is a validation split.
        folder: Scratch of the training.
    """

    data: Path
    plan: TrainingPlan
    spec: dict[str, Any]
    device: str
    seed: int
    has_val: bool
    folder: Path

    def crops(self, split: Split) -> Crops:
        """The pictures of a split."""
        how = InputPlan.model_validate(self.spec["input"])
        return Crops(self.data, split, how, cache=self.plan.cache, seed=self.seed)


def prepare(job: Job) -> Setup:
    """Read a job, and set torch up in this process."""
    plan, dataset = TrainingPlan.model_validate(job.options["plan"]), CellDataset.read(job.data)
    device = set_up_torch(job.seed, job.threads, deterministic=plan.deterministic)
    return Setup(job.data, plan, spec_of(dataset, plan), device, job.seed, job.has_val, job.folder)


def spec_of(dataset: CellDataset, plan: TrainingPlan) -> dict[str, Any]:
    """The network to train, as its file of weights will say it."""
    return {
        "model": plan.model, "encoder": plan.encoder, "encoder_sizes": None, "width": plan.width,
        "classes": list(dataset.classes), "input": plan.input_plan(dataset.channels).model_dump(mode="json"),
        "min_score": _MIN_SCORES[plan.model],
    }  # fmt: skip
