"""Adding a kind of line is adding one folder: a kind in a temporary folder, and a whole night with it.

Everything else is what a lab has: an S3 server, MLflow and Label Studio, the steps that the DAGs call, and the worker
in a process of its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
import uuid
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from tasks import operations, steps
from tasks.config import Settings
from tasks.errors import NothingToDo
from tasks.ingest.sidecar import Sidecar, key_of
from tasks.kinds import kind_of
from tasks.known_kinds import KINDS_DIR
from tasks.labeling.client import LabelStudio
from tasks.labeling.state import load as load_state
from tasks.lake import Lake
from tasks.operations.predicting.files import predict_files
from tasks.operations.predicting.loading import load_model
from tasks.session import Session
from tasks.steps.verdict import RegisteredTraining
from tests.ingest.clips import Image, write_clip
from tests.shared import lab_on, shared_stack

pytestmark = pytest.mark.integration

TOY = Path(__file__).parent / "brightness"
SPLITS = ("train", "train", "train", "test", "test")
FRAMES = 6
LABELLED = len(SPLITS) * FRAMES - 1
GATES = [
    {"metric": "accuracy", "at_least": 0.9},
    {"metric": "accuracy", "class": "dark", "at_least": 0.9},
    {"metric": "accuracy", "for_each": ["class"], "not_worse_by": 0.05},
    {"metric": "balanced_accuracy", "at_least": 0.9},
    {"metric": "latency_ms_p95", "at_most": 5000, "device": "cpu"},
]


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """What a lab has running."""
    return shared_stack(tmp_path_factory, "kinds", ("s3", "mlflow", "label-studio"))


@pytest.fixture
def toy(tmp_path: Path, services: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """The kind in a folder of its own, and a line of it in this installation."""
    folder = tmp_path / "kinds"
    shutil.copytree(TOY, folder / "brightness", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setenv(KINDS_DIR, str(folder))
    with lab_on(services, tmp_path, monkeypatch) as session:
        yield session


def brightness_of(clip: int, index: int) -> str:
    return "bright" if (clip + index) % 2 else "dark"


def picture(clip: int, index: int) -> Image:
    """Blocks of noise, no two pictures alike, around a dark or a bright grey."""
    noise = np.random.default_rng(1000 * clip + index).integers(-40, 40, (12, 16))
    grey = 190 if brightness_of(clip, index) == "bright" else 60
    return np.asarray(np.kron(grey + noise, np.ones((8, 8))), dtype=np.uint8)


def add_recordings(lake: Lake, folder: Path, name: str) -> list[str]:
    """Put clips in the landing bucket, each of another donor; their stems."""
    stems = []
    for clip, split in enumerate(SPLITS):
        stem = f"{name}{clip}"
        path = write_clip(folder / f"{stem}.mp4", FRAMES, fps_hz=2, picture=lambda index, c=clip: picture(c, index))
        lake.landing.put_bytes(f"unsorted/{path.name}", path.read_bytes())
        sidecar = Sidecar(donor=f"donor {stem}", split=split)
        lake.landing.put_bytes(key_of(f"unsorted/{path.name}"), sidecar.as_bytes())
        stems.append(stem)
    return stems


def write_labels(folder: Path, stems: list[str]) -> Path:
    """A CSV with the class of every frame; the last one's is a class that the line does not have."""
    folder.mkdir()
    rows = [f"{stem}_{i}.png,{brightness_of(clip, i)}" for clip, stem in enumerate(stems) for i in range(FRAMES)]
    (folder / "labels.csv").write_text("\n".join(["image,label", *rows[1:], f"{stems[0]}_0.png,purple"]))
    return folder


def test_a_kind_in_a_folder_has_a_whole_night(toy: Session, tmp_path: Path) -> None:
    assert kind_of("brightness").check().name == "brightness"
    name = f"light-{uuid.uuid4().hex[:8]}"
    line = {
        "line": name, "kind": "brightness", "classes": ["dark", "bright"],
        "frames": {"every_s": 0.5, "near_duplicate_bits": 0},
        "recordings": {"studies": []}, "minimums": {"recordings": 3, "labels": {"dark": 5}},
        "evaluation": {"resamples": 100, "min_clusters": 2},
        "recipe": {"name": "brightness-threshold", "epochs": 4, "seed": 1}, "gates": GATES,
    }  # fmt: skip
    (tmp_path / "lines" / f"{name}.yaml").write_text(yaml.safe_dump(line))
    steps.check_request(toy, name, {})

    # labels in
    stems = add_recordings(toy.lake, tmp_path, name)
    assert len(steps.ingest_recordings(toy).new) == len(SPLITS)
    steps.sync_annotations(toy, name)
    with LabelStudio(toy.settings.label_studio) as client:
        project = client.project(load_state(toy.lake, name).project_id or 0)
    assert project is not None and "<Choices" in project.label_config and 'value="dark"' in project.label_config
    report = operations.import_labels(toy, name, write_labels(tmp_path / "labels", stems), "csv", 0)
    assert ["unknown class 'purple'" in each["reason"] for each in report.unmatched] == [True]
    assert report.matched == report.annotations == LABELLED
    assert steps.sync_annotations(toy, name).revisions == LABELLED

    # the night
    news = steps.check_news(toy, name).news
    validation = steps.validate_labels(toy, name)
    assert validation.frames == LABELLED and not validation.quarantined
    version = steps.freeze_dataset(toy, name, {}, validation.validation_oid).dataset_version
    training = steps.train_challenger(toy, name, {}, version)
    assert training.epochs == training.steps == 4
    evaluation = steps.evaluate_models(toy, name, {}, version, training.model_version).evaluation_oid
    verdict = steps.decide_verdict(toy, name, {}, evaluation, RegisteredTraining.model_validate(training.model_dump()))
    assert verdict.verdict == "promote", verdict.reasons
    steps.promote_model(toy, name, {}, verdict.verdict_id, news=news)

    # what it leaves
    champion = operations.describe_champion(toy, name)
    assert champion.metrics["accuracy"] == champion.metrics["balanced_accuracy"] == 1.0
    assert champion.metrics["per_class"]["dark"]["accuracy"] == 1.0
    html = operations.read_report(toy, name).decode()
    assert "balanced accuracy" in html and "Promote" in html
    assert html.split("What was taken for what")[1].count('<td class="good"') == 2, "both classes were told apart"
    found = operations.verify_evidence(toy, name)
    assert found.holds and not found.findings, found.findings
    assert found.checked["evaluations computed again"] == 1 and found.checked["gates run again"] == len(GATES)
    assert "says which of dark and bright a single frame is" in " ".join(
        operations.read_card(toy, name).decode().split()
    )
    assert _served(toy.lake, name, tmp_path) == ["bright", "dark"]
    _use(toy, name, tmp_path)
    with pytest.raises(NothingToDo, match="nothing new"):
        steps.check_news(toy, name)


def _use(session: Session, name: str, folder: Path) -> None:
    """Predict and measure with the champion, as people do: the kind has no `answers.py`."""
    loaded = load_model(session, name)
    paths = [folder / f"{index}.png" for index in (1, 0)]
    for index, path in zip((1, 0), paths, strict=True):
        cv2.imwrite(str(path), picture(0, index))
    found = [row for each in predict_files(loaded, paths, session.settings.ingest) for row in each.rows]
    assert loaded.columns == ("label", "score")
    assert [(row["file"], row["frame_index"], row["label"]) for row in found] == [
        (str(paths[0]), 0, "bright"), (str(paths[1]), 0, "dark")]  # fmt: skip
    alone = operations.evaluate_model(session, name)
    assert alone.metrics["accuracy"] == 1.0 and alone.intervals["accuracy"]["low"] == 1.0
    page = alone.report_html
    assert "<h1>Evaluation</h1>" in page and "nobody was put in charge" in page and "<h2>Gates</h2>" not in page
    again = operations.train_model(session, name, {"evaluation.resamples": 177})
    assert "177 paired bootstrap resamples" in again.evaluation.report_html, "measured as this run wants it"
    assert again.evaluation.model_version == alone.model_version, "the training was finished"
    assert again.evaluation.metrics["accuracy"] == 1.0
    assert len(operations.list_verdicts(session, name)) == 1, "nobody judged"


CLEAN = """
    import sys
    import mlflow, numpy as np
    mlflow.set_tracking_uri(sys.argv[1])
    model = mlflow.pyfunc.load_model(sys.argv[2])
    for picture in np.load(sys.argv[3]):
        print(model.predict(picture)["label"][0])
    assert not {"tasks", "nightscope_kinds"} & set(sys.modules)
"""


def _served(lake: Lake, name: str, folder: Path) -> list[str]:
    """What the model says as MLflow serves it, in a process without Nightscope, of a bright and of a dark picture."""
    np.save(folder / "pictures.npy", [cv2.cvtColor(picture(0, index), cv2.COLOR_GRAY2RGB) for index in (1, 0)])
    command = [sys.executable, "-P", "-c", textwrap.dedent(CLEAN), lake.settings.mlflow.url, f"models:/{name}/1"]
    reader = {
        "MLFLOW_TRACKING_USERNAME": "reader",
        "MLFLOW_TRACKING_PASSWORD": lake.settings.mlflow.reader_password.get_secret_value(),
    }
    clean = {"PATH": os.environ["PATH"], "HOME": str(folder), "MLFLOW_DISABLE_TELEMETRY": "true"} | reader
    done = subprocess.run(
        [*command, "pictures.npy"], cwd=folder, env=clean, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.split()
