"""Nothing new, no night: decided from hashes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tasks import steps
from tasks.config import load_line
from tasks.errors import ConfigError, NothingToDo
from tasks.lake import Lake
from tasks.schemas import Annotation
from tasks.session import open_session
from tasks.steps.change_detection import finish_night, finished_night, inputs_fingerprint
from tests.lake.nouns import annotation

LINE = "sperm-detector"
RECORD = {"dataset_version": "d" * 64, "model_version": "1", "verdict": "hold"}


def _label(lake: Lake, number: int) -> Annotation:
    made = annotation(number).model_copy(update={"line": LINE})
    lake.tables.append("annotations", [made])
    return made


def test_a_finished_night_is_not_repeated_until_something_is_new(installed: Lake) -> None:
    _label(installed, 1)
    news = steps.check_news(open_session(), LINE).news
    finish_night(installed, LINE, news, RECORD)
    with pytest.raises(NothingToDo, match="nothing new since"):
        steps.check_news(open_session(), LINE)
    assert steps.check_news(open_session(), LINE, force=True).news == news
    _label(installed, 2)
    assert steps.check_news(open_session(), LINE).news != news


def test_an_unfinished_night_is_taken_up_again(installed: Lake) -> None:
    _label(installed, 1)
    assert steps.check_news(open_session(), LINE).news == steps.check_news(open_session(), LINE).news


@pytest.mark.parametrize("changes", [{"seed": 1}, {"epochs": 3}, {"gate.AP50.sperm.at_least": 0.1}])
def test_whatever_may_change_the_outcome_is_news(installed: Lake, changes) -> None:
    finish_night(installed, LINE, steps.check_news(open_session(), LINE).news, RECORD)
    steps.check_news(open_session(), LINE, changes)


def test_a_changed_check_is_news(installed: Lake, tmp_path) -> None:
    line = load_line(LINE, installed.settings.lines_dir)
    before = inputs_fingerprint(installed, line)
    for suite in installed.settings.expectations_dir.glob("*.json"):
        (tmp_path / suite.name).write_text(suite.read_text() + " ")
    other = installed.settings.model_copy(update={"expectations_dir": tmp_path})
    assert inputs_fingerprint(type(installed)(**{**vars(installed), "settings": other}), line) != before


def test_labels_of_another_line_are_no_news(installed: Lake) -> None:
    before = steps.check_news(open_session(), LINE).news
    installed.tables.append("annotations", [annotation(5).model_copy(update={"line": "another"})])
    assert steps.check_news(open_session(), LINE).news == before


def test_a_night_that_was_never_finished_has_no_record(installed: Lake) -> None:
    assert finished_night(installed, LINE, "0" * 64) is None


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"lr00": 1}, "lr00"),
        ({"imgsz": "big"}, "imgsz"),
        ({"recipe": "nope"}, "nope"),
        ({"gate.AP51.at_least": 1}, "AP51"),
    ],
)
def test_a_request_that_cannot_work_is_refused_at_once(installed: Lake, changes, complaint) -> None:
    with pytest.raises(ConfigError, match=complaint):
        steps.check_request(open_session(), LINE, changes)


def test_changes_are_changes_of_the_line(installed: Lake) -> None:
    assert open_session(installed.settings).line(LINE, {"seed": 4}).recipe.seed == 4


def test_a_night_without_news_imports_nothing_heavy() -> None:
    script = (
        "import sys; from tasks import steps; from tasks.session import open_session;"
        "steps.check_request(open_session(), 'sperm-detector', {});"
        "heavy = {'torch', 'ultralytics', 'mlflow', 'great_expectations', 'cv2', 'av'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
