"""A small test split in a real lake, and detectors that are as good as one wishes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import pyarrow as pa

from tasks.config import Line, parse_line
from tasks.evaluation.evaluate import evaluate
from tasks.evaluation.evaluation import Evaluation
from tasks.kind import ModelRef
from tasks.kinds import kind_of
from tasks.lake import Lake
from tasks.schemas import Oid

WIDTH, HEIGHT, FRAMES = 160, 120, 4
CLASSES = ("sperm", "impurity")
DETECTION = kind_of("detection")
VERSIONS, WEIGHTS_BYTES = 20, 2_500


def a_line(**rest: Any) -> Line:
    """A detection line with one gate of each sort."""
    return parse_line(
        {
            "line": "sperm-detector",
            "title": "Sperm <detector>",
            "kind": "detection",
            "classes": {"sperm": {}, "impurity": {"aliases": ["debris"]}},
            "recipe": {"name": "any"},
            "evaluation": {"resamples": 200, "small_px": 12, "large_px": 24},
            "gates": [
                {"metric": "AP50", "class": "sperm", "at_least": 0.6},
                {"metric": "AP50_95", "not_worse_by": 0.05},
                {"metric": "latency_ms_p95", "at_most": 5000, "device": "cpu"},
            ],
            **rest,
        },
        "test",
    )


@dataclass
class World:
    """A dataset version in a lake, and the truth by the bytes of each image."""

    line: Line
    version: str
    truth: dict[bytes, list[dict[str, Any]]] = field(default_factory=dict)


def make_world(
    lake: Lake, line: Line, recordings: Sequence[str], donors: Sequence[str] | None = None,
    studies: Sequence[str | None] = (),
) -> World:  # fmt: skip
    """Freeze a dataset: `FRAMES` test frames for each recording, and one recording to train on."""
    rng = np.random.default_rng(0)
    world, rows = World(line, ""), []
    for r, name in enumerate((*recordings, "train.mp4")):
        for index in range(FRAMES):
            image = rng.integers(40, 90, (HEIGHT, WIDTH, 3), dtype=np.uint8)
            boxes = [_box(rng, CLASSES[int(i == 3)]) for i in range(rng.integers(3, 7))]
            for box in boxes:
                x, y, w, h = (int(box[side]) for side in ("x_px", "y_px", "width_px", "height_px"))
                cv2.ellipse(image, (x + w // 2, y + h // 2), (w // 2, h // 2), 0, 0, 360, (210, 205, 200), -1)
            png = cv2.imencode(".png", image)[1].tobytes()
            world.truth[image.tobytes()] = boxes
            donor = donors[r] if donors and r < len(donors) else None
            rows.append(
                {
                    "split": "train" if name == "train.mp4" else "test",
                    "group": f"donor:{donor}" if donor else f"recording:{r:064x}",
                    "recording_id": f"{r:064x}", "recording_name": name, "frame_index": index * 15,
                    "frame_oid": lake.blobs.put_bytes(png, "image/png"), "media_type": "image/png", "pts_s": index / 2,
                    "width_px": WIDTH, "height_px": HEIGHT, "annotation_id": f"1-{r}-{index}",
                    "revision_id": "0" * 64, "objects": json.dumps(boxes),
                    **({"study": studies[r] if r < len(studies) else None} if studies else {}),
                }
            )  # fmt: skip
    for version in range(VERSIONS):
        lake.blobs.put_bytes(weights_of(version))
    world.version = lake.datasets.save(line.line, pa.Table.from_pylist(rows), {})
    return world


def _box(rng: np.random.Generator, label: str) -> dict[str, Any]:
    x, y = rng.integers(0, WIDTH - 40), rng.integers(0, HEIGHT - 40)
    w, h = rng.integers(8, 30), rng.integers(8, 30)
    return {"label": label, "x_px": float(x), "y_px": float(y), "width_px": float(w), "height_px": float(h)}


class Sloppy:
    """A detector that knows the truth and misses, shifts and invents at will; always the same for the same image."""

    def __init__(self, world: World, model: ModelRef, device: str) -> None:
        self.device = device
        self._world, self._model = world, model

    def predict(self, images: Sequence[Any]) -> list[Any]:
        """Floats [n, 6] for each image."""
        return [self._one(np.asarray(image)) for image in images]

    def _one(self, image: Any) -> Any:
        error = float(self._model.options.get("error", 0.0))
        rng = np.random.default_rng(int(image.sum()))
        out = []
        for box in self._world.truth[image.tobytes()]:
            if rng.random() < error:
                continue
            x, y = box["x_px"] + rng.normal(0, 8 * error), box["y_px"] + rng.normal(0, 8 * error)
            label = self._model.classes.index({"impurity": "debris"}.get(box["label"], box["label"])
                                              if "debris" in self._model.classes else box["label"])  # fmt: skip
            out.append([x, y, x + box["width_px"], y + box["height_px"], rng.uniform(0.4, 1), label])
        if rng.random() < error:
            out.append([5, 5, 25, 25, rng.uniform(0, 0.6), 0])
        return np.array(out, dtype=np.float32).reshape(-1, 6)


def loader(world: World, devices: dict[str | None, str] | None = None) -> Any:
    """A `LoadPredictor` of `Sloppy` ones; by default everything is the CPU."""
    return lambda model, device: Sloppy(world, model, (devices or {}).get(device, "cpu"))


def model(version: str, error: float, classes: Sequence[str] = CLASSES) -> ModelRef:
    """A model reference whose error rate its loader understands; every world's lake holds its weights."""
    return ModelRef(
        model_version=version,
        weights_oid=hashlib.sha256(weights_of(int(version))).hexdigest(),
        classes=tuple(classes),
        options={"error": error},
    )


def weights_of(version: int) -> bytes:
    """What stands for a model's weights: the size of a small one, and other bytes for every version."""
    return f"weights of version {version}".encode().ljust(WEIGHTS_BYTES)


def judged(
    lake: Lake, world: World, challenger: ModelRef, champion: ModelRef | None = None, **otherwise: Any
) -> tuple[Oid, Evaluation]:
    """Evaluate two models, or one, on a world's test split; `otherwise` are arguments of `evaluate`, for this once."""
    of_the_world = {"line": world.line, "dataset_version": world.version, "load": loader(world)}
    return evaluate(lake, kind=DETECTION, challenger=challenger, champion=champion, **of_the_world | otherwise)
