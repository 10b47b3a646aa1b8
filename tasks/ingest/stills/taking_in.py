"""A night's stills: a batch becomes recordings of one frame each.

All pictures of a batch are taken out of it and hashed; those that are new are decoded a hundred or so at a time in the
worker processes, and stored side by side. The same picture again is a duplicate, named; a bad one goes to quarantine by
its own name. What comes back are rows: the night commits them once for the batch.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import TypeVar

import numpy as np

from tasks.config import Line
from tasks.errors import DataError, UnreadableRecording
from tasks.escaping import visible_name
from tasks.ingest.arrivals import Arrival
from tasks.ingest.formats import STILL_SUFFIXES, Format
from tasks.ingest.limits import Budget
from tasks.ingest.names import natural_key, safe_name, split_suffix
from tasks.ingest.packing import check_entries
from tasks.ingest.reading import Job, Outcome
from tasks.ingest.sampling import Rate
from tasks.ingest.sidecar import BatchSidecar, StillLabels
from tasks.ingest.stills import batches
from tasks.ingest.storing import frame_row, recording_row
from tasks.ingest.workers import Workers
from tasks.lake import Lake
from tasks.lake.tombstones import Tombstone, hidden, why_erased
from tasks.schemas import Frame, Landing, Oid, QuarantineItem, Recording, now

log = logging.getLogger(__name__)

A = TypeVar("A")
AT_ONCE = 128
AT_ONCE_BYTES = 2**26
"""Pictures that one question to a worker holds."""
_Sampled = tuple[list[Frame], dict[Oid, str]]
_DAMAGE = (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, NotImplementedError)


@dataclass
class Rows:
    """What came of a batch.

    Attributes:
        recordings: New ones.
        frames: Of these, for the lines that want them.
        quarantine: Pictures that were set aside.
        landings: A row for each duplicate, and one for the batch itself, last.
    """

    recordings: list[Recording] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)
    quarantine: list[QuarantineItem] = field(default_factory=list)
    landings: list[Landing] = field(default_factory=list)


@dataclass(frozen=True)
class Still:
    """A picture on its way: taken out of its batch, not yet read.

    Attributes:
        member: Its name in the batch.
        path: Its bytes, on disk.
        oid: Their sha256.
    """

    member: str
    path: Path
    oid: Oid
    labels: StillLabels


class Stills:
    """Takes stills in.

    Args:
        lake: Where to.
        workers: Read pictures.
        threads: That ask the workers.
        wanting: Study → the lines that learn from it.
        scratch: A folder.
    """

    def __init__(
        self,
        lake: Lake,
        workers: Workers,
        threads: Executor,
        wanting: Callable[[str | None], Sequence[Line]],
        scratch: Path,
    ) -> None:
        self._lake, self._workers, self._threads = lake, workers, threads
        self._wanting, self._scratch = wanting, scratch
        self._pts_oid: Oid | None = None

    def take_in(self, arrival: Arrival, known: Mapping[Oid, tuple[str, str]], erased: Mapping[str, Tombstone]) -> Rows:
        """Deal with a batch.

        Args:
            arrival: The batch, on disk.
            known: Oid → name and landing key of what the lake has.
            erased: Hash of an oid → the tombstone that keeps it out.

        Raises:
            UnreadableRecording: It is no batch, or asks for more than this machine gives.
        """
        rows, fresh = Rows(), dict[Oid, Still]()
        again: list[tuple[Still, str, str]] = []
        with tempfile.TemporaryDirectory(dir=self._scratch) as folder:
            for member, still in self._unpacked(arrival, Path(folder)):
                if isinstance(still, str):
                    self._refuse(rows, arrival, member, None, still)
                elif hidden(still.oid) in erased:
                    self._refuse(rows, arrival, member, still.oid, why_erased(erased[hidden(still.oid)]))
                elif still.oid in known:
                    again.append((still, *known[still.oid]))
                elif still.oid in fresh:
                    first = fresh[still.oid].member
                    again.append((still, first.rpartition("/")[2], _key(arrival, first)))
                else:
                    fresh[still.oid] = still
            chunks = _chunks(list(fresh.values()))
            read = self._threads.map(lambda chunk: self._read(arrival, chunk), chunks)
            bad: dict[Oid, str] = {}
            for recordings, frames, unreadable in read:
                rows.recordings += recordings
                rows.frames += frames
                bad |= unreadable
        for oid, reason in bad.items():
            self._refuse(rows, arrival, fresh[oid].member, oid, reason)
        for still, name, key in again:
            if still.oid in bad:
                self._refuse(rows, arrival, still.member, still.oid, bad[still.oid])
            elif key != _key(arrival, still.member):  # else it is itself: the last night was cut before its end
                reason = f"the same content as {name!r} ({key}), whose metadata stay as they are"
                landing = arrival.landing("duplicate", still.oid, reason)
                rows.landings.append(landing.model_copy(update={"key": _key(arrival, still.member)}))
        rows.landings.append(arrival.landing("ingested", None, f"a batch of {len(rows.recordings)} new stills"))
        log.info(
            "ingest: %s is in, %d new pictures, %d known, %d set aside",
            visible_name(arrival.info.key), len(rows.recordings), len(rows.landings) - 1, len(rows.quarantine),
        )  # fmt: skip
        return rows

    def sample(self, recordings: Sequence[Recording], lacking: Mapping[Oid, Sequence[Line]]) -> Iterator[_Sampled]:
        """Frames of stills that are in the lake, for lines that have none of them.

        Yields:
            A hundred or so at a time: frames, and why there is none of others.
        """
        for chunk in _parts(recordings, AT_ONCE * 4):
            shared = self._shared(chunk)
            frames = [
                shared[one.recording_id].model_copy(update={"line": line.line, "reason": "sampled", "taken_at": now()})
                for one in chunk
                if one.recording_id in shared
                for line in lacking[one.recording_id]
            ]
            unread: dict[Oid, str] = {}
            rest = [one for one in chunk if one.recording_id not in shared]
            parts = _parts(rest, AT_ONCE)
            for more, bad in self._threads.map(lambda part: self._read_again(part, lacking), parts):
                frames += more
                unread |= bad
            yield frames, unread

    def _shared(self, recordings: Sequence[Recording]) -> dict[Oid, Frame]:
        wanted = {"recording_id": [one.recording_id for one in recordings], "frame_index": 0}
        return {frame.recording_id: frame for frame in self._lake.tables.rows("frames", Frame, wanted)}

    def _unpacked(self, arrival: Arrival, folder: Path) -> Iterator[tuple[str, Still | str]]:
        """The batch's pictures, on disk, in natural order of their names; a reason where one cannot be taken out."""
        if arrival.path is None or not isinstance(arrival.said, BatchSidecar):
            raise UnreadableRecording("it could not be fetched")
        try:
            with zipfile.ZipFile(arrival.path) as archive:
                yield from _members(archive, arrival.said, folder, self._budget(arrival.path))
        except (zipfile.BadZipFile, NotImplementedError) as error:
            raise UnreadableRecording(f"the batch of stills cannot be read ({error})", fix="add them again") from error

    def _budget(self, path: Path) -> Budget:
        return Budget(self._lake.settings.ingest, path.stat().st_size)

    def _read(self, arrival: Arrival, chunk: Sequence[Still]) -> tuple[list[Recording], list[Frame], dict[Oid, str]]:
        """In a thread: read pictures in its worker process, and store them."""
        with tempfile.TemporaryDirectory(dir=self._scratch) as folder:
            jobs = [
                _job(still.path, Path(folder), number, self._wanting(still.labels.study))
                for number, still in enumerate(chunk)
            ]
            outcomes = self._workers.read_many(jobs)
            bad = {s.oid: o.reason for s, o in zip(chunk, outcomes, strict=True) if o.reason is not None}
            good = [(s, o) for s, o in zip(chunk, outcomes, strict=True) if o.reason is None]
            self._lake.blobs.put_many((still.path.read_bytes() for still, _ in good), absent=True)
            frames = self._store_frames([(still.oid, outcome) for still, outcome in good])
            pts_oid = self._no_time()
            recordings = [_recording(arrival, still, outcome, pts_oid) for still, outcome in good]
        for still in chunk:
            still.path.unlink(missing_ok=True)
        return recordings, frames, bad

    def _read_again(
        self, chunk: Sequence[Recording], lacking: Mapping[Oid, Sequence[Line]]
    ) -> tuple[list[Frame], dict[Oid, str]]:
        """In a thread: take the frames of pictures of the lake."""
        bad: dict[Oid, str] = {}
        paths: dict[Oid, Path] = {}
        for one in chunk:
            try:
                paths[one.recording_id] = self._lake.blobs.fetch(one.recording_id)
            except DataError as error:
                bad[one.recording_id] = error.thing
        there = [one for one in chunk if one.recording_id in paths]
        with tempfile.TemporaryDirectory(dir=self._scratch) as folder:
            jobs = [
                _job(paths[one.recording_id], Path(folder), number, lacking[one.recording_id], one.grey_range)
                for number, one in enumerate(there)
            ]
            outcomes = self._workers.read_many(jobs)
            read = list(zip((one.recording_id for one in there), outcomes, strict=True))
            bad |= {oid: outcome.reason for oid, outcome in read if outcome.reason is not None}
            return self._store_frames([(oid, outcome) for oid, outcome in read if outcome.reason is None]), bad

    def _store_frames(self, read: Sequence[tuple[Oid, Outcome]]) -> list[Frame]:
        """Store what annotators see of pictures. Where that is the picture's own file, the lake has it already."""
        at, frames, stored = now(), list[Frame](), list[bytes]()
        for recording_id, outcome in read:
            for taken in outcome.frames:
                data = Path(taken.file).read_bytes()
                oid = hashlib.sha256(data).hexdigest()
                if oid != recording_id:
                    stored.append(data)
                timeless = replace(taken, pts_s=None)
                frames += [
                    frame_row(timeless, line, recording_id, oid, "sampled", at)
                    for line, kept in outcome.kept.items()
                    if taken.frame_index in kept
                ]
        self._lake.blobs.put_many(stored, absent=True)
        return frames

    def _no_time(self) -> Oid:
        """The blob of a still's timestamps: one, and no number. All stills share it."""
        if self._pts_oid is None:
            sink = BytesIO()
            np.save(sink, np.full(1, np.nan, "<f8"), allow_pickle=False)
            self._pts_oid = self._lake.blobs.put_bytes(sink.getvalue())
        return self._pts_oid

    @staticmethod
    def _refuse(rows: Rows, arrival: Arrival, member: str, oid: Oid | None, reason: str) -> None:
        key = _key(arrival, member)
        log.warning("ingest: %s goes to quarantine: %s", visible_name(key), visible_name(reason))
        details = {"name": member, "etag": arrival.info.etag}
        rows.quarantine.append(QuarantineItem.of("recording", key, reason, recording_id=oid, details=details))


def _members(
    archive: zipfile.ZipFile, said: BatchSidecar, folder: Path, budget: Budget
) -> Iterator[tuple[str, Still | str]]:
    budget.count(len(archive.infolist()))
    entries = [entry for entry in archive.infolist() if _is_picture(entry.filename)]
    check_entries(archive, entries)
    for number, entry in enumerate(sorted(entries, key=lambda one: natural_key(one.filename))):
        member = entry.filename
        budget.inflate(entry.file_size)
        path = folder / str(number)
        if entry.file_size > batches.MAX_PICTURE_BYTES:
            yield member, f"it has {entry.file_size} bytes; expected a picture of at most {batches.MAX_PICTURE_BYTES}"
            continue
        try:
            oid = _unpack(archive, entry, path)
        except _DAMAGE as error:
            path.unlink(missing_ok=True)
            yield member, f"it cannot be taken out of its batch ({error}); add it again"
            continue
        yield member, Still(member, path, oid, said.of(member))


def _unpack(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path) -> Oid:
    """Write an entry to a file; the sha256 of its bytes."""
    digest, left = hashlib.sha256(), entry.file_size + 1  # by numbers: without, it inflates whatever comes
    with archive.open(entry) as packed, path.open("wb") as file:
        while left > 0 and (data := packed.read(min(left, 2**20))):
            digest.update(data)
            file.write(data)
            left -= len(data)
    return digest.hexdigest()


def _chunks(stills: Sequence[Still]) -> list[list[Still]]:
    """Pictures that are read, and held in memory, together: so many, or so large."""
    found: list[list[Still]] = []
    room = 0
    for still in stills:
        size_bytes = still.path.stat().st_size
        if not found or len(found[-1]) >= AT_ONCE or size_bytes > room:
            found.append([])
            room = AT_ONCE_BYTES
        found[-1].append(still)
        room -= size_bytes
    return found


def _parts(items: Sequence[A], size: int) -> list[Sequence[A]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _is_picture(name: str) -> bool:
    parts = name.replace("\\", "/").split("/")
    hidden_ = parts[0] == "__MACOSX" or parts[-1].startswith(".")
    return not hidden_ and split_suffix(parts[-1])[1].lower() in STILL_SUFFIXES


def _key(arrival: Arrival, member: str) -> str:
    """Where a picture landed: its batch's key, and its name in it."""
    return f"{arrival.info.key}/{member}"


def _job(
    path: Path, folder: Path, number: int, lines: Sequence[Line], grey_range: tuple[float, float] | None = None
) -> Job:
    own = folder / str(number)
    own.mkdir()
    rates = {line.line: Rate.of(line.frames) for line in lines}
    # All lines share what annotators see of a still: it is coloured as the first line says that names its channels.
    channels = next((line.channels for line in lines if line.channels), {})
    return Job(str(path), Format.STILL, str(own), rates=rates, grey_range=grey_range, channels=channels)


def _recording(arrival: Arrival, still: Still, outcome: Outcome, pts_oid: Oid) -> Recording:
    media, labels = outcome.media, still.labels
    if media is None:
        raise UnreadableRecording(f"picture {still.member!r}: {outcome.reason}")
    name = safe_name(still.member.replace("\\", "/").rpartition("/")[2], fallback="picture")
    timeless = replace(
        media, fps_hz=None, variable_frame_rate=False, duration_s=None, frames_announced=1, frames_decoded=1
    )
    return recording_row(
        timeless,
        labels,
        recording_id=still.oid,
        name=name,
        landing_key=_key(arrival, still.member),
        pts_oid=pts_oid,
        size_bytes=still.path.stat().st_size,
    )
