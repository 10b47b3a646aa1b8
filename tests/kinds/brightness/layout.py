"""A JSON list: split, class and path of each frame."""

from __future__ import annotations

import json
from pathlib import Path

from tasks.config import Line
from tasks.lake import Lake


def materialise(lake: Lake, line: Line, version: str) -> Path:
    """Write the list; the frames stay where the lake's cache has them."""
    target = lake.settings.work_dir / "datasets" / f"{version}.json"
    rows = lake.datasets.load(line.line, version).rows.to_pylist()
    paths = lake.blobs.fetch_many(row["frame_oid"] for row in rows)
    frames = [
        {"split": row["split"], "label": json.loads(row["objects"])[0]["label"], "path": str(paths[row["frame_oid"]])}
        for row in rows
    ]
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(".part")
    part.write_text(json.dumps({"classes": list(line.classes), "frames": frames}))
    part.replace(target)
    return target
