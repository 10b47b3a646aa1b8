"""`nightscope add --stills`: pictures become batches in the landing bucket."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import ValidationError

from tasks.errors import ConfigError
from tasks.escaping import visible_name
from tasks.ingest.landing import Accepted, Refused
from tasks.ingest.naming import Naming
from tasks.ingest.sidecar import StillLabels
from tasks.ingest.stills import batches
from tasks.ingest.stills.batches import Packer, safe_member
from tasks.ingest.stills.grouping import groups_of
from tasks.ingest.stills.sources import Source, Unread, opened
from tasks.lake import Lake
from tasks.lake.pseudonyms import known_names, pseudonym, remember_all
from tasks.lake.tombstones import Tombstone, hidden, why_erased
from tasks.schemas import Frozen, Landing, Oid, Recording, Split, faults_of

_LABELS = ("study", "donor", "um_per_px", "split")


class StillsReport(Frozen):
    """What became of pictures that were to be added.

    Attributes:
        accepted: Pictures that are in the landing bucket or the lake, and where.
        refused: Pictures that are not, and why.
        new: How many of the accepted were not there before.
        batches: Objects that landed.
        groups: How many groups the accepted ones are of; a picture without one counts as one.
        masks: Files that are masks of the pictures, which are no samples.
        passed_over: Other files that are no pictures.
        absent: File names of the CSV (`--group-by csv:`) that are no picture here.
    """

    accepted: tuple[Accepted, ...] = ()
    refused: tuple[Refused, ...] = ()
    new: int = 0
    batches: int = 0
    groups: int = 0
    masks: int = 0
    passed_over: int = 0
    absent: tuple[str, ...] = ()


def add_stills(
    lake: Lake,
    places: Sequence[str],
    *,
    group_by: str | None = None,
    study: str | None = None,
    donor: str | None = None,
    um_per_px: float | None = None,
    split: Split | None = None,
    pseudonyms: bool = False,
) -> StillsReport:
    """Put pictures into the landing bucket, each a sample of its own, in batches.

    A picture that is there already, or waits there, does not land again; one that waits gets the new metadata. Killed
    anywhere and called again, it ends the same.

    Args:
        lake: Where to.
        places: Folders, ZIP files, `s3://bucket/prefix`.
        group_by: `folder`, `csv:COLUMN`, `csv:FILE:COLUMN`, or a regular expression (see `grouping`).
        study: All of them belong to this one.
        donor: All of them come from this one.
        um_per_px: Micrometres per pixel.
        split: Pins their groups to a split.
        pseudonyms: Groups, folders and files are replaced by pseudonyms before anything leaves this machine.

    Raises:
        ConfigError: The metadata, a place or the grouping is wrong; nothing was added.
        StorageUnavailable: S3 did not answer; what landed before stays, adding again goes on.
    """
    if donor and group_by:
        raise ConfigError("add --stills: both --donor and --group-by", fix="say one: a group is kept as the donor")
    said = _checked({"study": study, "donor": donor, "um_per_px": um_per_px, "split": split})
    work = _Work(lake, _Names(lake, pseudonyms), _Known.of(lake))
    plans = []
    for place in places:  # all are looked at before anything lands
        with opened(lake, place) as source:
            plans.append(_plan(source, place, said, group_by, work.names))
    lake.settings.work_dir.mkdir(parents=True, exist_ok=True)
    with work:
        for place, plan in zip(places, plans, strict=True):
            with opened(lake, place) as source:
                work.add(source, plan)
        work.land()
    work.amend()
    groups = {label.donor or oid for oid, label in work.taken.items()}
    return StillsReport(
        accepted=tuple(work.accepted),
        refused=tuple(work.refused),
        new=work.new,
        batches=work.batches,
        groups=len(groups),
        masks=sum(plan.masks for plan in plans),
        passed_over=sum(plan.passed_over for plan in plans),
        absent=tuple(name for plan in plans for name in plan.absent),
    )


@dataclass(frozen=True)
class _Plan:
    """What is known of a place before its pictures are read: labels by picture."""

    place: str
    labels: Mapping[str, StillLabels]
    masks: int
    passed_over: int
    absent: tuple[str, ...]


def _plan(source: Source, place: str, said: StillLabels, group_by: str | None, names: _Names) -> _Plan:
    if group_by is None:
        label = said.model_copy(update={"donor": names.donor(said.donor)})
        return _Plan(place, dict.fromkeys(source.pictures, label), source.masks, source.others, ())
    groups = groups_of(source, group_by)
    made = {
        group: _checked({**said.model_dump(include=set(_LABELS)), "donor": names.donor(group)})
        for group in set(groups.of.values())
    }
    labels = {path: made[groups.of[path]] for path in source.pictures}
    return _Plan(place, labels, source.masks, source.others, groups.absent)


def _checked(values: Mapping[str, object]) -> StillLabels:
    try:
        return StillLabels.model_validate(values)
    except ValidationError as error:
        given = repr({name: value for name, value in values.items() if value})
        raise ConfigError(f"add --stills: {faults_of(error)}", found=given) from error


class _Names:
    """What groups and pictures are called outside of this machine."""

    def __init__(self, lake: Lake, pseudonyms: bool) -> None:
        self._settings, self._pseudonyms = lake.settings, pseudonyms
        self._known = known_names(lake.settings)
        self._by_donor: dict[str | None, Naming] = {}

    def donor(self, name: str | None) -> str | None:
        """A group's name.

        Raises:
            ConfigError: This machine knows it by a pseudonym, and it was given in clear.
        """
        if name is None:
            return None
        if not self._pseudonyms:
            if self._known and pseudonym(self._settings, "donor", name) in self._known:
                raise ConfigError(
                    f"add --stills: the donor {name!r} has a pseudonym here, and would become a second donor by the "
                    "clear name",
                    fix="say --pseudonym, too",
                )
            return name
        naming = Naming(self._settings, name)
        self._by_donor[naming.donor] = naming
        return naming.donor

    def member(self, donor: str | None, path: str) -> str:
        """A picture's name in its batch."""
        return self._of(donor).member(safe_member(path)) if self._pseudonyms else safe_member(path)

    def batch(self, name: str) -> str:
        """A batch's name."""
        return self._of(None).file(name) if self._pseudonyms else name

    def _of(self, donor: str | None) -> Naming:
        if donor not in self._by_donor:
            self._by_donor[donor] = Naming(self._settings, None)
        return self._by_donor[donor]

    def keep(self) -> None:
        """Have what was given so far remembered, before it is used."""
        given = {donor or "": naming.given() for donor, naming in self._by_donor.items() if naming.given()}
        if given:
            remember_all(self._settings, given)


@dataclass
class _Waiting:
    """A picture in a batch of the landing bucket."""

    key: str
    member: str
    label: StillLabels


@dataclass
class _Known:
    """Pictures that are there already.

    Attributes:
        lake: Oid → recording of the lake.
        names: (oid, stem) under which pictures are known, of the lake and of the landing bucket.
        waiting: Oid → where it waits in the landing bucket, or waited.
        labels: Batch's key → what is said about its pictures.
        erased: Hash of an oid → the tombstone that keeps it out.
    """

    lake: dict[Oid, Recording] = field(default_factory=dict)
    names: set[tuple[Oid, str]] = field(default_factory=set)
    waiting: dict[Oid, _Waiting] = field(default_factory=dict)
    labels: dict[str, dict[str, StillLabels]] = field(default_factory=dict)
    erased: Mapping[str, Tombstone] = field(default_factory=dict)

    @classmethod
    def of(cls, lake: Lake) -> _Known:
        known = cls() if lake.settings.only_brings else cls._in(lake)
        for key, said in batches.landed(lake):
            known.labels[key] = dict(said.pictures)
            for member, label in said.pictures.items():
                if label.oid is not None:
                    known.waiting.setdefault(label.oid, _Waiting(key, member, label))
                    known.names.add((label.oid, member.rpartition("/")[2]))
        return known

    @classmethod
    def _in(cls, lake: Lake) -> _Known:
        """What the lake knows; a machine that only brings recordings does not see it, and the night looks."""
        known = cls(erased=lake.tombstones.refusing())
        for recording in lake.tables.rows("recordings", Recording):
            known.lake[recording.recording_id] = recording
            known.names.add((recording.recording_id, recording.name))
        for landing in lake.tables.rows("landings", Landing, {"outcome": "duplicate"}):
            if landing.recording_id is not None:
                known.names.add((landing.recording_id, landing.key.rpartition("/")[2]))
        return known


@dataclass
class _Batch:
    """Pictures of one study that land together, of as many places as there is room for.

    Attributes:
        packer: Holds them.
        study: That all are of.
        name: Of the first place.
        inside: What each is called before the user, and in the batch.
    """

    packer: Packer
    study: str | None
    name: str
    inside: list[tuple[str, str]] = field(default_factory=list)


class _Work:
    """One addition, as it goes on."""

    def __init__(self, lake: Lake, names: _Names, known: _Known) -> None:
        self._lake, self.names, self._known = lake, names, known
        self.accepted: list[Accepted] = []
        self.refused: list[Refused] = []
        self.taken: dict[Oid, StillLabels] = {}
        self._first: dict[Oid, str] = {}
        self._amended: dict[str, dict[str, StillLabels]] = defaultdict(dict)
        self._batch: _Batch | None = None
        self.new = self.batches = 0

    def __enter__(self) -> _Work:
        return self

    def __exit__(self, *_: object) -> None:
        if self._batch:
            self._batch.packer.close()

    def add(self, source: Source, plan: _Plan) -> None:
        """Read a place's pictures, and pack those that are new; full batches land."""
        members: set[str] = set()
        # What came since the plan was made waits for the next addition.
        for path, data in source.read([path for path in source.pictures if path in plan.labels]):
            shown = visible_name(f"{plan.place.rstrip('/')}/{path}")
            if isinstance(data, Unread):
                self.refused.append(Refused(path=shown, reason=data.reason))
                continue
            label = plan.labels[path].model_copy(update={"oid": hashlib.sha256(data).hexdigest()})
            member = self.names.member(label.donor, path)
            if not self._must_land(shown, member, label):
                continue
            if self._batch and member in self._batch.packer.labels and member not in members:
                self.land()  # another place has a picture of that name, and both keep it
            members.add(member)
            batch = self._batch = self._batch or _Batch(Packer(self._lake.settings.work_dir), label.study, source.name)
            batch.inside.append((shown, batch.packer.add(member, data, label)))
            if batch.packer.is_full:
                self.land()

    def land(self) -> None:
        """Land what is packed."""
        if self._batch is None:
            return
        batch, self._batch = self._batch, None
        with batch.packer as packer:
            called = self.names.batch(batch.name)
            self.names.keep()
            key = packer.land(self._lake, batch.study, called)
        self.accepted += [Accepted(path=shown, key=f"{key}/{member}") for shown, member in batch.inside]
        self.new += len(batch.inside)
        self.batches += 1

    def _must_land(self, shown: str, member: str, label: StillLabels) -> bool:
        """Whether a picture has to land: it may, and is not there yet by this name."""
        oid = label.oid or ""
        refusal = self._refusal(shown, oid, label)
        if refusal:
            self.refused.append(Refused(path=shown, reason=refusal))
            return False
        self._first.setdefault(oid, shown)
        self.taken.setdefault(oid, label)
        name = (oid, member.rpartition("/")[2])
        recording, waiting = self._known.lake.get(oid), self._known.waiting.get(oid)
        if name not in self._known.names:
            self._known.names.add(name)
            return True
        key = recording.landing_key if recording else f"{waiting.key}/{waiting.member}" if waiting else member
        self.accepted.append(Accepted(path=shown, key=key))
        if recording is None and waiting is not None and _differing(waiting.label, label):
            changed = {name: value for name, value in label if value is not None}
            self._amended[waiting.key][waiting.member] = waiting.label.model_copy(update=changed)
        return False

    def _refusal(self, shown: str, oid: Oid, label: StillLabels) -> str | None:
        tombstone = self._known.erased.get(hidden(oid))
        if tombstone is not None:
            return why_erased(tombstone)
        recording = self._known.lake.get(oid)
        if recording is not None:
            held = StillLabels.model_construct(
                study=recording.study,
                donor=recording.donor,
                um_per_px=recording.um_per_px,
                split=recording.pinned_split,
            )
            differing = _differing(held, label)
            if differing:
                return (
                    f"is in the lake already, as {recording.name}, with {differing}; what was said of a recording when "
                    "it was ingested stays"
                )
        first = self.taken.get(oid)
        if first is not None and (differing := _differing(first, label, both=True)):
            return f"is the same picture as {self._first[oid]}, with {differing}: keep the one that is right"
        return None

    def amend(self) -> None:
        """Write the new metadata of pictures that wait."""
        if self._amended:
            self.names.keep()
        for key, changed in self._amended.items():
            batches.put_labels(self._lake, key, self._known.labels[key] | changed)


def _differing(held: StillLabels, said: StillLabels, *, both: bool = False) -> str:
    """What is said otherwise, in words; empty: nothing. What is not said contradicts nothing, unless `both`."""
    return ", ".join(
        f"{name} {getattr(held, name)!r}, not {getattr(said, name)!r}"
        for name in _LABELS
        if (both or getattr(said, name) is not None) and getattr(said, name) != getattr(held, name)
    )
