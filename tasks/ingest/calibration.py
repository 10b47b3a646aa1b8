"""Pixel size and frame interval, where a TIFF states them: OME-XML or ImageJ's metadata."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

if TYPE_CHECKING:
    import tifffile

_UM = {"": 1.0, "um": 1.0, "µm": 1.0, "μm": 1.0, "\\u00b5m": 1.0, "micron": 1.0, "microns": 1.0, "micrometer": 1.0,
       "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6}  # fmt: skip
_SECONDS = {"": 1.0, "s": 1.0, "sec": 1.0, "ms": 1e-3, "µs": 1e-6, "us": 1e-6, "min": 60.0}


@dataclass(frozen=True)
class Calibration:
    """What a file says about space and time; None where it does not."""

    um_per_px: float | None
    fps_hz: float | None


def calibration_of(tiff: tifffile.TiffFile) -> Calibration:
    """Pixel size and frame rate of a TIFF. Nothing is guessed: unknown units or oblong pixels give None."""
    try:
        if tiff.is_ome and tiff.ome_metadata:
            return _from_ome(tiff.ome_metadata)
        if tiff.is_imagej and tiff.imagej_metadata:
            return _from_imagej(tiff, tiff.imagej_metadata)
    except (ValueError, TypeError, LookupError, ArithmeticError, struct.error):
        pass  # damaged notes are no notes
    return Calibration(None, None)


def _from_ome(text: str) -> Calibration:
    try:
        # expat does not follow external entities; its own limits stop entity bombs.
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError:
        return Calibration(None, None)
    pixels = next((node for node in root.iter() if node.tag.rpartition("}")[2] == "Pixels"), None)
    if pixels is None:
        return Calibration(None, None)
    sides = [
        _scaled(pixels.get(f"PhysicalSize{axis}"), pixels.get(f"PhysicalSize{axis}Unit", "µm"), _UM) for axis in "XY"
    ]
    interval_s = _scaled(pixels.get("TimeIncrement"), pixels.get("TimeIncrementUnit", "s"), _SECONDS)
    return Calibration(_square(*sides), 1 / interval_s if interval_s else None)


def _from_imagej(tiff: tifffile.TiffFile, metadata: dict[str, Any]) -> Calibration:
    unit = str(metadata.get("unit", "none"))
    sides = [_px_per_unit(tiff, name) for name in ("XResolution", "YResolution")]
    um = [_scaled(1 / side, unit, _UM) if side and unit != "none" else None for side in sides]
    interval_s = _scaled(metadata.get("finterval"), str(metadata.get("tunit", "s")), _SECONDS)
    fps_hz = _scaled(metadata.get("fps"), "", _SECONDS)
    return Calibration(_square(*um), 1 / interval_s if interval_s else fps_hz)


def _px_per_unit(tiff: tifffile.TiffFile, tag: str) -> float | None:
    value = tiff.pages.first.tags.valueof(tag)
    if not isinstance(value, tuple) or len(value) != 2 or not value[1]:
        return None
    return float(value[0]) / float(value[1]) or None


def _scaled(value: Any, unit: str, units: dict[str, float]) -> float | None:
    """A stated number in our unit; None where it is missing, not positive, or its unit unknown."""
    factor = units.get(unit.strip().lower())
    try:
        number = float(value) * factor if value is not None and factor else math.nan
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and number > 0 else None


def _square(x_um: float | None, y_um: float | None) -> float | None:
    if x_um is None or y_um is None or abs(x_um - y_um) > 0.01 * x_um:
        return None
    return x_um
