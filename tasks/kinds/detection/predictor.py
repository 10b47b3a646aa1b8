"""A detector as evaluation calls it: as weights, or as an export. It looks as often as its options say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.kind import Image, ModelRef
from tasks.kinds.detection.anchored.files import is_anchored
from tasks.kinds.detection.detector import Detector
from tasks.kinds.detection.ensemble_detector import EnsembleDetector
from tasks.kinds.detection.ensembles import is_ensemble
from tasks.kinds.detection.recipe import PredictOptions
from tasks.lake import Lake
from tasks.schemas import Oid

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
    config_dir = lake.settings.state_dir.resolve() / "ultralytics"
    how: dict[str, Any] = {
        "classes": model.classes, "imgsz": model.options["imgsz"], "device": device or "auto",
        "predict": PredictOptions(**model.options["predict"]),
    }  # fmt: skip
    if files := model.options.get("files"):
        named = {name: (lake.blobs.fetch(oid), oid) for name, oid in files.items()}
        return LoadedDetector(Detector(named, config_dir=config_dir, **how))
    return opened(lake.blobs.fetch(model.weights_oid), model.weights_oid, config_dir, **how)


def opened(weights: Path, oid: Oid, config_dir: Path, **how: Any) -> LoadedDetector:
    """The detector that a file of weights is of: one of ultralytics', several of them, or one with anchors.

    Args:
        weights: A local file.
        oid: What its bytes must hash to.
        config_dir: Where ultralytics keeps its settings.
        how: `classes`, `imgsz`, `predict` and `device`, as `Detector` takes them.
    """
    if is_anchored(weights):
        from tasks.kinds.detection.anchored.detector import AnchoredDetector

        return LoadedDetector(AnchoredDetector(weights, oid=oid, **how))
    several = is_ensemble(weights)
    return LoadedDetector((EnsembleDetector if several else Detector)(weights, oid=oid, config_dir=config_dir, **how))


class LoadedDetector:
    """A `tasks.kind.Predictor`: for each image float32 [n, 6], x1, y1, x2, y2 in its pixels, score, class index."""

    def __init__(self, detector: Detector | AnchoredDetector | EnsembleDetector) -> None:
        self._detector = detector

    @property
    def device(self) -> str:
        """Where it runs."""
        return self._detector.device

    def predict(self, images: Sequence[Image]) -> Sequence[Any]:
        """All boxes from `SCORES_FROM` on, best first."""
        return self._detector.predict(images, conf=SCORES_FROM)
