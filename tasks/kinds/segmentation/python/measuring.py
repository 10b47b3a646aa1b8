"""A fold's model on pictures: the numbers of a line's report, and pictures of where it is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.kind import Object
from tasks.kinds.segmentation.dataset import CellDataset, LabelledPicture
from tasks.kinds.segmentation.instances import Instances
from tasks.metrics import masks
from tasks.metrics.judgement import measured
from tasks.schemas import Split

SHOWN = 8
"""Pictures drawn of a fold: those with the most errors."""
_LABELLED, _PREDICTED = (255, 0, 200), (0, 255, 80)
"""Colours of outlines, RGB."""


def measure(weights: Path, data: Path, split: Split, drawn: Path) -> dict[str, Any]:
    """Predict the pictures of a split, and compare with their labels.

    Args:
        weights: Of the fold.
        data: Its dataset.
        split: Which pictures.
        drawn: Folder that gets the pictures with the most errors: what is labelled in magenta, what is found in green.

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
    _draw(dataset, pictures, labelled, outputs, judgement.errors, values["score_threshold"], data.parent, drawn)
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
    dataset: CellDataset, pictures: Sequence[LabelledPicture], labelled: Sequence[Sequence[Object]],
    outputs: Sequence[Instances], errors: NDArray[np.float64], threshold: float, root: Path, folder: Path,
) -> None:  # fmt: skip
    import cv2

    folder.mkdir(parents=True, exist_ok=True)
    for rank, i in enumerate(np.argsort(-errors, kind="stable")[:SHOWN].tolist(), 1):
        shown = _as_rgb(dataset.picture(root, pictures[i]))
        found = outputs[i]
        sure = [text for text, score in zip(found.masks, found.scores, strict=True) if score >= threshold]
        for texts, colour in (([item["mask"] for item in labelled[i]], _LABELLED), (sure, _PREDICTED)):
            for text in texts:
                mask = masks.decode(text, found.height_px, found.width_px).astype(np.uint8)
                outline, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
                cv2.drawContours(shown, outline, -1, colour, 1)
        name = Path(pictures[i].file).stem
        cv2.imwrite(str(folder / f"{rank:02d}-{name}-{round(errors[i])}-errors.png"), shown[:, :, ::-1])


def _as_rgb(picture: NDArray[Any]) -> NDArray[np.uint8]:
    """A picture of any depth to look at: its 1st to 99th percentile from dark to bright."""
    low, high = np.percentile(picture, (1, 99))
    grey = np.clip((picture.astype(np.float32) - low) / max(float(high - low), 1e-6), 0, 1) * 255
    return np.array(np.broadcast_to(grey.astype(np.uint8), (*picture.shape[:2], 3)))
