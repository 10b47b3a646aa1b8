"""Who is in charge of a line and why, and what became of every verdict."""

from __future__ import annotations

from typing import Any

from tasks.config import Settings, load_settings
from tasks.errors import NotFound
from tasks.lake import Lake, open_lake
from tasks.schemas import EvidenceEntry, NightState, Verdict
from tasks.steps.erase import erased_by
from tasks.steps.in_charge import IN_CHARGE, champion_now, last_order
from tasks.steps.news import resolve_line
from tasks.steps.verdicts import verdict_named


def describe_champion(name: str) -> dict[str, Any]:
    """What is in charge of a line, and why; `unlearned` says of which of its classes it has learned nothing.

    `learned_from_erased` names the tombstones of data that it learned from and that were erased since.

    Raises:
        NotFound: The line has no champion yet.
        DataError: MLflow calls a version champion that no verdict of ours put there, or has lost the one that did; or
            a promotion is under way.
    """
    from tasks.registry import open_registry

    settings = load_settings()
    resolve_line(settings, name, {})
    lake = open_lake(settings)
    record = champion_now(lake, open_registry(settings), name)
    if record is None:
        raise NotFound(f"line {name} has no champion yet", fix=f"nightscope run {name}")
    verdict = verdict_if_there(lake, record.verdict_id)
    order = put_in_charge(lake, name, record.version)
    since = order.at if order else record.promoted_at  # the tag only where there is no evidence yet
    said = {"verdict_id", "verdict", "reasons", "at", "report_oid"}
    return {
        "line": name,
        "model_version": record.version,
        "dataset_version": record.dataset_version,
        "metrics": verdict.metrics if verdict else {},
        "intervals": verdict.intervals if verdict else {},
        "promoted_at": since.isoformat() if since else None,
        "verdict": verdict.model_dump(mode="json", include=said) if verdict else None,
        "unlearned": list(_unlearned(settings, verdict)) if verdict else [],
        "learned_from_erased": erased_by(lake, name, record.version, record.dataset_version),
        "order": _order(order) if order else None,
        "mlflow_run": record.mlflow_run,
        "weights_oid": record.weights_oid,
    }


def verdict_if_there(lake: Lake, verdict_id: str | None) -> Verdict | None:
    """The verdict that a model version's tag names; None where it names none, or one whose row is gone."""
    try:
        return verdict_named(lake, verdict_id) if verdict_id else None
    except NotFound:
        return None


def put_in_charge(lake: Lake, name: str, version: str) -> EvidenceEntry | None:
    """The evidence by which a line's champion took charge; None where the newest of that sort is of another version."""
    order = last_order(lake, name)
    return order if order and order.model_version == version else None


def _unlearned(settings: Settings, verdict: Verdict) -> tuple[str, ...]:
    from tasks.evaluation.kinds import kind_of
    from tasks.evaluation.unlearned import unlearned_of

    line = resolve_line(settings, verdict.line, {})
    return unlearned_of(line.classes, kind_of(line.kind).metrics[0], verdict.metrics, verdict.intervals)


def list_outcomes(name: str) -> dict[str, dict[str, Any]]:
    """What became of each verdict of a line, by its evidence.

    Returns:
        Verdict id -> `state` (a `NightState`: of the night, unless a person put its model in charge or took it away
        since), `by`, `note`, `at`, `evidence` (a number).
    """
    from tasks import evidence

    settings = load_settings()
    resolve_line(settings, name, {})
    found: dict[str, dict[str, Any]] = {}
    in_charge: EvidenceEntry | None = None
    for entry in evidence.entries(open_lake(settings), name):
        if entry.outcome is NightState.ROLLED_BACK and in_charge and in_charge.verdict_id:
            found[in_charge.verdict_id] = _order(entry)
        if entry.verdict_id:
            promoted = entry.outcome in IN_CHARGE
            found[entry.verdict_id] = _order(entry, NightState.PROMOTED if promoted else entry.outcome)
        if entry.outcome in IN_CHARGE:
            in_charge = entry
    return found


def _order(entry: EvidenceEntry, state: NightState | None = None) -> dict[str, Any]:
    return {
        "action": entry.action,
        "state": (state or entry.outcome).value,
        "by": entry.by,
        "note": entry.note,
        "at": entry.at.isoformat(),
        "evidence": entry.number,
    }
