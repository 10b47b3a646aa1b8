"""Architectures of YOLO-seg that can be named: known without torch, to the recipes' checks and to the network alike."""

from __future__ import annotations

YOLO_SEG = tuple(f"yolo{version}{size}-seg.yaml" for version in ("11", "v8") for size in "nsmlx")
"""Of those that ultralytics ships."""
