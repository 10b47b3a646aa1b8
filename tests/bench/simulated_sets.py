"""Simulated pictures for `bench_detectors` to train a first detector on, with the classes of a real set.

Recordings of sperm and impurities, or ultrasound of fetuses; what the real set has no class for is left out.
"""

from __future__ import annotations

from pathlib import Path

import av
import cv2

from tasks.synthetic import ultrasound
from tasks.synthetic.recordings import make_recordings
from tests.bench.detector_sets import BoxedPicture, BoxedSet, Object

FRAMES, FPS_HZ = 6, 2.5
"""Of each recording: so far apart in time that its frames differ."""


def simulated(like: BoxedSet, count: int, folder: Path, seed: int) -> BoxedSet:
    """Simulated pictures, all of them to learn from.

    Args:
        like: The real set: its classes, and for recordings the size of its first picture.
        count: How many recordings, or pictures of ultrasound.
        folder: For pictures.
        seed: Everything random follows from it.

    Raises:
        SystemExit: Nothing that can be simulated has the set's classes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if "sperm" in like.classes:
        pictures = _recordings(like, count, folder, seed)
    elif "head" in like.classes:
        pictures = _fetuses(count, folder, seed)
    else:
        raise SystemExit(f"nothing can be simulated for the classes {', '.join(like.classes)}")
    own = [
        BoxedPicture(
            each.path, each.group, tuple(one for one in each.objects if one["label"] in like.classes),
            each.width_px, each.height_px,
        )
        for each in pictures
    ]  # fmt: skip
    return BoxedSet(like.classes, tuple(own), ((),))


def _recordings(like: BoxedSet, count: int, folder: Path, seed: int) -> list[BoxedPicture]:
    first = like.pictures[0]
    size = {"width_px": first.width_px // 2 * 2, "height_px": first.height_px // 2 * 2}
    pictures = []
    for made in make_recordings(folder / "videos", count=count, seed=seed, frames=FRAMES, fps_hz=FPS_HZ, **size):
        with av.open(str(made.path)) as source:
            for frame, boxes in zip(source.decode(video=0), made.boxes, strict=True):
                path = folder / f"{made.stem}_{len(pictures):06d}.png"
                cv2.imwrite(str(path), frame.to_ndarray(format="bgr24"))
                objects: tuple[Object, ...] = tuple(box.as_object() for box in boxes)
                pictures.append(BoxedPicture(path, made.donor, objects, frame.width, frame.height))
    return pictures


def _fetuses(count: int, folder: Path, seed: int) -> list[BoxedPicture]:
    pictures = []
    for number in range(1, count + 1):
        drawn = ultrasound.draw_picture(number, seed=seed)
        path = folder / f"{drawn.examination}_{number:06d}.png"
        cv2.imwrite(str(path), drawn.image)
        objects: tuple[Object, ...] = tuple(
            {"label": part.label, **dict(zip(("x_px", "y_px", "width_px", "height_px"), part.box_px, strict=True))}
            for part in drawn.parts
        )
        pictures.append(BoxedPicture(path, drawn.examination, objects, drawn.image.shape[1], drawn.image.shape[0]))
    return pictures
