"""What a donor's recording looks like: illumination, optics, camera and how crowded the chamber is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Look:
    """One recording's appearance. Grey levels are of 0-255, sizes in pixels.

    Attributes:
        level: Background grey at the optical axis.
        vignette: Share of light lost in the corners.
        gradient: Grey levels across the frame from uneven illumination, along x and y.
        mottle: Grey levels of slow background unevenness (one standard deviation).
        tint: Chroma offsets (U, V) of the whole picture: lamps and cameras are never neutral.
        contrast: Grey levels between background and a focused head.
        halo: Strength of the bright fringe around heads, as a share of `contrast`.
        blur_px: Standard deviation of the optics' point spread in focus.
        depth_px: How strongly depth defocuses: standard deviation added per unit of depth.
        noise: Standard deviation of the sensor's noise.
        flicker: Relative brightness change from frame to frame (one standard deviation).
        drift_um_s: Stage drift along x and y.
        sperm: Mean number of heads in the frame.
        impurities: Mean number of impurities in the frame.
        specks: Mean number of specks too small to be labelled.
        motile: Share of sperm that swim.
    """

    level: float
    vignette: float
    gradient: tuple[float, float]
    mottle: float
    tint: tuple[float, float]
    contrast: float
    halo: float
    blur_px: float
    depth_px: float
    noise: float
    flicker: float
    drift_um_s: tuple[float, float]
    sperm: float
    impurities: float
    specks: float
    motile: float


def draw_look(
    rng: np.random.Generator, sperm_per_frame: tuple[float, float], impurities_per_frame: tuple[float, float]
) -> Look:
    """Draw a donor's look. Ranges are wide enough that a group split means something, yet overlap between donors."""
    uniform = rng.uniform
    return Look(
        level=uniform(132, 178),
        vignette=uniform(0.06, 0.22),
        gradient=(uniform(-14, 14), uniform(-14, 14)),
        mottle=uniform(0.6, 1.8),
        tint=(uniform(-4, 3), uniform(-4, 3)),
        contrast=uniform(68, 105),
        halo=uniform(0.45, 0.9),
        blur_px=uniform(0.65, 0.95),
        depth_px=uniform(0.25, 0.55),
        noise=uniform(1.8, 4.0),
        flicker=uniform(0.002, 0.008),
        drift_um_s=(uniform(-1.5, 1.5), uniform(-1.5, 1.5)),
        sperm=uniform(*sperm_per_frame),
        impurities=uniform(*impurities_per_frame),
        specks=uniform(30, 90),
        motile=uniform(0.4, 0.85),
    )
