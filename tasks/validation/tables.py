"""The tables that the suites of every kind of line look at: recordings, frames, annotations.

A table carries what its checks need as plain columns, so that the suites stay declarative, and the words for a reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tasks.config import Line
from tasks.schemas import MAX_OBJECTS, Frame, Oid, Recording, Split
from tasks.validation.inputs import Inputs, Row, frame_key

if TYPE_CHECKING:
    import pandas as pd

PARAMETERS: dict[str, Any] = {
    "min_decoded_fraction": 0.98,  # ingest refuses below it; here it guards the table
    "max_fps_hz": 100_000,
    "max_um_per_px": 1_000,
    "max_objects": MAX_OBJECTS,
}
"""Suite parameters that hold for every line."""


def recordings_table(line: Line, inputs: Inputs) -> pd.DataFrame:
    """One row per recording of the line; row id `recording_id`."""
    settled = settled_splits(line, inputs)
    rows = []
    for recording in inputs.recordings.values():
        group = line.splits.group_of(recording)
        split, because = settled.get(group, (None, ""))
        announced = recording.frames_announced
        rows.append({
            "recording_id": recording.recording_id,
            "width_px": recording.width_px,
            "height_px": recording.height_px,
            "frames_announced": announced,
            "frames_decoded": recording.frames_decoded,
            "decoded_fraction": recording.frames_decoded / announced if announced else 1.0,
            "fps_hz": recording.fps_hz,
            "um_per_px": recording.um_per_px,
            "pinned_split": recording.pinned_split,
            "group": group,
            "group_split": split,
            "group_split_because": because,
            "split_agrees": recording.pinned_split is None or recording.pinned_split == split,
        })  # fmt: skip
    columns = [
        "recording_id", "width_px", "height_px", "frames_announced", "frames_decoded", "decoded_fraction", "fps_hz",
        "um_per_px", "pinned_split", "group", "group_split", "group_split_because", "split_agrees",
    ]  # fmt: skip
    return data_frame(rows, columns, numbers=("fps_hz", "um_per_px", "decoded_fraction"))


def settled_splits(line: Line, inputs: Inputs) -> dict[str, tuple[Split, str]]:
    """Where each group stands, or must, and why: its recorded split, else its first recording's pin."""
    settled: dict[str, tuple[Split, str]] = {}
    for recording in sorted(inputs.recordings.values(), key=lambda r: (r.ingested_at, r.recording_id)):
        group = line.splits.group_of(recording)
        if group in inputs.assigned:
            settled[group] = (inputs.assigned[group], "it was assigned before")
        elif recording.pinned_split is not None:
            settled.setdefault(group, (recording.pinned_split, f"{recording.name!r} was pinned to it first"))
    return settled


def frames_table(
    frames: Sequence[Frame], recordings: Mapping[Oid, Recording], sizes: Mapping[Oid, int | None]
) -> pd.DataFrame:
    """One row per frame that carries a label; row id `row_id` (see `frame_row_id`)."""
    rows = [
        {
            "row_id": frame_row_id(frame.recording_id, frame.frame_index, frame.oid),
            "oid": frame.oid,
            "media_type": frame.media_type,
            "width_px": frame.width_px,
            "height_px": frame.height_px,
            "frame_index": frame.frame_index,
            "phash": frame.phash,
            "frames_decoded": recordings[frame.recording_id].frames_decoded,
            "frames_left": recordings[frame.recording_id].frames_decoded - frame.frame_index,
            "stored_size_bytes": sizes.get(frame.oid),
        }
        for frame in frames
    ]
    columns = [
        "row_id", "oid", "media_type", "width_px", "height_px", "frame_index", "phash", "frames_decoded", "frames_left",
        "stored_size_bytes",
    ]  # fmt: skip
    return data_frame(rows, columns, numbers=("stored_size_bytes",))


def frame_row_id(recording_id: Oid, frame_index: int, oid: Oid) -> str:
    """A frame's row id."""
    return f"{recording_id}/{frame_index}/{oid}"


def annotations_table(annotations: Sequence[Row], inputs: Inputs) -> pd.DataFrame:
    """One row per annotation; row id `annotation_id`."""
    rows = [
        {
            "annotation_id": row["annotation_id"],
            "annotator": row["annotator"] or None,
            "recording_id": row["recording_id"],
            "frame_index": row["frame_index"],
            "recording_known": row["recording_id"] in inputs.recordings,
            "frame_exists": (row["recording_id"], row["frame_index"]) in inputs.frames.moments,
            "frame_oid_matches": frame_key(row) in inputs.frames.numbers,
            "objects_readable": row["objects"] is not None or row["object_count"] > MAX_OBJECTS,
            "object_count": row["object_count"],
            "unread": row["unread"] or None,
        }
        for row in annotations
    ]
    columns = [
        "annotation_id", "annotator", "recording_id", "frame_index", "recording_known", "frame_exists",
        "frame_oid_matches", "objects_readable", "object_count", "unread",
    ]  # fmt: skip
    return data_frame(rows, columns)


def data_frame(rows: Sequence[Row], columns: Sequence[str], numbers: Sequence[str] = ()) -> pd.DataFrame:
    """Rows as a table with exactly these columns, in order, even when there is none.

    Args:
        rows: The rows.
        columns: The table's columns.
        numbers: Columns to hold float64, so that "unknown" is NaN and not an object.
    """
    import pandas as pd

    table = pd.DataFrame({name: [row[name] for row in rows] for name in columns}, columns=list(columns))
    return table.astype(dict.fromkeys(numbers, "float64"))
