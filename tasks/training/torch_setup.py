"""Torch in a worker: threads, seed, determinism, device, precision. Used by the worker only."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_CUBLAS = ":4096:8"
"""A workspace with which matrix products on CUDA repeat to the bit."""


def set_up_torch(seed: int, threads: int | None, *, deterministic: bool) -> str:
    """Set torch up in this process.

    Args:
        seed: Of everything random.
        threads: On a CPU; None or 0: as the environment says, else one for each core that the process may use.
        deterministic: Whether operations repeat to the bit where torch can.

    Returns:
        The device to train on: 'cuda:0' or 'cpu'.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", _CUBLAS)  # read when CUDA begins
    import torch

    torch.set_num_threads(threads or int(os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0))))
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.backends.cudnn.benchmark = not deterministic
    return "cuda:0" if torch.cuda.is_available() else "cpu"


def precision_of(amp: str, device: str) -> tuple[torch.dtype | None, bool]:
    """Autocast's type (None: full precision), and whether gradients must be scaled for it."""
    import torch

    if amp == "fp32" or (amp == "auto" and device == "cpu"):
        return None, False
    if amp == "fp16" or (amp == "auto" and not torch.cuda.is_bf16_supported()):
        return torch.float16, True
    return torch.bfloat16, False
