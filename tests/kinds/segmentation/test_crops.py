"""What a training is shown of a picture is what evaluation is shown of it, and its cells lie where they lie there."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tasks.kinds.segmentation.dataset import CellDataset, LabelledPicture
from tasks.kinds.segmentation.objects import mask_object
from tasks.kinds.segmentation.pictures import prepare
from tasks.kinds.segmentation.plan import InputPlan
from tasks.kinds.segmentation.training.crops import Crops

CHANNELS = {"nucleus": 2, "membrane": 0}


def written(folder: Path, picture: NDArray[Any], cells: list[NDArray[Any]], **more: Any) -> Path:
    """A dataset of one picture, RGB or grey, and the masks of its cells."""
    cv2.imwrite(str(folder / "a.png"), picture[..., ::-1] if picture.ndim == 3 else picture)
    (folder / "a.json").write_text(json.dumps([mask_object("cell", mask) for mask in cells]))
    height, width = picture.shape[:2]
    one = LabelledPicture(file="a.png", cells="a.json", split="train", group="a", height_px=height, width_px=width)
    dataset = CellDataset(classes=("cell",), images=(one,), **more)
    (folder / "dataset.json").write_text(dataset.model_dump_json())
    return folder / "dataset.json"


def test_a_frame_whose_channels_are_colours_already_is_learned_as_it_is_judged(tmp_path: Path) -> None:
    """Of a line with `channels`, frames of a recording are shown as they are: nothing in them is to be mapped."""
    picture = np.zeros((32, 32, 3), np.uint8)
    picture[8:16, :, 1], picture[:, 8:16, 2] = 200, 120
    data = written(tmp_path, picture, [picture[:, :, 2] > 0], channels=CHANNELS)
    how = InputPlan(channels=CHANNELS)
    dataset = CellDataset.read(data)
    judged = prepare(dataset.picture(tmp_path, dataset.images[0]), how)
    assert judged[:, :, 1].max() > 0
    learned = Crops(data, "train", how, cache=False, seed=0).prepared(0).picture
    assert np.array_equal(learned, judged)


def test_scaled_pictures_are_learned_with_their_cells_in_place(tmp_path: Path) -> None:
    """Shrunk to a third, a cell may not move by half a pixel: masks of a model that learned so would be off."""
    picture = np.zeros((96, 96), np.uint8)
    picture[31:64, 34:67] = 200
    data = written(tmp_path, picture, [picture > 0])
    crops = Crops(data, "train", InputPlan(scale=1 / 3, normalise="fixed"), cache=False, seed=0)
    learned = crops.prepared(0)
    assert np.array_equal(learned.cells > 0, learned.picture[:, :, 0] > 0.3)


@pytest.mark.parametrize(("free", "kept"), [(0.5, True), (0.1, False)])
def test_pictures_are_kept_while_there_is_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: float, kept: bool
) -> None:
    memory = SimpleNamespace(total=16 * 2**30, available=free * 16 * 2**30)
    monkeypatch.setattr("psutil.virtual_memory", lambda: memory)
    data = written(tmp_path, np.zeros((32, 32), np.uint8), [np.eye(32) > 0])
    crops = Crops(data, "train", InputPlan(), cache=True, seed=0)
    assert (crops.prepared(0) is crops.prepared(0)) is kept
