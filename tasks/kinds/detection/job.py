"""A training of a detector, complete."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tasks.kind import Job
from tasks.kinds.detection.recipe import PredictOptions


class DetectorJob(Job):
    """The job, with what `train.options` said of it as fields."""

    model: str | None
    """Architecture: a path, or a name that ultralytics knows. None: that of the weights."""
    arguments: dict[str, Any]
    """Ultralytics arguments."""
    min_steps: int
    predict: PredictOptions

    @classmethod
    def of(cls, job: Job) -> DetectorJob:
        """The same job, its options read."""
        return cls.model_validate({**job.model_dump(), **job.options})

    @property
    def data_yaml(self) -> Path:
        """The dataset, in YOLO's layout."""
        return self.data

    @property
    def config_dir(self) -> Path:
        """Where ultralytics keeps its settings."""
        return self.state_dir / "ultralytics"
