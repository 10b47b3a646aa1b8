"""Reading the image of a frame: one way for every room."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tasks.errors import IntegrityError
from tasks.kind.objects import Image


def read_image(path: Path) -> Image:
    """Read a blob's image, BGR uint8 [height, width, 3].

    Raises:
        IntegrityError: It cannot be decoded.
    """
    import cv2

    data = np.fromfile(path, dtype=np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    if image is None:
        raise IntegrityError(f"blob {path.name}: is no image that can be decoded")
    return np.asarray(image, dtype=np.uint8)
