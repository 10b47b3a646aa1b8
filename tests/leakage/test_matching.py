"""What moves is told from dirt, light and noise."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tasks.ingest.watching import Clip
from tasks.leakage.clip_matching import suspects
from tasks.leakage.features import features_of
from tasks.leakage.pair_check import check_pair
from tasks.leakage.signatures import Signature, hashes_of
from tasks.leakage.thumbnails import STILL, details, motion

GENERATOR = np.random.default_rng(0)
DIRT = cv2.GaussianBlur(GENERATOR.normal(0, 1, (64, 64)), (0, 0), 2)
DIRT = 128 + 40 * DIRT / DIRT.std()


def clip(frames: int, heads: int, noise: float) -> np.ndarray:
    """Thumbnails of a few heads that swim over strong dirt."""
    found = []
    for number in range(frames):
        picture = DIRT + GENERATOR.normal(0, noise, DIRT.shape)
        for head in range(heads):
            cv2.circle(picture, (int(7 + 9 * head + 2.3 * number) % 64, (11 + 17 * head) % 64), 1, 60.0, -1)
        found.append(np.clip(picture, 0, 255).astype(np.uint8))
    return np.stack(found)


def test_a_camera_that_only_rustles_sees_nothing_move() -> None:
    assert motion(clip(40, 0, 1.0)) < STILL
    assert motion(np.empty((0, 64, 64), np.uint8)) == 0


def test_two_heads_over_strong_dirt_move() -> None:
    assert motion(clip(40, 2, 1.0)) > 2 * STILL


def test_light_changes_nothing_and_blank_pictures_show_nothing() -> None:
    thumbs = clip(3, 4, 0)
    brighter = (thumbs * 0.7 + 30).astype(np.uint8)
    assert (details(thumbs) * details(brighter)).sum(axis=1) == pytest.approx(1, abs=0.01)
    assert not details(np.full((1, 64, 64), 90, np.uint8)).any()


def signed(vectors: np.ndarray) -> Signature:
    indices = np.arange(len(vectors), dtype=np.int32)
    return Signature(indices, hashes_of(vectors.astype(np.float32)), 30.0, features_of((64, 64), ()))


@pytest.mark.parametrize(("correlation", "found"), [(0.95, True), (0.85, True), (0.3, False)])
def test_clips_with_moments_in_common_are_suspects(correlation: float, found: bool) -> None:
    generator = np.random.default_rng(1)
    own, noise, other = (generator.standard_normal((40, 4096)) for _ in range(3))
    copy = correlation * own[13:33] + np.sqrt(1 - correlation**2) * noise[13:33]
    clips = {"a": signed(own), "b": signed(copy), "c": signed(other)}
    pairs = set(suspects(clips, {"a": "train", "b": "test", "c": "test"}))
    assert pairs == ({("a", "b")} if found else set())
    assert not suspects(clips, dict.fromkeys("abc", "train"))


def test_a_signature_survives_being_stored() -> None:
    one = signed(np.random.default_rng(2).standard_normal((6, 4096)))
    again = Signature.decode(one.encode())
    assert (again.hashes == one.hashes).all() and again.motion == one.motion and again.moves
    assert again.features.size_px == (64, 64)


@pytest.mark.parametrize(("level", "same", "alike"), [(0.97, True, False), (0.85, False, True), (0.3, False, False)])
def test_what_does_not_move_is_the_same_only_where_it_is_as_alike_as_copies_are(
    level: float, same: bool, alike: bool
) -> None:
    generator = np.random.default_rng(4)
    smooth = [cv2.GaussianBlur(generator.normal(0, 1, (64, 64)), (0, 0), 1) for _ in range(2)]
    one, other = (50 * own / own.std() for own in smooth)
    mixed = level * one + np.sqrt(1 - level**2) * other
    clips = [
        Clip(64, 64, np.arange(8), np.arange(8) / 25, np.stack([np.clip(128 + p, 0, 255).astype(np.uint8)] * 8), ())
        for p in (one, mixed)
    ]
    check = check_pair(*clips)
    assert not check.moving
    assert check.correlation == pytest.approx(level, abs=0.06)
    assert (check.same, check.alike) == (same, alike)
