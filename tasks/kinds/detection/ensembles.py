"""Several detectors in one file, and one set of boxes out of what each of them finds.

The file is a zip archive that holds the members' weights as they are, one after the other, uncompressed and without
dates: the same members make the same bytes. What is in it is read as any other weights are, and nothing of it can run.

Boxes are fused by `ensemble-boxes` (weighted boxes fusion: Solovyev, Wang and Gabruseva 2021, arXiv:1910.13302): boxes
of one class that overlap become their score-weighted mean. Its score is their mean score, times the share of members
that found it: what only one of three detectors sees is believed by a third.

This file stands alone: MLflow copies it beside the weights, and imports nothing of Nightscope.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

Boxes = npt.NDArray[np.float32]

SAME_IOU = 0.55
"""Overlap from which boxes are of one object: the paper's."""
SCORE = "box_and_model_avg"
"""Two boxes of one member, which its own suppression of doubles left, count as one member that has found it."""
_MARK = b"nightscope-ensemble"
_MOST = 100


def is_ensemble(path: Path) -> bool:
    """Whether a file may hold several detectors, by its first bytes: a zip whose first entry is called as ours are."""
    with path.open("rb") as file:
        start = file.read(30 + len(_MARK))
    return start[:4] == b"PK\x03\x04" and start[30:] == _MARK


def write(members: Sequence[Path], target: Path) -> Path:
    """Put some detectors' weights into one file."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for number, path in enumerate(members, 1):
            entry = zipfile.ZipInfo(f"{_MARK.decode()}/{number:02d}.pt", (1980, 1, 1, 0, 0, 0))
            archive.writestr(entry, path.read_bytes())
    return target


def unpack(path: Path, folder: Path) -> list[Path]:
    """Write the members' weights into a folder, in their order.

    Raises:
        ValueError: The file holds something else, or is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            wanted = [f"{_MARK.decode()}/{number:02d}.pt" for number in range(1, len(entries) + 1)]
            stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
            if [entry.filename for entry in entries] != wanted or not 0 < len(entries) <= _MOST or not stored:
                raise ValueError(f"{path.name}: is no file of several detectors")
            members = []
            for number, entry in enumerate(entries, 1):
                members.append(folder / f"member_{number:02d}.pt")
                members[-1].write_bytes(archive.read(entry))
            return members
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path.name}: {error}") from error


def fuse(found: Sequence[Boxes], height: int, width: int) -> Boxes:
    """One set of boxes out of what several detectors found in one image.

    Args:
        found: Of each detector float32 [n, 6]: x1, y1, x2, y2 in pixels, score, class index.
        height, width: Of the image, in pixels. Boxes are cut off at its edges.

    Returns:
        The same, float32 [n, 6], best score first.
    """
    from ensemble_boxes import weighted_boxes_fusion  # type: ignore[import-untyped]

    size = np.array([width, height, width, height], np.float64)
    places, scores, classes = [], [], []
    for boxes in found:
        place = (boxes[:, :4].astype(np.float64) / size).clip(0, 1)
        some = ((place[:, 2:] > place[:, :2]).all(axis=1)) & (boxes[:, 4] > 0)  # of others it warns, or divides by them
        places.append(place[some])
        scores.append(boxes[some, 4].astype(np.float64))
        classes.append(boxes[some, 5].astype(np.int64))
    place, score, label = weighted_boxes_fusion(
        places, scores, classes, iou_thr=SAME_IOU, skip_box_thr=0.0, conf_type=SCORE
    )
    fused = np.concatenate([place * size, np.stack([score, label], axis=1)], axis=1).astype(np.float32)
    return np.asarray(fused[np.argsort(-fused[:, 4], kind="stable")])
