"""Ultralytics' detection trainer, made to go on exactly where it was killed. Imported by the worker only."""

from __future__ import annotations

from typing import Any

from ultralytics.models.yolo.detect import DetectionTrainer

from tasks.kinds.detection.copy_paste import CopyPaste
from tasks.training.ultralytics_pipeline import put_microscope_in
from tasks.training.ultralytics_resume import ResumableTraining
from tasks.training.ultralytics_sampling import pasted_classes


class ResumableDetectionTraining(ResumableTraining, DetectionTrainer):  # type: ignore[misc]
    """Trains a detector."""

    def build_dataset(self, img_path: str, mode: str = "train", batch: int | None = None) -> Any:
        """The frames of a split; those to learn from with objects of others pasted in, until mosaic is closed.

        And changed as under a microscope, to the end.
        """
        dataset = super().build_dataset(img_path, mode, batch)
        if mode != "train":
            return dataset
        if self.knobs.microscope:
            put_microscope_in(dataset, self.knobs.microscope)
        if self.args.copy_paste:
            only = pasted_classes(self.knobs, dataset, self.data["names"])
            dataset.transforms.insert(0, CopyPaste(dataset, self.args.copy_paste, only))
        return dataset
