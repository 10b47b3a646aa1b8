"""Several people on one frame: whose work counts, what it replaces and why, and how far people agree."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from tasks.config import AnnotatorChoice, Line
from tasks.kind import Kind, Object
from tasks.metrics.label_agreement import LabelAgreement, aggregate_label_agreement
from tasks.schemas import Oid
from tasks.validation.inputs import Row, one_per_frame, standing

Passed = Callable[[Row], Sequence[Object]]
"""The objects of an annotation that passed validation."""


@dataclass(frozen=True)
class Replaced:
    """An annotation that does not count, because another one of the same frame does."""

    row: Row
    by: Row
    because: str

    def as_json(self, place: str) -> dict[str, Any]:
        """Plain data for storing, with the frame as people call it."""
        return {
            "place": place,
            "annotation_id": self.row["annotation_id"],
            "revision_id": self.row["revision_id"],
            "annotator": self.row["annotator"],
            "chosen_annotation_id": self.by["annotation_id"],
            "chosen_annotator": self.by["annotator"],
            "because": self.because,
        }


def choose(rows: Sequence[Row], choice: AnnotatorChoice) -> tuple[list[Row], list[Replaced]]:
    """One annotation a frame, and what became of the others."""
    chosen, others = one_per_frame(rows, choice)
    winners = {_frame(row): row for row in chosen}
    return chosen, [Replaced(row, winners[_frame(row)], _because(winners[_frame(row)], row, choice)) for row in others]


def _because(winner: Row, loser: Row, choice: AnnotatorChoice) -> str:
    won, lost = standing(winner, choice), standing(loser, choice)
    if won[0] != lost[0]:
        return "it is marked as ground truth"
    if won[1] != lost[1]:
        return "a reviewer accepted it" if won[1] > 0 else "a reviewer rejected this one"
    if won[2] != lost[2]:
        return f"the line prefers {winner['annotator']}"
    return "it is newer"


def unknown_names(choice: AnnotatorChoice, annotators: Iterable[str]) -> list[str]:
    """Names that the line prefers and that stand on no annotation: mistyped, perhaps."""
    known = {(name or "").strip().casefold() for name in annotators}
    return [name for name in choice.prefer if name.strip().casefold() not in known]


def agreement(line: Line, kind: Kind, rows: Sequence[Row], passed: Passed) -> list[dict[str, Any]]:
    """How far each two people agree on the frames that both labelled; of each person the newest work counts.

    Args:
        line: For its classes.
        kind: Of the line; compares two people's objects.
        rows: Annotations that passed validation.
        passed: What an annotation shows.

    Returns:
        For each pair of names, in order: `annotators` [2], `frames` that both labelled, `f1` over all classes, and
        `per_class` {class: f1}; None where nobody drew anything.
    """
    pairs: dict[tuple[str, str], list[list[LabelAgreement]]] = defaultdict(list)
    for own in _by_frame(rows).values():
        if len(own) < 2:
            continue
        objects = {name: passed(row) for name, row in own.items()}
        for one, other in combinations(sorted(own), 2):
            pairs[one, other].append(kind.checks.agreement(objects[one], objects[other], line))
    return [_summary(line, pair, frames) for pair, frames in sorted(pairs.items())]


def _by_frame(rows: Sequence[Row]) -> Mapping[tuple[Oid, int], dict[str, Row]]:
    found: dict[tuple[Oid, int], dict[str, Row]] = defaultdict(dict)
    for row in sorted(rows, key=lambda row: (row["updated_at"], row["annotation_id"])):
        found[_frame(row)][row["annotator"]] = row
    return found


def _summary(line: Line, pair: tuple[str, str], frames: Sequence[Sequence[LabelAgreement]]) -> dict[str, Any]:
    per_class = [aggregate_label_agreement(list(own)) for own in zip(*frames, strict=True)]
    return {
        "annotators": list(pair),
        "frames": len(frames),
        "f1": aggregate_label_agreement(per_class).f1,
        "per_class": {name: own.f1 for name, own in zip(line.classes, per_class, strict=True)},
    }


def _frame(row: Row) -> tuple[Oid, int]:
    return row["recording_id"], row["frame_index"]
