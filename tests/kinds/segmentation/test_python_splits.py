"""How many groups a script's experiment sets aside."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.kinds.segmentation.dataset import LabelledPicture
from tasks.kinds.segmentation.python.config import ExperimentConfig
from tasks.kinds.segmentation.python.splits import folds_of


@pytest.mark.parametrize("fraction", [0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8])
def test_as_many_groups_are_set_aside_as_are_asked_for(fraction: float, tmp_path: Path) -> None:
    (tmp_path / "cells.json").write_text("[]")
    pictures = [
        LabelledPicture(file="a", cells="cells.json", split="train", group=str(n), height_px=8, width_px=8)
        for n in range(40)
    ]
    config = ExperimentConfig("images", "masks", "out", strategy="train_val_split", val_fraction=fraction)
    (splits,) = folds_of(config, pictures, tmp_path)
    assert splits.count("val") == pytest.approx(40 * fraction, abs=1)
    assert splits.count("val") + splits.count("train") == 40
