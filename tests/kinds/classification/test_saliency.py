"""Grad-CAM finds a layer that the score rests on, whatever the network and whichever features a head sees."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from tasks.kinds.classification import networks
from tasks.kinds.classification.allowed import MODELS
from tasks.kinds.classification.predictor import LoadedClassifier
from tasks.kinds.classification.saliency import heat

SIDE = 64
AGAIN = {"network": 0, "contrast": "alike", "mean": [0.5] * 3, "std": [0.5] * 3}


def on_features(backbone: Any, *, last_layer: bool, looks: tuple[Any, ...] = ()) -> Any:
    """A linear head that counts every feature."""
    shape: dict[str, Any] = {"blocks": 0, "pooling": "mean+deviation", "last_layer": last_layer, "window": 0.3}
    with torch.inference_mode():
        one = networks.features_of(backbone, torch.zeros(1, 3, SIDE, SIDE), **shape).shape[1]
    made = networks.FrozenFeatures(
        backbone, 2, features=one * (1 + len(looks)), pca=0, support=0, looks=looks, mean=[0.5] * 3, std=[0.5] * 3,
        **shape,
    )  # fmt: skip
    made.spread.fill_(1)
    made.coef.copy_(torch.stack([torch.ones(made.coef.shape[1]), -torch.ones(made.coef.shape[1])]))
    return made.eval()


@pytest.mark.parametrize("model", MODELS)
def test_every_network_and_every_head_shows_where_it_looks(model: str) -> None:
    torch.manual_seed(0)
    backbone = networks.build_bare(model, 2, SIDE).eval()
    image = np.random.default_rng(0).integers(0, 255, (50, 60, 3), dtype=np.uint8)
    spec = {"imgsz": SIDE, "fit": "pad", "mean": [0.5] * 3, "std": [0.5] * 3}
    for network in (
        backbone, on_features(backbone, last_layer=True), on_features(backbone, last_layer=False),
        on_features(backbone, last_layer=False, looks=(AGAIN,)),
    ):  # fmt: skip
        loaded = cast("LoadedClassifier", SimpleNamespace(network=network, spec=spec, device="cpu"))
        found = [each for each in (heat(loaded, image, index) for index in (0, 1)) if each is not None]
        assert all(each.shape == (50, 60) and each.max() == pytest.approx(1) for each in found)
        assert found or network is backbone, "all features together speak for one class, or against the other"


def test_a_further_look_of_the_same_network_does_not_move_the_heat() -> None:
    """A head that does not count what the further look sees shows what it would show without that look."""
    torch.manual_seed(0)
    backbone = networks.build_bare("small-cnn", 2, SIDE).eval()
    image = np.random.default_rng(0).integers(0, 255, (50, 60, 3), dtype=np.uint8)
    spec = {"imgsz": SIDE, "fit": "pad", "mean": [0.5] * 3, "std": [0.5] * 3}
    once, twice = on_features(backbone, last_layer=False), on_features(backbone, last_layer=False, looks=(AGAIN,))
    twice.coef[:, once.coef.shape[1] :] = 0
    one, other = (
        heat(cast("LoadedClassifier", SimpleNamespace(network=each, spec=spec, device="cpu")), image, 0)
        for each in (once, twice)
    )
    assert one is not None and other is not None
    np.testing.assert_allclose(other, one, atol=1e-5)
    assert twice.looks == (AGAIN,) and not len(twice.more), "the model itself stays as it is"
