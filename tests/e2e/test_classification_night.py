"""Classification, whole: real rclone, Label Studio, MLflow, Airflow (`dag.test()`), and the worker that trains."""

from __future__ import annotations

import csv
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from tasks import evidence, operations, steps
from tasks.cli import app
from tasks.config import Settings
from tasks.errors import NothingToDo
from tasks.session import Session
from tasks.steps.verdict import RegisteredTraining
from tasks.synthetic.morphology import CLASSES, DEFECTS, MorphologyPicture, write_pictures
from tests.airflow_home import airflow_environment
from tests.e2e.in_airflow import run_in_airflow
from tests.kinds.classification.lake_of_pictures import brighter
from tests.shared import lab_on, shared_stack

DONORS = 12
TINY = {"name": "small-cnn", "imgsz": 32, "batch": 16, "epochs": 2, "seed": 1, "lr": 0.002}
"""Learns next to nothing in seconds."""
OVERALL = {"accuracy", "balanced_accuracy", "macro_F1", "ROC_AUC", "MCC", "ECE"}
OF_A_CLASS = {"precision", "recall", "F1", "ROC_AUC"}
OF_A_LABEL = {"accuracy", "balanced_accuracy", "ROC_AUC", "F1", "MCC"}


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """What a lab has running; the other kinds' nights run on it, too."""
    return shared_stack(tmp_path_factory, "kinds", ("s3", "mlflow", "label-studio"))


@pytest.fixture
def lab(tmp_path: Path, services: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """The installation, with lines of its own."""
    with lab_on(services, tmp_path, monkeypatch) as session:
        yield session


def _line(folder: Path, **changes: Any) -> str:
    """A line of a study of its own, whose gates any model passes; its name."""
    name = f"morphology-{uuid.uuid4().hex[:8]}"
    line = {
        "line": name, "kind": "classification", "classes": list(CLASSES), "recordings": {"studies": [name]},
        "minimums": {"recordings": 12, "labels_per_split": {}}, "plausible": {"min_side_px": 24}, "recipe": TINY,
        "evaluation": {"min_clusters": 2, "resamples": 100},
        "gates": [
            {"metric": "balanced_accuracy", "at_least": 0.0},
            {"metric": "recall", "for_each": ["class"], "at_least": 0.0},
            {"metric": "MCC", "not_worse_by": 0.5},
        ],
    }  # fmt: skip
    (folder / "lines" / f"{name}.yaml").write_text(yaml.safe_dump(line | changes))
    return name


def _draw(folder: Path, first: int, seed: int = 3) -> list[MorphologyPicture]:
    """A picture of each class from each donor."""
    return write_pictures(folder, count=len(CLASSES) * DONORS, donors=DONORS, seed=seed, first=first)


def _bring(lab: Session, line: str, folder: Path, label_format: str) -> Any:
    operations.add_stills(lab, [str(folder)], group_by=r"(D\d+)_", study=line)
    return operations.import_labels(lab, line, folder, label_format)


def _champion(line: str) -> dict[str, Any]:
    """What a script reads."""
    done = CliRunner().invoke(app, ["champion", line, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout))


def test_a_night_promotes_then_skips_then_compares(lab: Session, tmp_path: Path) -> None:
    line, folder, environment = _line(tmp_path), tmp_path / "first", airflow_environment(lab.settings)
    made = _draw(folder, 1)
    small = np.full((20, 20, 3), 120, np.uint8)
    cv2.imwrite(str(folder / "normal" / "D01_small.png"), small)
    cv2.imwrite(str(folder / "abnormal" / "D01_again.png"), brighter(made[0].image))  # a normal one
    imported = _bring(lab, line, folder, "folders")
    assert not imported.unmatched and imported.annotations == len(made) + 2

    first = run_in_airflow(line, {}, environment)
    assert first["state"] == "success", first
    assert first["verdict"]["verdict"] == "promote", first["verdict"]["reasons"]
    aside = [item.reason for item in operations.list_quarantine(lab, line)]
    assert len(aside) == 3 and sum("which shows the same" in reason for reason in aside) == 2, aside
    manifest = lab.lake.datasets.load(line, operations.list_verdicts(lab, line)[0].dataset_version)
    rows = manifest.rows.to_pylist()
    assert len(rows) == len(made) - 1 and {row["split"] for row in rows} == {"train", "val", "test"}
    assert len({(row["group"], row["split"]) for row in rows}) == DONORS, "a donor stands in one split"

    champion = _champion(line)
    assert champion["model_version"] == "1" and champion["metrics"].keys() >= OVERALL
    assert champion["metrics"]["per_class"].keys() == set(CLASSES)
    assert all(own.keys() >= OF_A_CLASS for own in champion["metrics"]["per_class"].values())
    assert evidence.entries(lab.lake, line)[-1].verdict_id == operations.list_verdicts(lab, line)[0].verdict_id

    with pytest.raises(NothingToDo, match="nothing new"):
        steps.check_news(lab, line)

    _draw(tmp_path / "second", 1 + len(made))
    assert _bring(lab, line, tmp_path / "second", "folders").annotations == len(made)
    second = run_in_airflow(line, {}, environment)
    assert second["verdict"], second["outcomes"]
    newest, oldest = operations.list_verdicts(lab, line)
    assert (newest.model_version, newest.champion_version, oldest.champion_version) == ("2", "1", None)
    assert newest.champion_metrics.keys() >= OVERALL
    html = operations.read_report(lab, line).decode()
    assert "McNemar" in html and "What was taken for what" in html
    assert operations.verify_evidence(lab, line).holds


def test_a_night_of_several_labels_with_missing_values(lab: Session, tmp_path: Path) -> None:
    line = _line(
        tmp_path, classes=list(DEFECTS), multi_label=True, recipe=TINY | {"loss": "focal", "sampler": "balanced"}
    )
    folder = tmp_path / "pictures"
    made = _draw(folder, 1, seed=4)  # the same pictures once more would stay in the study that has them
    rows = list(csv.DictReader((folder / "labels.csv").read_text().splitlines()))
    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["file", *DEFECTS], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(row | ({"tail": ""} if number % 5 == 0 else {}) for number, row in enumerate(rows))
    imported = _bring(lab, line, folder, "csv")
    judged = sum(each.label != "non_sperm" for each in made)
    assert imported.annotations == judged and len(imported.unmatched) == len(made) - judged

    steps.sync_annotations(lab, line)
    news = steps.check_news(lab, line).news
    validation = steps.validate_labels(lab, line)
    assert validation.frames == judged
    version = steps.freeze_dataset(lab, line, {}, validation.validation_oid).dataset_version
    training = steps.train_challenger(lab, line, {}, version)
    evaluation = steps.evaluate_models(lab, line, {}, version, training.model_version).evaluation_oid
    verdict = steps.decide_verdict(lab, line, {}, evaluation, RegisteredTraining.model_validate(training.model_dump()))
    assert verdict.verdict == "promote", verdict.reasons
    steps.promote_model(lab, line, {}, verdict.verdict_id, news=news)

    metrics = _champion(line)["metrics"]
    assert metrics["per_label"].keys() == set(DEFECTS)
    assert all(own.keys() >= OF_A_LABEL for own in metrics["per_label"].values())
    assert "Each row is a label" in operations.read_report(lab, line).decode()
