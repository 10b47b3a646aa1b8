"""Speckle of ultrasound, as physics makes it.

Many scatterers in one resolution cell add up to a complex field whose real and imaginary parts are independent and
normal ("fully developed" speckle); its amplitude is Rayleigh-distributed, with a mean of 1.91 standard deviations.
Wagner, Smith, Sandrik, Lopez: Statistics of speckle in ultrasound B-scans, IEEE Trans. Sonics Ultrason. 30(3), 1983,
pp. 156-163. The picture is that field of scatterers, convolved with the pulse: Bamber, Dickinson: Ultrasonic
B-scanning: a computer simulation, Phys. Med. Biol. 25(3), 1980, pp. 463-479. Here the pulse is a Gaussian (of the
demodulated field, so it has no carrier), the same at every depth.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

RAYLEIGH_SNR = float(np.sqrt(np.pi / (4 - np.pi)))
"""Mean over standard deviation of a Rayleigh-distributed amplitude: 1.913."""
MEAN_DB, SPREAD_DB = -10 * np.euler_gamma / np.log(10), 10 * np.pi / np.sqrt(6) / np.log(10)
"""Mean and standard deviation of its decibels where its mean square is 1: -2.51 and 5.57 dB.

A logarithm turns speckle from a factor into a summand, which spreads the same however bright the tissue is (Dutt,
Greenleaf: Adaptive speckle reduction filter for log-compressed B-scan images, IEEE Trans. Med. Imaging 15(6), 1996,
pp. 802-813).
"""


def scatter(power: Floats, rng: np.random.Generator, *, axial_px: float, lateral_px: float) -> Floats:
    """The amplitude that comes back from a field of scatterers.

    Args:
        power: Mean power that each place scatters back, [depth, beam]; 1 gives a mean square of 1 where it is even.
        rng: Places and phases of the scatterers.
        axial_px: Standard deviation of the pulse along the depth.
        lateral_px: Of the beam, across it.

    Returns:
        float32 [depth, beam], from 0 on.
    """
    root = np.sqrt(np.maximum(power, 0, dtype=np.float32))
    parts = [root * rng.normal(0, np.sqrt(0.5), power.shape).astype(np.float32) for _ in range(2)]
    pulse = [cv2.getGaussianKernel(2 * int(np.ceil(4 * px)) + 1, px, cv2.CV_32F) for px in (lateral_px, axial_px)]
    across, along = (kernel / np.sqrt(np.sum(kernel**2)) for kernel in pulse)  # what is white keeps its power
    real, imaginary = (
        cv2.sepFilter2D(part, cv2.CV_32F, across, along, borderType=cv2.BORDER_REFLECT) for part in parts
    )
    return np.asarray(np.hypot(real, imaginary), dtype=np.float32)


def compress(amplitude: Floats, *, dynamic_range_db: float, gain_db: float = 0.0) -> Floats:
    """Grey levels from 0 to 1: decibels over the scanner's dynamic range, what is weaker black, what is stronger white.

    Args:
        amplitude: From 0 on.
        dynamic_range_db: Decibels between black and white.
        gain_db: What an amplitude of 1 lies above the middle grey.
    """
    level_db = 20 * np.log10(np.maximum(amplitude, 1e-9)) + gain_db
    return np.asarray(np.clip(0.5 + level_db / dynamic_range_db, 0, 1), dtype=np.float32)
