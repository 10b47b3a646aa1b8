"""What an object of a detection line is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tasks.kind import Object
from tasks.schemas import Frozen


class Box(Frozen):
    """An axis-aligned labelled box; pixels from the top left corner of the frame. One object of a detection line.

    `crowd` marks a region of many objects that nobody boxed one by one: neither an object to learn nor one to be found,
    and what a model finds in it is no false alarm. It stands only in the objects that are one.
    """

    label: str
    x_px: float
    y_px: float
    width_px: float
    height_px: float
    crowd: bool = False

    def as_object(self) -> dict[str, Any]:
        """As annotations keep it; `crowd` only where it is one."""
        return self.model_dump(exclude_defaults=True)


def single(objects: Sequence[Object]) -> list[Object]:
    """Those of a frame's labelled objects that are one object each, without crowds (see `Box`)."""
    return [each for each in objects if not each.get("crowd")]
