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
Scale = tuple[float, float]
"""(low, high): what frames show as black and as white. `low` is the larger where large values are dark."""


class Brightness:
    """How bright a recording gets: looks at one picture after the other."""

    def __init__(self) -> None:
        self._counts = np.zeros(2**16, np.int64)
        self._spread: list[Scale] = []

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
    def scale(self) -> Scale | None:
        """Over all pictures seen: of integers of 16 bits exact, else from each picture's own; None before any."""
        spread = list(self._spread)
        if self._counts.any():
            share = np.cumsum(self._counts) / self._counts.sum() * 100
            low, high = np.searchsorted(share, (LOW_PERCENTILE, HIGH_PERCENTILE))
            spread.append((float(low), float(high)))
        return (min(low for low, _ in spread), max(high for _, high in spread)) if spread else None


def to_8_bits(page: Values, scale: Scale | None) -> Image:
    """A picture as uint8: as it is where it has 8 bits, else `scale` stretched over 0..255 and clipped.

    Values that are no number count as 0.
    """
    if page.dtype == np.uint8:
        return page
    if page.dtype == np.bool_:
        return page.astype(np.uint8) * np.uint8(255)
    low, high = scale or (float(page.min()), float(page.max()))
    values = np.arange(2**16) if page.dtype == np.uint16 else np.nan_to_num(page.astype(np.float64))
    span = high - low
    inside = np.clip(values, min(low, high), max(low, high))
    stretched = (inside - low) * (255.0 / (span if abs(span) > _FLAT else _FLAT))
    shown = np.rint(stretched).astype(np.uint8)
    return np.asarray(shown[page]) if page.dtype == np.uint16 else shown
