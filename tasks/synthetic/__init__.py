"""Synthetic recordings: microscope-like clips of swimming sperm, with exact boxes, track ids and trajectories.

They feed the demo and the tests; no number about them says anything about real recordings.
"""

from tasks.synthetic.labels import write_coco, write_voc, write_yolo
from tasks.synthetic.recordings import SyntheticRecording, make_recordings
from tasks.synthetic.tracks import write_tracks
from tasks.synthetic.truth import TrackedBox, Trajectory

__all__ = [
    "SyntheticRecording",
    "TrackedBox",
    "Trajectory",
    "make_recordings",
    "write_coco",
    "write_tracks",
    "write_voc",
    "write_yolo",
]
