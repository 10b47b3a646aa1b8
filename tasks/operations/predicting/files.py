"""A model on pictures, folders and videos, one frame at a time: a recording of hours takes no more memory."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any

from tasks.config import IngestLimits
from tasks.errors import DataError, UnreadableRecording
from tasks.ingest.formats import STILL_SUFFIXES, SUFFIXES, Format
from tasks.ingest.names import natural_key, split_suffix
from tasks.ingest.streaming import FrameStream
from tasks.kind import Row
from tasks.operations.predicting.loading import LoadedModel

log = logging.getLogger(__name__)

WHERE = ("file", "frame_index", "time_s")
"""Which frame a row is of: the file as it was named, the frame from 0, and its time; None where the file has none."""
_IN_MEMORY = 2**20


@dataclass(frozen=True)
class Predicted:
    """A file that was read to its end.

    Attributes:
        file: As it was named.
        frames: Looked at.
        rows: Of all its frames, in order. A frame that shows nothing has one row of its own, all values None.
    """

    file: str
    frames: int
    rows: Iterable[Row]


@dataclass(frozen=True)
class Unreadable:
    """A file that nothing is said of, and why."""

    file: str
    reason: str


def predict_files(
    loaded: LoadedModel,
    paths: Sequence[Path],
    limits: IngestLimits,
    *,
    every: int = 1,
    min_score: float | None = None,
) -> Iterator[Predicted | Unreadable]:
    """Predict on files, and on all pictures and recordings in folders.

    A picture is decoded by a process of its own first, within the limits. Where its frame then shows less than its file
    holds, a model that is trained on pictures as they were taken is given it so.

    Args:
        loaded: The model.
        paths: Pictures (PNG, JPEG, BMP, TIFF, WebP), videos, stacks, or folders of them.
        limits: What one file may ask of this machine.
        every: Of a video or a stack every n-th frame.
        min_score: As `LoadedModel.rows`.

    Yields:
        What became of each file, in order. A file that turns out damaged at its end has no rows at all.

    Raises:
        StorageUnavailable: This machine is short of something.
    """
    with FrameStream(limits, loaded.line.channels) as stream:
        for path in files_of(paths):
            with SpooledTemporaryFile(_IN_MEMORY, "w+", encoding="utf-8") as kept:
                rows = _Rows(kept)
                try:
                    frames = _look(loaded, stream, path, every, min_score, rows)
                except UnreadableRecording as error:
                    yield Unreadable(str(path), str(error))
                    continue
                except OSError as error:
                    yield Unreadable(str(path), f"cannot be read: {error.strerror or error}")
                    continue
                yield Predicted(str(path), frames, rows)


def files_of(paths: Sequence[Path]) -> Iterator[Path]:
    """The files that are named, and in folders those whose suffix is a picture's or a recording's, in natural order."""
    known = {*SUFFIXES, *STILL_SUFFIXES}
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        inside = (found for found in path.rglob("*") if not _is_hidden(found.relative_to(path)) and found.is_file())
        yield from sorted(
            (found for found in inside if split_suffix(found.name)[1].lower() in known),
            key=lambda found: natural_key(str(found)),
        )


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def _look(
    loaded: LoadedModel, stream: FrameStream, path: Path, every: int, min_score: float | None, rows: _Rows
) -> int:
    """Predict on one file; returns how many frames were looked at."""
    path.stat()  # raises of what is not there, whose suffix is beside the point
    kind = stream.format_of(path)
    if kind is Format.STILL:
        _say(rows, loaded, _as_taken(loaded, stream, path), min_score, (str(path), 0, None))
        return 1
    frames = 0
    for frame in stream.frames(path, kind, every=every):
        if frame is None:
            rows.clear()
            frames = 0
            continue
        frames += 1
        _say(rows, loaded, frame.image, min_score, (str(path), frame.frame_index, frame.pts_s))
    return frames


def _as_taken(loaded: LoadedModel, stream: FrameStream, path: Path) -> Any:
    """What the model is given of a file that is one picture: the frame, or what its own `read_original` reads."""
    still = stream.still(path)
    read_original = getattr(loaded.predictor, "read_original", None)
    if read_original is None or not (still.deep or loaded.line.channels):
        return still.image
    try:
        return read_original(path)
    except DataError as error:
        raise UnreadableRecording(error.thing, expected=error.expected, found=error.found, fix=error.fix) from error


def _say(rows: _Rows, loaded: LoadedModel, image: Any, min_score: float | None, where: tuple[Any, ...]) -> None:
    place = dict(zip(WHERE, where, strict=True))
    for row in loaded.rows(image, min_score) or [dict.fromkeys(loaded.columns)]:
        rows.append(place | row)


class _Rows:
    """Rows of one file, on the disk where they are many."""

    def __init__(self, file: SpooledTemporaryFile[str]) -> None:
        self._file = file

    def append(self, row: Row) -> None:
        """Add a row."""
        self._file.write(json.dumps(row) + "\n")

    def clear(self) -> None:
        """Forget all."""
        self._file.seek(0)
        self._file.truncate()

    def __iter__(self) -> Iterator[Row]:
        self._file.seek(0)
        for line in self._file:
            yield json.loads(line)
