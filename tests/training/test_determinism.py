"""What torch cannot repeat to the bit is heard, told once, and recorded with the training."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch

from tasks.config import Line
from tasks.kinds import kind_of
from tasks.lake import Lake
from tasks.provenance import git_commit, git_dirty, lock_sha256
from tasks.training.determinism import NOT_ASKED, listening, operation_of
from tasks.training.train import train_unregistered
from tests.training.conftest import write_dataset

DETECTION = kind_of("detection")


def test_an_operation_without_a_deterministic_implementation_is_told_once(recwarn: pytest.WarningsRecorder) -> None:
    told: list[str] = []
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with listening(told.append):
            for _ in range(2):
                torch.zeros(4).put_(torch.tensor([0, 0]), torch.tensor([1.0, 2.0]))
            warnings.warn("something else", stacklevel=1)
    finally:
        torch.use_deterministic_algorithms(False)
    assert told == ["put_"]
    assert any("something else" in str(one.message) for one in recwarn), "others must still hear their warnings"


def test_cublas_says_it_in_other_words() -> None:
    said = "Deterministic behavior was enabled with either `torch.use_deterministic_algorithms(True)` or ..."
    assert "CUBLAS_WORKSPACE_CONFIG" in str(operation_of(said))
    assert operation_of("lr_scheduler.step() was called before optimizer.step()") is None


@pytest.mark.parametrize(("recipe", "expected"), [({}, ()), ({"deterministic": False}, (NOT_ASKED,))])
def test_a_training_records_what_it_rests_on(
    lake: Lake, line: Line, tmp_path: Path, recipe: dict[str, bool], expected: tuple[str, ...]
) -> None:
    choice = line.recipe.model_copy(update={"plots": False, "epochs": 1, "min_steps": 1, **recipe})
    data = write_dataset(tmp_path / "data", val=False)
    quick = line.model_copy(update={"recipe": choice})
    trained = train_unregistered(lake, quick, DETECTION, "e" * 64, data, False, progress=lambda _: None)
    assert trained.nondeterministic == expected
    assert trained.checkpoint_oid is None, "no evidence will ever name an experiment's"
    assert (trained.git_commit, trained.git_dirty, trained.lock_sha256) == (git_commit(), git_dirty(), lock_sha256())
    assert trained.lock_sha256 is not None
