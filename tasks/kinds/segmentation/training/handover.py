"""What a finished training leaves: weights with their threshold, scores, curves, pictures. Used by the worker only."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from tasks.kinds.segmentation import networks
from tasks.kinds.segmentation.training import sheets
from tasks.kinds.segmentation.training.measure import scores_of
from tasks.kinds.segmentation.training.setup import Setup
from tasks.training.contact_sheet import PREDICTED


def hand_over(setup: Setup, network: Any, rows: list[dict[str, Any]]) -> tuple[Path, dict[str, float], dict[str, Path]]:
    """Choose the threshold on the validation split, write the network, and say how it does there.

    Args:
        setup: Of the training.
        network: What it came to.
        rows: What was measured after each epoch.

    Returns:
        The file of weights, scores, and files to keep by the name that MLflow shows.
    """
    folder, spec = setup.folder, setup.spec
    review: dict[str, float] = {}
    files: dict[str, Path] = {}
    if setup.has_val:
        validation = setup.crops("val")
        two = setup.plan.model == "two-stage"
        scores, threshold = scores_of(network, spec, validation, setup.device, boxes=two, of_masks=True)
        review = {f"val/{name}": value for name, value in scores.items()}
        spec["min_score"] = spec["min_score"] if threshold is None else threshold
        shown = sheets.predicted(folder / "predicted.png", setup, network, spec, validation)
        files[PREDICTED] = sheets.as_jpeg(shown)
    weights = folder / "weights.pt"
    networks.write(weights, network, spec)
    files["training/augmented.png"] = sheets.augmented(folder / "augmented.png", setup, setup.crops("train"))
    if rows:
        files["training/epochs.csv"] = table(folder / "epochs.csv", rows)
        files |= curves(folder, rows)
    return weights, review, files


def table(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Rows as a table, with every name that any of them has."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)))
        writer.writeheader()
        writer.writerows(rows)
    return path


def curves(folder: Path, rows: list[dict[str, Any]]) -> dict[str, Path]:
    """For each stage a picture of its loss's parts and of the scores on the validation split."""
    from matplotlib.figure import Figure

    found = {}
    for stage in (1, 2):
        own = [row for row in rows if row["stage"] == stage]
        names = list(
            dict.fromkeys(name for row in own for name in row if name.startswith((f"train/stage{stage}/", "val/")))
        )
        if not own:
            continue
        figure = Figure(figsize=(9, 3.5), layout="constrained")
        for axes, start in zip(figure.subplots(1, 2), ("train/", "val/"), strict=True):
            for name in (each for each in names if each.startswith(start)):
                seen = [(row["epoch"], row[name]) for row in own if name in row]
                axes.plot(*zip(*seen, strict=True), marker="." if start == "val/" else None, label=name.split("/")[-1])
            axes.set(xlabel="epoch", title=f"stage {stage}: {'loss' if start == 'train/' else 'validation'}")
            if axes.lines:
                axes.legend(fontsize="x-small")
        path = folder / f"stage{stage}.png"
        figure.savefig(path, dpi=110)
        found[f"training/stage{stage}.png"] = path
    return found
