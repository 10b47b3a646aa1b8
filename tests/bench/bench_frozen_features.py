"""How well classical heads on frozen features do within MHSMA's `train`, by repeated cross-validation.

    python -m tests.bench.bench_frozen_features PATH --recipe centred-features --set gamma=1 --set calibration=platt

PATH is the folder of MHSMA's .npy files; `valid` is not opened. The recipe's features of the 1,000 pictures are
computed once, by the training's own code; then heads are fitted on all folds but one and measured on that: `--folds`
folds by picture (donors are not known), stratified by the three labels together, shuffled by each of `--seeds` seeds,
`calibration` within the training folds alone. Shown: mean and standard deviation over seeds of ROC AUC and of balanced
accuracy (cut at a score of 0), which say how much the folds matter, not how other pictures would do. `--heads` tries
several heads on the same features: `--heads "C=3 gamma=1" "C=3 gamma=1 calibration=platt"`.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.model_selection import StratifiedKFold

from tasks.config import RecipeChoice
from tasks.kind import Job
from tasks.kinds.classification import networks
from tasks.kinds.classification.dataset import ImageDataset, LabelledImage
from tasks.kinds.classification.frozen import FeatureTraining, fit
from tasks.kinds.classification.loading import start_from
from tasks.kinds.classification.plan import TrainingPlan
from tasks.kinds.classification.recipe import ClassificationRecipe, load_recipe
from tasks.kinds.classification.setup import prepare
from tasks.kinds.classification.train import options
from tasks.small_yaml import read_yaml

LABELS = ("acrosome", "head", "vacuole")

Floats = NDArray[np.float64]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--recipe", default="centred-features")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--heads", nargs="+", default=[""], metavar="KEY=VALUE ...")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=5)
    asked = parser.parse_args()
    targets = np.stack([np.load(asked.path / f"y_{label}_train.npy") for label in LABELS], axis=1).astype(float)
    recipe = _recipe(asked, asked.set)
    began = time.process_time()
    rows = rows_of(recipe, np.load(asked.path / "x_64_train.npy"), targets)
    print(f"{recipe.name} {asked.set}: {rows.shape[1]} features, {time.process_time() - began:.0f} s of CPU")
    print(f"ROC AUC, and balanced accuracy, of {', '.join(LABELS)}")
    for head in asked.heads:
        plan = _recipe(asked, [*asked.set, *head.split()]).plan
        found = np.stack([scored(rows, targets, plan, asked.folds, seed) for seed in range(asked.seeds)])
        shown = [
            " ".join(
                f"{mean:.3f} ({deviation:.3f})"
                for mean, deviation in zip(part.mean(0), part.std(0, ddof=1), strict=True)
            )
            for part in np.moveaxis(found, 1, 0)
        ]
        print(f"  {head or 'as it is':40} {shown[0]} | {shown[1]} | means {found.mean((0, 2)).round(4)}", flush=True)


def rows_of(recipe: ClassificationRecipe, images: Any, targets: Floats) -> Floats:
    """Features [n, f] of grey pictures, averaged over the recipe's views."""
    with tempfile.TemporaryDirectory(prefix="nightscope-bench-") as name:
        folder = Path(name)
        for index, image in enumerate(images):
            cv2.imwrite(str(folder / f"{index:04d}.png"), image)
        listed = tuple(
            LabelledImage(file=f"{index:04d}.png", split="train", group=str(index), targets=tuple(row))
            for index, row in enumerate(targets.tolist())
        )
        data = folder / "dataset.json"
        data.write_text(ImageDataset(classes=LABELS, multi_label=True, images=listed).model_dump_json())
        installed = recipe.installed_weights()
        if installed is None or not recipe.plan.average_views:
            raise SystemExit("expected a recipe with installed weights and average_views: true")
        job = Job(
            kind="classification", run_key="b" * 64, folder=folder, data=data, has_val=False, seed=recipe.seed,
            options=options(recipe, data), state_dir=folder, locks_dir=folder / "locks", parent_pid=os.getpid(),
            threads=1,
        )  # fmt: skip
        network = networks.build_bare(recipe.plan.model, len(LABELS), recipe.plan.imgsz)
        start_from(network, *installed, recipe.plan.model, len(LABELS))
        training = FeatureTraining(prepare(job), network)
        while not training.finished:
            training.run_epoch(lambda *_: None)
        return training.averaged().numpy()


def scored(rows: Floats, targets: Floats, plan: TrainingPlan, folds: int, seed: int) -> Floats:
    """ROC AUC and balanced accuracy [2, labels] of out-of-fold scores."""
    strata = (targets @ 2 ** np.arange(targets.shape[1])).astype(int)
    scores = np.full(targets.shape, np.nan)
    for train, test in StratifiedKFold(folds, shuffle=True, random_state=seed).split(rows, strata):
        head = fit(rows[train], targets[train], plan, multi_label=True)
        made = networks.FrozenFeatures(
            torch.nn.Identity(), targets.shape[1], blocks=0, features=rows.shape[1], pca=len(head.axes),
            support=len(head.support),
        )  # fmt: skip
        for name, values in vars(head).items():
            getattr(made, name).copy_(torch.as_tensor(values))
        scores[test] = made.scores(torch.from_numpy(rows[test])).numpy()
    columns = list(zip(targets.T > 0.5, scores.T, strict=True))
    return np.array(
        [[roc_auc_score(there, score) for there, score in columns],
         [balanced_accuracy_score(there, score > 0) for there, score in columns]]
    )  # fmt: skip


def _recipe(asked: argparse.Namespace, changes: list[str]) -> ClassificationRecipe:
    values = {key: read_yaml(value, key) for key, _, value in (each.partition("=") for each in changes)}
    return load_recipe(RecipeChoice(name=asked.recipe, seed=0, **values))


if __name__ == "__main__":
    main()
