"""Ground truth as label files: Pascal VOC, YOLO and COCO.

Frames are named `<stem>_<frame>`, 0-based, of at least 4 digits.
"""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

from tasks.synthetic.recordings import SyntheticRecording
from tasks.synthetic.truth import CLASSES, TrackedBox


def frame_name(stem: str, frame_index: int) -> str:
    """The name of a frame's label file, without suffix: 'swim-01_0042'."""
    return f"{stem}_{frame_index:04d}"


def write_voc(recording: SyntheticRecording, folder: Path, *, every: int = 1) -> None:
    """Write one Pascal VOC XML per frame, also for frames without objects.

    Corners are continuous pixels from the frame's top left corner with two decimals (0-based: VOC's own images start at
    pixel 1, most tools' files do not).

    Args:
        recording: Whose truth.
        folder: Where to; made if absent.
        every: Only every so many-th frame: 0, n, 2n, ...
    """
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(0, recording.frames, every):
        root = ElementTree.Element("annotation")
        _leaf(root, "folder", recording.stem)
        _leaf(root, "filename", f"{frame_name(recording.stem, index)}.png")
        size = ElementTree.SubElement(root, "size")
        for name, value in zip(("width", "height", "depth"), (recording.width_px, recording.height_px, 3), strict=True):
            _leaf(size, name, str(value))
        for box in recording.boxes[index]:
            _voc_object(root, box)
        ElementTree.indent(root)
        (folder / f"{frame_name(recording.stem, index)}.xml").write_bytes(ElementTree.tostring(root) + b"\n")


def write_yolo(recording: SyntheticRecording, folder: Path, *, every: int = 1) -> None:
    """Write one YOLO text file per frame (class index, centre, size as shares of the frame) and `classes.txt`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "classes.txt").write_text("".join(f"{name}\n" for name in CLASSES))
    width, height = recording.width_px, recording.height_px
    for index in range(0, recording.frames, every):
        lines = [
            f"{CLASSES.index(box.label)} {(box.x_px + box.width_px / 2) / width:.6f} "
            f"{(box.y_px + box.height_px / 2) / height:.6f} {box.width_px / width:.6f} {box.height_px / height:.6f}\n"
            for box in recording.boxes[index]
        ]
        (folder / f"{frame_name(recording.stem, index)}.txt").write_text("".join(lines))


def write_coco(recording: SyntheticRecording, folder: Path, *, every: int = 1) -> None:
    """Write `<stem>.json`: COCO detection, with the track id in each annotation. Image id = frame index."""
    folder.mkdir(parents=True, exist_ok=True)
    frames = range(0, recording.frames, every)
    boxes = [(index, box) for index in frames for box in recording.boxes[index]]
    document = {
        "images": [
            {
                "id": i,
                "file_name": f"{frame_name(recording.stem, i)}.png",
                "width": recording.width_px,
                "height": recording.height_px,
            }
            for i in frames
        ],
        "categories": [{"id": number, "name": name} for number, name in enumerate(CLASSES, start=1)],
        "annotations": [_coco_object(number, index, box) for number, (index, box) in enumerate(boxes, start=1)],
    }
    (folder / f"{recording.stem}.json").write_text(json.dumps(document, indent=1) + "\n")


def _voc_object(root: ElementTree.Element, box: TrackedBox) -> None:
    element = ElementTree.SubElement(root, "object")
    for name, value in (("name", box.label), ("pose", "Unspecified"), ("truncated", "0"), ("difficult", "0")):
        _leaf(element, name, value)
    corners = ElementTree.SubElement(element, "bndbox")
    for name, value_px in (
        ("xmin", box.x_px),
        ("ymin", box.y_px),
        ("xmax", box.x_px + box.width_px),
        ("ymax", box.y_px + box.height_px),
    ):
        _leaf(corners, name, f"{value_px:.2f}")


def _coco_object(number: int, index: int, box: TrackedBox) -> dict[str, object]:
    return {
        "id": number,
        "image_id": index,
        "category_id": CLASSES.index(box.label) + 1,
        "bbox": [round(value, 3) for value in (box.x_px, box.y_px, box.width_px, box.height_px)],
        "area": round(box.width_px * box.height_px, 3),
        "iscrowd": 0,
        "track_id": box.track_id,
    }


def _leaf(parent: ElementTree.Element, name: str, text: str) -> None:
    ElementTree.SubElement(parent, name).text = text
