"""Experiments with a line's recipe: they measure, and leave the champion, the nights and the registry as they are.

Each takes a session (`tasks/session.py`) and returns a typed result. A training of an experiment is found again by its
run key; a finished experiment is returned, a killed one goes on.
"""

from __future__ import annotations

from tasks.experiments.cross_validation import cross_validate, plan_folds, run_fold, summarise_folds
from tasks.experiments.diagnosis import diagnose
from tasks.experiments.leakage_demonstration import demonstrate_leakage
from tasks.experiments.reproduction import reproduce
from tasks.experiments.search import (
    find_summary,
    list_searches,
    plan_search,
    read_space,
    run_search,
    run_trial,
    summarise_search,
)

__all__ = [
    "cross_validate",
    "demonstrate_leakage",
    "diagnose",
    "find_summary",
    "list_searches",
    "plan_folds",
    "plan_search",
    "read_space",
    "reproduce",
    "run_fold",
    "run_search",
    "run_trial",
    "summarise_folds",
    "summarise_search",
]
