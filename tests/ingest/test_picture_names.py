"""Which picture of a folder each frame is: kept when it is ingested, found out again where it was not."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest

from tasks.errors import IntegrityError, UnreadableRecording
from tasks.ingest.frames import take_frames
from tasks.ingest.landing import add
from tasks.ingest.picture_names import picture_names, store
from tasks.ingest.recordings import ingest_new
from tasks.kind import LabelFile
from tasks.labeling.matching import match
from tasks.lake import Lake, gc
from tasks.schemas import Recording, now
from tests.ingest.clips import number_in, numbered, write_clip
from tests.ingest.test_recordings import LINE


def a_folder(folder: Path, *names: str) -> Path:
    """Pictures that each show the number in their name, 99 where there is none."""
    folder.mkdir()
    for name in names:
        digits = "".join(filter(str.isdigit, name))
        cv2.imwrite(str(folder / name), numbered(int(digits or 99)))
    return folder


def ingested(lake: Lake, *paths: Path) -> dict[str, Recording]:
    add(lake, paths)
    ingest_new(lake, [LINE])
    return {row.stem: row for row in lake.tables.rows("recordings", Recording)}


@pytest.mark.parametrize("kept", [True, False])
def test_names_stay_with_their_pictures(lake: Lake, tmp_path: Path, kept: bool) -> None:
    """A picture that lies there as well, is missing or damaged moves no label; also where names were not kept yet."""
    count = 60
    extra = a_folder(tmp_path / "extra", "background.png", *(f"extra_{n:04}.png" for n in range(4)))
    gap = a_folder(tmp_path / "gap", *(f"gap_{n:04}.png" for n in range(7) if n != 3))
    empty = a_folder(tmp_path / "empty", *(f"empty_{n:04}.png" for n in range(count)))
    (empty / "empty_0010.png").write_bytes(b"")
    found = ingested(lake, extra, gap, empty)
    assert all(recording.frame_names_oid for recording in found.values())
    if not kept:
        found = {stem: one.model_copy(update={"frame_names_oid": None}) for stem, one in found.items()}
    files = [LabelFile(f"{stem}_{n}", f"{stem}_{n}", ()) for stem in found for n in range(count)]
    matches, unmatched = match(files, list(found.values()), LINE, None, None, lambda one: picture_names(lake, one))
    assert len(matches) == 4 + 6 + count - 1
    assert "empty.frames.zip has no picture numbered 10 that can be read" in str(unmatched)
    for recording in found.values():
        own = [each for each in matches if each.recording is recording]
        frames = take_frames(lake, recording, LINE.line, [each.frame_index for each in own])
        for each, frame in zip(own, frames, strict=True):
            image = cv2.imdecode(np.frombuffer(lake.blobs.get_bytes(frame.oid), np.uint8), cv2.IMREAD_COLOR)
            assert f"{recording.stem}_{number_in(image)}" == each.labels.image


def test_what_is_no_folder_has_no_names(lake: Lake, tmp_path: Path) -> None:
    found = ingested(lake, write_clip(tmp_path / "clip.mp4"))
    assert found["clip"].frame_names_oid is None
    with pytest.raises(UnreadableRecording, match="it is no folder of images"):
        picture_names(lake, found["clip"])


def test_names_that_do_not_fit_are_refused(lake: Lake, tmp_path: Path) -> None:
    recording = ingested(lake, a_folder(tmp_path / "scan", "a_1.png", "a_2.png"))["scan"]
    assert picture_names(lake, recording) == ["a_1.png", "a_2.png"]
    with pytest.raises(UnreadableRecording, match="differ in number; expected 2 names; found 1"):
        picture_names(lake, recording.model_copy(update={"frame_names_oid": store(lake, ["a_1.png"])}))
    other = lake.blobs.put_bytes(b"{}", "application/json")
    with pytest.raises(IntegrityError, match="is no list of picture names"):
        picture_names(lake, recording.model_copy(update={"frame_names_oid": other}))


def test_names_are_not_garbage(lake: Lake, tmp_path: Path) -> None:
    recording = ingested(lake, a_folder(tmp_path / "scan", "a_1.png"))["scan"]
    gc.collect(lake, dry_run=False, at=now() + timedelta(days=60))
    assert picture_names(lake, recording) == ["a_1.png"]


def test_names_may_hold_anything(lake: Lake) -> None:
    names = ["caf\u00e9_1.png", "b\udcff_2.png", 'c"\n_3.png']
    recording = Recording.model_construct(name="x", frames_decoded=3, frame_names_oid=store(lake, names))
    assert picture_names(lake, recording) == ["caf\u00e9_1.png", "b?_2.png", 'c"\n_3.png']
