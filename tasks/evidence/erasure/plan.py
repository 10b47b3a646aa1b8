"""Every object of the lake that has to go, or to be replaced by a copy that does not name the donor.

All objects but images, weights and tables are read: what names a donor, and where, is known for certain only then.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple

from tasks.errors import DataError, NightscopeError, NotFound, SignatureError
from tasks.escaping import plain_text
from tasks.evaluation.evaluation import Evaluation
from tasks.evidence.bundle import decode
from tasks.evidence.erasure.scope import Scope, manifests
from tasks.labeling import state as labeling_state
from tasks.lake import Lake
from tasks.lake.blobs import BLOBS, named, oids_in
from tasks.lake.datasets import encode
from tasks.lake.object_store import ObjectInfo
from tasks.lake.pseudonyms import donor_mark
from tasks.lake.signed import is_signed, open_json, seal_json
from tasks.lake.tombstones import PREFIX, LearnedModel, Tombstone, hidden
from tasks.registry.erasing import SHOWS_FRAMES
from tasks.schemas import Oid, QuarantineItem, Verdict, canonical_json, now
from tasks.training.records import Checkpoint, Origin, Trained, read, trained_key

if TYPE_CHECKING:
    import pyarrow as pa

_TABLES = "tables/"
_NAMELESS = ("labeling/", "evidence/", "runs/", "versions/", "checkpoints/")
"""Sealed or signed in their own ways, and of recipes, oids and counts only."""
_TEXT_MAX_BYTES = 256 * 2**20
_PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"PK\x03\x04", b"\x93NUMPY")


class Copy(NamedTuple):
    """An object's new bytes, which do not name the donor."""

    key: str
    new_key: str
    data: bytes
    content_type: str


@dataclass
class Plan:
    """What would go.

    Attributes:
        tombstone: What will be written before anything else.
        copies: What is replaced.
        tasks: Line → labeling tasks that show the donor's frames, as far as the last sync knows.
        runs: MLflow runs whose artifacts show, or name, the donor.
        names: Of the recordings, for the person who asks.
    """

    tombstone: Tombstone
    copies: list[Copy] = field(default_factory=list)
    tasks: dict[str, int] = field(default_factory=dict)
    runs: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


class _Look(NamedTuple):
    """What became of one object that was read."""

    info: ObjectInfo
    remove: bool = False
    copy: Copy | None = None
    also: frozenset[Oid] = frozenset()
    what: str = ""


def make_plan(lake: Lake, scope: Scope, *, reason: str, by: str, at: datetime | None = None) -> Plan:
    """Find everything, and change nothing."""
    held = _datasets_with(lake, scope)
    versions = {version for own in held.values() for version in own}
    verdicts = [one for one in lake.tables.rows("verdicts", Verdict) if one.dataset_version in versions]
    models, files, trainings = _models(lake, held)
    files |= _pictures_of_checkpoints(lake)
    reports = {str(one.report_oid) for one in verdicts if one.report_oid} | _reports_of(lake, held) | files
    looks = list(_look_at_all(lake, scope, reports, versions))
    gone = {named(look.info.key) for look in looks if look.remove}
    gone |= {oid for look in looks for oid in look.also} - scope.shared
    copies = [look.copy for look in looks if look.copy]
    tasks = {line: len(own) for line, own in _tasks(lake, scope).items()}
    counts = _counts(lake, scope) + Counter(look.what for look in looks if look.what)
    counts |= {"labeling tasks": sum(tasks.values()), "dataset versions": len(versions), "models": len(models)}
    removed = {hidden(name) for name in (*gone, *scope.blobs)}
    removed |= {hidden(f"landing/{key}") for key in scope.landing}
    tombstone = Tombstone(
        donor=donor_mark(lake.settings, scope.donor),
        reason=scope.names.text(plain_text(reason, 500)),
        by=by,
        at=at or now(),
        recordings=tuple(sorted(hidden(oid) for oid in scope.recordings)),
        removed=tuple(sorted(removed)),
        replaced={hidden(_sha_of(lake, one)): hashlib.sha256(one.data).hexdigest() for one in copies},
        datasets={line: tuple(sorted(own)) for line, own in held.items() if own},
        models=tuple(models),
        counts={name: count for name, count in sorted(counts.items()) if count},
    )
    runs = {one.mlflow_run for one in verdicts} | trainings
    names = tuple(sorted(one.name for one in scope.recordings.values()))
    return Plan(tombstone, copies, tasks, tuple(sorted(runs)), names)


def _sha_of(lake: Lake, copy: Copy) -> Oid:
    return named(copy.key) if copy.key.startswith(BLOBS) else lake.store.rehash(copy.key)[0]


def _look_at_all(lake: Lake, scope: Scope, reports: set[Oid], versions: set[str]) -> Iterable[_Look]:
    infos = [one for one in lake.store.list() if not one.key.startswith((_TABLES, PREFIX))]
    with ThreadPoolExecutor(lake.settings.workers * 2) as threads:
        yield from threads.map(lambda info: _look(lake, scope, info, reports, versions), infos)


def _look(lake: Lake, scope: Scope, info: ObjectInfo, reports: set[Oid], versions: set[str]) -> _Look:
    name = named(info.key)
    if name in scope.blobs or (name in reports and name not in scope.shared):
        return _Look(info, remove=True, what="reports and pictures of results" if name in reports else "")
    if info.key.startswith("signatures/"):
        mine = bool(oids_in(info.key) & scope.recordings.keys())
        return _Look(info, remove=mine, what="signatures" if mine else "")
    if info.key.startswith(_NAMELESS) or info.size_bytes > _TEXT_MAX_BYTES:
        return _Look(info)
    try:
        start = lake.store.first_bytes(info.key, 8) if info.size_bytes else b""
        if start.startswith(_PICTURES):
            return _Look(info)
        data = lake.store.get_bytes(info.key)
    except NotFound:  # gone a moment ago
        return _Look(info)
    if data.startswith(b"PAR1"):
        return _table(scope, info, data)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return _Look(info)
    if text.lstrip()[:1] in ("{", "["):
        return _json(lake, scope, info, data, versions)
    if text.lstrip()[:1] == "<":
        mine = scope.names.mentioned(text) or not scope.oids.isdisjoint(oids_in(text))
        return _Look(info, remove=mine, what="reports and pictures of results" if mine else "")
    new = scope.names.text(text)
    return _Look(info, copy=_copy(info, new.encode(), "text/plain; charset=utf-8")) if new != text else _Look(info)


def _is_about(scope: Scope, data: bytes) -> bool:
    """Whether a person's clear in the leak audit names one of the donor's recordings, or the donor in its note."""
    text = data.decode()
    return not scope.recordings.keys().isdisjoint(oids_in(text)) or scope.names.mentioned(text)


def _copy(info: ObjectInfo, data: bytes, content_type: str) -> Copy:
    if not info.key.startswith(BLOBS):
        return Copy(info.key, info.key, data, content_type)
    oid = hashlib.sha256(data).hexdigest()
    return Copy(info.key, f"{BLOBS}{oid[:2]}/{oid}", data, content_type)


def _table(scope: Scope, info: ObjectInfo, data: bytes) -> _Look:
    """A manifest loses the donor's rows; any other table that has some goes."""
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(BytesIO(data))
    except (OSError, ValueError):  # damaged
        return _Look(info)
    if info.key.startswith("datasets/"):
        left = without(rows, scope)
        same = left.num_rows == rows.num_rows
        return _Look(info) if same else _Look(info, copy=_copy(info, encode(left), "application/vnd.apache.parquet"))
    mine = any(_holds(column, scope) for column in rows.columns)
    return _Look(info, remove=mine, what="tables of labels and predictions" if mine else "")


def without(rows: pa.Table, scope: Scope) -> pa.Table:
    """Rows of other donors."""
    import pyarrow as pa

    keep = [one not in scope.recordings for one in rows.column("recording_id").to_pylist()]
    return rows.filter(pa.array(keep, pa.bool_()))


def _holds(column: pa.ChunkedArray, scope: Scope) -> bool:
    import pyarrow as pa

    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return False
    values = [str(value) for value in column.unique().to_pylist() if value]
    return any(value in scope.oids or scope.names.mentioned(value) for value in values)


def _json(lake: Lake, scope: Scope, info: ObjectInfo, data: bytes, versions: set[str]) -> _Look:
    """Evidence and evaluations stay, without names and pictures; another result that names frames goes."""
    if info.key.startswith("clears/"):
        mine = _is_about(scope, data)
        return _Look(info, remove=mine, what="clears of the leak audit" if mine else "")
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return _Look(info)
    blob = info.key.startswith(BLOBS)
    evaluation = isinstance(content, dict) and {"challenger", "clusters", "measured_by"} <= content.keys()
    bundle = isinstance(content, dict) and {"evidence_id", "previous", "objects"} <= content.keys()
    also: frozenset[Oid] = frozenset()
    if evaluation and content.get("dataset_version") in versions:
        also = frozenset(_predictions(content))
    if blob and not evaluation and not bundle and not scope.frames.isdisjoint(oids_in(data.decode())):
        return _Look(info, remove=True, what="results that name frames")
    if not scope.names.mentioned_in(content) and not also:
        return _Look(info)
    if not blob and is_signed(data):
        return _resigned(lake, scope, info, data)
    for certain_only in (False, True):  # a name may be a word of the form itself
        new = scope.names.value(content, certain_only=certain_only)
        if evaluation:
            new = _without_views(new, scope)
        encoded = canonical_json(new).encode()
        if _still_read(encoded, evaluation, bundle):
            break
    what = "evidence bundles" if bundle else "evaluations" if evaluation else ""
    if encoded == canonical_json(content).encode():
        return _Look(info, also=also)
    return _Look(info, copy=_copy(info, encoded, "application/json"), also=also, what=what)


def _resigned(lake: Lake, scope: Scope, info: ObjectInfo, data: bytes) -> _Look:
    """A signed document of ours is signed again; another's is left as it is, and stays as little believed."""
    content = json.loads(data)
    try:
        value = open_json(lake.settings, data, content["kind"], content["line"], content["name"]).value
    except SignatureError:
        return _Look(info)
    new = scope.names.value(value)
    if new == value:
        return _Look(info)
    sealed = seal_json(lake.settings, content["kind"], content["line"], content["name"], new, content["number"])
    return _Look(info, copy=_copy(info, sealed, "application/json"))


def _still_read(data: bytes, evaluation: bool, bundle: bool) -> bool:
    try:
        if bundle:
            decode(data, hashlib.sha256(data).hexdigest())
        if evaluation:
            Evaluation.model_validate(json.loads(data))
    except (NightscopeError, ValueError):
        return False
    return True


def _without_views(evaluation: dict[str, Any], scope: Scope) -> dict[str, Any]:
    """Outlines of what is on the donor's frames go."""
    for role in ("challenger", "champion"):
        result = evaluation.get(role)
        if isinstance(result, dict) and result.get("worst"):
            worst = [view for view in result["worst"] if view.get("frame_oid") not in scope.frames]
            evaluation = {**evaluation, role: {**result, "worst": worst}}
    if beside := evaluation.get("beside"):
        kept = [view for view in beside if view.get("frame_oid") not in scope.frames]
        evaluation = {**evaluation, "beside": kept}
    return evaluation


def _predictions(evaluation: dict[str, Any]) -> list[Oid]:
    results = (evaluation.get(role) for role in ("challenger", "champion"))
    return [str(one["predictions_oid"]) for one in results if isinstance(one, dict) and one.get("predictions_oid")]


def _datasets_with(lake: Lake, scope: Scope) -> dict[str, set[str]]:
    """Line → dataset versions, experiments' included, that hold the donor's rows (or held, before a cut erasure)."""
    found: dict[str, set[str]] = {}
    for line, version, rows in manifests(lake, ["recording_id"]):
        if not scope.recordings.keys().isdisjoint(rows.column("recording_id").unique().to_pylist()):
            found.setdefault(line, set()).add(version)
    if older := lake.tombstones.of(scope.donor):
        for line, own in older.datasets.items():
            found.setdefault(line, set()).update(own)
    return found


def _reports_of(lake: Lake, held: dict[str, set[str]]) -> set[Oid]:
    """Validation, leak audit and exploration reports of dataset versions: they show pictures."""
    found = set()
    for line, own in held.items():
        for version in own:
            with suppress(DataError, ValueError):
                found.add(str((lake.datasets.attached(line, version, "exploration") or {}).get("report_oid")))
            try:
                about = json.loads(lake.store.get_bytes(f"datasets/{line}/{version}/about.json"))
            except (DataError, ValueError):
                continue
            for part in ("validation", "leak_check"):
                found.add(str((about.get(part) or {}).get("report_oid")))
    return found - {"None"}


class _Training(NamedTuple):
    """A finished training, and the model version that came of it; None: of an experiment, or cut before it had one."""

    trained: Trained
    version: str | None
    mlflow_run: str | None


def _models(lake: Lake, held: dict[str, set[str]]) -> tuple[list[LearnedModel], set[Oid], set[str]]:
    """Model versions that learned from these dataset versions, or went on from one that did.

    Returns:
        The versions, plots of frames, and MLflow runs of those trainings.
    """
    everything = list(_trainings(lake))
    learned: list[tuple[_Training, str]] = []
    weights: set[Oid] = set()
    while True:
        before = len(everything)
        for one in list(everything):
            trained = one.trained
            start = str(trained.recipe.get("weights"))
            direct = trained.dataset_version in held.get(trained.line, set())
            if direct or start in weights:
                why = f"dataset {trained.dataset_version[:12]}" if direct else f"trained on from weights {start[:12]}"
                learned.append((one, why))
                weights.add(trained.weights_oid)
                everything.remove(one)
        if len(everything) == before:
            break
    models = {
        (one.trained.line, one.version): LearnedModel(
            line=one.trained.line, version=one.version, dataset_version=one.trained.dataset_version,
            weights_oid=one.trained.weights_oid, why=why,
        )
        for one, why in learned if one.version
    }  # fmt: skip
    pictures = {
        oid
        for one, _ in learned
        if one.trained.dataset_version in held.get(one.trained.line, set())
        for name, oid in one.trained.files.items()
        if SHOWS_FRAMES.search(name)
    }
    return [models[one] for one in sorted(models)], pictures, {one.mlflow_run for one, _ in learned if one.mlflow_run}


def _pictures_of_checkpoints(lake: Lake) -> set[Oid]:
    """What unfinished trainings have shown of their frames: their checkpoints do not say what they learn from."""
    found: set[Oid] = set()
    for info in lake.store.list("checkpoints/"):
        with suppress(DataError):  # damaged: nobody goes on from it
            if checkpoint := read(lake, info.key, Checkpoint, unsigned=True):
                found |= set(checkpoint.files.values())
    return found


def _trainings(lake: Lake) -> Iterable[_Training]:
    """Every training on record, once for each version: its note's, its result's, its verdict's. Old lakes lack some."""
    versions: dict[str, set[str]] = {}
    for info in lake.store.list("versions/"):
        with suppress(DataError):  # damaged: `verify` says so
            if origin := read(lake, info.key, Origin, unsigned=True):
                versions.setdefault(origin.run_key, set()).add(info.key.rpartition("/")[2].removesuffix(".json"))
    runs: dict[str, str] = {}
    for verdict in lake.tables.rows("verdicts", Verdict):
        versions.setdefault(verdict.run_key, set()).add(verdict.model_version)
        runs[verdict.run_key] = verdict.mlflow_run
    for key in sorted({info.key.split("/")[1] for info in lake.store.list("runs/")}):
        with suppress(DataError, ValueError, LookupError, TypeError):
            result = json.loads(lake.store.get_bytes(f"runs/{key}/result.json"))
            runs[key] = str(result["mlflow_run"])
            versions.setdefault(key, set()).add(str(result["model_version"]))
        with suppress(DataError):
            if trained := read(lake, trained_key(key), Trained, unsigned=True):
                for version in sorted(versions.get(key, ())) or (None,):
                    yield _Training(trained, version, runs.get(key))


def _tasks(lake: Lake, scope: Scope) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for line in labeled_lines(lake):
        tasks = labeling_state.load(lake, line).tasks
        own = [number for number, task in tasks.items() if task.frame and task.frame[0] in scope.recordings]
        if own:
            found[line] = own
    return found


def labeled_lines(lake: Lake) -> list[str]:
    """Lines that have a project in Label Studio."""
    return sorted({info.key.split("/")[1] for info in lake.store.list("labeling/") if info.key.count("/") == 2})


def _counts(lake: Lake, scope: Scope) -> Counter[str]:
    own = {"recording_id": list(scope.recordings)}
    found = Counter({"recordings": len(scope.recordings), "frames": len(scope.frames)})
    found["landing objects"] = sum(lake.landing.head(key) is not None for key in scope.landing)
    for table, name in (("annotations", "label revisions"), ("predictions", "predictions")):
        found[name] = lake.tables.scan(table, own, columns=["recording_id"]).num_rows if scope.recordings else 0
    found["quarantine rows"] = sum(concerns(one, scope) for one in lake.tables.rows("quarantine", QuarantineItem))
    found["served frames"] = sum(lake.frames.store.head(lake.frames.key(oid)) is not None for oid in scope.frames)
    return found


def concerns(item: QuarantineItem, scope: Scope) -> bool:
    """Whether something in quarantine is, or names, the donor's."""
    named = scope.names.mentioned_in([item.subject, item.reason, item.details])
    return item.recording_id in scope.recordings or item.subject in scope.landing or named
