"""Ultralytics' detection trainer, made to go on exactly where it was killed. Imported by the worker only."""

from __future__ import annotations

from typing import Any

from ultralytics.models.yolo.detect import DetectionTrainer

from tasks.kinds.detection.copy_paste import CopyPaste
from tasks.training.ultralytics_resume import ResumableTraining


class ResumableDetectionTraining(ResumableTraining, DetectionTrainer):  # type: ignore[misc]
    """Trains a detector."""

    def build_dataset(self, img_path: str, mode: str = "train", batch: int | None = None) -> Any:
        """The frames of a split; those to learn from with objects of others pasted in, until mosaic is closed."""
        dataset = super().build_dataset(img_path, mode, batch)
        if mode == "train" and self.args.copy_paste:
            dataset.transforms.insert(0, CopyPaste(dataset, self.args.copy_paste))
        return dataset
