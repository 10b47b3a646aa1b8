"""What belongs to a donor."""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

from tasks.config import load_lines
from tasks.errors import ConfigError, DataError, UnreadableRecording
from tasks.evidence.erasure.names import Names
from tasks.ingest import sidecar
from tasks.ingest.stills import batches
from tasks.lake import Lake
from tasks.lake.pseudonyms import donor_mark, known_names
from tasks.lake.tombstones import hidden
from tasks.schemas import SPLITS, Decision, Landing, NightState, Oid, Recording

if TYPE_CHECKING:
    import pyarrow as pa


_STATES = (
    "active", "cancelled", "deleted", "accepted", "sampled", "labelled", "ingested", "duplicate", "quarantined",
    "recording", "frame", "annotation", "object", "night", "promotion", "rollback",
    "champion", "challenger", "previous",
)  # fmt: skip


@dataclass(frozen=True)
class Scope:
    """A donor's recordings, and what was made of them.

    Attributes:
        donor: As the lake has it: a name or a pseudonym.
        clear: As people say it.
        recordings: By oid.
        frames: Pictures that no other donor's frames share.
        blobs: These, recordings, frame times and picture names: blobs that are this donor's alone.
        shared: Blobs that are of others, too: they stay.
        landing: Keys of the landing bucket, sidecars included.
        stills: Batch of stills in the landing bucket → its pictures that are the donor's.
        names: What must not be read any more.
    """

    donor: str
    clear: str
    recordings: dict[Oid, Recording]
    frames: frozenset[Oid]
    blobs: frozenset[Oid]
    shared: frozenset[Oid]
    landing: frozenset[str]
    stills: dict[str, set[str]]
    names: Names

    @property
    def group(self) -> str:
        """As splits have it."""
        return f"donor:{self.donor}"

    @property
    def oids(self) -> frozenset[Oid]:
        """Whatever a report or a result may name."""
        return self.blobs | self.recordings.keys()


def known_donors(lake: Lake) -> list[str]:
    """Donors of the lake and the landing bucket, and the clear names behind their pseudonyms."""
    found = {
        str(name) for name in lake.tables.scan("recordings", columns=["donor"]).column("donor").to_pylist() if name
    }
    found |= {said.donor for _, said in _sidecars(lake) if said.donor}
    found |= {one.donor for _, said in batches.landed(lake) for one in said.pictures.values() if one.donor}
    return sorted(found | {clear for own, clear in known_names(lake.settings).items() if own in found})


def scope_of(lake: Lake, donor: str) -> Scope | None:
    """What belongs to a donor, by name or pseudonym; None where nothing does."""
    aliases = {own for own, clear in known_names(lake.settings).items() if _same(clear, donor)} | {donor}
    everything = lake.tables.rows("recordings", Recording)
    own = {one.recording_id: one for one in everything if one.donor and any(_same(one.donor, a) for a in aliases)}
    said_of = [key for key, said in _sidecars(lake) if said.donor and any(_same(said.donor, a) for a in aliases)]
    stills = _waiting_stills(lake, aliases, own)
    if not own and not said_of and not stills:
        return None
    in_lake = next((one.donor for one in own.values() if one.donor), None)
    in_lake = in_lake or next(a for a in sorted(aliases, key=lambda a: a == donor))
    others = [one for one in everything if one.recording_id not in own]
    theirs = {oid for one in others for oid in (one.recording_id, one.pts_oid, one.frame_names_oid) if oid}
    taken = _frames_taken(lake)
    theirs |= {oid for recording, oid in taken if recording not in own}
    pictures = {oid for recording, oid in taken if recording in own} - theirs
    blobs = pictures | {
        oid for one in own.values() for oid in (one.recording_id, one.pts_oid, one.frame_names_oid) if oid
    }
    landings = [one for one in lake.tables.rows("landings", Landing) if one.recording_id in own]
    keys = {one.key for one in landings} | {one.landing_key for one in own.values()} | set(said_of)
    for batch, member in filter(None, map(batches.parts_of, keys)):
        stills.setdefault(batch, set()).add(member)
    keys |= {f"{batch}/{member}" for batch, members in stills.items() for member in members}
    with_sidecars = keys | {sidecar.key_of(key) for key in keys}
    return Scope(
        donor=in_lake,
        clear=donor,
        recordings=own,
        frames=frozenset(pictures),
        blobs=frozenset(blobs - theirs),
        shared=frozenset(theirs),
        landing=frozenset(with_sidecars),
        stills=stills,
        names=_names(lake, (in_lake, donor), own, keys, others),
    )


def _waiting_stills(lake: Lake, aliases: set[str], own: Mapping[Oid, Recording]) -> dict[str, set[str]]:
    """Batches of stills in the landing bucket that hold pictures of a donor, ingested or not, and which."""
    found: dict[str, set[str]] = {}
    for key, said in batches.landed(lake):
        members = {
            member
            for member, one in said.pictures.items()
            if one.oid in own or (one.donor and any(_same(one.donor, alias) for alias in aliases))
        }
        if members:
            found[key] = members
    return found


def _frames_taken(lake: Lake) -> set[tuple[Oid, Oid]]:
    """Recording and picture of every frame that the tables or a dataset version know."""
    found = set()
    for table, column in (("frames", "oid"), ("annotations", "frame_oid")):
        rows = lake.tables.scan(table, columns=["recording_id", column])
        found |= set(zip(rows.column("recording_id").to_pylist(), rows.column(column).to_pylist(), strict=True))
    for _, _, rows in manifests(lake, ["recording_id", "frame_oid"]):
        found |= set(zip(rows.column("recording_id").to_pylist(), rows.column("frame_oid").to_pylist(), strict=True))
    return found


def manifests(lake: Lake, columns: list[str]) -> Iterator[tuple[str, str, pa.Table]]:
    """Line, version and rows of every dataset version, experiments' included; damaged ones are left out."""
    import pyarrow.parquet as pq

    for info in lake.store.list("datasets/"):
        _, line, version, name = (*info.key.split("/"), "", "", "")[:4]
        if name == "manifest.parquet":
            with suppress(DataError, OSError, ValueError):
                yield line, version, pq.read_table(BytesIO(lake.store.get_bytes(info.key)), columns=columns)


def _names(
    lake: Lake, donor: tuple[str, str], own: dict[Oid, Recording], keys: set[str], others: list[Recording]
) -> Names:
    """Names that are of nobody else, and what stands for each: a hash that tells nothing."""
    called: dict[str, str] = {}
    for oid, one in own.items():
        stand_in = f"erased-{hidden(oid)[:12]}"
        called |= {one.stem: stand_in, one.name: f"{stand_in}{one.name.removeprefix(one.stem)}"}
        called.setdefault(one.landing_key, stand_in)
    for key in keys:
        called.setdefault(key, f"erased-{hidden(key)[:12]}")
        called.setdefault(key.rpartition("/")[2], f"erased-{hidden(key)[:12]}")
    taken = Counter(name for one in others for name in (one.name, one.stem, one.landing_key))
    in_lake, said = donor
    stand_in = f"erased-{donor_mark(lake.settings, in_lake)[:12]}"
    called |= dict.fromkeys({said, known_names(lake.settings).get(in_lake, said)}, stand_in)
    others_too = {name: new for name, new in called.items() if not taken[name]}
    return Names((in_lake, stand_in), others_too, _words(lake))


def _words(lake: Lake) -> set[str]:
    """Words of ours that a name may happen to be: lines, their classes, gates and outcomes."""
    found = {str(one) for kind in (Decision, NightState) for one in kind} | {*SPLITS, *_STATES}
    found |= lines_of(lake)
    for info in lake.store.list("datasets/"):
        if info.key.endswith("/about.json"):
            with suppress(DataError, ValueError, AttributeError):
                found.update(map(str, json.loads(lake.store.get_bytes(info.key)).get("classes") or ()))
    with suppress(ConfigError):
        for line in load_lines(lake.settings.lines_dir):
            found |= {line.line, line.kind, *line.classes, *(gate.id for gate in line.gates)}
    return found


def lines_of(lake: Lake) -> set[str]:
    """Every line that has left something in the lake."""
    places = ("datasets/", "labeling/", "evidence/", "versions/")
    found = {info.key.split("/")[1] for prefix in places for info in lake.store.list(prefix)}
    for table in ("verdicts", "evidence", "splits"):
        found |= {str(one) for one in lake.tables.scan(table, columns=["line"]).column("line").to_pylist() if one}
    return found


def _sidecars(lake: Lake) -> Iterator[tuple[str, sidecar.Sidecar]]:
    """What is said of each object of the landing bucket. A sidecar that cannot be read says nothing."""
    for info in lake.landing.list():
        if info.key.endswith(sidecar.SUFFIX):
            try:
                sidecar.check_size(info.size_bytes)
                yield info.key.removesuffix(sidecar.SUFFIX), sidecar.parse(lake.landing.get_bytes(info.key))
            except UnreadableRecording:
                continue


def _same(one: str, other: str) -> bool:
    return unicodedata.normalize("NFC", one.strip()) == unicodedata.normalize("NFC", other.strip())
