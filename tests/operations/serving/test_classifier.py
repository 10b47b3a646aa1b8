"""Classifiers on files, on a test split and over HTTP: one row a picture, of one class or of several labels."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from tasks.cli import app as commands
from tasks.config import Settings
from tasks.errors import ConfigError
from tasks.operations.predicting.loading import load_model
from tasks.operations.serving.app import make_app
from tasks.operations.serving.champion import ChampionWatch
from tasks.operations.serving.pictures import Pictures
from tasks.session import open_session
from tests.ingest.clips import write_clip
from tests.kinds.classification.pictures import CLASSES
from tests.operations.classifying import TEST, make_classifier, shape_on_clouds
from tests.operations.exporting import Champion, one_cpu

TOKEN = "a token of thirty-two characters"


@pytest.fixture(scope="module", params=[False, True], ids=["one class", "several labels"])
def classifier(
    request: pytest.FixtureRequest, with_registry: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Champion]:
    with one_cpu(), pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("classifier")
        patch.setenv("NIGHTSCOPE_STATE_DIR", str(with_registry.state_dir))
        patch.setenv("NIGHTSCOPE_LINES_DIR", str(folder))
        yield make_classifier(with_registry, folder, multi_label=request.param)


def shapes() -> dict[str, np.ndarray]:
    """New pictures, of seeds that no training saw."""
    random = np.random.default_rng(1000)
    return {f"{name}-{number}": shape_on_clouds(name, random) for name in CLASSES for number in (1, 2)}


def test_pictures_and_videos_get_a_row_each_with_every_probability(classifier: Champion, tmp_path: Path) -> None:
    line, several = classifier.line.line, classifier.line.multi_label
    loaded, pictures = load_model(open_session(), line), shapes()
    for name, image in pictures.items():
        cv2.imwrite(str(tmp_path / f"{name}.png"), image)
    frames = list(pictures.values())
    write_clip(tmp_path / "zclip.mp4", len(frames), fps_hz=5, picture=lambda index: frames[index][:, :, 0])
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
    out = tmp_path / "out.csv"
    done = CliRunner().invoke(commands, ["predict", line, str(tmp_path), "--csv", str(out)])
    assert done.exit_code == 1 and "broken.png" in done.stderr, done.output
    rows = list(csv.DictReader(out.read_text().splitlines()))
    columns = ["label"] + ([] if several else ["score"]) + [f"p_{name}" for name in CLASSES]
    assert list(rows[0]) == ["file", "frame_index", "time_s", *columns]
    assert len(rows) == 2 * len(pictures)
    for name, image in pictures.items():
        (row,) = [row for row in rows if Path(row["file"]).stem == name]
        (expected,) = loaded.rows(image)
        assert {key: row[key] for key in columns} == {key: str(expected[key]) for key in columns}
        if not several:
            assert sum(float(row[f"p_{each}"]) for each in CLASSES) == pytest.approx(1, abs=1e-5)
            assert row["label"] == max(CLASSES, key=lambda each: float(row[f"p_{each}"]))
    right = sum(row["label"] == Path(row["file"]).stem.split("-")[0] for row in rows if "-" in Path(row["file"]).stem)
    assert right >= 4, "it must have learned something"
    assert [row["time_s"] for row in rows if row["file"].endswith("zclip.mp4")] == ["0.0", "0.2", "0.4", "0.6", "0.8",
                                                                                   "1.0"]  # fmt: skip


def test_a_probability_to_go_by_changes_the_label_and_no_number(classifier: Champion, tmp_path: Path) -> None:
    loaded, image = load_model(open_session(), classifier.line.line), next(iter(shapes().values()))
    (usual,), (never,), (always,) = loaded.rows(image), loaded.rows(image, 1.0), loaded.rows(image, 0.0)
    for other in (never, always):
        assert {key: other[key] for key in other if key != "label"} == {
            key: usual[key] for key in usual if key != "label"
        }
    assert never["label"] == ""
    assert always["label"] == ("; ".join(CLASSES) if classifier.line.multi_label else usual["label"])


def test_a_classifier_is_measured_without_gates(classifier: Champion, tmp_path: Path) -> None:
    line, before = classifier.line.line, classifier.registry.aliases(classifier.line.line)
    out = tmp_path / "report.html"
    done = CliRunner().invoke(commands, ["evaluate", line, "--out", str(out), "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["images"] == TEST * len(CLASSES) and found["kind"] == "classification"
    assert found["model_version"] == classifier.record.version
    assert 0.5 < found["metrics"]["accuracy"] <= 1 and found["metrics"]["balanced_accuracy"] > 0.5
    family = "per_label" if classifier.line.multi_label else "per_class"
    assert set(found["metrics"][family]) == set(CLASSES)
    assert {"low", "high", "confidence"} <= set(found["intervals"]["accuracy"])
    page = out.read_text()
    assert "no gate was asked" in page and "<script" not in page
    assert classifier.registry.aliases(line) == before, "nobody was put in charge"
    version = classifier.record.dataset_version
    shown = CliRunner().invoke(commands, ["evaluate", line, "--dataset", version[:9], "--out", str(out)])
    assert shown.exit_code == 0 and "alanced accuracy" in shown.stdout, shown.output


def test_the_service_answers_with_the_probabilities_of_each_class(classifier: Champion) -> None:
    settings = open_session().settings
    watch = ChampionWatch(open_session(), classifier.line.line, "cpu", every_s=60)
    pictures, loaded = Pictures(settings), load_model(open_session(), classifier.line.line)
    watch.start()
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    try:
        with TestClient(make_app(settings, watch, pictures, TOKEN), headers=bearer) as client:
            for image in shapes().values():
                data = cv2.imencode(".png", image)[1].tobytes()
                answer = client.post("/predict", files={"image": ("a.png", data)})
                assert answer.status_code == 200, answer.text
                assert answer.json()["predictions"] == loaded.rows(image)
                assert answer.json()["classes"] == list(CLASSES)
            about = client.get("/version").json()
            assert about["kind"] == "classification" and about["columns"] == list(loaded.columns)
            assert classifier.line.line in client.get("/card").text
    finally:
        watch.stop()
        pictures.stop()


def test_its_dataset_was_explored_in_the_night_and_is_shown_by_a_command(classifier: Champion, tmp_path: Path) -> None:
    line, version = classifier.line.line, classifier.record.dataset_version
    kept = classifier.lake.datasets.attached(line, version, "exploration")
    assert kept and kept["frames"] == 54 and set(kept["labels"]) == set(CLASSES)
    out = tmp_path / "page.html"
    done = CliRunner().invoke(commands, ["explore", line, "--dataset", version[:9], "--out", str(out), "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["dataset_version"], found["report"]) == (version, str(out))
    assert found["labels"] == kept["labels"] and "Labels to look at again" in out.read_text()
    assert CliRunner().invoke(commands, ["explore", line, "--out", str(tmp_path / "no" / "page.html")]).exit_code == 1


def test_a_classifier_fills_no_boxes_and_says_so(classifier: Champion) -> None:
    done = CliRunner().invoke(commands, ["labels", "fill", classifier.line.line])
    assert isinstance(done.exception, ConfigError), done.output
    assert "models of kind classification fill nothing" in str(done.exception)
