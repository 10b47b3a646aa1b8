"""Jobs of a detector's training, for tests that start the worker themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tasks.kind import Job

OPTIONS = ("model", "arguments", "min_steps", "predict")


def detector_job(*, data_yaml: Path, config_dir: Path, **fields: Any) -> Job:
    """A job as a step writes it: what only a detector's training knows stands in its options."""
    options = {name: fields.pop(name) for name in OPTIONS}
    options["predict"] = options["predict"].model_dump()
    return Job(kind="detection", data=data_yaml, state_dir=config_dir, options=options, **fields)
