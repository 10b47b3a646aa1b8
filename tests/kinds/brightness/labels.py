"""A choice for the whole frame."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.kind import Control, Object, Region, UnfitRegion
from tasks.labeling.convert import value_of

CONTROL = Control("Choices", "Choice", {"choice": "single", "showInline": "true"})


def read_region(region: Region, width_px: int, height_px: int) -> list[Object]:
    """What was chosen."""
    chosen = value_of(region, "choices").get("choices")
    if not isinstance(chosen, list) or not all(isinstance(each, str) for each in chosen):
        raise UnfitRegion("has a choice that is not text")
    return [{"label": each} for each in chosen]


def write_objects(objects: Sequence[Object], width_px: int, height_px: int) -> list[Region]:
    """One region for the choice."""
    return [{"type": "choices", "value": {"choices": [each["label"] for each in objects]}}] if objects else []
