"""Nouns for tests of validation and datasets: recordings, frames, annotations that are good unless told otherwise."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import cv2
import numpy as np

from tasks.config import Line, parse_line
from tasks.lake import Lake
from tasks.schemas import Annotation, Frame, Recording

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def a_line(**changes: Any) -> Line:
    data: dict[str, Any] = {
        "line": "cells", "kind": "detection", "classes": ["sperm", "impurity"],
        "minimums": {"recordings": 3, "labels": {"sperm": 3}},
        "plausible": {"min_side_px": 3, "max_side_fraction": 0.5},
        "recipe": {"name": "any"}, "gates": [{"metric": "AP50", "at_least": 0.5}],
    }  # fmt: skip
    return parse_line({**data, **changes}, "test")


def a_recording(name: str, minutes: int = 0, **changes: Any) -> Recording:
    data: dict[str, Any] = {
        "recording_id": hashlib.sha256(name.encode()).hexdigest(), "name": f"{name}.mp4", "stem": name,
        "landing_key": f"unsorted/{name}.mp4", "container": "mp4", "codec": "h264", "width_px": 64, "height_px": 48,
        "fps_hz": 25.0, "frames_announced": 100, "frames_decoded": 100, "pts_oid": "0" * 64, "size_bytes": 1000,
        "ingested_at": NOON + timedelta(minutes=minutes),
    }  # fmt: skip
    return Recording(**{**data, **changes})


def an_image(seed: int | str, width_px: int = 64, height_px: int = 48) -> bytes:
    """A PNG of noise, smooth enough to look like something."""
    number = int.from_bytes(hashlib.sha256(str(seed).encode()).digest()[:4], "big")
    coarse = np.random.default_rng(number).integers(0, 255, (12, 16), dtype=np.uint8)
    image = cv2.resize(coarse, (width_px, height_px), interpolation=cv2.INTER_CUBIC)
    return bytes(cv2.imencode(".png", image)[1])


def put_frame(
    lake: Lake, recording: Recording, index: int, line: str = "cells", data: bytes | None = None, **changes: Any
) -> Frame:
    """Store an image as a frame of a recording; every frame its own picture unless `data` is given."""
    image = an_image(f"{recording.name}/{index}") if data is None else data
    oid = lake.blobs.put_bytes(image, "image/png")
    fields: dict[str, Any] = {
        "line": line, "recording_id": recording.recording_id, "frame_index": index, "oid": oid,
        "media_type": "image/png", "pts_s": index / 25, "width_px": 64, "height_px": 48,
        "phash": hashlib.sha256(image).hexdigest()[:16], "reason": "sampled", "taken_at": NOON,
    }  # fmt: skip
    return Frame(**{**fields, **changes})


def a_box(label: str = "sperm", x: float = 10, y: float = 10, width: float = 8, height: float = 6) -> dict[str, Any]:
    return {"label": label, "x_px": x, "y_px": y, "width_px": width, "height_px": height}


def an_annotation(
    frame: Frame,
    objects: Sequence[dict[str, Any]] | None = None,
    number: int | None = None,
    minutes: int = 0,
    **changes: Any,
) -> Annotation:
    n = number if number is not None else int(frame.oid[:8], 16)
    fields: dict[str, Any] = {
        "annotation_id": f"1-{n}", "revision_id": f"rev-{n}-{minutes}", "line": frame.line,
        "recording_id": frame.recording_id, "frame_index": frame.frame_index, "frame_oid": frame.oid,
        "labeling_task_id": n, "state": "active", "annotator": "ann@lab",
        "objects": tuple([a_box()] if objects is None else objects),
        "updated_at": NOON + timedelta(minutes=minutes), "synced_at": NOON + timedelta(minutes=minutes),
    }  # fmt: skip
    return Annotation(**{**fields, **changes})


def fill(
    lake: Lake, recordings: Sequence[Recording], frames: Sequence[Frame], annotations: Sequence[Annotation]
) -> None:
    lake.tables.append("recordings", recordings)
    lake.tables.append("frames", frames)
    lake.tables.append("annotations", annotations)


def good_lake(
    lake: Lake, names: Sequence[str] = ("a", "b", "c"), frames_each: int = 2, **recording: Any
) -> list[Annotation]:
    """Recordings with good labels; returns their annotations."""
    recordings = [a_recording(name, minutes, **recording) for minutes, name in enumerate(names)]
    frames = [put_frame(lake, r, index) for r in recordings for index in range(frames_each)]
    annotations = [an_annotation(frame) for frame in frames]
    fill(lake, recordings, frames, annotations)
    return annotations
