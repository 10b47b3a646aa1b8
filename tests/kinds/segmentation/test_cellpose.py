"""Cellpose as a recipe of this kind, with its package's own network made small, and with flows that are known."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import cellpose.vit
import cv2
import numpy as np
import pytest
import torch
from cellpose import dynamics
from segment_anything.build_sam import _build_sam

from tasks.errors import ConfigError, DataError
from tasks.kind import Job
from tasks.kinds.segmentation import networks
from tasks.kinds.segmentation.cellpose_sam.plan import CHECKS, CellposePlan, need_cellpose, plan_of, refused
from tasks.kinds.segmentation.cellpose_sam.train import spec_of, train
from tasks.kinds.segmentation.dataset import CellDataset, LabelledPicture
from tasks.kinds.segmentation.inference.predict import fill_boxes
from tasks.kinds.segmentation.networks.cellpose_sam import CellposeSam, as_cellpose, instances_of
from tasks.kinds.segmentation.objects import mask_object
from tasks.kinds.segmentation.train import EPOCH_SCORE


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The image encoder of the package, with one block of 16 channels instead of 24 of 1024."""
    monkeypatch.setitem(cellpose.vit.sam_model_registry, "vit_l", lambda _: _build_sam(16, 1, 2, [0]))


def cells(side: int = 96) -> np.ndarray:
    labels = np.zeros((side, side), np.int32)
    for number, (x, y, r) in enumerate(((20, 22, 10), (60, 30, 14), (40, 70, 9)), 1):
        cv2.circle(labels, (x, y), r, number, -1)
    return labels


@pytest.fixture
def data(tmp_path: Path) -> Path:
    labels = cells()
    cv2.imwrite(str(tmp_path / "0.png"), (40 + 160 * (labels > 0)).astype(np.uint8))
    (tmp_path / "0.json").write_text(json.dumps([mask_object("cell", labels == n) for n in (1, 2, 3)]))
    pictures = (LabelledPicture(file="0.png", cells="0.json", split="train", group="0", height_px=96, width_px=96),)
    (tmp_path / "dataset.json").write_text(CellDataset(classes=("cell",), images=pictures).model_dump_json())
    return tmp_path / "dataset.json"


def run(data: Path, folder: Path, weights: Path, has_val: bool = False, **plan: Any) -> dict[str, dict[str, Any]]:
    return dict(events_of(data, folder, weights, has_val, **plan))


def events_of(data: Path, folder: Path, weights: Path, has_val: bool, **plan: Any) -> list[tuple[str, dict[str, Any]]]:
    folder.mkdir()
    job = Job(
        kind="segmentation", run_key="a" * 64, folder=folder, data=data, has_val=has_val, seed=1, weights=weights,
        options={"plan": CellposePlan(**plan).model_dump(mode="json")}, state_dir=folder, locks_dir=folder,
        parent_pid=os.getpid(), threads=1,
    )  # fmt: skip
    events: list[tuple[str, dict[str, Any]]] = []
    train(job, lambda event, **content: events.append((event, content)))
    return events


def test_known_flows_give_back_the_cells_they_were_made_of(small: None) -> None:
    labels = cells()
    flows = dynamics.labels_to_flows([labels.astype(np.uint16)], device=torch.device("cpu"))[0]
    known = np.stack([5 * flows[2], 5 * flows[3], np.where(labels > 0, 6.0, -6.0)], -1).astype(np.float32)
    network = CellposeSam(0.4, 0.0, 15, 200)
    found = network.cells_of(known, 0.5, torch.device("cpu"))
    assert len(found) == 3 and found.scores.min() > 0.99 and found.masks.shape[1:] == (32, 32)
    for mask, (x1, y1, x2, y2) in zip(found.masks, found.windows.tolist(), strict=True):
        drawn = np.zeros((192, 192), bool)
        drawn[y1:y2, x1:x2] = mask.numpy() > 0.5
        drawn = drawn[:96, :96]
        number = np.bincount(labels[drawn]).argmax()
        assert (drawn & (labels == number)).sum() / (drawn | (labels == number)).sum() > 0.9


def test_masks_are_exact_until_cells_are_larger_than_the_largest_grid() -> None:
    labels = np.zeros((320, 320), np.int32)
    labels[10:20, 10:40] = 1
    labels[100:300, 50:250] = 2
    logits = np.where(labels == 1, 3.0, 1.0).astype(np.float32)
    found = instances_of(labels, logits, 0.5)
    assert found.windows.tolist() == [[10, 10, 138, 138], [50, 100, 250, 300]]
    assert found.boxes_px[1].tolist() == [50, 100, 250, 300] and int(found.masks[0].sum()) == 300
    assert found.masks[1].min() == 1 and (found.scores.diff() < 0).all()
    assert len(instances_of(labels, logits, 0.9)) == 1 and len(instances_of(labels * 0, logits, 0.0)) == 0


def test_the_users_weights_are_taken_over_as_they_are(small: None, data: Path, tmp_path: Path) -> None:
    torch.manual_seed(3)
    theirs = cellpose.vit.CPSAM()
    theirs.save_model(tmp_path / "mine.pt")
    events = run(data, tmp_path / "job", tmp_path / "mine.pt", imgsz=96)
    network, spec = networks.read(Path(events["finished"]["weights"]))
    assert spec["model"] == "cellpose" and spec["input"]["imgsz"] == 96 and events["started"]["epochs"] == 0
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(network.state_dict()[f"net.{name}"], tensor), name
    x = torch.rand(1, 3, 96, 96)
    (flows,) = network.encode(x)
    picture = torch.nn.functional.pad(x, (80, 80, 80, 80))
    with torch.no_grad():
        expected = theirs.eval()(picture)[0][0, :, 80:176, 80:176].permute(1, 2, 0)
    assert np.allclose(flows, expected, atol=1e-4)
    with pytest.raises(ValueError, match="cannot fill"):
        fill_boxes(network, spec, np.zeros((64, 64, 3), np.uint8), np.array([[1, 1, 9, 9]]))


def test_it_is_trained_on_where_the_recipe_has_epochs(small: None, data: Path, tmp_path: Path) -> None:
    torch.manual_seed(3)
    theirs = cellpose.vit.CPSAM()
    theirs.save_model(tmp_path / "mine.pt")
    events = run(data, tmp_path / "job", tmp_path / "mine.pt", imgsz=96, epochs=2, learning_rate=0.001)
    network, _ = networks.read(Path(events["finished"]["weights"]))
    assert events["epoch"]["epoch"] == 2 and events["epoch"]["metrics"]["train/loss"] > 0
    assert not torch.equal(network.state_dict()["net.out.weight"], theirs.state_dict()["out.weight"])


def test_epochs_are_measured_on_the_validation_split_and_the_training_is_the_same(
    small: None, data: Path, tmp_path: Path
) -> None:
    torch.manual_seed(3)
    cellpose.vit.CPSAM().save_model(tmp_path / "mine.pt")
    dataset = CellDataset.read(data)
    (picture,) = dataset.images
    both = dataset.model_copy(update={"images": (picture, picture.model_copy(update={"split": "val"}))})
    (tmp_path / "both.json").write_text(both.model_dump_json())
    asked = {"imgsz": 96, "epochs": 3, "learning_rate": 0.001}
    events = events_of(tmp_path / "both.json", tmp_path / "job", tmp_path / "mine.pt", True, **asked)
    epochs = [content["metrics"] for event, content in events if event == "epoch"]
    assert len(epochs) == 3 and all(EPOCH_SCORE in each and each["train/loss"] > 0 for each in epochs)
    finished = dict(events)["finished"]
    assert finished["review"] == {name: value for name, value in epochs[-1].items() if name.startswith("val/")}
    without = run(data, tmp_path / "again", tmp_path / "mine.pt", **asked)["finished"]
    assert without["review"] == {}
    weights = [networks.read(Path(each["weights"]))[0].state_dict() for each in (finished, without)]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_what_is_not_cellposes_is_refused(
    small: None, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    torch.save({"conv.weight": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(DataError, match="not those of Cellpose-SAM"):
        run(data, tmp_path / "job", tmp_path / "other.pt")
    with pytest.raises(ConfigError, match="one class"):
        spec_of(CellposePlan(), CellDataset(classes=("a", "b"), images=()))
    assert plan_of({})[1][0].startswith("weights") and refused("diameter") and not refused("epochs")
    with pytest.raises(ValueError, match="expected"):
        CHECKS["flow_threshold"]("high")
    grey, colour = np.ones((4, 4, 3), np.float32), np.random.default_rng(0).random((4, 4, 3), np.float32)
    assert as_cellpose(grey)[..., 1:].max() == 0 and np.array_equal(as_cellpose(colour), colour)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="needs the package cellpose"):
        need_cellpose()
