"""How well recipes outline cells when each may train for the same CPU seconds: the Data Science Bowl 2018.

    python -m tests.bench.bench_segmenters PATH --recipes two-stage yolo-seg star-convex \
        --cpu-seconds 4800 --seeds 0 1 2
    python -m tests.bench.bench_segmenters PATH --recipes two-stage --cpu-seconds 600 --cells 50 100 200 400
    python -m tests.bench.bench_segmenters PATH --recipes yolo-seg --set scale=1 --out results.jsonl

PATH is the folder of the set or its archive. Pictures are split once (`--split-seed`), by picture, stratified by kind
of picture (`cells_of_dsb.group_of`); whether two pictures are of one slide is not known. `--val` of the rest is for
validation (score threshold, best epoch). With `--cells` there is no validation split: whole training pictures are drawn
that together have so many cells at most, smaller sets being parts of larger ones, and a curve comes out.

**The same CPU time.** A pilot of four epochs a stage measures what an epoch and all the rest cost in CPU seconds (user
and system, all processes of the worker); then the recipe's epochs are raised or lowered together until a training takes
`--cpu-seconds`. What it took in the end is printed, too. `min_steps` is 0.

**What is measured**, on the same test pictures: PQ, AP50_pooled (StarDist's) and AP50_mean (Cellpose's), see
`tasks/metrics/segmentation.py`, at the model's own score threshold; [low, high] are 95 % intervals over pictures
(paired bootstrap, 2,000 resamples, seed 0). Then differences between the first recipe and the others on the same draws.

Each training is the worker's own. A finished one is a line of `--out`, with its predictions beside it, and is not done
again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tasks.kinds.segmentation import networks
from tasks.kinds.segmentation.inference.predict import predict_picture
from tasks.metrics.bootstrap import Resamples, interval, paired_bootstrap
from tasks.metrics.judgement import Judgement
from tasks.metrics.segmentation import judge
from tasks.metrics.segmentation_masks import Masks
from tasks.schemas import digest
from tasks.small_yaml import read_yaml
from tests.bench.cells_of_dsb import CLASS, CellPicture, read_pictures, split, unpacked, with_cells, write_dataset
from tests.bench.equal_cpu import train_for

SHOWN = ("PQ", "AP50_pooled", "AP50_mean")
RESAMPLES = 2000
LEAST_SCORE = 0.05
Line = dict[str, Any]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--recipes", nargs="+", required=True)
    parser.add_argument("--cpu-seconds", type=float, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--cells", type=int, nargs="+", default=[0], metavar="N", help="0: all training pictures")
    parser.add_argument("--groups", nargs="+", help="kinds of picture to keep, by the beginning of their names")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--weights", type=Path, help="a file that trainings start from, e.g. cellpose's")
    parser.add_argument("--test", type=float, default=0.3)
    parser.add_argument("--val", type=float, default=0.1)
    parser.add_argument("--split-seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--most-pictures", type=int, help="so many of each kind, for a quick look")
    parser.add_argument("--out", type=Path, default=Path("bench_segmenters.jsonl"))
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nightscope-bench-") as scratch:
        pictures = chosen(read_pictures(unpacked(asked.path, Path(scratch) / "pictures")), asked)
        rest, test = split(pictures, asked.test, asked.split_seed)
        describe("training and validation", rest)
        describe("test", test)
        lines = [
            measured(asked, recipe, seed, cells, rest, test, Path(scratch))
            for cells in asked.cells for seed in asked.seeds for recipe in asked.recipes
        ]  # fmt: skip
    for line in lines:
        show(line, test, asked.out)
    for cells in asked.cells:
        for seed in asked.seeds:
            same = [line for line in lines if line["cells"] == cells and line["seed"] == seed]
            show_differences(same, test, asked.out)
    if asked.cells != [0]:
        show_curve(lines)


def chosen(pictures: Sequence[CellPicture], asked: argparse.Namespace) -> list[CellPicture]:
    """The pictures that were asked for."""
    kept = [each for each in pictures if not asked.groups or each.group.startswith(tuple(asked.groups))]
    counted: dict[str, int] = {}
    out = []
    for picture in kept:
        counted[picture.group] = counted.get(picture.group, 0) + 1
        if not asked.most_pictures or counted[picture.group] <= asked.most_pictures:
            out.append(picture)
    return out


def describe(name: str, pictures: Sequence[CellPicture]) -> None:
    """How many pictures and cells of each kind there are."""
    groups = sorted({picture.group for picture in pictures})
    counts = ", ".join(f"{sum(p.group == group for p in pictures)} {group}" for group in groups)
    print(f"{name}: {len(pictures)} pictures ({counts}), {sum(len(p.objects) for p in pictures)} cells", flush=True)


def measured(
    asked: argparse.Namespace, recipe: str, seed: int, cells: int, rest: Sequence[CellPicture],
    test: Sequence[CellPicture], scratch: Path,
) -> Line:  # fmt: skip
    """One training and its predictions of the test pictures; taken from `--out` where it stands there."""
    changes = {key: read_yaml(value, key) for key, _, value in (each.partition("=") for each in asked.set)}
    asked_for = {
        "recipe": recipe, "seed": seed, "cells": cells, "cpu_seconds": asked.cpu_seconds, "changes": changes,
        "threads": asked.threads, "val": asked.val, "rest": [each.path.name for each in rest],
        "test": [each.path.name for each in test],
    }  # fmt: skip
    ladder = [count for count in asked.cells if count <= cells]
    learned, val = (with_cells(rest, ladder, seed), []) if cells else split(rest, asked.val, asked.split_seed + 1)
    if cells:
        asked_for["learned"] = [each.path.name for each in learned]
    key = digest(asked_for)[:16]
    for line in done(asked.out):
        if line["key"] == key:
            return line
    folder = Path(tempfile.mkdtemp(dir=scratch))
    data = write_dataset(folder / "data", learned, val)
    trained = train_for(
        asked.cpu_seconds, "segmentation", recipe, changes, seed, data, folder, has_val=bool(val),
        threads=asked.threads, weights=asked.weights,
    )  # fmt: skip
    network, spec = networks.read(trained.weights)
    found = []
    for picture in test:
        image = np.ascontiguousarray(np.asarray(cv2.imread(str(picture.path), cv2.IMREAD_COLOR), np.uint8)[:, :, ::-1])
        instances = predict_picture(network, spec, image, LEAST_SCORE)
        found.append({"masks": instances.masks, "scores": instances.scores.tolist()})
    predictions_of(asked.out, key).parent.mkdir(exist_ok=True)
    predictions_of(asked.out, key).write_text(json.dumps(found))
    line = {
        "key": key, "recipe": recipe, "seed": seed, "cells": cells, "changes": changes,
        "min_score": float(spec["min_score"]), "learned_pictures": len(learned),
        "learned_cells": sum(len(each.objects) for each in learned), "cpu_s": round(trained.cpu_s, 1),
        "asked_cpu_s": asked.cpu_seconds, "wall_s": round(trained.wall_s, 1), "epochs": trained.epochs,
    }  # fmt: skip
    line["metrics"] = metrics_of(line, test, found)
    with asked.out.open("a") as file:
        file.write(json.dumps(line) + "\n")
    print(f"{recipe} seed {seed}: {line['cpu_s']:.0f} CPU s, epochs {trained.epochs}", flush=True)
    return line


def done(out: Path) -> list[Line]:
    """What earlier runs measured."""
    return [json.loads(line) for line in out.read_text().splitlines()] if out.is_file() else []


def predictions_of(out: Path, key: str) -> Path:
    """Where the predictions of a measurement lie."""
    return out.with_suffix(".predictions") / f"{key}.json"


def groups_of(test: Sequence[CellPicture]) -> dict[str, list[int]]:
    """Name -> places among the test pictures: every kind, all of fluorescence, all."""
    found = {
        group: [i for i, picture in enumerate(test) if picture.group == group]
        for group in sorted({each.group for each in test})
    }
    found["fluorescence"] = [i for i, picture in enumerate(test) if picture.group.startswith("fluorescence")]
    return {name: places for name, places in found.items() if places} | {"all": list(range(len(test)))}


def judgement_of(line: Line, test: Sequence[CellPicture], found: Sequence[Line], places: Sequence[int]) -> Judgement:
    """A model's work on some of the test pictures, at its own score threshold."""
    size = [(test[i].height_px, test[i].width_px) for i in places]

    def masks(each: Iterable[Sequence[str]], scores: Sequence[Sequence[float]] | None) -> Masks:
        counts = [list(one) for one in each]
        image = np.repeat(np.arange(len(counts)), [len(one) for one in counts])
        flat = None if scores is None else [score for one in scores for score in one]
        return Masks.of(image, np.zeros(len(image)), [text for one in counts for text in one], size, flat)

    truth = masks(([item["mask"] for item in test[i].objects] for i in places), None)
    predicted = masks((found[i]["masks"] for i in places), [found[i]["scores"] for i in places])
    return judge(predicted, truth, classes=(CLASS,), score_threshold=line["min_score"])


def metrics_of(line: Line, test: Sequence[CellPicture], found: Sequence[Line]) -> dict[str, dict[str, Any]]:
    """Group -> metric -> [value, low, high]; `pictures` beside them."""
    out: dict[str, dict[str, Any]] = {}
    for name, places in groups_of(test).items():
        judgement = judgement_of(line, test, found, places)
        whole = judgement.statistic(np.ones((1, len(places)), dtype=np.int64))
        drawn = resampled({"model": judgement}, len(places))
        out[name] = {"pictures": len(places)}
        for metric in SHOWN:
            span = interval(drawn.values["model"][(metric,)], 0.95, len(places)) if drawn else None
            out[name][metric] = [float(whole[(metric,)][0]), span and span.low, span and span.high]
    return out


def resampled(judgements: dict[str, Judgement], pictures: int) -> Resamples | None:
    """The same draws of pictures for several models."""
    statistics = {name: each.statistic for name, each in judgements.items()}
    return paired_bootstrap(statistics, np.arange(pictures), resamples=RESAMPLES, seed=0)


def show(line: Line, test: Sequence[CellPicture], out: Path) -> None:
    """One training's table."""
    print(
        f"\n{line['recipe']} {line['changes'] or ''} seed {line['seed']}: {line['learned_pictures']} pictures, "
        f"{line['learned_cells']} cells, {line['cpu_s']:.0f} CPU s of {line['asked_cpu_s']:.0f}, "
        f"epochs {line['epochs']}, score from {line['min_score']:.2f}"
    )
    print(f"  {'':22}{'pictures':>8}" + "".join(f"{name:>26}" for name in SHOWN))
    for group, values in line["metrics"].items():
        print(f"  {group:22}{values['pictures']:>8}" + "".join(f"{_text(values[name]):>26}" for name in SHOWN))


def show_differences(lines: Sequence[Line], test: Sequence[CellPicture], out: Path) -> None:
    """The first recipe less each other, of one seed, on the same draws of pictures."""
    if len(lines) < 2:
        return
    found = {line["recipe"]: json.loads(predictions_of(out, line["key"]).read_text()) for line in lines}
    print(f"\n{lines[0]['recipe']} less the others, seed {lines[0]['seed']}")
    for group, places in groups_of(test).items():
        own = {line["recipe"]: judgement_of(line, test, found[line["recipe"]], places) for line in lines}
        drawn = resampled(own, len(places))
        for other in [line["recipe"] for line in lines[1:]] if drawn else []:
            apart = drawn.differences(lines[0]["recipe"], other) if drawn else {}
            weights = np.ones((1, len(places)), dtype=np.int64)
            first, second = own[lines[0]["recipe"]].statistic(weights), own[other].statistic(weights)
            cells = []
            for name in SHOWN:
                span = interval(apart[(name,)], 0.95, len(places))
                cells.append([float(first[(name,)][0] - second[(name,)][0]), span.low, span.high])
            print(f"  {group:22}{other:>14}" + "".join(f"{_text(cell):>26}" for cell in cells), flush=True)


def show_curve(lines: Sequence[Line]) -> None:
    """AP50_pooled of all test pictures against the number of labelled cells, a row for each recipe and seed."""
    print(f"\nAP50_pooled by labelled cells\n  {'recipe':20}{'seed':>5}{'asked':>8}{'cells':>8}{'pictures':>10}")
    for line in sorted(lines, key=lambda each: (each["recipe"], each["seed"], each["cells"])):
        print(
            f"  {line['recipe']:20}{line['seed']:>5}{line['cells']:>8}{line['learned_cells']:>8}"
            f"{line['learned_pictures']:>10}{_text(line['metrics']['all']['AP50_pooled']):>26}"
        )


def _text(value: Sequence[float | None]) -> str:
    middle, low, high = value
    return f"{middle:.3f}" + (f" [{low:.3f}, {high:.3f}]" if low is not None and high is not None else " [-, -]")


if __name__ == "__main__":
    main()
