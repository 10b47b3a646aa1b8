"""Lines of classification for tests: one class a picture, and several labels that each hold or do not."""

from __future__ import annotations

from typing import Any

from tasks.config import Line, parse_line
from tasks.kinds import kind_of

CLASSIFICATION = kind_of("classification")


def a_line(**changes: Any) -> Line:
    """Normal, abnormal, or not a sperm at all."""
    data: dict[str, Any] = {
        "line": "heads",
        "kind": "classification",
        "classes": {
            "normal": {"hotkey": "n", "aliases": ["Sperm"]},
            "abnormal": {"hotkey": "a"},
            "non_sperm": {"hotkey": "x", "aliases": ["stain"]},
        },
        "minimums": {"recordings": 3},
        "recipe": {"name": "fine-tune"},
        "gates": [{"metric": "balanced_accuracy", "at_least": 0.5}],
    }
    return parse_line(data | changes, "a test's line")


def a_multi_label_line(**changes: Any) -> Line:
    """Parts of a head, each of which may be abnormal."""
    return a_line(
        **{"classes": {"acrosome": {"hotkey": "a"}, "head": {}, "vacuole": {}}, "multi_label": True} | changes
    )
