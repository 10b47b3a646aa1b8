"""Recordings in a lake, and copies of them made in every way that people make copies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks.ingest.phash import as_text, perceptual_hash
from tasks.lake import Lake
from tasks.schemas import Frame, Recording, Split, now
from tests.ingest.clips import write_clip

Picture = npt.NDArray[np.uint8]
FPS_HZ = 25


def pictures_of(path: Path) -> list[Picture]:
    """All frames of a video, grey."""
    with av.open(str(path)) as container:
        return [np.asarray(frame.to_ndarray(format="gray"), np.uint8) for frame in container.decode(video=0)]


def write(path: Path, pictures: Sequence[Picture], crf: int = 20, fps_hz: int = FPS_HZ) -> Path:
    """Encode pictures as h264."""
    even = [np.ascontiguousarray(p[: p.shape[0] // 2 * 2, : p.shape[1] // 2 * 2]) for p in pictures]
    return write_clip(path, len(even), fps_hz=fps_hz, options={"crf": str(crf)}, picture=lambda number: even[number])


def cropped(pictures: Sequence[Picture], left: float, top: float, right: float, bottom: float) -> list[Picture]:
    """With these fractions of the sides cut off."""
    height, width = pictures[0].shape
    down, across = (
        slice(int(top * height), int((1 - bottom) * height)),
        slice(int(left * width), int((1 - right) * width)),
    )
    return [picture[down, across] for picture in pictures]


def resized(pictures: Sequence[Picture], width: int, height: int) -> list[Picture]:
    return [np.asarray(cv2.resize(p, (width, height), interpolation=cv2.INTER_AREA), np.uint8) for p in pictures]


@dataclass(frozen=True)
class Copy:
    """How a copy is made."""

    what: str
    make: Callable[[Sequence[Picture]], Sequence[Picture]]
    crf: int = 28
    fps_hz: int = FPS_HZ


def _enlarged(pictures: Sequence[Picture]) -> list[Picture]:
    height, width = pictures[0].shape
    return resized(cropped(pictures, 0.15, 0.15, 0.1, 0.15), width, height)


COPIES = (
    Copy("encoded again, badly", lambda p: p, crf=36),
    Copy("halved", lambda p: resized(p, p[0].shape[1] // 2, p[0].shape[0] // 2)),
    Copy("every second frame", lambda p: p[::2], fps_hz=FPS_HZ // 2),
    Copy("brightened", lambda p: [np.clip(x * 0.8 + 40, 0, 255).astype(np.uint8) for x in p]),
    Copy("start and end cut off", lambda p: p[len(p) // 5 : -len(p) // 5]),
    Copy("its first half cut off", lambda p: p[len(p) // 2 :]),
    Copy("a tenth cut off the left", lambda p: cropped(p, 0.1, 0, 0, 0)),
    Copy("a fifth cut off each side", lambda p: cropped(p, 0.1, 0.1, 0.1, 0.1)),
    Copy("30 % cut off left and bottom", lambda p: cropped(p, 0.3, 0, 0, 0.3)),
    Copy("cropped and enlarged again", _enlarged),
    Copy("cropped and trimmed", lambda p: cropped(p[len(p) // 5 : -len(p) // 5], 0.1, 0.1, 0.1, 0.1)),
)


def put_recording(lake: Lake, path: Path, donor: str | None = None, name: str | None = None) -> Recording:
    """Store a video as ingest does; its row."""
    pictures = pictures_of(path)
    height, width = pictures[0].shape
    with av.open(str(path)) as container:
        fps_hz = float(container.streams.video[0].average_rate or FPS_HZ)
    return Recording(
        recording_id=lake.blobs.put_file(path), name=name or path.name, stem=Path(name or path.name).stem,
        landing_key=path.name, donor=donor, container="mp4", codec="h264", width_px=width, height_px=height,
        fps_hz=fps_hz, frames_announced=len(pictures), frames_decoded=len(pictures), pts_oid="0" * 64,
        size_bytes=path.stat().st_size, ingested_at=now(),
    )  # fmt: skip


def put_frames(lake: Lake, recording: Recording, path: Path, every: int = 10, line: str = "cells") -> list[Frame]:
    """Store every so manieth frame; the rows."""
    frames = []
    for index, picture in list(enumerate(pictures_of(path)))[::every]:
        data = bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 95])[1])
        frames.append(
            Frame(
                line=line, recording_id=recording.recording_id, frame_index=index, oid=lake.blobs.put_bytes(data),
                media_type="image/jpeg", pts_s=index / FPS_HZ, width_px=recording.width_px,
                height_px=recording.height_px, phash=as_text(perceptual_hash(picture)), reason="sampled",
                taken_at=now(),
            )
        )  # fmt: skip
    return frames


def rows_of(recording: Recording, frames: Sequence[Frame], split: Split) -> list[dict[str, Any]]:
    """Their rows of a split dataset."""
    return [
        {
            "split": split, "group": recording.group, "recording_id": recording.recording_id,
            "recording_name": recording.name, "frame_index": frame.frame_index, "frame_oid": frame.oid,
        }
        for frame in frames
    ]  # fmt: skip


def dataset(lake: Lake, placed: Sequence[tuple[Path, Split, str | None]], every: int = 10) -> pa.Table:
    """Videos in splits, each with a donor: the rows to audit."""
    recordings = [put_recording(lake, path, donor) for path, _, donor in placed]
    frames = [put_frames(lake, own, path, every) for own, (path, _, _) in zip(recordings, placed, strict=True)]
    lake.tables.append("recordings", recordings)
    lake.tables.append("frames", [frame for own in frames for frame in own])
    rows = []
    for recording, own, (_, split, _) in zip(recordings, frames, placed, strict=True):
        rows += rows_of(recording, own, split)
    return pa.Table.from_pylist(rows)
