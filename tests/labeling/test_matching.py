from __future__ import annotations

import pytest

from tasks.errors import ConfigError
from tasks.labeling.formats import BadFile, LabelFile
from tasks.labeling.matching import find_frame_base, match, other_names
from tasks.schemas import Landing, Recording, now
from tests.labeling.annotators import a_line, a_recording

LINE = a_line()
ONE = a_recording("S_0001.mp4", frames=10)


def files(*images: str) -> list[LabelFile]:
    return [LabelFile(file=f"{image}.xml", image=image, boxes=()) for image in images]


def bad(*images: str) -> list[BadFile]:
    return [BadFile(f"{image}.xml", "is damaged", image) for image in images]


def landed(recording: Recording, key: str, outcome: str = "duplicate") -> Landing:
    fields = {"key": key, "etag": "e", "size_bytes": 1, "modified_at": now(), "seen_at": now()}
    return Landing.model_validate(fields | {"recording_id": recording.recording_id, "outcome": outcome})


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


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("swim-01.mp4", "swim-01"),
        ("swim.01.mp4", "swim.01"),
        ("swim-01.Frames.zip", "swim-01"),
        ("swim-01", "swim-01"),
        ("cafe\u0301.mp4", "caf\u00e9"),
    ],
)
def test_content_that_landed_again_is_found_by_both_names(name: str, stem: str) -> None:
    strange = a_recording("strange.mp4")
    others = other_names([landed(strange, f"unsorted/0123/{name}")], [strange])
    matches, unmatched = match(files(f"{stem}_0003", "strange_0004"), [strange], LINE, 0, others)
    assert [(each.recording.name, each.frame_index) for each in matches] == [("strange.mp4", 3), ("strange.mp4", 4)]
    assert unmatched == []


def test_only_duplicates_of_known_recordings_give_names() -> None:
    landings = [landed(ONE, "a/other.mp4", "quarantined"), landed(a_recording("gone.mp4"), "a/gone-again.mp4")]
    assert other_names(landings, [ONE]) == {}


def test_another_name_that_is_a_recordings_own_name_too() -> None:
    strange = a_recording("strange.mp4")
    others = other_names([landed(strange, "b/S_0001.mp4")], [ONE, strange])
    matches, unmatched = match(files("S_0001_0003"), [ONE, strange], LINE, 0, others)
    assert matches == []
    assert "several recordings are named 'S_0001'" in unmatched[0].reason


def test_a_bad_files_name_tells_the_frame_base() -> None:
    matches, unmatched = match([*bad("S_0001_0000"), *files("S_0001_0004")], [ONE], LINE, None)
    assert [each.frame_index for each in matches] == [4]
    assert [(each.file, each.reason) for each in unmatched] == [("S_0001_0000.xml", "is damaged")]


def test_bad_files_alone_need_no_frame_base() -> None:
    read = [*bad("S_0001_0004", "X_0001"), BadFile("notes.json", "is no label file")]
    matches, unmatched = match(read, [ONE], LINE, None)
    assert matches == []
    assert [each.file for each in unmatched] == ["S_0001_0004.xml", "X_0001.xml", "notes.json"]


def test_bad_files_that_tell_nothing_leave_the_frame_base_unclear() -> None:
    with pytest.raises(ConfigError, match="--frame-base"):
        match([*bad("X_0000"), *files("S_0001_0004")], [ONE], LINE, None)
