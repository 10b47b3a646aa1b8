"""Written files: what a decoder finds in them."""

from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tasks.errors import ConfigError
from tasks.synthetic.video import VFR_TICKS_HZ, frame_rate, variable_ticks, write_video


def _frames(count: int) -> list[np.ndarray]:
    ramp = np.tile(np.arange(62, dtype=np.uint8) * 3, (50, 1))  # even, but no multiples of 4
    return [np.roll(ramp, 4 * i, axis=1) for i in range(count)]


def _decoded(path: Path) -> tuple[list[np.ndarray], list[float], str]:
    with av.open(str(path)) as file:
        frames = list(file.decode(video=0))
        codec = file.streams.video[0].codec_context.name
    return [f.to_ndarray(format="gray") for f in frames], [float(f.pts * f.time_base) for f in frames], codec


@pytest.mark.parametrize(("container", "codec"), [("mp4", "h264"), ("avi", "mjpeg")])
def test_every_frame_comes_back(tmp_path: Path, container: str, codec: str) -> None:
    path = tmp_path / f"a.{container}"
    write_video(path, _frames(30), rate=Fraction(25), container=container)
    frames, pts_s, found = _decoded(path)
    assert found == codec
    assert len(frames) == 30
    np.testing.assert_allclose(pts_s, np.arange(30) / 25)
    for decoded, original in zip(frames, _frames(30), strict=True):
        assert np.abs(decoded.astype(int) - original).mean() < 6
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_variable_frame_rate_keeps_every_time(tmp_path: Path) -> None:
    ticks = variable_ticks(40, 25.0, np.random.default_rng(0))
    assert ticks[0] == 0 and all(b > a for a, b in itertools.pairwise(ticks))
    write_video(tmp_path / "v.mp4", _frames(40), rate=Fraction(25), ticks=ticks)
    _, pts_s, _ = _decoded(tmp_path / "v.mp4")
    np.testing.assert_allclose(pts_s, np.array(ticks) / VFR_TICKS_HZ, atol=1e-9)
    assert len({round(b - a, 4) for a, b in itertools.pairwise(pts_s)}) > 3


def test_avi_has_one_rate(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="avi"):
        write_video(tmp_path / "v.avi", _frames(2), rate=Fraction(25), ticks=[0, 3600], container="avi")


@pytest.mark.parametrize(
    ("fps_hz", "rate"),
    [(25, Fraction(25)), (29.97, Fraction(30000, 1001)), (59.94, Fraction(60000, 1001)), (12.5, Fraction(25, 2))],
)
def test_frame_rate(fps_hz: float, rate: Fraction) -> None:
    assert frame_rate(fps_hz) == rate
