"""Objects of another frame, pasted where they cover nothing."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from ultralytics.utils.instance import Instances

from tasks.kinds.detection.copy_paste import CopyPaste


def frame(
    objects: list[tuple[float, float, float, float]], ground: int, bright: int, side: int = 100
) -> dict[str, Any]:
    """A frame as ultralytics' dataset gives it: centre and size as shares; objects brighter than the ground."""
    image = np.full((side, side, 3), ground, np.uint8)
    for x, y, width, height in objects:
        image[int(y - height / 2) : int(y + height / 2), int(x - width / 2) : int(x + width / 2)] = bright
    boxes = np.array(objects, np.float32).reshape(-1, 4) / side
    return {
        "img": image, "cls": np.arange(len(objects), dtype=np.float32).reshape(-1, 1),
        "instances": Instances(boxes, np.zeros((0, 1000, 2), np.float32), bbox_format="xywh", normalized=True),
    }  # fmt: skip


class Frames:
    """A dataset of one frame."""

    def __init__(self, objects: list[tuple[float, float, float, float]], side: int = 100) -> None:
        self.objects, self.side = objects, side

    def __len__(self) -> int:
        return 1

    def get_image_and_label(self, _: int) -> dict[str, Any]:
        return frame(self.objects, 40, 140, self.side)


THREE = [(20.0, 20.0, 10.0, 10.0), (50.0, 50.0, 16.0, 8.0), (80.0, 80.0, 12.0, 12.0)]


@pytest.mark.parametrize(("share", "pasted"), [(1.0, 3), (0.34, 1), (0.0, 0)])
def test_it_pastes_a_share_of_the_other_frames_objects(share: float, pasted: int) -> None:
    random.seed(0)
    found = CopyPaste(Frames(THREE), share)(frame([(30.0, 70.0, 20.0, 20.0)], 90, 200))
    assert len(found["instances"].bboxes) == len(found["cls"]) == 1 + pasted
    assert found["instances"].bboxes[0].tolist() == pytest.approx([20, 60, 40, 80]), "what was there stays"


def test_boxes_hold_what_was_pasted_and_nothing_else_changes() -> None:
    random.seed(1)
    before = frame([(30.0, 70.0, 20.0, 20.0)], 90, 200)["img"]
    found = CopyPaste(Frames(THREE), 1.0)(frame([(30.0, 70.0, 20.0, 20.0)], 90, 200))
    outside = np.ones((100, 100), bool)
    pasted = zip(found["instances"].bboxes[1:].astype(int), found["cls"][1:], strict=True)
    for (left, top, right, bottom), name in pasted:
        outside[top:bottom, left:right] = False
        assert (right - left, bottom - top) == THREE[int(name[0])][2:], "its own class and size"
        assert found["img"][(top + bottom) // 2, (left + right) // 2, 0] > 150, "the object itself"
    assert np.array_equal(found["img"][outside], before[outside])


def test_an_object_keeps_its_contrast_on_another_ground() -> None:
    """Here 100 brighter than the 40 around it; the frame it comes into is 90, so it becomes 190."""
    random.seed(2)
    found = CopyPaste(Frames(THREE[:1]), 1.0)(frame([], 90, 0))
    left, top, right, bottom = found["instances"].bboxes[0].astype(int)
    assert (found["img"][top + 2 : bottom - 2, left + 2 : right - 2] == 190).all()
    assert found["img"].max() == 190 and found["img"].min() == 90


@pytest.mark.parametrize("corner", [(5.0, 5.0), (95.0, 95.0), (5.0, 95.0), (50.0, 5.0)])
def test_objects_at_the_edge_have_surroundings_too(corner: tuple[float, float]) -> None:
    random.seed(3)
    found = CopyPaste(Frames([(*corner, 10.0, 10.0)]), 1.0)(frame([], 90, 0))
    assert found["img"].max() == 190


def test_nothing_is_covered() -> None:
    everything = [(50.0, 50.0, 100.0, 100.0)]
    for seed in range(5):
        random.seed(seed)
        found = CopyPaste(Frames(THREE), 1.0)(frame(everything, 90, 200))
        assert len(found["cls"]) == 1


@pytest.mark.parametrize("objects", [[(50.0, 50.0, 0.2, 0.2)], [(150.0, 150.0, 300.0, 300.0)]])
def test_what_is_thinner_than_a_pixel_or_larger_than_the_frame_is_left_out(objects: list[Any]) -> None:
    side = 300 if objects[0][2] > 100 else 100
    found = CopyPaste(Frames(objects, side), 1.0)(frame([], 90, 200))
    assert len(found["cls"]) == 0 and found["instances"].bboxes.shape == (0, 4)


def test_the_same_seed_pastes_the_same() -> None:
    def once() -> Any:
        random.seed(7)
        return CopyPaste(Frames(THREE), 0.7)(frame([(30.0, 70.0, 20.0, 20.0)], 90, 200))

    assert np.array_equal(once()["img"], once()["img"])
    assert np.array_equal(once()["instances"].bboxes, once()["instances"].bboxes)
