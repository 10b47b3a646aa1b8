"""How two files of weights differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks.schemas import Frozen, Oid


class TensorDifference(Frozen):
    """How one tensor of a model differs from its namesake."""

    name: str
    elements: int
    differing: int
    largest_difference: float | None
    """Of two elements, absolute; None where the shapes differ."""
    largest_value: float | None
    """Of the first model's elements, absolute: what the difference is to be seen against."""


class WeightsComparison(Frozen):
    """Two files of weights.

    Attributes:
        same_bytes: They are the same file.
        same_tensors: Every tensor is the same to the bit, whatever stands beside them in the files.
        tensors: How many there are.
        differing_tensors: How many of them differ.
        first: The first that differs, in the order of the layers.
        largest: The one with the largest difference.
        only_in_one: Names that only one of the two has.
    """

    same_bytes: bool
    same_tensors: bool
    tensors: int
    differing_tensors: int = 0
    first: TensorDifference | None = None
    largest: TensorDifference | None = None
    only_in_one: tuple[str, ...] = ()


def compare_tensors(mine: Mapping[str, Any], other: Mapping[str, Any], oids: tuple[Oid, Oid]) -> WeightsComparison:
    """Compare two models tensor by tensor.

    Args:
        mine, other: Name -> torch.Tensor, in the order of the layers.
        oids: Hashes of their files.
    """
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
