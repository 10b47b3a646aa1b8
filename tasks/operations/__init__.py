"""What a person does: promote and roll back, audit, verify, export, erase, rotate keys, look things up.

Each operation takes a session (`tasks/session.py`) and returns a typed result. Commands, the DAGs *Promote a model*,
*Roll back a model* and *Verify the evidence*, and the report page call them. Nothing heavy is imported before it is
needed.
"""

from __future__ import annotations

from tasks.operations.audit import audit_dataset, read_audit_report
from tasks.operations.champion import describe_champion, list_outcomes
from tasks.operations.clears import clear_pair, list_clears, refused_pair, revoke_clear
from tasks.operations.denoisers import describe_denoiser, list_denoiser_versions, train_denoiser
from tasks.operations.erase import erase_donor
from tasks.operations.evaluating import evaluate_model, train_model
from tasks.operations.evidence import list_evidence, read_bundle, read_card, verify_all, verify_evidence
from tasks.operations.explore import explore_line
from tasks.operations.export import export_model
from tasks.operations.filling import fill_labels
from tasks.operations.intake import add_recordings, import_labels, list_quarantine, quarantined_recordings
from tasks.operations.keys import list_keys, rotate_key, trust_keys
from tasks.operations.manual_promotion import promote_version, roll_back
from tasks.operations.pseudonyms import resolve_names
from tasks.operations.query import query_lake
from tasks.operations.reports import list_verdicts, read_report, report_of
from tasks.operations.stills import add_stills

__all__ = [
    "add_recordings",
    "add_stills",
    "audit_dataset",
    "clear_pair",
    "describe_champion",
    "describe_denoiser",
    "erase_donor",
    "evaluate_model",
    "explore_line",
    "export_model",
    "fill_labels",
    "import_labels",
    "list_clears",
    "list_denoiser_versions",
    "list_evidence",
    "list_keys",
    "list_outcomes",
    "list_quarantine",
    "list_verdicts",
    "promote_version",
    "quarantined_recordings",
    "query_lake",
    "read_audit_report",
    "read_bundle",
    "read_card",
    "read_report",
    "refused_pair",
    "report_of",
    "resolve_names",
    "revoke_clear",
    "roll_back",
    "rotate_key",
    "train_denoiser",
    "train_model",
    "trust_keys",
    "verify_all",
    "verify_evidence",
]
