"""Forms of sperm that are not normal: heads, tails, vacuoles. In micrometres, in the head's own frame (x forward)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tasks.synthetic.motion import Floats
from tasks.synthetic.shapes import OUTLINE_POINTS, TAIL_POINTS, head_outline, tail_shape

HEADS = ("tapered", "round", "amorphous", "small", "large")
TAILS = ("bent", "coiled", "stump")


@dataclass(frozen=True)
class Spot:
    """A vacuole."""

    x_um: float
    y_um: float
    radius_um: float


def head(rng: np.random.Generator) -> Floats:
    """A head of one of the forms of `HEADS`, [OUTLINE_POINTS, 2]."""
    form = HEADS[int(rng.integers(len(HEADS)))]
    normal = head_outline(rng)
    if form == "tapered":
        towards_tail = (1 - normal[:, 0] / normal[:, 0].max()) / 2
        narrow = rng.uniform(0.68, 0.78) * (1 - 0.42 * towards_tail)
        return np.column_stack([rng.uniform(1.25, 1.45) * normal[:, 0], narrow * normal[:, 1]])
    if form == "round":
        radius = rng.uniform(1.9, 2.2)
        turn = np.linspace(0, 2 * np.pi, OUTLINE_POINTS, endpoint=False)
        return radius * np.column_stack([np.cos(turn), rng.uniform(0.93, 1.0) * np.sin(turn)])
    if form == "amorphous":
        return _dented(normal, rng)
    return np.asarray(normal * (rng.uniform(0.55, 0.66) if form == "small" else rng.uniform(1.4, 1.6)))


def _dented(outline: Floats, rng: np.random.Generator) -> Floats:
    turn = np.linspace(0, 2 * np.pi, len(outline), endpoint=False)
    radius = np.ones(len(outline))
    for wave in (2, 3, 4):
        radius += rng.uniform(0.1, 0.2) * np.cos(wave * turn + rng.uniform(0, 2 * np.pi))
    return np.asarray(outline * radius[:, None])


def vacuoles(rng: np.random.Generator, outline: Floats) -> list[Spot]:
    """One to three pale spots in a head's front and middle, up to a third of its width each."""
    half_length, half_width = (float(np.abs(outline[:, axis]).max()) for axis in (0, 1))
    return [
        Spot(
            x_um=float(rng.uniform(-0.35, 0.55)) * half_length,
            y_um=float(rng.uniform(-0.4, 0.4)) * half_width,
            radius_um=float(rng.uniform(0.24, 0.36)) * half_width,
        )
        for _ in range(int(rng.integers(1, 4)))
    ]


def straight_tail(rng: np.random.Generator, base_um: float) -> Floats:
    """A tail as it should be, [TAIL_POINTS, 2]."""
    return np.asarray(tail_shape(rng, rng.uniform(0, 2 * np.pi, 1), base_um, beating=True)[0])


def tail(rng: np.random.Generator, base_um: float) -> Floats:
    """A tail of one of the forms of `TAILS`, [TAIL_POINTS, 2]."""
    form = TAILS[int(rng.integers(len(TAILS)))]
    share = np.linspace(0, 1, TAIL_POINTS)
    if form == "stump":
        return np.column_stack([-base_um - rng.uniform(0.8, 2.0) * share, 0.2 * share])
    side = rng.choice([-1.0, 1.0])
    if form == "coiled":
        turns, radius = rng.uniform(1.4, 2.2), rng.uniform(1.1, 1.6)
        turn, out = 2 * np.pi * turns * share, radius * (0.35 + 0.65 * share)
        return np.column_stack([-base_um - radius + out * np.cos(turn), side * out * np.sin(turn)])
    knee, angle = rng.uniform(0.8, 2.2), side * rng.uniform(1.6, 2.5)
    along = 26.0 * share
    after = np.clip(along - knee, 0, None)
    return np.column_stack([-base_um - np.minimum(along, knee) - after * np.cos(angle), after * np.sin(angle)])
