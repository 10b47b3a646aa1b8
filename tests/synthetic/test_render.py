"""Frames: deterministic in any order, and of the look that was asked for."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.synthetic.recordings import make_scene
from tasks.synthetic.render import Renderer


def _renderer(**look: object) -> Renderer:
    return Renderer(
        make_scene(seed=3, number=1, pts_s=np.arange(12) / 25, width_px=256, height_px=192, um_per_px=0.4, look=look)
    )


def test_frames_do_not_depend_on_order() -> None:
    one, other = _renderer(), _renderer()
    forward = [one.frame(i) for i in range(12)]
    backward = [other.frame(i) for i in reversed(range(12))]
    for a, b in zip(forward, reversed(backward), strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(one) == 12
    assert forward[0].shape == (192, 256) and forward[0].dtype == np.uint8


def test_consecutive_frames_differ() -> None:
    renderer = _renderer(noise=0.0, flicker=0.0)
    assert (renderer.frame(0) != renderer.frame(1)).any()


@pytest.mark.parametrize("level", [120.0, 170.0])
def test_background_level(level: float) -> None:
    frame = _renderer(level=level, vignette=0.0, gradient=(0.0, 0.0)).frame(0)
    assert np.median(frame) == pytest.approx(level, abs=4)


def test_noise_has_the_asked_strength() -> None:
    quiet, noisy = _renderer(noise=0.0), _renderer(noise=4.0)
    difference = noisy.frame(0).astype(float) - quiet.frame(0)
    assert difference.std() == pytest.approx(4.0, rel=0.1)


def test_corners_are_darker_under_a_vignette() -> None:
    frame = _renderer(vignette=0.3, gradient=(0.0, 0.0), mottle=0.0).frame(0).astype(float)
    corners = np.median([frame[:20, :20], frame[-20:, -20:]])
    assert corners < np.median(frame[80:110, 110:150]) - 15
