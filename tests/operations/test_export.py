"""An export is made, compared with its original, timed, and attached; or refused, and then nothing is attached."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from tasks import operations
from tasks.cli import app
from tasks.config import Settings
from tasks.errors import ConfigError, NotFound
from tasks.kinds import kind_of
from tasks.kinds.detection.export_parity import FP16_TOLERANCE as FP16
from tasks.kinds.detection.export_parity import FULL_TOLERANCE as FULL
from tasks.kinds.detection.export_parity import INT8_TOLERANCE as INT8
from tasks.kinds.detection.export_parity import refusals
from tasks.lake import gc
from tasks.operations.export import load_record
from tasks.registry.exports import attached
from tasks.session import open_session
from tasks.steps.predictors import export_reference, reference
from tasks.training.exported import Export, ExportRecord
from tests.operations.exporting import HEIGHT, WIDTH, Champion, make_champion, one_cpu


@pytest.fixture(scope="module")
def trained(with_registry: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Champion]:
    with one_cpu():
        yield make_champion(with_registry, tmp_path_factory.mktemp("champion"))


@pytest.fixture
def champion(trained: Champion, monkeypatch: pytest.MonkeyPatch) -> Champion:
    """A champion whose lake and line this process's steps find."""
    monkeypatch.setenv("NIGHTSCOPE_STATE_DIR", str(trained.settings.state_dir))
    monkeypatch.setenv("NIGHTSCOPE_LINES_DIR", str(trained.lines_dir))
    return trained


def command(*arguments: str) -> tuple[int, Any]:
    done = CliRunner().invoke(app, ["export", *arguments, "--json"])
    return done.exit_code, json.loads(done.stdout)


def test_the_champion_is_exported_checked_timed_and_attached_once(champion: Champion) -> None:
    code, report = command(champion.line.line, "--format", "onnx")
    assert (code, report["accepted"], report["found"]) == (0, True, False)
    assert report["checks"]["metrics"]["AP50"]["original"] > 0.3, "the model must have learned something to lose"
    assert report["checks"]["boxes"]["compared"] > 10
    assert report["checks"]["boxes"]["corner_px_max"] < 0.1
    for timed in (report["benchmark"]["original"], report["benchmark"]["export"]):
        assert 0 < timed["latency_ms_p50"] <= timed["latency_ms_p95"] and timed["fps"] > 0
        assert timed["peak_rss_mb"] > timed["libraries_rss_mb"] > 0
        assert timed["size_bytes"] > 10_000

    assert attached(champion.registry, champion.record) == {"onnx": report["record_oid"]}
    run = champion.record.mlflow_run
    shown = {item.path for item in champion.registry.client.list_artifacts(run, "exports/onnx")}
    assert shown == {"exports/onnx/model.onnx", "exports/onnx/record.json"}

    code, again = command(champion.line.line, "--format", "onnx", "--to", champion.record.version)
    assert (code, again["found"], again["record_oid"]) == (0, True, report["record_oid"])
    assert again["benchmark"] == report["benchmark"]

    record = load_record(champion.lake, report["record_oid"])
    load = partial(kind_of(champion.line.kind).predictors.load, champion.lake)
    image = np.random.default_rng(0).integers(0, 30, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    cv2.rectangle(image, (30, 20), (41, 31), (250, 250, 250), -1)
    both = [load(which, "cpu").predict([image])[0] for which in (reference(champion.record), export_reference(record))]
    assert len(both[0]) == len(both[1]) > 0
    np.testing.assert_allclose(both[0][:3], both[1][:3], atol=1e-2)

    named = {*record.export.files.values(), record.evaluation_oid, report["record_oid"]}
    blobs = {info.key.rsplit("/", 1)[1]: info for info in champion.lake.store.list("blobs/sha256/")}
    assert named <= gc.referenced(champion.lake, blobs), "garbage collection would take it"


def test_an_export_that_loses_too_much_is_refused_and_not_attached(champion: Champion) -> None:
    before = attached(champion.registry, champion.record)
    code, report = command(champion.line.line, "--format", "onnx", "--int8", "--max-ap-loss", "0")
    assert (code, report["accepted"]) == (1, False)
    assert any("loses" in reason and "allowed 0" in reason for reason in report["reasons"])
    assert report["export"]["calibration"]["split"] == "train"
    rows = champion.lake.datasets.load(champion.line.line, champion.record.dataset_version).rows.to_pylist()
    training = {row["frame_oid"] for row in rows if row["split"] == "train"}
    assert set(report["export"]["calibration"]["frames"]) == training
    assert attached(champion.registry, champion.record) == before
    assert list(champion.lake.store.list(f"exports/{champion.line.line}/{champion.record.version}/onnx-int8")) == []


def test_what_cannot_be_exported_is_said_first(champion: Champion) -> None:
    with pytest.raises(ConfigError, match="torchscript has no int8"):
        operations.export_model(open_session(), champion.line.line, "torchscript", precision="int8")
    with pytest.raises(ConfigError, match="no such format"):
        operations.export_model(open_session(), champion.line.line, "caffe")
    with pytest.raises(ConfigError, match="litert-torch cannot be installed"):
        operations.export_model(open_session(), champion.line.line, "tflite")
    both = CliRunner().invoke(app, ["export", champion.line.line, "--format", "onnx", "--int8", "--fp16"])
    assert isinstance(both.exception, ConfigError) and "one precision" in str(both.exception)
    with pytest.raises(ConfigError, match="number from 0 to 1"):
        operations.export_model(open_session(), champion.line.line, "onnx", max_ap_loss=2)
    with pytest.raises(NotFound, match="version 99"):
        operations.export_model(open_session(), champion.line.line, "onnx", version="99")


def a_record(tolerance: dict[str, float], difference: float | None, worst: float = 0.0, **boxes: Any) -> ExportRecord:
    usual = {"compared": 1000, "without_partner": 0, "extra": 0, "corner_px_p95": 0.01}
    return ExportRecord(
        line="l", kind="detection", model_version="1", weights_oid="w", dataset_version="d", classes=("sperm",),
        imgsz=96, predict={}, tolerance=tolerance, benchmark={}, evaluation_oid="e", code_version="c", hardware="h",
        export=Export(format="onnx", int8=False, files={}, size_bytes=1, shape="", libraries={}),
        checks={
            "boxes": usual | boxes,
            "metrics": {"AP50": {"difference": difference}},
            "classes": {"sperm": {"difference": worst}},
        },
    )  # fmt: skip


@pytest.mark.parametrize(
    ("tolerance", "difference", "boxes", "reason"),
    [
        (FULL, -0.0009, {"corner_px_p95": 0.49, "extra": 5}, None),
        (FULL, -0.0011, {}, "AP50: differs by 0.0011, allowed 0.001"),
        (FULL, 0.0011, {}, "AP50: differs by 0.0011, allowed 0.001"),
        (FULL, 0.0, {"corner_px_p95": 0.6}, "boxes: moved by 0.60 px (p95), allowed 0.5"),
        (FULL, 0.0, {"without_partner": 4, "extra": 2}, "boxes: 4 of 1000 are missing and 2 are new"),
        (FP16, -0.004, {"corner_px_p95": 0.9, "extra": 15}, None),
        (FP16, -0.006, {}, "AP50: loses 0.0060, allowed 0.005"),
        (FP16, 0.0, {"corner_px_p95": 1.1}, "boxes: moved by 1.10 px (p95), allowed 1"),
        (INT8, -0.019, {"corner_px_p95": 3.0, "extra": 40}, None),
        (INT8, -0.01, {"without_partner": 60}, "boxes: 60 of 1000 are missing"),
        (INT8, -0.01, {"worst": -0.06}, "AP50 of sperm: loses 0.0600, allowed 0.05"),
        (INT8, 0.05, {}, None),
        (INT8, -0.021, {}, "AP50: loses 0.0210, allowed 0.02"),
        (INT8, None, {}, "AP50: cannot be measured"),
    ],
)
def test_tolerances(tolerance: dict[str, float], difference: float | None, boxes: Any, reason: str | None) -> None:
    found = refusals(a_record(tolerance, difference, **boxes))
    assert len(found) == (reason is not None)
    assert reason is None or found[0].startswith(reason)


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    import subprocess

    code = (
        "import sys, tasks.steps, tasks.operations, tasks.experiments, tasks.cli.export; "
        "print([m for m in ('torch', 'onnx', 'openvino', 'ultralytics', 'cv2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
