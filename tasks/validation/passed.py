"""What is made of an annotation that passed, and what it was made of."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from tasks.kind import Checks, Object
from tasks.schemas import Frame, canonical_json

Row = dict[str, Any]


class Passed(NamedTuple):
    """What is made of an annotation that passed."""

    objects: str | None
    """Canonical JSON of its objects in the form that manifests keep; None: as they stand in the annotation."""
    labels: str
    """Canonical JSON, class -> how many objects count as a label of it."""
    learned_from: bool
    """Whether a training takes the frame."""
    noted: bool
    """Whether the kind has a note on it."""
    rows: int
    """How many rows the kind's suite looked at."""

    def text(self, row: Row) -> str:
        """Its objects, as manifests keep them, given the annotation's row with its `text`."""
        return str(row["text"]) if self.objects is None else self.objects


def judgement_of(checks: Checks, row: Row, objects: Sequence[Object], rows: int) -> Passed:
    """What to remember of an annotation.

    Args:
        checks: Of the line's kind.
        row: The annotation, with its `text`.
        objects: Those that passed, in the form that manifests keep.
        rows: How many rows the suite looked at.
    """
    text = canonical_json(objects)
    return Passed(
        objects=None if text == row["text"] else text,
        labels=canonical_json(Counter(item["label"] for item in checks.counted(objects))),
        learned_from=checks.is_learned_from(objects),
        noted=bool(checks.notes([objects])),
        rows=rows,
    )


def content_of(row: Row, frame: Frame) -> str:
    """All that is judged of an annotation and its frame by themselves: 32 hex digits."""
    judged = (
        row["annotation_id"], row["annotator"], row["unread"], row["recording_id"], row["frame_index"],
        row["frame_oid"], frame.media_type, frame.width_px, frame.height_px, frame.phash, row["text"],
    )  # fmt: skip
    return hashlib.blake2b(repr(judged).encode(), digest_size=16).hexdigest()
