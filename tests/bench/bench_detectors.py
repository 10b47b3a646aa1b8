"""What recipes of detection bring on held-out recordings when each may train for the same CPU seconds.

    python -m tests.bench.bench_detectors PATH --variants detection-from-scratch "detection-from-scratch mosaic=0.5" \
        --cpu-seconds 600 --seeds 0 1 2

PATH is `miamia-svds`, `bccd` or `hc18-fetal-head` as published; `detector_sets.py` says how each is parted into folds.
A variant is a recipe and what is set otherwise, in one argument.

**The same CPU time.** As in `bench_segmenters`: a pilot of four epochs measures the pace, then the epochs are raised or
lowered until a training takes `--cpu-seconds`. There is no validation split; the last epoch is the model.

**What is measured**: COCO's AP50 and AP50-95 on the pictures of the fold, which nothing was learned or chosen from,
for all classes and each. Of several folds the mean (a fold counts by its pictures in a draw), and of several seeds the
mean of that; [low, high] are 95 % intervals over groups (clips, examinations or pictures; 2,000 resamples, seed 0, the
same draws for all variants), widened for few of them as in every report. A technique is worth its price where the
difference to the first variant is above zero with its whole interval.

**A detector to learn from**, for variants that say `teacher=trained.pt`, or **to start from**, `weights=trained.pt`, is
trained by `--first "RECIPE [KEY=VALUE ...]"` for `--first-cpu-seconds`, once for each fold by the first seed, from the
same pictures: it has not seen the fold's either. With `--simulated N` it learns from N simulated recordings (of
ultrasound: pictures) instead, once for all folds: pretraining on what nobody took. It is kept beside `--out`; its own
seconds are not among the variants', theirs include asking it.

**A denoiser** that variants name, `denoiser=speckle.safetensors`, is the file of that name that `--denoiser` says.
Frames go through it once before the training, whose CPU seconds do not count that, and so does every test picture.

**An average of weights**: with `--average` a model whose weights are the mean of a variant's seeds is judged, too
(`averaging.py`), and what it brings over the mean of these seeds. It took as many times the seconds.

**An ensemble**: with `--fuse` what `members` makes of the seeds' boxes is judged (`ensembles.py`), for the price of all
their seconds and of asking each of them for every picture.

Each training is the worker's own. A finished one is a line of `--out`, with its predictions beside it, and is not done
again.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tasks.config import RecipeChoice
from tasks.kinds.detection.averaging import average_of
from tasks.kinds.detection.ensembles import fuse
from tasks.kinds.detection.predictor import SCORES_FROM, opened
from tasks.kinds.detection.recipe import DetectionRecipe, load_recipe
from tasks.lake.blobs import hash_file
from tasks.metrics.judgement import FloatArray
from tasks.schemas import digest
from tasks.small_yaml import read_yaml
from tasks.training.installed import INSTALLED
from tasks.whole_files import written_whole
from tests.bench.detector_sets import BoxedSet, read_set, write_yolo
from tests.bench.detector_tables import METRICS, Line, predictions_of, read_predictions, show, statistic_of
from tests.bench.equal_cpu import train_for
from tests.bench.simulated_sets import simulated

TRAINED = "trained.pt"
"""What variants call the detector of `--first`."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--variants", nargs="+", required=True, metavar="'RECIPE [KEY=VALUE ...]'")
    parser.add_argument("--cpu-seconds", type=float, required=True)
    parser.add_argument("--first", metavar="'RECIPE [KEY=VALUE ...]'")
    parser.add_argument("--first-cpu-seconds", type=float, help="default: --cpu-seconds")
    parser.add_argument("--simulated", type=int, metavar="N", help="what --first learns from")
    parser.add_argument("--denoiser", type=Path, metavar="FILE", help="that variants name")
    parser.add_argument("--average", action="store_true", help="of the seeds' weights, too")
    parser.add_argument("--fuse", action="store_true", help="the seeds' boxes, too")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--folds", type=int, default=5, help="of a set without recordings or an official split")
    parser.add_argument("--only", type=int, nargs="+", help="these folds alone, counted from 0")
    parser.add_argument("--split-seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("bench_detectors.jsonl"))
    asked = parser.parse_args()
    for variant in [*asked.variants, *([asked.first] if asked.first else [])]:  # a wrong one is said at once
        recipe, changes = parsed(variant)
        chosen = load_recipe(RecipeChoice(name=recipe, **changes))
        files = {name for name in (chosen.teacher(), chosen.weights) if name and name not in INSTALLED}
        if files and (files != {TRAINED} or not asked.first):
            parser.error(f"{variant}: knows no file but {TRAINED}; say with --first how that is trained")
        if chosen.denoiser() and (asked.denoiser is None or chosen.denoiser() != asked.denoiser.name):
            parser.error(f"{variant}: knows no denoiser of that name; say its file with --denoiser")
    with tempfile.TemporaryDirectory(prefix="nightscope-bench-") as scratch:
        boxed = read_set(asked.path, Path(scratch) / "frames", asked.folds, asked.split_seed)
        folds = asked.only if asked.only is not None else list(range(len(boxed.folds)))
        describe(boxed, folds)
        runs = {
            (variant, seed, fold): measured(asked, variant, seed, fold, boxed, Path(scratch))
            for seed in asked.seeds for fold in folds for variant in asked.variants
        }  # fmt: skip
        together = {"averaged": average} if asked.average else {}
        together |= {"fused": ensemble} if asked.fuse else {}
        for variant, (how, of) in itertools.product(list(asked.variants), together.items()):
            asked.variants.append(f"{variant}, {how}")
            for fold in folds:
                line = of(asked, [runs[variant, seed, fold] for seed in asked.seeds], boxed, fold, Path(scratch))
                runs |= {(asked.variants[-1], seed, fold): line for seed in asked.seeds}
    show(asked, boxed, folds, runs)


def describe(boxed: BoxedSet, folds: Sequence[int]) -> None:
    """How many pictures and boxes there are."""
    for fold in folds:
        labels = [each["label"] for place in boxed.folds[fold] for each in boxed.pictures[place].objects]
        counts = ", ".join(f"{labels.count(name)} {name}" for name in boxed.classes)
        groups = sorted({boxed.pictures[place].group for place in boxed.folds[fold]})
        held = groups[0] if len(groups) == 1 else f"{len(groups)} groups"
        print(f"fold {fold}: held out {held}, {len(boxed.folds[fold])} pictures, {counts}", flush=True)


def measured(asked: argparse.Namespace, variant: str, seed: int, fold: int, boxed: BoxedSet, scratch: Path) -> Line:
    """One training and its predictions of the fold's pictures; taken from `--out` where it stands there."""
    recipe, changes = parsed(variant)
    test = boxed.folds[fold]
    asked_for = {
        "recipe": recipe, "changes": changes, "seed": seed, "cpu_seconds": asked.cpu_seconds,
        "threads": asked.threads, "pictures": [each.path.name for each in boxed.pictures], "test": test,
    }  # fmt: skip
    if _rests_on_first(changes):
        asked_for["first"] = [asked.first, first_seconds(asked), asked.seeds[0]]
        asked_for |= {"simulated": asked.simulated} if asked.simulated else {}
    if "denoiser" in changes:
        asked_for["denoiser"] = hash_file(asked.denoiser)
    key = digest(asked_for)[:16]
    kept = weights_of(asked.out, key)
    for line in done(asked.out):
        if line["key"] == key and (kept.is_file() or not asked.average):
            return line
    folder = Path(tempfile.mkdtemp(dir=scratch))
    data = write_yolo(folder / "data", boxed, test)
    first = trained_first(asked, asked_for, boxed, data, folder) if _rests_on_first(changes) else None
    trained = train_for(
        asked.cpu_seconds, "detection", recipe, changes, seed, data, folder, has_val=False, threads=asked.threads,
        teacher=first, weights=first if changes.get("weights") == TRAINED else None, denoiser=asked.denoiser,
    )  # fmt: skip
    chosen = load_recipe(RecipeChoice(name=recipe, seed=seed, **changes))
    found = predicted(trained.weights, chosen, boxed, test, folder)
    if asked.average:
        _keep(trained.weights, kept)
    shutil.rmtree(folder)
    _write_predictions(asked.out, key, found)
    line = {
        "key": key, "variant": variant, "seed": seed, "fold": fold, "cpu_s": round(trained.cpu_s, 1),
        "asked_cpu_s": asked.cpu_seconds, "wall_s": round(trained.wall_s, 1), "epochs": trained.epochs,
    }  # fmt: skip
    with asked.out.open("a") as file:
        file.write(json.dumps(line) + "\n")
    values = statistic_of(asked.out, line, boxed, test)(np.ones((1, len(test)), dtype=np.int64))
    text = ", ".join(f"{name} {float(values[(name,)][0]):.3f}" for name in METRICS)
    print(f"{variant} seed {seed} fold {fold}: {text} ({trained.cpu_s:.0f} CPU s)", flush=True)
    return line


def average(asked: argparse.Namespace, lines: Sequence[Line], boxed: BoxedSet, fold: int, scratch: Path) -> Line:
    """The measurement of the model whose weights are the mean of those of some measurements."""
    recipe, changes = parsed(lines[0]["variant"])
    chosen, test = load_recipe(RecipeChoice(name=recipe, **changes)), boxed.folds[fold]
    key = digest(["averaged", [line["key"] for line in lines]])[:16]
    learned = [each.path for place, each in enumerate(boxed.pictures) if place not in test]
    held = [weights_of(asked.out, line["key"]) for line in lines]
    own = average_of(held, learned, chosen.imgsz, scratch / f"{key}.pt")
    _write_predictions(asked.out, key, predicted(own, chosen, boxed, test, scratch))
    return _of_all(lines, key)


def ensemble(asked: argparse.Namespace, lines: Sequence[Line], boxed: BoxedSet, fold: int, scratch: Path) -> Line:
    """The measurement of an ensemble whose members are those of some measurements."""
    found = [read_predictions(asked.out, line["key"]) for line in lines]
    pictures = [boxed.pictures[place] for place in boxed.folds[fold]]
    fused = [
        fuse([each.astype(np.float32) for each in of], picture.height_px, picture.width_px).astype(np.float64)
        for picture, of in zip(pictures, zip(*found, strict=True), strict=True)
    ]
    key = digest(["fused", [line["key"] for line in lines]])[:16]
    _write_predictions(asked.out, key, fused)
    return _of_all(lines, key)


def _of_all(lines: Sequence[Line], key: str) -> Line:
    return {**lines[0], "key": key, "cpu_s": round(sum(line["cpu_s"] for line in lines), 1)}


def _write_predictions(out: Path, key: str, found: Sequence[FloatArray]) -> None:
    predictions_of(out, key).parent.mkdir(parents=True, exist_ok=True)
    predictions_of(out, key).write_text(json.dumps([each.round(4).tolist() for each in found]))


def _rests_on_first(changes: Mapping[str, Any]) -> bool:
    return TRAINED in (changes.get("teacher"), changes.get("weights"))


def first_seconds(asked: argparse.Namespace) -> float:
    """CPU seconds that the training of the detector may take that others rest on."""
    return float(asked.first_cpu_seconds or asked.cpu_seconds)


def trained_first(asked: argparse.Namespace, of: Line, boxed: BoxedSet, data: Path, folder: Path) -> Path:
    """Its weights for this fold, or for all; it is trained where they do not lie beside `--out` yet."""
    learned = ("simulated",) if asked.simulated else ("pictures", "test")
    rests_on = {name: of[name] for name in ("first", "threads", *learned)}
    if asked.simulated:
        rests_on |= {"classes": boxed.classes, "size": [boxed.pictures[0].width_px, boxed.pictures[0].height_px]}
    kept = weights_of(asked.out, digest(rests_on)[:16])
    if not kept.is_file():
        recipe, changes = parsed(asked.first)
        if asked.simulated:
            own = simulated(boxed, asked.simulated, folder / "drawn", asked.seeds[0])
            data = write_yolo(folder / "simulated", own, ())
        trained = train_for(
            first_seconds(asked), "detection", recipe, changes, asked.seeds[0], data, folder / "first", has_val=False,
            threads=asked.threads, denoiser=asked.denoiser,
        )  # fmt: skip
        _keep(trained.weights, kept)
    return kept


def _keep(weights: Path, kept: Path) -> None:
    kept.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(kept) as part:
        shutil.copyfile(weights, part)


def parsed(variant: str) -> tuple[str, dict[str, Any]]:
    """A recipe's name and its changes."""
    recipe, *changes = variant.split()
    return recipe, {key: read_yaml(value, key) for key, _, value in (each.partition("=") for each in changes)}


def predicted(
    weights: Path, recipe: DetectionRecipe, boxed: BoxedSet, test: Sequence[int], folder: Path
) -> list[FloatArray]:
    """For each test picture x1, y1, x2, y2, score, class: float64 [n, 6], as evaluation asks a detector."""
    detector = opened(
        weights, hash_file(weights), folder / "ultralytics", classes=boxed.classes,
        imgsz=recipe.imgsz, predict=recipe.predict, device="cpu",
    )  # fmt: skip
    found: list[FloatArray] = []
    for place in test:
        image = cv2.imread(str(boxed.pictures[place].path), cv2.IMREAD_COLOR)
        assert image is not None
        (rows,) = detector.predict([np.asarray(image, np.uint8)])
        found.append(np.asarray(rows, np.float64).reshape(-1, 6))
    assert all((rows[:, 4] >= SCORES_FROM).all() for rows in found)
    return found


def done(out: Path) -> list[Line]:
    """What earlier runs measured."""
    return [json.loads(line) for line in out.read_text().splitlines()] if out.is_file() else []


def weights_of(out: Path, key: str) -> Path:
    """Where the weights of a measurement lie that others rest on."""
    return (out.with_suffix(".weights") / f"{key}.pt").resolve()


if __name__ == "__main__":
    main()
