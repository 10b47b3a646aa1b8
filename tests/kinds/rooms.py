"""Kinds for tests that hold for every kind."""

from __future__ import annotations

from pathlib import Path

from tasks.kind import Kind
from tasks.kinds import kind_of
from tasks.known_kinds import KindPlace

TOY_ROOM = Path(__file__).parent / "brightness"
DETECTION = kind_of("detection")
BRIGHTNESS = Kind(KindPlace("brightness", "nightscope_kinds.brightness", TOY_ROOM, loose=True))
"""The toy, where it stands: whole frames, and a choice for each."""
