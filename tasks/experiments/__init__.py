"""Experiments with a line's recipe: they measure, and leave the champion, the nights and the registry as they are.

Each takes a session (`tasks/session.py`) and returns a typed result. A training of an experiment is found again by its
run key; a finished experiment is returned, a killed one goes on.
"""

from __future__ import annotations

from tasks.experiments.cross_validation import cross_validate, plan_folds, run_fold, summarise_folds
from tasks.experiments.leakage_demonstration import demonstrate_leakage
from tasks.experiments.reproduction import reproduce

__all__ = [
    "cross_validate",
    "demonstrate_leakage",
    "plan_folds",
    "reproduce",
    "run_fold",
    "summarise_folds",
]
