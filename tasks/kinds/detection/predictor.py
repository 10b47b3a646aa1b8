"""A detector as evaluation calls it: as weights, or as an export. It looks as often as its options say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tasks.kind import Image, ModelRef
from tasks.kinds.detection.anchored.files import is_anchored
from tasks.kinds.detection.detector import Detector
from tasks.kinds.detection.recipe import PredictOptions
from tasks.lake import Lake

if TYPE_CHECKING:
    from tasks.kinds.detection.anchored.detector import AnchoredDetector

SCORES_FROM = 0.001
"""Average precision needs nearly all boxes, not just those that a user would be shown."""


def load(lake: Lake, model: ModelRef, device: str | None) -> LoadedDetector:
    """Load a detector, its bytes checked first.

    Args:
        lake: Holds the weights, or the files of an export.
        model: `options`: `imgsz` (px), `predict` (`PredictOptions`), and `files` for an export.
        device: None: a GPU where there is one, and the CPU for exports.
    """
    files = model.options.get("files")
    if not files and is_anchored(weights := lake.blobs.fetch(model.weights_oid)):
        from tasks.kinds.detection.anchored.detector import AnchoredDetector

        return LoadedDetector(
            AnchoredDetector(
                weights, oid=model.weights_oid, classes=model.classes, imgsz=model.options["imgsz"],
                predict=PredictOptions(**model.options["predict"]), device=device or "auto",
            )
        )  # fmt: skip
    return LoadedDetector(
        Detector(
            {name: (lake.blobs.fetch(oid), oid) for name, oid in files.items()}
            if files
            else lake.blobs.fetch(model.weights_oid),
            oid=None if files else model.weights_oid,
            classes=model.classes,
            imgsz=model.options["imgsz"],
            predict=PredictOptions(**model.options["predict"]),
            device=device or "auto",
            config_dir=lake.settings.state_dir.resolve() / "ultralytics",
        )
    )


class LoadedDetector:
    """A `tasks.kind.Predictor`: for each image float32 [n, 6], x1, y1, x2, y2 in its pixels, score, class index."""

    def __init__(self, detector: Detector | AnchoredDetector) -> None:
        self._detector = detector

    @property
    def device(self) -> str:
        """Where it runs."""
        return self._detector.device

    def predict(self, images: Sequence[Image]) -> Sequence[Any]:
        """All boxes from `SCORES_FROM` on, best first."""
        return self._detector.predict(images, conf=SCORES_FROM)
