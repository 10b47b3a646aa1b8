"""A trained segmenter, loaded from the lake: predicts, fills boxes, and refuses what is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
import torch

from tasks.errors import ConfigError, DataError
from tasks.kind import ModelRef
from tasks.kinds.segmentation import networks
from tasks.kinds.segmentation.instances import Instances
from tasks.kinds.segmentation.plan import InputPlan
from tasks.kinds.segmentation.predictor import LoadedSegmenter, load
from tasks.lake import Lake
from tasks.metrics import masks


def tiny_spec(model: str = "two-stage", **changes: Any) -> dict[str, Any]:
    return {
        "model": model, "encoder": "tiny", "encoder_sizes": None, "width": 16, "classes": ["cell", "debris"],
        "input": InputPlan(imgsz=64, **changes).model_dump(mode="json"), "min_score": 0.3,
    }  # fmt: skip


def write_tiny(path: Path, spec: dict[str, Any], bias: float = 2.0) -> Path:
    """A network that nobody trained; it takes about every place for a cell, and its box for the outline."""
    torch.manual_seed(0)
    network = networks.build(spec)
    with torch.no_grad():
        for name, tensor in network.named_parameters():
            if name in ("finder.heat.bias", "finder.refine.1.bias", "decoder.fine.1.bias"):
                tensor.fill_(bias)
            elif name == "finder.heat.weight":  # scores that differ clearly, so that rounding changes no order
                tensor.mul_(50)
    networks.write(path, network.eval(), spec)
    return path


def an_image(height: int = 70, width: int = 100) -> Any:
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)


def same(first: Instances, second: Instances) -> bool:
    return first.masks == second.masks and np.allclose(first.scores, second.scores)


def test_a_model_of_the_lake_predicts_what_its_network_does(lake: Lake, tmp_path: Path) -> None:
    data = write_tiny(tmp_path / "w.pt", tiny_spec()).read_bytes()
    oid = lake.blobs.put_bytes(data)
    predictor = load(lake, ModelRef(model_version="1", weights_oid=oid, classes=("cell", "debris")), "cpu")
    image = an_image()
    first, second = predictor.predict([image, image])
    assert len(first) > 3
    assert same(first, second)
    assert first.shown_from == predictor.min_score
    assert (first.height_px, first.width_px) == image.shape[:2]
    assert set(first.labels) <= {0, 1}
    for mask in first.masks:
        masks.check_counts(mask, *image.shape[:2])
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[:, :, None]
    assert not same(predictor.predict([grey])[0], first)
    with pytest.raises(DataError, match="the classes"):
        load(lake, ModelRef(model_version="1", weights_oid=oid, classes=("debris", "cell")), "cpu")


def test_originals_are_read_with_the_models_channels(tmp_path: Path) -> None:
    values = np.random.default_rng(1).integers(0, 4000, (3, 40, 50), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack")
    spec = tiny_spec(channels={"nucleus": 1, "membrane": 0})
    predictor = LoadedSegmenter(write_tiny(tmp_path / "w.pt", spec), device="cpu")
    picture = predictor.read_original(tmp_path / "a.tif")
    assert picture.dtype == np.uint16
    assert np.array_equal(picture[:, :, 0], values[1])  # BGR
    assert np.array_equal(picture[:, :, 1], values[0])
    (found,) = predictor.predict([picture])
    assert (found.height_px, found.width_px) == (40, 50)


def test_boxes_of_annotators_are_filled_in_their_order(tmp_path: Path) -> None:
    predictor = LoadedSegmenter(write_tiny(tmp_path / "w.pt", tiny_spec()), device="cpu")
    with torch.no_grad():  # a decoder that says yes everywhere in its window
        last = predictor.network.decoder.fine[-1]
        last.weight.zero_()
        last.bias.fill_(3.0)
    boxes = np.array([[60.0, 10.0, 72.0, 18.0], [5.0, 10.0, 17.0, 18.0]])
    filled = predictor.fill(an_image(), boxes)
    for text, box in zip(filled, boxes, strict=True):
        assert text is not None
        rows, columns = np.nonzero(masks.decode(text, 70, 100))
        assert abs((columns.min() + columns.max() + 1) / 2 - box[[0, 2]].mean()) <= 1
        assert abs((rows.min() + rows.max() + 1) / 2 - box[[1, 3]].mean()) <= 1
    with torch.no_grad():
        last.bias.fill_(-3.0)
    assert predictor.fill(an_image(), boxes) == [None, None]
    assert predictor.fill(an_image(), np.zeros((0, 4))) == []


def test_what_is_no_segmenter_or_cannot_fill_is_refused(tmp_path: Path) -> None:
    for content in (b"", b"nothing", b"PK\x03\x04"):
        (tmp_path / "bad").write_bytes(content)
        with pytest.raises(DataError, match="cannot be loaded"):
            LoadedSegmenter(tmp_path / "bad")
    torch.save({"spec": "{}", "state": {}}, tmp_path / "old")
    with pytest.raises(DataError, match="format None"):
        LoadedSegmenter(tmp_path / "old")
    rays = LoadedSegmenter(write_tiny(tmp_path / "rays", tiny_spec("star-convex")), device="cpu")
    with pytest.raises(ConfigError, match="two-stage"):
        rays.fill(an_image(), np.zeros((0, 4)))
