"""Measure a challenger, and the champion beside it, on the same frozen test split."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tasks.config import Line
from tasks.errors import NothingToDo
from tasks.kinds import kind_of
from tasks.lake import Lake
from tasks.lake.signed import keep, kept
from tasks.promotion.journal import promotion_lock
from tasks.schemas import Frozen, Oid, digest
from tasks.session import Session
from tasks.steps.audit import require_apart, require_audit

if TYPE_CHECKING:
    from tasks.registry.models import ModelRecord

log = logging.getLogger(__name__)


class EvaluatedModels(Frozen):
    """An evaluation that is stored."""

    evaluation_oid: Oid


def evaluate_models(
    session: Session, name: str, changes: Mapping[str, Any] | None, dataset_version: str, model_version: str
) -> EvaluatedModels:
    """Evaluate challenger and champion on the same frozen test split, in this run.

    Where the challenger is in charge already (a night that was killed between promoting and filing), the evaluation
    that put it there is taken up again, if it was judged as this run would judge it.

    Raises:
        NothingToDo: The challenger is in charge already, and this run's gates or evaluation plan are other ones.
        DataError: The dataset version was made for an experiment; or MLflow calls a version champion that no verdict of
            ours put there, or has lost the one that did: that is never "no champion".
        IntegrityError: No training in the lake says that it made one of the versions.
        LeakageError: Something of one of its splits also stands in another, or in what the champion learned from.
    """
    from tasks.datasets.experiments import refuse_experiment
    from tasks.evaluation.evaluate import evaluate
    from tasks.promotion.in_charge import champion_of
    from tasks.steps.predictors import reference
    from tasks.training.devices import compute_slot
    from tasks.training.records import vouched

    line = session.line(name, changes)
    with promotion_lock(session, name) as (lake, registry):  # finishes a promotion that was broken off
        challenger, champion = registry.version(name, model_version), champion_of(lake, registry, name)
    if champion is not None and champion.version == challenger.version:
        return EvaluatedModels(evaluation_oid=_taken_up_again(lake, line, champion))
    challenger, champion = vouched(lake, challenger), vouched(lake, champion) if champion else None
    manifest = lake.datasets.load(name, dataset_version)
    refuse_experiment(manifest)
    require_audit(lake, manifest)
    if champion is not None:
        require_apart(lake, name, dataset_version, champion.dataset_version)
    key = _evaluation_key(line, dataset_version, _identity(challenger), _identity(champion) if champion else None)
    if filed := kept(lake, "evaluation", name, key):  # of a night that was killed after it
        return EvaluatedModels(evaluation_oid=filed["evaluation_oid"])
    with compute_slot(session.settings, lambda what: log.info(f"waiting for {what}")):
        oid, evaluation = evaluate(
            lake,
            line,
            dataset_version,
            kind=kind_of(line.kind),
            challenger=reference(challenger),
            champion=reference(champion) if champion else None,
        )
    keep(lake, "evaluation", name, key, {"evaluation_oid": oid})
    log.info(
        f"evaluated {evaluation.images} frames of {len(evaluation.recordings)} test recordings on {evaluation.device}"
    )
    return EvaluatedModels(evaluation_oid=oid)


def _taken_up_again(lake: Lake, line: Line, champion: ModelRecord) -> str:
    """Find the evaluation that put the challenger in charge.

    Raises:
        NothingToDo: There is none, or it was judged by other gates or measured otherwise: a new verdict from it would
            say of the line what nobody has measured.
    """
    from tasks.promotion.gate_overrides import judged_differently
    from tasks.promotion.in_charge import put_in_charge
    from tasks.promotion.verdict_rows import verdict_if_there

    verdict = verdict_if_there(lake, champion.verdict_id)
    if verdict is None:
        order = put_in_charge(lake, line.line, champion.version)
        if order is None:
            raise NothingToDo(f"model version {champion.version} is called champion in MLflow already, by hand")
        by = f" ({order.by})" if order.by else ""
        raise NothingToDo(f"model version {champion.version} was put in charge by evidence {order.number}{by}")
    if judged_differently(lake, line, verdict):
        raise NothingToDo(
            f"model version {champion.version} is in charge already; the gates or the evaluation have changed since "
            f"its verdict {verdict.verdict_id}, and nothing new was trained to be judged by them",
            fix="new labels or another seed train a challenger",
        )
    return verdict.evaluation_oid


def _identity(model: ModelRecord) -> str:
    """A version's number alone is not one: numbers begin anew where somebody deletes the model in MLflow."""
    return f"{model.version} {model.weights_oid}"


def _evaluation_key(line: Line, dataset_version: str, challenger: str, champion: str | None) -> str:
    """Where an evaluation is found again: its name follows from all that decides it, but not from thresholds."""
    from tasks.provenance import code_of

    measured = sorted(f"{gate.metric} {gate.device}" for gate in line.gates)
    parts = (line.evaluation.model_dump(), list(line.classes), measured, dataset_version, challenger, champion)
    return f"evaluations/{line.line}/{digest(*parts, code_of('evaluation', line.kind))}.json"
