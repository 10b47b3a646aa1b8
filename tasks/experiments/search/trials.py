"""Plan a search and run its trials, in pieces that can be mapped: plan, one trial, summary (`summary.py`)."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tasks.config import Line
from tasks.errors import ConfigError, StepFailed, TransportError
from tasks.experiments.experiment_runs import train_unregistered
from tasks.experiments.search import records, study
from tasks.experiments.search.objective import validation_metrics, without_test
from tasks.experiments.search.records import Pruner, Search, TrialPlan, TrialResult
from tasks.experiments.search.space import dumped, parse_space
from tasks.kind import Kind
from tasks.kinds import kind_of
from tasks.lake.conditional import look
from tasks.lake.locks import lake_lock
from tasks.lake.searches import search_place
from tasks.schemas import Frozen, digest, now
from tasks.session import Session
from tasks.steps.audit import require_audit
from tasks.steps.change_detection import check_request
from tasks.training.trial_values import MOST_TRIALS, Sampler, cells

if TYPE_CHECKING:
    from tasks.metrics.judgement import Metric
    from tasks.registry.runs import EpochMetrics

log = logging.getLogger(__name__)

TRIALS = 20
"""Of a search that was not told how many; a grid takes all its combinations."""


class PlannedSearch(Frozen):
    """A search that is on record, ready to be run."""

    search: str
    trials: tuple[int, ...]
    """Their numbers, in order."""


def plan_search(
    session: Session,
    name: str,
    changes: Mapping[str, Any] | None,
    space: Any,
    *,
    sampler: Sampler = "tpe",
    trials: int | None = None,
    seed: int = 0,
    search: str | None = None,
    metric: str | None = None,
    where: str | None = None,
    pruner: Pruner | None = None,
    dataset_version: str | None = None,
) -> PlannedSearch:
    """Check everything that a search is asked, and put it on record. A search that is there already goes on.

    Args:
        session: Whose lake.
        name: The line.
        changes: Of its recipe, for every trial.
        space: Data of a space, as `space.read_space` has it.
        sampler: How values are drawn.
        trials: How many; default all of a grid, else `TRIALS`. More than before: the search goes on.
        seed: Of the drawing. The training's own is the recipe's.
        search: Its name; default one that follows from what is asked.
        metric: That decides; default the kind's main one.
        where: A slice of it, e.g. 'class.sperm'.
        pruner: Ends trials early; default 'median' where the kind's trainings report a value for each epoch.
        dataset_version: Of a night; default the newest, or the one that the search began with.

    Raises:
        ConfigError: Naming all faults of the space at once; or the name is taken by a search for something else.
        NotFound: The line has no (such) dataset version.
        InsufficientData: It has no validation split.
        LeakageError: Something of one of its splits also stands in another.
    """
    from tasks.datasets.experiments import require_classes, starting_version

    changes = dict(changes or {})
    if "from_search" in changes:
        raise ConfigError(f"line {name}: a search begins with the line's own recipe", fix="leave from_search out")
    check_request(session, name, changes)
    lake, own = session.lake, session.line(name)
    kind = kind_of(own.kind)
    parsed = parse_space(space, own, kind, changes, sampler)
    decides = _metric(own, kind, metric, where)
    before = records.find_search(lake, name, search) if search else None
    base = starting_version(lake, own, dataset_version or (before.of if before else None))
    require_classes(own, base)
    require_audit(lake, base)
    wanted = Search(
        line=name, name="-", of=base.version, dataset_version=without_test(lake, own, base), space=dumped(parsed),
        changes=changes, metric=decides.name, where=where, better=decides.better, sampler=sampler,
        pruner=_pruner(kind, pruner, main=decides.name == kind.metrics.METRICS[0].name and where is None),
        seed=seed, trials=_number(sampler, trials, cells(parsed)), at=now(),
    )  # fmt: skip
    asked = wanted.model_dump(mode="json", exclude={"name", "trials", "at"})
    called = records.named(search) if search else f"{sampler}-{digest(asked)[:8]}"
    wanted = wanted.model_copy(update={"name": called})
    with lake_lock(lake.settings, f"search-{digest(name, called)[:16]}"):
        return _on_record(session, wanted)


def _on_record(session: Session, wanted: Search) -> PlannedSearch:
    lake = session.lake
    seen = look(lake, search_place(wanted.line, wanted.name))
    known = records.find_search(lake, wanted.line, wanted.name)
    other = known.same_question(wanted) if known else []
    if known and other:
        raise ConfigError(
            f"line {wanted.line}: search {wanted.name!r} is there already, and asks for something else",
            expected=", ".join(f"{key} {getattr(known, key)}" for key in other),
            found=", ".join(f"{key} {getattr(wanted, key)}" for key in other),
            fix="ask the same again to go on with it, or choose another --name",
        )
    if known is None or wanted.trials > known.trials:
        asked = wanted if known is None else known.model_copy(update={"trials": wanted.trials})
        records.save_search(lake, asked, seen)
    log.info(f"search {wanted.name}: {wanted.trials} trials on dataset {wanted.of[:12]}, its test split left out")
    return PlannedSearch(search=wanted.name, trials=wanted.numbers)


def run_trial(session: Session, name: str, search: str, number: int) -> TrialResult:
    """Train with the values of a trial and measure it on the validation split. Finished = returned, killed = resumed.

    Raises:
        NotFound: There is no such search.
        ConfigError: It has no trial of that number; or its values do not go together; kept for the summary.
        StepFailed, StepKilled: The training failed; also kept.
    """
    lake = session.lake
    asked = records.load_search(lake, name, search)
    if number not in asked.numbers:
        raise ConfigError(f"search {search!r}: no trial {number}", expected=f"1 to {asked.trials}")
    # One at a time: whoever asks for a trial that somebody runs waits, and is given that one's result.
    with lake_lock(lake.settings, f"trial-{digest(name, search, number)[:16]}"):
        found = records.find_result(lake, asked, number)
        return found if found is not None else _attempt(session, asked, number)


def _attempt(session: Session, search: Search, number: int) -> TrialResult:
    """Run a trial and file its result, or why there is none."""
    lake = session.lake
    plan, finished = _planned(session, search, number)
    values = ", ".join(f"{key} {value}" for key, value in plan.params.items())
    log.info(f"trial {search.name}#{number} of {search.trials}: {values}")
    try:
        result = _run(session, search, plan, finished)
    except TransportError:  # nobody answered: it says nothing of the trial, and the next try goes on
        raise
    except Exception as error:  # of a library, too: no memory for a model this large
        why = str(error) or type(error).__name__
        failure = {"error": type(error).__name__, "why": why, "at": now().isoformat()}
        records.save_failure(lake, search, number, failure)
        raise
    records.save_result(lake, search, result)
    reached = f"{search.metric} {result.value:.4g}" if result.value is not None else "ended early"
    log.info(f"trial {search.name}#{number}: {reached}")
    return result


def _planned(session: Session, search: Search, number: int) -> tuple[TrialPlan, list[TrialResult]]:
    """A trial's values, drawn unless they were, and the other trials that have finished."""
    lake = session.lake
    with lake_lock(lake.settings, f"search-{digest(search.line, search.name)[:16]}"):
        others = [other for other in search.numbers if other != number]
        results = [result for other in others if (result := records.find_result(lake, search, other))]
        seen = look(lake, records.plan_place(search, number))
        plan = records.find_plan(lake, search, number)
        if plan is None:
            done = {result.number for result in results}
            plans = (records.find_plan(lake, search, other) for other in others if other not in done)
            plan = study.draw(search, number, results, [other for other in plans if other])
            records.save_plan(lake, search, plan, seen)
    return plan, results


def _run(session: Session, search: Search, plan: TrialPlan, finished: Sequence[TrialResult]) -> TrialResult:
    from tasks.provenance import code_version
    from tasks.training.identity import run_key
    from tasks.training.run_worker import StopTraining

    lake, changes = session.lake, {**search.changes, **plan.params}
    line = session.line(search.line, changes)
    kind = kind_of(line.kind)
    epochs: list[tuple[int, float]] = []
    began = now()

    def watch(history: Sequence[EpochMetrics]) -> None:
        epochs[:] = _scores(kind, history)
        if study.is_hopeless(search, plan, epochs, finished):
            raise StopTraining

    known: dict[str, Any] = {
        "number": plan.number, "params": plan.params, "changes": changes, "code_version": code_version(line.kind),
        "run_key": run_key(lake, line, search.dataset_version, kind),
    }  # fmt: skip
    try:
        trained, model = train_unregistered(lake, line, search.dataset_version, watch)
    except StopTraining:
        seconds = round((now() - began).total_seconds(), 3)
        return TrialResult(
            **known, state="pruned", value=None, metrics={}, epochs=tuple(epochs), weights_oid=None, seconds=seconds,
            at=now(),
        )  # fmt: skip
    tree = validation_metrics(lake, line, search.dataset_version, model)
    value = _value(search, tree)
    return TrialResult(
        **known,
        state="complete",
        value=value,
        metrics={metric.name: tree.get(metric.name) for metric in kind.metrics.METRICS},
        epochs=tuple(_scores(kind, trained.history)),
        weights_oid=trained.weights_oid,
        seconds=trained.seconds,
        at=now(),
    )


def _scores(kind: Kind, history: Sequence[EpochMetrics]) -> list[tuple[int, float]]:
    """What each epoch says of the model, where the kind's trainings say it."""
    name = kind.epoch_score
    return [(epoch.epoch, epoch.metrics[name]) for epoch in history if name and name in epoch.metrics]


def _value(search: Search, tree: Mapping[str, Any]) -> float:
    from tasks.metrics.judgement import address, find

    value = find(tree, address(search.metric, search.where))
    if value is None:
        raise StepFailed(
            f"search {search.name}: {search.metric} {search.where or ''} cannot be measured on the validation split",
            expected="labels to measure it by",
            fix="choose another --metric, or label frames of the validation recordings",
        )
    return float(value)


def _metric(line: Line, kind: Kind, name: str | None, where: str | None) -> Metric:
    """The metric that decides.

    Raises:
        ConfigError: There is none of that name, or not in that slice.
    """
    known = {metric.name: metric for metric in kind.metrics.METRICS}
    metric = known.get(name) if name else kind.metrics.METRICS[0]
    if metric is None:
        raise ConfigError(f"line {line.line}: no metric {name!r}", expected=f"one of: {', '.join(known)}")
    slices = [f"{family}.{each}" for family, names in kind.metrics.slices(line).items() for each in names]
    slices = [each for each in slices if each.partition(".")[0] in metric.families]
    if where is not None and where not in slices:
        raise ConfigError(
            f"line {line.line}: {metric.name} has no slice {where!r}", expected=f"one of: {', '.join(slices) or 'none'}"
        )
    return metric


def _pruner(kind: Kind, wanted: Pruner | None, *, main: bool) -> Pruner:
    if wanted == "median" and kind.epoch_score is None:
        raise ConfigError(f"trainings of kind {kind.name!r} report no value for each epoch", expected="--pruner none")
    return wanted or ("median" if kind.epoch_score and main else "none")


def _number(sampler: Sampler, wanted: int | None, combinations: int) -> int:
    most = min(combinations, MOST_TRIALS) if sampler == "grid" else MOST_TRIALS
    if wanted is not None and not 1 <= wanted <= MOST_TRIALS:
        raise ConfigError(f"cannot run {wanted} trials", expected=f"1 to {MOST_TRIALS}")
    return min(wanted, most) if wanted else (most if sampler == "grid" else TRIALS)
