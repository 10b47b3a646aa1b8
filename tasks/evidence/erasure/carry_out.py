"""Let everything go that a plan names.

The tombstone is written first, and the rows of the recordings, by which everything else is found, go last: killed
anywhere and run again, the same is found, or is gone already. What is removed is found by the tombstone alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from tasks.errors import NotFound
from tasks.evidence import chain
from tasks.evidence.erasure.local import clear_local, clear_names, refuse_running
from tasks.evidence.erasure.plan import Plan, concerns, labeled_lines
from tasks.evidence.erasure.scope import Scope
from tasks.ingest.stills import batches
from tasks.lake import Lake
from tasks.lake.blobs import named
from tasks.lake.locks import lake_lock
from tasks.lake.signed import sign, verdict_statement
from tasks.lake.table_schemas import TABLES, from_arrow, to_arrow
from tasks.lake.tombstones import Tombstone, hidden
from tasks.schemas import EvidenceEntry, QuarantineItem, Verdict

if TYPE_CHECKING:
    import pyarrow as pa

    from tasks.registry.models import Registry

_PATIENCE_S = 60.0
Told = Callable[[str], None]


def carry_out(lake: Lake, registry: Registry | None, scope: Scope, plan: Plan, told: Told) -> Tombstone:
    """Erase, from the tombstone to the last copy. Inside `quiet`, as the plan must be made, too.

    Args:
        lake: The lake.
        registry: MLflow, for the artifacts of runs; None: there is none to reach, and `told` says so.
        scope: What belongs to the donor.
        plan: From `make_plan`, of this moment.
        told: Hears the name of each step before it begins.

    Returns:
        The tombstone as it is filed.

    Raises:
        StorageUnavailable, ServiceUnavailable: Run it again: it goes on.
    """
    older = lake.tombstones.of(scope.donor)
    tombstone = plan.tombstone.joined(older) if older else plan.tombstone
    told("tombstone")
    lake.tombstones.write(tombstone)
    told("copies without the donor")
    _put_copies(lake, plan)
    told("objects of the lake")
    _remove_objects(lake, tombstone, scope.shared)
    told("landing bucket, served frames")
    _remove_outside(lake, tombstone, scope)
    told("labeling tasks")
    _remove_labeling_tasks(lake, scope)
    if registry:
        told("artifacts in MLflow")
        _clean_runs(registry, scope, plan)
    told("tables")
    _clean_tables(lake, scope)
    told("this machine")
    clear_names(lake.settings, scope)
    told("recordings")
    lake.tables.rewrite("recordings", lambda rows: _not_in(rows, set(scope.recordings)))
    _end(lake, tombstone, told)
    return tombstone


def finish(lake: Lake, tombstone: Tombstone, told: Told) -> None:
    """What may be left of an erasure whose rows are all gone: objects, old files, local copies. Inside `quiet`."""
    told("objects of the lake")
    _remove_objects(lake, tombstone, _in_use(lake))
    told("tables")
    for table in TABLES:
        lake.tables.rewrite(table, lambda rows: rows)
    _end(lake, tombstone, told)


def _end(lake: Lake, tombstone: Tombstone, told: Told) -> None:
    told("seals")
    for line in sorted({str(one) for one in lake.tables.scan("evidence", columns=["line"]).column("line").to_pylist()}):
        chain.seal(lake, line, chain.entries(lake, line)[-1])
    told("caches")
    refuse_running(lake.settings)  # what began meanwhile must not lose its folders
    clear_local(lake.settings)


@contextmanager
def quiet(lake: Lake) -> Iterator[None]:
    """Hold off whatever takes in, labels, splits, promotes or records. What is found and planned inside stays true.

    Raises:
        StorageUnavailable: A night is at work, or a training, an export, a layout of a dataset.
    """
    refuse_running(lake.settings)
    lines = {
        info.key.split("/")[1] for prefix in ("datasets/", "labeling/", "evidence/") for info in lake.store.list(prefix)
    }
    names = [
        "ingest",
        *(f"{what}-{line}" for line in sorted(lines) for what in ("labels", "splits", "promote", "evidence")),
    ]
    with ExitStack() as stack:
        for name in names:
            stack.enter_context(lake_lock(lake.settings, name, timeout_s=_PATIENCE_S))
        yield


def _put_copies(lake: Lake, plan: Plan) -> None:
    for copy in plan.copies:
        lake.store.put_bytes(copy.new_key, copy.data, copy.content_type)
        if copy.new_key != copy.key:
            lake.store.remove(copy.key)
            lake.blobs.drop_copy(copy.key.rpartition("/")[2])


def _remove_objects(lake: Lake, tombstone: Tombstone, shared: frozenset[str]) -> None:
    removed = set(tombstone.removed)
    for info in list(lake.store.list()):
        name = named(info.key)
        if hidden(name) in removed and name not in shared:
            lake.store.remove(info.key)


def _remove_outside(lake: Lake, tombstone: Tombstone, scope: Scope) -> None:
    removed = set(tombstone.removed)
    for info in list(lake.landing.list()):
        if hidden(f"landing/{info.key}") in removed:
            lake.landing.remove(info.key)
    for key, members in scope.stills.items():
        batches.without(lake, key, scope.recordings, members)
    for oid in scope.frames:
        lake.frames.withdraw(oid)


def _remove_labeling_tasks(lake: Lake, scope: Scope) -> None:
    """In Label Studio first, then in what the next sync knows."""
    from tasks.labeling import state as states
    from tasks.labeling.client import LabelStudio

    for line in labeled_lines(lake):
        state = states.load(lake, line)
        mine = {number for number, task in state.tasks.items() if task.frame and task.frame[0] in scope.recordings}
        if state.project_id is not None and scope.recordings:
            with LabelStudio(lake.settings.label_studio) as client:
                if client.project(state.project_id) is not None:
                    for head in list(client.task_heads(state.project_id)):
                        if head.data.get("recording_id") in scope.recordings:
                            client.delete_task(head.task_id)
        removed = {frame for frame in state.removed if frame[0] not in scope.recordings}
        if mine or removed != state.removed:
            state.tasks = {number: task for number, task in state.tasks.items() if number not in mine}
            state.removed = removed
            state.again = state.again - mine
            states.save(lake, line, state)


def _clean_runs(registry: Registry, scope: Scope, plan: Plan) -> None:
    from tasks.registry.erasing import clean_run

    for run in plan.runs:
        with suppress(NotFound):  # a person deleted it for good
            clean_run(registry, run, scope.names.text, scope.names.mentioned)


def _clean_tables(lake: Lake, scope: Scope) -> None:
    mine = set(scope.recordings)
    for table in ("annotations", "predictions", "frames"):
        lake.tables.rewrite(table, lambda rows: _not_in(rows, mine))
    lake.tables.rewrite("splits", lambda rows: _where(rows, "group", lambda group: group != scope.group))
    lake.tables.rewrite(
        "landings",
        lambda rows: _where(_not_in(rows, mine), "key", lambda key: key not in scope.landing),
    )
    lake.tables.rewrite(
        "quarantine",
        lambda rows: _rows(rows, QuarantineItem, "quarantine", lambda item: None if concerns(item, scope) else item),
    )
    lake.tables.rewrite(
        "verdicts", lambda rows: _rows(rows, Verdict, "verdicts", lambda one: _verdict(lake, scope, one))
    )
    lake.tables.rewrite("evidence", lambda rows: _rows(rows, EvidenceEntry, "evidence", lambda one: _entry(scope, one)))


def _verdict(lake: Lake, scope: Scope, verdict: Verdict) -> Verdict:
    """A verdict that names the donor, without the name: signed again, if its signature held."""
    value = verdict.model_dump(mode="json", exclude={"signature"})
    if not scope.names.mentioned_in(value):
        return verdict
    new = _reads(scope.names.value(value)) or _reads(scope.names.value(value, certain_only=True))
    if new is None or new == verdict.model_copy(update={"signature": None}):
        return verdict
    if verdict.signature is None:
        return new
    return new.model_copy(update={"signature": sign(lake.settings, verdict_statement(new))})


def _reads(value: Any) -> Verdict | None:
    try:
        return Verdict.model_validate({**value, "signature": None})
    except ValidationError:  # a name was a word of the form itself
        return None


def _entry(scope: Scope, entry: EvidenceEntry) -> EvidenceEntry:
    return entry.model_copy(update={"note": scope.names.text(entry.note)})


def _rows(rows: pa.Table, noun: Any, table: str, change: Callable[[Any], Any]) -> pa.Table:
    """Rows changed as nouns; those that stay as they are keep their very cells."""
    before = from_arrow(rows, noun)
    after = [change(one) for one in before]
    if after == before:
        return rows
    return to_arrow(table, [one for one in after if one is not None])


def _not_in(rows: pa.Table, recordings: set[str]) -> pa.Table:
    return _where(rows, "recording_id", lambda oid: oid not in recordings)


def _where(rows: pa.Table, column: str, keep: Callable[[Any], bool]) -> pa.Table:
    import pyarrow as pa

    return rows.filter(pa.array([keep(value) for value in rows.column(column).to_pylist()], pa.bool_()))


def _in_use(lake: Lake) -> frozenset[str]:
    """Blobs that rows of others name: one that came in again with other data stays."""
    found: set[str] = set()
    for table, columns in (("recordings", ["recording_id", "pts_oid", "frame_names_oid"]), ("frames", ["oid"])):
        rows = lake.tables.scan(table, columns=columns)
        found |= {str(value) for name in columns for value in rows.column(name).to_pylist() if value}
    return frozenset(found)
