"""A trained detector with anchors, ready to predict: called as `detector.Detector` is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.errors import DataError
from tasks.kinds.detection import denoised
from tasks.kinds.detection.recipe import PredictOptions
from tasks.kinds.detection.views import find_objects
from tasks.lake.blobs import check_weights
from tasks.schemas import Oid

Image = npt.NDArray[np.uint8]
Boxes = npt.NDArray[np.float32]


class AnchoredDetector:
    """Loads weights once, predicts many times.

    Args:
        weights: A local file, as `retinanet.write` wrote it.
        oid: What its bytes must hash to; checked before anything reads them.
        classes: Class names in the order that the model was trained with.
        imgsz: Side, in pixels, that images are scaled to.
        predict: Default thresholds, and whether to look at views and tiles.
        device: 'cpu', 'cuda:0', or 'auto': a GPU where there is one.

    Raises:
        IntegrityError: The file's bytes are not what its oid names.
        DataError: The weights are of another set of classes, or cannot be loaded.
    """

    def __init__(
        self,
        weights: Path,
        *,
        oid: Oid,
        classes: Sequence[str],
        imgsz: int,
        predict: PredictOptions,
        device: str = "auto",
    ) -> None:
        check_weights(weights, oid)
        import torch

        from tasks.kinds.detection.anchored import retinanet
        from tasks.training.tensors import refused

        try:
            network, spec = retinanet.read(weights)
        except MemoryError:
            raise
        except Exception as error:  # of bytes that anybody may have made: there is no list of what they can raise
            raise refused(oid[:12], error, "a detector with anchors") from error
        if tuple(spec["classes"]) != tuple(classes):
            raise DataError(
                f"weights {oid[:12]}", expected=f"the classes {tuple(classes)}", found=str(tuple(spec["classes"]))
            )
        self.device = ("cuda:0" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        self.classes, self.imgsz, self.options = tuple(classes), imgsz, predict
        self._network: Any = network.to(self.device)
        self.denoiser = denoised.loaded(denoised.file_in({denoised.CARRIED: retinanet.carried(weights)}))

    def predict(
        self,
        images: Sequence[Image],
        *,
        conf: float | None = None,
        iou: float | None = None,
        max_det: int | None = None,
    ) -> list[Boxes]:
        """Find objects; arguments and answer as `detector.Detector.predict`."""
        from tasks.kinds.detection.anchored import retinanet

        options = self.options.but(conf=conf, iou=iou, max_det=max_det)

        def find(some: Sequence[Image], imgsz: int, floor: float) -> list[Boxes]:
            found = retinanet.find(
                self._network, some, imgsz, floor, iou=options.iou, max_det=options.max_det, device=self.device
            )
            return [np.asarray(each, np.float32).reshape(-1, 6) for each in found]

        seen = denoised.seen(self.denoiser, images)
        return find_objects(find, seen, imgsz=self.imgsz, **options.model_dump())
