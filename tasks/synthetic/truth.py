"""The ground truth of a scene: boxes with track ids, and trajectories.

**What is labelled**: a head or an impurity in every frame where at least half of its bounding box's area lies inside.
The box is that of its outline (no halo, no tail), clipped to the frame. Specks too small to be labelled are not bodies.
Boxes are continuous pixels: the frame spans 0..width_px and 0..height_px, and pixel (0, 0) covers 0..1.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.synthetic.motion import Floats, Kinematics, kinematics
from tasks.synthetic.scene import Body, Scene

CLASSES = ("sperm", "impurity")
VISIBLE_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class TrackedBox:
    """One labelled object of one frame. Pixels from the frame's top left corner."""

    label: str
    track_id: int
    x_px: float
    y_px: float
    width_px: float
    height_px: float

    def as_object(self) -> dict[str, object]:
        """As an annotation of a detection line keeps it: without the track id."""
        return {name: value for name, value in asdict(self).items() if name != "track_id"}


@dataclass(frozen=True)
class Trajectory:
    """One track: an object from its first to its last labelled frame.

    Attributes:
        track_id: From 1, in order of first appearance.
        label: 'sperm' or 'impurity'.
        kind: How it swims, or which kind of impurity it is.
        frame_index: [n] 0-based frames in which it is labelled; gaps where it was out of sight.
        pts_s: [n] presentation times.
        centre_px: [n, 2] of the whole, unclipped head in the frame: what a tracker sees, stage drift included.
        sample_um: [n, 2] on the sample: without stage drift, what kinematics are of.
        kinematics: The exact ones between first and last labelled frame; None for impurities and single frames.
    """

    track_id: int
    label: str
    kind: str
    frame_index: NDArray[np.int64]
    pts_s: Floats
    centre_px: Floats
    sample_um: Floats
    kinematics: Kinematics | None


@dataclass(frozen=True)
class Truth:
    """`boxes[frame]` are the labelled objects of a frame, by track id; `trajectories` all tracks by id."""

    boxes: tuple[tuple[TrackedBox, ...], ...]
    trajectories: tuple[Trajectory, ...]


def ground_truth(scene: Scene) -> Truth:
    """Derive boxes and trajectories from a scene, by the rule in the module's docstring."""
    spec = scene.spec
    frame = np.array([spec.width_px, spec.height_px], dtype=np.float64)
    found: list[tuple[int, int, Body, Floats, NDArray[np.int64]]] = []
    for number, body in enumerate(scene.bodies):
        boxes = body_boxes(body)
        clipped = boxes.copy()
        clipped[:, :2] = np.clip(boxes[:, :2], 0, frame)
        clipped[:, 2:] = np.clip(boxes[:, 2:], 0, frame)
        seen = _area(clipped) >= VISIBLE_SHARE * _area(boxes)
        for visit in np.unique(body.visit[seen]):
            frames = np.flatnonzero(seen & (body.visit == visit))
            found.append((int(frames[0]), number, body, clipped, frames))
    found.sort(key=lambda track: track[:2])

    per_frame: list[list[TrackedBox]] = [[] for _ in spec.times_s]
    trajectories = []
    for track_id, (_, _, body, clipped, frames) in enumerate(found, start=1):
        for index in frames:
            x0, y0, x1, y1 = (float(edge) for edge in clipped[index])
            per_frame[index].append(TrackedBox(body.label, track_id, x0, y0, x1 - x0, y1 - y0))
        trajectories.append(_trajectory(track_id, body, frames, spec.times_s))
    return Truth(tuple(tuple(boxes) for boxes in per_frame), tuple(trajectories))


def body_boxes(body: Body) -> Floats:
    """Bounding boxes of a body's outline in every frame, not clipped: [n, 4] as x0, y0, x1, y1 px."""
    cos, sin = np.cos(body.angle_rad)[:, None], np.sin(body.angle_rad)[:, None]
    x = body.outline_px[None, :, 0]
    y = body.outline_px[None, :, 1] * body.breadth[:, None]
    points = np.stack([x * cos - y * sin, x * sin + y * cos], axis=-1) + body.centre_px[:, None]
    return np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)


def _area(boxes: Floats) -> Floats:
    return np.asarray((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))


def _trajectory(track_id: int, body: Body, frames: NDArray[np.int64], times_s: Floats) -> Trajectory:
    measurable = body.label == "sperm" and len(frames) > 1
    start_s, stop_s = float(times_s[frames[0]]), float(times_s[frames[-1]])
    return Trajectory(
        track_id=track_id,
        label=body.label,
        kind=body.kind,
        frame_index=frames.astype(np.int64),
        pts_s=times_s[frames],
        centre_px=body.centre_px[frames],
        sample_um=body.sample_um[frames],
        kinematics=kinematics(body.motion, start_s, stop_s) if measurable else None,
    )
