"""From pictures in a folder to recordings of one frame: `add --stills`, then the night."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow

from tasks.config import Settings
from tasks.errors import ConfigError
from tasks.ingest import sidecar
from tasks.ingest.frames import take_frames
from tasks.ingest.recordings import ingest_new
from tasks.ingest.stills import batches, taking_in
from tasks.ingest.stills.adding import add_stills
from tasks.ingest.viewing import Viewer
from tasks.ingest.watching import WHOLE
from tasks.lake import Lake
from tasks.lake.pseudonyms import known_names
from tasks.schemas import Frame, Landing, QuarantineItem, Recording
from tests.ingest.stills.pictures import a_line, cell, write
from tests.services import use_external_s3

LINE = a_line()


def recordings(lake: Lake) -> dict[str, Recording]:
    return {one.name: one for one in lake.tables.rows("recordings", Recording)}


def frames(lake: Lake) -> list[Frame]:
    return lake.tables.rows("frames", Frame)


def test_each_picture_is_a_recording_of_one_frame(lake: Lake, tmp_path: Path) -> None:
    for number, suffix in enumerate((".png", ".jpg", ".bmp", ".tif", ".webp")):
        write(tmp_path / "set" / f"cell_{number}{suffix}", number)
    (tmp_path / "set" / "labels.xml").write_text("<annotation/>")
    report = add_stills(lake, [str(tmp_path / "set")], study="s", um_per_px=0.5, split="test")
    assert (report.new, report.batches, report.groups, report.passed_over, report.refused) == (5, 1, 5, 1, ())
    assert len(list(lake.landing.list())) == 2

    found = ingest_new(lake, [LINE])
    assert (len(found.new), found.frames, found.quarantined) == (5, 5, ())
    for number, (name, one) in enumerate(sorted(recordings(lake).items())):
        assert one.is_still and one.stem == f"cell_{number}" and one.donor is None
        assert (one.study, one.um_per_px, one.pinned_split, one.frames_decoded) == ("s", 0.5, "test", 1)
        assert one.landing_key.endswith(f"/set.stills.zip/{name}")
        assert lake.blobs.get_bytes(one.recording_id) == (tmp_path / "set" / name).read_bytes()
    for frame in frames(lake):
        number = int(next(r.stem for r in recordings(lake).values() if r.recording_id == frame.recording_id)[-1])
        shown = cv2.imdecode(np.frombuffer(lake.blobs.get_bytes(frame.oid), np.uint8), cv2.IMREAD_COLOR)
        assert frame.pts_s is None and frame.frame_index == 0
        if number == 1:
            assert frame.media_type == "image/jpeg" and frame.oid == frame.recording_id, "a plain JPEG stays as it is"
        else:
            assert frame.media_type == "image/png"
            np.testing.assert_array_equal(shown, cell(number), err_msg=f"picture {number} lost something")


def test_adding_again_adds_nothing_and_ingest_has_nothing_to_do(lake: Lake, tmp_path: Path) -> None:
    for number in range(4):
        write(tmp_path / "set" / f"{number}.png", number)
    first = add_stills(lake, [str(tmp_path / "set")])
    there = {info.key: info.etag for info in lake.landing.list()}
    waiting = add_stills(lake, [str(tmp_path / "set")])
    assert (waiting.new, waiting.batches) == (0, 0) and set(waiting.accepted) == set(first.accepted)
    ingest_new(lake, [LINE])
    write(tmp_path / "set" / "4.png", 4)
    more = add_stills(lake, [str(tmp_path / "set")])
    assert (more.new, len(more.accepted)) == (1, 5)
    assert len(ingest_new(lake, [LINE]).new) == 1
    last = ingest_new(lake, [LINE])
    assert (last.new, last.frames, last.duplicates) == ((), 0, ())
    assert len(frames(lake)) == 5 and there.items() <= {info.key: info.etag for info in lake.landing.list()}.items()


def test_the_same_picture_twice_is_one_sample_and_a_named_duplicate(lake: Lake, tmp_path: Path) -> None:
    write(tmp_path / "a" / "one.png", 1)
    write(tmp_path / "a" / "copy.png", 1)
    add_stills(lake, [str(tmp_path / "a")])
    ingest_new(lake, [LINE])
    write(tmp_path / "b" / "third name.png", 1)
    add_stills(lake, [str(tmp_path / "b")])
    found = ingest_new(lake, [LINE])
    assert (found.new, len(found.duplicates)) == ((), 1) and found.duplicates[0].endswith("/third name.png")
    assert list(recordings(lake)) == ["copy.png"] and len(frames(lake)) == 1
    twice = lake.tables.rows("landings", Landing, {"outcome": "duplicate"})
    assert sorted(row.key.rpartition("/")[2] for row in twice) == ["one.png", "third name.png"]
    assert all("copy.png" in (row.reason or "") for row in twice)
    again = add_stills(lake, [str(tmp_path / "a"), str(tmp_path / "b")])
    assert (again.new, len(again.accepted)) == (0, 3)


def test_one_picture_in_two_groups_is_refused(lake: Lake, tmp_path: Path) -> None:
    write(tmp_path / "set" / "D1" / "a.png", 1)
    write(tmp_path / "set" / "D2" / "b.png", 1)
    report = add_stills(lake, [str(tmp_path / "set")], group_by="folder")
    assert report.new == 1
    assert "the same picture as" in report.refused[0].reason and "donor 'D1', not 'D2'" in report.refused[0].reason


def test_what_is_said_otherwise_later(lake: Lake, tmp_path: Path) -> None:
    write(tmp_path / "set" / "a.png", 1)
    add_stills(lake, [str(tmp_path / "set")], donor="D1", split="train")
    assert add_stills(lake, [str(tmp_path / "set")], donor="D2").new == 0, "it waits, and gets the new donor"
    ingest_new(lake, [LINE])
    (one,) = recordings(lake).values()
    assert (one.donor, one.pinned_split) == ("D2", "train")
    assert len(add_stills(lake, [str(tmp_path / "set")]).accepted) == 1, "saying nothing contradicts nothing"
    refused = add_stills(lake, [str(tmp_path / "set")], donor="D3").refused
    assert "donor 'D2', not 'D3'" in refused[0].reason


def test_a_damaged_picture_goes_to_quarantine_by_its_own_name(lake: Lake, tmp_path: Path) -> None:
    good = write(tmp_path / "set" / "good.png", 1).read_bytes()
    (tmp_path / "set" / "cut.png").write_bytes(good[:-40])
    (tmp_path / "set" / "empty.jpg").write_bytes(b"")
    (tmp_path / "set" / "text.bmp").write_text("no picture at all")
    tifffile.imwrite(tmp_path / "set" / "stack.tif", np.zeros((3, 8, 8), np.uint8), photometric="minisblack")
    Pillow.fromarray(np.zeros((8, 8, 4), np.uint8)).save(tmp_path / "set" / "clear.png")
    Pillow.fromarray(np.zeros((8, 8, 4), np.uint8)).save(tmp_path / "set" / "clear.webp", lossless=True)
    assert add_stills(lake, [str(tmp_path / "set")]).new == 7
    found = ingest_new(lake, [LINE])
    assert len(found.new) == 1
    reasons = {item.subject.rpartition("/")[2]: item.reason for item in found.quarantined}
    assert {
        name: word in reasons[name]
        for name, word in {
            "cut.png": "cut short or damaged", "empty.jpg": "empty", "text.bmp": "plain text", "stack.tif": "3 pages",
            "clear.png": "transparent", "clear.webp": "transparent",
        }.items()
    } == dict.fromkeys(reasons, True)  # fmt: skip
    assert add_stills(lake, [str(tmp_path / "set")]).new == 0, "what was set aside does not land again"
    assert ingest_new(lake, [LINE]).quarantined == ()
    assert len(lake.tables.rows("quarantine", QuarantineItem)) == 6


def test_deep_grey_is_stretched_and_says_by_what(lake: Lake, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    ramp = np.linspace(300, 4000, 64 * 64).reshape(64, 64).astype(np.uint16)
    tifffile.imwrite(tmp_path / "set" / "deep.tif", ramp)
    cv2.imwrite(str(tmp_path / "set" / "deep.png"), ramp // 2)
    add_stills(lake, [str(tmp_path / "set")])
    ingest_new(lake, [LINE])
    found = recordings(lake)
    assert found["deep.tif"].grey_range == pytest.approx((300, 4000), abs=3)
    assert found["deep.png"].grey_range == pytest.approx((150, 2000), abs=3)
    for frame in frames(lake):
        shown = cv2.imdecode(np.frombuffer(lake.blobs.get_bytes(frame.oid), np.uint8), cv2.IMREAD_UNCHANGED)
        assert shown.dtype == np.uint8 and shown.min() == 0 and shown.max() == 255


def test_annotators_get_no_metadata(lake: Lake, tmp_path: Path) -> None:
    exif = Pillow.Exif()
    exif[0x010E] = "patient Jane Roe"
    (tmp_path / "set").mkdir()
    for suffix in ("jpg", "png", "webp"):
        Pillow.fromarray(cell(1)).save(tmp_path / "set" / f"a.{suffix}", exif=exif)
    add_stills(lake, [str(tmp_path / "set")])
    ingest_new(lake, [LINE])
    shown = [lake.blobs.get_bytes(frame.oid) for frame in frames(lake)]
    assert len(shown) == 3 and not any(b"Jane Roe" in data for data in shown)


def test_from_a_zip_and_from_a_bucket(lake: Lake, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "cells.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(3):
            archive.writestr(f"cells/D{number}/{number}.png", write(tmp_path / f"{number}.png", number).read_bytes())
        archive.writestr("__MACOSX/cells/._0.png", b"x")
        archive.writestr("../escape.png", b"x")
        archive.writestr("notes.txt", b"x")
    report = add_stills(lake, [str(tmp_path / "cells.zip")], group_by="folder")
    assert (report.new, report.groups, report.passed_over) == (3, 3, 1)

    for number in range(3, 6):
        lake.landing.put_bytes(f".upload/x/D{number}/{number}.png", write(tmp_path / "n.png", number).read_bytes())
    lake.landing.put_bytes(".upload/x/readme.md", b"x")
    place = f"s3://{lake.landing.bucket}/.upload/x"
    report = add_stills(lake, [place], group_by=r"(D\d)/")
    assert (report.new, report.groups, report.passed_over) == (3, 3, 1)
    ingest_new(lake, [LINE])
    assert {name: one.donor for name, one in recordings(lake).items()} == {f"{n}.png": f"D{n}" for n in range(6)}


@pytest.mark.parametrize(
    ("place", "word"),
    [("gone", "no such file"), ("notes.txt", "no ZIP"), ("bare", "holds no picture"), ("s3://", "s3:")],
)
def test_places_that_are_none(lake: Lake, tmp_path: Path, place: str, word: str) -> None:
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "bare").mkdir()
    with pytest.raises(ConfigError, match=word):
        add_stills(lake, [place if "://" in place else str(tmp_path / place)])
    assert list(lake.landing.list()) == []


def test_places_land_together_and_pictures_keep_their_names(lake: Lake, tmp_path: Path) -> None:
    places = [tmp_path / name / "images" for name in ("a", "b", "c")]
    for number, place in enumerate(places):
        write(place / f"{number % 2}.png", number)
    report = add_stills(lake, [str(place) for place in places], study="s")
    assert (report.new, report.batches) == (3, 2), "the third is called like the first, so it lands in another batch"
    assert len(ingest_new(lake, [LINE]).new) == 3
    assert sorted(one.stem for one in lake.tables.rows("recordings", Recording)) == ["0", "0", "1"]
    assert add_stills(lake, [str(place) for place in places], study="s").new == 0


def test_both_a_donor_and_groups_is_one_too_many(lake: Lake, tmp_path: Path) -> None:
    write(tmp_path / "set" / "a.png", 1)
    with pytest.raises(ConfigError, match="both --donor and --group-by"):
        add_stills(lake, [str(tmp_path / "set")], donor="D1", group_by="folder")


def test_a_batch_that_somebody_else_dropped(lake: Lake, tmp_path: Path) -> None:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr("x/a.png", write(tmp_path / "a.png", 1).read_bytes())
    lake.landing.put_bytes("scope/today.stills.zip", sink.getvalue())
    lake.landing.put_bytes(sidecar.key_of("scope/today.stills.zip"), b'{"study": "s", "donor": "D9"}')
    lake.landing.put_bytes("scope/broken.stills.zip", sink.getvalue()[:50])
    found = ingest_new(lake, [LINE])
    (one,) = recordings(lake).values()
    assert (one.study, one.donor, one.landing_key) == ("s", "D9", "scope/today.stills.zip/x/a.png")
    assert [item.subject for item in found.quarantined] == ["scope/broken.stills.zip"]


def test_what_is_too_large_is_set_aside_by_its_name(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        write(tmp_path / "set" / f"{number}.bmp", number)
    cv2.imwrite(str(tmp_path / "set" / "large.bmp"), np.zeros((200, 200, 3), np.uint8))
    add_stills(lake, [str(tmp_path / "set")])
    monkeypatch.setattr(batches, "MAX_PICTURE_BYTES", 50_000)
    monkeypatch.setattr(taking_in, "AT_ONCE_BYTES", 20_000)  # two at a time
    found = ingest_new(lake, [LINE])
    assert len(found.new) == 6 == found.frames
    assert [item.subject.rpartition("/")[2] for item in found.quarantined] == ["large.bmp"]


def test_many_batches_and_a_second_line(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "MAX_PICTURES", 3)
    for number in range(8):
        write(tmp_path / "set" / f"{number}.bmp", number)
    assert add_stills(lake, [str(tmp_path / "set")]).batches == 3
    before = lake.tables.snapshot_id("recordings")
    assert len(ingest_new(lake, []).new) == 8 and frames(lake) == [] and before is None
    assert ingest_new(lake, [LINE]).frames == 8, "read again from the lake"
    oids = {frame.oid for frame in frames(lake)}
    assert ingest_new(lake, [LINE, a_line("others")]).frames == 8, "shared"
    assert {frame.oid for frame in frames(lake)} == oids and len(frames(lake)) == 16


def test_a_still_is_shown_and_its_frame_taken_again(lake: Lake, tmp_path: Path) -> None:
    write(tmp_path / "set" / "a.tif", 1)
    write(tmp_path / "set" / "b.png", 2)
    add_stills(lake, [str(tmp_path / "set")])
    ingest_new(lake, [])
    found = recordings(lake)
    (frame,) = take_frames(lake, found["a.tif"], LINE.line, [0])
    assert frame.frame_index == 0 and frame.width_px == 64
    with Viewer(lake) as viewer:
        wanted = [(one.recording_id, WHOLE) for one in found.values()]
        clips = dict(viewer.watch(wanted))
    assert all(not isinstance(clip, str) and len(clip.thumbs) == 1 for clip in clips.values())


def test_pseudonyms_reach_groups_folders_and_names(lake: Lake, tmp_path: Path) -> None:
    write(tmp_path / "clinic" / "Jane Roe" / "roe_left.png", 1)
    write(tmp_path / "clinic" / "John Doe" / "doe_1.png", 2)
    add_stills(lake, [str(tmp_path / "clinic")], group_by="folder", pseudonyms=True)
    ingest_new(lake, [LINE])
    objects = [info.key for info in lake.landing.list()]
    said = b"".join(lake.landing.get_bytes(key) for key in objects if key.endswith(".json")).decode()
    text = " ".join([*objects, said, *(one.model_dump_json() for one in recordings(lake).values())])
    assert not any(word in text for word in ("Jane", "Doe", "roe", "doe", "clinic"))
    names = known_names(lake.settings)
    assert {names[one.donor or ""] for one in recordings(lake).values()} == {"Jane Roe", "John Doe"}
    assert {names[one.stem] for one in recordings(lake).values()} == {"roe_left", "doe_1"}
    with pytest.raises(ConfigError, match="has a pseudonym here"):
        add_stills(lake, [str(tmp_path / "clinic")], group_by="folder")


def test_a_decoder_that_dies_of_one_picture_costs_only_that(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(9):
        write(tmp_path / "set" / f"{number}.png", number)
    add_stills(lake, [str(tmp_path / "set")])
    deadly = tmp_path / "site" / "sitecustomize.py"
    deadly.parent.mkdir()
    deadly.write_text(
        "import os, sys\n"
        "if 'tasks.ingest.worker' in ' '.join(sys.orig_argv):\n"
        "    import tasks.ingest.reading as r\n"
        "    plain = r.read\n"
        "    def read(job):\n"
        f"        bad = open({str(tmp_path / 'set' / '5.png')!r}, 'rb').read()\n"
        "        if open(job.path, 'rb').read() == bad: os._exit(9)\n"
        "        return plain(job)\n"
        "    r.read = read\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(deadly.parent))
    found = ingest_new(lake, [LINE])
    assert len(found.new) == 8
    assert [(item.subject.rpartition("/")[2], "crashed" in item.reason) for item in found.quarantined] == [
        ("5.png", True)
    ]


_NIGHT = """
import sys
from pathlib import Path
from tasks.config import load_settings
from tasks.ingest.recordings import ingest_new
from tasks.ingest.stills import batches
from tasks.ingest.stills.adding import add_stills
from tasks.lake import open_lake
from tests.ingest.stills.pictures import a_line
batches.MAX_PICTURES = 20
lake = open_lake(load_settings())
print(add_stills(lake, [sys.argv[1]], group_by="folder").new, flush=True)
print(len(ingest_new(lake, [a_line()]).new), flush=True)
"""


def _night(settings: Settings, folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", _NIGHT, str(folder)],
        env=os.environ | {"NIGHTSCOPE_STATE_DIR": str(settings.state_dir)},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        cwd=Path(__file__).parents[3],
    )


@pytest.mark.integration
def test_killed_anywhere_and_run_again_it_ends_the_same(lake: Lake, tmp_path: Path) -> None:
    for number in range(120):
        write(tmp_path / "set" / f"D{number % 7}" / f"{number}.bmp", number)
    use_external_s3(lake.settings.state_dir, lake.settings.s3)
    seen = []
    for moment in (0, 1, 7):  # before the first batch landed; after some; in the midst of the night's commits
        process = _night(lake.settings, tmp_path / "set")
        until = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < until:
            landed = sum(not info.key.endswith(".json") for info in lake.landing.list())
            committed = len(lake.tables.scan("recordings", columns=["recording_id"]))
            if landed + committed // 20 >= moment:
                break
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        seen.append(len(lake.tables.scan("recordings", columns=["recording_id"])))
    process = _night(lake.settings, tmp_path / "set")
    assert process.wait(timeout=240) == 0
    assert 0 < seen[-1] < 120, "the third was killed amid its commits"
    found = recordings(lake)
    assert len(found) == 120 == len(lake.tables.scan("recordings"))
    assert {name: one.donor for name, one in found.items()} == {f"{n}.bmp": f"D{n % 7}" for n in range(120)}
    assert len(frames(lake)) == 120 == len({frame.recording_id for frame in frames(lake)})
    assert lake.tables.rows("quarantine", QuarantineItem) == []
    assert lake.tables.rows("landings", Landing, {"outcome": "duplicate"}) == []
    assert sum(info.key.endswith(".zip") for info in lake.landing.list()) == 6
    assert all(lake.blobs.exists(oid) for frame in frames(lake) for oid in (frame.oid, frame.recording_id))


def test_masks_among_pictures_are_no_samples(lake: Lake, tmp_path: Path) -> None:
    for name in ("7/images/7.png", "7/masks/1.png", "7/masks/2.png", "b/a.png", "b/a_cp_masks.png", "masks/c.png"):
        write(tmp_path / "set" / name, len(name) + ord(name[-5]))
    write(tmp_path / "set" / "only_mask.png", 77)  # nothing beside it that it could be a mask of
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for path in (tmp_path / "set").rglob("*.png"):
            archive.write(path, path.relative_to(tmp_path))
    for place in ("set", "set.zip"):
        report = add_stills(lake, [str(tmp_path / place)])
        taken = {Path(one.path).name for one in report.accepted}
        assert (report.masks, report.passed_over, report.refused) == (3, 0, ())
        assert taken == {"7.png", "a.png", "c.png", "only_mask.png"}
