"""What `cross-validate` and `reproduce` print, and their exit codes."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from typer.testing import CliRunner

from tasks import experiments
from tasks.cli import app
from tasks.experiments.cross_validation import CrossValidation
from tasks.experiments.reproduction import Reproduction
from tasks.schemas import Frozen

FOLD = {"folds": 2, "train_frames": 8, "test_frames": 8, "groups": ["donor:d1"]}
SCORE = {"metric": "AP50", "title": "AP50", "where": None, "better": "higher", "digits": 3, "confidence": 0.95}
FOLDS = {
    "line": "cells", "dataset_version": "d" * 64, "recipe": {"name": "detection-from-scratch"}, "seed": 0,
    "confidence": 0.95, "warnings": ["fold 1: no label of class [impurity] to test on"], "mlflow_run": "abc",
    "complete": False, "recordings": {}, "result_oid": "e" * 64,
    "folds": [
        {"state": "finished", "fold": 1, **FOLD},
        {"state": "failed", "fold": 2, "groups": ["donor:d2"], "why": "training 12 failed [exit code 1]"},
    ],
    "scores": [{**SCORE, "mean": 0.75, "sd": None, "low": None, "high": None, "folds": [0.75, None]}],
}  # fmt: skip
REPEATED = {
    "line": "cells", "model_version": "3", "dataset_version": "d" * 64, "same": False, "same_tensors": False,
    "same_run_key": True, "resumed_from_epoch": None, "seconds": 1.5, "run_key": "a" * 64, "weights_oid": "b" * 64,
    "again_oid": "c" * 64, "sentence": "line cells, model version 3: trained again, 2 of 9 tensors differ",
    "comparison": {
        "first": {"name": "model.0.conv.weight", "differing": 5, "elements": 72, "largest_difference": 0.25,
                  "largest_value": 1.5},
        "largest": None,
    },
    "prevented_by": ["upsample_bicubic2d_backward_out_cuda"],
    "circumstances": [{"what": "hardware cpu_threads", "then": 8, "now": 2}],
}  # fmt: skip


RESULTS: dict[str, type[Frozen]] = {"cross_validate": CrossValidation, "reproduce": Reproduction}


def ran(
    monkeypatch: pytest.MonkeyPatch, experiment: str, report: dict[str, Any], *arguments: str
) -> tuple[int, str, str]:
    """Run a command whose experiment logs, prints and returns `report`: exit code, stdout, stderr."""

    def fake(*_: Any, **__: Any) -> Frozen:
        print("working")
        logging.getLogger("tasks.experiments.any").info("still [working] at 5 %")
        return RESULTS[experiment](**report)

    monkeypatch.setattr(experiments, experiment, fake)
    done = CliRunner().invoke(app, arguments)
    return done.exit_code, done.stdout, done.stderr


def test_folds_are_shown_with_what_failed_and_why(monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, err = ran(monkeypatch, "cross_validate", FOLDS, "cross-validate", "cells", "--folds", "2")
    assert code == 1
    assert "1 of 2 folds" in out and "0.750" in out and "–" in out and "donor:d1" in out
    assert "no label of class [impurity]" in out, "brackets are not markup"
    assert "fold 2 failed: training 12 failed [exit code 1]" in err and "only what is missing" in err


@pytest.mark.parametrize(
    ("experiment", "report", "command"),
    [("cross_validate", FOLDS, "cross-validate"), ("reproduce", REPEATED, "reproduce")],
)
@pytest.mark.parametrize("fine", [True, False])
def test_json_is_one_document_and_the_exit_code_tells(
    monkeypatch: pytest.MonkeyPatch, experiment: str, report: dict[str, Any], command: str, fine: bool
) -> None:
    report = report | {"complete" if experiment == "cross_validate" else "same": fine}
    code, out, err = ran(monkeypatch, experiment, report, command, "cells", "--json")
    assert code == (0 if fine else 1)
    assert json.loads(out) == report and "working\nstill [working] at 5 %\n" in err


def test_what_differs_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, _ = ran(monkeypatch, "reproduce", REPEATED, "reproduce", "cells", "3")
    assert code == 1
    assert "not the same" in out and "model.0.conv.weight, 5 of 72 elements, by 0.25" in out
    assert "upsample_bicubic2d_backward_out_cuda" in out and "hardware cpu_threads: 8 then, 2 now" in out
    code, out, _ = ran(monkeypatch, "reproduce", {**REPEATED, "same": True, "comparison": None}, "reproduce", "cells")
    assert code == 0 and out.startswith("the same")


def test_one_fold_is_wrong_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    code, _, err = ran(monkeypatch, "cross_validate", FOLDS, "cross-validate", "cells", "--folds", "1")
    assert code == 2 and "folds" in err
