"""A trained detector, ready to predict. Used by evaluation, analysis and pre-labelling.

As weights, or as a file exported for another runtime (ONNX, TorchScript, OpenVINO, NCNN, Paddle): the same letterbox
before it, the same suppression of doubles after it, the same options, so that the two can be compared and exchanged.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tasks.errors import DataError
from tasks.kinds.detection import denoised
from tasks.kinds.detection.recipe import PredictOptions
from tasks.kinds.detection.runtimes import lay_out, settle
from tasks.kinds.detection.views import find_objects
from tasks.lake.blobs import check_weights
from tasks.schemas import Oid
from tasks.training.ultralytics_loading import refused

Image = npt.NDArray[np.uint8]
Boxes = npt.NDArray[np.float32]


class Detector:
    """Loads weights once, predicts many times.

    Args:
        weights: A local file, e.g. from `lake.blobs.fetch(oid)`; or the files of an export by name (`model.onnx`;
            `model.xml`, `model.bin`, `metadata.yaml`), each with its oid.
        oid: What the weights' bytes must hash to; not asked for where every file has its own. Checked before torch
            or another runtime sees a file. Even so nothing in a .pt can run (see `ultralytics_loading.py`).
        classes: Class names in the order that the model was trained with.
        imgsz: Side, in pixels, that images are scaled to.
        predict: Default thresholds, and whether to look at views and tiles.
        device: 'cpu', 'cuda:0', or 'auto': a GPU where there is one, and the CPU for exports.
        config_dir: Where ultralytics keeps its settings, see `offline.prepare`.
        batch: Images per forward pass at most.

    Raises:
        IntegrityError: A file's bytes are not what its oid names.
        ConfigError: What runs an export is not installed.
        DataError: The weights are of another set of classes, cannot be loaded, or hold what is no part of a model.
    """

    def __init__(
        self,
        weights: Path | Mapping[str, tuple[Path, Oid]],
        *,
        oid: Oid | None = None,
        classes: Sequence[str],
        imgsz: int,
        predict: PredictOptions | None = None,
        device: str = "auto",
        config_dir: Path | None = None,
        batch: int = 8,
    ) -> None:
        # A blob's name has no suffix, and ultralytics goes by it.
        files = {f"{str(oid)[:12]}.pt": (weights, str(oid))} if isinstance(weights, Path) else dict(weights)
        for path, expected in files.values():
            check_weights(path, expected)
        from tasks.training import ultralytics_offline as offline

        offline.prepare(config_dir)
        import torch
        from ultralytics import YOLO

        best = "cuda:0" if torch.cuda.is_available() and isinstance(weights, Path) else "cpu"
        self.device = best if device == "auto" else device
        self.classes = tuple(classes)
        self.imgsz = imgsz
        self.options = predict or PredictOptions()
        self._batch = batch
        self._folder = tempfile.TemporaryDirectory(prefix="nightscope-weights-")  # some runtimes read again, later
        place = str(lay_out(files, Path(self._folder.name)))
        try:
            self._model = YOLO(place, task="detect")
            named = self._class_names()
        except MemoryError:
            raise
        except Exception as error:  # whatever a foreign file makes a runtime say
            raise refused(", ".join(files), error) from error
        if named != self.classes:
            raise DataError(f"weights {', '.join(files)}", expected=f"the classes {self.classes}", found=str(named))
        self.denoiser = denoised.loaded(denoised.file_in(self._model.ckpt or {}))

    def _class_names(self) -> tuple[str, ...]:
        if isinstance(self._model.model, str):  # an export: nothing is loaded before the first image
            self.look([np.zeros((64, 64, 3), np.uint8)], self.imgsz, 0.5, self.options)
            loaded = self._model.predictor.model
            settle(loaded, Path(self._folder.name))
            names: dict[int, str] = loaded.names
        else:
            names = self._model.names
        return tuple(names[index] for index in sorted(names))

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
        options = self.options.but(conf=conf, iou=iou, max_det=max_det)

        def find(some: Sequence[Image], imgsz: int, floor: float) -> list[Boxes]:
            return self.look(some, imgsz, floor, options)

        seen = denoised.seen(self.denoiser, images)
        return find_objects(find, seen, imgsz=self.imgsz, **options.model_dump())

    def look(self, images: Sequence[Image], imgsz: int, conf: float, options: PredictOptions) -> list[Boxes]:
        """One look at each image, whatever the options say of views and tiles.

        Args:
            images: As `predict` takes them.
            imgsz: Side that they are scaled to.
            conf: Lowest score.
            options: `iou` and `max_det` of the suppression of doubles.
        """
        found: list[Boxes] = [np.zeros((0, 6), np.float32)] * len(images)
        for indices in self._batches(images):
            results = self._model.predict(
                [np.ascontiguousarray(images[index]) for index in indices],
                imgsz=imgsz,
                conf=conf,
                iou=options.iou,
                max_det=options.max_det,
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
