"""Pictures of single objects, drawn once, larger than life and already blurred: a frame only moves and turns them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tasks.synthetic.look import Look
from tasks.synthetic.scene import Body

Image = NDArray[np.float32]

SCALE = 3
"""Sprites are this many times larger than in the frame, so that turning them loses nothing."""
SHIFT = 4
"""Fractional bits of coordinates given to cv2."""


@dataclass(frozen=True)
class Sprite:
    """A square picture [s, s] of grey levels to add, centred on the object, and its reach in frame pixels."""

    pixels: Image
    reach_px: float


def draw_sprite(body: Body, look: Look) -> Sprite:
    """Draw a head or an impurity as the donor's optics show it at its depth."""
    sigma = defocus_px(body.depth, look)
    reach = float(np.abs(body.outline_px).max() * np.sqrt(2)) + 4.0 + 3 * sigma
    side = 2 * int(np.ceil(reach * SCALE)) + 1
    centre = side / 2
    mask = np.zeros((side, side), np.uint8)
    # A pixel's centre is at +0.5 in continuous coordinates, and at 0 in cv2's.
    corners = np.rint((body.outline_px * SCALE + centre - 0.5) * 2**SHIFT).astype(np.int32)
    cv2.fillPoly(mask, [corners], 255, cv2.LINE_8, SHIFT)
    inside: Image = mask.astype(np.float32) / np.float32(255)
    grain = _grain(side, body.texture_seed)
    along = np.asarray((np.arange(side) + 0.5 - centre) / SCALE, np.float32)
    depth = np.asarray(cv2.distanceTransform(mask, cv2.DIST_L2, 3) / SCALE, np.float32)
    core = _CORES[body.kind if body.label == "impurity" else "sperm"](inside, grain, along, depth, body)
    fringe = look.halo * _HALO.get(body.kind, 1.0)
    halo = np.asarray((_blurred(inside, 2.0 * SCALE) * 2.0).clip(0, 1) * (1 - inside) * fringe, np.float32)
    focus = 1 / (1 + 0.22 * body.depth**2)
    pixels = _blurred(core + halo, sigma * SCALE) * np.float32(look.contrast * body.darkness * focus)
    return Sprite(pixels, reach)


def defocus_px(depth: float, look: Look) -> float:
    """Standard deviation of the blur at a depth, in frame pixels."""
    return float(np.hypot(look.blur_px, look.depth_px * depth))


def _head(inside: Image, grain: Image, along: Image, _depth: Image, body: Body) -> Image:
    """Dark, with a paler acrosome in front."""
    half = float(body.outline_px[:, 0].max())
    acrosome = np.exp(-(((along - 0.35 * half) / (0.35 * half)) ** 2))[None, :]
    return np.asarray(-inside * (1 - 0.38 * acrosome + 0.08 * grain), np.float32)


def _round_cell(inside: Image, grain: Image, _along: Image, depth: Image, _body: Body) -> Image:
    """A pale granular disc with a dark rim."""
    rim = np.exp(-((depth / 1.1) ** 2))
    return np.asarray(-inside * (0.22 + 0.7 * rim + 0.22 * grain), np.float32)


def _droplet(inside: Image, _grain: Image, _along: Image, depth: Image, _body: Body) -> Image:
    """Refractile: a black rim around a bright middle."""
    share = depth / max(float(depth.max()), 1e-6)
    return np.asarray(inside * (1.25 * share**1.5 - 0.95 * (1 - share)), np.float32)


def _particle(inside: Image, grain: Image, _along: Image, _depth: Image, _body: Body) -> Image:
    """Dense and uneven."""
    return np.asarray(-inside * (0.95 + 0.3 * grain), np.float32)


_CORES = {"sperm": _head, "round_cell": _round_cell, "droplet": _droplet, "particle": _particle}
_HALO = {"round_cell": 1.3, "droplet": 0.5, "particle": 0.6}


def _grain(side: int, seed: int) -> Image:
    """Smooth noise of zero mean and unit standard deviation, about 1 px of the frame coarse."""
    noise = np.random.default_rng(seed).standard_normal((side, side), dtype=np.float32)
    smooth = _blurred(noise, 1.1 * SCALE)
    return np.asarray((smooth - smooth.mean()) / smooth.std(), np.float32)


def _blurred(image: Image, sigma: float) -> Image:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.float32)
