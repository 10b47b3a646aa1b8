"""Make the example data again: `python examples/make.py`, from the checkout's folder.

Simulated, from one seed: recordings of swimming sperm of three donors, each with labels in another format, and a folder
of pictures of a fourth. With the versions that `uv.lock` pins the files are the same bytes; with another encoder,
videos and pictures are nearly the same.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import cv2

from tasks.synthetic import make_recordings
from tasks.synthetic.labels import frame_name, write_coco, write_voc, write_yolo
from tasks.synthetic.recordings import SyntheticRecording

HERE = Path(__file__).resolve().parent
SEED = 8
FRAMES = 16
LABEL_EVERY = 2
PICTURES = (0, 4, 8, 12)
SIZE = {"width_px": 256, "height_px": 192, "fps_hz": 8.0, "um_per_px": 0.35}
DENSITY = {"sperm_per_frame": (10.0, 13.0), "impurities_per_frame": (2.0, 3.0)}
LOOK = {"noise": 0.8}
"""Less grain than the demo has: grain does not compress."""


def make(folder: Path) -> None:
    """Write `recordings/`, `pictures/` and `labels/` into a folder; what was there of these goes."""
    for name in ("recordings", "pictures", "labels"):
        shutil.rmtree(folder / name, ignore_errors=True)
    recordings = make_recordings(folder / "recordings", count=4, seed=SEED, frames=FRAMES, **SIZE, **DENSITY, look=LOOK)
    labels = folder / "labels"
    write_voc(recordings[0], labels / "voc", every=LABEL_EVERY)
    write_yolo(recordings[1], labels / "yolo", every=LABEL_EVERY)
    write_coco(recordings[2], labels / "coco", every=LABEL_EVERY)
    _make_pictures(recordings[3], folder)


def _make_pictures(recording: SyntheticRecording, folder: Path) -> None:
    """Turn the last recording into a folder of pictures with YOLO labels, named as the pictures are."""
    pictures = folder / "pictures" / recording.stem
    pictures.mkdir(parents=True)
    write_yolo(recording, folder / "labels" / "pictures", every=LABEL_EVERY)
    video = cv2.VideoCapture(str(recording.path))
    for index in range(recording.frames):
        _, frame = video.read()
        if index in PICTURES:
            cv2.imwrite(
                str(pictures / f"{frame_name(recording.stem, index)}.jpg"), frame, [cv2.IMWRITE_JPEG_QUALITY, 85]
            )
    for path in (folder / "labels" / "pictures").glob(f"{recording.stem}_*.txt"):
        if int(path.stem.rpartition("_")[2]) not in PICTURES:
            path.unlink()
    recording.path.unlink()


if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "swim")
