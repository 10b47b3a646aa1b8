"""Our training step against bare ultralytics with the same arguments.

    python -m tests.bench.bench_training

Both train the shipped small model from scratch on the same images, each in a process of its own, one after the other,
with the same arguments and the same number of threads. Ours also writes checkpoints, brings them to a lake (the real
rclone) and looks at the finished model; without MLflow, whose import and uploads are a fixed cost of some seconds.
The target is a ratio of at most 1.03. CPU time is the steadier of the two on a machine that does other things as well.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from tasks.config import Line, Settings, parse_line
from tasks.kinds import kind_of
from tasks.kinds.detection.recipe import ARCHITECTURES, load_recipe
from tasks.lake import Lake, open_lake
from tasks.training import train as detection
from tasks.training.ultralytics_arguments import schedule
from tests.s3_servers import rclone

BARE = """
    import json, sys
    from pathlib import Path
    from tasks.training.ultralytics_offline import prepare
    prepare(Path(sys.argv[2]))
    from ultralytics import YOLO
    arguments = json.loads(sys.argv[1])
    YOLO(arguments.pop("model")).train(**arguments)
"""


def write_images(folder: Path, count: int, side: int) -> Path:
    """Bright discs on noise, in YOLO's layout; a quarter as many for validation."""
    random = np.random.default_rng(0)
    for split, images in (("train", count), ("val", count // 4)):
        (folder / "images" / split).mkdir(parents=True)
        (folder / "labels" / split).mkdir(parents=True)
        for index in range(images):
            image = random.integers(60, 110, (side, side, 3), dtype=np.uint8)
            rows = []
            for x, y in random.integers(10, side - 10, (20, 2)):
                cv2.circle(image, (int(x), int(y)), 6, (230, 230, 230), -1)
                rows.append(f"0 {x / side:.6f} {y / side:.6f} {13 / side:.6f} {13 / side:.6f}")
            cv2.imwrite(str(folder / "images" / split / f"{index:04d}.jpg"), image)
            (folder / "labels" / split / f"{index:04d}.txt").write_text("\n".join(rows))
    (folder / "data.yaml").write_text(f"path: {folder}\ntrain: images/train\nval: images/val\nnames: {{0: sperm}}\n")
    return folder / "data.yaml"


def measured(work: Callable[[], object]) -> tuple[float, float]:
    """Wall seconds, and CPU seconds of this process and of its children."""

    def cpu() -> float:
        usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(usage.ru_utime + usage.ru_stime for usage in usages)

    began, used = time.monotonic(), cpu()
    work()
    return time.monotonic() - began, cpu() - used


def bare(line: Line, data: Path, images: int, folder: Path) -> None:
    """Ultralytics, as its own documentation has it."""
    recipe = load_recipe(line.recipe)
    arguments = recipe.arguments | {
        "model": str(ARCHITECTURES / "p3-small.yaml"), "data": str(data), "project": str(folder), "name": "bare",
        "epochs": schedule(recipe.arguments, recipe.min_steps, images).epochs, "amp": False, "device": "cpu",
        "seed": recipe.seed, "iou": recipe.predict.iou,
    }  # fmt: skip
    command = [sys.executable, "-c", textwrap.dedent(BARE), json.dumps(arguments), str(folder / "yolo")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def ours(lake: Lake, line: Line, data: Path, key: str) -> None:
    """Our step, up to where it speaks to MLflow."""
    detection._train(
        lake, line, kind_of(line.kind), load_recipe(line.recipe), key, "d" * 64, data, True, None, lambda _: None
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--side", type=int, default=320)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    recipe = {"name": "detection-from-scratch", "imgsz": options.side, "epochs": options.epochs, "min_steps": 0}
    line = parse_line(
        {"line": "bench", "kind": "detection", "classes": ["sperm"], "recipe": recipe,
         "gates": [{"metric": "AP50", "at_least": 0}]}, "bench",
    )  # fmt: skip
    rows: dict[str, list[tuple[float, float]]] = {"bare ultralytics": [], "our step": []}
    with tempfile.TemporaryDirectory(prefix="nightscope-bench-") as scratch, rclone(Path(scratch) / "s3") as server:
        root = Path(scratch)
        data = write_images(root / "data", options.images, options.side)
        lake = open_lake(Settings(state_dir=root / "state", s3=server.settings))
        lake.store.ensure_bucket()
        for turn in range(options.rounds):
            folder, key = root / str(turn), f"{turn}" * 64
            rows["bare ultralytics"].append(measured(partial(bare, line, data, options.images, folder)))
            rows["our step"].append(measured(partial(ours, lake, line, data, key)))
    threads = len(os.sched_getaffinity(0))
    print(f"{options.images} images of {options.side} px, {options.epochs} epochs, {threads} threads")
    print(f"{'':18}{'wall s':>10}{'CPU s':>10}   (best of {options.rounds})")
    best = {name: tuple(min(column) for column in zip(*times, strict=True)) for name, times in rows.items()}
    for name, (wall, cpu) in best.items():
        print(f"{name:18}{wall:>10.1f}{cpu:>10.1f}")
    (wall, cpu), (our_wall, our_cpu) = best["bare ultralytics"], best["our step"]
    print(f"{'ratio':18}{our_wall / wall:>10.3f}{our_cpu / cpu:>10.3f}   target 1.03 or less")


if __name__ == "__main__":
    main()
