"""Labels of classification lines: a row for each judged class, and one for a picture of which nothing is said.

A picture that is there twice, or nearly so, under labels that contradict each other is set aside with its partner:
nobody knows which label is right. See `duplicates.py`. People who disagree on one picture are another matter: the
line's `annotators` say whose work counts.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tasks.config import Line
from tasks.kind import Object, Row, Surroundings
from tasks.kinds.classification.objects import is_present
from tasks.metrics.label_agreement import LabelAgreement
from tasks.schemas import Frame, Oid

if TYPE_CHECKING:
    import pandas as pd

SUITE = "classification_labels"
TITLE = "Classes of pictures"
MIN_SIDE_PX = 16
"""Of a picture, where the line does not say `plausible.min_side_px`: less shows nothing that could be told apart."""

FrameKey = tuple[Oid, int, Oid]
_COLUMNS = ("row_id", "label", "classes", "times", "shortest_side_px", "says")
_PARTNERS = ("same_picture", "same_says", "alike_picture", "alike_says")


def parameters(line: Line) -> dict[str, Any]:
    """The suite's parameters for a line."""
    stated = "min_side_px" in line.plausible.model_fields_set
    return {
        "classes": list(line.classes),
        "most_classes": len(line.classes) if line.multi_label else 1,
        "min_side_px": line.plausible.min_side_px if stated else MIN_SIDE_PX,
    }


def labels_table(annotations: Sequence[Row], frames: Mapping[FrameKey, Frame]) -> pd.DataFrame:
    """One row for each object, and one for an annotation without any, `label` null; nothing is compared."""
    import pandas as pd

    rows = [
        _row(annotation, number, item, frames)
        for annotation in annotations
        for number, item in enumerate(annotation["objects"] or [{}])
    ]
    types = {"shortest_side_px": "float64", **dict.fromkeys(_PARTNERS, "object")}
    return pd.DataFrame(rows, columns=[*_COLUMNS, *_PARTNERS]).astype(types)


def _row(annotation: Row, number: int, item: Object, frames: Mapping[FrameKey, Frame]) -> Row:
    frame, label = frames[_key(annotation)], _label_of(item)
    return {
        "row_id": row_id(annotation["annotation_id"], number),
        "label": label,
        "classes": len(annotation["objects"]),
        "times": sum(_label_of(each) == label for each in annotation["objects"]),
        "shortest_side_px": float(min(frame.width_px, frame.height_px)),
        "says": said(annotation["objects"]),
    }


def _label_of(item: Object) -> str | None:
    label = item.get("label")
    return label if isinstance(label, str) and label else None


def compared_table(
    annotations: Sequence[Row], frames: Mapping[FrameKey, Frame], surroundings: Surroundings
) -> pd.DataFrame:
    """`labels_table`, and for each label its partner, if another picture that shows the same contradicts it."""
    from tasks.kinds.classification.duplicates import Labelled, contradictions

    table = labels_table(annotations, frames)
    counting = _counting(annotations, surroundings)
    labels = [
        Labelled(_key(row)[:2], frames[_key(row)], _says(row["objects"]), row["annotation_id"] in counting)
        for row in annotations
    ]
    for number, found in contradictions(labels, surroundings.picture).items():
        partner, own = annotations[found.partner], annotations[number]
        name = "same" if found.same_bytes else "alike"
        rows = [row_id(own["annotation_id"], n) for n in range(max(1, len(own["objects"])))]
        words = [surroundings.called(partner), said(partner["objects"])]
        table.loc[table["row_id"].isin(rows), [f"{name}_picture", f"{name}_says"]] = words
    return table


def _counting(annotations: Sequence[Row], surroundings: Surroundings) -> set[str]:
    """Ids of the annotations that count, of several on a frame."""
    best: dict[tuple[Oid, int], Row] = {}
    for row in annotations:
        held = best.get(_key(row)[:2])
        if held is None or surroundings.standing(row) > surroundings.standing(held):
            best[_key(row)[:2]] = row
    return {row["annotation_id"] for row in best.values()}


def _key(row: Row) -> FrameKey:
    return row["recording_id"], row["frame_index"], row["frame_oid"]


def _says(objects: Sequence[Object]) -> dict[str, Hashable]:
    """What can be contradicted: whether each class is there; of one class a picture, which it is."""
    if not objects:
        return {}
    if any("present" not in each for each in objects):
        return {"": tuple(sorted(str(each.get("label")) for each in objects))}
    return {str(each.get("label")): is_present(each) for each in objects}


def said(objects: Sequence[Object]) -> str:
    """What is said of a picture, in a few words."""
    shown = [str(each.get("label")) for each in objects if is_present(each)]
    return " and ".join(shown) or "none of the classes"


def agreement(first: Sequence[Object], second: Sequence[Object], line: Line) -> list[LabelAgreement]:
    """Who found what, class by class; a class that one of the two did not judge is left out."""
    one, other = (_present(objects, line) for objects in (first, second))
    both = one.keys() & other.keys()
    return [
        LabelAgreement(int(one[name] and other[name]), int(one[name]), int(other[name]))
        if name in both
        else LabelAgreement()
        for name in line.classes
    ]


def _present(objects: Sequence[Object], line: Line) -> dict[str, bool]:
    shown = {} if line.multi_label else dict.fromkeys(line.classes, False)
    return shown | {each["label"]: is_present(each) for each in objects}


def counted(objects: Sequence[Object]) -> list[Object]:
    """The classes that are there."""
    return [each for each in objects if is_present(each)]


def is_learned_from(objects: Sequence[Object]) -> bool:
    """Every picture is learned from."""
    return True


def notes(frames: Sequence[Sequence[Object]]) -> list[str]:
    """Of several labels: how many values are missing, and which labels hold of all pictures or of none."""
    judged: dict[str, Counter[bool]] = defaultdict(Counter)
    for objects in frames:
        for each in objects:
            if "present" in each:
                judged[each["label"]][is_present(each)] += 1
    found = [
        f"label {name}: {len(frames) - own.total()} of {len(frames)} pictures have no value"
        for name, own in sorted(judged.items())
        if own.total() < len(frames)
    ]
    return found + [
        f"label {name} holds of {'all' if own[True] else 'no'} pictures that have a value: nothing can be learned of it"
        for name, own in sorted(judged.items())
        if not (own[True] and own[False])
    ]


def described(item: Object) -> str:
    """A class, and whether it is there."""
    return f"{'' if is_present(item) else 'no '}{item.get('label')}"


def row_id(annotation_id: str, number: int) -> str:
    """The row id of an annotation's object, counted from 0."""
    return f"{annotation_id}#{number}"


def cleaned(objects: Sequence[Object], frame: Frame) -> list[Object]:
    """Class, and whether it is there where that is stated."""
    return [{"label": each["label"]} | ({"present": is_present(each)} if "present" in each else {}) for each in objects]
