"""Recordings of the lake that were not sampled for a line that wants them: a new line, or a night that was cut."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from io import BytesIO

import numpy as np

from tasks.config import Line
from tasks.lake import Lake
from tasks.schemas import Oid

UNSAMPLED = "unsampled_for"
"""Key in a quarantine item's details: lines for which a recording of the lake turned out unreadable."""


def wanting(lines: Sequence[Line], study: str | None) -> list[Line]:
    """The lines that learn from recordings of a study."""
    return [line for line in lines if line.recordings.takes(study)]


def unsampled(lake: Lake, lines: Sequence[Line]) -> dict[Oid, list[Line]]:
    """Recording → lines that want it and have no sampled frame of it. Reads table columns, and no recording."""
    recordings = lake.tables.scan("recordings", columns=["recording_id", "study", "pts_oid"])
    if not recordings.num_rows or not lines:
        return {}
    sampled = _pairs(lake, {"reason": "sampled"})
    found: dict[Oid, list[Line]] = {}
    timestamps: dict[Oid, Oid] = {}
    for row in recordings.to_pylist():
        missing = [line for line in wanting(lines, row["study"]) if (line.line, row["recording_id"]) not in sampled]
        if missing:
            found[row["recording_id"]], timestamps[row["recording_id"]] = missing, row["pts_oid"]
    if not found:
        return {}
    given_up = _given_up(lake)
    labelled = _labelled_frames(lake, list(found))
    return {
        oid: still
        for oid, missing in found.items()
        if (
            still := [
                line
                for line in missing
                if (line.line, oid) not in given_up
                and not _all_there(lake, line, timestamps[oid], labelled.get((line.line, oid), set()))
            ]
        )
    }


def _pairs(lake: Lake, where: Mapping[str, str]) -> set[tuple[str, Oid]]:
    rows = lake.tables.scan("frames", where, columns=["line", "recording_id"])
    distinct = rows.group_by(["line", "recording_id"]).aggregate([])
    return set(zip(distinct.column("line").to_pylist(), distinct.column("recording_id").to_pylist(), strict=True))


def _labelled_frames(lake: Lake, recording_ids: list[Oid]) -> dict[tuple[str, Oid], set[int]]:
    rows = lake.tables.scan("frames", {"recording_id": recording_ids}, columns=["line", "recording_id", "frame_index"])
    there: dict[tuple[str, Oid], set[int]] = defaultdict(set)
    for row in rows.to_pylist():
        there[row["line"], row["recording_id"]].add(row["frame_index"])
    return there


def _all_there(lake: Lake, line: Line, pts_oid: Oid, there: set[int]) -> bool:
    """Whether sampling could only find frames that are there already, taken for labels."""
    if not there:
        return False
    from tasks.ingest.sampling import Rate, candidate_indices  # OpenCV: not in a night with nothing to do

    pts = np.load(BytesIO(lake.blobs.get_bytes(pts_oid)), allow_pickle=False)
    return there.issuperset(candidate_indices(Rate.of(line.frames), pts))


def _given_up(lake: Lake) -> set[tuple[str, Oid]]:
    rows = lake.tables.scan("quarantine", {"what": "recording"}, columns=["recording_id", "details"])
    return {
        (line, row["recording_id"])
        for row in rows.to_pylist()
        for line in json.loads(row["details"] or "{}").get(UNSAMPLED, ())
    }
