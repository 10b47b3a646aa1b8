"""Optuna, as far as a search needs it: which values come next, whether a trial is worth going on with, what mattered.

The lake's signed records are the study; Optuna's own is made of them anew, in memory, for each question. So nothing of
it has to survive a kill, no sampler's state is pickled, and every answer follows from the records, the seed and the
trial's number alone: asked again, it is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tasks.experiments.search.records import Search, TrialPlan, TrialResult
from tasks.experiments.search.space import restored
from tasks.training import trial_values
from tasks.training.trial_values import Direction, Scalar

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

PRUNED_AFTER_TRIALS, PRUNED_AFTER_EPOCHS = 4, 2
"""Nothing is ended early before so many trials have finished, and before an epoch of this number (from 1)."""
IMPORTANCE_TRIALS = 4
"""Fewer finished trials say nothing of what mattered."""


def draw(search: Search, number: int, finished: Sequence[TrialResult], running: Sequence[TrialPlan]) -> TrialPlan:
    """Draw the values of a trial.

    Args:
        search: Its space, sampler and seed.
        number: Which trial, from 1.
        finished: Trials with a result, in order.
        running: Trials with values and no result yet: TPE keeps away from where others look already.
    """
    seen: list[FrozenTrial] = []
    if search.sampler == "tpe":  # the others go by the seed and the number alone
        seen += [_trial(search, result) for result in finished]
        seen += [_trial(search, plan) for plan in running]
    params = trial_values.draw(restored(search.space), search.sampler, search.seed, number, seen, _direction(search))
    return TrialPlan(number=number, params=params)


def is_hopeless(
    search: Search, plan: TrialPlan, epochs: Sequence[tuple[int, float]], finished: Sequence[TrialResult]
) -> bool:
    """Whether a running trial is worse than half of those that have finished were after as many epochs.

    Args:
        search: Its pruner.
        plan: The trial.
        epochs: What its epochs reported, in order; the last one is asked about.
        finished: The others.
    """
    from optuna.pruners import MedianPruner

    if search.pruner == "none" or not epochs:
        return False
    pruner = MedianPruner(n_startup_trials=PRUNED_AFTER_TRIALS, n_warmup_steps=PRUNED_AFTER_EPOCHS)
    study = _study(search, "maximize")  # an epoch's score is, whatever the search's metric does
    study.add_trials([_trial(search, each, each.epochs) for each in finished if each.state == "complete"])
    return bool(pruner.prune(study, _trial(search, plan, epochs)))


def best_of(search: Search, finished: Sequence[TrialResult]) -> TrialResult | None:
    """The trial of the best value, the earliest of several; None: none has finished."""
    sign = 1 if search.better == "higher" else -1
    valued = [result for result in finished if result.value is not None]
    return max(valued, key=lambda result: (sign * float(result.value or 0.0), -result.number), default=None)


def importances(search: Search, finished: Sequence[TrialResult]) -> tuple[dict[str, float], str]:
    """How much of the spread of values each key explains (they sum to 1), and by which method; empty: too few trials.

    fANOVA (Hutter, Hoos, Leyton-Brown 2014): the variance that a random forest of the finished trials puts down to a
    key alone. Seeded, so that the same trials give the same numbers.
    """
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    complete = [result for result in finished if result.value is not None]
    varied = [key for key in search.space if len({repr(result.params[key]) for result in complete}) > 1]
    if len(complete) < IMPORTANCE_TRIALS or not varied or len({result.value for result in complete}) < 2:
        return {}, ""
    found = get_param_importances(
        study_of(search, complete), evaluator=FanovaImportanceEvaluator(seed=0), params=varied
    )
    return {key: round(float(value), 6) for key, value in found.items()}, "fANOVA"


def study_of(search: Search, finished: Sequence[TrialResult]) -> Study:
    """The finished trials as a study, for Optuna's own plots and measures.

    Optuna counts trials from 0, and we from 1: gaps are filled, so that a trial has the same number in both.
    """
    from optuna.trial import TrialState, create_trial

    study = _study(search)
    known = {result.number: result for result in finished}
    for number in range(max(known, default=0) + 1):
        gap = create_trial(state=TrialState.FAIL)
        study.add_trial(_trial(search, known[number]) if number in known else gap)
    return study


def _study(search: Search, direction: Direction | None = None) -> Study:
    return trial_values.new_study(direction or _direction(search), search.name)


def _direction(search: Search) -> Direction:
    return "maximize" if search.better == "higher" else "minimize"


def _trial(
    search: Search, known: TrialResult | TrialPlan, epochs: Sequence[tuple[int, float]] | None = None
) -> FrozenTrial:
    """One of our records as a trial of Optuna's.

    Args:
        search: Its space.
        known: Finished, or running.
        epochs: What its epochs reported, higher is better; None: as recorded, and turned towards the search's metric,
            for TPE ranks what was ended early by it.
    """
    from optuna.trial import TrialState, create_trial

    params: dict[str, Scalar] = dict(known.params)
    if isinstance(known, TrialPlan):
        state, value = TrialState.RUNNING, None
    else:
        state = TrialState.COMPLETE if known.state == "complete" else TrialState.PRUNED
        value = known.value
        if epochs is None:
            epochs = [(epoch, score if search.better == "higher" else -score) for epoch, score in known.epochs]
    return create_trial(
        state=state,
        value=value,
        params=params,
        distributions=trial_values.distributions(restored(search.space), search.sampler),
        intermediate_values=dict(epochs or ()),
    )
