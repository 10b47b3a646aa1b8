"""What is made of an annotation that passed, and what it was made of.

Few annotations are new in a night. What passed before stays a table from the lake to the accepted labels, so that it
costs no more than being read, hashed and written; what is to be judged becomes rows.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from tasks.kind import Checks, Object
from tasks.schemas import canonical_json

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]

_OF_ANNOTATION = ("annotation_id", "annotator", "unread", "recording_id", "frame_index", "frame_oid")
_OF_FRAME = ("media_type", "width_px", "height_px", "phash")


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


def contents_of(annotations: pa.Table, frames: pa.Table) -> list[str]:
    """All that is judged of annotations and their frames by themselves, 32 hex digits each.

    Args:
        annotations: With their `text`.
        frames: The frame of each, in the same order.
    """
    judged = [annotations.column(name).to_pylist() for name in _OF_ANNOTATION]
    judged += [frames.column(name).to_pylist() for name in _OF_FRAME]
    texts = annotations.column("text").to_pylist()
    # What stands before the line break has none of its own: so no two annotations are written alike.
    return [
        hashlib.blake2b(f"{values!r} {text is None}\n{text}".encode(), digest_size=16).hexdigest()
        for values, text in zip(zip(*judged, strict=True), texts, strict=True)
    ]


def schema() -> pa.Schema:
    """Of a table of what passed: `content` (see `contents_of`), and the fields of `Passed`."""
    import pyarrow as pa

    kinds = (pa.string(), pa.string(), pa.bool_(), pa.bool_(), pa.int64())
    return pa.schema([("content", pa.string()), *zip(Passed._fields, kinds, strict=True)])


def table_of(passed: Mapping[str, Passed]) -> pa.Table:
    """A table of what passed, by content."""
    import pyarrow as pa

    values = zip(*passed.values(), strict=True) if passed else [()] * len(Passed._fields)
    return pa.table([list(passed), *map(list, values)], schema=schema())
