"""The speckle denoiser: pairs of the right statistics, measures that can tell, and a network that beats its input."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tasks.denoising.denoise import Denoiser
from tasks.denoising.filters import classical_filters, strengths
from tasks.denoising.pairs import Pair, add_speckle, phantom_pairs
from tasks.denoising.quality import aggregate_quality, compute_quality, edge_preservation
from tasks.denoising.speckle_unet import SpeckleUNet, build, written
from tasks.denoising.train import DenoisingPlan, train_denoiser
from tasks.errors import DataError
from tasks.synthetic.speckle import MEAN_DB, SPREAD_DB
from tasks.synthetic.ultrasound import draw_picture

PLAN = DenoisingPlan(width=8, levels=1, steps=120, batch=4, crop_px=48, lr=6e-3)


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    return list(phantom_pairs(6))


@pytest.fixture(scope="module")
def trained(pairs: list[Pair]) -> SpeckleUNet:
    return train_denoiser(pairs[:4], PLAN)


def test_speckle_of_even_grey_spreads_as_the_logarithm_of_rayleigh_does_around_its_truth() -> None:
    """In decibels it is a summand of mean 0 (the truth is the mean) and of 5.57 dB, however bright the tissue is."""
    assert [float(MEAN_DB), float(SPREAD_DB)] == pytest.approx([-2.507, 5.570], abs=1e-3)
    for grey in (100, 150):
        clean = np.full((400, 400), grey, np.uint8)
        level_db = (add_speckle(clean, np.random.default_rng(1), dynamic_range_db=120) - float(grey)) / 255 * 120
        assert level_db.mean() == pytest.approx(0, abs=0.15)
        assert level_db.std() == pytest.approx(SPREAD_DB, rel=0.03)


def test_a_pair_is_the_phantoms_picture_and_its_mean_over_speckles(pairs: list[Pair]) -> None:
    assert np.array_equal(pairs[2].speckled, draw_picture(3).image)
    looked_at = 0
    for pair in pairs:
        assert pair.speckled.shape == pair.clean.shape and pair.clean.dtype == np.uint8
        # Far from black and white nothing is cut off: the speckled one lies around the other.
        middle = cv2.erode(((pair.clean > 90) & (pair.clean < 170)).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        if middle.sum() > 2000:
            apart = pair.speckled[middle].astype(float) - pair.clean[middle]
            assert abs(apart.mean()) < 6 and 12 < apart.std() < 45
            looked_at += 1
    assert looked_at, "no picture has enough of a grey middle"


def test_an_edge_is_kept_blurred_or_lost() -> None:
    clean = np.full((80, 80), 60, np.uint8)
    clean[20:60, 20:60] = 200
    blurred = [cv2.GaussianBlur(clean, (0, 0), sigma) for sigma in (0.7, 3.0)]
    kept = [edge_preservation(clean, each) for each in (clean, *blurred, np.roll(clean, 9, axis=1))]
    assert kept[0] == pytest.approx(1) and 0.95 > kept[1] > kept[2] > 0 and kept[3] < 0.6
    assert edge_preservation(clean, np.full_like(clean, 9)) == 0
    same, other = compute_quality(clean, clean), compute_quality(clean, cv2.add(clean, 5))
    assert (same.ssim, same.edges) == (1, 1) and other.psnr_db == pytest.approx(20 * np.log10(255 / 5), abs=0.01)
    assert aggregate_quality([other, other]) == other


def test_a_fresh_network_changes_nothing_whatever_the_size() -> None:
    network = build({"width": 4, "levels": 3})
    for shape in ((33, 50), (16, 16), (64, 71)):
        image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        assert np.array_equal(Denoiser(network).denoise(image), image)
        three = np.repeat(image[:, :, None], 3, axis=2)
        assert np.array_equal(Denoiser(network).denoise(three), three)


def test_it_learns_to_take_speckle_out(pairs: list[Pair], trained: SpeckleUNet) -> None:
    """On pictures that it never saw; a small part of what the bench trains."""
    denoiser = Denoiser(trained)
    before = aggregate_quality(compute_quality(pair.clean, pair.speckled) for pair in pairs[4:])
    after = aggregate_quality(compute_quality(pair.clean, denoiser.denoise(pair.speckled)) for pair in pairs[4:])
    assert after.psnr_db > before.psnr_db + 0.7


def test_the_same_plan_gives_the_same_weights(tmp_path: Path, pairs: list[Pair]) -> None:
    plan = PLAN.model_copy(update={"steps": 3})
    for name, seed in (("one", 0), ("same", 0), ("other", 1)):
        network = train_denoiser(pairs[:2], plan.model_copy(update={"seed": seed}))
        (tmp_path / name).write_bytes(written(network, plan.spec))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "same").read_bytes()
    assert (tmp_path / "one").read_bytes() != (tmp_path / "other").read_bytes()


def test_weights_go_to_a_file_and_back_and_others_are_refused(tmp_path: Path, trained: SpeckleUNet) -> None:
    path = tmp_path / "denoiser.safetensors"
    path.write_bytes(written(trained, PLAN.spec))
    image = np.random.default_rng(0).integers(0, 256, (40, 60), dtype=np.uint8)
    assert np.array_equal(Denoiser.load(path).denoise(image), Denoiser(trained).denoise(image))
    tensors = load_file(path)
    (tmp_path / "text").write_text("no weights")
    save_file(tensors, tmp_path / "bare")
    save_file(tensors, tmp_path / "huge", metadata={"spec": '{"format": 1, "width": 100000, "levels": 2}'})
    save_file({"x": torch.zeros(1)}, tmp_path / "else", metadata={"spec": '{"format": 1, "width": 8, "levels": 2}'})
    for name, fault in (
        ("text", "cannot be loaded"),
        ("bare", "no spec"),
        ("huge", "from 4 to 128"),
        ("else", "size|key"),
    ):
        with pytest.raises(DataError, match=fault):
            Denoiser.load(tmp_path / name)


def test_pictures_that_are_too_small_are_refused(pairs: list[Pair]) -> None:
    small = Pair(pairs[0].speckled[:40], pairs[0].clean[:40])
    with pytest.raises(DataError, match="1 of 2 that are smaller"):
        train_denoiser([pairs[0], small], PLAN)
    with pytest.raises(DataError, match="none"):
        train_denoiser([], PLAN)


def test_every_classical_filter_smooths(pairs: list[Pair]) -> None:
    image = pairs[0].speckled[60:120, 60:120]
    made = {name: each(image) for name, strength, each in strengths(classical_filters()) if name != "BM3D"}
    assert set(made) == {"nothing", "median", "bilateral", "non-local means"}
    for name, smooth in made.items():
        assert smooth.shape == image.shape and smooth.dtype == np.uint8
        assert (
            name == "nothing" or np.abs(np.diff(smooth.astype(int))).mean() < np.abs(np.diff(image.astype(int))).mean()
        )
