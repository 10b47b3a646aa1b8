"""What a step asks of its training subprocess, and what it hears back.

The job is a JSON file; the answers are events, one JSON object a line, on the subprocess's standard output:

    waiting    for      somebody else computes on the devices
    started    device, hardware, parameters, train_images, epochs, steps_per_epoch, first_epoch
    progress   epoch, epochs, step, steps, loss {...}, eta_s      every few seconds
    epoch      epoch, step, at_ms, metrics {...}                  after each epoch
    checkpoint epoch, path, last                                  a file that the training can go on from
    nondeterministic  operation     something that another training with the same seed may not repeat to the bit
    finished   weights, review {...}, files {name: path}, seconds

A subprocess that fails says why on its standard error and exits with 1.
The subprocess knows neither the lake nor MLflow, and holds no secrets: it gets local files and leaves local files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tasks.schemas import Frozen
from tasks.training.recipes import PredictOptions

Event = dict[str, Any]


class Job(Frozen):
    """One training, complete."""

    run_key: str
    folder: Path
    """Scratch of this training; ours alone."""
    data_yaml: Path
    has_val: bool
    model: str | None
    """Architecture: a path, or a name that ultralytics knows. None: that of the weights."""
    weights: Path | None
    """Start from these; verified by the step."""
    arguments: dict[str, Any]
    """Ultralytics arguments."""
    min_steps: int
    predict: PredictOptions
    seed: int
    resume_from: Path | None
    config_dir: Path
    locks_dir: Path
    devices: tuple[str, ...] = ("cpu",)
    """Those of this machine, see `tasks.training.devices`."""
    on: tuple[str, ...] | None = None
    """Train on exactly these, on several side by side (DDP); None: on any one that is free."""
    parent_pid: int
    """The step. The training dies with it."""
    progress_every_s: float = 5.0
    threads: int | None = None
