"""Reading one recording, whatever it is: the work of one job, as it runs in a worker process.

A job and its outcome are plain data, so that they can cross a process border; pictures and timestamps cross as files.
"""

from __future__ import annotations

import errno
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tasks.config import IngestLimits
from tasks.errors import UnreadableRecording
from tasks.ingest.formats import Format, check_content
from tasks.ingest.images import MediaType
from tasks.ingest.media import Media
from tasks.ingest.sampling import Extractor, Pts, Rate, Sampler, Sink
from tasks.ingest.watching import FILE, Region, Watcher

MACHINE_IS_SHORT = {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE}
"""What no recording can be blamed for."""


@dataclass(frozen=True)
class Job:
    """What to read, and what of it.

    Attributes:
        path: The recording, a local file.
        format: What it claims to be.
        folder: Where pictures and timestamps go; exists and is empty.
        rates: Line → how it samples. No line: only timestamps.
        indices: Frames to extract instead of sampling.
        watch: See the whole recording in small instead, this part of its picture; goes to `watching.FILE`.
        frames_known: `frames_decoded` of an earlier reading.
        fps_hz: What the user states, for stacks.
        grey_range: `Recording.grey_range` of an earlier reading, by which frames must be stretched again.
        limits: What it may ask of this machine.
        channels: Of a still of several channels, which is what; None: unknown; empty: such a still is refused.
    """

    path: str
    format: Format
    folder: str
    rates: dict[str, Rate] = field(default_factory=dict)
    indices: list[int] | None = None
    watch: Region | None = None
    frames_known: int | None = None
    fps_hz: float | None = None
    grey_range: tuple[float, float] | None = None
    limits: IngestLimits = field(default_factory=IngestLimits)
    channels: dict[str, int] | None = None

    def as_data(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "limits": self.limits.model_dump()}

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Job:
        """From JSON."""
        rates = {line: Rate(**rate) for line, rate in data["rates"].items()}
        grey_range = tuple(data["grey_range"]) if data.get("grey_range") else None
        limits = IngestLimits(**data["limits"])
        changed = {"rates": rates, "format": Format(data["format"]), "grey_range": grey_range, "limits": limits}
        return cls(**{**data, **changed})


@dataclass(frozen=True)
class TakenFrame:
    """A picture in the job's folder."""

    frame_index: int
    pts_s: float | None
    file: str
    media_type: MediaType
    width_px: int
    height_px: int
    phash: int


@dataclass(frozen=True)
class Outcome:
    """What came of a job: either a reason why the recording is unreadable, or what it holds."""

    reason: str | None = None
    media: Media | None = None
    pts_file: str | None = None
    frames: tuple[TakenFrame, ...] = ()
    kept: dict[str, list[int]] = field(default_factory=dict)
    crashed: bool = False  # the worker died, perhaps not by the recording's fault: another try may read it

    def as_data(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Outcome:
        """From JSON."""
        media = Media(**data["media"]) if data["media"] else None
        return cls(**{**data, "media": media, "frames": tuple(TakenFrame(**frame) for frame in data["frames"])})


def read(job: Job) -> Outcome:
    """Do a job. A bad recording is an outcome, not an exception."""
    sink = _sink(job)
    folder = Path(job.folder)
    found = decode(job, sink)
    if isinstance(found, str):
        return Outcome(reason=found)
    media, pts = found
    if isinstance(sink, Watcher):
        sink.save(folder / FILE)
    frames = []
    for picture in sink.pictures:
        file = folder / f"{picture.frame_index:08d}.{picture.media_type.removeprefix('image/')}"
        file.write_bytes(picture.data)
        pts_s = None if np.isnan(picture.pts_s) else picture.pts_s
        frames.append(
            TakenFrame(
                frame_index=picture.frame_index,
                pts_s=pts_s,
                file=str(file),
                media_type=picture.media_type,
                width_px=picture.width_px,
                height_px=picture.height_px,
                phash=picture.phash,
            )
        )
    if job.format is Format.STILL:  # all have the same: no time
        return Outcome(None, media, None, tuple(frames), sink.kept if isinstance(sink, Sampler) else {})
    pts_file = folder / "pts.npy"
    np.save(pts_file, pts.astype("<f8"), allow_pickle=False)
    return Outcome(None, media, str(pts_file), tuple(frames), sink.kept if isinstance(sink, Sampler) else {})


def decode(job: Job, sink: Sink) -> tuple[Media, Pts] | str:
    """Decode a job's recording into a sink.

    Returns:
        What it is and when its frames are shown; or the reason why it is unreadable.

    Raises:
        OSError: This machine is short of something: no recording's fault.
    """
    path = Path(job.path)
    try:
        check_content(path, job.format)
        if job.format in (Format.TIFF, Format.IMAGES, Format.STILL):
            from tasks.ingest import stacks

            return stacks.read(
                path, job.format, sink, fps_hz=job.fps_hz, grey_range=job.grey_range, limits=job.limits,
                channels=job.channels,
            )  # fmt: skip
        from tasks.ingest import video

        return video.read(
            path, job.format, sink, frames_known=job.frames_known, grey_range=job.grey_range, limits=job.limits
        )
    except UnreadableRecording as error:
        return str(error)
    except Exception as error:  # decoders fail in ways of their own: one recording's fault, never the night's end
        if isinstance(error, OSError) and error.errno in MACHINE_IS_SHORT:
            raise
        if is_for_want_of_memory(error):
            return out_of_memory(job.limits)
        return f"the decoder failed on it ({type(error).__name__}: {str(error)[:300]}); export it again"


def is_for_want_of_memory(error: Exception) -> bool:
    """Whether a decoder could not get the memory it asked for; each says so in its own way."""
    return (
        isinstance(error, MemoryError)
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
        or "nsufficient memory" in str(error)
    )  # OpenCV's


def out_of_memory(limits: IngestLimits) -> str:
    """The reason for quarantine."""
    return (
        f"reading it took more than {limits.memory_mb} MB of memory; export it in smaller parts, or raise "
        "NIGHTSCOPE_INGEST__MEMORY_MB"
    )


def _sink(job: Job) -> Sampler | Extractor | Watcher:
    if job.watch is not None:
        return Watcher(job.watch)
    return Sampler(job.rates) if job.indices is None else Extractor(job.indices)
