"""What leakage buys, and whether a training repeats: with real trainings of a tiny model."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tasks import experiments, steps
from tasks.config import Settings, load_line
from tasks.datasets.experiments import experiment_of
from tasks.errors import DataError, NotFound
from tasks.experiments.experiment_runs import filed_result
from tasks.experiments.reproduction import compared
from tasks.kinds import kind_of
from tasks.lake import Lake, open_lake
from tasks.registry import open_registry
from tasks.session import open_session
from tasks.steps.verdict import RegisteredTraining
from tasks.training.identity import run_key
from tasks.training.records import Trained, Training, read, trained_key
from tests.steps.small_line import FRAMES, LINE, freeze, steps_use

DETECTION = kind_of("detection")


@pytest.fixture(scope="module")
def installation(small_line_environment: dict[str, str]) -> Iterator[Settings]:
    """The small line and its services."""
    with steps_use(small_line_environment) as settings:
        yield settings


@pytest.fixture(scope="module")
def version(installation: Settings) -> str:
    """The dataset version that a night would train on: two recordings to train, one to test, one to validate on."""
    return freeze()


def objects(lake: Lake) -> dict[str, str]:
    """What lies in the lake beside blobs and tables, and as of when."""
    infos = (info for info in lake.store.list() if not info.key.startswith(("blobs/", "tables/")))
    return {info.key: f"{info.etag} {info.modified_at}" for info in infos}


def test_the_same_frames_are_split_in_two_ways_and_both_are_measured(installation: Settings, version: str) -> None:
    lake = open_lake(installation)
    before, models = lake.datasets.versions(LINE), open_registry(installation).versions(LINE)
    found = experiments.demonstrate_leakage(open_session(), LINE)

    by_frame, by_group = (found.splits[name] for name in ("by_frame", "by_group"))
    sizes = [(split["train_frames"], split["test_frames"]) for split in (by_frame, by_group)]
    assert sizes == [(2 * FRAMES, FRAMES)] * 2, "an honest comparison has equal sizes"
    assert by_group["groups_on_both_sides"] == 0 and by_frame["groups_on_both_sides"] > 0
    rows = {name: lake.datasets.load(LINE, split["dataset_version"]).rows.to_pylist()
            for name, split in found.splits.items()}  # fmt: skip
    key = ("recording_id", "frame_index")
    assert {tuple(row[k] for k in key) for row in rows["by_frame"]} == {
        tuple(row[k] for k in key) for row in rows["by_group"]
    }
    assert found.audit["passed"] is False and found.audit["findings"]["group"] > 0

    first = found.scores[0]
    assert (first["metric"], first["where"]) == ("AP50", None)
    gap = first["by_frame"]["value"] - first["by_group"]["value"]
    assert first["difference"]["value"] == pytest.approx(gap)
    assert first["difference"]["low"] is None, "one test recording is no ground for an interval"
    assert {row["where"] for row in found.scores} >= {None, "class.sperm", "class.impurity"}
    shared = {tuple(row[k] for k in key) for row in rows["by_frame"] if row["split"] == "test"} & {
        tuple(row[k] for k in key) for row in rows["by_group"] if row["split"] == "test"
    }
    assert (found.same_frames or {"frames": 0})["frames"] == len(shared)
    assert found.new_groups is not None
    assert (found.new_groups["frames"], found.new_groups["groups"]) == (FRAMES, 1)
    assert found.sentence.startswith("AP50 ") and "recordings that neither has seen" in found.sentence

    assert json.loads(lake.blobs.get_bytes(found.result_oid))["scores"] == list(found.scores)
    assert open_registry(installation).versions(LINE) == models and lake.datasets.versions(LINE) == before
    state = objects(lake)
    assert experiments.demonstrate_leakage(open_session(), LINE) == found and objects(lake) == state, (
        "finished = returned"
    )


def test_no_night_takes_a_version_that_leaks_on_purpose(installation: Settings, version: str) -> None:
    lake = open_lake(installation)
    made = {info.key.split("/")[2] for info in lake.store.list(f"datasets/{LINE}/")} - {version}
    assert len(made) >= 2
    for leaking in made:
        assert experiment_of(lake.datasets.load(LINE, leaking)) is not None
        with pytest.raises(DataError, match="made for an experiment"):
            steps.train_challenger(open_session(), LINE, {}, leaking)


def test_no_night_judges_on_a_version_that_leaks_on_purpose(
    installation: Settings, version: str, training: Training
) -> None:
    lake = open_lake(installation)
    leaking = next(info.key.split("/")[2] for info in lake.store.list(f"datasets/{LINE}/") if version not in info.key)
    with pytest.raises(DataError, match="made for an experiment"):
        steps.evaluate_models(open_session(), LINE, {}, leaking, training.model_version)
    (filed,) = [info.key for info in lake.store.list(f"experiments/{LINE}/demonstrations/")]
    shown = filed_result(lake, filed)
    assert shown is not None
    oid = shown["splits"]["by_frame"]["evaluation_oid"]
    with pytest.raises(DataError, match="made for an experiment"):
        steps.decide_verdict(
            open_session(), LINE, {}, oid, RegisteredTraining(run_key="k", mlflow_run="r", model_version="1")
        )


@pytest.fixture(scope="module")
def training(installation: Settings, version: str) -> Training:
    """A challenger as a night leaves it."""
    return steps.train_challenger(open_session(), LINE, {}, version)


def test_the_same_run_key_gives_the_same_weights_whatever_the_line_says_today(
    installation: Settings, training: Training
) -> None:
    lake = open_lake(installation)
    state = objects(lake)
    path = installation.lines_dir / f"{LINE}.yaml"
    text = path.read_text()
    path.write_text(text.replace("seed: 3", "seed: 4"))
    try:
        assert load_line(LINE, installation.lines_dir).recipe.seed == 4
        found = experiments.reproduce(open_session(), LINE, training.model_version)
    finally:
        path.write_text(text)
    assert found.same and found.same_tensors and found.comparison is None
    assert (found.weights_oid, found.again_oid) == (training.weights_oid,) * 2
    assert found.same_run_key and found.circumstances == found.prevented_by == ()
    assert "the same to the byte" in found.sentence
    assert objects(lake) == state, "the finished training was touched, or something was left behind"


def test_other_weights_and_what_explains_them_are_named(installation: Settings, training: Training) -> None:
    # What a repetition would be in other circumstances: another model (the demonstration's), other code, a GPU.
    lake = open_lake(installation)
    record = open_registry(installation).version(LINE, training.model_version)
    trained = read(lake, trained_key(training.run_key), Trained)
    assert trained is not None
    frames = experiments.demonstrate_leakage(open_session(), LINE).splits["by_frame"]["dataset_version"]
    other = read(lake, trained_key(run_key(lake, load_line(LINE, installation.lines_dir), frames, DETECTION)), Trained)
    assert other is not None and other.weights_oid != trained.weights_oid
    again = trained.model_copy(
        update={
            "weights_oid": other.weights_oid,
            "code_version": "0.0.1+f00d",
            "hardware": trained.hardware | {"cpu_threads": 1000},
            "libraries": trained.libraries | {"torch": "1.0"},
        }
    )
    found = compared(lake, DETECTION, record, trained, again)
    assert not found.same and not found.same_tensors
    assert found.comparison is not None
    first = found.comparison["first"]
    assert first["name"].startswith("model.0.") and first["largest_difference"] > 0 and first["differing"] > 0
    changed = {item["what"]: item for item in found.circumstances}
    assert changed.keys() == {"code version", "hardware cpu_threads", "library torch"}
    assert changed["hardware cpu_threads"]["now"] == 1000
    assert "not as it was then: code version" in found.sentence and first["name"] in found.sentence

    on_gpu = again.model_copy(update={"nondeterministic": ("upsample_bicubic2d_backward_out_cuda",)})
    found = compared(lake, DETECTION, record, trained, on_gpu)
    assert found.prevented_by == ("upsample_bicubic2d_backward_out_cuda",)
    assert found.sentence.endswith("no deterministic implementation has upsample_bicubic2d_backward_out_cuda")

    unexplained = compared(
        lake, DETECTION, record, trained, trained.model_copy(update={"weights_oid": other.weights_oid})
    )
    assert unexplained.same_run_key and "nothing on record explains it" in unexplained.sentence


def test_what_is_not_there_cannot_be_reproduced(installation: Settings, training: Training) -> None:
    with pytest.raises(NotFound, match="no champion yet"):
        experiments.reproduce(open_session(), LINE)
    with pytest.raises(NotFound):
        experiments.reproduce(open_session(), LINE, "99")
