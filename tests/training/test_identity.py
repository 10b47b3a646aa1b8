"""The same training has the same key; what can change its result changes the key."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tasks.config import Line, Settings
from tasks.errors import ConfigError
from tasks.kinds import kind_of
from tasks.kinds.detection import recipe as recipes
from tasks.kinds.detection.recipe import ARCHITECTURES
from tasks.lake import Lake, open_lake
from tasks.provenance import code_version, library_versions
from tasks.training.identity import run_key

DETECTION = kind_of("detection")

VERSION = "d" * 64


@pytest.fixture
def closed_lake(tmp_path: Path) -> Lake:
    """A lake that nobody connects to: a key costs no call."""
    return open_lake(Settings(state_dir=tmp_path))


def with_recipe(line: Line, **changes: Any) -> Line:
    return line.model_copy(update={"recipe": line.recipe.model_copy(update=changes)})


def test_it_is_a_function_of_what_decides_the_result(
    closed_lake: Lake, line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = run_key(closed_lake, line, VERSION, DETECTION)
    assert key == run_key(closed_lake, line, VERSION, DETECTION)
    others = [
        run_key(closed_lake, line, "e" * 64, DETECTION),
        run_key(closed_lake, with_recipe(line, seed=4), VERSION, DETECTION),
        run_key(closed_lake, with_recipe(line, lr0=0.1), VERSION, DETECTION),
        run_key(closed_lake, line.model_copy(update={"line": "another"}), VERSION, DETECTION),
    ]
    (tmp_path / "p3-tiny.yaml").write_text((ARCHITECTURES / "p3-tiny.yaml").read_text().replace("nc: ", "nc: 1"))
    monkeypatch.setattr(recipes, "ARCHITECTURES", tmp_path)
    others.append(run_key(closed_lake, line, VERSION, DETECTION))
    assert len({key, *others}) == 6


def test_gates_and_schedule_do_not_train_anything_again(closed_lake: Lake, line: Line) -> None:
    other = line.model_copy(update={"gates": (), "schedule": "0 4 * * *"})
    assert run_key(closed_lake, other, VERSION, DETECTION) == run_key(closed_lake, line, VERSION, DETECTION)


def test_weights_count_by_their_bytes(closed_lake: Lake, line: Line, tmp_path: Path) -> None:
    line = with_recipe(line, weights="start.pt")
    with pytest.raises(ConfigError, match=str(tmp_path / "weights" / "start.pt")):
        run_key(closed_lake, line, VERSION, DETECTION)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "start.pt").write_bytes(b"one")
    one = run_key(closed_lake, line, VERSION, DETECTION)
    (tmp_path / "weights" / "start.pt").write_bytes(b"two")
    assert run_key(closed_lake, line, VERSION, DETECTION) != one


def test_the_code_version_is_the_same_in_another_process() -> None:
    code = "from tasks.provenance import code_version; print(code_version('detection'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == code_version("detection")


def test_versions_of_the_deciding_libraries_are_known() -> None:
    assert {"ultralytics", "torch", "mlflow"} <= set(library_versions())
