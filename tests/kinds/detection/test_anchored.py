"""The detector with anchors: its recipe, its training, and that all that uses a detector can use it."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tasks.config import RecipeChoice
from tasks.errors import ConfigError, DataError, IntegrityError
from tasks.kinds.detection import exports, pyfunc_model
from tasks.kinds.detection.anchored import measure, retinanet
from tasks.kinds.detection.anchored.dataset import Example, Split, changed
from tasks.kinds.detection.anchored.detector import AnchoredDetector
from tasks.kinds.detection.anchored.files import is_anchored
from tasks.kinds.detection.anchored.plan import AnchoredPlan
from tasks.kinds.detection.anchored.trainer import SCORE, AnchoredTraining, fitted_anchors, rate_at
from tasks.kinds.detection.comparison import compare_weights
from tasks.kinds.detection.denoised_layout import DENOISING
from tasks.kinds.detection.predictor import LoadedDetector
from tasks.kinds.detection.recipe import PredictOptions, load_recipe
from tasks.kinds.detection.train import options, train
from tasks.training.installed import installed_file
from tests.kinds.detection.jobs import detector_job
from tests.training.conftest import write_dataset

TINY: dict[str, Any] = {
    "model": "retinanet", "backbone": "tiny", "weights": None, "width": 16, "imgsz": 64, "batch": 4, "epochs": 2,
    "min_steps": 0, "lr0": 0.002, "anchors_per_level": 1,
}  # fmt: skip
CLASSES = ("sperm", "impurity")


def recipe(**changes: Any) -> Any:
    return load_recipe(RecipeChoice(name="ultrasound-anchors", **{**TINY, **changes}))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("anchored") / "data", val=True)


def run(folder: Path, data: Path, resume_from: Path | None = None, **changes: Any) -> dict[str, list[dict[str, Any]]]:
    """A training in this process; its events by name."""
    folder.mkdir(exist_ok=True)
    chosen, events = recipe(**changes), {}
    job = detector_job(
        data_yaml=data, config_dir=folder / "state", run_key="k", folder=folder, has_val=True, seed=3, threads=1,
        locks_dir=folder, parent_pid=1, resume_from=resume_from,
        **{**options(chosen, data), "predict": chosen.predict},
    )  # fmt: skip
    train(job, lambda event, **content: events.setdefault(event, []).append(content))
    return events


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, data: Path) -> dict[str, list[dict[str, Any]]]:
    return run(tmp_path_factory.mktemp("trained"), data)


def weights_of(events: dict[str, list[dict[str, Any]]]) -> tuple[Path, str]:
    path = Path(events["finished"][0]["weights"])
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_shipped_recipe_begins_with_installed_weights_and_knows_its_own_values() -> None:
    shipped = load_recipe(RecipeChoice(name="ultrasound-anchors"))
    assert shipped.anchored and shipped.installed_weights() == installed_file("efficientnet-lite0")
    assert AnchoredPlan(**shipped.arguments).anchors is None and shipped.imgsz == 512
    with pytest.raises(ConfigError) as error:
        recipe(mosaic=0.5, width=20, anchors=[[10, 20]], backbone="resnet50", lr0=7)
    for fault in (
        "mosaic: no such argument", "width: expected a multiple of 8", "anchors: expected auto, or [[width",
        "backbone: expected one of efficientnet-lite0, tiny", "lr0: expected a number from 0 to 1",
    ):  # fmt: skip
        assert fault in str(error.value)
    with pytest.raises(ConfigError, match=r"weights: .*found \['x'\]"):
        recipe(weights=["x"])
    with pytest.raises(ConfigError, match="are not those of the backbone tiny"):
        recipe(weights="efficientnet-lite0")
    with pytest.raises(ConfigError, match="anchors: cannot be set, these detectors are anchor-free"):
        load_recipe(RecipeChoice(name="ultrasound", anchors="auto"))


def test_boxes_go_where_their_pixels_go() -> None:
    image = np.zeros((60, 100, 3), np.uint8)
    image[10:30, 20:60] = 255
    example = Example(image, np.array([[20, 10, 60, 30]], np.float32), np.array([1]))
    plan = AnchoredPlan(scale=0.2, translate=0.1, fliplr=0.5, flipud=0.5, hsv_v=0)
    for seed in range(12):
        got = changed(example, plan, 128, np.random.default_rng(seed))
        x, y, width, height = cv2.boundingRect((got.image[:, :, 0] > 127).astype(np.uint8))
        assert got.image.shape == (128, 128, 3) and got.labels.tolist() == [1]
        assert got.boxes[0] == pytest.approx([x, y, x + width, y + height], abs=1.01)
    far = AnchoredPlan(scale=0, translate=1, fliplr=0, flipud=0)
    kept = [len(changed(example, far, 64, np.random.default_rng(seed)).boxes) for seed in range(20)]
    assert 0 in kept and 1 in kept, "what is moved out of the picture is no object any more"


def test_anchors_are_fitted_to_the_boxes_that_their_level_is_to_find(data: Path) -> None:
    split = Split(data, "train")
    assert sorted(set(map(tuple, split.sizes(128).round().tolist()))) == [(24, 24), (40, 12)]
    fine = np.array(fitted_anchors(AnchoredPlan(anchors_per_level=2), split, 128, seed=0)).round()
    assert fine.tolist() == [[40, 12], [24, 24], [64, 64], [45, 91], [128, 128], [91, 181]], "P3 is to find all"
    coarse = np.array(fitted_anchors(AnchoredPlan(anchors_per_level=1), split, 256, seed=0)).round()
    assert coarse.tolist() == [[80, 24], [48, 48], [128, 128]], "P4 the squares, P3 the bars"
    own = recipe(anchors=[[40, 30], [10, 10], [20, 20]])
    assert AnchoredPlan(**own.arguments).anchors == ((10, 10), (20, 20), (40, 30))


def test_the_rate_rises_and_falls() -> None:
    rates = [rate_at(step, 100, AnchoredPlan(warmup=0.1, lrf=0.01)) for step in range(100)]
    assert rates[0] == 0.1 and max(rates) == rates[9] == 1 and rates[-1] == pytest.approx(0.01, abs=0.002)


def test_it_learns_and_says_how_it_goes(trained: dict[str, list[dict[str, Any]]]) -> None:
    (started,) = trained["started"]
    assert (started["epochs"], started["steps_per_epoch"], started["imgsz"], len(started["anchors"])) == (2, 2, 64, 3)
    first, last = (each["metrics"] for each in trained["epoch"])
    assert last["train/cls_loss"] < first["train/cls_loss"] and SCORE in last
    review = trained["finished"][0]["review"]
    assert review.keys() == {"val/AP50", "val/AP50_95", "val/AP50/sperm", "val/AP50/impurity"}


def test_resumed_it_ends_with_the_same_bytes(
    tmp_path: Path, data: Path, trained: dict[str, list[dict[str, Any]]]
) -> None:
    first = Path(trained["checkpoint"][0]["path"])
    assert trained["checkpoint"][0]["epoch"] == 1
    shutil.copy(first, tmp_path / "first.ckpt")
    resumed = run(tmp_path / "again", data, resume_from=tmp_path / "first.ckpt")
    assert resumed["started"][0]["first_epoch"] == 1
    assert weights_of(resumed)[1] == weights_of(trained)[1]
    assert compare_weights(weights_of(resumed)[0], weights_of(trained)[0], ("a", "b")).same_tensors


def test_sampling_and_microscope_are_resumed_too_and_people_see_what_it_saw(tmp_path: Path, data: Path) -> None:
    mixed = {"repeat_threshold": 1.0, "balanced_batches": True, "microscope": "heavy"}
    whole = run(tmp_path / "whole", data, **mixed)
    (picture,) = whole["picture"]
    assert picture["name"] == "training/contact_sheet.jpg"
    assert Path(picture["path"]).read_bytes().startswith(b"\xff\xd8\xff")
    shutil.copy(whole["checkpoint"][0]["path"], tmp_path / "first.ckpt")
    resumed = run(tmp_path / "again", data, resume_from=tmp_path / "first.ckpt", **mixed)
    assert weights_of(resumed)[1] == weights_of(whole)[1] and "picture" not in resumed
    assert weights_of(run(tmp_path / "plain", data))[1] != weights_of(whole)[1]


def test_it_learns_where_things_are(tmp_path: Path, data: Path) -> None:
    """White squares and grey bars on black, in seconds."""
    fixed = {"fliplr": 0, "scale": 0, "translate": 0, "hsv_v": 0}
    events = run(tmp_path / "t", data, batch=8, min_steps=40, lr0=0.01, anchors_per_level=2, width=32, **fixed)
    first, last = (events["epoch"][place]["metrics"] for place in (0, -1))
    assert last["train/cls_loss"] < 0.5 * first["train/cls_loss"], (first, last)
    assert last["train/box_loss"] < 0.7 * first["train/box_loss"], (first, last)


def test_it_is_measured_as_coco_does(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that finds every box of one class, and of the other half of them."""
    split = Split(data, "val")

    def found(network: Any, images: Any, *rest: Any, **named: Any) -> list[Any]:
        number = next(n for n in range(len(split)) if np.array_equal(split.read(n).image, images[0]))
        example = split.read(number)
        rows = [[*box, 0.9, label] for box, label in zip(example.boxes, example.labels, strict=True)]
        return [np.array([row for row in rows if row[5] == 0 or number % 2], np.float32).reshape(-1, 6)]

    monkeypatch.setattr(measure, "find", found)
    got = measure.average_precisions(None, split, 64, "cpu")
    assert (got["AP50/sperm"], got["AP50/impurity"]) == (pytest.approx(1), pytest.approx(0.505, abs=0.01))
    assert got["AP50"] == pytest.approx(0.75, abs=0.01) and got["AP50_95"] == pytest.approx(0.75, abs=0.01)
    monkeypatch.setattr(measure, "find", lambda *rest, **named: [np.zeros((0, 6), np.float32)])
    assert set(measure.average_precisions(None, split, 64, "cpu").values()) == {0.0}


def test_it_predicts_as_every_detector_does(data: Path, trained: dict[str, list[dict[str, Any]]]) -> None:
    path, oid = weights_of(trained)
    detector = AnchoredDetector(
        path, oid=oid, classes=CLASSES, imgsz=64, predict=PredictOptions(max_det=7), device="cpu"
    )
    images = [cv2.imread(str(each)) for each in Split(data, "train").images[:2]]
    wide = cv2.copyMakeBorder(images[0], 0, 0, 0, 40, cv2.BORDER_CONSTANT)
    found = LoadedDetector(detector).predict([*images, wide])
    assert [each.shape[1] for each in found] == [6] * 3 and all(0 < len(each) <= 7 for each in found)
    for each, image in zip(found, (*images, wide), strict=True):
        assert (np.diff(each[:, 4]) <= 0).all() and each[:, 0].min() >= 0 and each[:, 2].max() <= image.shape[1]
    assert all((each[:, 4] >= 0.9).all() for each in detector.predict(images, conf=0.9))
    for each in detector.predict(images, conf=0.0, max_det=300):  # a place is of one class
        assert len({tuple(box) for box in each[:, :4].tolist()}) == len(each) > 7
    seen = detector.options.model_copy(update={"tta": True, "slice_px": 64})
    twice = AnchoredDetector(path, oid=oid, classes=CLASSES, imgsz=64, predict=seen, device="cpu")
    assert twice.predict([wide], conf=0.01)[0].shape[1] == 6


def test_foreign_and_damaged_weights_are_refused(tmp_path: Path, trained: dict[str, list[dict[str, Any]]]) -> None:
    path, oid = weights_of(trained)
    with pytest.raises(IntegrityError, match="sha256"):
        AnchoredDetector(path, oid="0" * 64, classes=CLASSES, imgsz=64, predict=PredictOptions())
    with pytest.raises(DataError, match="the classes"):
        AnchoredDetector(path, oid=oid, classes=("a",), imgsz=64, predict=PredictOptions())
    good = {
        "backbone": "tiny",
        "width": 16,
        "anchors": [[9, 9]] * 3,
        "classes": list(CLASSES),
        "imgsz": 64,
        "format": 1,
    }
    for spec, fault in (
        ({**good, "backbone": "hf_hub:evil/net"}, "is none of"),
        ({**good, "width": 10**9}, "width"),
        ({**good, "anchors": [[9, 9]] * 4}, "anchors"),
        ({**good, "classes": []}, "classes"),
        ({**good, "format": 2}, "of format 1"),
        (None, "not a RetinaNet"),
    ):
        save_file(load_file(path), tmp_path / "bad", metadata={"spec": json.dumps(spec)})
        digest = hashlib.sha256((tmp_path / "bad").read_bytes()).hexdigest()
        with pytest.raises(DataError, match=fault):
            AnchoredDetector(tmp_path / "bad", oid=digest, classes=CLASSES, imgsz=64, predict=PredictOptions())


def test_files_tell_which_detector_they_are_of(tmp_path: Path, trained: dict[str, list[dict[str, Any]]]) -> None:
    path, oid = weights_of(trained)
    buffer = io.BytesIO()
    torch.save({"a": torch.zeros(3)}, buffer)
    (tmp_path / "yolo.pt").write_bytes(buffer.getvalue())
    (tmp_path / "short").write_bytes(b"x")
    assert [is_anchored(each) for each in (path, tmp_path / "yolo.pt", tmp_path / "short")] == [True, False, False]
    lake = SimpleNamespace(blobs=SimpleNamespace(fetch=lambda _: path))
    with pytest.raises(ConfigError, match="a detector with anchors"):
        exports.make(lake, SimpleNamespace(weights_oid=oid), "onnx", False, [], tmp_path)  # type: ignore[arg-type]


def test_a_backbones_installed_weights_are_put_in_and_others_refused(tmp_path: Path) -> None:
    path, oid = installed_file("efficientnet-lite0")
    data = Split(write_dataset(tmp_path / "data", val=False), "train")
    plan = AnchoredPlan(width=16, anchors=((12, 12), (20, 20), (40, 40)))
    made = AnchoredTraining(plan, data, None, imgsz=64, min_steps=0, seed=0, device="cpu", weights=(path, oid))
    stem = made.network.backbone.body.state_dict()["conv_stem.weight"]
    assert torch.equal(stem, next(iter(torch.load(path, weights_only=True).values())))
    with pytest.raises(DataError, match="are not those of this detector"):
        other = plan.model_copy(update={"backbone": "tiny"})
        save_file({"x": torch.zeros(1)}, tmp_path / "w.safetensors")
        AnchoredTraining(
            other, data, None, imgsz=64, min_steps=0, seed=0, device="cpu",
            weights=(tmp_path / "w.safetensors", "0" * 64),
        )  # fmt: skip


def test_mlflows_model_gives_the_same_boxes(
    tmp_path: Path, data: Path, trained: dict[str, list[dict[str, Any]]]
) -> None:
    path, oid = weights_of(trained)
    predict = PredictOptions(max_det=5, conf=0.01)
    about = {"classes": CLASSES, "imgsz": 64, "predict": predict.model_dump(), "weights_sha256": oid}
    (tmp_path / "model.json").write_text(json.dumps(about))
    code = Path(retinanet.__file__)
    context = SimpleNamespace(
        artifacts={"model": tmp_path / "model.json", "weights": path, "retinanet": code,
                   "views": code.parents[1] / "views.py", "speckle_unet": DENOISING}
    )  # fmt: skip
    served = pyfunc_model.BoxDetector()
    served.load_context(context)
    image = cv2.imread(str(Split(data, "train").images[0]))
    table = served.predict(context, np.ascontiguousarray(image[:, :, ::-1]))
    detector = AnchoredDetector(path, oid=oid, classes=CLASSES, imgsz=64, predict=predict, device="cpu")
    (boxes,) = detector.predict([image])
    assert list(table.columns) == pyfunc_model.COLUMNS and len(table) == len(boxes) > 0
    assert table["score"].to_numpy() == pytest.approx(boxes[:, 4], abs=1e-5)
    assert table["x_px"].to_numpy() == pytest.approx(boxes[:, 0], abs=1e-3)
