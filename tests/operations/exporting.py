"""A line whose champion is a tiny detector that has really learned something: worth comparing with its exports."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import yaml

from tasks.config import Line, Settings, parse_line
from tasks.kinds import kind_of
from tasks.kinds.detection.layout import materialise
from tasks.lake import Lake, open_lake
from tasks.promotion.journal import PendingPromotion, commit, promotion_lock
from tasks.registry import ModelRecord, Registry, open_registry
from tasks.schemas import NightState
from tasks.session import open_session
from tasks.training.train import train_challenger

DETECTION = kind_of("detection")

WIDTH, HEIGHT = 96, 56
"""Padded to 96 x 64 before the model: no square, and no multiple of the stride."""


@contextmanager
def one_cpu() -> Iterator[None]:
    """Keep this process and what it starts on one CPU: threads that wait for each other crawl on a busy machine."""
    all_of_them = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(all_of_them)[os.getpid() % len(all_of_them)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, all_of_them)


@dataclass
class Champion:
    """A line, its dataset version, and the model in charge."""

    settings: Settings
    lake: Lake
    registry: Registry
    line: Line
    record: ModelRecord
    lines_dir: Path


def make_champion(settings: Settings, folder: Path) -> Champion:
    """Freeze bright squares and grey bars on noise, learn them, and put the model in charge."""
    lake = open_lake(settings)
    lake.store.ensure_bucket()
    about = {
        "line": f"line-{uuid.uuid4().hex[:8]}",
        "kind": "detection",
        "classes": ["sperm", "impurity"],
        "recipe": {
            "name": "detection-from-scratch", "model": "p3-tiny.yaml", "imgsz": 96, "batch": 8, "nbs": 8,
            "epochs": 1, "min_steps": 84, "plots": False, "lr0": 0.01, "cache": False,
        },
        "evaluation": {"resamples": 200, "small_px": 12},
        "gates": [{"metric": "AP50", "at_least": 0.1}],
    }  # fmt: skip
    line = parse_line(about, "test")
    (folder / f"{line.line}.yaml").write_text(yaml.safe_dump(about))
    rows = pa.Table.from_pylist(_rows(lake)).replace_schema_metadata({"classes": json.dumps(list(line.classes))})
    version = lake.datasets.save(line.line, rows, {"has_val": False})
    data = materialise(lake, line, version)
    training = train_challenger(lake, line, DETECTION, version, data, False, progress=lambda _: None)
    registry = open_registry(settings)
    with promotion_lock(open_session(settings), line.line):
        order = PendingPromotion(
            line=line.line, action="promotion", key="k", outcome=NightState.PROMOTED, by="ana", note="no gates here",
            before=registry.aliases(line.line), model_version=training.model_version, override=True,
        )  # fmt: skip
        commit(lake, registry, order)
    record = registry.version(line.line, training.model_version)
    return Champion(settings, lake, registry, line, record, folder)


def _rows(lake: Lake) -> list[dict[str, Any]]:
    rng, rows = np.random.default_rng(0), []
    for r, (name, split) in enumerate((("a", "train"), ("b", "train"), ("c", "test"), ("d", "test"), ("e", "test"))):
        for index in range(48 if split == "train" else 6):
            image = rng.integers(0, 30, (HEIGHT, WIDTH, 3), dtype=np.uint8)
            objects = []
            for label, (w, h), grey in (("sperm", (12, 12), 250), ("impurity", (20, 6), 120), ("sperm", (12, 12), 230)):
                x, y = int(rng.integers(0, WIDTH - w)), int(rng.integers(0, HEIGHT - h))
                image[y : y + h, x : x + w] = grey
                objects.append({"label": label, "x_px": x, "y_px": y, "width_px": w, "height_px": h})
            png = cv2.imencode(".png", image)[1].tobytes()
            rows.append(
                {
                    "split": split, "group": f"recording:{r:064x}", "recording_id": f"{r:064x}",
                    "recording_name": f"{name}.mp4", "frame_index": index, "frame_oid": lake.blobs.put_bytes(png),
                    "media_type": "image/png", "pts_s": index / 2, "width_px": WIDTH, "height_px": HEIGHT,
                    "annotation_id": f"1-{r}-{index}", "revision_id": "0" * 64, "objects": json.dumps(objects),
                }
            )  # fmt: skip
    return rows
