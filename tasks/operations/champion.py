"""Report which model is in charge of a line and why, and what became of every verdict."""

from __future__ import annotations

from typing import Any

from tasks.errors import NotFound
from tasks.kinds import kind_of
from tasks.lake import Lake
from tasks.promotion.in_charge import IN_CHARGE, champion_now, put_in_charge
from tasks.promotion.verdict_rows import verdict_if_there
from tasks.schemas import EvidenceEntry, Frozen, NightState, Oid, Verdict
from tasks.session import Session

_OF_THE_VERDICT = {"verdict_id", "verdict", "reasons", "at", "report_oid"}


class Outcome(Frozen):
    """A decision that became evidence: what was done, by whom and why."""

    action: str
    state: NightState
    by: str | None
    note: str
    at: str
    evidence: int
    """The number of the evidence."""


class ErasedSource(Frozen):
    """Data that a model learned from and that was erased since."""

    tombstone: str
    at: str


class ChampionReport(Frozen):
    """The model that is in charge of a line, and why."""

    line: str
    model_version: str
    dataset_version: Oid
    metrics: dict[str, Any]
    intervals: dict[str, Any]
    promoted_at: str | None
    verdict: dict[str, Any] | None
    """Id, decision, reasons, time and report of the verdict that put it there; None where none did."""
    unlearned: tuple[str, ...]
    """A sentence for each class that the model has learned nothing of."""
    learned_from_erased: tuple[ErasedSource, ...]
    order: Outcome | None
    mlflow_run: str | None
    weights_oid: Oid


def describe_champion(session: Session, name: str) -> ChampionReport:
    """Report which model is in charge of a line, and why.

    Raises:
        NotFound: The line has no champion yet.
        DataError: MLflow calls a version champion that no verdict of ours put there, or has lost the one that did; or
            a promotion is under way.
    """
    session.line(name)
    lake = session.lake
    record = champion_now(lake, session.registry, name)
    if record is None:
        raise NotFound(f"line {name} has no champion yet", fix=f"nightscope run {name}")
    verdict = verdict_if_there(lake, record.verdict_id)
    order = put_in_charge(lake, name, record.version)
    since = order.at if order else record.promoted_at  # the tag only where there is no evidence yet
    return ChampionReport(
        line=name,
        model_version=record.version,
        dataset_version=record.dataset_version,
        metrics=verdict.metrics if verdict else {},
        intervals=verdict.intervals if verdict else {},
        promoted_at=since.isoformat() if since else None,
        verdict=verdict.model_dump(mode="json", include=_OF_THE_VERDICT) if verdict else None,
        unlearned=_unlearned(session, verdict) if verdict else (),
        learned_from_erased=learned_from_erased(lake, name, record.version, record.dataset_version),
        order=_outcome(order) if order else None,
        mlflow_run=record.mlflow_run,
        weights_oid=record.weights_oid,
    )


def learned_from_erased(lake: Lake, line: str, version: str, dataset_version: str) -> tuple[ErasedSource, ...]:
    """Find the tombstones of what a model version learned from."""
    return tuple(
        ErasedSource(tombstone=tombstone.key, at=tombstone.at.isoformat())
        for tombstone in lake.tombstones.all()
        if tombstone.learned(line, version, dataset_version)
    )


def _unlearned(session: Session, verdict: Verdict) -> tuple[str, ...]:
    from tasks.evaluation.unlearned import unlearned_of

    line = session.line(verdict.line)
    return unlearned_of(line.classes, kind_of(line.kind), verdict.metrics, verdict.intervals)


def list_outcomes(session: Session, name: str) -> dict[str, Outcome]:
    """Report what became of each verdict of a line, by its evidence.

    Returns:
        Verdict id -> the outcome. Its state is the night's, unless a person put its model in charge or took it away
        since.
    """
    from tasks import evidence

    session.line(name)
    found: dict[str, Outcome] = {}
    in_charge: EvidenceEntry | None = None
    for entry in evidence.entries(session.lake, name):
        if entry.outcome is NightState.ROLLED_BACK and in_charge and in_charge.verdict_id:
            found[in_charge.verdict_id] = _outcome(entry)
        if entry.verdict_id:
            promoted = entry.outcome in IN_CHARGE
            found[entry.verdict_id] = _outcome(entry, NightState.PROMOTED if promoted else entry.outcome)
        if entry.outcome in IN_CHARGE:
            in_charge = entry
    return found


def _outcome(entry: EvidenceEntry, state: NightState | None = None) -> Outcome:
    return Outcome(
        action=entry.action,
        state=state or entry.outcome,
        by=entry.by,
        note=entry.note,
        at=entry.at.isoformat(),
        evidence=entry.number,
    )
