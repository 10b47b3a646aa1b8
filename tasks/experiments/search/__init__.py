"""Hyperparameter search: train with many values of a recipe, measure on the validation split, name the best.

    space.py      which values; checked whole before the first trial
    records.py    what a search leaves in the lake
    study.py      Optuna: which values come next, what is ended early, what mattered
    objective.py  the validation split's metrics; the test split is not in a search's dataset version
    trials.py     plan a search, run a trial
    summary.py    table, winner, importances; MLflow
    report.py     the HTML report; journal.py: the same for Optuna's own tools

The winner's values go through a night like any other change of a recipe: `nightscope run LINE --from-search`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from tasks.errors import ConfigError
from tasks.experiments.search.space import read_space
from tasks.experiments.search.summary import SearchSummary, find_summary, list_searches, summarise_search
from tasks.experiments.search.trials import PlannedSearch, plan_search, run_trial
from tasks.session import Session
from tasks.training.trial_values import attempt_each

__all__ = [
    "PlannedSearch",
    "SearchSummary",
    "find_summary",
    "list_searches",
    "plan_search",
    "read_space",
    "run_search",
    "run_trial",
    "summarise_search",
]

log = logging.getLogger(__name__)


def run_search(
    session: Session, name: str, changes: Mapping[str, Any] | None, space: Any, *, max_parallel: int = 1, **asked: Any
) -> SearchSummary:
    """Plan a search, run its trials whatever becomes of each, and sum them up.

    Args:
        session: Whose lake.
        name: The line.
        changes: Of its recipe, for every trial.
        space: Data of a space.
        max_parallel: Trials in flight. Trainings still take turns on a device. With more than one, TPE's values depend
            on which trial finished first.
        asked: As for `plan_search`.

    Raises:
        ConfigError: Fewer than one at a time; or as `plan_search` does.
    """
    if max_parallel < 1:
        raise ConfigError(f"cannot run {max_parallel} trials at once", expected="at least 1")
    planned = plan_search(session, name, changes, space, **asked)

    def attempt(number: int) -> None:
        try:
            run_trial(session, name, planned.search, number)
        except Exception as error:  # one trial's crash must not lose the others; the summary names it
            log.error(f"trial {number} failed: {error or type(error).__name__}")

    attempt_each(planned.trials, attempt, max_parallel)
    return summarise_search(session, name, planned.search)
