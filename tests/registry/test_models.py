"""Runs and model versions against the real MLflow: one of each per run key, wherever a call was killed."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest

from tasks.config import Settings
from tasks.errors import ConfigError, NotFound, ServiceUnavailable
from tasks.registry import Registry, open_registry
from tasks.registry.connection import connect
from tasks.registry.runs import EpochMetrics
from tests.registry.making import CODE, about, make_version, served
from tests.registry.test_promotion import Fragile, Killed


@pytest.fixture
def line() -> str:
    return f"line-{uuid.uuid4().hex[:8]}"


def test_a_run_is_found_again_by_its_key(registry: Registry, line: str) -> None:
    first = registry.runs.open(line, "k" * 64, name="first", tags={"nightscope.seed": 1})
    assert registry.runs.open(line, "k" * 64, name="first", tags={}) == first
    assert registry.runs.open(line, "j" * 64, name="second", tags={}) != first


def test_logging_twice_logs_once(registry: Registry, line: str) -> None:
    run = registry.runs.open(line, "k" * 64, name="run", tags={})
    epochs = [
        EpochMetrics(epoch=n, at_ms=1000 + n, metrics={"metrics/mAP50(B)": n / 10, "train/box_loss": 1 / n})
        for n in (1, 2)
    ]
    for _ in range(2):
        registry.runs.log_params(run, {"imgsz": 704, "scale": [0.5, 1.5], "name": "x"})
        registry.runs.log_epochs(run, epochs)
        registry.runs.log_dataset(run, line, "d" * 64, "s3://lake/datasets")
    history = registry.client.get_metric_history(run, "AP50")
    assert [(entry.step, entry.value) for entry in history] == [(1, 0.1), (2, 0.2)]
    found = registry.client.get_run(run)
    assert found.data.params == {"imgsz": "704", "scale": "[0.5, 1.5]", "name": "x"}
    assert [entry.dataset.digest for entry in found.inputs.dataset_inputs] == ["d" * 36]


def test_files_keep_the_names_we_give_them(registry: Registry, line: str, tmp_path: Path) -> None:
    run = registry.runs.open(line, "k" * 64, name="run", tags={})
    (tmp_path / "0123abcd").write_bytes(b"picture")
    registry.runs.log_files(run, {"val/confusion_matrix.png": tmp_path / "0123abcd"})
    assert [entry.path for entry in registry.client.list_artifacts(run, "val")] == ["val/confusion_matrix.png"]


def test_registering_again_gives_the_same_version(registry: Registry, line: str, tmp_path: Path) -> None:
    first = make_version(registry, line, "k" * 64, tmp_path)
    assert make_version(registry, line, "k" * 64, tmp_path) == first
    other = make_version(registry, line, "j" * 64, tmp_path)
    assert [record.version for record in registry.versions(line)] == [other.version, first.version]
    assert other.aliases == ("challenger",)
    assert registry.version(line, first.version).aliases == ()


@pytest.mark.parametrize("writes", range(7))
def test_killed_after_any_call_there_is_one_version(registry: Registry, line: str, tmp_path: Path, writes: int) -> None:
    fragile = Registry(Fragile(registry.client, writes), registry.url)  # type: ignore[arg-type]
    (tmp_path / "weights").write_bytes(b"weights")
    run = registry.runs.open(line, "k" * 64, name="run", tags={})
    (tmp_path / "code.py").write_text(CODE)
    arguments = {"mlflow_run": run, "weights": tmp_path / "weights", "served": served(tmp_path)}
    with pytest.raises(Killed):
        fragile.register(about(line, "k" * 64), **arguments)  # type: ignore[arg-type]

    record = registry.register(about(line, "k" * 64), **arguments)  # type: ignore[arg-type]

    assert record.aliases == ("challenger",)
    assert len(registry.versions(line)) == 1
    assert len(registry.client.search_logged_models([registry.runs.experiment(line)])) == 1


def test_the_model_says_what_it_is(registry: Registry, line: str, tmp_path: Path) -> None:
    import mlflow

    record = make_version(registry, line, "k" * 64, tmp_path)
    mlflow.set_tracking_uri(registry.url)
    folder = Path(mlflow.artifacts.download_artifacts(f"models:/{line}@challenger", dst_path=str(tmp_path / "down")))
    said = json.loads((folder / "artifacts" / "model.json").read_text())
    assert said["classes"] == ["sperm", "impurity"]
    assert said["weights_sha256"] == record.weights_oid
    signature = mlflow.models.get_model_info(str(folder)).signature
    assert [column.name for column in signature.outputs.inputs] == [
        "x_px",
        "y_px",
        "width_px",
        "height_px",
        "label",
        "score",
    ]
    assert signature.inputs.inputs[0].shape == (-1, -1, 3)
    assert all("==" in text for text in (folder / "requirements.txt").read_text().split())


def test_a_server_that_is_down_is_a_transport_error_and_soon(line: str) -> None:
    down = Registry(connect("http://127.0.0.1:9"), "http://127.0.0.1:9")
    with pytest.raises(ServiceUnavailable, match=r"127\.0\.0\.1:9"):
        down.runs.open(line, "k" * 64, name="run", tags={})
    with pytest.raises(ServiceUnavailable):
        down.champion(line)


def test_no_url_says_what_to_do() -> None:
    with pytest.raises(ConfigError, match="nightscope up"):
        open_registry(Settings())


def test_a_line_without_models(registry: Registry, line: str) -> None:
    assert registry.champion(line) is None
    assert registry.versions(line) == []
    with pytest.raises(NotFound):
        registry.version(line, "1")
