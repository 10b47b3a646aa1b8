"""YOLO-seg as a recipe of this kind: what it reads, a killed and resumed training, what its weights give back."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from tasks.config import RecipeChoice
from tasks.errors import ConfigError, DataError
from tasks.kind import Job
from tasks.kinds.segmentation import networks
from tasks.kinds.segmentation.dataset import CellDataset, LabelledPicture
from tasks.kinds.segmentation.inference.predict import fill_boxes, predict_picture
from tasks.kinds.segmentation.networks.yolo_seg import YoloSeg, squeezed
from tasks.kinds.segmentation.objects import mask_object
from tasks.kinds.segmentation.plan import InputPlan
from tasks.kinds.segmentation.recipe import load_recipe, recorded
from tasks.kinds.segmentation.train import EPOCH_SCORE
from tasks.kinds.segmentation.train import options as kind_options
from tasks.kinds.segmentation.train import train as kind_train
from tasks.kinds.segmentation.yolo import plan as yolo_plan
from tasks.kinds.segmentation.yolo.dataset import outlines, tiles, write_dataset
from tasks.kinds.segmentation.yolo.train import pooled_ap, train, ultralytics_arguments
from tasks.kinds.segmentation.yolo.trainer import put_into
from tasks.training import ultralytics_offline

TINY = {
    "imgsz": 64, "epochs": 2, "batch": 4, "nbs": 4, "workers": 0, "plots": False, "warmup_epochs": 0, "lr0": 0.002,
    "optimizer": "AdamW", "mosaic": 0.0,
}  # fmt: skip


def discs(seed: int, side: int = 64, dtype: type = np.uint8) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """A grey picture of three bright discs, and its objects."""
    random = np.random.default_rng(seed)
    bright, dark = (200, 20) if dtype is np.uint8 else (40_000, 3_000)
    picture = random.normal(dark, dark / 10, (side, side)).clip(0)
    objects = []
    for x, y in ((16, 16), (46, 20), (28, 46)):
        mask = np.zeros((side, side), np.uint8)
        cv2.circle(mask, (int(x + random.integers(-4, 5)), int(y + random.integers(-4, 5))), 8, 1, -1)
        picture[mask > 0] = bright
        objects.append(mask_object("cell", mask))
    return picture.astype(dtype), objects


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight pictures of 16 bits to learn from, two to validate on."""
    root = tmp_path_factory.mktemp("cells")
    (root / "images").mkdir()
    (root / "cells").mkdir()
    pictures = []
    for number in range(10):
        picture, objects = discs(number, dtype=np.uint16)
        cv2.imwrite(str(root / f"images/{number}.png"), picture)
        (root / f"cells/{number}.json").write_text(json.dumps(objects))
        pictures.append(
            LabelledPicture(
                file=f"images/{number}.png", cells=f"cells/{number}.json", split="val" if number > 7 else "train",
                group=str(number), height_px=64, width_px=64,
            )
        )  # fmt: skip
    (root / "dataset.json").write_text(CellDataset(classes=("cell",), images=tuple(pictures)).model_dump_json())
    return root / "dataset.json"


def job(data: Path, folder: Path, **more: Any) -> Job:
    plan, faults = yolo_plan.plan_of(TINY)
    assert not faults
    folder.mkdir(exist_ok=True)
    return Job(
        kind="segmentation", run_key="a" * 64, folder=folder, data=data, has_val=True, seed=3,
        options={"plan": plan.model_dump(mode="json")}, state_dir=folder, locks_dir=folder / "locks",
        parent_pid=os.getpid(), threads=1, **more,
    )  # fmt: skip


class Killed(Exception):
    """Stands for a signal: nothing of the training goes on after it."""


def trained(job: Job, *, kill_after: int | None = None) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []

    def report(event: str, **content: Any) -> None:
        events.append({"event": event, **content})
        if event == "checkpoint" and content["epoch"] == kill_after:
            raise Killed

    with contextlib.suppress(Killed):
        train(job, report)
    return events


def of(events: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [each for each in events if each["event"] == name]


def test_a_killed_and_resumed_training_hands_over_what_an_unbroken_one_does(data: Path, tmp_path: Path) -> None:
    whole = trained(job(data, tmp_path / "whole"))
    (finished,) = of(whole, "finished")
    assert [each["epoch"] for each in of(whole, "epoch")] == [1, 2]
    assert all(0 <= each["metrics"][EPOCH_SCORE] <= 1 for each in of(whole, "epoch")), "a search prunes by it"
    assert 0 <= finished["review"]["val/mask_AP50"] <= 1 and 0 <= finished["review"]["val/AP50_pooled"] <= 1
    assert networks.read(Path(finished["weights"]))[1]["min_score"] == finished["review"]["val/min_score"]
    assert Path(finished["files"]["training/epochs.csv"]).is_file()

    broken = trained(job(data, tmp_path / "broken"), kill_after=1)
    (checkpoint,) = of(broken, "checkpoint")
    assert not of(broken, "finished")
    resumed = trained(job(data, tmp_path / "resumed", resume_from=Path(checkpoint["path"])))
    assert of(resumed, "started")[0]["first_epoch"] == 1
    first, second = (networks.read(Path(of(run, "finished")[0]["weights"])) for run in (whole, resumed))
    assert first[1] == second[1]
    for name, tensor in first[0].state_dict().items():
        assert torch.equal(tensor, second[0].state_dict()[name]), name

    # Another training starts from either hand's file.
    theirs, ours = tmp_path / "whole/run/weights/last.pt", Path(finished["weights"])
    for start in (theirs, ours):
        fresh = YoloSeg("yolo11n-seg.yaml", 2).yolo
        put_into(fresh, start)
        assert torch.equal(fresh.state_dict()["model.0.conv.weight"], first[0].state_dict()["yolo.model.0.conv.weight"])
    with pytest.raises(DataError, match="of this architecture"):
        put_into(YoloSeg("yolov8s-seg.yaml", 1).yolo, ours)


def test_weights_read_again_predict_the_same_and_lie_in_their_windows(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = YoloSeg("yolo11n-seg.yaml", 2, iou=0.6, max_det=7).eval()
    spec = {"model": "yolo-seg", "architecture": "yolo11n-seg.yaml", "classes": ["a", "b"], "iou": 0.6, "max_det": 7,
            "input": InputPlan(imgsz=64).model_dump(mode="json"), "min_score": 0.25}  # fmt: skip
    networks.write(tmp_path / "weights", network, spec)
    again, read_spec = networks.read(tmp_path / "weights")
    assert {key: read_spec[key] for key in spec} == spec
    x = torch.rand(2, 3, 64, 96)
    for one, other in zip(network.raw_instances(x, 0.0), again.raw_instances(x, 0.0), strict=True):
        assert len(one) == 7
        for name in ("boxes_px", "scores", "labels", "windows", "masks"):
            assert torch.equal(getattr(one, name), getattr(other, name)), name
        assert (one.scores.diff() <= 0).all() and one.masks.min() >= 0 and one.masks.max() <= 1
        assert (one.windows[:, 2:] > one.windows[:, :2]).all()
        assert (one.windows >= 0).all() and (one.windows[:, 2:] <= torch.tensor([96, 64])).all()
    assert [len(each) for each in network.raw_instances(x, 1.0)] == [0, 0]
    with pytest.raises(ValueError, match="cannot fill"):
        fill_boxes(again, read_spec, np.zeros((64, 64, 3), np.uint8), np.array([[1, 1, 9, 9]]))
    cells = predict_picture(again, read_spec, np.zeros((100, 90, 3), np.uint8), 0.0)  # two by two tiles, put together
    assert cells.height_px == 100 and len(cells) == len(cells.masks)


def test_masks_are_those_that_ultralytics_makes() -> None:
    """The same combination of prototypes, on a window's grid instead of the whole tile's."""
    from ultralytics.utils.ops import process_mask

    from tasks.kinds.segmentation.networks.yolo_seg import _masks, _windows

    torch.manual_seed(1)
    prototypes = torch.nn.functional.interpolate(torch.randn(1, 32, 6, 6), (32, 32), mode="bicubic")[0]
    coefficients, boxes = torch.randn(3, 32), torch.tensor([[8.0, 8, 40, 40], [60, 30, 124, 94], [0, 90, 32, 122]])
    expected = process_mask(prototypes, coefficients, boxes, (128, 128), upsample=True)
    windows = _windows(boxes, 128, 128)
    for mask, box, wanted in zip(_masks(coefficients, prototypes, windows), windows.tolist(), expected, strict=True):
        x1, y1, x2, y2 = box
        drawn = cv2.resize(mask.numpy(), (x2 - x1, y2 - y1), interpolation=cv2.INTER_LINEAR) > 0.5
        reference = wanted[y1:y2, x1:x2].numpy() > 0
        assert reference.any() and (drawn == reference).mean() > 0.97


def test_an_outline_drawn_again_is_the_mask_and_pieces_are_joined() -> None:
    labels = np.zeros((40, 64), np.int32)
    cv2.ellipse(labels, (20, 18), (12, 7), 30, 0, 360, 1, -1)
    labels[17:19, 18:21] = 0  # a hole: filled in what YOLO-seg sees
    labels[5:12, 45:52] = labels[20:30, 44:50] = 2
    labels[38, 2:4] = 3  # thinner than an outline
    first, second = outlines(labels, [0, 1, 0], 64)
    assert first.split()[0] == "0" and second.split()[0] == "1"
    drawn = []
    for line in (first, second):
        points = np.array(line.split()[1:], float).reshape(-1, 2) * 64
        mask = np.zeros((40, 64), np.uint8)
        cv2.fillPoly(mask, [points.astype(np.int32)], 1)  # as ultralytics draws it
        drawn.append(mask)
    whole = (labels == 1).astype(np.uint8)
    whole[17:19, 18:21] = 1
    assert np.array_equal(drawn[0], whole)
    assert (drawn[1] >= (labels == 2)).all() and drawn[1].sum() < (labels == 2).sum() + 20


def test_an_epochs_score_is_the_share_of_right_cells_among_all_predicted_or_missed() -> None:
    right, wrong, missed = 6, 2, 4
    found = {"metrics/precision(M)": right / (right + wrong), "metrics/recall(M)": right / (right + missed)}
    assert pooled_ap(found) == {EPOCH_SCORE: pytest.approx(right / (right + wrong + missed))}
    assert pooled_ap({"metrics/precision(M)": 0.0, "metrics/recall(M)": 0.0}) == {EPOCH_SCORE: 0.0}
    assert pooled_ap({"metrics/precision(B)": 1.0, "metrics/recall(B)": 1.0}) == {}, "boxes say nothing of masks"


def test_tiles_cover_a_picture_and_hold_every_cell_of_it(data: Path, tmp_path: Path) -> None:
    ultralytics_offline.prepare(tmp_path)
    covered = np.zeros((200, 90), int)
    for y, x in tiles(200, 90, 64):
        covered[y : y + 64, x : x + 64] += 1
    assert covered.min() == 1 and list(tiles(10, 64, 64)) == [(0, 0)]
    yaml_file = write_dataset(data, tmp_path / "tiles", InputPlan(imgsz=96, scale=1.0))
    labels = sorted((yaml_file.parent / "labels/train").glob("*.txt"))
    assert [len(path.read_text().splitlines()) for path in labels] == [3] * 8
    image = cv2.imread(str(yaml_file.parent / "images/train" / f"{labels[0].stem}.png"), cv2.IMREAD_UNCHANGED)
    assert image.dtype == np.uint8 and image.shape == (96, 96, 3) and 150 < image.max() <= 255


def test_brightness_above_the_percentile_is_kept_apart() -> None:
    values = squeezed(torch.tensor([0.0, 0.5, 1.0, 1.5, 3.0]))
    assert torch.allclose(values[:3], torch.tensor([0.0, 0.4, 0.8])) and 0.8 < values[3] < values[4] < 1


def test_what_cannot_be_learned_or_named_is_refused(data: Path, tmp_path: Path) -> None:
    empty = CellDataset.read(data)
    for picture in empty.images:
        (tmp_path / picture.cells).parent.mkdir(exist_ok=True)
        (tmp_path / picture.cells).write_text("[]")
        (tmp_path / picture.file).parent.mkdir(exist_ok=True)
        (tmp_path / picture.file).write_bytes((data.parent / picture.file).read_bytes())
    (tmp_path / "dataset.json").write_text(empty.model_dump_json())
    with pytest.raises(DataError, match="at least one cell"):
        write_dataset(tmp_path / "dataset.json", tmp_path / "tiles", InputPlan(imgsz=64))
    with pytest.raises(ValueError, match="no architecture"):
        YoloSeg("/tmp/evil-seg.yaml", 1)
    for key, value in (("architecture", "yolo11n.yaml"), ("imgsz", 100), ("percentiles", [99, 1]), ("batch", "x")):
        with pytest.raises(ValueError, match="expected"):
            yolo_plan.CHECKS[key](value)
    assert yolo_plan.refused("data") and yolo_plan.refused("rect") and not yolo_plan.refused("epochs")
    assert yolo_plan.plan_of({"batch": -1, "min_steps": 3, "time": 1})[1][1].startswith("batch")


def test_ultralytics_takes_the_arguments(data: Path, tmp_path: Path) -> None:
    from ultralytics.cfg import get_cfg

    ultralytics_offline.prepare(tmp_path)
    made = job(data, tmp_path)
    yaml_file = write_dataset(data, tmp_path / "tiles", InputPlan(imgsz=64))
    plan, _ = yolo_plan.plan_of({**TINY, "min_steps": 20, "scale": 2, "scale_jitter": 0.3})
    found = ultralytics_arguments(made, plan, "cpu", yaml_file, tmp_path / "run", resuming=False)
    assert found["epochs"] == 10 and found["scale"] == 0.3 and plan.scale == 2  # 8 tiles, batches of 4
    assert get_cfg(overrides=found).imgsz == 64


def test_recipes_of_other_hands_are_checked_by_their_own_lists() -> None:
    recipe = load_recipe(RecipeChoice(name="yolo-seg", seed=2, imgsz=256, epochs=7))
    assert recipe.input_px == 256 and recipe.arguments["ultralytics"]["epochs"] == 7 and recipe.seed == 2
    assert (
        recorded(recipe.model_dump()) == recipe
        and recipe.fingerprint() != load_recipe(RecipeChoice(name="yolo-seg")).fingerprint()
    )
    assert load_recipe(RecipeChoice(name="cellpose")).weights == "cpsam.pt"
    with pytest.raises(ConfigError) as caught:
        load_recipe(RecipeChoice(name="yolo-seg", data="x", imgsz=100, stage1={}, batch=0))
    assert all(word in str(caught.value) for word in ("data: cannot", "imgsz: expected", "stage1: no such", "batch: "))
    with pytest.raises(ConfigError, match="none are named"):
        load_recipe(RecipeChoice(name="cellpose", weights=None))


def test_the_kind_trains_it(data: Path, tmp_path: Path) -> None:
    """The kind's own door, in this process; without a validation split."""
    recipe = load_recipe(RecipeChoice(name="yolo-seg", seed=1, **{**TINY, "epochs": 1, "min_steps": 0, "scale": 1}))
    made = job(data, tmp_path).model_copy(update={"options": kind_options(recipe, data), "has_val": False})
    events: list[dict[str, Any]] = []
    kind_train(made, lambda event, **content: events.append({"event": event, **content}))
    (finished,) = of(events, "finished")
    network, spec = networks.read(Path(finished["weights"]))
    assert finished["review"] == {} and spec["min_score"] == 0.25 and spec["input"]["imgsz"] == 64
    assert sum(each.numel() for each in network.parameters()) == of(events, "started")[0]["parameters"]
