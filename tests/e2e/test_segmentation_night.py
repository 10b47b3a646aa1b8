"""A segmentation line's nights, whole: real rclone, Label Studio, MLflow, Airflow, and the worker that trains."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest
import yaml
from typer.testing import CliRunner

from tasks import evidence, operations, steps
from tasks.cli import app
from tasks.config import Settings
from tasks.errors import NotFound, NothingToDo
from tasks.kinds import kind_of
from tasks.kinds.segmentation.dataset import CellDataset
from tasks.kinds.segmentation.objects import mask_object
from tasks.labeling.client import LabelStudio
from tasks.labeling.convert import to_regions
from tasks.session import Session
from tasks.synthetic.cells import CellPicture, write_pictures
from tests.airflow_home import airflow_environment
from tests.e2e.in_airflow import run_in_airflow
from tests.labeling.annotators import Annotator, project_of
from tests.shared import lab_on, shared_stack

DONORS = 12
TINY = {"name": "two-stage-tiny", "seed": 1, "imgsz": 64, "scale": 0.5, "min_steps": 0, "preeval": True, "debug": True,
        "stage1": {"total_epochs": 2}, "stage2": {"total_epochs": 1}}  # fmt: skip
"""Learns next to nothing in seconds."""
OVERALL = {"AP50_pooled", "AP50_mean", "PQ", "SQ", "RQ", "AJI", "F1_50", "mask_AP"}


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """What a lab has running; the other kinds' nights run on it, too."""
    return shared_stack(tmp_path_factory, "kinds", ("s3", "mlflow", "label-studio"))


@pytest.fixture
def lab(tmp_path: Path, services: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """The installation, with a line of its own."""
    with lab_on(services, tmp_path, monkeypatch) as session:
        yield session


@pytest.fixture
def line(tmp_path: Path, lab: Session) -> str:
    """A line of a study of its own, whose gates any model passes; its name."""
    name = f"cells-{uuid.uuid4().hex[:8]}"
    line = {
        "line": name, "kind": "segmentation", "classes": ["cell"], "recordings": {"studies": [name]},
        "minimums": {"recordings": 12}, "recipe": TINY, "evaluation": {"min_clusters": 2, "resamples": 100},
        "gates": [{"metric": "AP50_pooled", "at_least": 0.0}, {"metric": "PQ", "not_worse_by": 0.9},
                  {"metric": "count_mae", "not_worse_by": 100}],
    }  # fmt: skip
    (tmp_path / "lines" / f"{name}.yaml").write_text(yaml.safe_dump(line))
    return name


def bring(lab: Session, line: str, folder: Path) -> Any:
    operations.add_stills(lab, [str(folder / "images")], group_by=r"(D\d+)_", study=line)
    return operations.import_labels(lab, line, folder, "masks")


def objects_of(made: CellPicture) -> list[dict[str, Any]]:
    return [mask_object("cell", made.labels == number) for number in range(1, int(made.labels.max()) + 1)]


def box_one(lab: Session, line: str, folder: Path, made: CellPicture) -> tuple[int, int]:
    """A picture more, of which an annotator boxes the first cell and paints the others; labeling task, annotation."""
    cv2.imwrite(str(folder / "images" / made.file), made.image)
    operations.add_stills(lab, [str(folder / "images")], group_by=r"(D\d+)_", study=line)
    steps.ingest_recordings(lab)
    steps.sync_annotations(lab, line)
    first, *others = objects_of(made)
    x, y, width, height = cv2.boundingRect((made.labels == 1).astype("uint8"))
    box = {"label": "cell", "x_px": x, "y_px": y, "width_px": width, "height_px": height, "to_fill": True}
    with LabelStudio(lab.settings.label_studio) as client:
        (task,) = [head for head in client.task_heads(project_of(client, lab.line(line))) if not head.annotations]
    regions = to_regions(kind_of("segmentation"), [box, *others], first["width_px"], first["height_px"], "by-hand")
    return task.task_id, Annotator(lab.settings.label_studio).submit(task.task_id, regions)


def learned_from(lab: Session, line: str) -> int:
    """How many pictures of the newest dataset version are laid out for its training and its test."""
    version = operations.list_verdicts(lab, line)[0].dataset_version
    index = kind_of("segmentation").layout.materialise(lab.lake, lab.line(line), version)
    return len(CellDataset.read(index).images)


def champion_of(line: str) -> dict[str, Any]:
    """What a script reads."""
    done = CliRunner().invoke(app, ["champion", line, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout))


def fill(line: str) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["labels", "fill", line, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout))


def test_a_night_promotes_fills_a_box_then_compares(lab: Session, line: str, tmp_path: Path) -> None:
    folder, environment = tmp_path / "first", airflow_environment(lab.settings)
    *made, boxed = write_pictures(tmp_path / "drawn", count=2 * DONORS + 1, donors=DONORS, seed=3)
    write_pictures(folder, count=2 * DONORS, donors=DONORS, seed=3)
    imported = bring(lab, line, folder)
    assert not imported.unmatched and imported.annotations == len(made)
    assert imported.boxes == sum(int(each.labels.max()) for each in made)
    task_id, annotation_id = box_one(lab, line, folder, boxed)
    with pytest.raises(NotFound, match="no champion yet"):
        operations.fill_labels(lab, line)

    first = run_in_airflow(line, {}, environment)
    assert first["state"] == "success", first
    assert first["verdict"]["verdict"] == "promote", first["verdict"]["reasons"]
    assert learned_from(lab, line) == len(made), "a picture with a box to fill is not learned from"
    champion = champion_of(line)
    assert champion["model_version"] == "1" and champion["metrics"].keys() >= OVERALL
    assert champion["metrics"]["per_class"]["cell"].keys() >= {"AP50_pooled", "PQ", "F1_50"}
    assert evidence.entries(lab.lake, line)[-1].verdict_id == operations.list_verdicts(lab, line)[0].verdict_id
    with pytest.raises(NothingToDo, match="nothing new"):
        steps.check_news(lab, line)

    annotator = Annotator(lab.settings.label_studio)
    done = fill(line)
    assert (done["annotations"], done["objects"], done["predictions"]) == (1, 1, 1), done
    (suggested,) = annotator.suggestions(task_id)
    assert suggested["model_version"] == f"{line} version 1, boxes of annotation {annotation_id}"
    assert len(suggested["result"]) == int(boxed.labels.max())
    assert sum(each["type"] == "brushlabels" for each in suggested["result"]) >= int(boxed.labels.max()) - 1
    assert fill(line)["predictions"] == 0 and len(annotator.suggestions(task_id)) == 1

    # The annotator takes it over, and corrects the cell.
    height_px, width_px = boxed.labels.shape
    corrected = to_regions(kind_of("segmentation"), objects_of(boxed), width_px, height_px, "corrected")
    annotator.change(annotation_id, result=corrected)
    write_pictures(tmp_path / "second", count=DONORS, donors=DONORS, seed=3, first=2 + len(made))
    assert bring(lab, line, tmp_path / "second").annotations == DONORS
    second = run_in_airflow(line, {}, environment)
    assert second["verdict"], second["outcomes"]
    newest, oldest = operations.list_verdicts(lab, line)
    assert (newest.model_version, newest.champion_version, oldest.champion_version) == ("2", "1", None)
    assert learned_from(lab, line) == len(made) + 1 + DONORS
    assert newest.champion_metrics.keys() >= OVERALL
    html = operations.read_report(lab, line).decode()
    assert "AP at IoU 0.5, pooled (StarDist)" in html and '<polygon class="shape ' in html
    assert operations.verify_evidence(lab, line).holds
