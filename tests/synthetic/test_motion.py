"""Swimmers' exact kinematics: inside the published ranges, and what a camera would measure."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.synthetic.motion import SWIMMER_KINDS, Kinematics, draw_motion, kinematics, path

SEEDS = range(40)


def _exact(kind: str, seed: int, stop_s: float = 4.0) -> Kinematics:
    return kinematics(draw_motion(kind, np.random.default_rng(seed)), 0.0, stop_s)


@pytest.mark.parametrize("kind", SWIMMER_KINDS)
def test_speeds_are_ordered(kind: str) -> None:
    for seed in SEEDS:
        found = _exact(kind, seed)
        assert found.vcl_um_s >= found.vap_um_s >= found.vsl_um_s >= 0
        assert 0 <= found.lin <= found.str <= 1
        assert found.lin == pytest.approx(found.str * found.wob)


def test_linear_swimmers_are_progressive() -> None:
    for found in (_exact("linear", seed) for seed in SEEDS):
        assert 30 <= found.vcl_um_s <= 130
        assert 25 <= found.vap_um_s <= 70
        assert found.str > 0.9
        assert 1.5 <= found.alh_um <= 5
        assert 8 <= found.bcf_hz <= 18


def test_circular_swimmers_get_nowhere() -> None:
    for found in (_exact("circular", seed, stop_s=8.0) for seed in SEEDS):
        assert found.vap_um_s > 25
        assert found.lin < 0.25


def test_hyperactivated_swimmers_meet_their_definition() -> None:
    for found in (_exact("hyperactivated", seed) for seed in SEEDS):
        assert found.vcl_um_s >= 130
        assert found.lin <= 0.5
        assert found.alh_um >= 7
    assert np.mean([_exact("hyperactivated", seed).vcl_um_s for seed in SEEDS]) >= 150


def test_immotile_sperm_only_tremble() -> None:
    for found in (_exact("immotile", seed) for seed in SEEDS):
        assert found.vcl_um_s < 1
        assert found.vsl_um_s < 0.2
        assert found.alh_um == 0


def test_vcl_of_a_straight_swimmer_is_the_mean_speed_over_a_beat() -> None:
    motion = draw_motion("linear", np.random.default_rng(3))
    straight = type(motion)(**{**vars(motion), "wander": np.zeros((0, 3)), "tremble": np.zeros((2, 3))})
    beat = np.linspace(0, 2 * np.pi, 10_001)
    across = 2 * np.pi * motion.beat_hz * motion.sway_um * np.cos(beat)
    expected = np.hypot(motion.speed_um_s, across).mean()
    assert kinematics(straight, 0, 20 / motion.beat_hz).vcl_um_s == pytest.approx(expected, rel=2e-3)


def test_path_does_not_depend_on_the_frame_rate() -> None:
    motion = draw_motion("hyperactivated", np.random.default_rng(1))
    coarse, fine = path(motion, np.arange(50) / 25), path(motion, np.arange(400) / 200)
    np.testing.assert_allclose(coarse.head_um, fine.head_um[::8], atol=1e-6)


def test_a_slow_camera_sees_less_than_the_true_vcl() -> None:
    motion = draw_motion("hyperactivated", np.random.default_rng(1))
    seen = path(motion, np.arange(100) / 25).head_um
    measured = np.linalg.norm(np.diff(seen, axis=0), axis=1).sum() / (99 / 25)
    assert measured < kinematics(motion, 0, 99 / 25).vcl_um_s


def test_kinematics_need_a_duration() -> None:
    with pytest.raises(ValueError, match="duration"):
        kinematics(draw_motion("linear", np.random.default_rng(0)), 1.0, 1.0)
