"""The pictures that nobody took, for `bench_detectors --simulated`."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from tests.bench.detector_sets import BoxedPicture, BoxedSet, write_yolo
from tests.bench.simulated_sets import FRAMES, simulated


def like(*classes: str) -> BoxedSet:
    return BoxedSet(classes, (BoxedPicture(Path("no.png"), "a", (), 161, 120),), ((0,),))


def test_recordings_of_the_real_set_s_size_and_classes(tmp_path: Path) -> None:
    found = simulated(like("impurity", "sperm"), 2, tmp_path / "one", seed=3)
    assert len(found.pictures) == 2 * FRAMES
    assert {each["label"] for picture in found.pictures for each in picture.objects} == {"impurity", "sperm"}
    images = [cv2.imread(str(picture.path)) for picture in found.pictures]
    assert {image.shape for image in images if image is not None} == {(120, 160, 3)}
    assert len({image.tobytes() for image in images if image is not None}) == len(images)
    again = simulated(like("impurity", "sperm"), 2, tmp_path / "two", seed=3)
    assert [picture.objects for picture in again.pictures] == [picture.objects for picture in found.pictures]
    data = write_yolo(tmp_path / "yolo", found, ())
    assert len(list((data.parent / "labels/train").glob("*.txt"))) == len(images)


def test_ultrasound_with_heads_alone(tmp_path: Path) -> None:
    found = simulated(like("head"), 6, tmp_path, seed=0)
    assert len(found.pictures) == 6
    assert {each["label"] for picture in found.pictures for each in picture.objects} == {"head"}


def test_what_cannot_be_simulated_is_said(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="RBC, WBC"):
        simulated(like("RBC", "WBC"), 1, tmp_path, seed=0)
