"""Showing recordings of the lake: whole ones in small, or single frames. For the leak audit.

Like all reading, decoding happens in worker processes, which may crash.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from tasks.errors import DataError
from tasks.ingest.formats import format_of_recording
from tasks.ingest.reading import Job, Outcome
from tasks.ingest.watching import FILE, Clip, Region, load
from tasks.ingest.workers import Workers
from tasks.lake import Lake
from tasks.schemas import Oid, Recording


class Viewer:
    """Shows recordings of a lake. A context manager: its end ends the worker processes.

    Args:
        lake: Where the recordings are.

    Attributes:
        crashed: Recordings that could not be watched because the worker died; another try may see them.
    """

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._workers = Workers(lake.settings.ingest)
        self._threads = ThreadPoolExecutor(lake.settings.workers, "watch")
        self._known: dict[Oid, Recording] = {}
        self.crashed: set[Oid] = set()

    def __enter__(self) -> Viewer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._workers.stop()
        self._threads.shutdown(cancel_futures=True)
        self._workers.stop()

    def watch(self, wanted: Sequence[tuple[Oid, Region]]) -> Iterator[tuple[Oid, Clip | str]]:
        """See recordings, side by side.

        Args:
            wanted: Which recordings, and which part of their pictures the thumbnails show.

        Yields:
            In their order: the recording's id, and the clip, or the reason why there is none.

        Raises:
            StorageUnavailable: S3 did not answer, or this machine has no room.
        """
        self._learn([recording for recording, _ in wanted])
        ahead = 2 * self._lake.settings.workers  # not all at once: a long clip takes 25 MB
        for start in range(0, len(wanted), ahead):
            yield from self._threads.map(lambda one: (one[0], self._watch(*one)), wanted[start : start + ahead])

    def pictures(self, wanted: Mapping[Oid, Sequence[int]]) -> dict[tuple[Oid, int], bytes]:
        """Single frames as picture files (JPEG or PNG). What cannot be shown is left out: a report does without it."""
        self._learn(list(wanted))
        found: dict[tuple[Oid, int], bytes] = {}
        taken = self._threads.map(lambda one: (one[0], self._take(one[0], list(one[1]))), wanted.items())
        for recording, pictures in taken:
            found |= {(recording, index): data for index, data in pictures.items()}
        return found

    def _learn(self, recordings: Sequence[Oid]) -> None:
        unknown = sorted(set(recordings) - self._known.keys())
        if unknown:
            rows = self._lake.tables.rows("recordings", Recording, {"recording_id": unknown})
            self._known |= {row.recording_id: row for row in rows}

    def _watch(self, recording: Oid, region: Region) -> Clip | str:
        with self._scratch() as folder:
            outcome = self._read(recording, folder, watch=region)
            if isinstance(outcome, str):
                return outcome
            return load(Path(folder) / FILE)

    def _take(self, recording: Oid, indices: list[int]) -> dict[int, bytes]:
        with self._scratch() as folder:
            outcome = self._read(recording, folder, indices=indices)
            if isinstance(outcome, str):
                return {}
            return {frame.frame_index: Path(frame.file).read_bytes() for frame in outcome.frames}

    def _read(self, oid: Oid, folder: str, **what: Any) -> Outcome | str:
        recording = self._known.get(oid)
        if recording is None:
            return "the lake has no recording of this id"
        kind = format_of_recording(recording)
        if kind is None:
            return "its name does not say what it is"
        try:
            path = self._lake.blobs.fetch(oid)
        except DataError as error:
            return error.thing
        job = Job(
            str(path), kind, folder, frames_known=recording.frames_decoded, fps_hz=recording.fps_hz,
            grey_range=recording.grey_range,
        )  # fmt: skip
        outcome = self._workers.read(replace(job, **what))
        if outcome.crashed:
            self.crashed.add(oid)
        return outcome if outcome.reason is None else outcome.reason

    def _scratch(self) -> tempfile.TemporaryDirectory[str]:
        self._lake.settings.work_dir.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(dir=self._lake.settings.work_dir, prefix="watch-")
