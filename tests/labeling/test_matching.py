from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from tasks.errors import ConfigError, UnreadableRecording
from tasks.kind import BadFile, LabelFile
from tasks.kinds.detection.formats.records import ForeignBox
from tasks.labeling.matching import PictureNames, clear_pictures, clearly_named, find_frame_base, match, other_names
from tasks.schemas import Landing, Recording, now
from tests.labeling.annotators import a_line, a_recording

LINE = a_line()
ONE = a_recording("S_0001.mp4", frames=10)


def files(*images: str) -> list[LabelFile]:
    return [LabelFile(file=f"{image}.xml", image=image, objects=()) for image in images]


def bad(*images: str) -> list[BadFile]:
    return [BadFile(f"{image}.xml", "is damaged", image) for image in images]


def a_folder(stem: str, frames: int, **changes: Any) -> Recording:
    fields = {"stem": stem, "container": "images", "frame_names_oid": "1" * 64} | changes
    return a_recording(f"{stem}.frames.zip", frames, **fields)


def named(**pictures: Sequence[str]) -> PictureNames:
    """Picture names of the folders of these stems."""
    return lambda recording: pictures[recording.stem]


def indices_of(
    images: Sequence[str], recordings: Sequence[Recording], pictures: PictureNames | None, base: int | None = None
) -> dict[str, int | str]:
    """Image -> the frame's index, or why it has none."""
    matches, unmatched = match(files(*images), recordings, LINE, base, None, pictures)
    return {each.labels.image: each.frame_index for each in matches} | {
        each.file.removesuffix(".xml"): each.reason for each in unmatched
    }


def landed(recording: Recording, key: str, outcome: str = "duplicate") -> Landing:
    fields = {"key": key, "etag": "e", "size_bytes": 1, "modified_at": now(), "seen_at": now()}
    return Landing.model_validate(fields | {"recording_id": recording.recording_id, "outcome": outcome})


def test_stems_may_hold_underscores_and_digits() -> None:
    matches, unmatched = match(files("S_0001_0007"), [ONE, a_recording("S.mp4")], LINE, 0)
    assert [(each.recording.name, each.frame_index) for each in matches] == [("S_0001.mp4", 7)]
    assert unmatched == []


def test_labels_find_recordings_and_pictures_that_bear_pseudonyms() -> None:
    clear = {"rec-1": "Mara_1", "rec-2": "Mara folder", "pic-aaaaa-g_12": "left_12"}
    own = [a_recording("rec-1.mp4", frames=10), a_folder("rec-2", 2), ONE]
    called = clearly_named(own, clear)
    assert [one.name for one in called] == ["Mara_1.mp4", "Mara folder.frames.zip", "S_0001.mp4"]
    pictures = clear_pictures(named(**{"Mara folder": ["pic-aaaaa-g_12.png", "pic-aaaab-h.png"]}), clear)
    assert indices_of(["Mara_1_3", "left_12", "S_0001_4"], called, pictures, 0) == {
        "Mara_1_3": 3, "left_12": 0, "S_0001_4": 4
    }  # fmt: skip
    again = [landed(own[0], "unsorted/0123/rec-2.mp4")]
    assert list(other_names(again, called, clear)) == ["Mara folder"]


def test_names_match_however_their_accents_are_written() -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    matches, _ = match(files(f"{decomposed}_0003"), [a_recording(f"{composed}.mp4", frames=10)], LINE, 0)
    assert [each.frame_index for each in matches] == [3]


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        ("S_0001", "no recording named 'S'"),
        ("frame12", "does not end in _<frame number>"),
        ("11_frame_0", "no recording named '11_frame' or '11'"),
        ("S_0001_" + "9" * 5000, "does not end in _<frame number>"),
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


def test_files_about_one_frame_that_differ_are_all_refused() -> None:
    """Label Studio's own names of one picture that two people labelled, say: one alone may lack half of the objects."""
    one, two, *_ = files("a1b2c3d4-S_0001_0001", "e5f6a7b8-S_0001_0001")
    box = ForeignBox("sperm", 1, 2, 3, 4)
    matches, unmatched = match([replace(one, objects=(box,)), two], [ONE], LINE, 0)
    assert matches == []
    assert sorted(each.reason for each in unmatched) == [
        "is about the same frame as a1b2c3d4-S_0001_0001.xml, and they differ: keep the one that is right",
        "is about the same frame as e5f6a7b8-S_0001_0001.xml, and they differ: keep the one that is right",
    ]


def test_recordings_of_other_studies() -> None:
    line = a_line(recordings={"studies": ["horse", "bull"], "except_studies": ["calf"]})
    _, unmatched = match(files("S_0001_0001"), [ONE], line, 0)
    assert "no study" in unmatched[0].reason
    assert "the studies horse, bull except calf" in unmatched[0].reason


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


@pytest.mark.parametrize(
    ("image", "index"),
    [
        ("11_frame_3", 3),
        ("11_frame_0003", 3),
        ("11_Frame_3", 3),
        ("11-frame-3", 3),
        ("11_frame3", 3),
        ("11.frame.3", 3),
        ("a1b2c3d4-11_3", 3),
        ("a1b2c3d4__11_frame_3", 3),
        ("a1b2c3d4-e5f6a7b8-11_3", 3),
        ("11%5F3", 3),
        ("upload%2F5%2Fa1b2c3d4-11_3", 3),
        ("11_3.png", 3),
    ],
)
def test_names_as_others_write_them(image: str, index: int) -> None:
    assert indices_of([image], [a_recording("11.mp4"), ONE], None, 0) == {image: index}


@pytest.mark.parametrize(
    ("image", "recording"),
    [
        ("my%20clip%20%C3%A9_3", "my clip \u00e9.mp4"),
        ("a1b2c3d4-my_clip_\u00e9_3", "my clip \u00e9.mp4"),
        ("a1b2c3d4-day_1_3", "day (1).mp4"),
        ("11_frame_3", "11_frame.mp4"),
        ("a1b2c3d4-clip_3", "a1b2c3d4-clip.mp4"),
        ("100%25_3", "100%25.mp4"),
    ],
)
def test_the_most_literal_name_wins(image: str, recording: str) -> None:
    decoys = [a_recording(name, study="b") for name in ("11.mp4", "clip.mp4", "100%.mp4")]
    matches, _ = match(files(image), [*decoys, a_recording(recording)], LINE, 0)
    assert [each.recording.name for each in matches] == [recording]


def test_in_a_folder_of_images_numbers_are_those_in_the_pictures_names() -> None:
    extra = ["background.png", *(f"extra_{n:04}.png" for n in range(4))]
    gap = [f"gap_{n:04}.png" for n in (0, 1, 2, 4, 5)]
    pictures = named(extra=extra, gap=gap)
    recordings = [a_folder("extra", 5), a_folder("gap", 5)]
    assert indices_of(["extra_0000", "extra_0003", "background", "gap_0002", "gap_0004"], recordings, pictures) == {
        "extra_0000": 1, "extra_0003": 4, "background": 0, "gap_0002": 2, "gap_0004": 3,
    }  # fmt: skip
    reason = "gap.frames.zip has no picture numbered 3 that can be read (theirs are 0 to 5)"
    assert indices_of(["gap_0003"], recordings, pictures) == {"gap_0003": reason}


@pytest.mark.parametrize("frame_names_oid", ["1" * 64, None])
def test_the_number_may_be_written_otherwise(frame_names_oid: str | None) -> None:
    """Also of recordings that were ingested before the pictures' names were kept."""
    recordings = [a_folder("scan", 3, frame_names_oid=frame_names_oid)]
    pictures = named(scan=["img-5.png", "img-10.png", "img-100.tif"])
    found = indices_of(["scan_0010", "scan_frame_5", "a1b2c3d4-scan_100", "scan_1"], recordings, pictures, 1)
    assert {image: index for image, index in found.items() if isinstance(index, int)} == {
        "scan_0010": 1, "scan_frame_5": 0, "a1b2c3d4-scan_100": 2,
    }  # fmt: skip
    assert "no picture numbered 1 " in str(found["scan_1"])


def test_pictures_whose_numbers_do_not_tell_them_apart() -> None:
    recordings = [a_folder("two", 3), a_folder("none", 2)]
    pictures = named(two=["t1_c0.png", "t2_c0.png", "b/t2_c1.png"], none=["left.png", "right.png"])
    found = indices_of(["two_0", "t2_c0", "t2_c1", "none_0", "right"], recordings, pictures)
    assert "several pictures of two.frames.zip carry the number 0: t1_c0.png, t2_c0.png" in str(found["two_0"])
    assert (found["t2_c0"], found["t2_c1"], found["right"]) == (1, 2, 1)
    assert "no picture of none.frames.zip carries a number" in str(found["none_0"])


def test_pictures_as_label_studio_calls_them() -> None:
    pictures = named(scan=["my cell 1.png", "b\u00e9ta.png", "a.v2_0003.png"])
    found = indices_of(
        ["a1b2c3d4-my_cell_1", "my%20cell%201", "be\u0301ta", "a1b2c3d4-b\u00e9ta", "a.v2_0003"],
        [a_folder("scan", 3)],
        pictures,
    )
    assert found["a1b2c3d4-my_cell_1"] == 0 and "same frame" in str(found["my%20cell%201"])
    assert found["be\u0301ta"] == 1 and "same frame" in str(found["a1b2c3d4-b\u00e9ta"])
    assert found["a.v2_0003"] == 2


def test_a_folder_tells_recordings_with_pictures_of_one_name_apart() -> None:
    recordings = [a_folder("a", 1), a_folder("b", 1), a_recording("img.mp4")]
    pictures = named(a=["img_1.png"], b=["img_1.png"])
    unclear, *clear = [
        LabelFile(file, "img_1", ()) for file in ("img_1.xml", "b/img_1.xml", "x.json: a\\img_1.png", "img/img_1.xml")
    ]
    matches, unmatched = match([unclear, *clear], recordings, LINE, 0, None, pictures)
    assert [each.recording.name for each in matches] == ["b.frames.zip", "a.frames.zip", "img.mp4"]
    assert "its name may mean several recordings" in unmatched[0].reason


def test_folders_of_images_need_no_frame_base() -> None:
    scan, pictures = a_folder("scan", 3), named(scan=["a_3.png", "a_4.png", "a_5.png"])
    assert indices_of(["a_4", "scan_5"], [scan, ONE], pictures) == {"a_4": 1, "scan_5": 2}
    with pytest.raises(ConfigError, match="--frame-base"):
        indices_of(["a_4", "S_0001_0004"], [scan, ONE], pictures)
    assert indices_of(["a_4", "S_0001_0004"], [scan, ONE], pictures, 1) == {"a_4": 1, "S_0001_0004": 3}


def test_a_folder_whose_names_cannot_be_read_costs_only_its_own_labels() -> None:
    def broken(recording: Recording) -> Sequence[str]:
        raise UnreadableRecording(f"recording {recording.name!r}: the blob is gone")

    found = indices_of(["scan_1", "S_0001_0001"], [a_folder("scan", 3), ONE], broken, 0)
    assert found["S_0001_0001"] == 1
    assert "the names of its pictures cannot be read: recording 'scan.frames.zip': the blob is gone" in str(
        found["scan_1"]
    )


def test_a_recording_that_has_both_the_name_and_the_picture_wins() -> None:
    """A folder and its copy: labels named after the folder are the folder's."""
    recordings = [a_folder("gap", 2), a_folder("copy", 2)]
    pictures = named(gap=["gap_1.png", "gap_2.png"], copy=["gap_1.png", "gap_3.png"])
    matches, unmatched = match(files("gap_1", "gap_3"), recordings, LINE, None, None, pictures)
    assert [each.recording.stem for each in matches] == ["gap"]
    assert "its name may mean several recordings" in unmatched[0].reason


def a_still(path: str, **changes: Any) -> Recording:
    name = path.rpartition("/")[2]
    fields = {
        "stem": name.rpartition(".")[0],
        "container": "still",
        "landing_key": f"unsorted/abc/set.stills.zip/{path}",
    }
    fields["recording_id"] = hashlib.sha256(path.encode()).hexdigest()
    return a_recording(name, 1, **(fields | changes))


def test_a_label_of_a_still_bears_its_name() -> None:
    stills = [a_still("JPEGImages/BloodImage_00000.jpg"), a_still("JPEGImages/BloodImage_00001.jpg")]
    matches, unmatched = match(files("BloodImage_00001", "BloodImage_00000", "BloodImage"), stills, LINE, None)
    assert [(each.recording.name, each.frame_index) for each in matches] == [
        ("BloodImage_00001.jpg", 0),
        ("BloodImage_00000.jpg", 0),
    ]
    assert [each.file for each in unmatched] == ["BloodImage.xml"]


def test_a_number_behind_a_stills_name_is_no_frame_of_it() -> None:
    matches, unmatched = match(files("cell_7_0"), [a_still("cell_7.png")], LINE, None)
    assert matches == [] and "no recording named 'cell_7'" in unmatched[0].reason


def test_folders_tell_stills_of_one_name_apart() -> None:
    stills = [a_still("train/a.png"), a_still("val/a.png")]
    labels = [LabelFile(file="labels/val/a.xml", image="a", objects=())]
    matches, _ = match(labels, stills, LINE, None)
    assert [each.recording for each in matches] == [stills[1]]
    matches, unmatched = match(files("a"), stills, LINE, None)
    assert matches == [] and "may mean several" in unmatched[0].reason


def test_a_still_is_found_by_the_name_that_it_landed_again_under() -> None:
    still = a_still("a.png")
    again = Landing(
        key="unsorted/def/more.stills.zip/x/copy_of_a.png", etag="e", size_bytes=1, modified_at=now(),
        recording_id=still.recording_id, outcome="duplicate", seen_at=now(),
    )  # fmt: skip
    matches, _ = match(files("copy_of_a"), [still], LINE, None, other_names([again], [still]))
    assert [each.recording for each in matches] == [still]


def in_a_batch(path: str, oid: str | None = None) -> Recording:
    """A still that landed under this path of its batch, of these bytes."""
    found = a_still(path, landing_key=f"set.stills.zip/{path}")
    return found.model_copy(update={"recording_id": oid or hashlib.sha256(path.encode()).hexdigest()})


def a_picture(file: str, oid: str | None = None) -> LabelFile:
    stem = file.rpartition("/")[2].rpartition(".")[0]
    return LabelFile(file=file, image=stem, objects=(file.split("/")[0],), picture_oid=oid)


def matched(labels: Sequence[LabelFile], stills: Sequence[Recording]) -> dict[str, str]:
    """File -> where the still lies that it is about; or why there is none."""
    matches, unmatched = match(labels, stills, LINE, None)
    found = {each.labels.file: each.recording.landing_key.partition("/")[2] for each in matches}
    return found | {each.file: each.reason for each in unmatched}


def test_pictures_of_one_name_in_different_class_folders_are_told_apart() -> None:
    stills = [in_a_batch("normal/1.bmp"), in_a_batch("abnormal/1.bmp"), in_a_batch("abnormal/2.bmp")]
    assert matched([a_picture("normal/1.bmp"), a_picture("abnormal/1.png")], stills) == {
        "normal/1.bmp": "normal/1.bmp",
        "abnormal/1.png": "abnormal/1.bmp",
    }


def test_a_label_never_goes_to_the_picture_of_its_name_in_another_class_folder() -> None:
    labels = [a_picture("normal/1.bmp"), a_picture("abnormal/1.bmp"), a_picture("abnormal/2.bmp")]
    found = matched(labels, [in_a_batch("normal/1.bmp"), in_a_batch("abnormal/2.bmp")])
    assert found["normal/1.bmp"] == "normal/1.bmp" and found["abnormal/2.bmp"] == "abnormal/2.bmp"
    assert "is another one: set.stills.zip/normal/1.bmp" in found["abnormal/1.bmp"]


def test_a_picture_is_known_by_its_bytes_whatever_it_is_called() -> None:
    stills = [in_a_batch("pictures/1.bmp", "a" * 64), in_a_batch("pictures/x.bmp", "b" * 64)]
    found = matched([a_picture("normal/1.bmp", "b" * 64), a_picture("abnormal/1.bmp", "a" * 64)], stills)
    assert found == {"normal/1.bmp": "pictures/x.bmp", "abnormal/1.bmp": "pictures/1.bmp"}


def test_a_picture_that_another_file_has_the_bytes_of_is_not_found_by_its_name() -> None:
    labels = [a_picture("normal/1.bmp", "a" * 64), a_picture("abnormal/1.bmp", "c" * 64)]
    found = matched(labels, [in_a_batch("pictures/1.bmp", "a" * 64)])
    assert found["normal/1.bmp"] == "pictures/1.bmp" and "is another one" in found["abnormal/1.bmp"]


def test_of_files_that_contradict_each_other_each_is_named_with_its_partner() -> None:
    labels = [a_picture(f"{folder}/1.bmp", "a" * 64) for folder in ("abnormal", "normal")]
    found = matched(labels, [in_a_batch("pictures/1.bmp", "a" * 64)])
    assert "same frame as normal/1.bmp, and they differ" in found["abnormal/1.bmp"]
    assert "same frame as abnormal/1.bmp, and they differ" in found["normal/1.bmp"]
