"""The report and the files of a classification line: words of pictures, confusion, curves, both models side by side."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tasks.config import Line
from tasks.errors import NotFound
from tasks.evaluation.artifacts import logged_metrics, write_artifacts
from tasks.evaluation.content import confusion, forest_plot
from tasks.evaluation.evaluation import Evaluation, Table
from tasks.evaluation.gallery import in_words
from tasks.evaluation.report import Judged, render
from tasks.evaluation.saliency import laid_over, overlays
from tasks.gates.decide import decide
from tasks.kind import Kind, PictureLabel
from tasks.metrics.judgement import OUTCOMES
from tests.evaluation.test_report import read
from tests.kinds.classification.world import CLASSES, KIND, a_line, evaluation_of, frames_of

AT = datetime(2026, 11, 26, 2, 30, tzinfo=UTC)
JPEG = cv2.imencode(".jpg", np.full((80, 96, 3), 90, np.uint8))[1].tobytes()


def page(multi_label: bool, skills: dict[str, float], heat: bool = False, **line: Any) -> tuple[str, Evaluation, Line]:
    of = a_line(multi_label, **line)
    found = evaluation_of(of, frames_of(None, of, 120), skills)
    shown = [view.frame_oid for view in found.challenger.worst]
    heats = {oid: (JPEG, of.classes and next(iter(of.classes))) for oid in shown} if heat else {}
    judged = Judged(*decide(of, found, KIND), AT)
    return render(of, KIND, found, judged, images=dict.fromkeys(shown, JPEG), heats=heats), found, of


def test_a_report_of_one_class_a_picture() -> None:
    html, found, _ = page(False, {"challenger": 1.0, "champion": 1.5}, heat=True)
    text = read(html).text
    for words in (
        "By how much", "Overall", "Cohen's kappa", "Pictures that part the two models", "McNemar's exact test",
        "Rows are labels, columns are predictions", "By class", "ROC, each against the rest", "guessing",
        "Precision and recall, each against the rest", "Reliability", "chosen class",
        "Pictures with the surest mistakes", "taken for", "what speaks for", "120 pictures (picture-000.png",
        "and 108 more",
        "paired resamples of pictures",
    ):  # fmt: skip
        assert words in text, words
    assert not re.search(r"\bframes?\b|\bbox(es)?\b|AP50|Bolya", text), "no words of other kinds"
    assert html.count("data:image/jpeg;base64,") == 2 * KIND.words.shown
    assert base64.b64encode(JPEG).decode() in html and len(html) < 5_000_000
    auc = found.metrics["per_class"]["normal"]["ROC_AUC"]
    assert re.search(rf"normal {auc:.3f} \(0\.\d+ to \d\.\d+\)", text), "AUC with its interval beside the curve"


def test_a_report_of_many_labels() -> None:
    html, found, _ = page(True, {"challenger": 1.0, "champion": 1.5})
    text = read(html).text
    for words in (
        "By label",
        "there, missed",
        "not there, claimed",
        "claimed from a probability of 0.5",
        *found.classes,
    ):
        assert words in text, words
    assert "Grad-CAM" not in text, "nothing is promised that is not shown"
    right = sum(view.errors == 0 for view in found.beside)
    assert text.count("Champion: right") == right


def test_a_first_model_names_its_weakest_class() -> None:
    html, found, _ = page(False, {"challenger": 1.0})
    weakest = min(found.metrics["per_class"], key=lambda name: found.metrics["per_class"][name]["ROC_AUC"])
    text = read(html).text
    assert f"Where it is weakest class {weakest}" in text and "ROC AUC of the slice" in text
    assert "McNemar" not in text


def test_slices_of_a_metric_that_has_no_overall_value_name_it_in_the_forest() -> None:
    _, found, line = page(False, {"challenger": 1.0, "champion": 1.5})
    assert "F1, normal" in str(forest_plot(line, KIND, found))


@pytest.mark.parametrize(
    ("rows_are", "columns", "counts", "shares"),
    [
        ("labelled", ("a", "b"), ((3, 1), (0, 0)), [[0.75, 0.25], [None, None]]),
        ("labels", OUTCOMES, ((3, 1, 4, 0), (0, 0, 1, 1)), [[0.75, 0.25, 1.0, 0.0], [None, None, 0.5, 0.5]]),
        ("predicted", ("a", "b"), ((3, 1), (1, 1)), [[0.75, 0.5], [0.25, 0.5]]),
    ],
)
def test_shares_of_a_confusion_are_those_of_the_label(rows_are: Any, columns: Any, counts: Any, shares: Any) -> None:
    table = confusion(Table(rows=("a", "b"), columns=columns, counts=counts, nothing=False, rows_are=rows_are))
    assert [[cell.share for cell in cells] for _, cells in table["rows"]] == shares


def test_what_happened_is_put_into_words() -> None:
    def labels(**each: tuple[bool | None, bool, float]) -> list[PictureLabel]:
        return [PictureLabel(label=name, labelled=there, predicted=said, score=score)
                for name, (there, said, score) in each.items()]  # fmt: skip

    assert in_words(labels(a=(True, False, 0.1), b=(False, True, 0.9))) == "a taken for b, 0.90"
    assert in_words(labels(a=(True, True, 0.9), b=(False, False, 0.1))) == "a, 0.90"
    many = labels(a=(True, False, 0.1), b=(False, True, 0.9), c=(None, True, 0.8), d=(False, True, 0.7))
    assert in_words(many) == "missed a; claimed b and d, which are not there"
    assert in_words(labels(a=(True, True, 0.9), b=(None, True, 0.9))) == "all labels right"


def test_files_for_mlflow(tmp_path: Path) -> None:
    _, found, _ = page(True, {"challenger": 1.0, "champion": 1.5})
    written = write_artifacts(found, b"<html>", tmp_path)
    assert {"test/tables/per_label.csv", "test/tables/confusion.csv", "test/tables/mcnemar.csv",
            "test/curves/roc-each-against-the-rest.svg"} <= set(written)  # fmt: skip
    head, *rows = written["test/tables/confusion.csv"].read_text().splitlines()
    assert head == 'model,label,"there, found","there, missed","not there, left out","not there, claimed"'
    assert len(rows) == 8
    logged = logged_metrics(found)
    assert logged["test/balanced_accuracy"] == found.metrics["balanced_accuracy"]
    assert "test/per_label/head/ROC_AUC" in logged and not any("per_donor" in name for name in logged)


def test_heat_colours_where_it_is_and_nothing_else() -> None:
    image = np.full((10, 12, 3), 100, np.uint8)
    heat = np.zeros((10, 12), np.float32)
    heat[2:4, 2:4] = 1.0
    found = laid_over(image, heat)
    assert (found[5:] == 100).all() and (found[2:4, 2:4] != 100).any()


class _Asked:
    """A kind whose models can be asked, or not; remembers what for."""

    def __init__(self, error: Exception | None = None) -> None:
        self.saliency, self.predictors, self.asked, self.error = self, self, [], error

    def load(self, lake: Any, model: Any, device: Any) -> str:
        if self.error:
            raise self.error
        return "the model"

    def heat(self, predictor: Any, image: Any, class_index: int) -> Any:
        self.asked.append((predictor, class_index))
        return np.ones(image.shape[:2], np.float32)


def test_saliency_is_of_the_class_that_was_claimed_in_the_models_own_order(tmp_path: Path) -> None:
    line = a_line()
    found = evaluation_of(line, frames_of(None, line, 60), {"challenger": 0.5})
    path = tmp_path / "a.jpg"
    path.write_bytes(JPEG)
    paths = {view.frame_oid: path for view in found.challenger.worst}
    ref = found.challenger.model.model_copy(update={"classes": CLASSES[::-1]})
    kind: Any = _Asked()
    drawn = overlays(None, line, kind, ref, found.challenger.worst, paths)  # type: ignore[arg-type]
    claimed = [next(each.label for each in view.whole if each.predicted) for view in found.challenger.worst]
    assert [drawn[view.frame_oid].label for view in found.challenger.worst] == claimed
    assert [CLASSES[::-1][index] for _, index in kind.asked] == claimed
    gone: Any = _Asked(NotFound("weights: not in the lake"))
    assert overlays(None, line, gone, ref, found.challenger.worst, paths) == {}  # type: ignore[arg-type]
    detection = Kind.named("detection")
    assert overlays(None, line, detection, ref, found.challenger.worst, paths) == {}  # type: ignore[arg-type]
