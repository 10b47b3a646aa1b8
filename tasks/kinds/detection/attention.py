"""Attention between a detector's neck and its head, put into any architecture whose last layer is the head.

One layer for each map that the head looks at. They stand right before the head, so that all layers before them keep
their numbers, by which weights are transferred.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from tasks.errors import ConfigError

MODULES = {"cbam": "CBAM", "coordinate": "CoordinateAttention", "shuffle": "ShuffleAttention"}
"""Word of a recipe -> module: ultralytics' own, and ours (`tasks/training/ultralytics_layers.py`)."""


def attention_in(architecture: dict[str, Any]) -> str | None:
    """Which attention an architecture has right before its head already; None: none."""
    *_, before, _ = architecture["backbone"] + architecture["head"]
    return next((word for word, module in MODULES.items() if module == before[2]), None)


def with_attention(architecture: dict[str, Any], word: str, channels: Sequence[int]) -> dict[str, Any]:
    """The architecture with attention before its head.

    Args:
        architecture: As in a YAML: `backbone` and `head`, rows of [from, repeats, module, arguments].
        word: Of `MODULES`.
        channels: Of the maps that the head looks at.

    Raises:
        ConfigError: It has another attention there already, as weights to start from may have.
    """
    found = attention_in(architecture)
    if found == word:
        return architecture
    if found is not None:
        raise ConfigError(
            f"attention: {word} cannot be put into weights that were trained with {found}",
            expected=f"attention: {found}", found=f"attention: {word}", fix=f"set attention to {found}, or take others",
        )  # fmt: skip
    made = copy.deepcopy(architecture)
    sources, *rest = made["head"].pop()
    first = len(made["backbone"] + made["head"])
    made["head"] += [[source, 1, MODULES[word], [own]] for source, own in zip(sources, channels, strict=True)]
    made["head"].append([list(range(first, first + len(sources))), *rest])
    return made
