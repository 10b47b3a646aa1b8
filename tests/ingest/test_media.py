from __future__ import annotations

import numpy as np
import pytest

from tasks.errors import UnreadableRecording
from tasks.ingest.media import Media, check_complete, mean_rate


def test_rates() -> None:
    ntsc = np.round(np.arange(100) * 1001 / 30000, 3)  # as Matroska rounds
    timing = mean_rate(ntsc, stated_hz=30000 / 1001)
    assert (timing.fps_hz, timing.variable) == (30000 / 1001, False)
    assert mean_rate(np.arange(10) / 20, stated_hz=25).fps_hz == pytest.approx(20)
    gap = np.delete(np.arange(100) / 25, [40, 41])
    assert mean_rate(gap, stated_hz=25).variable
    assert not mean_rate(gap, stated_hz=25, lost=2).variable and mean_rate(gap, stated_hz=25, lost=2).fps_hz == 25
    untimed = mean_rate(np.full(5, np.nan), stated_hz=None)
    assert (untimed.fps_hz, untimed.duration_s) == (None, None)


@pytest.mark.parametrize(("decoded", "fine"), [(100, True), (98, True), (97, False), (0, False)])
def test_98_percent(decoded: int, fine: bool) -> None:
    media = Media("mov", "h264", 10, 10, 25.0, False, 4.0, 100, decoded)
    if fine:
        check_complete(media)
        return
    with pytest.raises(UnreadableRecording):
        check_complete(media)
