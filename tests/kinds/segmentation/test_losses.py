"""Targets, matching and losses, each against what it should be."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from tasks.kinds.segmentation.inference.pieces import pasted_mask
from tasks.kinds.segmentation.networks.decoder import SIDE
from tasks.kinds.segmentation.networks.finder import Answers, places_of
from tasks.kinds.segmentation.networks.star_convex import RAYS, STRIDE, polygons
from tasks.kinds.segmentation.plan import Stage1Plan, Stage2Plan
from tasks.kinds.segmentation.training.losses import (
    boundary_losses,
    box_weights,
    finder_losses,
    heat_loss,
    mask_losses,
    signed_distances,
    star_losses,
)
from tasks.kinds.segmentation.training.matching import focal_cost, matched, relative_l1
from tasks.kinds.segmentation.training.measure import Tally
from tasks.kinds.segmentation.training.monai_losses import hidden
from tasks.kinds.segmentation.training.objectives import jittered
from tasks.kinds.segmentation.training.star_targets import chances_of, rays_of, star_targets
from tasks.kinds.segmentation.training.targets import CellTargets, heat_of, mask_targets, targets_of

PLACES = places_of(16, 16, 4, torch.zeros(1))


def label_image() -> Any:
    image = np.zeros((64, 64), np.int32)
    image[8:20, 4:24] = 1
    image[40:60, 30:42] = 3
    image[0:2, 60:62] = 4  # too small to be asked for
    return image


def cells() -> CellTargets:
    return targets_of(label_image(), [0, 0, 1, 0])


def answers(boxes: torch.Tensor, logits: torch.Tensor) -> Answers:
    return Answers(logits, logits, boxes, PLACES)


def test_targets_are_boxes_and_classes_of_what_is_there() -> None:
    found = cells()
    assert found.boxes.tolist() == [[4, 8, 24, 20], [30, 40, 42, 60]]
    assert found.labels.tolist() == [0, 1] and found.numbers.tolist() == [1, 3]
    assert len(targets_of(np.zeros((8, 8), np.int32), [])) == 0


def test_heat_is_one_at_the_nearest_place_and_falls() -> None:
    heat = heat_of(cells().boxes, PLACES)
    assert (heat == 1).sum(1).tolist() == [1, 1]
    near = PLACES[heat[0].argmax()]
    assert (near - torch.tensor([14.0, 14.0])).abs().max() <= 2
    assert heat[0][(PLACES - near).norm(dim=1) > 25].max() < 0.01


def test_mask_targets_are_the_cell_over_its_window() -> None:
    windows = torch.tensor([[4, 8, 24, 20], [-10, -10, 54, 54]])
    whole, wide = mask_targets(cells(), torch.tensor([0, 0]), windows, SIDE)
    assert (whole == 1).all()
    assert float(wide.mean()) * 64 * 64 == pytest.approx(20 * 12, rel=0.1), "beyond the crop there is nothing"


def test_matching_is_one_to_one_and_prefers_right_boxes() -> None:
    found = cells()
    boxes = torch.cat([PLACES - 3, PLACES + 3], 1)[None].clone()
    centres = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2
    right = [(PLACES - centre).norm(dim=1).argsort()[3] for centre in centres]  # not the nearest
    for place, box in zip(right, found.boxes, strict=True):
        boxes[0, place] = box
    places, whose = matched(answers(boxes, torch.zeros(1, 256, 2)), 0, found, Stage1Plan())
    assert dict(zip(whose.tolist(), places.tolist(), strict=True)) == dict(enumerate(int(place) for place in right))


def test_crowded_cells_are_matched_to_different_places() -> None:
    crowd = np.zeros((64, 64), np.int32)
    for number in range(12):
        crowd[20 + 3 * (number // 4) : 23 + 3 * (number // 4), 20 + 3 * (number % 4) : 23 + 3 * (number % 4)] = (
            number + 1
        )
    found = targets_of(crowd, [0] * 12)
    places, whose = matched(answers(torch.rand(1, 256, 4) + 20, torch.zeros(1, 256, 1)), 0, found, Stage1Plan())
    assert sorted(whose.tolist()) == list(range(12)) and len(set(places.tolist())) == 12


def test_the_cost_of_a_class_falls_with_its_logit() -> None:
    assert (focal_cost(torch.linspace(-4, 4, 9)).diff() < 0).all()
    assert relative_l1(torch.tensor([0.0, 0, 20, 10]), torch.tensor([0.0, 0, 10, 10])) == pytest.approx(0.25)


def test_finder_losses_are_small_where_all_is_right() -> None:
    found = cells()
    boxes = torch.cat([PLACES - 3, PLACES + 3], 1)[None].clone()
    heat = heat_of(found.boxes, PLACES)
    boxes[0] = torch.where((heat.amax(0) > 0.01)[:, None], found.boxes[heat.argmax(0)], boxes[0])
    logits = torch.full((1, 256, 2), -12.0)
    for which, place in enumerate(heat.argmax(1)):
        logits[0, place, found.labels[which]] = 12.0
    good = finder_losses(answers(boxes, logits), [found], Stage1Plan())
    bad = finder_losses(answers(boxes + 5, -logits), [found], Stage1Plan())
    assert good.keys() == bad.keys() == {"ce", "l1", "giou", "dense_heat", "dense_l1", "dense_giou"}
    assert all(float(good[name]) < 0.01 < float(bad[name]) for name in good)
    nothing = targets_of(np.zeros((64, 64), np.int32), [])
    assert finder_losses(answers(boxes, logits), [nothing], Stage1Plan(dense_weight=0)).keys() == {"ce", "l1", "giou"}


def test_heat_loss_forgives_near_the_centre() -> None:
    near, far = (heat_loss(torch.tensor([1.0]), torch.tensor([heat])) for heat in (0.9, 0.0))
    assert 0 < float(near) < float(far) / 1000


def test_mask_losses_are_least_where_masks_are_right() -> None:
    wanted = torch.zeros(2, SIDE, SIDE)
    wanted[:, 6:20, 8:22] = 1
    good = mask_losses(wanted * 40 - 20, wanted, Stage2Plan())
    bad = mask_losses(20 - wanted * 40, wanted, Stage2Plan())
    assert all(abs(float(good[name])) < 0.01 < float(bad[name]) for name in ("focal", "dice", "boundary"))
    assert all(float(value) == 0 for value in mask_losses(wanted[:0], wanted[:0], Stage2Plan()).values())


def test_what_is_hidden_cannot_be_imported_until_it_is_shown_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "an_optional_package.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    with hidden(["an_optional_package", "torch"]):
        assert importlib.import_module("torch") is torch, "what is imported already stays"
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("an_optional_package")
    assert importlib.import_module("an_optional_package")


def test_gamma_looks_away_from_what_is_easy() -> None:
    wanted = torch.ones(1, SIDE, SIDE)
    easy = torch.full_like(wanted, 2.0)
    plain, focused = (mask_losses(easy, wanted, Stage2Plan(focal_gamma=gamma))["focal"] for gamma in (0.0, 2.0))
    assert float(plain) == pytest.approx(float(functional.softplus(torch.tensor(-2.0))), rel=1e-4)
    assert float(focused) < float(plain) / 10


def test_boundary_loss_grows_with_the_distance_of_what_is_wrong() -> None:
    wanted = torch.zeros(1, SIDE, SIDE)
    wanted[:, 10:18, 10:18] = 1
    near, far = wanted.clone(), wanted.clone()
    near[:, 18:20, 10:14] = 1
    far[:, 25:27, 10:14] = 1
    losses = [float(boundary_losses(mask * 40 - 20, wanted)) for mask in (wanted, near, far)]
    assert losses[0] == pytest.approx(0, abs=1e-5) and 0 < 4 * losses[1] < losses[2]


def test_signed_distances() -> None:
    mask = np.zeros((1, 5, 5), bool)
    mask[0, 1:4, 1:4] = True
    assert signed_distances(mask)[0, 2].tolist() == [0.5, -0.5, -1.5, -0.5, 0.5]
    assert not signed_distances(np.ones((1, 3, 3), bool)).any()


def test_hard_mining() -> None:
    losses = torch.tensor([1.0, 3.0, 0.0, 4.0])
    assert box_weights(losses, Stage2Plan()).tolist() == [1, 1, 1, 1]
    assert box_weights(losses, Stage2Plan(hard_mining="plain")).tolist() == [0, 2, 0, 2]
    weighted = box_weights(losses, Stage2Plan(hard_mining="weighted"))
    assert weighted.tolist() == pytest.approx([0.5, 1.5, 0.0, 2.0], abs=1e-5)


def test_jitter_stays_in_its_bounds_and_follows_from_its_seed() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 40]]).repeat(50, 1)
    first, second = (jittered(boxes, 0.1, torch.Generator().manual_seed(3)) for _ in range(2))
    moved = (first - boxes).abs() / torch.tensor([10.0, 40, 10, 40])
    assert torch.equal(first, second) and 0.08 < float(moved.max()) <= 0.1


def test_rays_reach_to_the_edge() -> None:
    image = np.zeros((64, 64), np.int32)
    y, x = np.mgrid[:64, :64]
    image[(y - 30) ** 2 + (x - 30) ** 2 <= 12**2] = 1
    image[28:33, 40:] = 2  # touches on the right
    (rays,) = rays_of(image, np.array([30.5]), np.array([30.5]))
    disc = np.sqrt(((y - 30) ** 2 + (x - 30) ** 2 <= 12**2).sum() / np.pi)  # radius of a disc as large
    assert rays.shape == (RAYS,) and rays[0] == pytest.approx(9.5, abs=0.6)
    assert rays[3:30].mean() == pytest.approx(disc, abs=0.2)
    chances = chances_of(image)
    assert chances.max() == 1 and chances[image == 0].max() == 0 and chances[30, 30] == pytest.approx(1, abs=0.2)


def test_star_targets_and_losses() -> None:
    chances, rays, weights = (each[None] for each in star_targets(cells(), 2, 4))
    assert chances.shape == (1, 2, 16, 16) and rays.shape == (1, RAYS, 16, 16)
    assert chances[0, 0, 3, 2] > 0 and chances[0, 1, 12, 8] > 0 and chances[0, 1, 3, 2] == 0
    good = star_losses(torch.logit(chances, 1e-6), rays.clamp(min=0.5), chances, rays, weights[0][None])
    bad = star_losses(-torch.logit(chances, 1e-6), rays + 5, chances, rays, weights[0][None])
    assert float(good["l1"]) == 0 and float(bad["l1"]) > 0.1 and float(good["ce"]) < float(bad["ce"])


def test_a_star_that_says_what_it_should_covers_its_cell() -> None:
    """Rays begin where the network's places are, between pixels: else every mask would lie half a pixel off."""
    y, x = np.mgrid[:64, :64] + 0.5
    off = []
    for middle_y, middle_x in ((30.0, 31.0), (31.5, 30.25), (33.0, 32.5), (32.0, 33.75)):
        truth = (y - middle_y) ** 2 + (x - middle_x) ** 2 < 14**2
        chances, rays, _ = star_targets(targets_of(truth.astype(np.int32), (0,)), 1, STRIDE)
        places = places_of(64 // STRIDE, 64 // STRIDE, STRIDE, torch.zeros(1))
        raw = polygons(chances.flatten(1).T, rays.flatten(1).T, places, 0.5)
        pasted = pasted_mask(raw.masks[0].numpy(), raw.windows[0].numpy(), 1.0, (0, 0, 64, 64))
        assert pasted is not None
        left, top, mask = pasted
        found = np.zeros_like(truth)
        found[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
        assert (found & truth).sum() / (found | truth).sum() > 0.95
        off.append([part.mean() - true.mean() for part, true in zip(np.nonzero(found), np.nonzero(truth), strict=True)])
    assert np.abs(np.mean(off, axis=0)).max() < 0.2


def test_a_tally_counts_as_stardist_pools() -> None:
    tally = Tally()
    tally.add([0.9, 0.8, 0.3], np.array([[0.8, 0.0], [0.6, 0.1], [0.0, 0.7]]))  # the second is a duplicate
    tally.add([0.7], np.zeros((1, 0)))
    assert tally.at(0.5) == {"AP50_pooled": 1 / 4, "F1_50": 2 / 5, "PQ": pytest.approx(2 * 0.8 / 5)}
    assert tally.at(0.2)["AP50_pooled"] == 2 / 4
    assert tally.best()[0] < 0.3
    assert Tally().at(0.5)["AP50_pooled"] == 1.0
