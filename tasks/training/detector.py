"""A trained detector, ready to predict. Used by evaluation, analysis and pre-labelling."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tasks.errors import DataError, IntegrityError
from tasks.schemas import Oid
from tasks.training.recipes import PredictOptions

Image = npt.NDArray[np.uint8]
Boxes = npt.NDArray[np.float32]


class Detector:
    """Loads weights once, predicts many times.

    Args:
        weights: A local file, e.g. from `lake.blobs.fetch(oid)`.
        oid: What its bytes must hash to. Checked before torch sees the file: a .pt is code.
        classes: Class names in the order that the model was trained with.
        imgsz: Side, in pixels, that images are scaled to.
        predict: Default thresholds.
        device: 'cpu', 'cuda:0', or 'auto': a GPU where there is one.
        config_dir: Where ultralytics keeps its settings, see `offline.prepare`.
        batch: Images per forward pass at most.

    Raises:
        IntegrityError: The file's bytes are not what `oid` names.
        DataError: The weights are of another set of classes.
    """

    def __init__(
        self,
        weights: Path,
        *,
        oid: Oid,
        classes: Sequence[str],
        imgsz: int,
        predict: PredictOptions | None = None,
        device: str = "auto",
        config_dir: Path | None = None,
        batch: int = 8,
    ) -> None:
        found = hashlib.sha256(weights.read_bytes()).hexdigest()
        if found != oid:
            raise IntegrityError(f"weights {weights}", expected=f"sha256 {oid}", found=found, fix="fetch them again")
        from tasks.training import offline

        offline.prepare(config_dir)
        import torch
        from ultralytics import YOLO

        self.device = ("cuda:0" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        self.classes = tuple(classes)
        self.imgsz = imgsz
        self.options = predict or PredictOptions()
        self._batch = batch
        with tempfile.TemporaryDirectory(prefix="nightscope-weights-") as folder:
            named_pt = Path(folder) / f"{oid[:12]}.pt"  # a blob's name has no suffix, and ultralytics goes by it
            named_pt.symlink_to(weights.resolve())
            self._model = YOLO(str(named_pt), task="detect")
        named = tuple(self._model.names[index] for index in sorted(self._model.names))
        if named != self.classes:
            raise DataError(f"weights {oid[:12]}", expected=f"the classes {self.classes}", found=str(named))

    def predict(
        self,
        images: Sequence[Image],
        *,
        conf: float | None = None,
        iou: float | None = None,
        max_det: int | None = None,
    ) -> list[Boxes]:
        """Find objects.

        Args:
            images: BGR, uint8, [height, width, 3] each; shapes may differ.
            conf, iou, max_det: Instead of the defaults. Average precision wants `conf` near 0 (0.001).

        Returns:
            Per image float32 [n, 6]: x1, y1, x2, y2 in the image's pixels, score, class index; best score first.
        """
        found: list[Boxes] = [np.zeros((0, 6), np.float32)] * len(images)
        for indices in self._batches(images):
            results = self._model.predict(
                [np.ascontiguousarray(images[index]) for index in indices],
                imgsz=self.imgsz,
                conf=self.options.conf if conf is None else conf,
                iou=self.options.iou if iou is None else iou,
                max_det=self.options.max_det if max_det is None else max_det,
                device=self.device.removeprefix("cuda:"),
                verbose=False,
                save=False,
            )
            for index, result in zip(indices, results, strict=True):
                found[index] = result.boxes.data.cpu().numpy().astype(np.float32, copy=False).reshape(-1, 6)
        return found

    def _batches(self, images: Sequence[Image]) -> list[list[int]]:
        """Indices of images that go together: of one shape, for a mixed batch is padded and gives other numbers."""
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for index, image in enumerate(images):
            by_shape.setdefault(image.shape, []).append(index)
        return [group[i : i + self._batch] for group in by_shape.values() for i in range(0, len(group), self._batch)]
