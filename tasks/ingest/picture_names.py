"""Which picture of a folder of images each frame is, by its name.

A label that says `scan_0012` means the picture of that name, wherever it lies in the folder. So the names are kept when
the folder is ingested, one for each frame that decodes: a picture that is missing, damaged or lies there as well moves
no other's name.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence

from tasks.errors import IntegrityError, NotFound, UnreadableRecording
from tasks.lake import Lake
from tasks.schemas import Oid, Recording


def store(lake: Lake, names: Sequence[str]) -> Oid:
    """Keep the names of a folder's pictures, one for each frame; the blob."""
    # Names in a ZIP may hold what is no Unicode.
    clean = [name.encode("utf-8", "replace").decode() for name in names]
    return lake.blobs.put_json(clean)


def picture_names(lake: Lake, recording: Recording) -> list[str]:
    """The names of the pictures of a folder of images, one for each frame.

    Recordings that were ingested before names were kept are read again.

    Raises:
        UnreadableRecording: It cannot be read (any more), or is no folder of images.
        NotFound, IntegrityError: The lake does not hold what it should.
        StorageUnavailable: S3 did not answer.
    """
    if recording.frame_names_oid is None:
        names = _read_again(lake, recording)
    else:
        names = _stored(lake, recording.frame_names_oid)
    if len(names) != recording.frames_decoded:
        raise UnreadableRecording(
            f"recording {recording.name!r}: its pictures and its frames differ in number",
            expected=f"{recording.frames_decoded} names",
            found=str(len(names)),
            fix="add the folder again under another name",
        )
    return names


def _stored(lake: Lake, oid: Oid) -> list[str]:
    try:
        names = json.loads(lake.blobs.get_bytes(oid))
    except ValueError as error:
        raise IntegrityError(f"blob {oid}: is no list of picture names ({error})") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise IntegrityError(f"blob {oid}: is no list of picture names")
    return names


def _read_again(lake: Lake, recording: Recording) -> list[str]:
    from tasks.ingest.formats import format_of
    from tasks.ingest.reading import Job
    from tasks.ingest.workers import Workers

    kind = format_of(recording.name)
    if kind is None:
        raise NotFound(f"recording {recording.name!r}: its name does not say what it is")
    path = lake.blobs.fetch(recording.recording_id)
    lake.settings.work_dir.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=lake.settings.work_dir, prefix="names-") as folder,
        Workers(lake.settings.ingest) as workers,
    ):
        outcome = workers.read(Job(str(path), kind, folder, indices=[], fps_hz=recording.fps_hz))
    if outcome.media is None or outcome.media.frame_names is None:
        reason = outcome.reason or "it is no folder of images"
        raise UnreadableRecording(f"recording {recording.name!r}: {reason}")
    return list(outcome.media.frame_names)
