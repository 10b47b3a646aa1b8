"""What all parts of a kind speak of: objects, regions, rows and images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Object = dict[str, Any]
"""What a label says of a frame; only its kind looks into it. `label` is the name of a class of the line."""
Region = dict[str, Any]
"""One entry of Label Studio's `result`."""
Row = dict[str, Any]
Event = dict[str, Any]
Image: TypeAlias = "NDArray[np.uint8]"
"""BGR, uint8, [height, width, 3]."""
