"""The example script for data sets of arrays, and what reads its output."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tasks.config import HOME
from tasks.kind import LabelFile
from tests.kinds.classification.lines import CLASSIFICATION, a_multi_label_line

SCRIPT = HOME / "examples" / "npy_to_table.py"


@pytest.fixture
def arrays(tmp_path: Path) -> dict[str, Any]:
    values = {
        "x": np.random.default_rng(0).integers(0, 255, (4, 20, 24), dtype=np.uint8),
        "y_acrosome": np.array([0, 1, 1, 0], np.uint8),
        "y_head": np.array([1.0, np.nan, 0.0, 0.0]),
        "y_vacuole": np.array([-1, 0, 1, -1]),
    }
    for name, array in values.items():
        np.save(tmp_path / f"{name}.npy", array)
    return values


def run(folder: Path, *labels: str, pictures: str = "x.npy") -> subprocess.CompletedProcess[str]:
    given = [part for label in labels for part in ("--label", label)]
    command = [sys.executable, str(SCRIPT), "out", "--pictures", pictures, "--name", "train", *given]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_arrays_become_pictures_and_a_table_that_the_import_reads(tmp_path: Path, arrays: dict[str, Any]) -> None:
    done = run(tmp_path, "acrosome=y_acrosome.npy", "head=y_head.npy", "vacuole=y_vacuole.npy")
    assert done.returncode == 0 and "4 pictures" in done.stdout, done.stderr
    for number, image in enumerate(arrays["x"]):
        assert np.array_equal(np.asarray(Image.open(tmp_path / f"out/pictures/train_{number:05d}.png")), image)
    found = list(CLASSIFICATION.read_files("csv", tmp_path / "out", a_multi_label_line()))
    assert [{o.label: o.present for o in each.objects} for each in found if isinstance(each, LabelFile)] == [
        {"acrosome": False, "head": True},
        {"acrosome": True, "vacuole": False},
        {"acrosome": True, "head": False, "vacuole": True},
        {"acrosome": False, "head": False},
    ]
    assert all(isinstance(each, LabelFile) and each.picture_oid for each in found), "each is known by its bytes"


@pytest.mark.parametrize(
    ("labels", "pictures", "message"),
    [
        (["acrosome"], "x.npy", "expected NAME=FILE"),
        (["acrosome=x.npy"], "x.npy", "expected 4 labels"),
        (["acrosome=y_head.npy"], "y_head.npy", "expected uint8"),
        (["acrosome=absent.npy"], "x.npy", "absent.npy"),
    ],
)
def test_what_is_wrong_is_said(
    tmp_path: Path, arrays: dict[str, Any], labels: list[str], pictures: str, message: str
) -> None:
    done = run(tmp_path, *labels, pictures=pictures)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr


def test_the_script_does_nothing_when_it_is_imported() -> None:
    assert "convert" in runpy.run_path(str(SCRIPT))
