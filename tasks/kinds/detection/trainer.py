"""Ultralytics' detection trainer, made to go on exactly where it was killed. Imported by the worker only."""

from __future__ import annotations

from ultralytics.models.yolo.detect import DetectionTrainer

from tasks.training.ultralytics_resume import ResumableTraining


class ResumableDetectionTraining(ResumableTraining, DetectionTrainer):  # type: ignore[misc]
    """Trains a detector."""
