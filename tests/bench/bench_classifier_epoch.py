"""An epoch of our training of a classifier against a bare loop of torch and timm.

    python -m tests.bench.bench_classifier_epoch --model tf_efficientnet_lite0 --imgsz 96

Both train the same network from the same weights on the same pictures in one process, in turns: the same size, batch,
optimizer and augmentation. The bare loop is what a person would write: a `DataLoader` that shuffles, a forward and a
backward pass, a step. Ours also draws each picture's augmentation from (seed, epoch, picture), follows its schedule and
reports each step. Pictures are in memory in both; reading files, checkpoints and validation are left out. Ratios are
of CPU time, since a machine that does other things as well stretches wall time.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from tasks.kinds.classification.augmentation import augmentation
from tasks.kinds.classification.dataset import ImageDataset, LabelledImage
from tasks.kinds.classification.networks import build_bare
from tasks.kinds.classification.plan import TrainingPlan
from tasks.kinds.classification.setup import Setup, spec_of
from tasks.kinds.classification.trainer import NetworkTraining

CLASSES = ("a", "b", "c")


class Bare(Dataset[Any]):  # type: ignore[misc]
    """Squares in memory, augmented."""

    def __init__(self, squares: torch.Tensor, labels: torch.Tensor, plan: TrainingPlan) -> None:
        self._squares, self._labels, self._augment = squares, labels, augmentation(plan)

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self._augment(self._squares[index]), self._labels[index]


def made(folder: Path, count: int, plan: TrainingPlan) -> Setup:
    """Pictures of noise, and what a worker would make of them."""
    random = np.random.default_rng(0)
    images = []
    for index in range(count):
        path = folder / f"{index:04d}.png"
        cv2.imwrite(str(path), random.integers(0, 255, (plan.imgsz, plan.imgsz, 3), dtype=np.uint8))
        targets = tuple(float(place == index % len(CLASSES)) for place in range(len(CLASSES)))
        images.append(LabelledImage(file=path.name, split="train", group=str(index), targets=targets))
    dataset = ImageDataset(classes=CLASSES, multi_label=False, images=tuple(images))
    return Setup(folder / "dataset.json", dataset, plan, spec_of(dataset, plan, None), "cpu", 0, False)


def bare_epoch(network: Any, optimizer: Any, loader: DataLoader[Any], spec: dict[str, Any]) -> None:
    """As a tutorial has it."""
    mean, std = (torch.tensor(spec[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    network.train()
    for squares, labels in loader:
        inputs = ((squares.float() / 255 - mean) / std).contiguous(memory_format=torch.channels_last)
        loss = functional.cross_entropy(network(inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tf_efficientnet_lite0")
    parser.add_argument("--imgsz", type=int, default=96)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--pictures", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    plan = TrainingPlan(model=asked.model, imgsz=asked.imgsz, batch=asked.batch, epochs=asked.rounds + 1)
    with tempfile.TemporaryDirectory(prefix="nightscope-bench-") as scratch:
        setup = made(Path(scratch), asked.pictures, plan)
        network = build_bare(plan.model, len(CLASSES), plan.imgsz, plan.dropout)
        theirs = copy.deepcopy(network).to(memory_format=torch.channels_last)
        ours = NetworkTraining(setup, network)
        squares = torch.cat(list(ours.pictures.batches()))
        data = Bare(squares, ours.pictures.targets.argmax(1), plan)
        loader = DataLoader(data, batch_size=plan.batch, shuffle=True)
        optimizer = torch.optim.AdamW(theirs.parameters(), lr=plan.lr, weight_decay=plan.weight_decay)
        rows = []
        for _ in range(asked.rounds + 1):  # the first warms up
            began = time.process_time()
            bare_epoch(theirs, optimizer, loader, setup.spec)
            between = time.process_time()
            ours.run_epoch(lambda step, loss: None)
            rows.append((between - began, time.process_time() - between))
    bare, own = (min(column) for column in zip(*rows[1:], strict=True))
    print(f"{plan.model}, {plan.imgsz} px, batch {plan.batch}, {asked.pictures} pictures, {asked.threads} threads")
    print(f"CPU s of an epoch, best of {asked.rounds}: bare {bare:.2f}, ours {own:.2f}; ratio {own / bare:.3f}")


if __name__ == "__main__":
    main()
