"""A trained segmenter as evaluation, prediction, pre-labels and the filling of annotators' boxes call it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.errors import ConfigError, DataError
from tasks.kind import Image, ModelRef
from tasks.kinds.segmentation.instances import Instances
from tasks.lake import Lake

MIN_SCORE = 0.05
"""Metrics over all thresholds need low scores; `Answers` leaves out what scores below the model's own threshold."""

_READER = "tasks.kinds.segmentation.pictures:read_picture"


def load(lake: Lake, model: ModelRef, device: str | None) -> LoadedSegmenter:
    """Load a segmenter, its bytes checked first.

    Args:
        lake: Holds the weights.
        model: How pictures are prepared stands in its weights. `options`: `files` (name -> oid) of an export, which
            runs on the CPU.
        device: None: a GPU where there is one.
    """
    if files := model.options.get("files"):
        paths = {name: lake.blobs.fetch(oid) for name, oid in files.items()}
        return LoadedSegmenter(paths, classes=model.classes, device="cpu", name=f"export {model.weights_oid[:12]}")
    path = lake.blobs.fetch(model.weights_oid)
    return LoadedSegmenter(path, classes=model.classes, device=device, name=model.weights_oid[:12])


class LoadedSegmenter:
    """A `tasks.kind.Predictor`: for each image its `Instances`.

    Args:
        weights: A local file, verified; or those of an export by their names.
        classes: That the model must have, in its order; empty: whatever it has.
        device: 'cpu', 'cuda:0'; None: the best one there is.
        name: For messages.

    Raises:
        DataError: It cannot be loaded, or is of other classes.
    """

    def __init__(
        self,
        weights: Path | Mapping[str, Path],
        *,
        classes: Sequence[str] = (),
        device: str | None = None,
        name: str = "",
    ) -> None:
        import torch

        network, self.spec = load_segmenter(weights, name) if isinstance(weights, Path) else load_export(weights, name)
        self.classes = tuple(self.spec["classes"])
        if classes and tuple(classes) != self.classes:
            raise DataError(f"weights {name}", expected=f"the classes {tuple(classes)}", found=str(self.classes))
        self.device = device or ("cuda:0" if torch.cuda.is_available() else "cpu")
        self.network: Any = network.to(self.device) if isinstance(weights, Path) else network

    @property
    def min_score(self) -> float:
        """From which score on the model itself takes a cell for one: chosen on the validation split."""
        return float(self.spec["min_score"])

    def read_original(self, path: Path, read: Callable[..., NDArray[Any]] | None = None) -> NDArray[Any]:
        """A picture as it was taken, in its own depth, with the channels that the model was trained on.

        Args:
            path: The file.
            read: Has a function called by its name somewhere else; None: it is read here.

        Returns:
            uint8, uint16 or float32, [h, w, 1] or BGR [h, w, 3].

        Raises:
            DataError: It does not decode, or has not those channels.
        """
        from tasks.kinds.segmentation.pictures import read_picture

        channels = self.spec["input"].get("channels")
        return _turned_round(read(path, _READER, channels) if read else read_picture(path, channels))

    def predict(self, images: Sequence[Image | NDArray[Any]]) -> list[Instances]:
        """The cells of each image that score at least `MIN_SCORE`, `shown_from` the model's own threshold.

        Args:
            images: BGR, [h, w, 3], or grey, [h, w, 1], as annotators see them or as `read_original` gives them.
        """
        from tasks.kinds.segmentation.inference.predict import predict_picture

        least = min(MIN_SCORE, self.min_score)
        found = (
            predict_picture(self.network, self.spec, _turned_round(image), least, device=self.device)
            for image in images
        )
        return [replace(each, shown_from=self.min_score) for each in found]

    def fill(self, image: Image | NDArray[Any], boxes: NDArray[Any]) -> list[str | None]:
        """The mask of each box, by the second stage alone.

        Args:
            image: As `predict` takes it.
            boxes: x1, y1, x2, y2 in pixels, [n, 4].

        Returns:
            COCO's run lengths of the whole image in the boxes' order, sharing no pixel; None: the model sees no cell.

        Raises:
            ConfigError: The model outlines what it finds itself, and takes no boxes.
        """
        from tasks.kinds.segmentation.inference.predict import fill_boxes

        if not hasattr(self.network, "fill"):
            raise ConfigError(
                f"model {self.spec['model']!r}: cannot fill boxes", expected="a two-stage model",
                fix="train the line with a recipe of `model: two-stage`",
            )  # fmt: skip
        return fill_boxes(self.network, self.spec, _turned_round(image), boxes, device=self.device)


def load_segmenter(path: Path, name: str = "") -> tuple[Any, dict[str, Any]]:
    """A segmenter and its spec, see `tensors.load_network`."""
    from tasks.kinds.segmentation import networks
    from tasks.training.tensors import load_network

    return load_network(networks.read, path, name, "a segmenter")


def load_export(files: Mapping[str, Path], name: str = "") -> tuple[Any, dict[str, Any]]:
    """An export, ready to predict on the CPU, and the spec of the model that it was made of.

    Args:
        files: By their names in the export.
        name: For messages.

    Raises:
        DataError: They are none.
    """
    from tasks.kinds.segmentation.export_network import SPEC, OnnxTwoStage

    try:
        return OnnxTwoStage(dict(files)), json.loads(files[SPEC].read_text())
    except Exception as error:  # onnxruntime's own, KeyError, ValueError ...
        raise DataError(
            f"{name or 'export'}: cannot be loaded", expected="stage1.onnx, stage2.onnx and spec.json, as exported",
            found=" ".join(str(error).split())[:300] or type(error).__name__, fix="export the model again",
        ) from error  # fmt: skip


def _turned_round(image: NDArray[Any]) -> NDArray[Any]:
    """RGB of BGR and the reverse; grey is grey."""
    return np.ascontiguousarray(image[:, :, ::-1])
