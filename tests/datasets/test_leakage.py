"""What stands in two splits is refused by name; what only looks alike under one microscope is not."""

from __future__ import annotations

import cv2
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.datasets import leakage
from tasks.datasets.leakage import check_leakage
from tasks.errors import DataError, LeakageError
from tasks.lake import Lake
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


def test_different_recordings_pass(lake: Lake) -> None:
    rows = rows_of(lake, "a", "train", clip(1, 8, background(1))) + rows_of(
        lake, "b", "test", clip(2, 8, background(2))
    )
    found = check_leakage(lake, pa.Table.from_pylist(rows))
    assert found.frames == 16


@pytest.mark.parametrize(
    ("column", "says"), [("group", "a group"), ("recording_id", "a recording"), ("frame_oid", "the very same frame")]
)
def test_the_same_thing_in_two_splits_is_refused_by_name(lake: Lake, column: str, says: str) -> None:
    rows = rows_of(lake, "a", "train", clip(1, 2, background(1))) + rows_of(
        lake, "b", "test", clip(2, 2, background(2))
    )
    rows[2][column] = rows[0][column]
    with pytest.raises(
        LeakageError, match=rf"{says} stands in two splits: a\.mp4 frame 0 \(train\) and b\.mp4 frame 0"
    ):
        check_leakage(lake, pa.Table.from_pylist(rows))


@pytest.mark.parametrize("how", ["encoded again", "smaller", "brighter"])
def test_the_same_clip_in_another_form_is_refused(lake: Lake, how: str) -> None:
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
    with pytest.raises(LeakageError, match=r"nearly the same frame.*a\.mp4.*copy\.mp4.*such pairs"):
        check_leakage(lake, pa.Table.from_pylist(rows))


def test_within_one_split_anything_goes(lake: Lake) -> None:
    pictures = clip(1, 6, background(1))
    rows = rows_of(lake, "a", "train", pictures) + rows_of(lake, "copy", "train", pictures, quality=50)
    assert check_leakage(lake, pa.Table.from_pylist(rows)).suspects == 0


def test_one_microscope_with_a_dirty_background_is_no_leak(lake: Lake) -> None:
    behind = background(1, strength=60)
    rows = rows_of(lake, "a", "train", clip(1, 8, behind, cells=8)) + rows_of(
        lake, "b", "test", clip(2, 8, behind, cells=8)
    )
    found = check_leakage(lake, pa.Table.from_pylist(rows))
    assert found.suspects > 0, "the background alone should raise suspicion, or this test shows nothing"
    vectors = leakage._descriptors(lake, [str(row["frame_oid"]) for row in rows])
    assert float((vectors[:8] @ vectors[8:].T).max()) > leakage.CORRELATION, "and correlate"


def test_a_copy_over_a_dirty_background_is_still_found(lake: Lake) -> None:
    behind = background(1, strength=60)
    pictures = clip(1, 8, behind, cells=8)
    rows = rows_of(lake, "a", "train", pictures) + rows_of(lake, "copy", "test", pictures, quality=50)
    with pytest.raises(LeakageError, match="8 such pairs"):
        check_leakage(lake, pa.Table.from_pylist(rows))


def test_blank_frames_do_not_correlate(lake: Lake) -> None:
    dark, grey = [np.full((48, 64), 3, np.uint8)], [np.full((48, 64), 120, np.uint8)]
    rows = rows_of(lake, "a", "train", dark) + rows_of(lake, "b", "test", grey)
    assert check_leakage(lake, pa.Table.from_pylist(rows)).frames == 2


def test_a_frame_that_is_no_image_is_an_error(lake: Lake) -> None:
    pictures = clip(1, 1, background(1))
    rows = rows_of(lake, "a", "train", pictures) + rows_of(lake, "b", "test", pictures)
    rows[1]["frame_oid"] = lake.blobs.put_bytes(b"no image")
    with pytest.raises(DataError, match="is not an image"):
        check_leakage(lake, pa.Table.from_pylist(rows))


@given(
    hashes=st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=30),
    flips=st.lists(st.tuples(st.integers(0, 29), st.sets(st.integers(0, 63), max_size=14)), max_size=30),
)
def test_every_close_pair_of_hashes_is_found_and_no_other(hashes: list[int], flips: list[tuple[int, set[int]]]) -> None:
    near = [hashes[i % len(hashes)] ^ sum(1 << bit for bit in bits) for i, bits in flips]
    everything = np.array(hashes + near, dtype=np.uint64)
    splits = np.array([0] * len(hashes) + [1] * len(near), dtype=np.int8)
    found = leakage.close(everything, splits, 0)
    for i in range(len(everything)):
        for j in range(len(everything)):
            close = (int(everything[i]) ^ int(everything[j])).bit_count() <= leakage.HASH_BITS
            assert found[i, j] == (close and i < j and splits[i] != splits[j])
