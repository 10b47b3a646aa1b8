"""Pictures of more than 8 bits, stretched to 8 by one linear scale for the whole recording.

Cameras of 10, 12 or 14 bits write their values into the low bits of wider words; taken by their upper byte, such
pictures are black. The scale reaches from the recording's 0.01th to its 99.99th percentile, and is recorded: hot pixels
do not dim the rest, and brightness stays comparable between frames.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.ingest.images import Image

LOW_PERCENTILE, HIGH_PERCENTILE = 0.01, 99.99
_COUNTED_AT_ONCE = 2**22
_FLAT = 1e-12
Values = npt.NDArray[Any]
Range = tuple[float, float]
"""(low, high): what frames show as black and as white. `low` is the larger where large values are dark."""


class Brightness:
    """How bright a recording gets: looks at one picture after the other."""

    def __init__(self) -> None:
        self._counts = np.zeros(2**16, np.int64)
        self._spread: list[Range] = []

    def see(self, values: Values) -> None:
        """Take a picture of any shape into account; values that are no numbers are left out."""
        flat = values.reshape(-1)
        if values.dtype == np.uint16:
            for start in range(0, flat.size, _COUNTED_AT_ONCE):
                self._counts += np.bincount(flat[start : start + _COUNTED_AT_ONCE], minlength=2**16)
            return
        finite = flat[np.isfinite(flat)]
        if finite.size:
            low, high = np.percentile(finite, (LOW_PERCENTILE, HIGH_PERCENTILE))
            self._spread.append((float(low), float(high)))

    @property
    def range(self) -> Range | None:
        """Over all pictures seen: of integers of 16 bits exact, else from each picture's own; None before any."""
        spread = list(self._spread)
        if self._counts.any():
            share = np.cumsum(self._counts) / self._counts.sum() * 100
            low, high = np.searchsorted(share, (LOW_PERCENTILE, HIGH_PERCENTILE))
            spread.append((float(low), float(high)))
        return (min(low for low, _ in spread), max(high for _, high in spread)) if spread else None


def stretched(values: Values, over: Range) -> Image:
    """Values as uint8: `over` (low, high) becomes 0..255, what lies outside is clipped, what is no number is `low`."""
    low, high = over
    if values.dtype == np.uint16 and values.size > 2**16:  # looked up: faster, and no picture of wide numbers
        return np.asarray(stretched(np.arange(2**16), over)[values])
    inside = np.clip(np.nan_to_num(values.astype(np.float64), nan=low), min(over), max(over))
    span = high - low
    return np.rint((inside - low) * (255.0 / (span if abs(span) > _FLAT else _FLAT))).astype(np.uint8)
