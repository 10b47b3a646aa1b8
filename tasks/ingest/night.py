"""One night's ingest: objects are fetched ahead, read side by side, and committed in batches."""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType

from tasks.config import Line
from tasks.errors import UnreadableRecording
from tasks.escaping import visible_name
from tasks.ingest.arrivals import Arrival, bring
from tasks.ingest.formats import Format, format_of_recording
from tasks.ingest.missing import UNSAMPLED, wanting
from tasks.ingest.reading import Job
from tasks.ingest.recordings import IngestReport
from tasks.ingest.sampling import Rate
from tasks.ingest.stills.taking_in import Stills
from tasks.ingest.storing import store_frames, store_recording
from tasks.ingest.workers import Workers
from tasks.lake import Lake, ObjectInfo
from tasks.lake.quarantine import set_aside
from tasks.lake.tombstones import Tombstone, hidden, why_erased
from tasks.schemas import Frame, Landing, Oid, QuarantineItem, Recording

log = logging.getLogger(__name__)

COMMIT_RECORDINGS = 20
COMMIT_S = 30.0
"""A batch is committed when it has so many landing objects, or is so old."""


@dataclass
class _Batch:
    """Rows of finished work, not committed yet."""

    recordings: list[Recording] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)
    quarantine: list[QuarantineItem] = field(default_factory=list)
    landings: list[Landing] = field(default_factory=list)
    since: float = field(default_factory=time.monotonic)

    def is_due(self) -> bool:
        """Whether it is time to commit."""
        return len(self.landings) >= COMMIT_RECORDINGS or time.monotonic() - self.since > COMMIT_S


@dataclass(frozen=True)
class _Read:
    """What came of one recording: its rows, or a reason."""

    recording: Recording | None = None
    frames: Sequence[Frame] = ()
    reason: str | None = None


class Night:
    """The state of one `ingest_new`. A context manager: its end ends the worker processes.

    Args:
        lake: The lake.
        lines: All lines.
        scratch: An empty folder.
    """

    def __init__(self, lake: Lake, lines: Sequence[Line], scratch: Path) -> None:
        self._lake, self._lines, self._scratch = lake, lines, scratch
        self._workers = Workers(lake.settings.ingest)
        count = lake.settings.workers
        self._readers = ThreadPoolExecutor(count, "ingest-read")
        self._fetchers = ThreadPoolExecutor(count, "ingest-fetch")
        self._ahead = 2 * count
        self._stills = Stills(lake, self._workers, self._readers, partial(wanting, lines), scratch)
        self._known: dict[Oid, tuple[str, str]] = {}
        self._erased: dict[str, Tombstone] = {}
        self._reading: dict[Future[_Read], list[Arrival]] = {}
        self._batch = _Batch()
        self._new: list[Oid] = []
        self._duplicates: list[str] = []
        self._quarantined: list[QuarantineItem] = []
        self._delayed: list[tuple[str, str]] = []
        self._frames = 0

    def __enter__(self) -> Night:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._fetchers.shutdown(cancel_futures=True)
        if kind is not None:
            self._workers.stop()  # what is being read is of no use any more
        self._readers.shutdown(cancel_futures=True)
        self._workers.stop()

    def report(self, *, seconds: float) -> IngestReport:
        """What the night has committed."""
        return IngestReport(
            new=tuple(self._new),
            duplicates=tuple(self._duplicates),
            quarantined=tuple(self._quarantined),
            delayed=tuple(self._delayed),
            frames=self._frames,
            seconds=seconds,
        )

    def take_in(self, arrived: Sequence[ObjectInfo]) -> None:
        """Deal with new objects of the landing bucket, in their order."""
        rows = self._lake.tables.scan("recordings", columns=["recording_id", "name", "landing_key"])
        self._known = {row["recording_id"]: (row["name"], row["landing_key"]) for row in rows.to_pylist()}
        self._erased = self._lake.tombstones.refusing()
        coming, fetching = deque(arrived), deque[Future[Arrival | None]]()
        while coming or fetching or self._reading:
            while coming and len(fetching) + len(self._reading) < 2 * self._ahead:
                fetching.append(self._fetchers.submit(bring, self._lake, coming.popleft(), self._scratch))
            if fetching and len(self._reading) < self._ahead:
                arrival = fetching.popleft().result()
                if arrival is not None:
                    self._receive(arrival)
                self._collect(block=False)
            else:
                self._collect(block=True)
            if self._batch.is_due():
                self._commit()
        self._commit()

    def sample(self, lacking: Mapping[Oid, Sequence[Line]]) -> None:
        """Take frames of recordings that are in the lake, for lines that have none of them."""
        recordings = self._lake.tables.rows("recordings", Recording, {"recording_id": list(lacking)}) if lacking else []
        by_id = {one.recording_id: one for one in recordings}
        for frames, unread in self._stills.sample([one for one in recordings if one.is_still], lacking):
            self._batch.frames.extend(frames)
            for recording_id, reason in unread.items():
                self._cannot_sample(by_id[recording_id], lacking[recording_id], reason)
            self._commit()
        recordings = [one for one in recordings if not one.is_still]
        work = {self._readers.submit(self._sample, one, lacking[one.recording_id]): one for one in recordings}
        while work:
            done, _ = wait(work, timeout=COMMIT_S, return_when=FIRST_COMPLETED)
            for future in done:
                recording, read = work.pop(future), future.result()
                self._batch.frames.extend(read.frames)
                if read.reason is not None:
                    self._cannot_sample(recording, lacking[recording.recording_id], read.reason)
            if self._batch.is_due():
                self._commit()
        self._commit()

    def _cannot_sample(self, recording: Recording, lines: Sequence[Line], why: str) -> None:
        reason = f"its frames cannot be taken from the lake: {why}"
        names = [line.line for line in lines]
        self._set_aside(recording.landing_key, reason, recording.recording_id, {UNSAMPLED: names})

    def _receive(self, arrival: Arrival) -> None:
        """Decide on one object: not here yet, bad, known, on its way already, or to be read."""
        if arrival.delay is not None:
            log.warning("ingest: %s waits for the next night: %s", visible_name(arrival.info.key), arrival.delay)
            self._delayed.append((arrival.info.key, arrival.delay))
        elif arrival.fault is not None or arrival.oid is None:
            self._refuse(arrival, arrival.fault or "it could not be fetched")
        elif arrival.format is Format.STILLS:
            self._take_batch(arrival)
        elif hidden(arrival.oid) in self._erased:
            self._refuse(arrival, why_erased(self._erased[hidden(arrival.oid)]))
        elif arrival.oid in self._known:
            self._recognise(arrival, *self._known[arrival.oid])
        else:
            twins = next((group for group in self._reading.values() if group[0].oid == arrival.oid), None)
            if twins is not None:  # what becomes of the first, becomes of it
                twins.append(arrival)
                _remove(arrival)
            else:
                self._reading[self._readers.submit(self._read, arrival)] = [arrival]

    def _take_batch(self, arrival: Arrival) -> None:
        """Take a batch of stills in, and commit it."""
        try:
            rows = self._stills.take_in(arrival, self._known, self._erased)
        except UnreadableRecording as error:
            self._refuse(arrival, str(error))
            return
        _remove(arrival)
        self._batch.recordings += rows.recordings
        self._batch.frames += rows.frames
        self._batch.quarantine += rows.quarantine
        self._batch.landings += rows.landings
        self._known |= {one.recording_id: (one.name, one.landing_key) for one in rows.recordings}
        self._commit()

    def _collect(self, *, block: bool) -> None:
        """Turn finished readings into rows."""
        done, _ = wait(self._reading, timeout=COMMIT_S if block else 0, return_when=FIRST_COMPLETED)
        for future in done:
            (first, *twins), read = self._reading.pop(future), future.result()
            if read.recording is None:
                for arrival in (first, *twins):
                    self._refuse(arrival, read.reason or "it cannot be read")
                continue
            log.info("ingest: %s is in, %d frames taken", visible_name(first.info.key), len(read.frames))
            self._batch.recordings.append(read.recording)
            self._batch.frames.extend(read.frames)
            self._batch.landings.append(first.landing("ingested", read.recording.recording_id))
            self._known[read.recording.recording_id] = (read.recording.name, first.info.key)
            for twin in twins:
                self._recognise(twin, read.recording.name, first.info.key)

    def _recognise(self, arrival: Arrival, name: str, key: str) -> None:
        """The same content as a recording of the lake: itself (the last night was cut before its end), or again."""
        _remove(arrival)
        if arrival.info.key == key and not self._is_landed(key):
            self._batch.landings.append(arrival.landing("ingested", arrival.oid))
            return
        reason = f"the same content as {name!r} ({key}), whose metadata stay as they are"
        self._batch.landings.append(arrival.landing("duplicate", arrival.oid, reason))

    def _is_landed(self, key: str) -> bool:
        return bool(self._lake.tables.scan("landings", {"key": key}, columns=["key"]).num_rows)

    def _refuse(self, arrival: Arrival, reason: str) -> None:
        _remove(arrival)
        self._set_aside(arrival.info.key, reason, arrival.oid, {"name": arrival.name, "etag": arrival.info.etag})
        self._batch.landings.append(arrival.landing("quarantined", None, reason))

    def _set_aside(self, subject: str, reason: str, recording_id: Oid | None, details: dict[str, object]) -> None:
        log.warning("ingest: %s goes to quarantine: %s", visible_name(subject), visible_name(reason))
        self._batch.quarantine.append(
            QuarantineItem.of("recording", subject, reason, recording_id=recording_id, details=details)
        )

    def _read(self, arrival: Arrival) -> _Read:
        """In a reader's thread: read a recording in its worker process, and store its blobs."""
        if arrival.path is None or arrival.folder is None or arrival.format is None:
            return _Read(reason="it could not be fetched")
        lines = {line.line: Rate.of(line.frames) for line in wanting(self._lines, arrival.said.study)}
        pictures = Path(tempfile.mkdtemp(dir=arrival.folder))
        job = Job(str(arrival.path), arrival.format, str(pictures), rates=lines, fps_hz=arrival.said.fps_hz)
        try:
            outcome = self._workers.read(job)
            if outcome.reason is not None:
                return _Read(reason=outcome.reason)
            recording = store_recording(self._lake, arrival, outcome)
            return _Read(
                recording, store_frames(self._lake, recording.recording_id, outcome.frames, outcome.kept, "sampled")
            )
        finally:
            _remove(arrival)

    def _sample(self, recording: Recording, lines: Sequence[Line]) -> _Read:
        """In a reader's thread: take frames for more lines from a recording's blob."""
        kind = format_of_recording(recording)
        if kind is None:
            return _Read(reason=f"its name {recording.name!r} does not say what it is")
        with tempfile.TemporaryDirectory(dir=self._scratch) as pictures:
            job = Job(
                str(self._lake.blobs.fetch(recording.recording_id)),
                kind,
                pictures,
                rates={line.line: Rate.of(line.frames) for line in lines},
                frames_known=recording.frames_decoded,
                fps_hz=recording.fps_hz,
                grey_range=recording.grey_range,
            )
            outcome = self._workers.read(job)
            if outcome.reason is not None:
                return _Read(reason=outcome.reason)
            frames = store_frames(self._lake, recording.recording_id, outcome.frames, outcome.kept, "sampled")
            return _Read(frames=frames)

    def _commit(self) -> None:
        """Make finished work part of the lake. The landings row is last: only then an object counts as dealt with.

        Each append leaves out rows whose key is there already, so that a night that repeats a cut one adds none twice.
        """
        batch, self._batch = self._batch, _Batch()
        tables = self._lake.tables
        tables.append("recordings", batch.recordings, key="recording_id")
        self._frames += tables.append("frames", batch.frames, key=["line", "recording_id", "frame_index"])
        set_aside(self._lake, batch.quarantine)
        tables.append("landings", batch.landings, key=["key", "etag", "size_bytes", "modified_at"])
        self._new.extend(recording.recording_id for recording in batch.recordings)
        self._duplicates.extend(landing.key for landing in batch.landings if landing.outcome == "duplicate")
        self._quarantined.extend(batch.quarantine)


def _remove(arrival: Arrival) -> None:
    """Free the disk of a fetched object."""
    if arrival.folder is not None:
        shutil.rmtree(arrival.folder, ignore_errors=True)
