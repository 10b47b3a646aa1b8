"""The metrics adapter of classification: from rows to a verdict, one class or many labels."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from tasks.config import parse_line
from tasks.errors import ConfigError, DataError
from tasks.evaluation.evaluation import Evaluation
from tasks.evaluation.unlearned import unlearned
from tasks.gates.checks import check_gates
from tasks.gates.decide import decide
from tasks.kinds.classification.metrics import judge, labelled_targets, predicted_scores, tabulate
from tasks.metrics.judgement import measured
from tasks.schemas import Decision
from tests.kinds.classification.world import (
    CLASSES,
    KIND,
    LABELS,
    a_line,
    evaluation_of,
    frames_of,
    outputs_for,
    stored,
)


def test_rows_keep_what_was_predicted_and_stay_small() -> None:
    line = a_line()
    frames = frames_of(None, line, 2000)
    outputs = outputs_for(frames, line, 2, 0)
    table, data = stored(tabulate(outputs, frames, CLASSES, line))
    assert table.column_names == ["image", "frame_oid", "label", "score"] and table.num_rows == 6000
    np.testing.assert_allclose(predicted_scores(table, frames, line), np.stack(outputs), atol=1e-7)
    assert len(data) < 2000 * (3 * 4 + 52), "an oid once for each picture, 4 bytes for each probability"


def test_a_models_classes_are_matched_by_name_and_alias() -> None:
    line = a_line(classes={"normal": {"aliases": ["ok", "fine"]}, "abnormal": {}, "non-sperm": {}})
    frames = frames_of(None, line, 2)
    table = tabulate([[0.5, 0.2, 0.25, 0.05]] * 2, frames, ("abnormal", "ok", "FINE", "something else"), line)
    assert predicted_scores(table, frames, line)[1].tolist() == pytest.approx([0.45, 0.5, 0.0])


@pytest.mark.parametrize("bad", [[0.5, 0.5], [np.nan, 0.5, 0.5], [1.5, 0.0, 0.0], [[0.2, 0.3, 0.5]]])
def test_what_is_no_probability_is_refused_by_name(bad: Any) -> None:
    line = a_line()
    frames = frames_of(None, line, 2)
    with pytest.raises(DataError, match=r"picture-001.png frame 0: is not a probability of each class"):
        tabulate([[0.2, 0.3, 0.5], bad], frames, CLASSES, line)


def test_predictions_of_other_pictures_and_foreign_labels_are_refused() -> None:
    line = a_line()
    frames = frames_of(None, line, 4)
    table = tabulate(outputs_for(frames, line, 1, 0), frames, CLASSES, line)
    with pytest.raises(DataError, match="other pictures"):
        judge(table, frames[::-1], line)
    frames[2]["objects"] = '[{"label": "purple"}]'
    with pytest.raises(DataError, match=r"picture-002.png frame 0: label 'purple'"):
        labelled_targets(frames, line)


def test_the_contract_of_champion_json_one_class() -> None:
    line = a_line()
    found = evaluation_of(line, frames_of(None, line, 80), {"challenger": 2.0}).metrics
    assert {"accuracy", "balanced_accuracy", "macro_F1", "ROC_AUC", "MCC", "ECE", "per_class"} <= set(found)
    assert set(found["per_class"]) == set(CLASSES)
    for own in found["per_class"].values():
        assert {"precision", "recall", "F1", "ROC_AUC"} <= set(own)
    json.dumps(found, allow_nan=False)


def test_the_contract_of_champion_json_many_labels() -> None:
    line = a_line(multi_label=True)
    found = evaluation_of(line, frames_of(None, line, 120), {"challenger": 2.0}).metrics
    assert set(found["per_label"]) == set(LABELS) and "per_class" not in found
    for own in found["per_label"].values():
        assert {"accuracy", "balanced_accuracy", "ROC_AUC", "F1", "MCC"} <= set(own)
    mean = np.mean([own["accuracy"] for own in found["per_label"].values()])
    assert found["accuracy"] == pytest.approx(mean)


@pytest.mark.parametrize("multi_label", [False, True])
def test_a_good_model_passes_and_a_guessing_one_does_not(multi_label: bool) -> None:
    line = a_line(multi_label)
    frames = frames_of(None, line, 150)
    good = decide(line, evaluation_of(line, frames, {"challenger": 3.0, "champion": 2.8}), KIND)
    assert good.decision is Decision.PROMOTE, good.reasons
    bad = decide(line, evaluation_of(line, frames, {"challenger": 0.0, "champion": 2.8}), KIND)
    assert bad.decision is Decision.REJECT
    family = "label" if multi_label else "class"
    each = next(gate for gate in bad.gates if gate.gate.startswith("F1.each"))
    assert [found.slice for found in each.slices] == [f"{family}.{name}" for name in line.classes]
    assert "150 pictures" in bad.reasons[0] or any("150 pictures" in reason for reason in bad.reasons)


def test_gates_that_make_no_sense_are_listed() -> None:
    line = a_line(gates=[{"metric": "F1", "at_least": 0.5}, {"metric": "accuracy", "class": "normal", "at_least": 0.5}])
    with pytest.raises(ConfigError) as error:
        check_gates(line, KIND)
    assert "F1 is measured for each class, not overall: name a class, or ask for macro_F1" in str(error.value)
    assert "accuracy is not measured for a single class" in str(error.value)


def test_gates_of_a_multi_label_line_may_call_a_label_a_class() -> None:
    gates = [
        {"metric": "F1", "class": "head", "at_least": 0.1},
        {"metric": "MCC", "slice": "label.tail", "at_least": 0.1},
        {"metric": "MCC", "for_each": ["class.head", "label"], "not_worse_by": 0.1},
    ]
    line = a_line(multi_label=True, gates=gates)
    check_gates(line, KIND)
    assert [gate.where for gate in line.gates] == ["label.head", "label.tail", None]
    assert line.gates[2].for_each == ("label.head", "label")
    again = parse_line(json.loads(line.model_dump_json(by_alias=True, exclude_none=True)), "again")
    assert again.gates == line.gates
    with pytest.raises(ConfigError, match="'hed'"):
        a_line(multi_label=True, gates=[{"metric": "F1", "class": "hed", "at_least": 0.1}])


def judged(line: Any, frames: list[dict[str, Any]], outputs: Any) -> Evaluation:
    from dataclasses import replace

    from tasks.evaluation.measure import Run, measure
    from tests.kinds.classification.world import LATENCY, model

    classes = tuple(line.classes)
    run = Run(model("1", classes), tabulate(outputs, frames, classes, line), "0" * 64, (LATENCY,), 1.0)
    return measure(line, KIND, "d" * 64, frames, {"challenger": replace(run)}, measured_by="")


def test_classes_that_nothing_was_learned_of_are_named_however_common_they_are() -> None:
    line = a_line()
    frames = frames_of(None, line, 60)
    sentences = unlearned(judged(line, frames, [[0.8, 0.15, 0.05]] * 60), KIND)
    assert len(sentences) == 3 and all("learned nothing of" in each and "MCC 0.000 on" in each for each in sentences)
    assert unlearned(judged(line, frames, outputs_for(frames, line, 3, 0)), KIND) == ()


def test_a_label_that_every_picture_has_is_not_known_of() -> None:
    line = a_line(multi_label=True)
    frames = frames_of(None, line, 60)
    for row in frames:
        objects = json.loads(row["objects"])
        kept = [each | {"present": True} if each["label"] == "head" else each for each in objects]
        row["objects"] = json.dumps([each for each in kept if each["label"] != "tail"])
    sentences = unlearned(judged(line, frames, outputs_for(frames, line, 3, 0)), KIND)
    assert sentences == (
        "nothing is known of head: every test picture has it",
        "nothing is known of tail: the test split holds no label of it",
    )


def test_pictures_are_summed_up_by_donor_and_never_listed_by_the_hundred() -> None:
    line = a_line()
    alone = evaluation_of(line, frames_of(None, line, 100), {"challenger": 2.0})
    assert not {"per_recording", "per_donor"} & set(alone.metrics)
    assert alone.of_pictures and alone.cluster_noun == "picture"
    by_donor = evaluation_of(line, frames_of(None, line, 100, donors=7), {"challenger": 2.0})
    assert list(by_donor.metrics["per_donor"]) == [f"d{i}" for i in range(7)]
    assert sum(own["images"] for own in by_donor.metrics["per_donor"].values()) == 100
    assert by_donor.cluster_noun == "donor"


def test_mcnemar_is_reported_and_both_models_are_shown_on_the_same_pictures() -> None:
    line = a_line()
    frames = frames_of(None, line, 100)
    found = evaluation_of(line, frames, {"challenger": 1.0, "champion": 3.0})
    (test,) = found.paired_tests
    assert test.both + test.only_challenger + test.only_champion + test.neither == 100
    right = found.metrics["accuracy"] * 100
    assert test.both + test.only_challenger == pytest.approx(right) and test.p_value < 0.05
    assert [view.frame_oid for view in found.beside] == [view.frame_oid for view in found.challenger.worst]
    assert len(found.beside) == KIND.words.shown
    many = a_line(multi_label=True)
    found = evaluation_of(many, frames_of(None, many, 60), {"challenger": 1.0, "champion": 1.0})
    assert [each.name for each in found.paired_tests] == list(LABELS)
    assert evaluation_of(line, frames, {"challenger": 1.0}).paired_tests == ()


def test_views_show_each_class_as_it_was_judged() -> None:
    line = a_line(multi_label=True, evaluation={"resamples": 200, "score_threshold": 0.4})
    frames = frames_of(None, line, 3)
    frames[0]["objects"] = json.dumps([{"label": "acrosome", "present": True}, {"label": "head", "present": False}])
    table = tabulate([[0.39, 0.41, 0.9, 0.1]] * 3, frames, LABELS, line)
    (view,) = KIND.drawing.views(table, frames, line, judge(table, frames, line), [0])
    states = {each.label: (each.labelled, each.predicted, each.state) for each in view.whole}
    assert states == {
        "acrosome": (True, False, "missed"), "head": (False, True, "wrong"),
        "tail": (None, True, "unknown"), "vacuole": (None, False, "unknown"),
    }  # fmt: skip
    assert view.errors == 2 and view.labelled == view.predicted == ()


def test_the_kind_is_whole_in_our_parts() -> None:
    assert KIND.learned_by.name == "MCC" and KIND.words.images == "pictures"
    line = a_line()
    assert KIND.metrics.slices(line) == {"class": CLASSES}
    table = tabulate([[0.2, 0.3, 0.5]], frames_of(None, line, 1), CLASSES, line)
    assert measured(judge(table, frames_of(None, line, 1), line), 1)["labels"] == 1
