"""Are two files of weights the same? And if not, where do they begin to differ."""

from __future__ import annotations

from pathlib import Path

from tasks.schemas import Oid
from tasks.training.weights import WeightsComparison, compare_tensors


def compare_weights(first: Path, second: Path, oids: tuple[Oid, Oid]) -> WeightsComparison:
    """Compare two files of weights that trainings of ours wrote, tensor by tensor.

    Args:
        first, second: Local copies, verified.
        oids: Their hashes.

    Raises:
        DataError: One of them cannot be loaded, or holds what is no part of a model.
    """
    from tasks.training.tensors import read_tensors

    return compare_tensors(read_tensors(first), read_tensors(second), oids)
