"""A training of a detector, complete."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tasks.kind import Job
from tasks.kinds.detection.recipe import PredictOptions
from tasks.training.ultralytics_arguments import argument_defaults
from tasks.training.ultralytics_stages import spelt_out


class DetectorJob(Job):
    """The job, with what `train.options` said of it as fields."""

    model: str | None
    """Architecture: a path, or a name that ultralytics knows. None: that of the weights."""
    arguments: dict[str, Any]
    """Ultralytics arguments."""
    min_steps: int
    predict: PredictOptions
    start_seed: int | None = None
    """Of the first weights, of one of several trainings that are to begin with the same; None: as of the rest."""

    @classmethod
    def of(cls, job: Job) -> DetectorJob:
        """The same job, its options read."""
        return cls.model_validate({**job.model_dump(), **job.options})

    @property
    def imgsz(self) -> int:
        """Side, in pixels, that pictures are scaled to, in the last stage."""
        return int(spelt_out(self.arguments)[-1].get("imgsz", argument_defaults()["imgsz"]))

    @property
    def data_yaml(self) -> Path:
        """The dataset, in YOLO's layout."""
        return self.data

    @property
    def config_dir(self) -> Path:
        """Where ultralytics keeps its settings."""
        return self.state_dir / "ultralytics"
