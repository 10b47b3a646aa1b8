"""What a line could learn from tonight, read from the lake's tables and told apart, before anything is judged."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tasks.config import AnnotatorChoice, Line
from tasks.lake import Lake
from tasks.schemas import MAX_OBJECTS, SPLITS, Frame, Oid, Recording, Split, SplitAssignment
from tasks.validation.passed import Passed, content_of

if TYPE_CHECKING:
    from tasks.schemas import Annotation

_TABLES = ("recordings", "frames", "annotations", "splits")
_ANNOTATION_COLUMNS = (
    "annotation_id", "revision_id", "line", "recording_id", "frame_index", "frame_oid", "state", "annotator",
    "objects", "unread", "ground_truth", "review", "updated_at", "synced_at",
)  # fmt: skip

_NEWEST = AnnotatorChoice()
_NOTHING: Mapping[str, Passed] = {}

Row = dict[str, Any]
FrameKey = tuple[Oid, int, Oid]


@dataclass(frozen=True)
class Inputs:
    """The line's data as it stands.

    Attributes:
        recordings: Recordings of the line's studies, one per id, by id.
        frames: The line's frames by (recording id, frame index, oid).
        annotations: The newest revision of each annotation that is neither cancelled nor deleted, as table rows, in
            order of (recording, frame, annotation). `text` is what its objects are stored as, `passed` what was made of
            it when it passed on an earlier night, else None. Then `objects` is parsed, None where it cannot be, or
            where there are more than `MAX_OBJECTS` of them; `object_count` says how many there are.
        assigned: The split of each group that has one already.
        snapshots: Snapshot id of each table that was read.
        elsewhere: Active annotations on recordings of other studies, which the line does not learn from.
    """

    recordings: dict[Oid, Recording]
    frames: dict[FrameKey, Frame]
    annotations: list[Row]
    assigned: dict[str, Split]
    snapshots: dict[str, int | None]
    elsewhere: int


def collect(lake: Lake, line: Line, passed: Mapping[str, Passed] = _NOTHING) -> Inputs:
    """Read the line's recordings, frames and annotations.

    Args:
        lake: The lake.
        line: Whose data it is.
        passed: What passed on earlier nights, by `passed.content_of`. Such an annotation is not parsed.
    """
    snapshots = {table: lake.tables.snapshot_id(table) for table in _TABLES}
    known = first_of_each(
        sorted(lake.tables.rows("recordings", Recording), key=lambda r: (r.ingested_at, r.landing_key))
    )
    recordings = {i: r for i, r in sorted(known.items()) if line.recordings.takes(r.study)}
    frames: dict[FrameKey, Frame] = {}
    for frame in lake.tables.rows("frames", Frame, {"line": line.line}):
        frames.setdefault((frame.recording_id, frame.frame_index, frame.oid), frame)
    rows = lake.tables.scan("annotations", where={"line": line.line}, columns=_ANNOTATION_COLUMNS).to_pylist()
    active = newest_active(rows)
    others = known.keys() - recordings.keys()
    assignments = lake.tables.rows("splits", SplitAssignment, {"line": line.line})
    return Inputs(
        recordings=recordings,
        frames=frames,
        annotations=[_with_passed(r, frames, recordings, passed) for r in active if r["recording_id"] not in others],
        assigned={a.group: a.split for a in sorted(assignments, key=_assigned_first, reverse=True)},
        snapshots=snapshots,
        elsewhere=sum(row["recording_id"] in others for row in active),
    )


def _with_passed(
    row: Row, frames: Mapping[FrameKey, Frame], recordings: Mapping[Oid, Recording], passed: Mapping[str, Passed]
) -> Row:
    """An annotation with what was made of it when it passed, if it did, just as it is, on this very frame."""
    row["text"] = row.pop("objects")
    row["passed"] = None
    frame = frames.get(frame_key(row)) if passed else None
    if frame is not None and frame.frame_index < recordings[frame.recording_id].frames_decoded:
        row["passed"] = passed.get(content_of(row, frame))
    return row if row["passed"] is not None else with_objects(row)


def with_objects(row: Row) -> Row:
    """An annotation as one that is to be judged."""
    return {**row, "passed": None, **_objects(row["text"])}


def frame_key(row: Row) -> FrameKey:
    """Which frame an annotation is of."""
    return row["recording_id"], row["frame_index"], row["frame_oid"]


def first_of_each(recordings: Iterable[Recording]) -> dict[Oid, Recording]:
    """One recording per id: the first."""
    found: dict[Oid, Recording] = {}
    for recording in recordings:
        found.setdefault(recording.recording_id, recording)
    return found


def newest_active(rows: Iterable[Row]) -> list[Row]:
    """The newest revision of each annotation, without those whose newest is a cancellation or deletion.

    Label Studio's clock decides which revision is newest; where it says nothing (a deletion changes no time), the order
    in which we saw them.
    """
    newest: dict[str, Row] = {}
    for row in rows:
        held = newest.get(row["annotation_id"])
        if held is None or _age(row) > _age(held):
            newest[row["annotation_id"]] = row
    active = [row for row in newest.values() if row["state"] == "active"]
    return sorted(active, key=lambda row: (row["recording_id"], row["frame_index"], row["annotation_id"]))


def one_per_frame(rows: Sequence[Row], choice: AnnotatorChoice = _NEWEST) -> tuple[list[Row], list[Row]]:
    """Choose among several annotators' work on one frame, as the line wants it. Nothing is merged.

    Returns:
        The chosen rows, in the order given, and those they replace.
    """
    chosen: dict[tuple[Oid, int], Row] = {}
    for row in rows:
        key = (row["recording_id"], row["frame_index"])
        held = chosen.get(key)
        if held is None or standing(row, choice) > standing(held, choice):
            chosen[key] = row
    kept = {row["annotation_id"] for row in chosen.values()}
    return [r for r in rows if r["annotation_id"] in kept], [r for r in rows if r["annotation_id"] not in kept]


def standing(row: Row, choice: AnnotatorChoice) -> tuple[bool, int, int, datetime, str]:
    """What decides between annotations of one frame, the weightiest first; larger wins."""
    reviewed = {"accepted": 1, "rejected": -1}.get(row.get("review") or "", 0)
    preferred = choice.rank_of(row.get("annotator") or "")
    return bool(row.get("ground_truth")), reviewed, preferred, row["updated_at"], row["annotation_id"]


def stored_sizes(lake: Lake, oids: Iterable[Oid]) -> dict[Oid, int | None]:
    """Bytes of each blob; None where the lake does not hold it. For cached copies the lake is not asked."""
    wanted = sorted(set(oids))
    with ThreadPoolExecutor(lake.settings.workers * 4) as threads:
        return dict(zip(wanted, threads.map(lambda oid: _stored_size(lake, oid), wanted), strict=True))


def _stored_size(lake: Lake, oid: Oid) -> int | None:
    if len(oid) != 64 or set(oid) - set("0123456789abcdef"):
        return None
    cached = lake.settings.cache_dir / "blobs" / "sha256" / oid[:2] / oid
    try:
        return cached.stat().st_size
    except FileNotFoundError:
        info = lake.store.head(lake.blobs.key(oid))
        return None if info is None else info.size_bytes


def _age(row: Row | Annotation) -> tuple[Any, Any, Any]:
    values = row if isinstance(row, dict) else row.model_dump()
    return values["updated_at"], values["synced_at"], values["revision_id"]


def _assigned_first(assignment: SplitAssignment) -> tuple[Any, int]:
    return assignment.assigned_at, SPLITS.index(assignment.split)


def _objects(text: str | None) -> Row:
    try:
        objects = json.loads(text) if text is not None else []
    except (ValueError, RecursionError):
        return {"objects": None, "object_count": 0}
    if not isinstance(objects, list) or not all(isinstance(item, dict) for item in objects):
        return {"objects": None, "object_count": 0}
    return {"objects": objects if len(objects) <= MAX_OBJECTS else None, "object_count": len(objects)}
