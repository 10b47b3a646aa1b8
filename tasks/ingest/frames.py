"""Extracting single frames of a recording, e.g. those that somebody has labels for."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import Literal

from tasks.errors import NotFound, UnreadableRecording
from tasks.ingest.formats import format_of_recording
from tasks.lake import Lake
from tasks.schemas import Frame, Recording, now

Reason = Literal["sampled", "labelled"]


def take_frames(
    lake: Lake, recording: Recording, line: str, indices: Sequence[int], reason: Reason = "labelled"
) -> list[Frame]:
    """Frames of a recording for a line, exactly those with the given indices.

    What the line has already is returned as it is; what another line has is shared; the rest is decoded, in one pass
    that stops after the last wanted frame.

    Args:
        lake: The lake.
        recording: Of the lake.
        line: For whom.
        indices: 0-based, as decoded in presentation order; any order, repetitions allowed.
        reason: Stands in the new rows.

    Returns:
        One frame per index, in the order given.

    Raises:
        NotFound: The recording has no frame of such an index.
        UnreadableRecording: A frame is too damaged to be decoded; the others are stored.
        StorageUnavailable: S3 or the catalog did not answer.
    """
    outside = sorted({index for index in indices if not 0 <= index < recording.frames_decoded})
    if outside:
        some = ", ".join(map(str, outside[:10])) + (" ..." if len(outside) > 10 else "")
        raise NotFound(
            f"recording {recording.name!r}: no frame {some}",
            expected=f"0 to {recording.frames_decoded - 1} ({recording.frames_decoded} frames)",
            fix="are the labels' frame numbers 1-based? (--frame-base 1)",
        )
    there = _rows(lake, recording, line)
    missing = sorted(set(indices) - there.keys())
    if missing:
        _take(lake, recording, line, missing, reason)
        there = _rows(lake, recording, line)
    lost = sorted(set(indices) - there.keys())
    if lost:
        raise UnreadableRecording(
            f"recording {recording.name!r}: frames {', '.join(map(str, lost))} cannot be decoded",
            fix="leave them out; the others are in the lake",
        )
    return [there[index] for index in indices]


def _rows(lake: Lake, recording: Recording, line: str) -> dict[int, Frame]:
    rows = lake.tables.rows("frames", Frame, {"recording_id": recording.recording_id, "line": line})
    return {frame.frame_index: frame for frame in rows}


def _take(lake: Lake, recording: Recording, line: str, indices: list[int], reason: Reason) -> None:
    where = {"recording_id": recording.recording_id, "frame_index": indices}
    shared = {frame.frame_index: frame for frame in lake.tables.rows("frames", Frame, where)}
    at = now()
    frames = [
        frame.model_copy(update={"line": line, "reason": reason, "taken_at": at}) for _, frame in sorted(shared.items())
    ]
    frames += _decoded(lake, recording, line, [index for index in indices if index not in shared], reason)
    lake.tables.append("frames", frames, key=["line", "recording_id", "frame_index"])


def _decoded(lake: Lake, recording: Recording, line: str, indices: list[int], reason: Reason) -> list[Frame]:
    if not indices:
        return []
    from tasks.ingest.reading import Job
    from tasks.ingest.storing import store_frames
    from tasks.ingest.workers import Workers

    kind = format_of_recording(recording)
    if kind is None:
        raise UnreadableRecording(f"recording {recording.name!r}: its name does not say what it is")
    path = lake.blobs.fetch(recording.recording_id)
    lake.settings.work_dir.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=lake.settings.work_dir, prefix="frames-") as folder,
        Workers(lake.settings.ingest) as workers,
    ):
        job = Job(
            str(path), kind, folder, indices=indices, frames_known=recording.frames_decoded, fps_hz=recording.fps_hz,
            grey_range=recording.grey_range,
        )  # fmt: skip
        outcome = workers.read(job)
        if outcome.reason is not None:
            raise UnreadableRecording(f"recording {recording.name!r}: {outcome.reason}")
        taken = [frame.frame_index for frame in outcome.frames]
        return store_frames(lake, recording.recording_id, outcome.frames, {line: taken}, reason)
