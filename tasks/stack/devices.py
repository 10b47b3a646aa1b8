"""Which devices this machine has to train and evaluate on. `tasks.training.devices` gives them out."""

from __future__ import annotations

import os
import subprocess

from tasks.config import Settings

CPU = "cpu"
_ASK_S = 30


def present(settings: Settings) -> tuple[str, ...]:
    """The devices of this machine that we may use: GPU indices or UUIDs, else `('cpu',)`.

    In this order: `NIGHTSCOPE_DEVICES` ("0,1", or "cpu"), `CUDA_VISIBLE_DEVICES`, all that the driver lists.
    """
    if settings.devices:
        return settings.devices
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return listed(visible) or (CPU,)
    return _asked_driver() or (CPU,)


def listed(text: str) -> tuple[str, ...]:
    """The parts of '0,1'; -1 is CUDA's word for none."""
    return tuple(part.strip() for part in text.split(",") if part.strip() and part.strip() != "-1")


def _asked_driver() -> tuple[str, ...]:
    """What NVIDIA's driver lists; nothing where there is no driver."""
    command = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_ASK_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return ()
    return listed(done.stdout.replace("\n", ","))
