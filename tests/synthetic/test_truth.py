"""Boxes and tracks against what is really drawn."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tasks.synthetic.recordings import make_scene
from tasks.synthetic.render import Renderer
from tasks.synthetic.scene import Scene
from tasks.synthetic.truth import VISIBLE_SHARE, body_boxes, ground_truth

SIZE = (512, 384)
CLEAN = {
    "noise": 0.0, "flicker": 0.0, "mottle": 0.0, "vignette": 0.0, "gradient": (0.0, 0.0), "specks": 0.0, "halo": 0.0,
    "level": 200.0, "contrast": 100.0, "blur_px": 0.5, "depth_px": 0.0,
}  # fmt: skip


def _scene(**look: object) -> Scene:
    pts_s = np.arange(30) / 25
    return make_scene(
        seed=5, number=1, pts_s=pts_s, width_px=SIZE[0], height_px=SIZE[1], um_per_px=0.4, look=CLEAN | look
    )


def _alone(scene: Scene, number: int) -> Scene:
    body = scene.bodies[number]
    lone = type(body)(**{**vars(body), "tail_px": None, "depth": 0.0, "darkness": 1.0})
    return type(scene)(**{**vars(scene), "bodies": (lone,)})


@pytest.mark.parametrize("label", ["sperm", "impurity"])
def test_boxes_match_the_drawn_pixels(label: str) -> None:
    scene = _scene(impurities=12.0)
    empty = Renderer(type(scene)(**{**vars(scene), "bodies": ()}))
    checked = 0
    for number, body in enumerate(scene.bodies):
        x0, y0, x1, y1 = body_boxes(body)[10]
        if body.label != label or x0 < 2 or y0 < 2 or x1 > SIZE[0] - 2 or y1 > SIZE[1] - 2:
            continue
        lone = _alone(scene, number)
        (box,) = ground_truth(lone).boxes[10]
        drawn = np.abs(Renderer(lone).frame(10).astype(int) - empty.frame(10))
        rows, columns = np.nonzero(drawn > 0.35 * drawn.max())
        found = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        truth = np.array([box.x_px, box.y_px, box.x_px + box.width_px, box.y_px + box.height_px])
        assert np.abs(found - truth).max() <= 1.0, (body.kind, found, truth)
        checked += 1
    assert checked >= 5


def test_heads_are_as_large_as_heads() -> None:
    truth = ground_truth(_scene())
    longest = [max(b.width_px, b.height_px) for boxes in truth.boxes for b in boxes if b.label == "sperm"]
    assert 9 <= np.median(longest) <= 16


def test_boxes_lie_inside_the_frame_and_at_least_half_is_seen() -> None:
    scene = _scene()
    truth = ground_truth(scene)
    for boxes in truth.boxes:
        for box in boxes:
            assert box.x_px >= 0 <= box.y_px
            assert box.x_px + box.width_px <= SIZE[0] + 1e-9
            assert box.y_px + box.height_px <= SIZE[1] + 1e-9
            assert box.width_px > 3 < box.height_px
    # The rule again, spelled out: count the bodies that are seen at least by half.
    for frame in (0, 15, 29):
        x0, y0, x1, y1 = np.array([body_boxes(body)[frame] for body in scene.bodies]).T
        seen = np.clip(np.minimum(x1, SIZE[0]) - np.maximum(x0, 0), 0, None)
        seen *= np.clip(np.minimum(y1, SIZE[1]) - np.maximum(y0, 0), 0, None)
        assert len(truth.boxes[frame]) == int((seen >= VISIBLE_SHARE * (x1 - x0) * (y1 - y0)).sum())


def test_tracks_and_boxes_say_the_same() -> None:
    truth = ground_truth(_scene())
    assert [track.track_id for track in truth.trajectories] == list(range(1, len(truth.trajectories) + 1))
    in_boxes = {(i, box.track_id, box.label) for i, boxes in enumerate(truth.boxes) for box in boxes}
    in_tracks = {(int(i), track.track_id, track.label) for track in truth.trajectories for i in track.frame_index}
    assert in_boxes == in_tracks
    assert len(in_boxes) == sum(len(boxes) for boxes in truth.boxes)
    first_seen = [int(track.frame_index[0]) for track in truth.trajectories]
    assert first_seen == sorted(first_seen)


def test_trajectories_hold_the_kinematics_they_state() -> None:
    times_s = np.arange(600) / 200
    scene = make_scene(seed=2, number=1, pts_s=times_s, width_px=640, height_px=480, um_per_px=0.4)
    sperm = [track for track in ground_truth(scene).trajectories if track.label == "sperm" and track.kinematics]
    whole = [track for track in sperm if len(track.frame_index) == len(times_s)]
    assert len(whole) >= 5
    for track in whole:
        assert track.kinematics is not None
        vcl = np.linalg.norm(np.diff(track.sample_um, axis=0), axis=1).sum() / times_s[-1]
        assert vcl == pytest.approx(track.kinematics.vcl_um_s, rel=0.02, abs=0.02)
        assert track.kinematics.vcl_um_s >= track.kinematics.vap_um_s >= track.kinematics.vsl_um_s


def test_impurities_have_no_kinematics_and_no_tail() -> None:
    scene = _scene()
    assert all(body.tail_px is None for body in scene.bodies if body.label == "impurity")
    assert all(track.kinematics is None for track in ground_truth(scene).trajectories if track.label == "impurity")


def test_boxes_turn_into_annotation_objects() -> None:
    box = ground_truth(_scene()).boxes[0][0]
    assert set(box.as_object()) == {"label", "x_px", "y_px", "width_px", "height_px"}


def test_heads_have_a_bright_fringe() -> None:
    scene = _scene(halo=0.8, noise=0.0)
    number = next(
        i for i, body in enumerate(scene.bodies)
        if body.label == "sperm" and 30 < body.centre_px[0, 0] < 480 and 30 < body.centre_px[0, 1] < 350
    )  # fmt: skip
    frame = Renderer(_alone(scene, number)).frame(0)
    x, y = scene.bodies[number].centre_px[0]
    patch = cv2.getRectSubPix(frame, (41, 41), (x - 0.5, y - 0.5)).astype(int)
    assert patch.min() < 140 and patch.max() > 205
