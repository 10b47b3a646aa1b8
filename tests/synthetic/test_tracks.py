"""Track files: MOT, trajectories, kinematics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest

from tasks.synthetic import SyntheticRecording, write_tracks


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, recording: SyntheticRecording) -> Path:
    made = tmp_path_factory.mktemp("tracks")
    write_tracks(recording, made)
    return made


def test_mot_counts_frames_from_one(folder: Path, recording: SyntheticRecording) -> None:
    rows = np.loadtxt(folder / f"{recording.stem}.mot.csv", delimiter=",")
    assert len(rows) == sum(len(boxes) for boxes in recording.boxes)
    assert rows[:, 0].min() == 1 and rows[:, 0].max() == recording.frames
    first = recording.boxes[0][0]
    np.testing.assert_allclose(rows[0, 1:6], [first.track_id, first.x_px, first.y_px, first.width_px, first.height_px],
                               atol=1e-3)  # fmt: skip
    assert set(rows[:, 7]) <= {1, 2}


def test_trajectories_are_those_of_the_boxes(folder: Path, recording: SyntheticRecording) -> None:
    table = pyarrow.parquet.read_table(folder / f"{recording.stem}.trajectories.parquet").to_pylist()
    centres = {(row["frame_index"], row["track_id"]): (row["x_px"], row["y_px"]) for row in table}
    assert len(centres) == len(table) == sum(len(boxes) for boxes in recording.boxes)
    for index, boxes in enumerate(recording.boxes):
        for box in boxes:
            x, y = centres[index, box.track_id]
            assert box.x_px - 8 <= x <= box.x_px + box.width_px + 8
            assert box.y_px - 8 <= y <= box.y_px + box.height_px + 8


def test_pixels_and_micrometres_agree_but_for_drift(folder: Path, recording: SyntheticRecording) -> None:
    table = pyarrow.parquet.read_table(folder / f"{recording.stem}.trajectories.parquet").to_pandas()
    drift = table.assign(dx=table.x_px - table.x_um / recording.um_per_px).groupby("frame_index")["dx"]
    # One stage, one drift: what is not the track's own motion is the same for all tracks of a frame, up to the world's
    # width for those who came around.
    start = drift.first().iloc[0]
    assert np.abs(drift.median() - start).max() < 20


def test_kinematics_one_row_a_track(folder: Path, recording: SyntheticRecording) -> None:
    table = pyarrow.csv.read_csv(folder / f"{recording.stem}.kinematics.csv").to_pylist()
    assert [row["track_id"] for row in table] == [track.track_id for track in recording.trajectories]
    for row in table:
        if row["label"] == "impurity":
            assert row["vcl_um_s"] is None
        elif row["frames"] > 1:
            assert row["vcl_um_s"] >= row["vap_um_s"] >= row["vsl_um_s"] >= 0
