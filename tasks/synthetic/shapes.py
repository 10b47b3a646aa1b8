"""Outlines of what swims and lies in the chamber, in micrometres, in the object's own frame (x points forward)."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

ImpurityKind = Literal["round_cell", "particle", "droplet"]
IMPURITY_KINDS: tuple[ImpurityKind, ...] = ("round_cell", "particle", "droplet")
Floats = NDArray[np.float64]

OUTLINE_POINTS = 64
TAIL_POINTS = 24


def head_outline(rng: np.random.Generator) -> Floats:
    """A sperm head, [OUTLINE_POINTS, 2] um: 4.4-5.6 um long, 2.7-3.5 um wide, a little narrower towards the tail.

    Normal human heads: length 3.7-4.7 um, width 2.5-3.2 um (WHO 2021, stained and thus shrunken by some 15 %).
    """
    half_length, half_width, taper = rng.uniform(2.2, 2.8), rng.uniform(1.35, 1.75), rng.uniform(0.05, 0.22)
    turn = np.linspace(0, 2 * np.pi, OUTLINE_POINTS, endpoint=False)
    along = np.cos(turn)
    return np.column_stack([half_length * along, half_width * np.sin(turn) * (1 + taper * along)])


def impurity_outline(kind: ImpurityKind, rng: np.random.Generator) -> Floats:
    """An impurity, [OUTLINE_POINTS, 2] um, centred on its bounding box.

    A round cell is 7-9.5 um across (leucocytes and immature germ cells), a droplet 3-4.5 um and circular, a particle
    3.5-7 um and irregular.
    """
    turn = np.linspace(0, 2 * np.pi, OUTLINE_POINTS, endpoint=False)
    diameter, waves, roughness = {
        "round_cell": (rng.uniform(7.0, 9.5), 2, 0.05),
        "droplet": (rng.uniform(3.0, 4.5), 2, 0.01),
        "particle": (rng.uniform(3.5, 7.0), 4, 0.36),
    }[kind]
    radius = np.full(OUTLINE_POINTS, diameter / 2)
    for wave in range(2, 2 + waves):
        radius *= 1 + roughness / wave * rng.uniform(0.3, 1.0) * np.cos(wave * turn + rng.uniform(0, 2 * np.pi))
    outline = np.column_stack([radius * np.cos(turn), radius * np.sin(turn)])
    return np.asarray(outline - (outline.min(axis=0) + outline.max(axis=0)) / 2)


def tail_shape(rng: np.random.Generator, beat_rad: Floats, base_um: float, beating: bool) -> Floats:
    """A tail at n moments, [n, TAIL_POINTS, 2] um: a sine wave that travels from head to tip and grows on its way.

    Args:
        rng: Draws length, wavelength and amplitude.
        beat_rad: Phase of the beat at each moment, [n].
        base_um: Distance of the tail's root from the head's centre.
        beating: False = a still, bent tail.
    """
    length, wavelength, amplitude = rng.uniform(36, 46), rng.uniform(22, 32), rng.uniform(2.5, 4.5)
    bend = rng.uniform(-1, 1) * (0.0025 if beating else 0.012)
    along = np.linspace(0, length, TAIL_POINTS)
    envelope = amplitude * (along / length) ** 0.8 * (1.0 if beating else 0.4)
    phase = beat_rad[:, None] if beating else np.full((len(beat_rad), 1), rng.uniform(0, 2 * np.pi))
    wave = envelope * (np.sin(phase - 2 * np.pi * along / wavelength) - np.sin(phase) * np.exp(-along / 4.0))
    # A travelling wave leaves less room along the axis than the tail is long.
    return np.stack([np.broadcast_to(-base_um - 0.93 * along, wave.shape), wave + bend * along**2], axis=-1)
