"""Colour profiles of pictures: whether taking one away changes what is shown, and showing the same without it."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow
from PIL import ImageCms

Image = npt.NDArray[np.uint8]
_INVISIBLE = 3
"""Of 255: sRGB profiles differ by so much from each other."""
_STEPS = 17


def shows_the_same(profile: bytes, channels: int) -> bool:
    """Whether a picture shows the same with and without this profile: it is sRGB, or one that browsers do not apply.

    Args:
        profile: As it stands in the file.
        channels: Of the picture: 1, 3, or 4 (ink).
    """
    if channels not in (1, 3):
        return True  # ink is turned into colours by the same plain formula as anywhere
    if channels == 1:
        probe = np.arange(256, dtype=np.uint8)[None]
    else:
        ramp = np.linspace(0, 255, _STEPS).astype(np.uint8)
        probe = np.stack(np.meshgrid(ramp, ramp, ramp), axis=-1).reshape(1, -1, 3)
    return int(np.abs(in_srgb(probe, profile).astype(int) - probe).max()) <= _INVISIBLE


def in_srgb(image: Image, profile: bytes) -> Image:
    """[h, w] grey or [h, w, 3] BGR as a browser shows it by this profile. A profile that is none changes nothing."""
    grey = image.ndim == 2
    transform = _transform(profile, "L" if grey else "RGB")
    if transform is None:
        return image
    source = Pillow.fromarray(image if grey else np.ascontiguousarray(image[..., ::-1]))
    shown = np.asarray(ImageCms.applyTransform(source, transform))
    return np.ascontiguousarray(shown[..., 0] if grey else shown[..., ::-1])


@lru_cache(maxsize=8)
def _transform(profile: bytes, mode: Literal["L", "RGB"]) -> ImageCms.ImageCmsTransform | None:
    try:
        opened = ImageCms.getOpenProfile(io.BytesIO(profile))
        return ImageCms.buildTransform(opened, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None  # damaged, or for another kind of picture: browsers pass over it, too
