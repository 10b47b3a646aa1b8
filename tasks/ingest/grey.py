"""Pictures of more than 8 bits, stretched to 8 by one linear scale for the whole recording.

Cameras of 10, 12 or 14 bits write their values into the low bits of wider words; taken by their upper byte, such
pictures are black. The scale reaches from the recording's 0.01th to its 99.99th percentile: hot pixels do not dim the
rest, and brightness stays comparable between frames.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.ingest.images import Image

LOW_PERCENTILE, HIGH_PERCENTILE = 0.01, 99.99
Values = npt.NDArray[Any]
Range = tuple[float, float]


class Brightness:
    """How bright a recording gets: looks at one picture after the other."""

    def __init__(self) -> None:
        self._counts = np.zeros(2**16, dtype=np.int64)
        self._spread: list[tuple[float, float]] = []

    def see(self, values: Values) -> None:
        """Take a picture of any shape into account; values that are no numbers are left out."""
        if values.dtype == np.uint16:
            self._counts += np.bincount(values.ravel(), minlength=2**16)
            return
        finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values.ravel()
        if finite.size:
            low, high = np.percentile(finite, (LOW_PERCENTILE, HIGH_PERCENTILE))
            self._spread.append((float(low), float(high)))

    @property
    def range(self) -> Range | None:
        """(low, high) over all pictures seen: of integers of 16 bits exact, else from each picture's own."""
        ranges = list(self._spread)
        if self._counts.any():
            share = np.cumsum(self._counts) / self._counts.sum() * 100
            low, high = np.searchsorted(share, (LOW_PERCENTILE, HIGH_PERCENTILE))
            ranges.append((float(low), float(high)))
        return (min(low for low, _ in ranges), max(high for _, high in ranges)) if ranges else None


def stretched(values: Values, over: Range) -> Image:
    """Values as uint8: `over` (low, high) becomes 0..255, what lies outside is clipped, what is no number is 0."""
    low, high = over
    inside = np.clip(np.nan_to_num(values.astype(np.float64), nan=low), low, high)
    return np.rint((inside - low) * (255.0 / max(high - low, 1e-12))).astype(np.uint8)
