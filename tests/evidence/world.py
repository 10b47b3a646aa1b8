"""Nights without training: stand-in weights are registered, really judged, promoted and recorded."""

from __future__ import annotations

import hashlib
import json
import uuid
from pathlib import Path
from typing import cast

import pyarrow as pa

from tasks import evidence
from tasks.config import Line, Settings
from tasks.evaluation.evaluate import evaluate
from tasks.evaluation.predict import LoadPredictor
from tasks.evidence.bundle import Action
from tasks.evidence.checks.findings import Verification
from tasks.gates.decide import decide
from tasks.kind import ModelRef
from tasks.kinds import kind_of
from tasks.lake import Lake, ObjectStore, open_lake
from tasks.lake.denoisers import DenoiserVersion
from tasks.registry import ModelRecord, Registry
from tasks.registry.connection import connect
from tasks.registry.models import ModelAbout
from tasks.registry.runs import EpochMetrics
from tasks.schemas import (
    ENDINGS,
    Decision,
    EvidenceEntry,
    NightState,
    Recording,
    Verdict,
    canonical_json,
    digest,
    now,
)
from tasks.stack.settings_file import MLFLOW_BUCKET
from tasks.training.records import Trained, trained_key, write
from tests.evaluation.world import World, a_line, loader, make_world
from tests.registry.making import CODE, served
from tests.services import s3_access

FRAME_BYTES = 60_000
RECORDINGS = ("a.mp4", "b.mp4", "c.mp4")
GATES = [
    {"metric": "AP50", "class": "sperm", "at_least": 0.3},
    {"metric": "AP50_95", "not_worse_by": 0.3},
    {"metric": "latency_ms_p95", "at_most": 5000, "device": "cpu"},
]


class Nights:
    """A line and what becomes of it.

    Args:
        lake: A fresh one.
        mlflow: Settings of the MLflow that serves it, whose S3 server holds its artifacts.
        folder: Scratch.
        more_frames: So many frames to train on, of `FRAME_BYTES`, make the dataset version as large as a real one.
    """

    def __init__(self, lake: Lake, mlflow: Settings, folder: Path, *, more_frames: int = 0) -> None:
        url = mlflow.mlflow.url
        self.lake = open_lake(lake.settings.model_copy(update={"mlflow": mlflow.mlflow}))
        self.mlflow, self.folder = mlflow, folder
        self.denoiser: DenoiserVersion | None = None
        self.registry = Registry(connect(url), url)
        self.line, self.world = self.make_line(f"line-{uuid.uuid4().hex[:8]}")
        self._freeze(more_frames)

    def make_line(self, name: str) -> tuple[Line, World]:
        """A detection line, and its dataset version; for lines of other kinds to replace."""
        line = a_line(line=name, gates=GATES)
        return line, make_world(self.lake, line, RECORDINGS)

    def loader(self) -> LoadPredictor:
        """What loads stand-ins for the line's models."""
        return cast(LoadPredictor, loader(self.world))

    def _freeze(self, more_frames: int) -> None:
        """The world's dataset version again, with recordings that exist and a record of how it was made."""
        lake = self.lake
        rows = lake.datasets.load(self.line.line, self.world.version).rows.to_pylist()
        recordings = {row["recording_id"]: row["recording_name"] for row in rows}
        oids = {old: lake.blobs.put_bytes(f"film {name}".encode()) for old, name in recordings.items()}
        pictures = (number.to_bytes(4) + bytes(FRAME_BYTES - 4) for number in range(more_frames))
        train = next(row for row in rows if row["split"] == "train")
        for number, oid in enumerate(lake.blobs.put_many(pictures)):
            rows.append({**train, "frame_index": 1_000 + number, "frame_oid": oid})
        for row in rows:
            row["recording_id"] = oids[row["recording_id"]]
        accepted = lake.blobs.put_bytes(b"PAR1 accepted labels")
        result = lake.blobs.put_bytes(canonical_json({"accepted_oid": accepted, "revision": "7" * 64}).encode())
        texts = (b"<html>labels", b'{"checks": []}', b'{"pairs": []}', b"<html>no leaks")
        report, dataset, leaks, leak_report = lake.blobs.put_many(texts)
        about = {
            "validation": {
                "result_oid": result,
                "report_oid": report,
                "dataset_oid": dataset,
                "snapshots": {"annotations": 7},
            },
            "leak_check": {"result_oid": leaks, "report_oid": leak_report, "passed": True},
            "counts": {"test": {"groups": 3, "recordings": 3, "frames": 12, "labels": {"sperm": 40}}},
            "splits": {"recording:1": "test"},
            "warnings": ["the val split is empty"],
        }
        self.world.version = lake.datasets.save(self.line.line, pa.Table.from_pylist(rows), about)
        pts = lake.blobs.put_bytes(b"frame times")
        lake.tables.append(
            "recordings", [_recording(oid, recordings[old], pts) for old, oid in oids.items()], key="recording_id"
        )

    def train(self, run_key: str) -> ModelRecord:
        """A registered version with weights of its own, and the record of its training."""
        lake, blobs, own = self.lake, self.lake.blobs, self.denoiser
        weights = f"weights {run_key}".encode() * 50
        (self.folder / "weights").write_bytes(weights)
        (self.folder / "code.py").write_text(CODE)
        trained = Trained(
            run_key=run_key, line=self.line.line, dataset_version=self.world.version,
            recipe={"name": "any", "weights": None, "arguments": {"denoiser": own and own.called}},
            seed=3, code_version="0.1.0+test", git_commit="c" * 40,
            git_dirty=True, lock_sha256="1" * 64, libraries={"torch": "2"}, hardware={"cpu": "a good one"},
            setup={"denoiser_oid": own.weights_oid} if own else {},
            weights_oid=blobs.put_bytes(weights), checkpoint_oid=blobs.put_bytes(b"checkpoint " + weights),
            nondeterministic=("cumsum_cuda_kernel",), epochs=1, steps=2, resumed_from_epoch=None,
            history=(EpochMetrics(epoch=1, at_ms=0, metrics={}),), review={},
            files={"results.csv": blobs.put_bytes(b"epoch,loss " + weights)}, seconds=1,
        )  # fmt: skip
        write(lake, trained_key(run_key), trained)
        about = ModelAbout(
            line=self.line.line, kind=self.line.kind, run_key=run_key, dataset_version=self.world.version,
            weights_oid=trained.weights_oid, classes=tuple(self.line.classes), imgsz=64,
            predict={"conf": 0.25, "iou": 0.7, "max_det": 300},
        )  # fmt: skip
        run = self.registry.runs.open(self.line.line, run_key, name="test", tags={})
        return self.registry.register(
            about, mlflow_run=run, weights=self.folder / "weights", served=served(self.folder)
        )

    def judge(self, record: ModelRecord, error: float) -> Verdict:
        """Evaluate and decide as a night does."""
        champion = self.registry.champion(self.line.line)
        oid, evaluation = evaluate(
            self.lake,
            self.line,
            self.world.version,
            challenger=_reference(record, error),
            champion=_reference(champion, 0.1) if champion else None,
            load=self.loader(),
            kind=kind_of(self.line.kind),
        )
        outcome = decide(self.line, evaluation, kind_of(self.line.kind))
        line = self.line.model_dump_json(by_alias=True).encode()
        verdict = Verdict(
            verdict_id=digest(record.about.run_key, oid)[:24], line=self.line.line, run_key=record.about.run_key,
            verdict=outcome.decision, reasons=outcome.reasons, gates=outcome.gates, metrics=evaluation.metrics,
            champion_metrics=evaluation.champion_metrics, intervals=evaluation.intervals,
            dataset_version=self.world.version, model_version=record.version,
            champion_version=champion.version if champion else None, mlflow_run=record.mlflow_run,
            evaluation_oid=oid, report_oid=self.lake.blobs.put_bytes(f"<html>report {oid}".encode()),
            line_oid=self.lake.blobs.put_bytes(line), at=now(),
        )  # fmt: skip
        self.lake.tables.append("verdicts", [verdict], key="verdict_id")
        return verdict

    def carry_out(self, verdict: Verdict) -> EvidenceEntry:
        """Promote if it says so, and record it."""
        line, before = self.line.line, self.registry.aliases(self.line.line)
        if verdict.verdict is Decision.PROMOTE:
            self.registry.promote(line, verdict.model_version, verdict.verdict_id)
        return evidence.record(
            self.lake,
            self.registry,
            line=line,
            action="night",
            key=verdict.verdict_id,
            outcome=ENDINGS[verdict.verdict],
            verdict=verdict,
            model_version=verdict.model_version,
            before=before,
            after=self.registry.aliases(line),
        )

    def order(self, action: Action, version: str, key: str) -> EvidenceEntry:
        """A person puts a version in charge, or back, whatever was said of it, and that is recorded."""
        line, before = self.line.line, self.registry.aliases(self.line.line)
        if action == "promotion":
            self.registry.promote(line, version, None)
        else:
            self.registry.roll_back(line, version)
        return evidence.record(
            self.lake, self.registry, line=line, action=action, key=key,
            outcome=NightState.PROMOTED if action == "promotion" else NightState.ROLLED_BACK,
            verdict=next((v for v in self.lake.tables.rows("verdicts", Verdict) if v.model_version == version), None),
            model_version=version, before=before, after=self.registry.aliases(line), by="Ada", note="x", override=True,
        )  # fmt: skip

    def night(self, run_key: str, error: float = 0.1) -> EvidenceEntry:
        """All of it."""
        return self.carry_out(self.judge(self.train(run_key), error))

    def verify(self, version: str | None = None, *, quick: bool = False, head: str | None = None) -> Verification:
        """What `nightscope verify` finds."""
        return evidence.verify(self.lake, self.registry, self.line.line, version, quick=quick, head=head)

    def artifacts(self) -> ObjectStore:
        """The bucket that MLflow keeps its artifacts in."""
        return ObjectStore(s3_access(self.mlflow, "mlflow"), MLFLOW_BUCKET)


def flip(store: ObjectStore, key: str, at: int = -1) -> bytes:
    """Change one bit of an object, as a bad disk does. Returns what it was."""
    good = store.get_bytes(key)
    bad = bytearray(good)
    bad[at] ^= 1
    store.put_bytes(key, bytes(bad))
    return good


def change(store: ObjectStore, key: str, before: str, after: str) -> bytes:
    """Change a JSON object's text, as a person would. Returns what it was."""
    good = store.get_bytes(key)
    assert before in good.decode()
    store.put_bytes(key, good.decode().replace(before, after).encode())
    assert json.loads(store.get_bytes(key))
    return good


def _reference(record: ModelRecord, error: float) -> ModelRef:
    return ModelRef(
        model_version=record.version,
        weights_oid=record.weights_oid,
        classes=record.about.classes,
        dataset_version=record.dataset_version,
        mlflow_run=record.mlflow_run,
        options={"error": error},
    )


def _recording(oid: str, name: str, pts_oid: str) -> Recording:
    return Recording(
        recording_id=oid, name=name, stem=name.partition(".")[0], landing_key=name, study="2026-11", donor=None,
        container="mp4", codec="h264", width_px=160, height_px=120, fps_hz=30.0, duration_s=2.0,
        frames_announced=60, frames_decoded=60, pts_oid=pts_oid, size_bytes=8, ingested_at=now(),
    )  # fmt: skip


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
