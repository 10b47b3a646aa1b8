"""Whole recordings: same seed, same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tasks.errors import ConfigError
from tasks.synthetic import SyntheticRecording, make_recordings, write_voc


def test_same_seed_same_bytes(tmp_path: Path, recording: SyntheticRecording, small: dict[str, Any]) -> None:
    (again,) = make_recordings(tmp_path / "again", **small)
    assert again.path.read_bytes() == recording.path.read_bytes()
    assert again.boxes == recording.boxes
    for number, made in enumerate((recording, again)):
        write_voc(made, tmp_path / str(number))
    for file in (tmp_path / "0").iterdir():
        assert file.read_bytes() == (tmp_path / "1" / file.name).read_bytes()


def test_another_seed_another_recording(tmp_path: Path, recording: SyntheticRecording, small: dict[str, Any]) -> None:
    (other,) = make_recordings(tmp_path, **(small | {"seed": 8}))
    assert other.path.read_bytes() != recording.path.read_bytes()
    assert other.boxes != recording.boxes


def test_a_recording_does_not_depend_on_how_many_are_made(tmp_path: Path, small: dict[str, Any]) -> None:
    few = small | {"frames": 5}
    told: list[str] = []
    together = make_recordings(
        tmp_path / "a", **(few | {"count": 3, "workers": 2}), on_done=lambda made: told.append(made.stem)
    )
    (alone,) = make_recordings(tmp_path / "b", **(few | {"first": 3}))
    assert told == ["swim-01", "swim-02", "swim-03"]
    assert [made.donor for made in together] == ["donor-01", "donor-02", "donor-03"]
    assert alone.stem == "swim-03"
    assert alone.path.read_bytes() == together[2].path.read_bytes()
    assert len({made.look for made in together}) == 3


def test_frames_decode_to_the_right_count(recording: SyntheticRecording) -> None:
    with av.open(str(recording.path)) as file:
        pts_s = [float(frame.time) for frame in file.decode(video=0)]
        stream = file.streams.video[0]
        assert (stream.width, stream.height) == (recording.width_px, recording.height_px)
        assert stream.frames == recording.frames == 40
    np.testing.assert_allclose(pts_s, recording.pts_s, atol=1e-6)


@pytest.mark.parametrize("choice", [{"variable_frame_rate": True}, {"container": "avi"}])
def test_other_kinds_of_file(tmp_path: Path, choice: dict[str, object], small: dict[str, Any]) -> None:
    (made,) = make_recordings(tmp_path, **(small | {"frames": 15} | choice))
    with av.open(str(made.path)) as file:
        pts_s = [float(frame.time) for frame in file.decode(video=0)]
    np.testing.assert_allclose(pts_s, made.pts_s, atol=1e-6)


def test_all_faults_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        make_recordings(tmp_path, count=0, width_px=511, fps_hz=-1)
    assert all(name in str(error.value) for name in ("count", "width_px", "fps_hz"))
    with pytest.raises(ConfigError, match="variable frame rate"):
        make_recordings(tmp_path, container="avi", variable_frame_rate=True)
