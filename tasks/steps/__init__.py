"""The steps of the DAGs, each one function: what Airflow's tasks call, what `nightscope step` runs without Airflow.

A step opens the lake from this installation's settings, composes the rooms below it (`ingest`, `labeling`,
`validation`, `datasets`, `training`, ...), and returns ids and counts, never arrays. Every step may be killed and run
again: it finds what is finished and does the rest. Nothing heavy is imported before it is needed: a night without news
must stay cheap.
"""

from __future__ import annotations

from tasks.steps.data import freeze_dataset, validate_labels
from tasks.steps.intake import (
    collect_garbage,
    import_labels,
    ingest_recordings,
    list_lines,
    list_quarantine,
    quarantined_recordings,
    sync_annotations,
)
from tasks.steps.models import (
    decide_verdict,
    describe_champion,
    evaluate_models,
    list_verdicts,
    promote_model,
    read_report,
    train_challenger,
    training_of,
)
from tasks.steps.news import check_news, check_request

__all__ = [
    "check_news",
    "check_request",
    "collect_garbage",
    "decide_verdict",
    "describe_champion",
    "evaluate_models",
    "freeze_dataset",
    "import_labels",
    "ingest_recordings",
    "list_lines",
    "list_quarantine",
    "list_verdicts",
    "promote_model",
    "quarantined_recordings",
    "read_report",
    "sync_annotations",
    "train_challenger",
    "training_of",
    "validate_labels",
]
