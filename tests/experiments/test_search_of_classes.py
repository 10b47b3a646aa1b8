"""A search of a line that classifies pictures: through the command line, ended early, and asked for twice at once."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest
import yaml
from sklearn.metrics import balanced_accuracy_score

from tasks import experiments, steps
from tasks.config import Settings
from tasks.errors import NotFound
from tasks.experiments.search import records, study
from tasks.experiments.search.records import TrialResult
from tasks.ingest.phash import as_text, perceptual_hash
from tasks.kind import ModelRef
from tasks.kinds import kind_of
from tasks.lake import Lake, open_lake
from tasks.lake.searches import search_place, trial_place
from tasks.schemas import STILL, Frame, now
from tasks.session import open_session
from tasks.synthetic.morphology import CLASSES, draw_picture
from tasks.training.records import Trained, checkpoint_key, read, trained_key
from tests.validation.factory import NOON, a_recording, an_annotation, fill

LINE = f"heads-{uuid.uuid4().hex[:8]}"
PICTURES = {"train": 24, "val": 12, "test": 12}
TINY = {"name": "small-cnn", "imgsz": 32, "batch": 8, "epochs": 2, "lr": 0.002, "seed": 1}
CLASSIFICATION = kind_of("classification")


@pytest.fixture(scope="module")
def installation(with_registry: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """The line, its pictures labelled and its dataset version frozen."""
    folder = tmp_path_factory.mktemp("heads")
    line = {
        "line": LINE, "kind": "classification", "classes": list(CLASSES), "minimums": {"recordings": 3},
        "frames": {"every_s": 1, "near_duplicate_bits": 0}, "recipe": TINY,
        "gates": [{"metric": "balanced_accuracy", "at_least": 0}],
    }  # fmt: skip
    (folder / f"{LINE}.yaml").write_text(yaml.safe_dump(line))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NIGHTSCOPE_STATE_DIR", str(with_registry.state_dir))
        patch.setenv("NIGHTSCOPE_LINES_DIR", str(folder))
        with open_session() as session:
            put_heads(session.lake)
            validation = steps.validate_labels(session, LINE)
            steps.freeze_dataset(session, LINE, {}, validation.validation_oid)
        yield with_registry


def put_heads(lake: Lake) -> None:
    """Synthetic heads, labelled, each of a donor of its own."""
    recordings, frames, annotations = [], [], []
    for number, split in enumerate(split for split, count in PICTURES.items() for _ in range(count)):
        picture = draw_picture(number + 1)
        recording = a_recording(
            f"{LINE}-{number:03d}", number, donor=f"{LINE} {number}", pinned_split=split, container=STILL,
            frames_announced=1, frames_decoded=1, fps_hz=None,
        )  # fmt: skip
        frame = Frame(
            line=LINE, recording_id=recording.recording_id, frame_index=0,
            oid=lake.blobs.put_bytes(cv2.imencode(".png", picture.image)[1].tobytes(), "image/png"),
            media_type="image/png", pts_s=None, width_px=picture.image.shape[1], height_px=picture.image.shape[0],
            phash=as_text(perceptual_hash(picture.image)), reason="sampled", taken_at=NOON,
        )  # fmt: skip
        recordings.append(recording)
        frames.append(frame)
        annotations.append(an_annotation(frame, [{"label": picture.label}], number))
    fill(lake, recordings, frames, annotations)


def test_a_command_searches_and_measures_on_the_validation_pictures(installation: Settings, tmp_path: Path) -> None:
    space, page = tmp_path / "space.yaml", tmp_path / "report.html"
    space.write_text("model: [small-cnn, improved-cnn]\n")
    nightscope = str(Path(sys.executable).with_name("nightscope"))
    done = subprocess.run(
        [nightscope, "search", LINE, "--space", str(space), "--sampler", "grid", "--name", "models", "--report",
         str(page), "--json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["metric"], found["pruner"], found["complete"]) == ("balanced_accuracy", "median", True)
    assert {trial["params"]["model"] for trial in found["trials"]} == {"small-cnn", "improved-cnn"}
    assert found["best"]["value"] == max(trial["value"] for trial in found["trials"])
    lake = open_lake(installation)
    for trial in found["trials"]:
        assert trial["value"] == pytest.approx(by_hand(lake, trial), abs=1e-9)
    text = page.read_text()
    assert "Key by key" in text and "<script" not in text and f"--from-search {found['best']['trial']}" in text


def by_hand(lake: Lake, trial: dict[str, Any]) -> float:
    """scikit-learn's balanced accuracy of a trial's weights on the validation pictures."""
    search = records.load_search(lake, LINE, "models")
    rows = lake.datasets.load(LINE, search.dataset_version).rows.to_pylist()
    assert {row["split"] for row in rows} == {"train", "val"}, "the test split is out of reach"
    trained = read(lake, trained_key(trial["run_key"]), Trained)
    assert trained is not None and trained.weights_oid == trial["weights_oid"]
    model = ModelRef(
        model_version="by hand", weights_oid=trained.weights_oid, classes=CLASSES,
        options={"imgsz": trained.setup["imgsz"], "predict": trained.recipe["predict"]},
    )  # fmt: skip
    predictor = CLASSIFICATION.predictors.load(lake, model, None)
    pictures = [row for row in rows if row["split"] == "val"]
    images = [cv2.imread(str(lake.blobs.fetch(row["frame_oid"]))) for row in pictures]
    found = [int(np.argmax(predictor.predict([image])[0])) for image in images]
    labels = [CLASSES.index(json.loads(row["objects"])[0]["label"]) for row in pictures]
    return float(balanced_accuracy_score(labels, found))


def a_result(number: int, params: dict[str, Any], value: float, epochs: int = 1) -> TrialResult:
    """A trial that never ran, and whose every epoch was better than any can be."""
    return TrialResult(
        number=number, params=params, changes=params, state="complete", value=value, metrics={},
        epochs=tuple((epoch, 1.01) for epoch in range(1, epochs + 1)), run_key="", weights_oid=None, code_version="",
        seconds=1.0, at=now(),
    )  # fmt: skip


def test_a_trial_that_comes_to_nothing_is_ended_early_and_its_process_with_it(installation: Settings) -> None:
    lake, session = open_lake(installation), open_session()
    rates = [0.0001, 0.0002, 0.0003, 0.0004, 0.0005]
    experiments.plan_search(session, LINE, {"epochs": 300}, {"lr": rates}, sampler="grid", search="pruned")
    search = records.load_search(lake, LINE, "pruned")
    for number in (1, 2, 3, 4):  # as if four others had done well from the beginning
        known = a_result(number, {"lr": rates[number - 1]}, value=0.99, epochs=300)
        records.save_result(lake, search, known)
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    found = experiments.run_trial(session, LINE, "pruned", 5)
    assert found.state == "pruned" and found.value is None and 0 < found.epochs[-1][0] < 50
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before
    assert not lake.store.head(trained_key(found.run_key)) and not lake.store.head(checkpoint_key(found.run_key))


def test_a_trial_that_two_ask_for_at_once_is_run_once(installation: Settings) -> None:
    experiments.plan_search(open_session(), LINE, {}, {"lr": [0.001, 0.004]}, sampler="grid", search="twice")

    def ask(number: int) -> TrialResult:
        with open_session() as session:
            return experiments.run_trial(session, LINE, "twice", number)

    with ThreadPoolExecutor(2) as threads:
        one, same = threads.map(ask, (1, 1))
    assert one == same and one.state == "complete", "whoever came second was given the first one's record"
    trials = experiments.summarise_search(open_session(), LINE, "twice").trials
    assert [trial["state"] for trial in trials] == ["complete", "waiting"]


WORKER = """
import sys
from tasks import experiments
from tasks.session import open_session
line, search, *numbers = sys.argv[1:]
with open_session() as session:
    for number in map(int, numbers):
        print("begun", number, flush=True)
        print("done", number, experiments.run_trial(session, line, search, number).state, flush=True)
"""
TRIALS = 6


def a_worker(numbers: Sequence[int]) -> subprocess.Popen[str]:
    """A process that runs trials one after the other, as one of Airflow's workers does with mapped tasks."""
    asked = [sys.executable, "-c", WORKER, LINE, "shared", *map(str, numbers)]
    return subprocess.Popen(asked, stdout=subprocess.PIPE, text=True)


def test_two_workers_of_which_one_is_killed_end_with_every_trial_once(installation: Settings) -> None:
    lake = open_lake(installation)
    rates = [round(0.001 * 1.1**n, 6) for n in range(TRIALS)]
    planned = experiments.plan_search(
        open_session(), LINE, {"epochs": 1}, {"lr": rates}, sampler="grid", search="shared", pruner="none"
    )
    assert len(planned.trials) == TRIALS
    steady, killed = a_worker(planned.trials[::2]), a_worker(planned.trials[1::2])
    assert killed.stdout is not None
    told = [killed.stdout.readline() for _ in range(3)]  # begun, done, begun: in the middle of its second trial
    killed.kill()
    killed.communicate()
    assert [line.split()[0] for line in told] == ["begun", "done", "begun"]
    again = a_worker(planned.trials[1::2])  # Airflow gives another worker all that has not ended
    assert (again.wait(), steady.wait()) == (0, 0)
    steady.communicate()
    again.communicate()

    summary = experiments.summarise_search(open_session(), LINE, "shared")
    assert [trial["number"] for trial in summary.trials] == list(planned.trials)
    assert {trial["state"] for trial in summary.trials} == {"complete"}
    assert sorted(trial["params"]["lr"] for trial in summary.trials) == sorted(rates)
    assert len({trial["run_key"] for trial in summary.trials}) == TRIALS
    search = records.load_search(lake, LINE, "shared")
    trainings = [read(lake, trained_key(trial["run_key"]), Trained) for trial in summary.trials]
    assert all(trained is not None and trained.dataset_version == search.dataset_version for trained in trainings)


def test_a_record_that_somebody_else_wrote_counts_for_nothing(installation: Settings) -> None:
    lake, session = open_lake(installation), open_session()
    for name, rates in (("forged", [0.001, 0.004]), ("other", [0.002])):
        experiments.plan_search(session, LINE, {}, {"lr": rates}, sampler="grid", search=name)
    search = records.load_search(lake, LINE, "forged")
    plan = study.draw(search, 1, [], [])
    records.save_plan(lake, search, plan)
    known = a_result(1, plan.params, value=0.5)
    records.save_result(lake, search, known)
    assert records.find_plan(lake, search, 1) == plan and records.find_result(lake, search, 1) == known

    lake.store.put_bytes(  # a result of ours, in another trial's place
        trial_place(LINE, "other", 1), lake.store.get_bytes(trial_place(LINE, "forged", 1))
    )
    change(lake, trial_place(LINE, "forged", 1, ".plan"), b'"lr":', b'"lR":')
    change(lake, trial_place(LINE, "forged", 1), b'"value":0.5', b'"value":0.9')
    assert records.find_plan(lake, search, 1) is None and records.find_result(lake, search, 1) is None
    assert records.find_result(lake, records.load_search(lake, LINE, "other"), 1) is None
    with pytest.raises(NotFound, match="no trial 'forged#1' that finished"):
        session.line(LINE, {"from_search": "forged#1"})
    lake.store.put_bytes(search_place(LINE, "forged"), lake.store.get_bytes(search_place(LINE, "other")))
    with pytest.raises(NotFound, match="no search 'forged'"):
        experiments.run_trial(session, LINE, "forged", 1)


def change(lake: Lake, key: str, old: bytes, new: bytes) -> None:
    """Edit a document in the bucket, as somebody without our key can."""
    document = lake.store.get_bytes(key)
    assert document.count(old) == 1, document
    lake.store.put_bytes(key, document.replace(old, new))
