"""How good a denoised picture is, where its truth is known.

- PSNR and SSIM as scikit-image has them, over 255 grey levels.
- Edge preservation: the correlation of the Laplacians of the truth and of the denoised picture, 1 where every edge is
  where it was and as sharp, 0 where nothing is left of them (`beta` of Sattar, Floreby, Salomonsson, Loevstroem: Image
  enhancement based on a nonlinear multiscale method, IEEE Trans. Image Process. 6(6), 1997, pp. 888-895).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

import cv2
import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]


@dataclass(frozen=True)
class Quality:
    """Of one picture, or the mean of several.

    Attributes:
        psnr_db: Peak signal to noise ratio in decibels.
        ssim: Structural similarity (Wang and others 2004), up to 1.
        edges: Edge preservation, up to 1.
    """

    psnr_db: float
    ssim: float
    edges: float


def compute_quality(clean: Grey, denoised: Grey) -> Quality:
    """Compare a denoised picture with its truth, uint8 [h, w] both."""
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    return Quality(
        float(peak_signal_noise_ratio(clean, denoised, data_range=255)),
        float(structural_similarity(clean, denoised, data_range=255)),
        edge_preservation(clean, denoised),
    )


def edge_preservation(clean: Grey, denoised: Grey) -> float:
    """The correlation of both pictures' Laplacians; 0 where one of them has no edge at all."""
    first, second = (cv2.Laplacian(each.astype(np.float64), cv2.CV_64F, ksize=1) for each in (clean, denoised))
    first, second = first - first.mean(), second - second.mean()
    size = float(np.sqrt((first**2).sum() * (second**2).sum()))
    return float((first * second).sum() / size) if size > 0 else 0.0


def aggregate_quality(each: Iterable[Quality]) -> Quality:
    """The mean over pictures."""
    found = list(each)
    return Quality(*(float(np.mean([getattr(one, field.name) for one in found])) for field in fields(Quality)))
