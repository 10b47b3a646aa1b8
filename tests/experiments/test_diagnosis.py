"""A diagnosis end to end: a real model, a learning curve that breaks and is gone on with, labels that models doubt."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tasks import experiments, steps
from tasks.cli.output import dump
from tasks.config import Settings
from tasks.datasets.experiments import experiment_of
from tasks.datasets.shares import WHAT, make_shares
from tasks.errors import ConfigError, DataError, InsufficientData, NotFound
from tasks.evaluation.evaluate import frames_of_test_split, stored_predictions
from tasks.experiments.diagnosis.diagnosing import _threshold
from tasks.experiments.diagnosis.labels import label_noise
from tasks.experiments.diagnosis.slices import by_density, slices_of
from tasks.experiments.experiment_runs import file_result
from tasks.kind import Answered
from tasks.kinds import kind_of
from tasks.labeling.state import KnownTask, SyncState, save
from tasks.lake import Lake, open_lake
from tasks.metrics.judgement import Judgement
from tasks.session import open_session
from tasks.training import train as trainings
from tests.evaluation.world import DETECTION, FRAMES, a_line, judged, make_world, model
from tests.steps.small_line import LINE, freeze, left_alone, steps_use


@pytest.fixture(scope="module")
def installation(small_line_environment: dict[str, str]) -> Iterator[Settings]:
    with steps_use(small_line_environment) as settings:
        yield settings


def test_the_whole_of_it_with_a_curve_whose_trainings_are_kept(
    installation: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = freeze()
    training = steps.train_challenger(open_session(), LINE, {}, version)
    with pytest.raises(NotFound, match="no champion yet"):
        experiments.diagnose(open_session(), LINE)
    before, lake = left_alone(installation), open_lake(installation)
    cheap = experiments.diagnose(open_session(), LINE, training.model_version)
    assert cheap.learning_curve is None and "--learning-curve" in cheap.not_run[0]
    assert len(cheap.advice) == 3 and cheap.training and cheap.training.epochs == training.epochs
    assert [error.name for error in cheap.errors] and cheap.main.metric == "AP50" and cheap.main.groups == 1

    trained: list[str] = []
    train = trainings.train_unregistered

    def counted(*arguments: Any, **options: Any) -> Any:
        trained.append(arguments[3])
        if len(trained) == 2:
            raise RuntimeError("pulled the plug")
        return train(*arguments, **options)

    monkeypatch.setattr(trainings, "train_unregistered", counted)
    cut = experiments.diagnose(open_session(), LINE, training.model_version, learning_curve=True, seeds=1)
    assert cut.learning_curve and not cut.learning_curve.complete and len(trained) == 3
    assert [point.state for point in cut.learning_curve.points] == ["finished", "failed", "finished"]
    assert "pulled the plug" in str(cut.learning_curve.points[1].why) and "pulled the plug" in cut.report_html
    whole = experiments.diagnose(open_session(), LINE, training.model_version, learning_curve=True, seeds=1)
    assert whole.learning_curve and whole.learning_curve.complete and len(trained) == 4, "only what is missing"
    assert [point.groups for point in whole.learning_curve.points] == [1, 2, 3]
    assert whole.learning_curve.rise and whole.learning_curve.rise.to_groups == 3 and not whole.not_run
    assert whole.evaluation_oid == cheap.evaluation_oid, "the model is not asked again"
    assert whole.label_noise.models[:2] == (f"model {training.model_version}", "learning curve, seed 0")
    assert left_alone(installation) == before, "nights, versions, models and the champion are as they were"
    for share in set(trained):
        mark = experiment_of(lake.datasets.load(LINE, share))
        assert mark and mark["what"] == WHAT
        with pytest.raises(DataError, match="made for an experiment"):
            steps.train_challenger(open_session(), LINE, {}, share)
    page = whole.report_html
    assert all(advice.rule in page for advice in whole.advice) and "Learning curve" in page
    assert "<script" not in page and "https://" not in page.replace("https://nightscope", "")
    assert json.loads(json.dumps(dump(whole)))["learning_curve"]["points"][0]["groups"] == 1


def test_shares_leave_groups_out_and_keep_the_test_split(lake: Lake) -> None:
    line = a_line()
    world = make_world(lake, line, ["a.mp4", "b.mp4"])
    rows = lake.datasets.load(line.line, world.version).rows.to_pylist()
    for number in range(9):  # nine more to learn from, one of them to validate on
        rows += [
            {**row, "group": f"donor:{number}", "recording_id": f"{number + 9:064x}",
             "split": "val" if number == 8 else "train"}
            for row in rows[-FRAMES:]
        ]  # fmt: skip
    meta = {"classes": json.dumps(list(line.classes))}
    version = lake.datasets.save(line.line, pa.Table.from_pylist(rows).replace_schema_metadata(meta), {"has_val": True})
    base = lake.datasets.load(line.line, version)
    made = make_shares(lake, line, DETECTION, base, range(2))
    assert [(share.seed, share.groups) for share in made] == [(s, n) for s in (0, 1) for n in (3, 5, 8, 10)]
    learned: dict[int, list[set[str]]] = {0: [], 1: []}
    for share in made:
        own = lake.datasets.load(line.line, share.version)
        assert own.about["has_val"] is False
        split = {
            name: {row["group"] for row in own.rows.to_pylist() if row["split"] == name} for name in ("train", "test")
        }
        assert split["test"] == {row["group"] for row in rows if row["split"] == "test"}
        assert len(split["train"]) == share.groups and not split["train"] & split["test"]
        learned[share.seed].append(split["train"])
    for own in learned.values():
        assert own[0] < own[1] < own[2] < own[3], "a larger share has what a smaller one has"
    assert learned[0][0] != learned[1][0] and learned[0][3] == learned[1][3]
    assert make_shares(lake, line, DETECTION, base, range(2)) == made
    with pytest.raises(ConfigError, match="no learning curve"):
        make_shares(lake, line, DETECTION, base, [0], [0.5, 1.5])
    with pytest.raises(InsufficientData, match="no learning curve"):
        make_shares(lake, line, DETECTION, lake.datasets.load(line.line, world.version), [0])


def place_of(row: dict[str, Any]) -> tuple[str, int]:
    return row["recording_id"], row["frame_index"]


def test_what_a_detector_contradicts_is_listed_with_its_labeling_task(lake: Lake) -> None:
    """A label is taken out, one renamed, one invented: a model that knows the truth finds all three."""
    line = a_line()
    world = make_world(lake, line, ["a.mp4", "b.mp4", "c.mp4"])
    _, evaluation = judged(lake, world, model("2", 0.0))
    before = label_noise(lake, line, DETECTION, lake.datasets.load(line.line, world.version), evaluation, None)
    assert before.doubts == () and before.counts == {} and before.frames == 3 * FRAMES and before.labels > 30
    manifest = lake.datasets.load(line.line, world.version)
    rows = {place_of(row): row for row in manifest.rows.to_pylist()}
    sure = (
        stored_predictions(lake, evaluation.challenger.predictions_oid).sort_by([("score", "descending")]).to_pylist()
    )
    gone = sure[0]
    wrong = next(each for each in sure if place_of(each) != place_of(gone))
    invented = next(
        row for key, row in rows.items() if row["split"] == "test" and key not in map(place_of, (gone, wrong))
    )
    for each, change in ((gone, None), (wrong, {"sperm": "impurity", "impurity": "sperm"}[wrong["label"]])):
        own = json.loads(rows[place_of(each)]["objects"])
        (label,) = [box for box in own if abs(box["x_px"] - each["x_px"]) + abs(box["y_px"] - each["y_px"]) < 1]
        own = [box for box in own if box is not label] + ([{**label, "label": change}] if change else [])
        rows[place_of(each)]["objects"] = json.dumps(own)
    nothing = {"label": "sperm", "x_px": 150.0, "y_px": 110.0, "width_px": 6.0, "height_px": 6.0}
    invented["objects"] = json.dumps([*json.loads(invented["objects"]), nothing])
    world.version = lake.datasets.save(
        line.line, pa.Table.from_pylist(list(rows.values()), schema=manifest.rows.schema), {}
    )
    save(lake, line.line, SyncState(project_id=7, tasks={31: KnownTask(place_of(gone))}))
    label_studio = lake.settings.label_studio.model_copy(update={"url": "http://127.0.0.1:8080/"})
    linked = replace(lake, settings=lake.settings.model_copy(update={"label_studio": label_studio}))
    _, evaluation = judged(linked, world, model("2", 0.0))
    noise = label_noise(linked, line, DETECTION, linked.datasets.load(line.line, world.version), evaluation, None)

    found = [(doubt.sort, doubt.recording_id, doubt.frame_index, doubt.label, doubt.likely) for doubt in noise.doubts]
    other = {"sperm": "impurity", "impurity": "sperm"}[wrong["label"]]
    assert found == [
        ("unlabelled", *place_of(gone), None, gone["label"]),
        ("otherwise", *place_of(wrong), other, wrong["label"]),
        ("unfound", *place_of(invented), "sperm", None),
    ]
    assert noise.counts == {"unlabelled": 1, "otherwise": 1, "unfound": 1} and noise.alone == 1
    assert noise.serious == {"unlabelled": 1, "otherwise": 1}, "what one model misses may well be there"
    assert noise.doubts[0].box_px == pytest.approx([gone[k] for k in ("x_px", "y_px", "width_px", "height_px")])
    assert noise.doubts[0].link == "http://127.0.0.1:8080/projects/7/data?task=31" and noise.doubts[1].link is None


def test_folds_of_a_cross_validation_are_asked_about_what_they_tested(lake: Lake) -> None:
    line = a_line()
    world = make_world(lake, line, ["a.mp4", "b.mp4"])
    base = lake.datasets.load(line.line, world.version)
    _, evaluation = judged(lake, world, model("2", 0.0))
    other = {"test": "train", "train": "test"}  # the fold tests what the night trains on
    places = pa.array([other[split] for split in base.rows.column("split").to_pylist()])
    fold = lake.datasets.save(line.line, base.rows.set_column(0, "split", places), {})
    oid, _ = judged(lake, world, model("3", 0.0), dataset_version=fold)
    folds = [{"fold": 1, "folds": 2, "evaluation_oid": oid}]
    for name, changes in (("of another", {"dataset_version": fold}), ("cut", {"complete": False}), ("ours", {})):
        filed = {"dataset_version": base.version, "complete": True, "folds": folds, **changes}
        file_result(lake, f"experiments/{line.line}/cross-validations/{name}.json", filed)
        noise = label_noise(lake, line, DETECTION, base, evaluation, None)
        asked = ("model 2", "fold 1 of 2") if name == "ours" else ("model 2",)
        assert noise.models == asked and noise.frames == (3 if name == "ours" else 2) * FRAMES, name


def test_slices_and_the_threshold_of_a_detector(lake: Lake) -> None:
    line = a_line(recipe={"name": "any", "conf": 0.9})
    world = make_world(lake, line, [f"{name}.mp4" for name in "abcdef"])
    shy = model("2", 0.1).model_copy(update={"options": {"error": 0.1, "predict": {"conf": 0.9}}})
    frames = frames_of_test_split(lake, line, world.version)
    _, evaluation = judged(lake, world, shy)
    predictions = stored_predictions(lake, evaluation.challenger.predictions_oid)
    found = _threshold(lake, line, DETECTION, evaluation, predictions, frames)
    assert found is not None and found.shipped == 0.9 and found.best < 0.6
    assert found.gain is not None and found.gain > 0.2 and found.low is not None and found.low > 0
    own = a_line(evaluation={"resamples": 100, "score_threshold": 0.45})
    _, evaluation = judged(lake, world, shy, line=own)
    predictions = stored_predictions(lake, evaluation.challenger.predictions_oid)
    own_threshold = _threshold(lake, own, DETECTION, evaluation, predictions, frames)
    assert own_threshold is not None and own_threshold.shipped == 0.45, "the line's comes first"
    judgement = DETECTION.metrics.judge(predictions, frames, line)
    slices = slices_of(DETECTION.metrics.METRICS, evaluation.metrics, judgement)
    assert {one.family for one in slices} == {"class", "size", "density"}, "a recording has too few labels"
    assert [one.value - one.overall for one in slices] == sorted(one.value - one.overall for one in slices)
    for family in ("class", "size", "density"):
        assert sum(one.labels for one in slices if one.family == family) == evaluation.metrics["labels"]


@pytest.mark.parametrize(
    ("counts", "names"),
    [
        ([1] * 9, []),
        ([0, 0, 5, 5], []),
        ([0, 2, 2, 3, 4, 9, 9], ["2 objects an image", "3 to 4 objects an image", "9 objects an image"]),
        ([5, 7], ["5 objects an image", "7 objects an image"]),
    ],
)
def test_thirds_by_the_number_of_objects(counts: list[int], names: list[str]) -> None:
    judgement = Judgement(
        statistic=lambda weights: {("AP50",): weights.sum(axis=1) / 10}, labels={"sperm": np.array(counts)}, support={},
        errors=np.zeros(len(counts)),
    )  # fmt: skip
    found = by_density(judgement)
    assert list(found) == names
    assert sum(own["images"] for own in found.values()) == (sum(count > 0 for count in counts) if names else 0)


def test_pictures_that_a_classifier_calls_otherwise(lake: Lake) -> None:
    classification = kind_of("classification")
    classes = ("disc", "bar")
    scores = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.05, 0.95], [0.4, 0.6], [0.1, 0.9]])
    labels = ["disc", "disc", "disc", "disc", "disc", "bar"]
    rows = [
        {"recording_id": f"{i:064x}", "recording_name": f"{i}.png", "frame_index": 0, "frame_oid": f"{i:064x}",
         "objects": json.dumps([{"label": label}])}
        for i, label in enumerate(labels)
    ]  # fmt: skip
    line = a_line(kind="classification", gates=[{"metric": "accuracy", "at_least": 0.1}], classes=list(classes))
    table = classification.metrics.tabulate(list(scores), rows, classes, line)
    own = classification.diagnosis
    assert own is not None and own.claims(table, rows, line) is None, "the most probable class needs no threshold"
    found = own.doubtful_labels([Answered("model 1", rows, table)], line)
    assert [(d.sort, d.recording_name, d.label, d.likely) for d in found] == [("otherwise", "3.png", "disc", "bar")], (
        "0.6 is less than the median of what was right"
    )
    again = classification.metrics.tabulate(list(scores[:, ::-1]), rows, classes, line)
    assert own.doubtful_labels([Answered("1", rows, table), Answered("2", rows, again)], line) == []

    several = a_line(
        kind="classification", gates=[{"metric": "accuracy", "at_least": 0.1}], classes=list(classes), multi_label=True
    )
    for row, (disc, bar) in zip(rows, [(1, 0), (1, 0), (1, 0), (1, 0), (1, 1), (0, 1)], strict=True):
        row["objects"] = json.dumps([{"label": "disc", "present": bool(disc)}, {"label": "bar", "present": bool(bar)}])
    found = own.doubtful_labels([Answered("model 1", rows, table)], several)
    assert {(d.sort, d.recording_name, d.label, d.likely) for d in found} == {
        ("unlabelled", "3.png", None, "bar"), ("unfound", "3.png", "disc", None),
    }  # fmt: skip
    claims = own.claims(table, rows, several)
    assert claims is not None and claims.right.sum() == claims.positives.sum() == 7
