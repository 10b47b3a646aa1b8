"""From what a worker has read to blobs, then to the rows that name them: no row names what is not there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Literal

from tasks.errors import UnreadableRecording
from tasks.ingest import picture_names
from tasks.ingest.arrivals import Arrival
from tasks.ingest.media import Media
from tasks.ingest.names import split_suffix
from tasks.ingest.phash import as_text
from tasks.ingest.reading import Outcome, TakenFrame
from tasks.ingest.sidecar import Sidecar, StillLabels
from tasks.lake import Lake
from tasks.schemas import Frame, Oid, Recording, now

Reason = Literal["sampled", "labelled"]


def store_recording(lake: Lake, arrival: Arrival, outcome: Outcome) -> Recording:
    """Store a recording's file and timestamps; the row for it.

    Raises:
        UnreadableRecording: The outcome holds no recording.
    """
    media = outcome.media
    if media is None or outcome.pts_file is None or arrival.path is None:
        raise UnreadableRecording(f"recording {arrival.name!r}: {outcome.reason}")
    return recording_row(
        media,
        arrival.said,
        recording_id=lake.blobs.put_file(arrival.path),
        name=arrival.name,
        landing_key=arrival.info.key,
        pts_oid=lake.blobs.put_file(Path(outcome.pts_file)),
        size_bytes=arrival.info.size_bytes,
        frame_names_oid=None if media.frame_names is None else picture_names.store(lake, media.frame_names),
    )


def recording_row(
    media: Media,
    said: Sidecar | StillLabels,
    *,
    recording_id: Oid,
    name: str,
    landing_key: str,
    pts_oid: Oid,
    size_bytes: int,
    frame_names_oid: Oid | None = None,
) -> Recording:
    """The row of a recording, whose blobs are stored: what was read of it, and what was said of it."""
    return Recording(
        recording_id=recording_id,
        name=name,
        stem=split_suffix(name)[0],
        landing_key=landing_key,
        study=said.study,
        donor=said.donor,
        um_per_px=said.um_per_px or media.um_per_px,
        pinned_split=said.split,
        container=media.container,
        codec=media.codec,
        width_px=media.width_px,
        height_px=media.height_px,
        fps_hz=media.fps_hz,
        variable_frame_rate=media.variable_frame_rate,
        duration_s=media.duration_s,
        frames_announced=media.frames_announced,
        frames_decoded=media.frames_decoded,
        pts_oid=pts_oid,
        frame_names_oid=frame_names_oid,
        size_bytes=size_bytes,
        ingested_at=now(),
        grey_low=media.grey_low,
        grey_high=media.grey_high,
    )


def store_frames(
    lake: Lake, recording_id: Oid, taken: Iterable[TakenFrame], lines: Mapping[str, Iterable[int]], reason: Reason
) -> list[Frame]:
    """Store pictures; a row for each line that keeps each.

    Args:
        lake: Where to.
        recording_id: What they are frames of.
        taken: The pictures, on disk.
        lines: Line → frame indices it keeps.
        reason: Why they were taken.
    """
    pictures = {frame.frame_index: frame for frame in taken}
    oids: dict[int, Oid] = {}
    for media_type in sorted({frame.media_type for frame in pictures.values()}):
        of_type = [frame for frame in pictures.values() if frame.media_type == media_type]
        # Read as they are uploaded: all frames of a recording need not fit into memory.
        stored = lake.blobs.put_many((Path(frame.file).read_bytes() for frame in of_type), media_type)
        oids.update(zip((frame.frame_index for frame in of_type), stored, strict=True))
    at = now()
    return [
        frame_row(pictures[index], line, recording_id, oids[index], reason, at)
        for line, indices in lines.items()
        for index in indices
    ]


def frame_row(taken: TakenFrame, line: str, recording_id: Oid, oid: Oid, reason: Reason, at: datetime) -> Frame:
    """The row of a picture that a line keeps."""
    return Frame(
        line=line,
        recording_id=recording_id,
        frame_index=taken.frame_index,
        oid=oid,
        media_type=taken.media_type,
        pts_s=taken.pts_s,
        width_px=taken.width_px,
        height_px=taken.height_px,
        phash=as_text(taken.phash),
        reason=reason,
        taken_at=at,
    )
