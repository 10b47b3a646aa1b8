"""A training's events as files of TensorBoard's, live: by torch's writer, where the package tensorboard is installed.

The worker writes them, since torch is loaded there: numbers alone, no picture, name or text of a recording.

    <state_dir>/tensorboard/<line>/<run>/events.out.tfevents...

A step of the training is a step of TensorBoard's. A training that was killed and goes on hides what it had shown beyond
its checkpoint (`purge_step`).
"""

from __future__ import annotations

import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

MISSING = "the package tensorboard is not installed: no files for TensorBoard are written"
KEPT_RUNS = 100
"""Of a line: the newest."""
_LIVE = {
    "lr": "live/lr", "gradient_norm": "live/gradient_norm", "images_per_s": "live/images_per_s",
    "gpu_memory_mb": "live/gpu_memory_mb", "gpu_use_percent": "live/gpu_use_percent",
}  # fmt: skip


def installed() -> bool:
    """Whether torch can write them."""
    return find_spec("tensorboard") is not None


def folder_of(state_dir: Path, line: str) -> Path:
    """Where the runs of a line are."""
    return state_dir / "tensorboard" / line


def prune(folder: Path) -> None:
    """Remove all but the newest runs of a line."""
    runs = sorted((run for run in folder.glob("*") if run.is_dir()), key=lambda run: run.stat().st_mtime)
    for run in runs[:-KEPT_RUNS]:
        shutil.rmtree(run, ignore_errors=True)


class EventFiles:
    """Writes the events of one training.

    Args:
        folder: Of the run; made when there is something to write.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: Any = None
        self._off = not installed()
        if self._off:
            print(MISSING, file=sys.stderr)

    def __call__(self, event: str, **content: Any) -> None:
        """An event of the training; what is not a number of a step is left out."""
        if self._off or event not in ("progress", "epoch"):
            return
        step = int(content["step"])
        try:
            if self._writer is None:
                self._writer = self._open(step)
            for name, value in _numbers(event, content).items():
                self._writer.add_scalar(name, value, step)
            self._writer.flush()
        except Exception as error:  # a full disk, another release of the package: no training ends for a picture of it
            self._off = True
            print(f"no more files for TensorBoard: {error}", file=sys.stderr)

    def _open(self, step: int) -> Any:
        from torch.utils.tensorboard import SummaryWriter

        prune(self._folder.parent)
        return SummaryWriter(str(self._folder), purge_step=step, max_queue=1_000, flush_secs=30)


def _numbers(event: str, content: dict[str, Any]) -> dict[str, float]:
    if event == "epoch":
        return {**content["metrics"], "epoch": float(content["epoch"])}
    loss = {f"live/{name.removeprefix('train/')}": float(value) for name, value in content["loss"].items()}
    return loss | {shown: float(content[name]) for name, shown in _LIVE.items() if name in content}
