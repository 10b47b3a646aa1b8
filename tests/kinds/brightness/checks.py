"""A frame has one class, and it is one of the line's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tasks.config import Line
from tasks.kind import Object, Row
from tasks.metrics.label_agreement import LabelAgreement
from tasks.schemas import Frame

if TYPE_CHECKING:
    import pandas as pd

SUITE = "brightness_labels"
TITLE = "Choices"


def parameters(line: Line) -> dict[str, Any]:
    """The suite's parameters."""
    return {"classes": list(line.classes)}


def labels_table(annotations: Sequence[Row], frames: Mapping[tuple[str, int, str], Frame]) -> pd.DataFrame:
    """A row for each choice, and one for a frame without any."""
    import pandas as pd

    rows = [
        {"row_id": row_id(row["annotation_id"], number), "label": each.get("label"), "choices": len(row["objects"])}
        for row in annotations
        for number, each in enumerate(row["objects"] or [{}])
    ]
    return pd.DataFrame(rows, columns=["row_id", "label", "choices"])


def row_id(annotation_id: str, number: int) -> str:
    """The row id of an annotation's choice."""
    return f"{annotation_id}#{number}"


def cleaned(objects: Sequence[Object], frame: Frame) -> list[Object]:
    """The class alone."""
    return [{"label": each["label"]} for each in objects]


def counted(objects: Sequence[Object]) -> list[Object]:
    """Every choice counts."""
    return list(objects)


def is_learned_from(objects: Sequence[Object]) -> bool:
    """Every frame is learned from."""
    return True


def notes(frames: Sequence[Sequence[Object]]) -> list[str]:
    """Nothing to add."""
    return []


def agreement(first: Sequence[Object], second: Sequence[Object], line: Line) -> list[LabelAgreement]:
    """Who chose what, class by class."""
    one, other = ({each["label"] for each in objects} for objects in (first, second))
    return [LabelAgreement(int(name in one and name in other), int(name in one), int(name in other))
            for name in line.classes]  # fmt: skip


def described(item: Object) -> str:
    """The class."""
    return str(item.get("label"))
