"""How two files of weights differ."""

from __future__ import annotations

from tasks.schemas import Frozen


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
