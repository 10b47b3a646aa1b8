"""Putting recordings into the landing bucket: `nightscope add`.

Nothing is decoded here. What is damaged lands too, and the night says what is wrong with it; only what can be no
recording at all by its name is refused.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tasks.errors import ConfigError, IntegrityError
from tasks.ingest import packing, sidecar
from tasks.ingest.formats import IMAGE_SUFFIXES, format_of, supported
from tasks.ingest.names import safe_name, split_suffix
from tasks.ingest.naming import Naming
from tasks.ingest.sidecar import Sidecar
from tasks.lake import Lake
from tasks.lake.blobs import hash_file
from tasks.lake.tombstones import Tombstone, hidden, why_erased
from tasks.schemas import Frozen, Oid, Recording, Split, faults_of

_TIFF_SUFFIXES = (".tif", ".tiff")


class Accepted(Frozen):
    """A recording that landed, and where."""

    path: str
    key: str


class Refused(Frozen):
    """Something that did not land, and why."""

    path: str
    reason: str


class AddReport(Frozen):
    """What became of what was to be added."""

    accepted: tuple[Accepted, ...] = ()
    refused: tuple[Refused, ...] = ()


@dataclass(frozen=True)
class Found:
    """A file, or a folder whose `images` are one recording."""

    path: Path
    images: tuple[Path, ...] = ()


def landing_key(study: str | None, oid: Oid, name: str) -> str:
    """Where a recording lands: the same content and name of the same study always at the same key."""
    return f"{safe_name(study or 'unsorted', fallback='unsorted')}/{oid[:12]}/{safe_name(name)}"


def add(
    lake: Lake,
    paths: Sequence[Path],
    *,
    study: str | None = None,
    donor: str | None = None,
    um_per_px: float | None = None,
    split: Split | None = None,
    fps_hz: float | None = None,
    pseudonyms: bool = False,
) -> AddReport:
    """Put recordings into the landing bucket, each with its metadata beside it.

    Folders are walked. A folder of images (or of single-page TIFF files) is one recording, packed into one file. Hidden
    files are passed over. Adding the same again with the same metadata changes nothing.

    Args:
        lake: Where to.
        paths: Files and folders.
        study: All of them belong to this one.
        donor: The person or animal that all of them come from.
        um_per_px: Micrometres per pixel.
        split: Pins their group to a split.
        fps_hz: Frames per second, for stacks and folders of images, which may not state it.
        pseudonyms: Donor, file and picture names are replaced before anything leaves this machine.

    Raises:
        ConfigError: The metadata is wrong; nothing was added.
        StorageUnavailable: The landing bucket cannot be written; what landed before stays, adding again goes on.
    """
    found = (each for path in paths for each in _found_in(Path(path)))
    said = metadata(study=study, donor=donor, um_per_px=um_per_px, split=split, fps_hz=fps_hz)
    return add_found(lake, found, said, pseudonyms=pseudonyms)


def metadata(**values: Any) -> Sidecar:
    """What is said about recordings.

    Raises:
        ConfigError: Naming every value that is wrong.
    """
    try:
        return Sidecar(**values)
    except ValidationError as error:
        raise ConfigError(f"add: {faults_of(error)}") from error


def add_found(
    lake: Lake, recordings: Iterable[Found | Refused], said: Sidecar, *, pseudonyms: bool = False
) -> AddReport:
    """Put what was found into the landing bucket; see `add`."""
    own = Naming(lake.settings, said.donor) if pseudonyms else None
    if own:
        said = said.model_copy(update={"donor": own.donor})
    # A machine that only brings recordings sees no lake: there, the night looks at both when it takes them in.
    erased = {} if lake.settings.only_brings else lake.tombstones.refusing()
    accepted, refused = [], []
    for found in recordings:
        if isinstance(found, Refused):
            refused.append(found)
            continue
        try:
            accepted.append(Accepted(path=_shown(found.path), key=_land(lake, found, said, erased, own)))
        except (_Refusal, IntegrityError) as error:
            refused.append(Refused(path=_shown(found.path), reason=str(error)))
        except OSError as error:
            refused.append(Refused(path=_shown(found.path), reason=f"cannot be read: {error.strerror or error}"))
    return AddReport(accepted=tuple(accepted), refused=tuple(refused))


class _Refusal(Exception):
    """The lake holds the recording already, and knows it otherwise; or it was erased."""


def _land(lake: Lake, found: Found, said: Sidecar, erased: Mapping[str, Tombstone], own: Naming | None) -> str:
    def put(path: Path, name: str) -> str:
        oid = hash_file(path)
        if hidden(oid) in erased:
            raise _Refusal(why_erased(erased[hidden(oid)]))
        if own:
            name = own.file(name)
            own.keep()
        return _put(lake, path, name, oid, said)

    if not found.images:
        return put(found.path, found.path.name)
    lake.settings.work_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=lake.settings.work_dir, prefix="packing-") as folder:
        packed = Path(folder) / "packed"
        packing.pack(found.images, packed, own)
        return put(packed, found.path.resolve().name + packing.SUFFIX)


def _put(lake: Lake, path: Path, name: str, oid: Oid, said: Sidecar) -> str:
    name = safe_name(name)
    _must_not_contradict(lake, oid, said)
    key = landing_key(said.study, oid, name)
    beside = said.model_copy(update={"name": name}).as_bytes()
    there = lake.landing.head(key)
    if there is not None and there.size_bytes == path.stat().st_size and _same_sidecar(lake, key, beside):
        return key
    # The sidecar first: a recording that is there has its metadata.
    lake.landing.put_bytes(sidecar.key_of(key), beside, "application/json")
    lake.landing.put_file(key, path, sha256=oid)
    return key


def _must_not_contradict(lake: Lake, oid: Oid, said: Sidecar) -> None:
    """An ingested recording keeps its metadata: splits and dataset versions rest on it. A silent 'no' would mislead."""
    if lake.settings.only_brings:
        return
    for known in lake.tables.rows("recordings", Recording, {"recording_id": oid}):
        held = {
            "study": known.study, "donor": known.donor, "um_per_px": known.um_per_px, "split": known.pinned_split
        }  # fmt: skip
        differing = [
            f"{field} {held[field]!r}, not {value!r}"
            for field, value in said.model_dump(include=set(held)).items()
            if value is not None and value != held[field]
        ]
        if differing:
            raise _Refusal(
                f"is in the lake already, as {known.name}, with {', '.join(differing)}; what was said of a recording "
                "when it was ingested stays"
            )


def _same_sidecar(lake: Lake, key: str, data: bytes) -> bool:
    info = lake.landing.head(sidecar.key_of(key))
    return info is not None and info.size_bytes == len(data) and lake.landing.get_bytes(info.key) == data


def _found_in(path: Path) -> Iterator[Found | Refused]:
    if path.is_dir():
        recordings = list(_walk(path))
        yield from recordings or [Refused(path=_shown(path), reason="holds no recording")]
    elif not path.exists():
        yield Refused(path=_shown(path), reason="there is no such file or folder")
    elif not path.is_file():
        yield Refused(path=_shown(path), reason="is neither a file nor a folder")
    else:
        yield _single(path)


def _single(path: Path) -> Found | Refused:
    if format_of(path.name) is not None:
        return Found(path)
    suffix = split_suffix(path.name)[1].lower()
    if suffix in IMAGE_SUFFIXES:
        reason = "is a single image; add the folder that holds all images of the recording"
    elif suffix == sidecar.SUFFIX or path.name.endswith(sidecar.SUFFIX):
        reason = "is a sidecar, not a recording; give its values as options"
    else:
        reason = f"the suffix {suffix or '(none)'!r} is no recording's; expected {supported()}"
    return Refused(path=_shown(path), reason=reason)


def _walk(folder: Path) -> Iterator[Found | Refused]:
    """A folder's recordings, depth first, in order of their names."""
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from found_among(Path(where), names)


def found_among(where: Path, names: Sequence[str]) -> Iterator[Found | Refused]:
    """The recordings among the files of one folder, in order of their names; hidden files are passed over."""
    files = [where / name for name in sorted(names) if not is_hidden(name)]
    images = [path for path in files if split_suffix(path.name)[1].lower() in IMAGE_SUFFIXES]
    pictures = [path for path in images if path.suffix.lower() not in _TIFF_SUFFIXES]
    if not pictures:
        pages = [path for path in images if _is_single_page(path)]
        pictures = pages if len(pages) > 1 else []
    if pictures:
        yield Found(where, tuple(pictures))
    packed = set(pictures)
    for path in files:
        if path not in packed:
            yield _single(path) if path.is_file() else Refused(path=_shown(path), reason="is not a file")


def is_hidden(name: str) -> bool:
    """Whether a name is a system's own business (.DS_Store, macOS' ._clip.mp4). A recording may begin with a dot."""
    return name.startswith("._") or (name.startswith(".") and format_of(name) is None)


def _is_single_page(path: Path) -> bool:
    """Whether a TIFF is one picture, and so a frame of a folder of them. A damaged one is a recording of its own."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as tiff:
            return len(tiff.pages) == 1 and set(tiff.series[0].axes) <= set("YXS")
    except Exception:  # whatever damage does to a reader of tags: the night says what is wrong with it
        return False


def _shown(path: Path) -> str:
    """A path for reports: bytes that are no UTF-8 become marks, so that it can be printed and be JSON."""
    return os.fsencode(path).decode("utf-8", "replace")
