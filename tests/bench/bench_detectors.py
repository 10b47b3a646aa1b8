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

**A teacher** for variants that say `teacher=trained.pt` is trained by `--teacher "RECIPE [KEY=VALUE ...]"` for
`--teacher-cpu-seconds`, once for each seed and fold, from the same pictures: it has not seen the fold's either. It is
kept beside `--out`; its own seconds are not among the variants', theirs include asking it.

Each training is the worker's own. A finished one is a line of `--out`, with its predictions beside it, and is not done
again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tasks.config import RecipeChoice
from tasks.kinds.detection.anchored.files import is_anchored
from tasks.kinds.detection.predictor import SCORES_FROM, LoadedDetector
from tasks.kinds.detection.recipe import DetectionRecipe, load_recipe
from tasks.metrics.bootstrap import interval, paired_bootstrap
from tasks.metrics.boxes import Boxes
from tasks.metrics.detection import judge
from tasks.metrics.judgement import FloatArray, MetricPath, Statistic
from tasks.schemas import digest
from tasks.small_yaml import read_yaml
from tasks.whole_files import written_whole
from tests.bench.detector_sets import BoxedSet, boxes_of, read_set, write_yolo
from tests.bench.equal_cpu import train_for

METRICS = ("AP50", "AP50_95")
RESAMPLES = 2000
Line = dict[str, Any]
Runs = Mapping[tuple[str, int, int], Line]
"""(variant, seed, fold) -> its measurement."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--variants", nargs="+", required=True, metavar="'RECIPE [KEY=VALUE ...]'")
    parser.add_argument("--cpu-seconds", type=float, required=True)
    parser.add_argument("--teacher", metavar="'RECIPE [KEY=VALUE ...]'")
    parser.add_argument("--teacher-cpu-seconds", type=float, help="default: --cpu-seconds")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--folds", type=int, default=5, help="of a set without recordings or an official split")
    parser.add_argument("--only", type=int, nargs="+", help="these folds alone, counted from 0")
    parser.add_argument("--split-seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("bench_detectors.jsonl"))
    asked = parser.parse_args()
    for variant in [*asked.variants, *([asked.teacher] if asked.teacher else [])]:  # before the first training
        recipe, changes = parsed(variant)
        if load_recipe(RecipeChoice(name=recipe, **changes)).teacher() and not asked.teacher:
            parser.error(f"{variant}: say with --teacher how its teacher is trained")
    with tempfile.TemporaryDirectory(prefix="nightscope-bench-") as scratch:
        boxed = read_set(asked.path, Path(scratch) / "frames", asked.folds, asked.split_seed)
        folds = asked.only if asked.only is not None else list(range(len(boxed.folds)))
        describe(boxed, folds)
        runs = {
            (variant, seed, fold): measured(asked, variant, seed, fold, boxed, Path(scratch))
            for seed in asked.seeds for fold in folds for variant in asked.variants
        }  # fmt: skip
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
    if "teacher" in changes:
        asked_for["taught_by"] = [asked.teacher, teacher_seconds(asked)]
    key = digest(asked_for)[:16]
    for line in done(asked.out):
        if line["key"] == key:
            return line
    folder = Path(tempfile.mkdtemp(dir=scratch))
    data = write_yolo(folder / "data", boxed, test)
    teacher = trained_teacher(asked, asked_for, seed, data, folder) if "teacher" in changes else None
    trained = train_for(
        asked.cpu_seconds, "detection", recipe, changes, seed, data, folder, has_val=False, threads=asked.threads,
        teacher=teacher,
    )  # fmt: skip
    chosen = load_recipe(RecipeChoice(name=recipe, seed=seed, **changes))
    found = predicted(trained.weights, chosen, boxed, test, folder)
    shutil.rmtree(folder)
    predictions_of(asked.out, key).parent.mkdir(parents=True, exist_ok=True)
    predictions_of(asked.out, key).write_text(json.dumps([each.round(4).tolist() for each in found]))
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


def teacher_seconds(asked: argparse.Namespace) -> float:
    """CPU seconds that the teacher's training may take."""
    return float(asked.teacher_cpu_seconds or asked.cpu_seconds)


def trained_teacher(asked: argparse.Namespace, of: Line, seed: int, data: Path, folder: Path) -> Path:
    """The weights of the teacher of this seed and fold; trained where they do not lie beside `--out` yet."""
    seconds = teacher_seconds(asked)
    own = {**{name: of[name] for name in ("seed", "threads", "pictures", "test")}, "by": [asked.teacher, seconds]}
    kept = Path(asked.out.with_suffix(".teachers") / f"{digest(own)[:16]}.pt").resolve()
    if not kept.is_file():
        recipe, changes = parsed(asked.teacher)
        trained = train_for(
            seconds, "detection", recipe, changes, seed, data, folder / "teacher", has_val=False, threads=asked.threads
        )
        kept.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(kept) as part:
            shutil.copyfile(trained.weights, part)
    return kept


def parsed(variant: str) -> tuple[str, dict[str, Any]]:
    """A recipe's name and its changes."""
    recipe, *changes = variant.split()
    return recipe, {key: read_yaml(value, key) for key, _, value in (each.partition("=") for each in changes)}


def predicted(
    weights: Path, recipe: DetectionRecipe, boxed: BoxedSet, test: Sequence[int], folder: Path
) -> list[FloatArray]:
    """For each test picture x1, y1, x2, y2, score, class: float64 [n, 6], as evaluation asks a detector."""
    options: dict[str, Any] = {
        "oid": hashlib.sha256(weights.read_bytes()).hexdigest(), "classes": boxed.classes, "imgsz": recipe.imgsz,
        "predict": recipe.predict, "device": "cpu",
    }  # fmt: skip
    if is_anchored(weights):
        from tasks.kinds.detection.anchored.detector import AnchoredDetector

        detector = LoadedDetector(AnchoredDetector(weights, **options))
    else:
        from tasks.kinds.detection.detector import Detector

        detector = LoadedDetector(Detector(weights, config_dir=folder / "ultralytics", **options))
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


def predictions_of(out: Path, key: str) -> Path:
    """Where the predictions of a measurement lie."""
    return out.with_suffix(".predictions") / f"{key}.json"


def statistic_of(out: Path, line: Line, boxed: BoxedSet, test: Sequence[int]) -> Statistic:
    """A model's metrics of its fold, by weights of the fold's pictures."""
    rows = [
        np.asarray(each, np.float64).reshape(-1, 6) for each in json.loads(predictions_of(out, line["key"]).read_text())
    ]
    flat = np.concatenate(rows)
    image = np.repeat(np.arange(len(rows)), [len(each) for each in rows])
    sides = np.concatenate([flat[:, :2], flat[:, 2:4] - flat[:, :2]], axis=1)
    predictions = Boxes.of(image, flat[:, 5].astype(np.int64), sides, score=flat[:, 4])
    return judge(predictions, boxes_of(boxed, test), classes=boxed.classes, images=len(test)).statistic


def over_folds(asked: argparse.Namespace, boxed: BoxedSet, folds: Sequence[int], variant: str, runs: Runs) -> Statistic:
    """A variant's metrics as the mean of folds and seeds, by weights of all the folds' pictures in their order."""
    edges = np.cumsum([0, *(len(boxed.folds[fold]) for fold in folds)])
    parts = [
        (edges[n], edges[n + 1], statistic_of(asked.out, runs[variant, seed, fold], boxed, boxed.folds[fold]))
        for n, fold in enumerate(folds) for seed in asked.seeds
    ]  # fmt: skip

    def statistic(weights: NDArray[np.int64]) -> dict[MetricPath, FloatArray]:
        sums: dict[MetricPath, FloatArray] = {}
        counts: dict[MetricPath, FloatArray] = {}
        for low, high, of in parts:
            drawn = weights[:, low:high].sum(axis=1) / (high - low)
            for path, value in of(weights[:, low:high]).items():
                known = ~np.isnan(value) & (drawn > 0)
                sums[path] = sums.get(path, 0.0) + np.where(known, value * drawn, 0.0)
                counts[path] = counts.get(path, 0.0) + np.where(known, drawn, 0.0)
        with np.errstate(invalid="ignore"):
            return {path: total / counts[path] for path, total in sums.items()}

    return statistic


def show(asked: argparse.Namespace, boxed: BoxedSet, folds: Sequence[int], runs: Runs) -> None:
    """Two tables: each variant's metrics, and what it brings over the first one."""
    groups = [boxed.pictures[place].group for fold in folds for place in boxed.folds[fold]]
    cluster = np.unique(groups, return_inverse=True)[1].astype(np.int64)
    statistics = {variant: over_folds(asked, boxed, folds, variant, runs) for variant in asked.variants}
    drawn = paired_bootstrap(statistics, cluster, resamples=RESAMPLES, seed=0)
    once = {name: of(np.ones((1, len(groups)), dtype=np.int64)) for name, of in statistics.items()}
    wanted: list[MetricPath] = [(name,) for name in METRICS]
    wanted += [("per_class", label, name) for label in boxed.classes for name in METRICS]
    clusters, first = int(cluster.max()) + 1, asked.variants[0]
    print(f"\n{len(folds)} folds, seeds {asked.seeds}, {asked.cpu_seconds:.0f} CPU s each, {clusters} groups")
    for variant in asked.variants:
        own = [line for (name, _, _), line in runs.items() if name == variant]
        print(f"\n{variant}  ({np.mean([line['cpu_s'] for line in own]):.0f} CPU s, epochs {own[0]['epochs']})")
        apart = drawn.differences(variant, first) if drawn and variant != first else {}
        for path in wanted:
            draws = drawn.values[variant][path] if drawn else None
            text = f"  {' '.join(path):32}{_text(once[variant][path][0], draws, clusters)}"
            if path in apart:
                text += "   more: " + _text(once[variant][path][0] - once[first][path][0], apart[path], clusters)
            print(text)


def _text(value: float, draws: FloatArray | None, clusters: int) -> str:
    span = interval(draws, 0.95, clusters) if draws is not None else None
    known = span is not None and span.low is not None and span.high is not None
    return f"{value:.3f}" + (f" [{span.low:.3f}, {span.high:.3f}]" if known and span else " [-, -]")


if __name__ == "__main__":
    main()
