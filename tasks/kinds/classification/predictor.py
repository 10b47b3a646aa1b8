"""A trained classifier as evaluation, prediction and the report call it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.errors import DataError
from tasks.kind import Image, ModelRef
from tasks.lake import Lake


def load(lake: Lake, model: ModelRef, device: str | None) -> LoadedClassifier:
    """Load a classifier, its bytes checked first.

    Args:
        lake: Holds the weights.
        model: `options`: `predict` (`PredictOptions`). Its size and temperature stand in the weights.
        device: None: a GPU where there is one.
    """
    path = lake.blobs.fetch(model.weights_oid)
    tta = bool(model.options.get("predict", {}).get("tta", False))
    return LoadedClassifier(path, classes=model.classes, tta=tta, device=device, name=model.weights_oid[:12])


class LoadedClassifier:
    """A `tasks.kind.Predictor`: for each image float64 [classes], probabilities in the model's order of classes.

    Args:
        weights: A local file, verified.
        classes: That the model must have, in its order; empty: whatever it has.
        tta: Look at a picture in all eight symmetries.
        device: 'cpu', 'cuda:0'; None: the best one there is.
        name: For messages.

    Raises:
        DataError: It cannot be loaded, or is of other classes.
    """

    def __init__(
        self,
        weights: Path,
        *,
        classes: Sequence[str] = (),
        tta: bool = False,
        device: str | None = None,
        name: str = "",
    ) -> None:
        import torch

        from tasks.kinds.classification.loading import load_classifier

        network, self.spec = load_classifier(weights, name)
        self.classes = tuple(self.spec["classes"])
        if classes and tuple(classes) != self.classes:
            raise DataError(f"weights {name}", expected=f"the classes {tuple(classes)}", found=str(self.classes))
        self.tta = tta
        self.device = device or ("cuda:0" if torch.cuda.is_available() else "cpu")
        self.network: Any = network.to(self.device, memory_format=torch.channels_last)

    def predict(self, images: Sequence[Image]) -> list[NDArray[np.float64]]:
        """Probabilities [classes] of each BGR image, after temperature scaling."""
        from tasks.kinds.classification.inference import predict

        pictures = [np.ascontiguousarray(image[:, :, ::-1]) for image in images]
        return list(predict(self.network, pictures, self.spec, tta=self.tta, device=self.device))
