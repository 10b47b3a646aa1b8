"""Encoders, finder, mask decoder, star-convex head, files: shapes, contracts, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tasks.errors import DataError
from tasks.kinds.segmentation import networks
from tasks.kinds.segmentation.networks.decoder import SIDE, windows_of
from tasks.kinds.segmentation.networks.encoders import DETAIL, build_encoder
from tasks.kinds.segmentation.networks.finder import Answers, cells_of, most_cells, places_of
from tasks.kinds.segmentation.networks.star_convex import RAYS, directions, filled, inside, polygons
from tasks.kinds.segmentation.training.starting import start_from
from tasks.training.installed import installed_file

SMALL_SAM = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "mlp_dim": 32, "image_size": 64,
    "patch_size": 16, "output_channels": 16, "window_size": 2, "global_attn_indexes": [1],
}  # fmt: skip


def spec_of(**changes: Any) -> dict[str, Any]:
    return {
        "model": "two-stage", "encoder": "tiny", "encoder_sizes": None, "width": 16, "classes": ["a", "b"],
        "input": {}, "min_score": 0.5, **changes,
    }  # fmt: skip


def built(**changes: Any) -> Any:
    torch.manual_seed(0)
    return networks.build(spec_of(**changes)).eval()


@pytest.mark.parametrize(("name", "sizes"), [("tiny", None), ("tf_efficientnet_lite0", None), ("sam-vit", SMALL_SAM)])
def test_encoders_give_a_pyramid(name: str, sizes: Any) -> None:
    maps = build_encoder(name, 16, sizes).eval()(torch.rand(2, 3, 64, 96))
    assert {stride: tuple(each.shape) for stride, each in maps.items()} == {
        2: (2, DETAIL, 32, 48), 4: (2, 16, 16, 24), 8: (2, 16, 8, 12), 16: (2, 16, 4, 6)
    }  # fmt: skip


@pytest.mark.parametrize("model", ["two-stage", "star-convex"])
def test_raw_instances_keep_their_contract(model: str) -> None:
    pictures = torch.rand(2, 3, 64, 96)
    for raw in built(model=model).raw_instances(pictures, 0.0):
        count = len(raw)
        assert 0 < count <= 400
        assert raw.boxes_px.shape == raw.windows.shape == (count, 4) and raw.boxes_px.dtype == torch.float32
        assert raw.windows.dtype == raw.labels.dtype == torch.int64 and set(raw.labels.tolist()) <= {0, 1}
        assert raw.masks.shape[0] == count and raw.masks.shape[1] == raw.masks.shape[2]
        assert raw.masks.min() >= 0 and raw.masks.max() <= 1
        assert (raw.scores.diff() <= 0).all() and raw.scores.max() <= 1
        assert (raw.windows[:, 2:] > raw.windows[:, :2]).all()
    assert [len(raw) for raw in built(model=model).raw_instances(pictures, 1.0)] == [0, 0]


def test_given_boxes_are_filled_in_their_order_and_the_same_alone_as_together() -> None:
    network, pictures = built(), torch.rand(1, 3, 64, 64)
    boxes = torch.tensor([[40.0, 40, 60, 60], [2, 3, 12, 30], [20, 20, 21, 20.5]])
    (together,) = network.fill(pictures, [boxes])
    assert torch.equal(together.boxes_px, boxes) and together.masks.shape == (3, SIDE, SIDE)
    alone = torch.cat([network.fill(pictures, [boxes[number : number + 1]])[0].masks for number in range(3)])
    torch.testing.assert_close(alone, together.masks)
    assert len(network.fill(pictures, [boxes[:0]])[0]) == 0


def test_a_prompt_changes_a_mask() -> None:
    network = built()
    shared = network.decoder.prepared(network.encode(torch.rand(1, 3, 64, 64)))
    window = torch.tensor([[10, 10, 40, 40]])
    first, second = (
        network.decoder.masks(shared, torch.tensor([box]), window) for box in ([14.0, 14, 36, 36], [20.0, 14, 36, 36])
    )
    assert (first - second).abs().max() > 1e-4


def test_windows_are_boxes_enlarged_by_a_quarter() -> None:
    boxes = torch.tensor([[10.0, 20, 50, 40], [5, 5, 5, 5]])
    assert windows_of(boxes).tolist() == [[5, 17, 55, 43], [2, 2, 8, 8]]


def test_the_finder_gives_no_cell_twice_and_the_surest_first() -> None:
    boxes = torch.tensor([[[0.0, 0, 10, 10], [1, 0, 11, 10], [30, 30, 40, 40]]])
    logits = torch.tensor([[[0.0, -9], [2, -9], [-9, 1]]])
    ((found, scores, labels),) = cells_of(Answers(logits, logits, boxes, torch.zeros(3, 2)), 0.1)
    assert found.tolist() == [[1, 0, 11, 10], [30, 30, 40, 40]] and labels.tolist() == [0, 1]
    torch.testing.assert_close(scores, torch.tensor([2.0, 1.0]).sigmoid())


def test_a_large_tile_may_have_more_cells_than_a_small_one() -> None:
    places = places_of(128, 128, 4, torch.zeros(1))  # of 512 pixels a side, with a cell every 16 pixels
    sure = (places.remainder(16) == 6).all(1)
    logits = torch.where(sure, 3.0, -9.0)[None, :, None]
    boxes = torch.cat([places - 7, places + 7], 1)[None]
    ((found, _, _),) = cells_of(Answers(logits, logits, boxes, places), 0.1)
    assert len(found) == int(sure.sum()) == 32 * 32
    assert (most_cells(64 * 64), most_cells(128 * 128)) == (400, 1365)
    rays = torch.full((len(places), 32), 6.0)
    assert len(polygons(logits[0].sigmoid(), rays, places, 0.1)) == 32 * 32


def test_places_are_centres_row_by_row() -> None:
    assert places_of(2, 2, 4, torch.zeros(1)).tolist() == [[2, 2], [6, 2], [2, 6], [6, 6]]


def test_a_polygon_is_what_its_rays_span() -> None:
    rays = torch.full((1, RAYS), 10.0)
    area = np.pi * 100 * np.sinc(2 / RAYS)  # of a regular polygon with so many corners
    (mask,) = filled(torch.tensor([[20.0, 20.0]]), rays, torch.tensor([[8, 8, 32, 32]]))
    assert float((mask > 0.5).float().mean()) * 24 * 24 == pytest.approx(area, rel=0.02)
    tips = (20 + 9.99 * directions(rays))[None]
    middles = (tips[:, :1] + tips[:, 1:2]) / 2
    assert (inside(tips, torch.tensor([[20.0, 20.0]]), rays) > 0).all()
    assert (inside(middles, torch.tensor([[20.0, 20.0]]), rays) > 0).all()
    beyond = (middles - 20) * 1.01 + 20
    assert (inside(beyond, torch.tensor([[20.0, 20.0]]), rays) < 0).all()


def test_of_polygons_that_overlap_the_surer_one_stays() -> None:
    places = torch.tensor([[20.0, 20.0], [23.0, 20.0], [45.0, 20.0]])
    rays = torch.full((3, RAYS), 10.0)
    raw = polygons(torch.tensor([[0.6], [0.9], [0.7]]), rays, places, 0.5)
    assert raw.scores.tolist() == pytest.approx([0.9, 0.7])
    raw = polygons(torch.tensor([[0.6], [0.9], [0.7]]), torch.full((3, RAYS), 1.0), places, 0.5)
    assert len(raw) == 3


def test_a_network_survives_its_file(tmp_path: Path) -> None:
    path, spec, network = tmp_path / "weights.pt", spec_of(), built()
    networks.write(path, network, spec)
    again, found = networks.read(path)
    assert {key: found[key] for key in spec} == spec and not again.training
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in network.state_dict().items())
    before = path.read_bytes()
    networks.write(path, again, spec)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        ({"format": 2}, "of format 2, and we read 1"),
        ({"format": 1, **spec_of(model="unet")}, "model 'unet' is none of two-stage, star-convex"),
        ({"format": 1, **spec_of(width=4096)}, "width 4096 is not from 8 to 1024"),
        ({"format": 1, **spec_of(encoder="hf-hub:a/b")}, "encoder 'hf-hub:a/b' is none of"),
        ({"format": 1}, "model is missing.*width is missing"),
    ],
)
def test_files_of_others_are_refused(tmp_path: Path, spec: Any, fault: str) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"spec": json.dumps(spec), "state": {}}, path)
    with pytest.raises(ValueError, match=fault):
        networks.read(path)


def test_an_encoder_starts_from_the_installed_weights() -> None:
    network = built(encoder="tf_efficientnet_lite0")
    path, oid = installed_file("efficientnet-lite0")
    before = network.encoder.backbone.conv_stem.weight.clone()
    start_from(network, path, oid, "tf_efficientnet_lite0")
    stem = next(iter(torch.load(path, weights_only=True).values()))
    assert torch.equal(network.encoder.backbone.conv_stem.weight, stem) and not torch.equal(stem, before)


def test_a_segmenter_starts_from_another_with_other_classes(tmp_path: Path) -> None:
    first, second = built(), built(classes=["a"])
    with torch.no_grad():
        first.decoder.up[0].weight.add_(1.0)
    networks.write(tmp_path / "first.pt", first, spec_of())
    start_from(second, tmp_path / "first.pt", "0" * 64, "tiny")
    assert torch.equal(second.decoder.up[0].weight, first.decoder.up[0].weight)
    with pytest.raises(DataError, match="are of a segmenter with another encoder"):
        start_from(built(encoder="tf_efficientnet_lite0"), tmp_path / "first.pt", "0" * 64, "tf_efficientnet_lite0")


def test_sam_starts_from_its_own_file_or_all_of_sam(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    network = built(encoder="sam-vit", encoder_sizes=SMALL_SAM)
    inner = {name: value + 1 for name, value in network.encoder.backbone.state_dict().items()}
    for number, prefix in enumerate(
        ("", "model.")
    ):  # SamVisionModel's file; SamModel's, with a decoder that is not taken
        named = {f"{prefix}{name}".removeprefix("model."): value for name, value in inner.items()}
        save_file(
            {**named, **({"mask_decoder.x": torch.zeros(1)} if prefix else {})}, tmp_path / f"{number}.safetensors"
        )
        fresh = built(encoder="sam-vit", encoder_sizes=SMALL_SAM)
        start_from(fresh, tmp_path / f"{number}.safetensors", "0" * 64, "sam-vit")
        assert all(torch.equal(value, inner[name]) for name, value in fresh.encoder.backbone.state_dict().items())
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(DataError, match="are not those of the encoder sam-vit"):
        start_from(network, tmp_path / "other.safetensors", "0" * 64, "sam-vit")


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"hidden_size": 2_000_000}, "hidden_size: expected a whole number from 1 to 1280"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers"),
        ({"mlp_dim": -1}, "mlp_dim"),
        ({"window_size": True}, "window_size"),
        ({"output_channels": 16.0}, "output_channels"),
        ({"image_size": "64"}, "image_size"),
        ({"patch_size": 1}, "patch_size: expected 16"),
        ({"num_attention_heads": 3}, "a multiple of num_attention_heads"),
        ({"global_attn_indexes": [2]}, "global_attn_indexes: expected places from 0 to 1"),
        ({"global_attn_indexes": 1}, "global_attn_indexes"),
        ({"_name_or_path": "/etc"}, "encoder_sizes: expected global_attn_indexes, hidden_size"),
    ],
)
def test_a_file_of_weights_cannot_ask_for_more_than_the_largest_sam(
    tmp_path: Path, changes: dict[str, Any], fault: str
) -> None:
    spec = spec_of(encoder="sam-vit", encoder_sizes={**SMALL_SAM, **changes})
    networks.write(tmp_path / "forged.pt", torch.nn.Linear(1, 1), spec)
    with pytest.raises(ValueError, match=fault):
        networks.read(tmp_path / "forged.pt")


def test_all_faults_of_an_encoders_sizes_are_named_at_once() -> None:
    with pytest.raises(ValueError, match=r"hidden_size: .*; mlp_dim: "):
        build_encoder("sam-vit", 16, {**SMALL_SAM, "hidden_size": 0, "mlp_dim": 0})
    with pytest.raises(ValueError, match="encoder_sizes: expected"):
        build_encoder("sam-vit", 16, [1])  # type: ignore[arg-type]
