from __future__ import annotations

import pytest

from tasks.errors import ConfigError
from tasks.labeling.formats import LabelFile
from tasks.labeling.matching import find_frame_base, match
from tests.labeling.annotators import a_line, a_recording

LINE = a_line()
ONE = a_recording("S_0001.mp4", frames=10)


def files(*images: str) -> list[LabelFile]:
    return [LabelFile(file=f"{image}.xml", image=image, boxes=()) for image in images]


def test_stems_may_hold_underscores_and_digits() -> None:
    matches, unmatched = match(files("S_0001_0007"), [ONE, a_recording("S.mp4")], LINE, 0)
    assert [(each.recording.name, each.frame_index) for each in matches] == [("S_0001.mp4", 7)]
    assert unmatched == []


def test_names_match_however_their_accents_are_written() -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    matches, _ = match(files(f"{decomposed}_0003"), [a_recording(f"{composed}.mp4", frames=10)], LINE, 0)
    assert [each.frame_index for each in matches] == [3]


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        ("S_0001", "no recording named 'S'"),
        ("frame12", "does not end in _<frame number>"),
        ("S_0009_0001", "no recording named 'S_0009'"),
        ("S_0001_0010", "has no frame 10 (its frames are 0 to 9)"),
    ],
)
def test_what_matches_nothing_says_why(image: str, reason: str) -> None:
    matches, unmatched = match(files(image), [ONE], LINE, 0)
    assert matches == []
    assert reason in unmatched[0].reason


def test_numbers_may_start_at_one() -> None:
    matches, unmatched = match(files("S_0001_0001", "S_0001_0010", "S_0001_0000"), [ONE], LINE, 1)
    assert [each.frame_index for each in matches] == [0, 9]
    assert [each.file for each in unmatched] == ["S_0001_0000.xml"]


def test_the_frame_base_is_found_out() -> None:
    assert find_frame_base([(ONE, 0), (ONE, 4)]) == 0
    assert find_frame_base([(ONE, 1), (ONE, 10)]) == 1
    damaged = a_recording(frames=8, frames_announced=10)
    assert find_frame_base([(damaged, 10)]) == 1


@pytest.mark.parametrize("numbers", [(3, 4), (0, 10)])
def test_an_unclear_frame_base_is_asked_for(numbers: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="--frame-base"):
        find_frame_base([(ONE, number) for number in numbers])


def test_files_without_a_recording_say_nothing_about_the_base() -> None:
    matches, unmatched = match(files("X_0003"), [ONE], LINE, None)
    assert (matches, len(unmatched)) == ([], 1)


def test_two_recordings_of_one_name() -> None:
    twin = a_recording("S_0001.mp4", study="other")
    _, unmatched = match(files("S_0001_0001"), [ONE, twin], LINE, 0)
    assert "several recordings are named" in unmatched[0].reason


def test_one_recording_with_two_rows_is_one() -> None:
    matches, _ = match(files("S_0001_0001"), [ONE, ONE], LINE, 0)
    assert len(matches) == 1


def test_two_files_about_one_frame() -> None:
    matches, unmatched = match(files("S_0001_1", "S_0001_0001"), [ONE], LINE, 0)
    assert len(matches) == 1
    assert "same frame as S_0001_1.xml" in unmatched[0].reason


def test_recordings_of_other_studies() -> None:
    line = a_line(recordings={"studies": ["horse"]})
    _, unmatched = match(files("S_0001_0001"), [ONE], line, 0)
    assert "no study" in unmatched[0].reason
