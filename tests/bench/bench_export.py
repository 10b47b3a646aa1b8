"""What exports and inference options cost and keep: `python -m tests.bench.bench_export`.

The shipped recipe's model (p3-small, 704 px) learns synthetic recordings for some steps, and is then compared with
itself: as each export, and with test-time augmentation and tiles. Each contender is timed against the original, in two
fresh processes that take turns on the same test frames, one frame at a time, on the CPU; a ratio below 1 is faster.
Memory is the process's peak beyond its libraries (torch and ultralytics, 0.7 GB, are in all of them). Average precision
is on the test frames, of recordings that it has not seen.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import tempfile
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from tasks.config import Line, Settings, parse_line
from tasks.kind.exports import Precision
from tasks.kinds import kind_of
from tasks.kinds.detection.detector import Detector
from tasks.kinds.detection.export_process import ExportJob, UseJob, make_export
from tasks.kinds.detection.export_process import time_models as benchmark
from tasks.kinds.detection.export_tools import TOOLS, Format, missing
from tasks.kinds.detection.exports import input_shape
from tasks.kinds.detection.recipe import PredictOptions, load_recipe
from tasks.lake import open_lake
from tasks.metrics.boxes import Boxes
from tasks.metrics.detection import judge
from tasks.metrics.judgement import measured
from tasks.schemas import Oid
from tasks.synthetic.recordings import make_scene
from tasks.synthetic.render import Renderer
from tasks.synthetic.truth import ground_truth
from tasks.training import train as detection
from tasks.training.exported import label
from tests.s3_servers import rclone

DETECTION = kind_of("detection")

CLASSES = ("sperm", "impurity")
WIDTH, HEIGHT, FRAMES = 720, 540, 6
EXPORTS: tuple[tuple[Format, Precision], ...] = tuple(
    (fmt, precision) for fmt, tool in TOOLS.items() for precision in tool.precisions if not missing(tool.packages)
)
"""All that can be made with what is installed."""
LOOKS = {"tta": {"tta": True}, "slice_px 384": {"slice_px": 384}, "tta, slice_px 384": {"tta": True, "slice_px": 384}}

Files = dict[str, tuple[Path, Oid]]


def write_frames(folder: Path, split: str, recordings: range) -> tuple[list[Path], Boxes]:
    """Frames of synthetic recordings, in YOLO's layout, and their truth."""
    (folder / "images" / split).mkdir(parents=True)
    (folder / "labels" / split).mkdir(parents=True)
    paths: list[Path] = []
    where, labels, xywh = [], [], []
    for number in recordings:
        scene = make_scene(
            seed=0, number=number, pts_s=np.arange(FRAMES) * 2.0, width_px=WIDTH, height_px=HEIGHT, um_per_px=0.35,
            sperm_per_frame=(20, 50), impurities_per_frame=(4, 9),
        )  # fmt: skip
        renderer, truth = Renderer(scene), ground_truth(scene)
        for index, boxes in enumerate(truth.boxes):
            path = folder / "images" / split / f"{number:02d}-{index}.png"
            cv2.imwrite(str(path), cv2.cvtColor(renderer.frame(index), cv2.COLOR_GRAY2BGR))
            rows = []
            for box in boxes:
                kind = CLASSES.index(box.label)
                where.append(len(paths))
                labels.append(kind)
                xywh.append([box.x_px, box.y_px, box.width_px, box.height_px])
                middle = ((box.x_px + box.width_px / 2) / WIDTH, (box.y_px + box.height_px / 2) / HEIGHT)
                rows.append(
                    f"{kind} {middle[0]:.6f} {middle[1]:.6f} {box.width_px / WIDTH:.6f} {box.height_px / HEIGHT:.6f}"
                )
            (folder / "labels" / split / f"{path.stem}.txt").write_text("\n".join(rows))
            paths.append(path)
    return paths, Boxes.of(where, labels, xywh)


def average_precision(detector: Detector, paths: list[Path], truth: Boxes) -> tuple[float, float]:
    """AP50 and AP50-95 on the test frames."""
    found = [detector.predict([np.asarray(cv2.imread(str(path)), dtype=np.uint8)], conf=0.001)[0] for path in paths]
    flat = np.concatenate(found).astype(np.float64)
    where = np.repeat(np.arange(len(found)), [len(boxes) for boxes in found])
    xywh = np.concatenate([flat[:, :2], flat[:, 2:4] - flat[:, :2]], axis=1)
    predictions = Boxes.of(where, flat[:, 5], xywh, score=flat[:, 4])
    metrics = measured(judge(predictions, truth, classes=CLASSES, images=len(paths)), len(paths))
    return float(metrics["AP50"]), float(metrics["AP50_95"])


def trained(root: Path, line: Line, data: Path) -> tuple[Path, Oid]:
    """The model's weights: our training step, up to where it would speak to MLflow."""
    with rclone(root / "s3") as server:
        lake = open_lake(Settings(state_dir=root / "state", s3=server.settings))
        lake.store.ensure_bucket()
        oid = detection.train_unregistered(lake, line, DETECTION, "d" * 64, data, False, progress=print).weights_oid
        path = root / "weights.pt"
        path.write_bytes(lake.blobs.get_bytes(oid))
    return path, oid


def exported(root: Path, weights: Path, fmt: Format, precision: Precision, calibration: list[Path]) -> Files:
    """An export's files."""
    folder = root / label(fmt, precision)
    folder.mkdir()
    job = ExportJob(
        folder=folder, weights=weights, format=fmt, precision=precision, imgsz=input_shape(704, HEIGHT, WIDTH),
        max_det=500, images=tuple(calibration) if precision == "int8" else (), config_dir=root / "yolo",
        parent_pid=os.getpid(),
    )  # fmt: skip
    made = [folder / "files" / name for name in make_export(job)["files"]]
    return {path.name: (path, hashlib.sha256(path.read_bytes()).hexdigest()) for path in made}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=150, help="of training")
    parser.add_argument("--recordings", type=int, default=8, help=f"to learn from, {FRAMES} frames each; half to test")
    parser.add_argument("--rounds", type=int, default=3, help="over 8 test frames, for the latencies")
    parser.add_argument("--weights", type=Path, help="trained before; nothing is trained")
    options = parser.parse_args()
    recipe = {"name": "detection-from-scratch", "min_steps": options.steps, "epochs": 1, "plots": False, "workers": 0}
    line = parse_line(
        {"line": "bench", "kind": "detection", "classes": list(CLASSES), "recipe": recipe,
         "gates": [{"metric": "AP50", "at_least": 0}]}, "bench",
    )  # fmt: skip
    usual = load_recipe(line.recipe).predict
    with tempfile.TemporaryDirectory(prefix="nightscope-bench-") as scratch:
        root = Path(scratch)
        learn, _ = write_frames(root / "data", "train", range(1, options.recordings + 1))
        test, truth = write_frames(
            root / "data", "test", range(options.recordings + 1, options.recordings * 3 // 2 + 1)
        )
        data = root / "data" / "data.yaml"
        data.write_text(f"path: {root / 'data'}\ntrain: images/train\nnames: {dict(enumerate(CLASSES))}\n")
        weights, oid = trained(root, line, data) if options.weights is None else (options.weights, "")
        oid = oid or hashlib.sha256(weights.read_bytes()).hexdigest()
        original: Files = {"weights.pt": (weights, oid)}
        contenders: dict[str, tuple[Files, PredictOptions]] = {"original": (original, usual)}
        for fmt, precision in EXPORTS:
            contenders[label(fmt, precision)] = (exported(root, weights, fmt, precision, learn), usual)
        for name, look in LOOKS.items():
            contenders[name] = (original, usual.model_copy(update=look))
        rows = Table(title=f"p3-small, 704 px, {WIDTH} x {HEIGHT} frames, {len(os.sched_getaffinity(0))} CPUs, "
                     f"{options.steps} steps, {len(test)} test frames with {len(truth.image)} objects")  # fmt: skip
        for column in ("", "p50 ms", "p95 ms", "ratio", "memory MiB", "files MB", "AP50", "AP50-95", "difference"):
            rows.add_column(column, justify="right")
        ap: dict[str, tuple[float, float]] = {}
        for name, (files, look_options) in contenders.items():
            detector = Detector(
                files, classes=CLASSES, imgsz=704, predict=look_options, device="cpu", config_dir=root / "yolo"
            )
            ap[name] = average_precision(detector, test, truth)
            jobs = {
                who: UseJob(
                    files=own, classes=CLASSES, imgsz=704, predict=how, images=tuple(test[:: max(1, len(test) // 8)]),
                    config_dir=root / "yolo", parent_pid=os.getpid(),
                )
                for who, (own, how) in {"original": (original, usual), "other": (files, look_options)}.items()
            }  # fmt: skip
            timed = benchmark(jobs, root, rounds=options.rounds)
            own = timed["other"]
            rows.add_row(
                name, f"{own['latency_ms_p50']:.0f}", f"{own['latency_ms_p95']:.0f}",
                f"{own['latency_ms_p50'] / timed['original']['latency_ms_p50']:.2f}",
                f"{own['peak_rss_mb'] - own['libraries_rss_mb']:.0f}",
                f"{sum(path.stat().st_size for path, _ in files.values()) / 1e6:.2f}",
                *(f"{value:.4f}" for value in ap[name]), f"{ap[name][1] - ap['original'][1]:+.4f}",
            )  # fmt: skip
            print(f"{name}: {own['latency_ms_p50']:.0f} ms, AP {ap[name]}", flush=True)
    Console(width=120).print(rows)


if __name__ == "__main__":
    main()
