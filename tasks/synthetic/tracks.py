"""Ground truth over time: MOT files for trackers, tables of trajectories and kinematics for motility."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from tasks.synthetic.recordings import SyntheticRecording
from tasks.synthetic.truth import CLASSES, Trajectory

_TRAJECTORY_FIELDS = pa.schema(
    [
        ("track_id", pa.int32()),
        ("label", pa.string()),
        ("kind", pa.string()),
        ("frame_index", pa.int32()),
        ("pts_s", pa.float64()),
        ("x_px", pa.float64()),
        ("y_px", pa.float64()),
        ("x_um", pa.float64()),
        ("y_um", pa.float64()),
    ]
)
_KINEMATICS = ("vcl_um_s", "vap_um_s", "vsl_um_s", "alh_um", "bcf_hz", "lin", "str", "wob")


def write_mot(recording: SyntheticRecording, path: Path) -> None:
    """Write MOTChallenge ground truth: frame, id, left, top, width, height, 1, class, 1.

    Source: Milan et al. 2016, "MOT16", section 4. The format's frames and classes are **1-based**: frame_index + 1;
    class 1 is sperm, 2 is impurity.
    """
    with path.open("w") as file:
        for index, boxes in enumerate(recording.boxes):
            for box in boxes:
                file.write(
                    f"{index + 1},{box.track_id},{box.x_px:.3f},{box.y_px:.3f},{box.width_px:.3f},{box.height_px:.3f},"
                    f"1,{CLASSES.index(box.label) + 1},1\n"
                )


def trajectory_table(recording: SyntheticRecording) -> pa.Table:
    """Every track's positions, one row per track and frame, ordered by both.

    `x_px`, `y_px`: the head's centre in the frame, stage drift included. `x_um`, `y_um`: on the sample, without drift.
    """
    return pa.Table.from_pylist(list(_trajectory_rows(recording)), schema=_TRAJECTORY_FIELDS)


def kinematics_table(recording: SyntheticRecording) -> pa.Table:
    """Every track's exact kinematics, one row per track; empty cells where they have no meaning (impurities).

    They hold between `start_s` and `stop_s`, the track's first and last labelled frame.
    """
    rows = [_kinematics_row(track) for track in recording.trajectories]
    floats = [(name, pa.float64()) for name in ("start_s", "stop_s", *_KINEMATICS)]
    names = [("track_id", pa.int32()), ("label", pa.string()), ("kind", pa.string()), ("frames", pa.int32())]
    return pa.Table.from_pylist(rows, schema=pa.schema([*names, *floats]))


def write_tracks(recording: SyntheticRecording, folder: Path) -> None:
    """Write `<stem>.mot.csv`, and `<stem>.trajectories` and `<stem>.kinematics` as parquet and csv each."""
    folder.mkdir(parents=True, exist_ok=True)
    write_mot(recording, folder / f"{recording.stem}.mot.csv")
    for name, table in (("trajectories", trajectory_table(recording)), ("kinematics", kinematics_table(recording))):
        pyarrow.parquet.write_table(table, folder / f"{recording.stem}.{name}.parquet")
        pyarrow.csv.write_csv(table, folder / f"{recording.stem}.{name}.csv")


def _trajectory_rows(recording: SyntheticRecording) -> Iterator[dict[str, object]]:
    for track in recording.trajectories:
        points = zip(
            track.frame_index.tolist(),
            track.pts_s.tolist(),
            track.centre_px.tolist(),
            track.sample_um.tolist(),
            strict=True,
        )
        for index, pts_s, (x_px, y_px), (x_um, y_um) in points:
            yield {
                "track_id": track.track_id, "label": track.label, "kind": track.kind, "frame_index": index,
                "pts_s": pts_s, "x_px": x_px, "y_px": y_px, "x_um": x_um, "y_um": y_um,
            }  # fmt: skip


def _kinematics_row(track: Trajectory) -> dict[str, object]:
    row: dict[str, object] = {
        "track_id": track.track_id,
        "label": track.label,
        "kind": track.kind,
        "frames": len(track.frame_index),
        "start_s": float(track.pts_s[0]),
        "stop_s": float(track.pts_s[-1]),
    }
    if track.kinematics is not None:
        row |= {name: getattr(track.kinematics, name) for name in _KINEMATICS}
    return row
