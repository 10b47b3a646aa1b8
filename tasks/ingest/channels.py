"""A still of several channels, as annotators see it: a colour for each channel that a line names.

Which channel is what, no file tells: a line says it (`channels: {nucleus: 2, membrane: 0}`). Each channel
is stretched to 8 bits by itself, for stains differ in brightness. Models read the still's own file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from tasks.config.channels import colours_of
from tasks.errors import UnreadableRecording
from tasks.ingest.calibration import calibration_of
from tasks.ingest.grey import Brightness, stretched
from tasks.ingest.images import Image
from tasks.ingest.limits import Budget
from tasks.ingest.tiff_pages import BLACK_IS_ZERO, RGB
from tasks.schemas import STILL

_Values = npt.NDArray[Any]
_PLANE, _STACKED = "YX", "ZTR"


class ChannelPicture:
    """A TIFF whose one picture has several channels: what `stacks` reads of it.

    Args:
        tiff: The file, open; `has_channels`.
        budget: What it may ask of this machine.
        channels: Names -> places from 0; None: the first three are shown, as red, green and blue.
    """

    container = STILL
    announced = 1
    names: list[str] | None = None
    reversed_grey = False
    lossless = True
    codec = "tiff-channels"

    def __init__(self, tiff: tifffile.TiffFile, budget: Budget, channels: Mapping[str, int] | None) -> None:
        self._series, self._budget, self._channels = tiff.series[0], budget, channels
        self.calibration = calibration_of(tiff)

    def __len__(self) -> int:
        return 1

    def admit(self, number: int) -> None:
        """Look at what the picture claims before it is decoded.

        Raises:
            UnreadableRecording: It is too large, or lacks a channel that is named.
        """
        axes = dict(zip(self._series.axes, self._series.shape, strict=True))
        count = self._series.size // (axes["Y"] * axes["X"])
        self._budget.spend(axes["X"], axes["Y"], pictures=count, bytes_per_px=self._series.dtype.itemsize)
        if lacking := {name: place for name, place in (self._channels or {}).items() if place >= count}:
            raise UnreadableRecording(
                f"the picture has {count} channels", expected=f"{lacking}, counted from 0",
                fix="correct `channels` of the line",
            )  # fmt: skip

    def page(self, number: int) -> Image:
        """[h, w] where one channel is named, else [h, w, 3] BGR; uint8."""
        planes = self._planes()
        if self._channels is None:
            shown = dict(enumerate(planes[:3]))
        elif len(self._channels) == 1:
            return _to_8_bits(planes[next(iter(self._channels.values()))])
        else:
            shown = {colour: planes[self._channels[name]] for name, colour in colours_of(self._channels).items()}
        out = np.zeros((*planes.shape[1:], 3), dtype=np.uint8)
        for colour, plane in shown.items():
            out[..., 2 - colour] = _to_8_bits(plane)
        return out

    def as_it_is(self, number: int) -> None:
        """No browser shows a TIFF."""
        return None

    def _planes(self) -> _Values:
        """[channels, h, w]."""
        axes = self._series.axes
        values = np.moveaxis(np.asarray(self._series.asarray()), (axes.index("Y"), axes.index("X")), (-2, -1))
        return values.reshape(-1, *values.shape[-2:])


def has_channels(tiff: tifffile.TiffFile, *, named: bool) -> bool:
    """Whether a TIFF is one picture of several channels: samples that are no colours, or pages that are no stack.

    Where a line has `named` channels, four samples are no colours with an opacity, as tifffile calls them by itself.
    """
    series = tiff.series
    if len(series) != 1 or not set(_PLANE) <= set(series[0].axes):
        return False
    beside = [axis for axis, length in zip(series[0].axes, series[0].shape, strict=True) if length > 1]
    beside = [axis for axis in beside if axis not in _PLANE]
    page = tiff.pages.first
    channels = page.photometric == BLACK_IS_ZERO or (named and page.photometric == RGB and page.samplesperpixel > 3)
    return len(beside) == 1 and beside[0] not in _STACKED and channels


def says_channels(tiff: tifffile.TiffFile) -> bool:
    """Whether a TIFF that `has_channels` says so itself: by the axis's name, or as samples of one page."""
    series = tiff.series[0]
    return any(axis in "CS" for axis, length in zip(series.axes, series.shape, strict=True) if length > 1)


def _to_8_bits(plane: _Values) -> Image:
    if plane.dtype == np.uint8:
        return plane
    brightness = Brightness()
    brightness.see(plane)
    return stretched(plane, brightness.range or (0.0, 1.0))
