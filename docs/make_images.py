"""Draw the README's picture of a labelled frame: `python docs/make_images.py`.

A simulated frame, its boxes, and the way each sperm swam in the last seconds. The same picture every time.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tasks.config import load_line
from tasks.synthetic.recordings import make_scene
from tasks.synthetic.render import Renderer
from tasks.synthetic.truth import TrackedBox, Trajectory, ground_truth

DOCS = Path(__file__).resolve().parent
FPS_HZ, FRAME, TRAIL = 25.0, 60, 40
SCALE = 2
SHIFT = 4


def labelled_frame() -> NDArray[np.uint8]:
    """The picture, [height, width, 3] BGR."""
    line = load_line("sperm-detector", DOCS.parent / "dags" / "lines")
    colors = {name: _bgr(spec.color or "#ffffff") for name, spec in line.classes.items()}
    scene = make_scene(
        seed=11, number=4, pts_s=np.arange(FRAME + 1) / FPS_HZ, width_px=480, height_px=300, um_per_px=0.4,
        sperm_per_frame=(15, 15), impurities_per_frame=(4, 4), look={"motile": 0.75, "contrast": 95.0, "noise": 1.1},
    )  # fmt: skip
    truth = ground_truth(scene)
    grey = cv2.resize(Renderer(scene).frame(FRAME), None, fx=SCALE, fy=SCALE, interpolation=cv2.INTER_CUBIC)
    picture = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
    boxes = truth.boxes[FRAME]
    tracks = {track.track_id: track for track in truth.trajectories}
    for box in boxes:
        _draw_trail(picture, tracks[box.track_id], colors[box.label])
    for box in boxes:
        _draw_box(picture, box, tracks[box.track_id], colors[box.label])
    _draw_legend(picture, [(name, colors[name], sum(box.label == name for box in boxes)) for name in colors])
    return np.asarray(picture, np.uint8)


def _draw_trail(picture: NDArray[np.uint8], track: Trajectory, color: tuple[int, int, int]) -> None:
    recent = track.centre_px[track.frame_index > FRAME - TRAIL]
    if track.label == "sperm" and len(recent) > 1:
        points = np.rint((recent * SCALE - 0.5) * 2**SHIFT).astype(np.int32)
        cv2.polylines(picture, [points], False, color, 1, cv2.LINE_AA, SHIFT)


def _draw_box(picture: NDArray[np.uint8], box: TrackedBox, track: Trajectory, color: tuple[int, int, int]) -> None:
    left, top = round(box.x_px * SCALE) - 2, round(box.y_px * SCALE) - 2
    right, bottom = round((box.x_px + box.width_px) * SCALE) + 2, round((box.y_px + box.height_px) * SCALE) + 2
    cv2.rectangle(picture, (left, top), (right, bottom), color, 2, cv2.LINE_AA)
    speed = f" {track.kinematics.vcl_um_s:.0f} um/s" if track.kinematics and track.kind != "immotile" else ""
    _write(picture, f"{box.track_id}{speed}", (left, max(12, top - 5)), color, 0.42)


def _draw_legend(picture: NDArray[np.uint8], entries: Sequence[tuple[str, tuple[int, int, int], int]]) -> None:
    for row, (name, color, count) in enumerate(entries):
        y = picture.shape[0] - 16 - 22 * (len(entries) - 1 - row)
        cv2.rectangle(picture, (12, y - 11), (26, y + 2), color, -1)
        _write(picture, f"{name}: {count}", (34, y), (255, 255, 255), 0.5)


def _write(
    picture: NDArray[np.uint8], text: str, at: tuple[int, int], color: tuple[int, int, int], size: float
) -> None:
    """Text that can be read on any grey: with a dark outline."""
    for thickness, ink in ((3, (20, 20, 20)), (1, tuple(min(255, round(c * 0.6 + 115)) for c in color))):
        cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, ink, thickness, cv2.LINE_AA)


def _bgr(color: str) -> tuple[int, int, int]:
    red, green, blue = (int(color[at : at + 2], 16) for at in (1, 3, 5))
    return blue, green, red


if __name__ == "__main__":
    path = DOCS / "images" / "labelled-frame.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), labelled_frame(), [cv2.IMWRITE_PNG_COMPRESSION, 9])
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")
