"""The peak of a process's memory: that of now, not of before; and nothing where nobody knows."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.evaluation.memory import PeakMemory

pytestmark = pytest.mark.unit

MIB_OF_FLOATS = 2**20 // 8


def test_the_peak_is_of_what_was_taken_meanwhile() -> None:
    np.ones(400 * MIB_OF_FLOATS)  # before: not counted
    memory = PeakMemory("cpu")
    before = memory.mib()
    np.ones(120 * MIB_OF_FLOATS)
    after = memory.mib()
    assert before is not None and after is not None
    assert 100 < after - before < 200


def test_of_a_device_that_is_not_there_nothing_is_known() -> None:
    assert PeakMemory("cuda:99" if not _has_gpu() else "mps").mib() is None


def _has_gpu() -> bool:
    import torch

    return bool(torch.cuda.is_available())
