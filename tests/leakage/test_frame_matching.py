"""What is the same by name, and frames that nearly are, where nothing tells what moves."""

from __future__ import annotations

import cv2
import numpy as np
import pyarrow as pa
import pytest

from tasks.errors import DataError
from tasks.lake import Lake
from tasks.leakage import Audit, audit, frame_matching
from tests.datasets.scenes import Picture, background, clip, jpeg, perceptual_hash


def rows_of(lake: Lake, name: str, split: str, pictures: list[Picture], quality: int = 90) -> list[dict[str, object]]:
    return [
        {
            "split": split,
            "group": f"recording:{name}",
            "recording_id": name,
            "recording_name": f"{name}.mp4",
            "frame_index": index,
            "frame_oid": lake.blobs.put_bytes(jpeg(picture, quality)),
            "phash": perceptual_hash(picture),
        }
        for index, picture in enumerate(pictures)
    ]


def audited(lake: Lake, rows: list[dict[str, object]]) -> Audit:
    return audit(lake, pa.Table.from_pylist(rows))


def test_different_recordings_pass(lake: Lake) -> None:
    one, other = clip(1, 8, background(1)), clip(2, 8, background(2))
    found = audited(lake, rows_of(lake, "a", "train", one) + rows_of(lake, "b", "test", other))
    assert found.passed
    assert found.frames == 16


@pytest.mark.parametrize(("column", "kind"), [("group", "group"), ("recording_id", "recording"), ("frame_oid", "blob")])
def test_the_same_thing_in_two_splits_is_found_by_name(lake: Lake, column: str, kind: str) -> None:
    one, other = clip(1, 2, background(1)), clip(2, 2, background(2))
    rows = rows_of(lake, "a", "train", one) + rows_of(lake, "b", "test", other)
    rows[2][column] = rows[0][column]
    (finding,) = audited(lake, rows).findings
    assert finding.kind == kind
    assert str(finding).startswith("a.mp4 frame 0 (train) and b.mp4 frame 0 (test)")


@pytest.mark.parametrize("how", ["encoded again", "smaller", "brighter"])
def test_the_same_frames_in_another_form_are_found(lake: Lake, how: str) -> None:
    pictures = clip(1, 6, background(1))
    if how == "smaller":
        other = [
            np.asarray(cv2.resize(p, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8) for p in pictures
        ]
    elif how == "brighter":
        other = [np.clip(p * 0.8 + 40, 0, 255).astype(np.uint8) for p in pictures]
    else:
        other = pictures
    rows = rows_of(lake, "a", "train", pictures) + rows_of(lake, "copy", "test", other, quality=50)
    (finding,) = audited(lake, rows).findings
    assert finding.kind == "frame"
    assert {finding.one.recording_id, finding.other.recording_id} == {"a", "copy"}
    assert "such pairs" in finding.why


def test_within_one_split_anything_goes(lake: Lake) -> None:
    pictures = clip(1, 6, background(1))
    rows = rows_of(lake, "a", "train", pictures) + rows_of(lake, "copy", "train", pictures, quality=50)
    assert audited(lake, rows).suspects == 0


def test_one_microscope_with_a_dirty_background_is_no_leak(lake: Lake) -> None:
    behind = background(1, strength=60)
    one, other = clip(1, 8, behind, cells=8), clip(2, 8, behind, cells=8)
    rows = rows_of(lake, "a", "train", one) + rows_of(lake, "b", "test", other)
    found = audited(lake, rows)
    assert found.passed
    assert found.suspects > 0, "the background alone should raise suspicion, or this test shows nothing"
    assert "only of the background" in found.ruled_out[0].why
    vectors = frame_matching.descriptors(lake, [str(row["frame_oid"]) for row in rows])
    assert float((vectors[:8] @ vectors[8:].T).max()) > frame_matching.CORRELATION, "and correlate"


def test_a_copy_over_a_dirty_background_is_still_found(lake: Lake) -> None:
    pictures = clip(1, 8, background(1, strength=60), cells=8)
    rows = rows_of(lake, "a", "train", pictures) + rows_of(lake, "copy", "test", pictures, quality=50)
    (finding,) = audited(lake, rows).findings
    assert "8 such pairs" in finding.why


def still(seed: int, strength: float) -> list[Picture]:
    """A clip in which nothing moves: the camera rustles."""
    picture, rng = clip(seed, 1, background(1, strength), cells=10)[0], np.random.default_rng(seed)
    return [np.clip(picture + rng.normal(0, 2, picture.shape), 0, 255).astype(np.uint8) for _ in range(8)]


def test_nothing_moves_under_one_dirty_microscope(lake: Lake) -> None:
    one, other = still(1, 40), still(2, 40)
    rows = rows_of(lake, "a", "train", one) + rows_of(lake, "b", "test", other)
    found = audited(lake, rows)
    assert found.passed
    assert "cannot be told apart by still pictures" in found.ruled_out[0].why
    assert frame_matching.CORRELATION <= found.ruled_out[0].evidence["correlation"] < frame_matching.COPY_CORRELATION


def test_a_copy_of_what_does_not_move_is_still_found(lake: Lake) -> None:
    rows = rows_of(lake, "a", "train", still(1, 40)) + rows_of(lake, "copy", "test", still(1, 40), quality=50)
    (finding,) = audited(lake, rows).findings
    assert finding.evidence["correlation"] >= frame_matching.COPY_CORRELATION


def test_each_two_frames_are_compared_once_whatever_their_splits_and_kinds() -> None:
    rng = np.random.default_rng(0)
    splits, kind = rng.integers(0, 3, 60), rng.integers(0, 4, 60)
    found = [
        frozenset((int(one), int(other)))
        for ours, theirs in frame_matching._to_compare(splits, kind)
        for one in ours
        for other in theirs
    ]
    low, high = (pick(kind[:, None], kind[None, :]) for pick in (np.minimum, np.maximum))
    wanted = (splits[:, None] != splits[None, :]) & ((low == 0) | ((low == 1) & (high < 3)))
    assert len(found) == len(set(found))
    assert set(found) == {frozenset(map(int, pair)) for pair in zip(*np.nonzero(wanted), strict=True)}


def test_blank_frames_do_not_correlate(lake: Lake) -> None:
    dark, grey = [np.full((48, 64), 3, np.uint8)], [np.full((48, 64), 120, np.uint8)]
    assert audited(lake, rows_of(lake, "a", "train", dark) + rows_of(lake, "b", "test", grey)).passed


def test_a_frame_that_is_no_image_is_an_error(lake: Lake) -> None:
    pictures = clip(1, 1, background(1))
    rows = rows_of(lake, "a", "train", pictures) + rows_of(lake, "b", "test", pictures)
    rows[1]["frame_oid"] = lake.blobs.put_bytes(b"no image")
    with pytest.raises(DataError, match="is not an image"):
        audited(lake, rows)


def test_frames_that_the_lake_does_not_know_are_an_error(lake: Lake) -> None:
    rows = rows_of(lake, "a", "train", clip(1, 2, background(1)))
    with pytest.raises(DataError, match="2 frames of the dataset are not among the lake's frames"):
        audit(lake, pa.Table.from_pylist(rows).drop_columns(["phash"]))
