"""What the challenger looked at in the pictures that it got wrong: its saliency, laid over each picture.

It is made when the report is, by the model itself, and is not a part of the evaluation: no number rests on it. A kind
without saliency, a model that cannot be asked or is not in the lake any more leaves the report without overlays.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tasks.config import Line
from tasks.errors import NightscopeError
from tasks.kind import FrameView, Image, Kind, ModelRef, PictureLabel
from tasks.kind.images import read_image
from tasks.lake import Lake
from tasks.schemas import Oid

if TYPE_CHECKING:
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

_STRONGEST = 0.65
"""Share of the colour where the heat is 1: the picture stays visible below it."""


@dataclass(frozen=True)
class Overlay:
    """A picture with the heat of one class over it: BGR, uint8, [height, width, 3], and which class."""

    image: Image
    label: str


def overlays(
    lake: Lake, line: Line, kind: Kind, model: ModelRef, views: Sequence[FrameView], paths: Mapping[Oid, Path]
) -> dict[Oid, Overlay]:
    """Ask a model what speaks for the label that it got wrong, picture by picture.

    Args:
        lake: Holds the model's weights.
        line: Its classes.
        kind: Of the line.
        model: The one that was judged.
        views: What it did; only those of whole pictures are asked about.
        paths: Image files by oid.

    Returns:
        By the picture's oid; empty where the model cannot be asked.
    """
    asked = {view.frame_oid: wrong for view in views if (wrong := _most_wrong(view.whole))}
    if kind.saliency is None or not asked:
        return {}
    places = {line.class_named(name): i for i, name in enumerate(model.classes)}
    found: dict[Oid, Overlay] = {}
    try:
        predictor = kind.predictors.load(lake, model, "cpu")
        for oid, label in asked.items():
            image = read_image(paths[oid])
            heat = kind.saliency.heat(predictor, image, places[label.label]) if label.label in places else None
            if heat is not None:
                found[oid] = Overlay(laid_over(image, heat), label.label)
    except NightscopeError as error:
        log.warning(f"line {line.line}: the report shows no saliency: {error}")
    return found


def _most_wrong(labels: Sequence[PictureLabel]) -> PictureLabel | None:
    """The label whose probability is farthest from the truth; of those that were claimed, if any: it shows why."""
    wrong = [each for each in labels if each.state in ("wrong", "missed")]
    claimed = [each for each in wrong if each.predicted]
    return max(claimed or wrong, key=lambda each: abs((each.score or 0.0) - float(bool(each.labelled))), default=None)


def laid_over(image: Image, heat: NDArray[np.float32]) -> Image:
    """Colour a picture where the heat is.

    Args:
        image: BGR, uint8, [height, width, 3].
        heat: float32 [height, width], from 0 to 1.
    """
    import cv2

    strength = np.clip(np.nan_to_num(heat), 0.0, 1.0)
    colours = cv2.applyColorMap((strength * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    share = (_STRONGEST * strength)[:, :, None]
    return np.asarray(image * (1 - share) + colours * share, dtype=np.uint8)
