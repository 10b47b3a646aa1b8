"""The simulated chamber: who is in it, and that nobody appears in sight."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.synthetic.recordings import make_scene
from tasks.synthetic.scene import Scene, swimmer_kind
from tasks.synthetic.truth import ground_truth


def _scene(number: int = 1, frames: int = 200, **look: object) -> Scene:
    return make_scene(
        seed=0, number=number, pts_s=np.arange(frames) / 25, width_px=512, height_px=384, um_per_px=0.4, look=look
    )


def test_same_seed_same_scene_and_another_number_another() -> None:
    one, again, other = _scene(), _scene(), _scene(number=2)
    assert one.spec.look == again.spec.look != other.spec.look
    for body, twin in zip(one.bodies, again.bodies, strict=True):
        np.testing.assert_array_equal(body.centre_px, twin.centre_px)
    assert not np.allclose(one.bodies[0].centre_px, other.bodies[0].centre_px)


def test_frames_stay_as_crowded_as_the_look_says() -> None:
    truth = ground_truth(_scene(sperm=25.0, impurities=5.0))
    sperm = [sum(box.label == "sperm" for box in boxes) for boxes in truth.boxes]
    impurities = [sum(box.label == "impurity" for box in boxes) for boxes in truth.boxes]
    assert 18 <= np.mean(sperm) <= 32
    assert 2 <= np.mean(impurities) <= 9
    assert np.mean(sperm[:50]) == pytest.approx(np.mean(sperm[-50:]), rel=0.35)


def test_motile_share_is_kept() -> None:
    sperm = [body for body in _scene(motile=0.6).bodies if body.label == "sperm"]
    assert sum(body.kind != "immotile" for body in sperm) / len(sperm) == pytest.approx(0.6, abs=0.02)
    assert {body.kind for body in sperm} == {"linear", "circular", "hyperactivated", "immotile"}


@pytest.mark.parametrize(
    ("motile", "rank", "kind"), [(0.0, 0.01, "immotile"), (1.0, 0.01, "linear"), (0.5, 0.6, "immotile")]
)
def test_swimmer_kind(motile: float, rank: float, kind: str) -> None:
    assert swimmer_kind(rank, motile) == kind


def test_whoever_wraps_around_the_world_is_out_of_sight() -> None:
    scene = _scene(motile=1.0)
    wrapped = 0
    for body in scene.bodies:
        jumps = np.flatnonzero(np.diff(body.visit))
        wrapped += len(jumps)
        for frame in (*jumps, *(jumps + 1)):
            x, y = body.centre_px[frame]
            out = max(-x, -y, x - scene.spec.width_px, y - scene.spec.height_px)
            assert out > scene.margin_px - 20
        steps = np.linalg.norm(np.diff(body.centre_px, axis=0), axis=1)
        assert np.delete(steps, jumps).max() < 40
    assert wrapped > 0


def test_drift_moves_everything_alike() -> None:
    scene = _scene(motile=0.0)
    seen = np.ptp(scene.drift_px, axis=0)
    assert seen.max() > 1
    body = scene.bodies[0]
    moved = body.centre_px - body.centre_px[0] - (body.sample_um - body.sample_um[0]) / scene.spec.um_per_px
    np.testing.assert_allclose(moved, scene.drift_px - scene.drift_px[0], atol=1e-6)
