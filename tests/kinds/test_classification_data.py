"""From pictures in class folders, or a table, to a dataset on disk, with the services that a lab has."""

from __future__ import annotations

import csv
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks import operations, steps
from tasks.config import Settings
from tasks.kinds.classification.dataset import ImageDataset
from tasks.kinds.classification.labels import unjudged
from tasks.kinds.classification.layout import materialise
from tasks.labeling.client import LabelStudio
from tasks.labeling.state import load as load_state
from tasks.session import Session
from tasks.synthetic.morphology import CLASSES, DEFECTS, write_pictures
from tests.shared import lab_on, shared_stack

pytestmark = pytest.mark.integration

DONORS = 6


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """What a lab has running."""
    return shared_stack(tmp_path_factory, "kinds", ("s3", "mlflow", "label-studio"))


@pytest.fixture
def lab(tmp_path: Path, services: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """The installation, with lines of its own."""
    with lab_on(services, tmp_path, monkeypatch) as session:
        yield session


def add_a_line(folder: Path, **changes: Any) -> str:
    """Write a line of a study that nobody else has; its name."""
    name = f"heads-{uuid.uuid4().hex[:8]}"
    line = {
        "line": name, "kind": "classification", "classes": list(CLASSES), "recordings": {"studies": [name]},
        "minimums": {"recordings": 6, "labels_per_split": {}}, "recipe": {"name": "fine-tune"},
        "gates": [{"metric": "balanced_accuracy", "at_least": 0.5}],
    }  # fmt: skip
    (folder / "lines" / f"{name}.yaml").write_text(yaml.safe_dump(line | changes))
    return name


def frozen(lab: Session, line: str) -> ImageDataset:
    """What a night does with labels, up to what the training reads."""
    validation = steps.validate_labels(lab, line)
    version = steps.freeze_dataset(lab, line, {}, validation.validation_oid).dataset_version
    path = materialise(lab.lake, lab.line(line), version)
    dataset = ImageDataset.read(path)
    assert all((path.parent / each.file).is_file() for each in dataset.images)
    return dataset


def test_class_folders_become_a_dataset(lab: Session, tmp_path: Path) -> None:
    line, folder = add_a_line(tmp_path), tmp_path / "pictures"
    made = write_pictures(folder, count=36, donors=DONORS, seed=int(uuid.uuid4().hex[:6], 16))
    twin = folder / "abnormal" / "D01_copy.png"  # one picture of another class, once more
    twin.write_bytes((folder / made[0].file).read_bytes())
    added = operations.add_stills(lab, [str(folder)], group_by=r"(D\d+)_", study=line)
    assert (added.new, added.groups) == (37, DONORS), added
    report = operations.import_labels(lab, line, folder, "folders")
    assert report.matched == report.annotations == report.boxes == 35
    assert [each["file"] for each in report.unmatched] == ["abnormal/D01_copy.png", made[0].file]
    assert all("and they differ" in each["reason"] for each in report.unmatched)
    assert operations.import_labels(lab, line, folder, "folders").annotations == 0, "twice is the same as once"
    assert steps.sync_annotations(lab, line).revisions == 35

    dataset = frozen(lab, line)
    assert dataset.classes == CLASSES and not dataset.multi_label and len(dataset.images) == 35
    assert Counter(each.targets for each in dataset.images) == {(1, 0, 0): 11, (0, 1, 0): 12, (0, 0, 1): 12}
    places = {each.group: each.split for each in dataset.images}
    assert len(places) == DONORS and set(places.values()) >= {"train", "test"}
    assert all(places[each.group] == each.split for each in dataset.images), "a donor stands in one split"
    labels = {Path(each.file).stem: each.label for each in made}
    for each in dataset.images:
        stem = Path(each.file).name.partition("-")[0]
        assert dataset.classes[each.targets.index(1)] == labels[stem]


def test_a_table_with_missing_values_becomes_a_dataset_and_keeps_them_missing(lab: Session, tmp_path: Path) -> None:
    line = add_a_line(tmp_path, classes=list(DEFECTS), multi_label=True)
    folder = tmp_path / "pictures"
    made = write_pictures(folder, count=36, donors=DONORS, seed=int(uuid.uuid4().hex[:6], 16))
    rows = list(csv.DictReader((folder / "labels.csv").read_text().splitlines()))
    for number, row in enumerate(row for row in rows if row["class"] != "non_sperm"):
        row["tail"] = "" if number % 3 == 0 else row["tail"]
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, ["file", *DEFECTS, "donor"], delimiter=";", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    operations.add_stills(lab, [str(folder)], group_by="csv:donor", study=line)
    report = operations.import_labels(lab, line, folder, "csv")
    assert report.matched == report.annotations == 24 and report.crowds == 0
    assert {each["reason"] for each in report.unmatched} == {"has a value for no class; nothing is labelled"}
    assert report.unmatched[0]["file"].startswith("labels.csv line ") and len(report.unmatched) == 12
    steps.sync_annotations(lab, line)

    wanted = {Path(row["file"]).stem: tuple(float(row[n]) if row[n] else None for n in DEFECTS) for row in rows}
    dataset = frozen(lab, line)
    assert dataset.multi_label and len(dataset.images) == 24 and len(made) == 36
    assert {Path(each.file).name.partition("-")[0]: each.targets for each in dataset.images} == {
        stem: targets for stem, targets in wanted.items() if targets != (None,) * 3
    }
    _someone_updates(lab, line)
    assert sum(None in each.targets for each in frozen(lab, line).images) == 7  # one of eight got its value


def _someone_updates(lab: Session, line: str) -> None:
    """An annotator judges the tail of one picture of which nobody had; of another they change nothing."""
    project = load_state(lab.lake, line).project_id or 0
    with LabelStudio(lab.settings.label_studio) as client:
        work = [
            each for task in client.task_work(project, list(load_state(lab.lake, line).tasks)) for each in task.work
        ]
        missing = [each for each in work if unjudged("tail") in each.regions[0]["value"]["choices"]]
        assert len(missing) == 8
        ticked = [name for name in missing[0].regions[0]["value"]["choices"] if name != unjudged("tail")]
        region = missing[0].regions[0] | {"value": {"choices": ticked}}
        client.change_annotation(missing[0].annotation_id, [region])
        client.change_annotation(missing[1].annotation_id, missing[1].regions)
    steps.sync_annotations(lab, line)
