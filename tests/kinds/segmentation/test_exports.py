"""Both stages in ONNX are the model that they were made of; what is not is found out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest
import torch

from tasks.cli.export import print_report
from tasks.errors import ConfigError, DataError, StepFailed
from tasks.evaluation.evaluate import evaluate, stored_predictions
from tasks.kind import ModelRef
from tasks.kinds.segmentation import exports, networks
from tasks.kinds.segmentation.export_network import OnnxTwoStage, write_graphs
from tasks.kinds.segmentation.export_process import ExportJob, UseJob, make_export
from tasks.kinds.segmentation.predictor import LoadedSegmenter, load
from tasks.lake import Lake
from tasks.training.exported import ExportRecord
from tasks.training.model_timing import time_models
from tests.kinds.segmentation.test_layout import HEIGHT, SEGMENTATION, WIDTH, a_disc, a_line, frozen, taken_in
from tests.kinds.segmentation.test_predictor import an_image, tiny_spec, write_tiny

CLASSES = ("cell", "debris")
_USED = {
    "latency_ms_p50": 1.0, "latency_ms_p95": 2.0, "fps": 9.0, "peak_rss_mb": 3.0, "libraries_rss_mb": 1.0,
    "size_bytes": 5,
}  # fmt: skip
TIMED = {"device": "cpu", "original": _USED, "export": _USED}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Path]]:
    """A model's weights, and its export."""
    folder = tmp_path_factory.mktemp("export")
    weights = write_tiny(folder / "w.pt", tiny_spec())
    said = make_export(ExportJob(folder=folder, weights=weights, parent_pid=os.getpid()))
    assert said["opset"] >= 17
    return weights, {name: folder / "files" / name for name in said["files"]}


def test_both_stages_answer_what_the_original_answers(exported: tuple[Path, dict[str, Path]]) -> None:
    weights, files = exported
    assert set(files) == {"stage1.onnx", "stage2.onnx", "spec.json"}
    original, _ = networks.read(weights)
    export: Any = OnnxTwoStage(files, threads=1)
    for height, width in ((64, 64), (32, 96), (128, 64)):
        tiles = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(height))
        boxes = [torch.tensor([[4.0, 5.0, 20.0, 30.0], [-4.0, 2.0, 9.0, 12.0]]), torch.zeros(0, 4)]
        for ours, theirs in zip(original.fill(tiles, boxes), export.fill(tiles, boxes), strict=True):
            assert torch.equal(ours.windows, theirs.windows)
            assert torch.allclose(ours.masks, theirs.masks, atol=1e-4)
        for ours, theirs in zip(original.raw_instances(tiles, 0.3), export.raw_instances(tiles, 0.3), strict=True):
            assert len(ours) == len(theirs) > 0
            assert torch.allclose(ours.scores, theirs.scores, atol=1e-5)


def test_a_predictor_of_an_export_is_one(lake: Lake, exported: tuple[Path, dict[str, Path]]) -> None:
    weights, files = exported
    oids = {name: lake.blobs.put_file(path) for name, path in files.items()}
    model = ModelRef(
        model_version="1 as onnx", weights_oid=oids["stage1.onnx"], classes=CLASSES, options={"files": oids}
    )
    export = load(lake, model, None)
    assert export.device == "cpu"
    original = LoadedSegmenter(weights, device="cpu")
    (ours,), (theirs,) = original.predict([an_image()]), export.predict([an_image()])
    assert len(ours) == len(theirs) > 3
    assert np.allclose(ours.scores, theirs.scores, atol=1e-5)
    boxes = np.array([[9.0, 9.0, 29.0, 29.0]])
    assert original.fill(an_image(), boxes) == export.fill(an_image(), boxes)
    with pytest.raises(DataError, match="as exported"):
        LoadedSegmenter({"stage1.onnx": weights})


def test_checks_pass_the_export_and_find_another_model_out(
    lake: Lake, tmp_path: Path, exported: tuple[Path, dict[str, Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    line = a_line()
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    cv2.circle(picture, (20, 20), 6, (200, 200, 200), -1)
    frames = taken_in(lake, line, tmp_path / "in", a=picture, b=picture[::-1].copy())
    version = frozen(lake, line, frames, {"a": [a_disc(20, 20)], "b": []})
    rows = [row for row in lake.datasets.load(line.line, version).rows.to_pylist() if row["split"] == "test"]
    weights, files = exported
    oid = lake.blobs.put_file(weights)
    other = write_tiny(tmp_path / "o.pt", tiny_spec(), bias=0.1)
    oids = {name: lake.blobs.put_file(path) for name, path in files.items()}
    champion = ModelRef(model_version="1", weights_oid=oid, classes=CLASSES)
    export = ModelRef(model_version="1 as onnx", weights_oid=oids["stage1.onnx"], classes=CLASSES,
                      options={"files": oids})  # fmt: skip
    stranger = ModelRef(model_version="2", weights_oid=lake.blobs.put_file(other), classes=CLASSES)
    for challenger, accepted in ((export, True), (stranger, False)):
        _, evaluation = evaluate(
            lake, line, version, kind=SEGMENTATION, challenger=challenger, champion=champion,
            load=lambda which, _: load(lake, which, "cpu"),
        )  # fmt: skip
        assert evaluation.champion
        tables = [stored_predictions(lake, run.predictions_oid) for run in (evaluation.champion, evaluation.challenger)]
        checks = exports.checks(line, evaluation, *tables, rows, {"min_score": 0.0})
        assert checks["cells"]["compared"] > 3
        refusals = exports.refusals(a_record(line.line, version, oid, checks))
        assert (refusals == []) is accepted, refusals
        assert any(text.startswith("scores: moved") for text in refusals) is not accepted
        assert f"{checks['cells']['missing']} missing" in exports.described(checks)[0]
        found = {"accepted": accepted, "found": False, "label": "onnx", "record_oid": None, "reasons": refusals}
        print_report(a_record(line.line, version, oid, checks).model_dump(mode="json") | found | {"benchmark": TIMED})
        assert "AP50_pooled" in (said := capsys.readouterr().out) and ("refused" in said) is not accepted


def a_record(line: str, version: str, oid: str, checks: dict[str, Any]) -> ExportRecord:
    export = {
        "format": "onnx", "int8": False, "files": {"stage2.onnx": "2" * 64, "stage1.onnx": "1" * 64}, "size_bytes": 1,
        "shape": "", "libraries": {},
    }  # fmt: skip
    return ExportRecord.model_validate(
        {"line": line, "kind": "segmentation", "model_version": "1", "weights_oid": oid, "dataset_version": version,
         "classes": CLASSES, "imgsz": 64, "predict": {}, "export": export, "tolerance": exports.tolerance("fp32", None),
         "checks": checks, "benchmark": {}, "evaluation_oid": "", "code_version": "", "hardware": ""}
    )  # fmt: skip


def test_cells_are_matched_by_class_and_overlap() -> None:
    def table(*cells: tuple[str, Any]) -> pa.Table:
        rows = [
            {"recording_id": "r", "frame_index": 0, "label": label, "score": 0.9, "mask": item["mask"]}
            for label, item in cells
        ]
        return pa.Table.from_pylist(rows)

    from tasks.kinds.segmentation.export_parity import _agreement

    frames = [{"recording_id": "r", "frame_index": 0, "height_px": HEIGHT, "width_px": WIDTH}]
    ours = table(("cell", a_disc(10, 10)), ("cell", a_disc(30, 30)), ("debris", a_disc(50, 30)))
    theirs = table(("cell", a_disc(11, 10)), ("cell", a_disc(50, 30)), ("debris", a_disc(30, 10)))
    found = _agreement(ours, theirs, frames, 0.5)
    assert (found["compared"], found["missing"], found["extra"]) == (3, 2, 2)
    assert 0.7 < found["mask_iou_p05"] < 0.95
    assert _agreement(ours, theirs, frames, 0.95)["compared"] == 0


def test_a_timing_is_of_the_same_pictures(tmp_path: Path, exported: tuple[Path, dict[str, Path]]) -> None:
    weights, files = exported
    cv2.imwrite(str(tmp_path / "a.png"), an_image())
    jobs = {
        name: UseJob(files=own, classes=CLASSES, images=(tmp_path / "a.png",), originals=(), parent_pid=os.getpid())
        for name, own in (("original", {"weights.pt": weights}), ("export", files))
    }
    timed = time_models(jobs, "tasks.kinds.segmentation.export_footprint", tmp_path, rounds=2)
    for own in timed.values():
        assert own["images"] == 2
        assert 0 < own["latency_ms_p50"] <= own["latency_ms_p95"]
        assert 50 < own["libraries_rss_mb"] <= own["peak_rss_mb"]


def test_what_cannot_be_exported_is_refused(tmp_path: Path) -> None:
    assert exports.check_supported("onnx", "fp32") == "onnx"
    for fmt, precision in (("onnx", "int8"), ("onnx", "fp16"), ("openvino", "fp32")):
        with pytest.raises(ConfigError, match="export"):
            exports.check_supported(fmt, precision)
    with pytest.raises(ConfigError, match="max-ap-loss"):
        exports.tolerance("fp32", 2.0)
    junk = tmp_path / "junk"
    junk.write_bytes(b"no weights")
    with pytest.raises(StepFailed, match="cannot be loaded"):
        make_export(ExportJob(folder=tmp_path, weights=junk, parent_pid=os.getpid()))
    rays = networks.read(write_tiny(tmp_path / "rays.pt", tiny_spec("star-convex")))
    with pytest.raises(ValueError, match="two-stage"):
        write_graphs(*rays, tmp_path)


def test_the_same_model_gives_the_same_bytes(tmp_path: Path, exported: tuple[Path, dict[str, Path]]) -> None:
    weights, files = exported
    write_graphs(*networks.read(weights), tmp_path)
    for name, path in files.items():
        assert (tmp_path / name).read_bytes() == path.read_bytes(), name
