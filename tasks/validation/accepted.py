"""The table of what a line may learn from: one row a frame."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from tasks.config import Line
from tasks.kind import Kind
from tasks.kind.label_counts import label_counts
from tasks.validation import tables
from tasks.validation.inputs import Inputs, Row
from tasks.validation.judging import Annotations

if TYPE_CHECKING:
    import pyarrow as pa

ACCEPTED: dict[str, str] = {
    "group": "string", "pinned_split": "string", "recording_id": "string", "recording_name": "string",
    "study": "string", "frame_index": "int64", "frame_oid": "string", "media_type": "string", "pts_s": "float64",
    "width_px": "int64", "height_px": "int64", "phash": "string", "annotation_id": "string", "revision_id": "string",
    "annotator": "string", "objects": "string", "labels": "string", "learned_from": "bool",
}  # fmt: skip
"""Columns of the accepted table. `group` is what keeps together in a split, `pinned_split` where its user wants it;
`objects` is canonical JSON of the objects that passed, `labels` of how many of them count for each class;
`learned_from`: a training takes the frame."""

_OF_FRAME = ("media_type", "pts_s", "width_px", "height_px", "phash")
_OF_ANNOTATION = (
    "recording_id", "frame_index", "frame_oid", "annotation_id", "revision_id", "annotator", "labels", "learned_from",
    "noted",
)  # fmt: skip


def accepted_table(line: Line, kind: Kind, found: Inputs, chosen: Annotations, notes: list[str]) -> pa.Table:
    """One row for each frame to learn from, columns `ACCEPTED`, in order of recording and frame.

    Args:
        line: Whose data it is.
        kind: Of the line.
        found: Recordings and frames.
        chosen: Annotations that passed, one a frame.
        notes: What a person should know is added to them.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    finished = [row for row in chosen.rows if not row.get("unfinished")]
    unfinished = Counter(row["unfinished"] for row in chosen.rows if row.get("unfinished"))
    held = _of_rows(finished)
    held = pa.concat_tables([_of_known(chosen.known).cast(held.schema), held])
    held = held.take(pc.sort_indices(held, [("recording_id", "ascending"), ("frame_index", "ascending")]))
    keys = zip(*(held.column(name).to_pylist() for name in ("recording_id", "frame_index", "frame_oid")), strict=True)
    frames = found.frames.rows(keys)
    for name in _OF_FRAME:
        held = held.append_column(name, frames.column(name))
    for name, values in _of_recordings(line, found).items():
        own = [values[each] for each in held.column("recording_id").to_pylist()]
        held = held.append_column(name, pa.array(own, pa.string()))
    noted = held if not kind.judged_alone else held.filter(held.column("noted"))
    schema = pa.schema([(name, pa.type_for_alias(kind_)) for name, kind_ in ACCEPTED.items()])
    accepted = held.select(list(ACCEPTED)).cast(schema).combine_chunks()
    images = kind.words.images
    notes += [f"{images} left out until somebody finishes them: {n}, {why}" for why, n in unfinished.items()]
    _note_classes(line, kind, accepted, notes)
    notes += kind.checks.notes([json.loads(text) for text in noted.column("objects").to_pylist()])
    return accepted


def _of_known(known: pa.Table) -> pa.Table:
    """What an accepted row has of an annotation that passed on an earlier night."""
    import pyarrow.compute as pc

    objects = pc.coalesce(known.column("objects"), known.column("text"))
    return known.select(list(_OF_ANNOTATION)).append_column("objects", objects)


def _of_rows(rows: list[Row]) -> pa.Table:
    """The same of annotations that were judged tonight."""
    import pyarrow as pa

    own = [
        {**row, "labels": row["passed"].labels, "learned_from": row["passed"].learned_from,
         "noted": row["passed"].noted, "objects": row["passed"].text(row)}
        for row in rows
    ]  # fmt: skip
    kinds = {**ACCEPTED, "noted": "bool"}
    return pa.Table.from_pylist(
        own, schema=pa.schema([(name, pa.type_for_alias(kinds[name])) for name in (*_OF_ANNOTATION, "objects")])
    )


def _of_recordings(line: Line, found: Inputs) -> dict[str, dict[str, Any]]:
    """Column -> value of each recording."""
    settled = tables.settled_splits(line, found)
    groups = {i: line.splits.group_of(recording) for i, recording in found.recordings.items()}
    return {
        "group": groups,
        "pinned_split": {i: settled[group][0] if group in settled else None for i, group in groups.items()},
        "recording_name": {i: recording.name for i, recording in found.recordings.items()},
        "study": {i: recording.study for i, recording in found.recordings.items()},
    }


def _note_classes(line: Line, kind: Kind, accepted: pa.Table, notes: list[str]) -> None:
    labels = label_counts(accepted, kind)
    if unseen := [name for name in line.classes if not labels[name]]:
        notes.append(f"no accepted label of class {', '.join(unseen)}: the model cannot learn it")
