"""How much a detector's training frames are changed, in a word: light, medium or heavy.

A word stands for values of ultralytics' arguments. Whatever is said by name beside it wins over it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MEDIUM = {
    "hsv_h": 0.015, "hsv_s": 0.5, "hsv_v": 0.4, "degrees": 0.0, "translate": 0.1, "scale": 0.3, "shear": 0.0,
    "perspective": 0.0, "flipud": 0.5, "fliplr": 0.5, "mosaic": 0.0, "mixup": 0.0, "cutmix": 0.0, "copy_paste": 0.0,
}  # fmt: skip

AUGMENTATIONS: Mapping[str, Mapping[str, Any]] = {
    # For the last epochs, or for a head alone: what a frame can look like without anybody noticing.
    "light": {**_MEDIUM, "hsv_h": 0.005, "hsv_s": 0.2, "hsv_v": 0.2, "translate": 0.05, "scale": 0.1},
    # As `detection-from-scratch` ships.
    "medium": _MEDIUM,
    # Turned all round, larger and smaller by half, half of the time four frames in one. Mosaics are square.
    "heavy": {
        **_MEDIUM, "hsv_s": 0.7, "hsv_v": 0.5, "degrees": 180.0, "scale": 0.5, "shear": 5.0, "mosaic": 0.5,
        "mixup": 0.1, "copy_paste": 0.2, "rect": False,
    },
}  # fmt: skip


def in_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with those that `augmentation` stands for; a word that is none is left for the checks to refuse."""
    word = values.get("augmentation")
    if not isinstance(word, str) or word.casefold() not in AUGMENTATIONS:
        return dict(values)
    named = {key: value for key, value in values.items() if key != "augmentation"}
    return {**AUGMENTATIONS[word.casefold()], **named}
