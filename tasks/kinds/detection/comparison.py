"""Are two files of weights the same? And if not, where do they begin to differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tasks.schemas import Oid
from tasks.training.weights import TensorDifference, WeightsComparison


def compare_weights(ours: Path, theirs: Path, oids: tuple[Oid, Oid]) -> WeightsComparison:
    """Compare two files of weights that trainings of ours wrote, tensor by tensor.

    Args:
        ours, theirs: Local copies, verified.
        oids: Their hashes.

    Raises:
        DataError: One of them cannot be loaded, or holds what is no part of a model.
    """
    mine, other = _tensors(ours), _tensors(theirs)
    differences = [_difference(name, mine[name], other[name]) for name in mine if name in other]
    found = [difference for difference in differences if difference is not None]
    alone = tuple(name for name in (*mine, *other) if name not in mine or name not in other)
    return WeightsComparison(
        same_bytes=oids[0] == oids[1],
        same_tensors=not found and not alone,
        tensors=len(mine),
        differing_tensors=len(found),
        first=found[0] if found else None,
        largest=max(found, key=lambda each: each.largest_difference or 0.0, default=None),
        only_in_one=alone,
    )


def _tensors(path: Path) -> dict[str, Any]:
    from tasks.kinds.detection.loading import load_checkpoint

    return dict(load_checkpoint(path)["model"].state_dict())


def _difference(name: str, mine: Any, other: Any) -> TensorDifference | None:
    import torch

    if mine.shape != other.shape or mine.dtype != other.dtype:
        return TensorDifference(
            name=name, elements=mine.numel(), differing=mine.numel(), largest_difference=None, largest_value=None
        )
    # Bit for bit: a NaN equals itself, and 0.0 is not -0.0.
    unlike = mine.contiguous().flatten().view(torch.uint8) != other.contiguous().flatten().view(torch.uint8)
    if not unlike.any():
        return None
    differing = int(unlike.view(mine.numel(), -1).any(dim=1).sum())
    apart = (mine.double() - other.double()).abs()
    return TensorDifference(
        name=name,
        elements=mine.numel(),
        differing=differing,
        largest_difference=float(apart.max()),
        largest_value=float(mine.double().abs().max()),
    )
