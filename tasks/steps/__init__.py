"""The steps of the DAGs, each one function: what Airflow's tasks call, what `nightscope step` runs without Airflow.

A step opens the lake from this installation's settings, composes the rooms below it (`ingest`, `labeling`,
`validation`, `datasets`, `training`, ...), and returns ids and counts, never arrays. Every step may be killed and run
again: it finds what is finished and does the rest. Nothing heavy is imported before it is needed: a night without news
must stay cheap.
"""

from __future__ import annotations

from tasks.steps.approval import approval_request
from tasks.steps.audit import audit_dataset, read_audit_report
from tasks.steps.champion import describe_champion, list_outcomes
from tasks.steps.clears import clear_pair, list_clears, refused_pair, revoke_clear
from tasks.steps.crossvalidation import cross_validate, plan_folds, run_fold, summarise_folds
from tasks.steps.data import freeze_dataset, validate_labels
from tasks.steps.erase import add_recordings, erase_donor, resolve_names
from tasks.steps.evidence import list_evidence, read_bundle, read_card, verify_all, verify_evidence
from tasks.steps.experiments import demonstrate_leakage
from tasks.steps.export import export_model
from tasks.steps.intake import (
    collect_garbage,
    import_labels,
    ingest_recordings,
    list_lines,
    list_quarantine,
    quarantined_recordings,
    sync_annotations,
)
from tasks.steps.keys import list_keys, rotate_key, trust_keys
from tasks.steps.models import evaluate_models, train_challenger, training_of
from tasks.steps.news import check_news, check_request
from tasks.steps.orders import promote_version, roll_back
from tasks.steps.promotion import promote_model
from tasks.steps.reproduction import reproduce
from tasks.steps.stills import add_stills
from tasks.steps.verdicts import decide_verdict, list_verdicts, read_report, report_of

__all__ = [
    "add_recordings",
    "add_stills",
    "approval_request",
    "audit_dataset",
    "check_news",
    "check_request",
    "clear_pair",
    "collect_garbage",
    "cross_validate",
    "decide_verdict",
    "demonstrate_leakage",
    "describe_champion",
    "erase_donor",
    "evaluate_models",
    "export_model",
    "freeze_dataset",
    "import_labels",
    "ingest_recordings",
    "list_clears",
    "list_evidence",
    "list_keys",
    "list_lines",
    "list_outcomes",
    "list_quarantine",
    "list_verdicts",
    "plan_folds",
    "promote_model",
    "promote_version",
    "quarantined_recordings",
    "read_audit_report",
    "read_bundle",
    "read_card",
    "read_report",
    "refused_pair",
    "report_of",
    "reproduce",
    "resolve_names",
    "revoke_clear",
    "roll_back",
    "rotate_key",
    "run_fold",
    "summarise_folds",
    "sync_annotations",
    "train_challenger",
    "training_of",
    "trust_keys",
    "validate_labels",
    "verify_all",
    "verify_evidence",
]
