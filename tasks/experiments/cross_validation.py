"""K-fold cross-validation of a line's recipe, in pieces that can be mapped: plan, one fold, summary.

It measures the recipe, not a model: how well a model does, trained like this on data like these, on a donor that it has
not seen. Nothing is registered, the champion and the nights are untouched. A fold leaves a record when it is finished,
and another when it failed; running again does only what is missing.

    experiments/<line>/folds/<key>.json                the fold's result
    experiments/<line>/folds/<key>.failed.json         why its last try failed
    experiments/<line>/cross-validations/<key>.json    names the blob of the summary
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tasks.config import Line
from tasks.errors import DataError, StepFailed
from tasks.experiments.experiment_runs import (
    evaluate,
    file_result,
    kept_or_made,
    measures,
    score_digest,
    train_unregistered,
)
from tasks.experiments.fold_log import log_summary
from tasks.kinds import kind_of
from tasks.lake import Lake
from tasks.lake.signed import kept
from tasks.schemas import Frozen, Oid, digest, now
from tasks.session import Session
from tasks.steps.audit import audited, require_audit
from tasks.steps.change_detection import check_request

if TYPE_CHECKING:
    import pyarrow as pa

    from tasks.evaluation.evaluation import Evaluation

log = logging.getLogger(__name__)

WHAT = "cross-validation"
FOLDS = 5
FOLD = "fold"


class FoldResult(Frozen):
    """A fold that is finished."""

    fold: int
    folds: int
    dataset_version: str
    groups: tuple[str, ...]
    """Those that it tested on."""
    train_groups: int
    train_frames: int
    test_frames: int
    warnings: tuple[str, ...]
    run_key: str
    weights_oid: Oid
    evaluation_oid: Oid
    seconds: float
    at: datetime


class PlannedFolds(Frozen):
    """The folds' dataset versions, in order."""

    folds: tuple[str, ...]


class CrossValidation(Frozen):
    """The folds summed up."""

    line: str
    dataset_version: str
    """Whose frames."""
    folds: tuple[dict[str, Any], ...]
    """Each fold with its `state`, `groups` and frames, and `why` where it failed."""
    complete: bool
    seed: int
    recipe: dict[str, Any]
    confidence: float
    scores: tuple[dict[str, Any], ...]
    """Each metric and slice: `mean`, `sd`, `low`, `high`, `folds`."""
    recordings: dict[str, dict[str, Any]]
    """Each recording with the fold that tested it, and its metrics."""
    warnings: tuple[str, ...]
    result_oid: Oid
    mlflow_run: str


def cross_validate(
    session: Session,
    name: str,
    changes: Mapping[str, Any] | None = None,
    *,
    folds: int = FOLDS,
    seed: int = 0,
    dataset_version: str | None = None,
) -> CrossValidation:
    """Plan the folds, run one after the other whatever becomes of each, and sum them up.

    Arguments and errors as for `plan_folds`; returns what `summarise_folds` does.
    """
    versions = plan_folds(session, name, changes, folds=folds, seed=seed, dataset_version=dataset_version).folds
    for number, version in enumerate(versions, 1):
        try:
            run_fold(session, name, changes, version)
        except Exception as error:  # one fold's crash must not lose the others; the summary names it
            log.error(f"fold {number} of {folds} failed: {error}")
    return summarise_folds(session, name, changes, versions)


def plan_folds(
    session: Session,
    name: str,
    changes: Mapping[str, Any] | None = None,
    *,
    folds: int = FOLDS,
    seed: int = 0,
    dataset_version: str | None = None,
) -> PlannedFolds:
    """Make the folds' dataset versions: of every donor (else recording) exactly one fold tests.

    Args:
        session: Whose lake.
        name: The line.
        changes: Of its recipe, for this run.
        folds: K, from 2 to the number of groups.
        seed: Of the folds. The training's own is the recipe's.
        dataset_version: Whose frames; default the newest that a night froze.

    Raises:
        ConfigError: Unknown line or recipe value, or fewer than two folds.
        NotFound: The line has no (such) dataset version.
        InsufficientData: Fewer groups than folds.
        LeakageError: Something of one fold also stands in another.
    """
    from tasks.datasets.experiments import require_classes, starting_version
    from tasks.datasets.folds import make_folds

    check_request(session, name, changes or {})
    lake, line = session.lake, session.line(name, changes)
    base = starting_version(lake, line, dataset_version)
    require_classes(line, base)
    log.info(f"{folds} folds of dataset {base.version[:12]}: {base.rows.num_rows} frames")
    made = make_folds(
        lake, line, kind_of(line.kind), base, folds, seed,
        audit=lambda rows: _refuse_leaks(lake, line, rows), look=lambda rows: audited(lake, line.line, rows),
    )  # fmt: skip
    return PlannedFolds(folds=tuple(made))


def run_fold(session: Session, name: str, changes: Mapping[str, Any] | None, fold_version: str) -> FoldResult:
    """Train on a fold's training groups and test on its others. Finished = returned, killed = resumed.

    Raises:
        DataError: The version is no fold.
        LeakageError: It leaks, by an audit of today's code.
        StepFailed, StepKilled: The training failed; also kept for the summary.
    """
    lake, line = session.lake, session.line(name, changes)
    mark = _mark(lake, line, fold_version)
    key = _fold_key(lake, line, fold_version)
    made = kept_or_made(lake, FOLD, name, key, lambda: _run(lake, line, fold_version, mark))
    return FoldResult.model_validate(made)


def summarise_folds(
    session: Session,
    name: str,
    changes: Mapping[str, Any] | None,
    fold_versions: Sequence[str] | None,
    *,
    must_be_complete: bool = False,
) -> CrossValidation:
    """Sum up the folds that are finished, say which are not and why, store it, and log it in MLflow.

    Args:
        session: Whose lake.
        name: The line.
        changes: As for the folds.
        fold_versions: What `plan_folds` returned; None: it failed.
        must_be_complete: Raise, when all is stored, where a fold is missing.

    Raises:
        StepFailed: There are no folds, or one is missing and all must be there.
        ServiceUnavailable: MLflow did not answer. The summary is stored: call again.
    """
    if not fold_versions:
        raise StepFailed(f"line {name}: there are no folds to sum up", fix="see why plan_folds failed")
    lake, line = session.lake, session.line(name, changes)
    keys = [_fold_key(lake, line, version) for version in fold_versions]
    summary = _summary(lake, line, fold_versions, keys)
    key = digest(WHAT, keys)
    where = f"experiments/{name}/cross-validations/{key}.json"
    summary["result_oid"] = file_result(lake, where, summary)
    summary["mlflow_run"] = log_summary(session.registry, line, key, WHAT, summary)
    failed = [fold for fold in summary["folds"] if fold["state"] != "finished"]
    if failed and must_be_complete:
        raise StepFailed(
            f"line {name}: {len(failed)} of {len(keys)} folds are missing",
            found="; ".join(f"fold {fold['fold']}: {fold['why']}" for fold in failed),
            fix="the others are kept, and summed up in MLflow; mend the cause and run again: only these are done",
        )
    return CrossValidation(**summary)


def _refuse_leaks(lake: Lake, line: Line, rows: pa.Table) -> dict[str, Any]:
    from tasks.leakage import require_passed

    found = audited(lake, line.line, rows)
    require_passed(lake, line.line, found)
    return found.as_json()


def _run(lake: Lake, line: Line, version: str, mark: Mapping[str, Any]) -> FoldResult:
    log.info(f"fold {mark['fold']} of {mark['folds']}")
    manifest = lake.datasets.load(line.line, version)
    require_audit(lake, manifest)
    trained, model = train_unregistered(lake, line, version)
    oid, evaluation = evaluate(lake, line, version, model)
    counts = manifest.about["counts"]
    return FoldResult(
        fold=mark["fold"],
        folds=mark["folds"],
        dataset_version=version,
        groups=evaluation.clusters,
        train_groups=counts["train"]["groups"],
        train_frames=counts["train"]["frames"],
        test_frames=counts["test"]["frames"],
        warnings=tuple(manifest.about["warnings"]),
        run_key=trained.run_key,
        weights_oid=trained.weights_oid,
        evaluation_oid=oid,
        seconds=trained.seconds,
        at=now(),
    )


def _summary(lake: Lake, line: Line, versions: Sequence[str], keys: Sequence[str]) -> dict[str, Any]:
    from tasks.evaluation.evaluation import load_evaluation
    from tasks.metrics.judgement import parts_of

    mark = _mark(lake, line, versions[0])
    folds, evaluations = [], []
    for number, (version, key) in enumerate(zip(versions, keys, strict=True), 1):
        result = kept(lake, FOLD, line.line, f"{key}.json")
        evaluations.append(load_evaluation(lake, result["evaluation_oid"]) if result else None)
        folds.append({"state": "finished", **result} if result else _missing(lake, line, number, version, key))
    recipe = kind_of(line.kind).recipes.load_recipe(line.recipe)
    return {
        "line": line.line,
        "dataset_version": mark["of"],
        "folds": folds,
        "complete": all(evaluation is not None for evaluation in evaluations),
        "seed": mark["seed"],
        "recipe": recipe.model_dump(mode="json"),
        "confidence": line.evaluation.confidence,
        "scores": _scores(line, folds, evaluations),
        "recordings": {
            recording: {"fold": number, **metrics}
            for number, evaluation in enumerate(evaluations, 1)
            if evaluation
            for recording, metrics in parts_of(evaluation.metrics).items()
        },
        "warnings": [f"fold {fold['fold']}: {text}" for fold in folds for text in fold.get("warnings", ())],
    }


def _scores(
    line: Line, folds: Sequence[Mapping[str, Any]], evaluations: Sequence[Evaluation | None]
) -> list[dict[str, Any]]:
    """Every metric, overall and in every slice, over the folds; those that no fold could measure are left out."""
    from tasks.metrics.crossvalidation import fold_scores

    shares = [len(fold["groups"]) / fold["train_groups"] for fold in folds if fold["state"] == "finished"]
    test_over_train = sum(shares) / len(shares) if shares else 0.0
    found = []
    for metric, where in measures(line):
        values = [evaluation.value(metric.name, where) if evaluation else None for evaluation in evaluations]
        if any(value is not None for value in values):
            scores = fold_scores(values, test_over_train, line.evaluation.confidence)
            about = {"metric": metric.name, "title": metric.title, "where": where, "better": metric.better}
            found.append({**about, "digits": metric.digits, **scores.model_dump(mode="json")})
    return found


def _missing(lake: Lake, line: Line, number: int, version: str, key: str) -> dict[str, Any]:
    failure = lake.store.get_json(f"{key}.failed.json")
    groups = lake.datasets.load(line.line, version).about["splits"]
    return {
        "state": "failed" if failure else "unfinished",
        "fold": number,
        "folds": _mark(lake, line, version)["folds"],
        "dataset_version": version,
        "groups": [group for group, split in groups.items() if split == "test"],
        "why": failure["why"] if failure else "not finished: it was killed, or has not run yet",
        "error": failure["error"] if failure else None,
    }


def _mark(lake: Lake, line: Line, version: str) -> dict[str, Any]:
    from tasks.datasets.experiments import experiment_of

    mark = experiment_of(lake.datasets.load(line.line, version))
    if mark is None or mark["what"] != WHAT:
        raise DataError(
            f"line {line.line}: dataset version {version[:12]} is no fold", expected="a version that plan_folds made"
        )
    return mark


def _fold_key(lake: Lake, line: Line, version: str) -> str:
    """Where a fold's records are: its name follows from all that decides its scores."""
    return f"experiments/{line.line}/folds/{score_digest(lake, line, version)}"
