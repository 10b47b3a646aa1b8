"""Tombstones: signed records of what was erased, so that what is gone is neither missed nor taken in again.

    tombstones/<donor's mark>.json    one for each donor that was erased, signed; written before anything goes

It names nobody in clear: the donor by a keyed hash (the key stays in the state folder, `tasks.lake.pseudonyms`), and
objects by a hash of their oid or key, which tells whoever has the object that it is meant, and nobody else what it was.
What has to be read without the donor (evidence, evaluations, manifests) was replaced by a copy that does not name them:
a reader who asks for the old oid gets the copy, because a tombstone of ours says so. One that no key trusted here has
signed excuses nothing, and replaces nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from pydantic import Field, ValidationError

from tasks.config import Settings
from tasks.errors import IntegrityError, NotFound, SignatureError
from tasks.lake.object_store import ObjectStore
from tasks.lake.pseudonyms import donor_mark
from tasks.lake.signed import open_json, seal_json
from tasks.schemas import Frozen, Oid

PREFIX = "tombstones/"
KIND = "tombstone"
READMITTED = "readmission"


class LearnedModel(Frozen):
    """A model version that learned from erased data."""

    line: str
    version: str
    dataset_version: Oid
    weights_oid: Oid
    why: str = Field(description="Its own data, or what it was trained on from.")


class Tombstone(Frozen):
    """What was erased of one donor, by whom, and why."""

    schema_version: int = 1
    donor: str = Field(description="Keyed hash of the donor's name.")
    reason: str
    by: str = Field(description="The operating system's user, by uid.")
    at: datetime
    recordings: tuple[str, ...] = Field(description="Hashes (`hidden`) of the recordings' oids.")
    removed: tuple[str, ...] = Field(description="Hashes of the oids, or keys, of what was removed.")
    replaced: dict[str, Oid] = Field(description="Hash of an oid → the oid of the copy that does not name the donor.")
    datasets: dict[str, tuple[Oid, ...]] = Field(description="Line → dataset versions that held the donor.")
    models: tuple[LearnedModel, ...] = Field(description="Their weights stay; they are listed here.")
    counts: dict[str, int] = Field(default_factory=dict)

    @property
    def key(self) -> str:
        """Where it is in the lake's bucket."""
        return tombstone_key(self.donor)

    @property
    def lines(self) -> set[str]:
        """Lines that are to be trained again."""
        return {model.line for model in self.models} | {line for line, held in self.datasets.items() if held}

    def learned(self, line: str, version: str, dataset_version: str) -> bool:
        """Whether a model version learned from what was erased."""
        known = any((model.line, model.version) == (line, version) for model in self.models)
        return known or dataset_version in self.datasets.get(line, ())

    def joined(self, older: Tombstone) -> Tombstone:
        """This one with all that an older one of the same donor names."""
        datasets = {
            line: tuple(sorted({*self.datasets.get(line, ()), *older.datasets.get(line, ())}))
            for line in {*self.datasets, *older.datasets}
        }
        models = {(model.line, model.version): model for model in (*older.models, *self.models)}
        return self.model_copy(
            update={
                "recordings": tuple(sorted({*self.recordings, *older.recordings})),
                "removed": tuple(sorted({*self.removed, *older.removed})),
                "replaced": {**older.replaced, **self.replaced},
                "datasets": datasets,
                "models": tuple(models[one] for one in sorted(models)),
                "counts": {
                    name: max(self.counts.get(name, 0), older.counts.get(name, 0))
                    for name in sorted({*self.counts, *older.counts})
                },
            }
        )


@dataclass(frozen=True)
class Doubtful:
    """A tombstone that is not believed."""

    key: str
    why: str


def hidden(name: str) -> str:
    """A hash that means an oid or a key without naming it."""
    return hashlib.sha256(f"nightscope erased\n{name}".encode()).hexdigest()


def why_erased(tombstone: Tombstone) -> str:
    """Why a recording is refused."""
    return (
        f"it was erased on {tombstone.at:%Y-%m-%d} with all of its donor's data ({tombstone.key}: {tombstone.reason}); "
        "remove it from where it came, or add it with --donor and --readmit if the donor agrees again"
    )


def tombstone_key(mark: str) -> str:
    """Where the tombstone of a donor is, by the donor's mark."""
    return f"{PREFIX}{mark}.json"


class Tombstones:
    """The tombstones of a lake. Read anew each time: they are few.

    Args:
        settings: Whose keys are believed.
        store: The lake's bucket.
    """

    def __init__(self, settings: Settings, store: ObjectStore) -> None:
        self._settings = settings
        self._store = store

    def write(self, tombstone: Tombstone) -> None:
        """Sign it and file it."""
        value = tombstone.model_dump(mode="json")
        data = seal_json(self._settings, KIND, "", tombstone.key, value)
        self._store.put_bytes(tombstone.key, data, "application/json")

    def of(self, donor: str) -> Tombstone | None:
        """The tombstone of a donor, by name; None where there is none of ours."""
        key = tombstone_key(donor_mark(self._settings, donor))
        return next((one for one in self.all() if one.key == key), None)

    def all(self) -> list[Tombstone]:
        """Those that a trusted key signed."""
        return self._read()[0]

    def doubtful(self) -> list[Doubtful]:
        """Those that none did, or that cannot be read."""
        return self._read()[1]

    def replacement(self, oid: Oid) -> Oid | None:
        """The newest copy that stands for an object which named an erased donor."""
        replaced = {old: new for one in self.all() for old, new in one.replaced.items()}
        found, seen = None, set()
        while oid not in seen and (new := replaced.get(hidden(oid))):
            seen.add(oid)
            found = oid = new
        return found

    def naming(self, name: str) -> Tombstone | None:
        """The tombstone that says that the object of this oid (or key) is gone or was replaced."""
        wanted = hidden(name)
        return next((one for one in self.all() if wanted in one.removed or wanted in one.replaced), None)

    def refusing(self) -> dict[str, Tombstone]:
        """Hash of a recording's oid → the tombstone that keeps it out; donors who were admitted again are left out."""
        return {recording: one for one in self.all() if not self.readmitted(one) for recording in one.recordings}

    def readmit(self, tombstone: Tombstone, by: str) -> None:
        """Let a donor's recordings in again. What the tombstone says of what is gone stays true."""
        key = _readmission_key(tombstone)
        value = {"donor": tombstone.donor, "by": by, "erased_at": tombstone.at.isoformat()}
        self._store.put_bytes(key, seal_json(self._settings, READMITTED, "", key, value), "application/json")

    def readmitted(self, tombstone: Tombstone) -> bool:
        """Whether the donor was admitted again after this very erasure."""
        key = _readmission_key(tombstone)
        try:
            value = open_json(self._settings, self._store.get_bytes(key), READMITTED, "", key).value
        except (NotFound, SignatureError):
            return False
        return isinstance(value, dict) and value.get("erased_at") == tombstone.at.isoformat()

    def _read(self) -> tuple[list[Tombstone], list[Doubtful]]:
        good, bad = [], []
        for info in self._store.list(PREFIX):
            if "/" in info.key.removeprefix(PREFIX):
                continue
            try:
                value = open_json(self._settings, self._store.get_bytes(info.key), KIND, "", info.key).value
                one = Tombstone.model_validate_json(json.dumps(value))
                if one.key != info.key:
                    raise IntegrityError(f"{info.key}: is the tombstone of another donor")
                good.append(one)
            except NotFound:
                continue
            except (SignatureError, IntegrityError, ValidationError) as error:
                bad.append(Doubtful(info.key, " ".join(str(error).split())[:300]))
        return good, bad


def excused(tombstones: Iterable[Tombstone], name: str) -> Tombstone | None:
    """Of these tombstones the one that names an object as removed or replaced."""
    wanted = hidden(name)
    return next((one for one in tombstones if wanted in one.removed or wanted in one.replaced), None)


def _readmission_key(tombstone: Tombstone) -> str:
    return f"{PREFIX}readmitted/{tombstone.donor}.json"
