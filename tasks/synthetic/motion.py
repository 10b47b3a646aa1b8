"""How a sperm swims: the path of its head, in micrometres, at any moment.

A head runs along a smooth *average path* (speed VAP, slowly changing heading) and sways across it sinusoidally, once
to each side per flagellar beat:

    head(t) = path(t) + A sin(2 pi f t + phase) * normal(t)

With these, the quantities of computer-aided sperm analysis (CASA) are known exactly, not estimated from frames.
Definitions: Mortimer, "Practical Laboratory Andrology" (1994); WHO laboratory manual, 6th edition (2021):

- VAP: length of the average path over time; VSL: its end-to-end distance over time; VCL: length of the head's own path.
- ALH: full width of the sway, 2 A. BCF: crossings of the average path per second, 2 f.
- LIN = VSL / VCL, STR = VSL / VAP, WOB = VAP / VCL.

For a straight average path the head's speed is sqrt(VAP^2 + (2 pi f A cos)^2) and VCL is its mean over a beat. A video
that samples few times per beat sees less than this VCL: the truth here does not depend on the frame rate.

Ranges, human at 37 degrees C. Progressive: VCL 35-130, VAP 25-70 um/s, ALH 1.5-5 um, BCF 8-18 Hz (as reported in the
CASA literature reviewed by Mortimer 2000, J Androl 21:515). Hyperactivated: VCL >= 150 um/s, LIN <= 0.5, ALH >= 7 um
(Mortimer, Swan and Mortimer 1998, Hum Reprod 13:1139). Circular: average path of 10-30 um radius. Immotile: under
1 um/s, thermal motion only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

SwimmerKind = Literal["linear", "circular", "hyperactivated", "immotile"]
SWIMMER_KINDS: tuple[SwimmerKind, ...] = ("linear", "circular", "hyperactivated", "immotile")
Floats = NDArray[np.float64]

STEP_S = 1 / 200
"""Integration step of the average path: far below its fastest turn, and independent of the frame rate."""


@dataclass(frozen=True)
class Kinematics:
    """What an ideal CASA system would measure. Speeds in um/s, ALH in um, BCF in Hz, ratios 0-1."""

    vcl_um_s: float
    vap_um_s: float
    vsl_um_s: float
    alh_um: float
    bcf_hz: float

    @property
    def lin(self) -> float:
        """Linearity, VSL / VCL."""
        return self.vsl_um_s / self.vcl_um_s if self.vcl_um_s else 0.0

    @property
    def str(self) -> float:
        """Straightness, VSL / VAP."""
        return self.vsl_um_s / self.vap_um_s if self.vap_um_s else 0.0

    @property
    def wob(self) -> float:
        """Wobble, VAP / VCL."""
        return self.vap_um_s / self.vcl_um_s if self.vcl_um_s else 0.0


@dataclass(frozen=True)
class Motion:
    """The numbers one swimmer's path follows from.

    Attributes:
        kind: How it swims.
        speed_um_s: Along the average path.
        turn_rad_s: Constant turning rate of the average path.
        sway_um: A, half of ALH.
        beat_hz: f, half of BCF; also the frequency of the tail's wave.
        phase_rad: Of the beat.
        heading_rad: At t = 0.
        wander: Rows of (amplitude rad, frequency Hz, phase rad): slow changes of heading.
        tremble: Rows of (amplitude um, frequency Hz, phase rad) for x, then as many for y: thermal motion.
    """

    kind: SwimmerKind
    speed_um_s: float
    turn_rad_s: float
    sway_um: float
    beat_hz: float
    phase_rad: float
    heading_rad: float
    wander: Floats
    tremble: Floats


@dataclass(frozen=True)
class Path:
    """A motion at n moments: head and average path [n, 2] um from the start, angles [n] rad."""

    head_um: Floats
    average_um: Floats
    heading_rad: Floats
    beat_rad: Floats
    yaw_rad: Floats


def draw_motion(kind: SwimmerKind, rng: np.random.Generator) -> Motion:
    """Draw a swimmer of a kind from the ranges in the module's docstring."""
    uniform = rng.uniform
    speed, turn, sway, beat, wander_rad, wander_hz = 0.0, 0.0, 0.0, 0.0, 0.0, 0.3
    if kind == "linear":
        speed, sway, beat = uniform(28, 62), uniform(0.8, 2.2), uniform(4.5, 8.5)
        wander_rad = 0.12
    elif kind == "circular":
        speed, sway, beat = uniform(30, 60), uniform(0.8, 2.0), uniform(4.5, 8.5)
        turn = speed / uniform(10, 30) * rng.choice((-1.0, 1.0))
        wander_rad = 0.06
    elif kind == "hyperactivated":
        speed, sway, beat = uniform(35, 65), uniform(4.8, 6.2), uniform(7.0, 8.5)
        wander_rad, wander_hz = 0.7, 0.9
    waves = 3
    wander = np.column_stack(
        [
            wander_rad * uniform(0.6, 1.4, waves),
            wander_hz * uniform(0.4, 1.4, waves),
            uniform(0, 2 * np.pi, waves),
        ]
    )
    tremble = np.column_stack(
        [uniform(0.01, 0.04, 2 * waves), uniform(0.2, 1.2, 2 * waves), uniform(0, 2 * np.pi, 2 * waves)]
    )
    return Motion(
        kind=kind,
        speed_um_s=float(speed),
        turn_rad_s=float(turn),
        sway_um=float(sway),
        beat_hz=float(beat),
        phase_rad=float(uniform(0, 2 * np.pi)),
        heading_rad=float(uniform(0, 2 * np.pi)),
        wander=wander,
        tremble=tremble,
    )


def path(motion: Motion, times_s: Floats) -> Path:
    """Where the swimmer is at each of `times_s` [n], which must not be negative; the start (t = 0) is the origin."""
    grid_s = np.arange(0.0, float(times_s[-1]) + 2 * STEP_S, STEP_S, dtype=np.float64)
    heading = _heading(motion, grid_s)
    velocity = motion.speed_um_s * np.column_stack([np.cos(heading), np.sin(heading)])
    steps = (velocity[1:] + velocity[:-1]) * (STEP_S / 2)
    along = np.vstack([np.zeros((1, 2)), np.cumsum(steps, axis=0)])
    average = np.column_stack([np.interp(times_s, grid_s, along[:, axis]) for axis in (0, 1)])
    average += _tremble(motion, times_s)

    heading_now = _heading(motion, times_s)
    beat = 2 * np.pi * motion.beat_hz * times_s + motion.phase_rad
    normal = np.column_stack([-np.sin(heading_now), np.cos(heading_now)])
    head = average + motion.sway_um * np.sin(beat)[:, None] * normal
    across_um_s = 2 * np.pi * motion.beat_hz * motion.sway_um * np.cos(beat)
    # A head yaws with its sway, but by less than its velocity turns: the body is longer than the sway is wide.
    yaw = 0.4 * np.arctan2(across_um_s, motion.speed_um_s) if motion.speed_um_s else np.zeros_like(times_s)
    return Path(head, average, heading_now, beat, yaw)


def kinematics(motion: Motion, start_s: float, stop_s: float) -> Kinematics:
    """The exact kinematics of a swimmer between two moments, independent of any frame rate.

    Args:
        motion: The swimmer.
        start_s: First moment, not negative.
        stop_s: Last moment; must be later.

    Raises:
        ValueError: The interval is empty.
    """
    if stop_s <= start_s:
        raise ValueError(f"kinematics need a duration, found {start_s} to {stop_s} s")
    # Dense enough that summing chords loses under 0.1 % of the sway's arc.
    times_s: Floats = np.linspace(start_s, stop_s, max(32, int((stop_s - start_s) * 400)), dtype=np.float64)
    dense = path(motion, times_s)
    duration = stop_s - start_s
    return Kinematics(
        vcl_um_s=_length(dense.head_um) / duration,
        vap_um_s=_length(dense.average_um) / duration,
        vsl_um_s=float(np.linalg.norm(dense.average_um[-1] - dense.average_um[0])) / duration,
        alh_um=2 * motion.sway_um,
        bcf_hz=2 * motion.beat_hz,
    )


def _heading(motion: Motion, times_s: Floats) -> Floats:
    heading = motion.heading_rad + motion.turn_rad_s * times_s
    for amplitude, frequency_hz, phase in motion.wander:
        heading = heading + amplitude * np.sin(2 * np.pi * frequency_hz * times_s + phase)
    return np.asarray(heading)


def _tremble(motion: Motion, times_s: Floats) -> Floats:
    waves = motion.tremble[:, 0] * np.sin(2 * np.pi * np.outer(times_s, motion.tremble[:, 1]) + motion.tremble[:, 2])
    half = len(motion.tremble) // 2
    return np.column_stack([waves[:, :half].sum(axis=1), waves[:, half:].sum(axis=1)])


def _length(points_um: Floats) -> float:
    return float(np.linalg.norm(np.diff(points_um, axis=0), axis=1).sum())
