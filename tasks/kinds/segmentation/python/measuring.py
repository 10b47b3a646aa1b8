"""A fold's model on pictures: the numbers of a line's report, and pictures of where it is wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.kind import Object
from tasks.kinds.segmentation.dataset import CellDataset, LabelledPicture
from tasks.kinds.segmentation.drawing import polygons
from tasks.kinds.segmentation.instances import Instances
from tasks.metrics.judgement import measured
from tasks.schemas import Split

SHOWN = 8
"""Pictures drawn of a fold: those with the most errors."""
NO_NAME = re.compile(r"[^\w.-]+")
"""What no file is called."""
_LABELLED, _PREDICTED = (255, 0, 200), (0, 255, 80)
"""Colours of outlines, RGB."""


def measure(weights: Path, data: Path, split: Split, drawn: Path, names: Mapping[str, str]) -> dict[str, Any]:
    """Predict the pictures of a split, and compare with their labels.

    Args:
        weights: Of the fold.
        data: Its dataset.
        split: Which pictures.
        drawn: Folder that gets the pictures with the most errors: what is labelled in magenta, what is found in green.
        names: What their owner calls the pictures, by their files in the dataset.

    Returns:
        The metrics tree of a line's evaluation, at the score that the training chose on its validation split where it
        had one, else at the fixed one that stands in its weights; where they say 0, at the one of highest F1.
    """
    from tasks.metrics.segmentation import judge
    from tasks.metrics.segmentation_masks import Masks

    dataset = CellDataset.read(data)
    pictures = [picture for picture in dataset.images if picture.split == split]
    outputs, threshold = predict(weights, dataset, pictures, data.parent)
    labelled = [dataset.objects(data.parent, picture) for picture in pictures]
    sizes = [(picture.height_px, picture.width_px) for picture in pictures]
    judgement = judge(
        Masks.of(
            [i for i, found in enumerate(outputs) for _ in range(len(found))],
            [label for found in outputs for label in found.labels.tolist()],
            [text for found in outputs for text in found.masks], sizes,
            [score for found in outputs for score in found.scores.tolist()],
        ),
        Masks.of(
            [i for i, own in enumerate(labelled) for _ in own],
            [dataset.classes.index(item["label"]) for own in labelled for item in own],
            [item["mask"] for own in labelled for item in own], sizes,
        ),
        classes=dataset.classes, score_threshold=threshold,
    )  # fmt: skip
    values = measured(judgement, len(pictures))
    called = [NO_NAME.sub("-", Path(names[each.file]).with_suffix("").as_posix())[-80:] for each in pictures]
    threshold = values["score_threshold"]
    _draw(dataset, pictures, called, labelled, outputs, judgement.errors, threshold, data.parent, drawn)
    return values


def predict(
    weights: Path, dataset: CellDataset, pictures: Sequence[LabelledPicture], root: Path
) -> tuple[list[Instances], float | None]:
    """The cells of each picture, of low scores too, and the score from which they count; None: nobody chose one."""
    from tasks.kinds.segmentation.inference.predict import predict_picture
    from tasks.kinds.segmentation.predictor import MIN_SCORE, LoadedSegmenter

    model = LoadedSegmenter(weights)
    found = [
        predict_picture(model.network, model.spec, dataset.picture(root, each), MIN_SCORE, device=model.device)
        for each in pictures
    ]
    return found, float(model.spec["min_score"]) or None


def _draw(
    dataset: CellDataset, pictures: Sequence[LabelledPicture], names: Sequence[str],
    labelled: Sequence[Sequence[Object]], outputs: Sequence[Instances], errors: NDArray[np.float64], threshold: float,
    root: Path, folder: Path,
) -> None:  # fmt: skip
    import cv2

    folder.mkdir(parents=True, exist_ok=True)
    for rank, i in enumerate(np.argsort(-errors, kind="stable")[:SHOWN].tolist(), 1):
        shown = _as_rgb(dataset.picture(root, pictures[i]))
        found = outputs[i]
        sure = [text for text, score in zip(found.masks, found.scores, strict=True) if score >= threshold]
        for texts, colour in (([item["mask"] for item in labelled[i]], _LABELLED), (sure, _PREDICTED)):
            outlines = [points for text in texts for points in polygons(text, found.height_px)]
            cv2.polylines(shown, [np.floor(points).astype(np.int32) for points in outlines], True, colour)
        cv2.imwrite(str(folder / f"{rank:02d}-{names[i]}-{round(errors[i])}-errors.png"), shown[:, :, ::-1])


def _as_rgb(picture: NDArray[Any]) -> NDArray[np.uint8]:
    """A picture of any depth to look at: its 1st to 99th percentile from dark to bright."""
    low, high = np.percentile(picture, (1, 99))
    grey = np.clip((picture.astype(np.float32) - low) / max(float(high - low), 1e-6), 0, 1) * 255
    return np.array(np.broadcast_to(grey.astype(np.uint8), (*picture.shape[:2], 3)))
