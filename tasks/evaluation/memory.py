"""The most memory that a model took while it predicted: of its GPU, or of this process."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

_MIB = 2**20


class PeakMemory:
    """Watch a device from now on.

    On a GPU: what torch holds for this process's tensors. On the CPU: the process's resident memory, whatever is in it,
    libraries included. The kernel keeps that peak, and forgets it when told to (Linux, proc(5), `clear_refs`).

    Args:
        device: 'cpu', or 'cuda:0' and so on.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._gpu = _cuda() if device.startswith("cuda") else None
        self._counted = device == "cpu"
        if self._gpu:
            self._gpu.reset_peak_memory_stats(device)
        elif self._counted:
            try:
                Path("/proc/self/clear_refs").write_text("5")
            except OSError:  # another system, or a sandbox that forbids it: the peak would be an older one
                self._counted = False

    def mib(self) -> float | None:
        """The peak so far, in MiB; None where it cannot be known."""
        if self._gpu:
            return round(float(self._gpu.max_memory_allocated(self._device)) / _MIB, 1)
        if not self._counted:
            return None
        lines = Path("/proc/self/status").read_text().splitlines()
        kib = next((line.split()[1] for line in lines if line.startswith("VmHWM:")), None)
        return None if kib is None else round(int(kib) / 1024, 1)


def _cuda() -> Any:
    """Torch's, if this process has it: whoever predicts on a GPU has imported it."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch and torch.cuda.is_available() else None
