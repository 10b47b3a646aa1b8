"""A verdict is recorded once, whatever becomes of MLflow, and MLflow shows what it rests on."""

from __future__ import annotations

import csv
import hashlib
import io
from pathlib import Path

import pytest

from tasks import steps
from tasks.errors import ServiceUnavailable
from tasks.evaluation.evaluate import evaluate
from tasks.evaluation.report import Sheet
from tasks.kinds import kind_of
from tasks.lake import Lake
from tasks.promotion.verdict_rows import verdict_named
from tasks.schemas import Decision, Verdict
from tasks.session import open_session
from tasks.steps.verdict import RegisteredTraining, _leak_audit, _sheets
from tasks.training.contact_sheet import MOST_BYTES
from tasks.training.records import Trained
from tests.evaluation.world import a_line, loader, make_world, model
from tests.promotion.promoting import Scene

DETECTION = kind_of("detection")


def evaluated(scene: Scene, *, champion: bool = True) -> tuple[str, RegisteredTraining]:
    """An evaluation in the scene's lake, and the training it is of."""
    world = make_world(scene.lake, a_line(line=scene.name), ["a.mp4", "b.mp4"])
    record = scene.version()
    oid, _ = evaluate(
        scene.lake,
        world.line,
        world.version,
        challenger=model(record.version, 0.1),
        champion=model("9", 0.4) if champion else None,
        load=loader(world),
        kind=DETECTION,
    )
    assert record.mlflow_run is not None
    return oid, steps.training_of(open_session(), scene.name, record.version)


def artifact(scene: Scene, run: str, name: str, folder: Path) -> bytes:
    return Path(scene.registry.client.download_artifacts(run, name, str(folder))).read_bytes()


def test_mlflow_shows_what_the_verdict_rests_on(scene: Scene, tmp_path: Path) -> None:
    oid, training = evaluated(scene)
    told = steps.decide_verdict(open_session(), scene.name, {}, oid, training)
    run = str(training.mlflow_run)
    assert artifact(scene, run, "test/report.html", tmp_path) == scene.lake.blobs.get_bytes(told.report_oid)
    assert hashlib.sha256(artifact(scene, run, "test/evaluation.json", tmp_path)).hexdigest() == oid
    shown = {
        file.path
        for place in ("tables", "curves")
        for file in scene.registry.client.list_artifacts(run, f"test/{place}")
    }
    assert shown == {
        *(f"test/tables/{name}.csv" for name in (
            "breakdown", "confusion", "differences", "per_class", "per_recording", "per_size")),
        *(f"test/curves/{name}.svg" for name in (
            "precision-and-recall-at-iou-0-5", "f1-by-score-threshold", "reliability-at-iou-0-5")),
    }  # fmt: skip
    rows = list(csv.DictReader(io.StringIO(artifact(scene, run, "test/tables/per_recording.csv", tmp_path).decode())))
    assert [row["recording"] for row in rows] == ["a.mp4", "b.mp4"]
    assert {"AP50", "champion AP50", "sperm predicted per frame"} <= rows[0].keys()
    metrics = scene.registry.client.get_run(run).data.metrics
    verdict = verdict_named(scene.lake, told.verdict_id)
    assert metrics["test/AP50"] == verdict.metrics["AP50"]
    assert metrics["test/per_class/sperm/ECE"] == verdict.metrics["per_class"]["sperm"]["ECE"]


def test_judging_again_is_the_same_verdict_and_logs_nothing_twice(scene: Scene) -> None:
    oid, training = evaluated(scene, champion=False)
    first = steps.decide_verdict(open_session(), scene.name, {}, oid, training)
    assert steps.decide_verdict(open_session(), scene.name, {}, oid, training) == first
    assert len(scene.lake.tables.rows("verdicts", Verdict, {"line": scene.name})) == 1
    assert len(scene.registry.client.get_metric_history(str(training.mlflow_run), "test/AP50")) == 1


def test_mlflow_down_loses_no_verdict(scene: Scene, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    oid, training = evaluated(scene, champion=False)
    with monkeypatch.context() as down:
        down.setenv("NIGHTSCOPE_MLFLOW__URL", "http://127.0.0.1:9")
        with pytest.raises(ServiceUnavailable):
            steps.decide_verdict(open_session(), scene.name, {}, oid, training)
    (recorded,) = scene.lake.tables.rows("verdicts", Verdict, {"line": scene.name})
    assert recorded.verdict is Decision.PROMOTE
    told = steps.decide_verdict(open_session(), scene.name, {}, oid, training)  # Airflow's next try
    assert told.verdict_id == recorded.verdict_id
    report = artifact(scene, str(training.mlflow_run), "test/report.html", tmp_path)
    assert report == scene.lake.blobs.get_bytes(str(recorded.report_oid))


def test_contact_sheets_are_taken_from_the_training_in_order_and_few(lake: Lake) -> None:
    def sheets_of(*names: str, jpeg: bytes = b"\xff\xd8\xff") -> list[Sheet]:
        files = {name: lake.blobs.put_bytes(jpeg + name.encode()) for name in names}
        trained = Trained(
            run_key="a" * 64, line="x", dataset_version="1", recipe={}, seed=0, code_version="1", git_commit=None,
            libraries={}, hardware={}, setup={}, weights_oid="b" * 64, epochs=1, steps=1, resumed_from_epoch=None,
            history=(), review={}, files=files, seconds=1,
        )  # fmt: skip
        return _sheets(lake, trained)

    def sheets(*names: str, **more: bytes) -> list[tuple[str, bytes]]:
        return [(sheet.stage, sheet.jpeg) for sheet in sheets_of(*names, **more)]

    only = "training/contact_sheet.jpg"
    assert sheets(only, "training/labels.jpg", "val/contact_sheet.jpg") == [("", b"\xff\xd8\xff" + only.encode())]
    (found,) = sheets_of("val/predicted.jpg", "val/predicted.png")
    assert found.predicted and found.jpeg.endswith(b"predicted.jpg")
    ten = [f"training/contact_sheet_stage_{stage:02d}.jpg" for stage in range(1, 11)]
    assert [stage for stage, _ in sheets(*ten)] == [f"Stage {stage} of 10" for stage in (1, 2, 3, 10)]
    assert sheets(only, jpeg=b"<svg onload=alert(1)>") == [], "it is not a JPEG"
    assert sheets(only, jpeg=b"\xff\xd8\xff" + bytes(MOST_BYTES)) == [], "it is not one of ours"
    assert _sheets(lake, None) == []


def test_the_report_names_the_leak_audit(lake: Lake) -> None:
    """In a sentence, whatever the audit's age: older dataset versions keep fewer numbers."""
    assert _leak_audit(lake, {}) == []
    (old,) = _leak_audit(lake, {"frames": 1200, "suspects": 4, "looked_at": 7, "hash_bits": 12})
    assert old.text == "passed, 1,200 frames compared across splits, 7 of them looked at closely"
    summary = {"passed": True, "frames": 1200, "recordings": 9, "looked_at": 7, "findings": {}, "not_compared": 2}
    (new,) = _leak_audit(lake, {**summary, "report_oid": "ab" * 32})
    assert new.text == (
        "passed, 1,200 frames of 9 recordings compared across splits, 7 of them looked at closely; "
        f"2 recordings could not be compared by how they move; {lake.blobs.uri('ab' * 32)}"
    )
