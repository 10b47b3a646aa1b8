"""A test split of pictures in a real lake, and stored probabilities that are as good as one wishes."""

from __future__ import annotations

import hashlib
import io
import json
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.config import Line, parse_line
from tasks.evaluation.evaluation import Evaluation, Latency
from tasks.evaluation.measure import Run, measure
from tasks.kind import ModelRef
from tasks.kinds import kind_of
from tasks.lake import Lake

KIND = kind_of("classification")
CLASSES = ("normal", "abnormal", "non-sperm")
LABELS = ("acrosome", "head", "tail", "vacuole")
LATENCY = Latency(device="cpu", hardware="a CPU", images=10, latency_ms_p50=4.0, latency_ms_p95=6.0)


def a_line(multi_label: bool = False, **rest: Any) -> Line:
    """A line of three classes, or of four labels, with gates overall, of a class and of each."""
    name = "acrosome" if multi_label else "abnormal"
    return parse_line(
        {
            "line": "sperm-morphology",
            "kind": "classification",
            "multi_label": multi_label,
            "classes": list(LABELS if multi_label else CLASSES),
            "recipe": {"name": "any"},
            "evaluation": {"resamples": 200},
            "gates": [
                {"metric": "balanced_accuracy", "at_least": 0.6},
                {"metric": "ROC_AUC", "class": name, "at_least": 0.7},
                {"metric": "F1", "for_each": ["class"], "not_worse_by": 0.1},
                {"metric": "MCC", "not_worse_by": 0.1},
                {"metric": "ECE", "at_most": 0.5},
            ],
            **rest,
        },
        "test",
    )


def frames_of(lake: Lake | None, line: Line, images: int, *, seed: int = 0, donors: int = 0) -> list[dict[str, Any]]:
    """Manifest rows of pictures, each a recording of its own; a third of a multi-label line's labels are missing."""
    rng = np.random.default_rng(seed)
    classes = tuple(line.classes)
    rows = []
    for i in range(images):
        if line.multi_label:
            objects = [{"label": name, "present": bool(rng.random() < 0.15 + 0.2 * k)}
                       for k, name in enumerate(classes) if rng.random() > 0.3]  # fmt: skip
        else:
            objects = [{"label": classes[int(rng.choice(len(classes), p=_shares(len(classes))))]}]
        oid = hashlib.sha256(f"{seed} {i}".encode()).hexdigest()
        if lake:
            oid = lake.blobs.put_bytes(_picture(rng, i), "image/png")
        rows.append(
            {
                "split": "test", "recording_id": f"{i:064x}", "recording_name": f"picture-{i:03d}.png",
                "group": f"donor:d{i % donors}" if donors else f"recording:{i:064x}", "frame_index": 0,
                "frame_oid": oid, "pts_s": None, "width_px": 96, "height_px": 80, "objects": json.dumps(objects),
            }
        )  # fmt: skip
    return rows


def _shares(classes: int) -> np.ndarray:
    shares = 1.0 / np.arange(1, classes + 1)
    return shares / shares.sum()


def _picture(rng: np.random.Generator, number: int) -> bytes:
    """A head on a noisy ground."""
    image = rng.integers(150, 175, (80, 96, 3), dtype=np.uint8)
    size = (int(rng.integers(10, 24)), int(rng.integers(8, 16)))
    cv2.ellipse(image, (48, 40), size, float(rng.integers(0, 180)), 0, 360, (70, 60, 90 + number % 60), -1)
    cv2.ellipse(image, (48, 40), (size[0] // 2, size[1] // 2), 0, 0, 200, (130, 110, 150), -1)
    return cv2.imencode(".png", image)[1].tobytes()


def outputs_for(frames: list[dict[str, Any]], line: Line, skill: float, seed: int) -> list[np.ndarray]:
    """Probabilities that lean to the truth by `skill`."""
    rng, classes = np.random.default_rng(seed), tuple(line.classes)
    out = []
    for row in frames:
        stated = {each["label"]: each.get("present", True) for each in json.loads(row["objects"])}
        logits = rng.normal(0, 1, len(classes)) + skill * np.array(
            [1.0 if stated.get(name) else -1.0 if line.multi_label else 0.0 for name in classes]
        )
        score = np.exp(logits)
        out.append(score / (1 + score) if line.multi_label else score / score.sum())
    return out


def model(version: str, classes: tuple[str, ...]) -> ModelRef:
    """A model reference; nothing loads it."""
    return ModelRef(model_version=version, weights_oid=hashlib.sha256(version.encode()).hexdigest(), classes=classes)


def stored(table: pa.Table) -> tuple[pa.Table, bytes]:
    """A table as it comes back from Parquet, and the Parquet."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", version="2.6")
    return pq.read_table(io.BytesIO(sink.getvalue())), sink.getvalue()


def evaluation_of(line: Line, frames: list[dict[str, Any]], skills: dict[str, float]) -> Evaluation:
    """What `evaluate` would measure; `skills` by role, 'challenger' first."""
    classes, runs = tuple(line.classes), {}
    for number, (role, skill) in enumerate(skills.items()):
        table, data = stored(KIND.metrics.tabulate(outputs_for(frames, line, skill, number), frames, classes, line))
        oid = hashlib.sha256(data).hexdigest()
        runs[role] = Run(model(str(12 - number), classes), table, oid, (LATENCY,), 3.2)
    return measure(line, KIND, "d" * 64, frames, runs, measured_by="0123456789abcdef")
