"""Colours of stained sections: made alike (Macenko, Reinhard, through torchstain), and varied for training.

Only pictures of 8 bits in bright field, with colour and enough stain, are changed; any other is left as it is. So a
set that mixes fluorescence with stained sections can be normalised as a whole.

    enough stain:  MIN_STAINED of the pixels have an optical density -ln((v + 1) / 240) of 0.15 in every colour
    bright field:  the brightest tenth of the pixels begins at BRIGHT or above

Sources: Macenko et al., ISBI 2009 (the reference stains and concentrations are torchstain's own); Reinhard et al.,
IEEE CG&A 2001, with the statistics of a picture of those reference stains as the target; Tellez et al., IEEE TMI 2018
(`varied`: each stain's density in HED, d' = d (1 + a) + b).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[Any]

MIN_STAINED = 0.02
BRIGHT = 0.55
_LIGHT, _MIN_DENSITY = 240.0, 0.15
_COLOURED = 0.04
_MOST_PIXELS = 1_000_000
"""Pixels that stains are estimated from, evenly spread."""
_ROWS_AT_ONCE = 1024


def is_stained(picture: Picture) -> bool:
    """Whether a picture, uint8 or float32 in [0, 1], [h, w, 1 or 3], is a stained section in bright field."""
    if picture.ndim != 3 or picture.shape[2] != 3 or (picture.dtype != np.uint8 and picture.dtype.kind != "f"):
        return False
    values = _sample(picture).astype(np.float32)
    values = values / np.float32(255) if picture.dtype == np.uint8 else values
    if np.percentile(values.max(axis=1), 90) < BRIGHT:
        return False
    densities = -np.log((values * 255 + 1) / _LIGHT)
    stained = (densities >= _MIN_DENSITY).all(axis=1)
    if stained.mean() < MIN_STAINED:
        return False
    return float(np.median(np.ptp(values[stained], axis=1))) >= _COLOURED


def stain_normalised(picture: Picture, how: str) -> Picture:
    """The picture, uint8 [h, w, 1 or 3], with the reference's stains; as it is where it is not stained.

    Args:
        picture: RGB where it has three channels.
        how: 'macenko' or 'reinhard'.
    """
    if picture.dtype != np.uint8 or not is_stained(picture):
        return picture
    try:
        return _macenko(picture) if how == "macenko" else _reinhard(picture)
    except np.linalg.LinAlgError:  # one colour only: there are no two stains to tell apart
        return picture


def varied(picture: NDArray[np.float32], strength: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """A prepared picture, float32 [h, w, 3], stained somewhat more, less or otherwise; as it is where not stained."""
    factors, shifts = rng.uniform(-strength, strength, 3), rng.uniform(-strength, strength, 3) * 0.1
    if not is_stained(picture):
        return picture
    from skimage.color import hed2rgb, rgb2hed

    densities = rgb2hed(np.clip(picture, 0, 1))
    return np.asarray(hed2rgb(densities * (1 + factors) + shifts), dtype=np.float32)


def _sample(picture: Picture) -> Picture:
    step = max(1, int(np.ceil(np.sqrt(picture.shape[0] * picture.shape[1] / _MOST_PIXELS))))
    return picture[::step, ::step].reshape(-1, picture.shape[2])


def _macenko(picture: Picture) -> Picture:
    """torchstain's transform; its stains are estimated once, of a sample, then all rows are mixed anew in bands."""
    from torchstain.numpy.normalizers import NumpyMacenkoNormalizer

    reference, own = NumpyMacenkoNormalizer(), NumpyMacenkoNormalizer()
    own.fit(_sample(picture)[:, None])  # afterwards its "reference" are the picture's own stains
    if not np.isfinite(own.HERef).all() or (own.maxCRef <= 0).any():
        return picture
    unmix = np.linalg.pinv(own.HERef) * (reference.maxCRef / own.maxCRef)[:, None]
    colours = (reference.HERef @ unmix).T
    out = np.empty_like(picture)
    for start in range(0, len(picture), _ROWS_AT_ONCE):
        densities = -np.log((picture[start : start + _ROWS_AT_ONCE].astype(np.float32) + 1) / _LIGHT)
        out[start : start + _ROWS_AT_ONCE] = np.minimum(_LIGHT * np.exp(-(densities @ colours)), 255)
    return out


def _reinhard(picture: Picture) -> Picture:
    from torchstain.numpy.normalizers import NumpyReinhardNormalizer
    from torchstain.numpy.utils.lab2rgb import lab2rgb
    from torchstain.numpy.utils.rgb2lab import rgb2lab

    own = NumpyReinhardNormalizer()
    own.fit(_sample(picture)[:, None])
    means, deviations = _reinhard_target()
    factors = deviations / np.maximum(own.target_stds, 1e-3)
    scales = np.array([2.55, 1.0, 1.0])  # torchstain's lab is OpenCV's: L * 2.55, a + 128, b + 128
    zeros = np.array([0.0, 128.0, 128.0])
    out = np.empty_like(picture)
    for start in range(0, len(picture), _ROWS_AT_ONCE):
        lab = (rgb2lab(picture[start : start + _ROWS_AT_ONCE].astype(np.float32) / 255) - zeros) / scales
        lab = (lab - own.target_means) * factors + means
        out[start : start + _ROWS_AT_ONCE] = np.rint(lab2rgb(lab * scales + zeros) * 255)
    return out


@cache
def _reinhard_target() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means and deviations in CIE Lab of all mixtures of Macenko's reference stains, evenly from none to the most."""
    from torchstain.numpy.normalizers import NumpyMacenkoNormalizer, NumpyReinhardNormalizer

    stains = NumpyMacenkoNormalizer()
    amounts = np.stack(np.meshgrid(*(np.linspace(0, most, 32) for most in stains.maxCRef)), axis=-1)
    target = np.minimum(_LIGHT * np.exp(-(amounts @ stains.HERef.T)), 255).astype(np.uint8)
    reference = NumpyReinhardNormalizer()
    reference.fit(target)
    return np.asarray(reference.target_means, dtype=np.float64), np.asarray(reference.target_stds, dtype=np.float64)
