"""What a line could learn from tonight, read from the lake's tables and told apart, before anything is judged."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.config import AnnotatorChoice, Line
from tasks.lake import Lake
from tasks.lake.table_schemas import from_arrow
from tasks.schemas import MAX_OBJECTS, SPLITS, Frame, Oid, Recording, Split, SplitAssignment
from tasks.validation import passed as passing
from tasks.validation.passed import Passed

if TYPE_CHECKING:
    import pyarrow as pa

_TABLES = ("recordings", "frames", "annotations", "splits")
_ANNOTATION_COLUMNS = (
    "annotation_id", "revision_id", "line", "recording_id", "frame_index", "frame_oid", "state", "annotator",
    "objects", "unread", "ground_truth", "review", "updated_at", "synced_at",
)  # fmt: skip

_NEWEST = AnnotatorChoice()
PLACE = "frame"
"""Column of annotations: the number of their frame's row."""

Row = dict[str, Any]
FrameKey = tuple[Oid, int, Oid]


@dataclass(frozen=True)
class Frames:
    """The line's frames, one for each (recording id, frame index, oid), as a table.

    Attributes:
        table: As the lake has them.
        numbers: Their rows, by key.
    """

    table: pa.Table
    numbers: Mapping[FrameKey, int]

    @cached_property
    def moments(self) -> frozenset[tuple[Oid, int]]:
        """(recording id, frame index) of every frame."""
        return frozenset((recording, index) for recording, index, _ in self.numbers)

    def of(self, keys: Iterable[FrameKey]) -> dict[FrameKey, Frame]:
        """Some of them as nouns; all of these keys must be there."""
        wanted = list(dict.fromkeys(keys))
        return dict(zip(wanted, from_arrow(self.rows(wanted), Frame), strict=True))

    def rows(self, keys: Iterable[FrameKey]) -> pa.Table:
        """Some of them, in the order of these keys, which must all be there."""
        return self.table.take(np.array([self.numbers[key] for key in keys], np.int64))


@dataclass(frozen=True)
class Inputs:
    """The line's data as it stands.

    Attributes:
        recordings: Recordings of the line's studies, one per id, by id.
        frames: The line's frames.
        annotations: The newest revision of each annotation that is neither cancelled nor deleted and is to be judged,
            as table rows, in order of (recording, frame, annotation). `text` is what its objects are stored as,
            `objects` is parsed, None where it cannot be, or where there are more than `MAX_OBJECTS` of them;
            `object_count` says how many there are. `content` is what `passed.contents_of` makes of it; None where the
            line has no such frame.
        known: Those that passed on an earlier night just as they are, in the same order: a table of the annotations'
            columns, the number of its frame's row (`frame`), and the columns of `passed.schema`.
        annotators: Everybody who has labelled anything of it.
        assigned: The split of each group that has one already.
        snapshots: Snapshot id of each table that was read.
        elsewhere: Active annotations on recordings of other studies, which the line does not learn from.
    """

    recordings: dict[Oid, Recording]
    frames: Frames
    annotations: list[Row]
    known: pa.Table
    annotators: frozenset[str]
    assigned: dict[str, Split]
    snapshots: dict[str, int | None]
    elsewhere: int


def collect(lake: Lake, line: Line, passed: pa.Table | None = None) -> Inputs:
    """Read the line's recordings, frames and annotations.

    Args:
        lake: The lake.
        line: Whose data it is.
        passed: What passed on earlier nights (`passed.schema`). Such an annotation is not parsed.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    snapshots = {table: lake.tables.snapshot_id(table) for table in _TABLES}
    found = first_of_each(
        sorted(lake.tables.rows("recordings", Recording), key=lambda r: (r.ingested_at, r.landing_key))
    )
    recordings = {i: r for i, r in sorted(found.items()) if line.recordings.takes(r.study)}
    frames = _frames(lake, line)
    active = newest_active(lake.tables.scan("annotations", where={"line": line.line}, columns=_ANNOTATION_COLUMNS))
    others = pc.is_in(active.column("recording_id"), pa.array(sorted(found.keys() - recordings.keys()), pa.string()))
    annotations = active.filter(pc.invert(others)).rename_columns({"objects": "text"})
    to_judge, known = _told_apart(annotations, frames, recordings, passing.table_of({}) if passed is None else passed)
    assignments = lake.tables.rows("splits", SplitAssignment, {"line": line.line})
    return Inputs(
        recordings=recordings,
        frames=frames,
        annotations=[with_objects(row) for row in to_judge.to_pylist()],
        known=known,
        annotators=frozenset(pc.unique(annotations.column("annotator")).to_pylist()),
        assigned={a.group: a.split for a in sorted(assignments, key=_assigned_first, reverse=True)},
        snapshots=snapshots,
        elsewhere=len(active) - len(annotations),
    )


def _frames(lake: Lake, line: Line) -> Frames:
    rows = lake.tables.scan("frames", {"line": line.line})
    numbers: dict[FrameKey, int] = {}
    for number, key in enumerate(_keys(rows, "oid")):
        numbers.setdefault(key, number)
    return Frames(rows, numbers)


def _keys(rows: pa.Table, oid: str) -> Iterable[FrameKey]:
    return zip(*(rows.column(name).to_pylist() for name in ("recording_id", "frame_index", oid)), strict=True)


def _told_apart(
    annotations: pa.Table, frames: Frames, recordings: Mapping[Oid, Recording], passed: pa.Table
) -> tuple[pa.Table, pa.Table]:
    """Annotations that are to be judged, with their `content`; and those that passed, with what was made of them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    places = pa.array([frames.numbers.get(key) for key in _keys(annotations, "frame_oid")], pa.int64())
    framed = pc.is_valid(places)
    contents = passing.contents_of(annotations.filter(framed), frames.table.take(places.filter(framed)))
    where = np.flatnonzero(framed.to_numpy(zero_copy_only=False))
    content = np.full(len(annotations), None, object)
    content[where] = contents
    annotations = annotations.append_column("content", pa.array(content, pa.string())).append_column(PLACE, places)
    row = pc.index_in(annotations.column("content"), passed.column("content").combine_chunks())
    owners = annotations.column("recording_id").to_pylist()
    decoded = [recordings[each].frames_decoded if each in recordings else 0 for each in owners]
    known = pc.and_(pc.is_valid(row), pc.less(annotations.column("frame_index"), pa.array(decoded, pa.int64())))
    own = passed.take(row.filter(known)).drop_columns("content")
    held = annotations.filter(known)
    for name in own.schema.names:
        held = held.append_column(name, own.column(name))
    return annotations.filter(pc.invert(known)).drop_columns(PLACE), held


def rows_of(known: pa.Table) -> list[Row]:
    """Some that passed as rows, with what was made of each as `passed`."""
    fields = Passed._fields
    return [
        {**{name: value for name, value in row.items() if name not in fields},
         "passed": Passed(*(row[name] for name in fields))}
        for row in known.to_pylist()
    ]  # fmt: skip


def with_objects(row: Row) -> Row:
    """An annotation as one that is to be judged."""
    return {**row, "passed": None, **_objects(row["text"])}


def in_order(row: Row) -> tuple[Oid, int, str]:
    """What annotations are sorted by."""
    return row["recording_id"], row["frame_index"], row["annotation_id"]


def frame_key(row: Row) -> FrameKey:
    """Which frame an annotation is of."""
    return row["recording_id"], row["frame_index"], row["frame_oid"]


def first_of_each(recordings: Iterable[Recording]) -> dict[Oid, Recording]:
    """One recording per id: the first."""
    found: dict[Oid, Recording] = {}
    for recording in recordings:
        found.setdefault(recording.recording_id, recording)
    return found


def newest_active(rows: pa.Table) -> pa.Table:
    """The newest revision of each annotation, without those whose newest is a cancellation or deletion.

    Label Studio's clock decides which revision is newest; where it says nothing (a deletion changes no time), the order
    in which we saw them.
    """
    import pyarrow.compute as pc

    age = [(name, "descending") for name in ("updated_at", "synced_at", "revision_id")]
    ordered = rows.take(pc.sort_indices(rows, [("annotation_id", "ascending"), *age]))
    names = ordered.column("annotation_id").combine_chunks()
    newest = np.ones(len(ordered), np.bool_)
    newest[1:] = pc.not_equal(names[1:], names[:-1]).to_numpy(zero_copy_only=False)
    active = ordered.filter(newest)
    active = active.filter(pc.equal(active.column("state"), "active"))
    order = [(name, "ascending") for name in ("recording_id", "frame_index", "annotation_id")]
    return active.take(pc.sort_indices(active, order))


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
