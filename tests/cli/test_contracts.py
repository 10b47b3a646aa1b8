"""What scripts read: the keys of each result's JSON are a contract, whatever the classes are called inside."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.experiments.cross_validation import CrossValidation, FoldResult, PlannedFolds
from tasks.experiments.diagnosis import DiagnosisReport
from tasks.experiments.leakage_demonstration import LeakageDemonstration
from tasks.experiments.reproduction import Reproduction
from tasks.exploration.explore import Explored
from tasks.lake.denoisers import DenoiserVersion
from tasks.operations.audit import AuditedDataset
from tasks.operations.champion import ChampionReport, ErasedSource, Outcome
from tasks.operations.denoisers import TrainedDenoiser
from tasks.operations.doctor import Checkup, Finding
from tasks.operations.erase import Erasure
from tasks.operations.evaluating import EvaluatedModel, TrainedModel
from tasks.operations.evidence import VerifiedLines
from tasks.operations.export import ExportedModel
from tasks.operations.keys import DescribedKey, RotatedKey, TrustedKeys
from tasks.operations.manual_promotion import ManualPromotion
from tasks.operations.pseudonyms import ResolvedName
from tasks.operations.watch_folder import Watched
from tasks.schemas import Frozen
from tasks.steps.approval import ApprovalRequest
from tasks.steps.change_detection import News
from tasks.steps.dataset import FrozenDataset, ValidatedLabels
from tasks.steps.evaluate import EvaluatedModels
from tasks.steps.garbage import CollectedGarbage
from tasks.steps.ingest import Ingested
from tasks.steps.labels import SyncedAnnotations
from tasks.steps.promote import Promoted
from tasks.steps.results import SetAside
from tasks.steps.verdict import DecidedVerdict
from tasks.training.exported import Export, ExportRecord

KEY = "fingerprint name added_at active retired endorsed_by public"
DENOISER = (
    "name version weights_oid size_bytes key plan pictures quality seconds by at git_commit git_dirty lock_sha256 "
    "libraries hardware"
)
CONTRACTS: dict[type[Frozen], str] = {
    News: "news",
    Ingested: "new duplicates frames quarantined delayed",
    SetAside: "what reason",
    SyncedAnnotations: "tasks_created revisions deleted cancelled quarantined notes",
    ValidatedLabels: "validation_oid report_oid frames quarantined",
    FrozenDataset: "dataset_version",
    EvaluatedModels: "evaluation_oid",
    DecidedVerdict: "verdict_id verdict reasons report_oid report",
    Promoted: "model_version promoted_at evidence by differs",
    ApprovalRequest: "subject body",
    CollectedGarbage: "removed size_bytes kept_young",
    PlannedFolds: "folds",
    FoldResult: "fold folds dataset_version groups train_groups train_frames test_frames warnings run_key weights_oid "
    "evaluation_oid seconds at",
    CrossValidation: "line dataset_version folds complete seed recipe confidence scores recordings warnings "
    "result_oid mlflow_run",
    LeakageDemonstration: "line dataset_version seed confidence splits scores same_frames new_groups audit sentence "
    "result_oid",
    Reproduction: "line model_version dataset_version run_key same same_tensors same_run_key weights_oid again_oid "
    "comparison prevented_by circumstances resumed_from_epoch seconds sentence",
    DiagnosisReport: "line kind model_version dataset_version images main advice errors slices threshold label_noise "
    "training learning_curve unlearned not_run evaluation_oid seconds",
    AuditedDataset: "line dataset_version passed code frames recordings suspects looked_at findings ruled_out "
    "cleared_by_people ignored_clears not_compared settled result_oid report_oid report",
    ChampionReport: "line model_version dataset_version metrics intervals promoted_at verdict unlearned "
    "learned_from_erased order mlflow_run weights_oid",
    Outcome: "action state by note at evidence",
    ErasedSource: "tombstone at",
    Erasure: "erased counts recordings labeling_tasks models lines tombstone not_reached",
    VerifiedLines: "lines without",
    DescribedKey: KEY,
    RotatedKey: f"{KEY} lines",
    TrustedKeys: "keys signs trusted_keys signing_key",
    DenoiserVersion: DENOISER,
    TrainedDenoiser: f"{DENOISER} found",
    Checkup: "healthy findings seconds",
    Finding: "check state found fix",
    Watched: "landed refused waiting",
    ManualPromotion: "line action model_version before evidence verdict_id by note at undo",
    ResolvedName: "pseudonym clear",
    EvaluatedModel: "line kind model_version dataset_version images recordings clusters device metrics intervals "
    "evaluation_oid",
    TrainedModel: "run_key mlflow_run epochs steps seconds evaluation",
    Explored: "line dataset_version report_oid frames groups labels notes exact_duplicates near_duplicates "
    "labels_to_check damaged at",
}


@pytest.mark.parametrize("result", CONTRACTS, ids=lambda result: result.__name__)
def test_the_json_of_a_result_has_these_keys(result: type[Frozen]) -> None:
    assert set(result.model_json_schema(mode="serialization")["properties"]) == set(CONTRACTS[result].split())


@pytest.mark.parametrize("oid", ["a" * 64, None])
def test_only_an_export_that_was_accepted_has_a_record(oid: str | None) -> None:
    rest: dict[str, Any] = {
        "line": "cells", "kind": "detection", "model_version": "3", "weights_oid": "b" * 64, "classes": ("sperm",),
        "dataset_version": "d" * 64, "imgsz": 64, "predict": {}, "tolerance": {}, "checks": {}, "benchmark": {},
        "export": Export(
            format="onnx", int8=False, files={"model.onnx": "c" * 64}, size_bytes=1, shape="", libraries={}
        ),
        "evaluation_oid": "e" * 64, "code_version": "1", "hardware": "cpu",
    }  # fmt: skip
    exported = ExportedModel(
        accepted=bool(oid), reasons=() if oid else ("worse",), found=False, label="onnx", record_oid=oid, **rest
    )
    own = {"accepted", "reasons", "found", "label"} | ({"record_oid"} if oid else set())
    assert exported.model_dump(mode="json").keys() == own | set(ExportRecord.model_fields)
