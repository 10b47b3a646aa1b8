"""The steps of the DAGs, each one function: what Airflow's tasks call, what `nightscope step` runs without Airflow.

A step takes a session (`tasks/session.py`), composes the rooms below it (`ingest`, `labeling`, `validation`,
`datasets`, `training`, ...), and returns a small typed result: ids and counts, never arrays. Every step may be killed
and run again: it finds what is finished and does the rest. Nothing heavy is imported before it is needed: a night with
nothing new must stay cheap.
"""

from __future__ import annotations

from tasks.steps.approval import approval_request
from tasks.steps.change_detection import check_news, check_request
from tasks.steps.dataset import freeze_dataset, validate_labels
from tasks.steps.evaluate import evaluate_models
from tasks.steps.exploration import explore_dataset
from tasks.steps.garbage import collect_garbage, free_local_space, maintain_tables
from tasks.steps.ingest import ingest_recordings, list_lines
from tasks.steps.labels import sync_annotations
from tasks.steps.promote import promote_model
from tasks.steps.train import train_challenger, training_of
from tasks.steps.verdict import decide_verdict

__all__ = [
    "approval_request",
    "check_news",
    "check_request",
    "clear_pair",
    "collect_garbage",
    "decide_verdict",
    "evaluate_models",
    "explore_dataset",
    "free_local_space",
    "freeze_dataset",
    "ingest_recordings",
    "list_lines",
    "maintain_tables",
    "promote_model",
    "sync_annotations",
    "train_challenger",
    "training_of",
    "validate_labels",
]
