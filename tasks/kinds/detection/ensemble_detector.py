"""Several detectors that predict as one: called as `detector.Detector` is. Each looks at every image, in turn."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from tasks.errors import DataError
from tasks.kinds.detection import denoised
from tasks.kinds.detection.detector import Boxes, Detector, Image
from tasks.kinds.detection.ensembles import fuse, unpack
from tasks.kinds.detection.recipe import PredictOptions
from tasks.kinds.detection.views import find_objects
from tasks.lake.blobs import check_weights, hash_file
from tasks.schemas import Oid


class EnsembleDetector:
    """Loads all members once, predicts many times.

    Args:
        weights: A local file, as `ensembles.write` wrote it.
        oid: What its bytes must hash to; checked before anything reads them.
        classes, imgsz, predict, device, config_dir: Of every member, see `detector.Detector`.

    Raises:
        IntegrityError: The file's bytes are not what its oid names.
        DataError: It holds something else, or a member of another set of classes.
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
    ) -> None:
        check_weights(weights, oid)
        with tempfile.TemporaryDirectory(prefix="nightscope-members-") as folder:
            try:
                paths = unpack(weights, Path(folder))
            except ValueError as error:
                raise DataError(f"weights {oid[:12]}", expected="several detectors", found=str(error)) from error
            self.members = [
                Detector(
                    path, oid=hash_file(path), classes=classes, imgsz=imgsz, predict=predict, device=device,
                    config_dir=config_dir,
                )
                for path in paths
            ]  # fmt: skip
        self.device, self.classes, self.imgsz = self.members[0].device, tuple(classes), imgsz
        self.options = self.members[0].options
        self.denoiser = self.members[0].denoiser  # all members learned from the same frames

    def predict(
        self,
        images: Sequence[Image],
        *,
        conf: float | None = None,
        iou: float | None = None,
        max_det: int | None = None,
    ) -> list[Boxes]:
        """Find objects; arguments and answer as `detector.Detector.predict`."""
        options = self.options.but(conf=conf, iou=iou, max_det=max_det)

        def find(some: Sequence[Image], imgsz: int, floor: float) -> list[Boxes]:
            # What is weaker than that in every member is too weak on average.
            looks = [each.look(some, imgsz, floor / len(self.members), options) for each in self.members]
            fused = [
                fuse(found, image.shape[0], image.shape[1])
                for image, found in zip(some, zip(*looks, strict=True), strict=True)
            ]
            return [boxes[boxes[:, 4] >= floor][: options.max_det] for boxes in fused]

        seen = denoised.seen(self.denoiser, images)
        return find_objects(find, seen, imgsz=self.imgsz, **options.model_dump())
