"""A chamber under the microscope, simulated: who is where in every frame.

The world is a torus somewhat larger than the frame: whoever leaves on one side comes back on the other, out of sight,
and as somebody new (a new track), so that the frame stays equally crowded for any length of recording.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.synthetic.look import Look
from tasks.synthetic.motion import Floats, Motion, SwimmerKind, draw_motion, path
from tasks.synthetic.shapes import IMPURITY_KINDS, head_outline, impurity_outline, tail_shape

MARGIN_UM = 52.0
"""Unseen border of the world: longer than a tail, so that nobody appears or vanishes in sight."""

MOTILE_MIX: dict[SwimmerKind, float] = {"linear": 0.62, "circular": 0.22, "hyperactivated": 0.16}


@dataclass(frozen=True)
class SceneSpec:
    """What to simulate.

    Attributes:
        width_px: Of the frame.
        height_px: Of the frame.
        um_per_px: Calibration; lengths and speeds scale with it.
        times_s: Presentation time of every frame, ascending, [n].
        look: The donor's look.
    """

    width_px: int
    height_px: int
    um_per_px: float
    times_s: Floats
    look: Look


@dataclass(frozen=True)
class Body:
    """One object over all n frames. Pixels are continuous: (0, 0) is the frame's top left corner, not a pixel's centre.

    Attributes:
        label: 'sperm' or 'impurity'.
        kind: How it swims, or which kind of impurity it is.
        motion: Its path's numbers; impurities have an immotile one.
        outline_px: [k, 2] of the head or impurity in its own frame, x forward.
        centre_px: [n, 2] in the frame, stage drift included.
        sample_um: [n, 2] on the sample, without stage drift and never wrapped.
        angle_rad: [n], direction of its x axis.
        breadth: [n], factor on the outline's y: a rolling head turns its edge to us.
        visit: [n], changes each time it wraps around the world.
        tail_px: [n, m, 2] in its own frame, or None.
        depth: Distance from the focal plane, arbitrary units, 0 = in focus.
        darkness: Factor on the look's contrast.
        texture_seed: For what its inside looks like.
    """

    label: str
    kind: str
    motion: Motion
    outline_px: Floats
    centre_px: Floats
    sample_um: Floats
    angle_rad: Floats
    breadth: Floats
    visit: NDArray[np.int64]
    tail_px: Floats | None
    depth: float
    darkness: float
    texture_seed: int


@dataclass(frozen=True)
class Scene:
    """Everything a renderer and the ground truth need. `drift_px` is [n, 2], `world_px` the torus's (width, height)."""

    spec: SceneSpec
    bodies: tuple[Body, ...]
    drift_px: Floats
    world_px: tuple[float, float]
    margin_px: float
    seed: int


def simulate(spec: SceneSpec, seed: int) -> Scene:
    """Simulate a recording. The same `spec` and `seed` give the same scene."""
    rng = np.random.default_rng([seed, 1])
    margin_px = MARGIN_UM / spec.um_per_px
    world = np.array([spec.width_px + 2 * margin_px, spec.height_px + 2 * margin_px])
    crowding = float(world.prod()) / (spec.width_px * spec.height_px)
    sperm, impurities = (round(mean * crowding) for mean in (spec.look.sperm, spec.look.impurities))
    drift_px = _drift_px(spec, rng)
    starts = _spread(sperm + impurities, world, rng)
    order = rng.permutation(sperm + impurities)
    bodies = []
    for number, start in enumerate(starts[order]):
        body = _sperm if number < sperm else _impurity
        kind_rank = (number + 0.5) / max(sperm, 1)
        bodies.append(body(spec, start, drift_px, world, margin_px, kind_rank, rng))
    return Scene(spec, tuple(bodies), drift_px, (float(world[0]), float(world[1])), margin_px, seed)


def swimmer_kind(rank: float, motile: float) -> SwimmerKind:
    """The kind of the swimmer at `rank` (0-1) of a population: exact shares, so that a small one is no outlier."""
    if rank >= motile:
        return "immotile"
    reached = 0.0
    for kind, share in MOTILE_MIX.items():
        reached += share * motile
        if rank < reached:
            return kind
    return "hyperactivated"


def _sperm(
    spec: SceneSpec, start: Floats, drift: Floats, world: Floats, margin: float, rank: float, rng: np.random.Generator
) -> Body:
    kind = swimmer_kind(rank, spec.look.motile)
    motion = draw_motion(kind, rng)
    swim = path(motion, spec.times_s)
    outline_um = head_outline(rng)
    beating = kind != "immotile"
    tail_um = tail_shape(rng, swim.beat_rad, 0.92 * float(outline_um[:, 0].max()), beating)
    roll = np.sin(np.pi * motion.beat_hz * 0.5 * spec.times_s + motion.phase_rad) if beating else 0 * spec.times_s
    centre, visit = _in_frame(start + swim.head_um / spec.um_per_px + drift, world, margin)
    return Body(
        label="sperm",
        kind=kind,
        motion=motion,
        outline_px=outline_um / spec.um_per_px,
        centre_px=centre,
        sample_um=start * spec.um_per_px + swim.head_um,
        angle_rad=swim.heading_rad + swim.yaw_rad,
        breadth=1 - 0.2 * roll**2,
        visit=visit,
        tail_px=tail_um / spec.um_per_px,
        depth=float(np.clip(rng.normal(0, 0.8), -2, 2)),
        darkness=float(rng.uniform(0.85, 1.1)),
        texture_seed=int(rng.integers(2**31)),
    )


def _impurity(
    spec: SceneSpec, start: Floats, drift: Floats, world: Floats, margin: float, _rank: float, rng: np.random.Generator
) -> Body:
    kind = IMPURITY_KINDS[rng.choice(3, p=(0.45, 0.35, 0.2))]
    motion = draw_motion("immotile", rng)
    swim = path(motion, spec.times_s)
    centre, visit = _in_frame(start + swim.head_um / spec.um_per_px + drift, world, margin)
    return Body(
        label="impurity",
        kind=kind,
        motion=motion,
        outline_px=impurity_outline(kind, rng) / spec.um_per_px,
        centre_px=centre,
        sample_um=start * spec.um_per_px + swim.head_um,
        angle_rad=np.full(len(spec.times_s), motion.heading_rad),
        breadth=np.ones(len(spec.times_s)),
        visit=visit,
        tail_px=None,
        depth=float(np.clip(rng.normal(0, 0.6), -1.5, 1.5)),
        darkness=float(rng.uniform(0.8, 1.1)),
        texture_seed=int(rng.integers(2**31)),
    )


def _drift_px(spec: SceneSpec, rng: np.random.Generator) -> Floats:
    """Stage drift at every frame, [n, 2]: steady creep and a slow swing of a micrometre."""
    creep = np.outer(spec.times_s, spec.look.drift_um_s)
    moving = float(np.any(spec.look.drift_um_s))
    swing_hz, phase = rng.uniform(0.05, 0.2, 2), rng.uniform(0, 2 * np.pi, 2)
    swing = np.sin(2 * np.pi * np.outer(spec.times_s, swing_hz) + phase) - np.sin(phase)
    return np.asarray((creep + moving * swing) / spec.um_per_px)


def _spread(count: int, world: Floats, rng: np.random.Generator) -> Floats:
    """Start positions [count, 2], kept apart by taking the loneliest of several candidates (Mitchell 1991)."""
    points = np.empty((count, 2))
    for number in range(count):
        candidates = rng.uniform(0, 1, (8, 2)) * world
        apart = np.abs(candidates[:, None] - points[None, :number])
        apart = np.minimum(apart, world - apart)
        distance = (apart**2).sum(axis=-1).min(axis=1, initial=np.inf)
        points[number] = candidates[int(distance.argmax())]
    return points


def _in_frame(position: Floats, world: Floats, margin: float) -> tuple[Floats, NDArray[np.int64]]:
    turns = np.floor(position / world).astype(np.int64)
    moved = np.any(np.diff(turns, axis=0, prepend=turns[:1]) != 0, axis=1)
    return np.asarray(position - turns * world - margin), np.cumsum(moved)
