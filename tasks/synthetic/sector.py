"""The picture of a curved ultrasound probe: beams that spread like a fan, dimmer where they lie deep or behind bone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from tasks.synthetic.speckle import Floats

BEAMS = 160


@dataclass(frozen=True)
class Sector:
    """Where the beams of a probe run; the probe touches the picture's upper edge.

    Attributes:
        height_px, width_px: Of the picture.
        radius_px: Of the probe's curve.
        half_angle_rad: Between the middle beam and the outermost one.
    """

    height_px: int
    width_px: int
    radius_px: float
    half_angle_rad: float

    @property
    def depth_px(self) -> int:
        """How deep a beam goes."""
        return self.height_px - 4

    def spread(self, picture: Floats) -> Floats:
        """What each beam meets on its way: [depth, beam] of a picture [y, x]."""
        angle = np.linspace(-self.half_angle_rad, self.half_angle_rad, BEAMS, dtype=np.float32)[None, :]
        reach = self.radius_px + np.arange(self.depth_px, dtype=np.float32)[:, None]
        x = self.width_px / 2 + reach * np.sin(angle)
        y = reach * np.cos(angle) - self._above_px
        return np.asarray(cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)

    def gather(self, beams: Floats) -> Floats:
        """The picture [y, x] of what came back [depth, beam]; 0 where no beam runs."""
        angle, depth = self._polar
        beam = (angle / self.half_angle_rad + 1) / 2 * (BEAMS - 1)
        return np.asarray(cv2.remap(beams, beam, depth, cv2.INTER_LINEAR, borderValue=0), np.float32) * self.inside

    @cached_property
    def inside(self) -> NDArray[np.bool_]:
        """Which pixels a beam meets, [y, x]."""
        angle, depth = self._polar
        return (np.abs(angle) <= self.half_angle_rad) & (depth >= 0) & (depth <= self.depth_px - 1)

    @cached_property
    def _polar(self) -> tuple[Floats, Floats]:
        """Angle and depth of each pixel."""
        y, x = np.mgrid[: self.height_px, : self.width_px].astype(np.float32)
        across, down = x - self.width_px / 2, y + self._above_px
        return np.arctan2(across, down), np.asarray(np.hypot(across, down) - self.radius_px, np.float32)

    @property
    def _above_px(self) -> float:
        """How far above the picture the beams would meet, the outermost ones beginning at its upper edge."""
        return self.radius_px * float(np.cos(self.half_angle_rad))


def loss_before(loss_db_per_px: Floats) -> Floats:
    """What the way to each depth takes, in decibels, [depth, beam]."""
    return np.asarray(np.cumsum(loss_db_per_px, axis=0, dtype=np.float32) - loss_db_per_px, dtype=np.float32)


def attenuated(power: Floats, loss_db_per_px: Floats) -> Floats:
    """What is left of the power that comes back from each depth.

    Args:
        power: That would come back without loss, [depth, beam].
        loss_db_per_px: What a pixel of the way takes, there and back together; bone's part makes the shadow behind it.
    """
    return np.asarray(power * 10 ** (-loss_before(loss_db_per_px) / 10), dtype=np.float32)
