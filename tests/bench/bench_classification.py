"""How well recipes classify: K folds of a folder of pictures, and the arrays of MHSMA.

    python -m tests.bench.bench_classification folds PATH --recipe fine-tune --seeds 0 1 2
    python -m tests.bench.bench_classification mhsma PATH --recipe fine-tune --set imgsz=96
    python -m tests.bench.bench_classification folds PATH --recipe fine-tune --set epochs=10 --only 1   # one fold

PATH of `folds` is a folder or a ZIP with a folder of pictures for each class. Folds are by picture, stratified by
class: **donors are not known**, and pictures of one person or slide may stand on both sides, so the numbers are what
the literature reports, not what a new donor would get. PATH of `mhsma` is the folder of its .npy files: trained on the
1,000 of `train`, measured on the 240 of `valid`, which nothing else sees.

Each training is the worker's own, in a process of its own, as in a night; nothing of the test pictures is looked at
before the end. `--val` keeps a share of the training pictures for validation (temperature, early stop, best epoch).
Intervals are 95 % percentile bootstraps of pictures (2,000 resamples, seed 0) of all out-of-fold predictions of a seed.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, train_test_split

from tasks.config import RecipeChoice
from tasks.kind import Job
from tasks.kinds.classification.dataset import ImageDataset, LabelledImage
from tasks.kinds.classification.predictor import LoadedClassifier
from tasks.kinds.classification.recipe import ClassificationRecipe, load_recipe
from tasks.kinds.classification.train import options
from tasks.small_yaml import read_yaml
from tasks.training import supervise

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}
MHSMA_LABELS = ("acrosome", "head", "vacuole", "tail")
RESAMPLES = 2000

Floats = NDArray[np.float64]
Score = Callable[[Floats, Floats], float]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("folds", "mhsma"))
    parser.add_argument("path", type=Path)
    parser.add_argument("--recipe", default="fine-tune")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--only", type=int, help="so many folds of each seed, for a quick look")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--val", type=float, default=0.1)
    parser.add_argument("--threads", type=int)
    asked = parser.parse_args()
    changes = {key: read_yaml(value, key) for key, _, value in (each.partition("=") for each in asked.set)}
    with tempfile.TemporaryDirectory(prefix="nightscope-bench-") as scratch:
        bench = folds if asked.what == "folds" else mhsma
        for seed in asked.seeds:
            recipe = load_recipe(RecipeChoice(name=asked.recipe, seed=seed, **changes))
            print(f"\n{recipe.name} {changes} seed {seed}: {recipe.plan.model}, {recipe.plan.imgsz} px")
            bench(asked, recipe, Path(scratch))


def folds(asked: argparse.Namespace, recipe: ClassificationRecipe, scratch: Path) -> None:
    """K folds of a folder of pictures."""
    root = asked.path
    if root.suffix == ".zip":
        root = scratch / "pictures"
        if not root.exists():
            zipfile.ZipFile(asked.path).extractall(root)
    paths = sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES)
    classes = sorted({path.parent.name for path in paths})
    truth = np.array([classes.index(path.parent.name) for path in paths])
    targets = np.eye(len(classes))[truth]
    print(f"{len(paths)} pictures, {len(classes)} classes; {asked.folds} folds by picture, stratified; donors unknown")
    chances = np.full(targets.shape, np.nan)
    each = []
    parts = StratifiedKFold(asked.folds, shuffle=True, random_state=recipe.seed).split(paths, truth)
    for number, (train, test) in enumerate(parts):
        if asked.only and number >= asked.only:
            break
        val = _validation(train, truth[train], asked.val, recipe.seed)
        chances[test], seconds = trained_and_tried(asked, recipe, scratch, paths, targets, train, val, test, classes)
        each.append(_accuracy(targets[test], chances[test]))
        print(
            f"  fold {number}: accuracy {each[-1]:.4f}, {len(train) - len(val)} pictures in {seconds:.0f} s", flush=True
        )
    seen = ~np.isnan(chances).any(1)
    print(f"  mean of folds {np.mean(each):.4f} (sd {np.std(each, ddof=1) if len(each) > 1 else 0:.4f})")
    for name, score in (("accuracy", _accuracy), ("balanced accuracy", _balanced), ("ROC AUC", _auc)):
        _show(name, targets[seen], chances[seen], score)


def mhsma(asked: argparse.Namespace, recipe: ClassificationRecipe, scratch: Path) -> None:
    """Four labels of sperm heads, one model."""
    images = np.concatenate([np.load(asked.path / f"x_64_{part}.npy") for part in ("train", "valid")])
    targets = np.stack(
        [np.concatenate([np.load(asked.path / f"y_{label}_{part}.npy") for part in ("train", "valid")])
         for label in MHSMA_LABELS], axis=1,
    ).astype(float)  # fmt: skip
    folder = scratch / "mhsma"
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{index:04d}.png" for index in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        cv2.imwrite(str(path), image)
    count = len(np.load(asked.path / "y_head_train.npy"))
    train, test = np.arange(count), np.arange(count, len(images))
    val = _validation(train, targets[train, 2], asked.val, recipe.seed)
    chances, seconds = trained_and_tried(
        asked, recipe, scratch, paths, targets, train, val, test, MHSMA_LABELS, multi_label=True
    )
    print(f"{len(train) - len(val)} pictures in {seconds:.0f} s; measured on the {len(test)} of `valid`")
    for place, label in enumerate(MHSMA_LABELS):
        there, chance = targets[test, place], chances[:, place]
        _show(f"{label} ROC AUC", there, chance, lambda truth, score: float(roc_auc_score(truth, score)))
        _show(f"{label} balanced accuracy", there, chance, _balanced_label)


def trained_and_tried(
    asked: argparse.Namespace, recipe: ClassificationRecipe, scratch: Path, paths: Sequence[Path], targets: Floats,
    train: Any, val: Any, test: Any, classes: Sequence[str], *, multi_label: bool = False,
) -> tuple[Floats, float]:  # fmt: skip
    """Train on some pictures, and predict others: probabilities [test, classes], and seconds of training."""
    folder = Path(tempfile.mkdtemp(dir=scratch))
    chosen = set(val)
    images = [
        LabelledImage(file=str(paths[index]), split="val" if index in chosen else "train", group=str(index),
                      targets=tuple(targets[index]))
        for index in train
    ]  # fmt: skip
    data = folder / "dataset.json"
    data.write_text(
        ImageDataset(classes=tuple(classes), multi_label=multi_label, images=tuple(images)).model_dump_json()
    )
    began = time.monotonic()
    job = Job(
        kind="classification", run_key="b" * 64, folder=folder, data=data, has_val=bool(chosen), seed=recipe.seed,
        options=options(recipe, data), weights=(recipe.installed_weights() or (None,))[0], state_dir=folder,
        locks_dir=folder / "locks", parent_pid=os.getpid(), threads=asked.threads,
    )  # fmt: skip
    *_, finished = supervise.events(job, folder / "training.log")
    seconds = time.monotonic() - began
    model = LoadedClassifier(Path(finished["weights"]), classes=classes, tta=recipe.predict.tta)
    pictures = [np.asarray(cv2.imread(str(paths[index]), cv2.IMREAD_COLOR), np.uint8) for index in test]
    return np.stack(model.predict(pictures)), seconds


def _validation(train: Any, strata: Any, share: float, seed: int) -> Any:
    if not share:
        return train[:0]
    return train_test_split(train, test_size=share, stratify=strata, random_state=seed)[1]


def _show(name: str, truth: Floats, chances: Floats, score: Score) -> None:
    random = np.random.default_rng(0)
    draws = []
    for _ in range(RESAMPLES):
        rows = random.integers(0, len(truth), len(truth))
        if len(np.unique(truth[rows])) > 1:  # a resample of one class has no such score
            draws.append(score(truth[rows], chances[rows]))
    low, high = np.percentile(draws, [2.5, 97.5])
    print(f"  {name:28} {score(truth, chances):.4f}  [{low:.4f}, {high:.4f}]", flush=True)


def _accuracy(truth: Floats, chances: Floats) -> float:
    return float((truth.argmax(1) == chances.argmax(1)).mean())


def _balanced(truth: Floats, chances: Floats) -> float:
    labels, said = truth.argmax(1), chances.argmax(1)
    return float(np.mean([(said[labels == label] == label).mean() for label in np.unique(labels)]))


def _auc(truth: Floats, chances: Floats) -> float:
    return float(np.mean([roc_auc_score(truth[:, label], chances[:, label]) for label in range(truth.shape[1])]))


def _balanced_label(truth: Floats, chances: Floats) -> float:
    said, there = chances >= 0.5, truth > 0.5
    return float((said[there].mean() + (~said[~there]).mean()) / 2)


if __name__ == "__main__":
    main()
