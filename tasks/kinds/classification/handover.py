"""What a finished training leaves: its weights with their temperature, scores, a confusion matrix. For the worker."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.kinds.classification import networks
from tasks.kinds.classification.augmentation import augmentation
from tasks.kinds.classification.scores import scores_of
from tasks.kinds.classification.setup import Setup
from tasks.kinds.classification.trainer import network_logits
from tasks.metrics.temperature import NEUTRAL, fit_temperature

Floats = NDArray[np.float64]

SHOWN = 24


def hand_over(
    folder: Path, setup: Setup, network: Any, rows: list[dict[str, float]]
) -> tuple[Path, dict[str, float], dict[str, Path]]:
    """Calibrate the network on the validation split, write it, and say how it does there.

    Args:
        folder: Scratch of the training.
        setup: Of the training.
        network: What it came to.
        rows: What was measured after each epoch.

    Returns:
        The file of weights, scores, and files to keep by the name that MLflow shows.
    """
    review: dict[str, float] = {}
    files: dict[str, Path] = {}
    if setup.has_val:
        review, files = _calibrated(folder, setup, network)
    weights = folder / "weights.pt"
    networks.write(weights, network, setup.spec)
    files["training/augmented.png"] = _contact_sheet(folder / "augmented.png", setup)
    if rows:
        files["training/epochs.csv"] = _table(folder / "epochs.csv", rows)
    return weights, review, files


def _calibrated(folder: Path, setup: Setup, network: Any) -> tuple[dict[str, float], dict[str, Path]]:
    """Fit the temperatures into the spec; scores after scaling, and the confusion matrix."""
    pictures, multi_label = setup.pictures("val"), setup.dataset.multi_label
    targets = pictures.targets.numpy().astype(np.float64)
    review: dict[str, float] = {}
    for name in ("tta", "plain"):
        logits = network_logits(network, pictures, setup, tta=name == "tta")
        temperature = fitted_temperature(logits, targets, multi_label=multi_label)
        setup.spec["temperature"][name] = temperature
        scores = scores_of(logits, targets, multi_label=multi_label, temperature=temperature)
        prefix = "val" if name == "plain" else "val_tta"
        review |= {f"{prefix}/{score}": value for score, value in {**scores, "temperature": temperature}.items()}
    if multi_label:
        return review, {}
    path = _confusion(folder / "confusion.csv", setup.dataset.classes, targets.argmax(1), logits.argmax(1))
    return review, {"val/confusion_matrix.csv": path}


def fitted_temperature(logits: Floats, targets: Floats, *, multi_label: bool) -> float:
    """`fit_temperature`, for a split that may be so small that the network makes no mistake on it.

    Then least likelihood would make it ever surer. So what pictures show counts as Platt (1999) has it, with one more
    picture of every class; where labels are independent of each other, no mistake makes no network surer.
    """
    if not multi_label:
        count, classes = targets.shape
        return fit_temperature(logits, (targets * count + 1) / (count + classes))
    known = ~np.isnan(targets)
    faultless = bool(((logits > 0) == (targets > 0.5))[known].all())
    return max(fit_temperature(logits, targets, multi_label=True), NEUTRAL if faultless else 0.0)


def _confusion(path: Path, classes: tuple[str, ...], truth: Any, predicted: Any) -> Path:
    from sklearn.metrics import confusion_matrix

    counts = confusion_matrix(truth, predicted, labels=range(len(classes)))
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["labelled \\ predicted", *classes])
        writer.writerows([name, *map(int, row)] for name, row in zip(classes, counts, strict=True))
    return path


def _table(path: Path, rows: list[dict[str, float]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)))
        writer.writeheader()
        writer.writerows(rows)
    return path


def _contact_sheet(path: Path, setup: Setup) -> Path:
    """Some training pictures as the network saw them: whoever looks sees at once what augmentation does to them."""
    from torchvision.utils import make_grid, save_image

    augment = augmentation(setup.plan) if setup.plan.head == "network" else None
    pictures = setup.pictures("train", augment)
    shown = [pictures[index][0] for index in range(min(SHOWN, len(pictures)))]
    save_image(make_grid(shown, nrow=8).float() / 255, path)
    return path
