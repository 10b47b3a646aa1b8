"""Steps that make a challenger and measure it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tasks.config import Line, load_settings
from tasks.errors import NothingToDo
from tasks.lake import Lake, open_lake
from tasks.lake.signed import keep, kept
from tasks.schemas import digest
from tasks.steps.audit import require_apart, require_audit
from tasks.steps.news import resolve_line

if TYPE_CHECKING:
    from tasks.registry.models import ModelRecord


def train_challenger(name: str, changes: Mapping[str, Any] | None, dataset_version: str) -> dict[str, Any]:
    """Train on a dataset version and register the challenger. Finished = returned, killed = resumed.

    Returns:
        `run_key`, `model_version`, `mlflow_run`, `weights_oid`, `epochs`, `steps`, `resumed_from_epoch`, `seconds`.

    Raises:
        DataError: The dataset version was made for an experiment.
        LeakageError: Something of one of its splits also stands in another.
    """
    from tasks.datasets.experiments import refuse_experiment
    from tasks.datasets.formats.yolo import materialise
    from tasks.training.detection import train_challenger as train

    settings = load_settings()
    lake = open_lake(settings)
    line = resolve_line(settings, name, changes or {})
    manifest = lake.datasets.load(name, dataset_version)
    refuse_experiment(manifest)
    require_audit(lake, manifest)
    print(f"materialising dataset {dataset_version[:12]}: {manifest.rows.num_rows} frames")
    data_yaml = materialise(lake, line, dataset_version)
    training = train(lake, line, dataset_version, data_yaml, bool(manifest.about["has_val"]), progress=_say)
    return training.model_dump(mode="json")


def evaluate_models(name: str, changes: Mapping[str, Any] | None, dataset_version: str, model_version: str) -> str:
    """Judge challenger and champion on the same frozen test split, in this run.

    Where the challenger is in charge already (a night that was killed between promoting and filing), the evaluation
    that put it there is taken up again, if it was judged as this run would judge it.

    Returns:
        The evaluation's oid.

    Raises:
        NothingToDo: The challenger is in charge already, and this run's gates or evaluation plan are other ones.
        DataError: The dataset version was made for an experiment; or MLflow calls a version champion that no verdict of
            ours put there, or has lost the one that did: that is never "no champion".
        IntegrityError: No training in the lake says that it made one of the versions.
        LeakageError: Something of one of its splits also stands in another, or in what the champion learned from.
    """
    from tasks.datasets.experiments import refuse_experiment
    from tasks.evaluation.evaluate import evaluate
    from tasks.steps.in_charge import champion_of
    from tasks.steps.predictors import loader, reference
    from tasks.steps.undertaking import command
    from tasks.training.devices import compute_slot
    from tasks.training.records import vouched

    settings = load_settings()
    line = resolve_line(settings, name, changes or {})
    with command(settings, name) as (lake, registry):  # finishes a promotion that was broken off
        challenger, champion = registry.version(name, model_version), champion_of(lake, registry, name)
    if champion is not None and champion.version == challenger.version:
        return _taken_up_again(lake, line, champion)
    challenger, champion = vouched(lake, challenger), vouched(lake, champion) if champion else None
    manifest = lake.datasets.load(name, dataset_version)
    refuse_experiment(manifest)
    require_audit(lake, manifest)
    if champion is not None:
        require_apart(lake, name, dataset_version, champion.dataset_version)
    key = _evaluation_key(line, dataset_version, _identity(challenger), _identity(champion) if champion else None)
    if filed := kept(lake, "evaluation", name, key):  # of a night that was killed after it
        return str(filed["evaluation_oid"])
    with compute_slot(settings, lambda what: _say(f"waiting for {what}")):
        oid, evaluation = evaluate(
            lake,
            line,
            dataset_version,
            challenger=reference(challenger),
            champion=reference(champion) if champion else None,
            load=loader(lake, line),
        )
    keep(lake, "evaluation", name, key, {"evaluation_oid": oid})
    print(
        f"evaluated {evaluation.images} frames of {len(evaluation.recordings)} test recordings on {evaluation.device}"
    )
    return oid


def _taken_up_again(lake: Lake, line: Line, champion: ModelRecord) -> str:
    """The evaluation that put the challenger in charge.

    Raises:
        NothingToDo: There is none, or it was judged by other gates or measured otherwise: a new verdict from it would
            say of the line what nobody has measured.
    """
    from tasks.steps.champion import put_in_charge, verdict_if_there
    from tasks.steps.loosening import judged_differently

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
    return f"evaluations/{line.line}/{digest(*parts, code_of('evaluation'))}.json"


def training_of(name: str, model_version: str) -> dict[str, Any]:
    """What `decide_verdict` needs of a training, from the registry."""
    from tasks.registry.models import open_registry

    record = open_registry(load_settings()).version(name, model_version)
    return {"run_key": record.about.run_key, "mlflow_run": record.mlflow_run, "model_version": record.version}


def _say(text: str) -> None:
    print(text, flush=True)
