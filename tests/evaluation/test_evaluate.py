"""Evaluation against a real lake: one split, one run, stored and recomputable."""

from __future__ import annotations

import pytest

from tasks.errors import ConfigError, InsufficientData, IntegrityError, NotFound
from tasks.evaluation.evaluate import recompute, stored_predictions
from tasks.evaluation.evaluation import load_evaluation
from tasks.gates.decide import decide
from tasks.lake import Lake
from tasks.provenance import code_of
from tasks.schemas import Decision
from tests.evaluation.world import DETECTION, FRAMES, WEIGHTS_BYTES, a_line, judged, loader, make_world, model

KEYS = {
    "AP50",
    "AP50_95",
    "precision",
    "recall",
    "per_class",
    "per_size",
    "per_recording",
    "latency_ms_p50",
    "latency_ms_p95",
}


def test_both_models_on_the_same_split(lake: Lake) -> None:
    world = make_world(lake, a_line(), [f"{name}.mp4" for name in "abcdef"])
    oid, found = judged(lake, world, model("2", 0.05), model("1", 0.5))
    assert found.images == 6 * FRAMES and found.recordings[:3] == ("a.mp4", "b.mp4", "c.mp4")
    assert len(found.clusters) == 6
    assert set(found.metrics) >= KEYS
    sperm = found.metrics["per_class"]["sperm"]
    assert set(sperm) >= {"AP50", "AP50_95", "precision", "recall", "labels"} and sperm["labels"] > 0
    assert set(found.metrics["per_size"]) == {"small", "medium", "large"}
    assert found.metrics["per_recording"]["b.mp4"]["images"] == FRAMES
    assert found.champion_metrics is not None and found.metrics["AP50"] > found.champion_metrics["AP50"]
    assert found.intervals["AP50"]["low"] <= found.metrics["AP50"] <= found.intervals["AP50"]["high"]
    assert found.intervals["differences"]["AP50"]["confidence"] == 0.95
    assert set(found.intervals["differences"]["per_class"]) == {"sperm", "impurity"}
    assert load_evaluation(lake, oid) == found
    assert decide(world.line, found, DETECTION).decision is Decision.PROMOTE


def test_all_of_it_follows_from_what_is_stored(lake: Lake) -> None:
    world = make_world(lake, a_line(), ["a.mp4", "b.mp4", "c.mp4"])
    oid, found = judged(lake, world, model("2", 0.3), model("1", 0.4))
    stored = load_evaluation(lake, oid)
    assert recompute(lake, world.line, DETECTION, stored) == stored == found
    assert stored.measured_by == code_of("evaluation", "detection")
    table = stored_predictions(lake, found.challenger.predictions_oid)
    assert table.column_names == [
        "frame_oid", "recording_id", "frame_index", "label", "score", "x_px", "y_px", "width_px", "height_px",
    ]  # fmt: skip


def test_recomputing_finds_any_number_that_was_touched(lake: Lake) -> None:
    world = make_world(lake, a_line(), ["a.mp4", "b.mp4"])
    _, found = judged(lake, world, model("2", 0.3), model("1", 0.4))
    data = found.model_dump(mode="json")
    data["challenger"]["metrics"]["per_class"]["sperm"]["AP50"] += 1e-6
    touched = type(found).model_validate(data)
    assert recompute(lake, world.line, DETECTION, touched) == found != touched
    data = found.model_dump(mode="json")
    data["differences"][0]["draws"][7] += 1e-6
    touched = type(found).model_validate(data)
    assert recompute(lake, world.line, DETECTION, touched) != touched
    data = found.model_dump(mode="json")
    data["challenger"]["predictions_oid"] = data["champion"]["predictions_oid"]
    touched = type(found).model_validate(data)
    assert recompute(lake, world.line, DETECTION, touched) != touched
    other = a_line(classes={"sperm": {}}, gates=[{"metric": "AP50", "at_least": 0.5}])
    with pytest.raises(ConfigError, match="is not the one that was evaluated"):
        recompute(lake, other, DETECTION, found)
    with pytest.raises(IntegrityError, match="holds no predictions"):
        stored_predictions(lake, lake.blobs.put_bytes(b"no table"))


def test_what_running_a_model_costs(lake: Lake) -> None:
    world = make_world(lake, a_line(), ["a.mp4"])
    _, found = judged(lake, world, model("2", 0.0))
    assert found.value("model_size_mb") == WEIGHTS_BYTES / 1e6
    assert found.value("latency_ms_p95") == found.challenger.latencies[0].latency_ms_p95


def test_the_line_fixes_the_threshold(lake: Lake) -> None:
    plan = {"resamples": 200}
    world = make_world(lake, a_line(evaluation={**plan, "score_threshold": 0.9}), ["a.mp4"])
    _, strict = judged(lake, world, model("2", 0.0))
    _, free = judged(lake, world, model("2", 0.0), line=a_line(evaluation=plan))
    assert strict.metrics["score_threshold"] == 0.9 and strict.metrics["score_threshold_from"] == "the line"
    assert free.metrics["score_threshold"] < 0.9 and free.metrics["score_threshold_from"] == "the highest F1"
    assert strict.metrics["recall"] < free.metrics["recall"] and strict.metrics["AP50"] == free.metrics["AP50"]


def test_counts_per_frame_overall_and_by_recording(lake: Lake) -> None:
    world = make_world(lake, a_line(), ["a.mp4", "b.mp4"])
    _, found = judged(lake, world, model("2", 0.0))
    for part, frames in ((found.metrics, 2 * FRAMES), (found.metrics["per_recording"]["a.mp4"], FRAMES)):
        count = part["count_per_frame"]["sperm"]
        assert count["labelled"] == part["per_class"]["sperm"]["labels"] / frames
        assert count["predicted"] == count["labelled"] and count["bias"] == 0.0


def test_studies_are_measured_one_by_one_where_there_are_several(lake: Lake) -> None:
    names = ["a.mp4", "b.mp4", "c.mp4", "d.mp4"]
    world = make_world(lake, a_line(), names, studies=["stained", "bright", "stained", None])
    _, found = judged(lake, world, model("2", 0.3), model("1", 0.4))
    parts = found.metrics["per_study"]
    assert {name: own["images"] for name, own in parts.items()} == {"bright": FRAMES, "stained": 2 * FRAMES}
    assert parts["bright"]["AP50"] == found.metrics["per_recording"]["b.mp4"]["AP50"]
    assert found.champion_metrics is not None and "per_study" in found.champion_metrics
    alone = make_world(lake, a_line(), names[:2], studies=["stained", "stained"])
    assert "per_study" not in judged(lake, alone, model("2", 0.3))[1].metrics


def test_the_same_but_for_the_clock(lake: Lake) -> None:
    world = make_world(lake, a_line(), ["a.mp4", "b.mp4"])
    first, second = (judged(lake, world, model("2", 0.3), model("1", 0.4))[1] for _ in range(2))
    assert first.differences == second.differences
    assert first.challenger.predictions_oid == second.challenger.predictions_oid
    timed = {"latency_ms_p50", "latency_ms_p95"}
    mine, theirs = ({k: v for k, v in found.metrics.items() if k not in timed} for found in (first, second))
    assert mine == theirs and first.challenger.worst == second.challenger.worst


def test_one_recording_gives_no_interval_and_says_so(lake: Lake) -> None:
    world = make_world(lake, a_line(), ["a.mp4"])
    _, found = judged(lake, world, model("2", 0.0), model("1", 0.5))
    assert found.intervals["AP50"] == {"low": None, "high": None, "confidence": 0.95}
    assert found.intervals["differences"]["AP50"]["low"] is None
    outcome = decide(world.line, found, DETECTION)
    assert outcome.decision is Decision.INSUFFICIENT_DATA and "4 more recordings" in outcome.reasons[0]


def test_recordings_of_one_donor_are_one_cluster(lake: Lake) -> None:
    world = make_world(lake, a_line(), ["a.mp4", "b.mp4", "c.mp4"], donors=["X", "X", "Y"])
    _, found = judged(lake, world, model("2", 0.1))
    assert found.clusters == ("donor:X", "donor:Y") and len(found.recordings) == 3


def test_a_first_model_has_nothing_to_be_compared_with(lake: Lake) -> None:
    world = make_world(lake, a_line(), ["a.mp4"])
    _, found = judged(lake, world, model("1", 0.0))
    assert found.champion is None and found.differences == () and found.champion_metrics is None
    outcome = decide(world.line, found, DETECTION)
    assert outcome.decision is Decision.PROMOTE
    assert "No champion yet: the absolute gates alone decided." in outcome.reasons


def test_classes_are_matched_by_name_not_by_place(lake: Lake) -> None:
    """A champion of an older line: other order, an alias, and a class that is gone."""
    world = make_world(lake, a_line(), ["a.mp4"])
    old = model("1", 0.0, classes=("dust", "debris", "sperm"))
    _, found = judged(lake, world, model("2", 0.0), old)
    assert found.champion_metrics is not None
    assert found.champion_metrics["AP50"] == found.metrics["AP50"] == pytest.approx(1.0)


def test_a_latency_gate_on_the_cpu_is_timed_there(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.evaluation.predict.hardware", lambda device: f"a {device}")
    world = make_world(lake, a_line(), ["a.mp4"])
    load = loader(world, {None: "cuda:0", "cpu": "cpu"})
    _, found = judged(lake, world, model("1", 0.0), load=load)
    assert [(taken.device, taken.hardware) for taken in found.challenger.latencies] == [
        ("cuda:0", "a cuda:0"), ("cpu", "a cpu"),
    ]  # fmt: skip
    assert found.device == "cuda:0"
    assert "on cpu (a cpu)" in decide(world.line, found, DETECTION).gates[2].reason


def test_the_worst_frames_show_what_went_wrong(lake: Lake) -> None:
    world = make_world(lake, a_line(), ["a.mp4", "b.mp4"])
    _, found = judged(lake, world, model("2", 0.6))
    worst = found.challenger.worst
    assert worst and all(view.errors > 0 for view in worst)
    assert [view.errors for view in worst] == sorted((view.errors for view in worst), reverse=True)
    for view in worst:
        wrong = sum(shape.state == "wrong" for shape in view.predicted)
        assert view.errors == wrong + sum(shape.state == "missed" for shape in view.labelled)


def test_what_is_missing_is_said(lake: Lake) -> None:
    world = make_world(lake, a_line(), [])
    with pytest.raises(InsufficientData, match="no test split"):
        judged(lake, world, model("1", 0.0))
    with pytest.raises(NotFound):
        judged(lake, world, model("1", 0.0), dataset_version="0" * 64)
    with pytest.raises(IntegrityError, match="is no evaluation"):
        load_evaluation(lake, lake.blobs.put_bytes(b"{}"))
