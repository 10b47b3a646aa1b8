"""The threshold, loaded."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from tasks.kind import Image, ModelRef
from tasks.lake import Lake

SOFT_GREY = 10.0


def read_image(path: Path) -> Image:
    """A frame, BGR."""
    return np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR), dtype=np.uint8)


def mean_grey(image: Image) -> float:
    """From 0 to 255."""
    return float(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).mean())


def load(lake: Lake, model: ModelRef, device: str | None) -> Threshold:
    """Load the weights; the lake checks their bytes."""
    return Threshold(json.loads(lake.blobs.get_bytes(model.weights_oid))["threshold"])


class Threshold:
    """For each image the score of the brighter class, a float."""

    device = "cpu"

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold

    def predict(self, images: Sequence[Image]) -> list[float]:
        """How surely each image is bright."""
        return [1 / (1 + math.exp((self.threshold - mean_grey(image)) / SOFT_GREY)) for image in images]
