"""What a recording is, once read: size, rate, and how much of it came out whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tasks.errors import UnreadableRecording
from tasks.ingest.sampling import Pts

REQUIRED_FRACTION = 0.98
"""Of the announced frames; a recording of which less decodes goes to quarantine."""


@dataclass(frozen=True)
class Media:
    """A recording's properties, as read from the file.

    `frame_names` are the names of a folder's pictures, one for each frame that decodes.
    `grey_low` and `grey_high` are the values that its frames show as 0 and 255, where they were stretched to 8 bits.
    """

    container: str
    codec: str
    width_px: int
    height_px: int
    fps_hz: float | None
    variable_frame_rate: bool
    duration_s: float | None
    frames_announced: int
    frames_decoded: int
    um_per_px: float | None = None
    grey_low: float | None = None
    grey_high: float | None = None
    frame_names: Sequence[str] | None = None


@dataclass(frozen=True)
class Timing:
    """Mean rate and regularity of a row of timestamps."""

    fps_hz: float | None
    variable: bool
    duration_s: float | None


def mean_rate(pts_s: Pts, *, stated_hz: float | None, lost: int = 0) -> Timing:
    """What timestamps say about the frame rate.

    Where the rate is constant and the timestamps agree with the container's within 1 %, that one is taken (it is exact,
    they are often rounded to milliseconds); else the mean of the timestamps. The rate is variable when more intervals
    than frames were lost deviate from the median by over 10 % and more than rounding to milliseconds explains.

    Args:
        pts_s: Timestamps, rising.
        stated_hz: What the container states.
        lost: Frames that are missing between them.
    """
    if len(pts_s) < 2 or bool(np.isnan(pts_s).any()):
        return Timing(stated_hz, False, len(pts_s) / stated_hz if stated_hz else None)
    steps = np.diff(pts_s)
    usual, span = float(np.median(steps)), float(pts_s[-1] - pts_s[0])
    if span <= 0 or usual <= 0:
        return Timing(stated_hz, False, None)
    irregular = int(np.count_nonzero(np.abs(steps - usual) > max(0.1 * usual, 0.0025)))
    measured = (len(pts_s) - 1) / span
    variable = irregular > max(lost, 0)
    if stated_hz and not variable and (irregular or abs(measured - stated_hz) <= 0.01 * stated_hz):
        measured = stated_hz
    return Timing(measured, variable, span + usual)


def check_complete(media: Media) -> None:
    """Refuse what is too damaged to learn from.

    Raises:
        UnreadableRecording: No frame, or less than `REQUIRED_FRACTION` of the announced frames, came out.
    """
    announced, decoded = media.frames_announced, media.frames_decoded
    if announced == 0:
        raise UnreadableRecording("the recording has 0 frames", fix="record it again")
    if decoded == 0:
        raise UnreadableRecording(
            f"none of its {announced} frames can be decoded ({media.codec})",
            fix="copy it again from where it was recorded",
        )
    if decoded < REQUIRED_FRACTION * announced:
        raise UnreadableRecording(
            f"the recording is cut short or damaged: {announced - decoded} of {announced} frames are lost",
            expected=f"at least {REQUIRED_FRACTION:.0%} of the frames",
            found=f"{decoded} ({decoded / announced:.1%})",
            fix="copy it again from where it was recorded",
        )
