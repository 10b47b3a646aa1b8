"""Which of the kind's detectors a file of weights is of, without reading it."""

from __future__ import annotations

from pathlib import Path


def is_anchored(path: Path) -> bool:
    """Whether it may be a detector with anchors: a safetensors file (a length, then JSON), as no YOLO's is."""
    with path.open("rb") as file:
        start = file.read(9)
    return start[8:9] == b"{" and int.from_bytes(start[:8], "little") + 8 <= path.stat().st_size
