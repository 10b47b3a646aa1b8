from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tasks.config import LabelStudioSettings, Line
from tasks.errors import ConfigError, UnreadableRecording
from tasks.kinds import kind_of
from tasks.labeling.client import LabelStudio
from tasks.labeling.importing import ImportReport, import_labels
from tasks.labeling.sync import sync
from tasks.lake import Lake
from tasks.schemas import Annotation, Frame, Landing, Recording, now
from tests.labeling.annotators import Annotator, box, film, labeling_tasks, project_of, take_frames

DETECTION = kind_of("detection")


def voc(folder: Path, stem: str, *boxes: dict[str, Any], size: tuple[int, int] = (698, 528)) -> Path:
    """Write a VOC file as labelImg does."""
    objects = "".join(
        f"<object><name>{b['label']}</name><bndbox><xmin>{b['x_px']}</xmin><ymin>{b['y_px']}</ymin>"
        f"<xmax>{b['x_px'] + b['width_px']}</xmax><ymax>{b['y_px'] + b['height_px']}</ymax></bndbox></object>"
        for b in boxes
    )
    folder.mkdir(exist_ok=True)
    path = folder / f"{stem}.xml"
    path.write_text(
        f"<annotation><size><width>{size[0]}</width><height>{size[1]}</height></size>{objects}</annotation>"
    )
    return path


def bring(lake: Lake, line: Line, folder: Path, label_format: Any = "voc", base: int | None = None) -> ImportReport:
    return import_labels(lake, line, folder, label_format, base, take_frames=take_frames, kind=DETECTION)


def of_two_sizes(index: int) -> tuple[int, int]:
    """Width and height of a folder's pictures, or of a video that changes its size midway."""
    return (160, 120) if index < 2 else (320, 240)


def bring_mixed(lake: Lake, line: Line, folder: Path, label_format: Any) -> ImportReport:
    def take(lake: Lake, recording: Recording, line: str, indices: Sequence[int]) -> list[Frame]:
        return take_frames(lake, recording, line, indices, of_two_sizes)

    def names(recording: Recording) -> list[str]:
        return [f"{recording.stem}_{index:04}.png" for index in range(recording.frames_decoded)]

    return import_labels(lake, line, folder, label_format, take_frames=take, picture_names=names, kind=DETECTION)


def active(lake: Lake, line: Line) -> dict[int, list[dict[str, Any]]]:
    """Frame index -> objects of its one active annotation, after a sync."""
    sync(lake, line, DETECTION)
    newest = {row.annotation_id: row for row in lake.tables.rows("annotations", Annotation, {"line": line.line})}
    rows = [row for row in newest.values() if row.state == "active"]
    found = {row.frame_index: [dict(each) for each in row.objects] for row in rows}
    assert len(found) == len(rows), "a frame has several active annotations"
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Labels of frames 1 to 10 (1-based) of S_0001."""
    for number in range(1, 11):
        voc(tmp_path / "voc", f"S_0001_{number:04}", box(number, 20, "S"), box(50, 60, "impurity"))
    return tmp_path / "voc"


def test_voc_twice_is_once(lake: Lake, line: Line, client: LabelStudio, folder: Path) -> None:
    film(lake, line, frames=3, of=10)
    sync(lake, line, DETECTION)
    first = bring(lake, line, folder)
    assert (first.matched, first.annotations, first.boxes, first.unmatched) == (10, 10, 20, ())
    again = bring(lake, line, folder)
    assert (again.matched, again.annotations) == (10, 0)
    found = active(lake, line)
    assert sorted(found) == list(range(10))
    assert found[4] == [box(5, 20), box(50, 60, "impurity")]
    assert (bring(lake, line, folder).annotations, len(labeling_tasks(client, line))) == (0, 10)
    assert sync(lake, line, DETECTION).revisions == 0


def test_before_the_first_sync(lake: Lake, line: Line, client: LabelStudio, folder: Path) -> None:
    film(lake, line, frames=0, of=10)
    assert bring(lake, line, folder).annotations == 10
    assert len(active(lake, line)) == 10
    assert len(labeling_tasks(client, line)) == 10


def test_killed_in_the_middle(
    lake: Lake, line: Line, client: LabelStudio, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film(lake, line, frames=6, of=10)
    sync(lake, line, DETECTION)
    create = LabelStudio.create_annotation
    calls: list[int] = []

    def dying(self: LabelStudio, task_id: int, *args: Any) -> bool:
        calls.append(task_id)
        if len(calls) > 3:
            raise KeyboardInterrupt
        return create(self, task_id, *args)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(LabelStudio, "create_annotation", dying)
        bring(lake, line, folder)
    report = bring(lake, line, folder)
    assert report.matched == 10
    assert 0 < report.annotations < 10
    assert len(active(lake, line)) == 10


def test_a_lost_answer_makes_no_double(lake: Lake, line: Line, client: LabelStudio) -> None:
    film(lake, line, frames=1)
    sync(lake, line, DETECTION)
    task = labeling_tasks(client, line)[0]
    unique_id = "12345678-1234-5678-1234-567812345678"
    assert client.create_annotation(task, [], unique_id)
    assert not client.create_annotation(task, [], unique_id)


def test_edited_in_label_studio_stays_edited(
    lake: Lake, line: Line, client: LabelStudio, folder: Path, label_studio: LabelStudioSettings
) -> None:
    film(lake, line, frames=10, of=10)
    bring(lake, line, folder)
    (work,) = next(client.task_work(project_of(client, line), [labeling_tasks(client, line)[0]])).work
    moved = [region | {"value": region["value"] | {"x": 40.0}} for region in work.regions[:1]]
    client.change_annotation(work.annotation_id, moved)
    assert bring(lake, line, folder).annotations == 0
    assert active(lake, line)[0] == [box(279.2, 20)]
    voc(folder, "S_0001_0001", box(7, 7, "S"))
    report = bring(lake, line, folder)
    assert "were edited in Label Studio" in report.unmatched[0]["reason"]
    assert report.matched == 9


def test_a_newer_version_of_the_files_replaces_the_older(lake: Lake, line: Line, folder: Path) -> None:
    film(lake, line, frames=10, of=10)
    bring(lake, line, folder)
    assert active(lake, line)[0][0]["x_px"] == 1
    voc(folder, "S_0001_0001", box(7, 7, "S"))
    assert bring(lake, line, folder).annotations == 1
    assert active(lake, line)[0] == [box(7, 7)]


def test_an_annotators_own_work_is_left_alone(
    lake: Lake, line: Line, client: LabelStudio, folder: Path, label_studio: LabelStudioSettings
) -> None:
    film(lake, line, frames=1, of=10)
    sync(lake, line, DETECTION)
    Annotator(label_studio).draw(labeling_tasks(client, line)[0], box(300, 300))
    assert bring(lake, line, folder).annotations == 10
    assert bring(lake, line, folder).annotations == 0
    sync(lake, line, DETECTION)
    rows = lake.tables.rows("annotations", Annotation, {"line": line.line, "frame_index": 0})
    assert sorted(row.objects[0]["x_px"] for row in rows) == [1, 300]


def test_frames_with_nothing_on_them(lake: Lake, line: Line, tmp_path: Path) -> None:
    film(lake, line, frames=1)
    for number in (0, 5):
        voc(tmp_path / "voc", f"S_0001_{number}")
    assert bring(lake, line, tmp_path / "voc").annotations == 2
    assert bring(lake, line, tmp_path / "voc").annotations == 0
    assert active(lake, line) == {0: [], 5: []}


def test_what_cannot_be_placed_is_listed(lake: Lake, line: Line, folder: Path) -> None:
    film(lake, line, frames=0, of=10)
    film(lake, line, "twin.mp4", frames=0, study="a")
    film(lake, line, "twin.avi", frames=0, study="b")
    voc(folder, "S_0001_0002", box(1, 1, "S"), box(2, 2, "martian"))
    voc(folder, "S_0001_0003", box(1, 1, "S"), size=(640, 480))
    voc(folder, "S_0001_0011", box(1, 1, "S"))
    voc(folder, "S_0001_0005", box(1, 1, "S"), box(698, 1, "S"))
    voc(folder, "S_0009_0001", box(1, 1, "S"))
    voc(folder, "twin_0001", box(1, 1, "S"))
    (folder / "S_0001_0004.xml").write_text("<annotation>")
    report = bring(lake, line, folder)
    assert {each["file"]: each["reason"].split(" (")[0] for each in report.unmatched} == {
        "S_0001_0002.xml": "unknown class 'martian'",
        "S_0001_0003.xml": "is about images of 640x480 px, S_0001.mp4 has 698x528",
        "S_0001_0004.xml": "is not a Pascal VOC file: no element found: line 1, column 12",
        "S_0001_0005.xml": "box 2 lies outside of the picture",
        "S_0001_0011.xml": "S_0001.mp4 has no frame 11",
        "S_0009_0001.xml": "there is no recording named 'S_0009'",
        "twin_0001.xml": "several recordings are named 'twin': twin.mp4",
    }
    assert (report.matched, report.annotations) == (6, 6)


def test_content_that_landed_again_under_another_name(lake: Lake, line: Line, tmp_path: Path) -> None:
    strange = film(lake, line, "strange.mp4", frames=0, of=10)
    again = Landing(
        key="unsorted/0123/swim-01.mp4",
        etag="e",
        size_bytes=strange.size_bytes,
        modified_at=now(),
        recording_id=strange.recording_id,
        outcome="duplicate",
        seen_at=now(),
    )
    lake.tables.append("landings", [again])
    voc(tmp_path / "voc", "swim-01_0003", box(1, 1))
    (tmp_path / "voc" / "swim-01_0000.xml").write_text("<annotation>")
    report = bring(lake, line, tmp_path / "voc")
    assert (report.matched, [each["file"] for each in report.unmatched]) == (1, ["swim-01_0000.xml"])
    assert active(lake, line) == {3: [box(1, 1)]}


def test_a_frame_that_cannot_be_taken(lake: Lake, line: Line, folder: Path) -> None:
    film(lake, line, frames=2, of=10)

    def broken(lake: Lake, recording: Recording, line: str, indices: Sequence[int]) -> list[Frame]:
        take_frames(lake, recording, line, [index for index in indices if index != 7])
        raise UnreadableRecording(f"{recording.name}: frame 7 does not decode")

    report = import_labels(lake, line, folder, "voc", take_frames=broken, kind=DETECTION)
    assert report.matched == 9
    assert [each["file"] for each in report.unmatched] == ["S_0001_0008.xml"]
    assert all("does not decode" in each["reason"] for each in report.unmatched)


def test_yolo_and_coco_say_the_same(lake: Lake, line: Line, tmp_path: Path) -> None:
    film(lake, line, frames=0, of=10)
    yolo = tmp_path / "yolo"
    yolo.mkdir()
    (yolo / "classes.txt").write_text("Sperm\nimpurity\n")
    (yolo / "S_0001_0000.txt").write_text(f"0 {18 / 698:.12f} {28 / 528:.12f} {16 / 698:.12f} {16 / 528:.12f}\n")
    assert bring(lake, line, yolo, "yolo").annotations == 1
    coco = tmp_path / "coco"
    coco.mkdir()
    content = {
        "images": [{"id": 1, "file_name": "S_0001_0003.png", "width": 698, "height": 528}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [10, 20, 16, 16]}],
        "categories": [{"id": 1, "name": "sperm"}],
    }
    (coco / "instances.json").write_text(json.dumps(content))
    assert bring(lake, line, coco, "coco", 0).annotations == 1
    found = active(lake, line)
    assert found[3] == [box(10, 20)]
    assert all(abs(found[0][0][key] - value) < 1e-5 for key, value in box(10, 20).items() if key != "label")


def test_an_unclear_frame_base(lake: Lake, line: Line, tmp_path: Path) -> None:
    film(lake, line, frames=0, of=10)
    voc(tmp_path / "voc", "S_0001_0004", box(1, 1))
    with pytest.raises(ConfigError, match="--frame-base"):
        bring(lake, line, tmp_path / "voc")
    assert bring(lake, line, tmp_path / "voc", base=1).matched == 1
    assert sorted(active(lake, line)) == [3]


def test_a_removed_labeling_task_comes_back_with_labels(
    lake: Lake, line: Line, client: LabelStudio, folder: Path, label_studio: LabelStudioSettings
) -> None:
    film(lake, line, frames=2, of=10)
    sync(lake, line, DETECTION)
    Annotator(label_studio).remove_task(labeling_tasks(client, line)[0])
    assert sync(lake, line, DETECTION).tasks_removed == 1
    assert bring(lake, line, folder).annotations == 10
    assert len(active(lake, line)) == 10


def test_wrong_arguments(lake: Lake, line: Line, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no folder"):
        bring(lake, line, tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="holds no voc label files"):
        bring(lake, line, tmp_path)
    with pytest.raises(ConfigError, match=r"one of those of detection lines such as .*: voc, coco, yolo"):
        bring(lake, line, tmp_path, "kitti")


@pytest.mark.parametrize("container", ["images", "mp4"])
def test_sizes_are_the_frames_own(lake: Lake, line: Line, tmp_path: Path, container: str) -> None:
    """A folder of pictures of two sizes, and a video that changes its size midway."""
    name = "mix.frames.zip" if container == "images" else "mix.mp4"
    film(lake, line, name, frames=0, of=4, stem="mix", container=container, width_px=320, height_px=240)
    take_frames(lake, lake.tables.rows("recordings", Recording)[0], line.line, [0, 3], of_two_sizes)
    yolo = tmp_path / "yolo"
    yolo.mkdir()
    (yolo / "classes.txt").write_text("sperm\n")
    for number in range(4):
        (yolo / f"mix_{number:04}.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    assert bring_mixed(lake, line, yolo, "yolo").annotations == 4
    small = {"label": "sperm", "x_px": 72, "y_px": 54, "width_px": 16, "height_px": 12}
    large = {"label": "sperm", "x_px": 144, "y_px": 108, "width_px": 32, "height_px": 24}
    assert active(lake, line) == {0: [small], 1: [small], 2: [large], 3: [large]}
    for number in range(4):
        voc(tmp_path / "voc", f"mix_{number:04}", box(5, 5), size=of_two_sizes(number))
    voc(tmp_path / "voc", "mix_0001", box(5, 5), size=(320, 240))
    report = bring_mixed(lake, line, tmp_path / "voc", "voc")
    assert report.matched == 3
    assert report.unmatched == (
        {"file": "mix_0001.xml", "reason": f"is about images of 320x240 px, frame 1 of {name} has 160x120"},
    )


def test_no_frame_is_taken_for_labels_of_another_size(lake: Lake, line: Line, tmp_path: Path) -> None:
    """Else annotators would be offered a frame for each label of some other copy of the clip."""
    film(lake, line, frames=1, of=10)
    voc(tmp_path / "voc", "S_0001_0000", box(1, 1), size=(1920, 1080))
    voc(tmp_path / "voc", "S_0001_0007", box(1, 1), size=(1920, 1080))
    report = bring(lake, line, tmp_path / "voc")
    assert [each["reason"] for each in report.unmatched] == [
        "is about images of 1920x1080 px, S_0001.mp4 has 698x528"
    ] * 2
    assert [frame.frame_index for frame in lake.tables.rows("frames", Frame)] == [0]


def test_crowds_come_back_as_crowds(lake: Lake, line: Line, client: LabelStudio, tmp_path: Path) -> None:
    film(lake, line, frames=1)
    sync(lake, line, DETECTION)
    content = {
        "images": [{"id": n, "file_name": f"S_0001_{n:04}.png"} for n in range(2)],
        "annotations": [
            {"id": n, "image_id": n // 2, "category_id": 1, "bbox": [10 * n, 20, 16, 16], "iscrowd": n % 2}
            for n in range(4)
        ],
        "categories": [{"id": 1, "name": "sperm"}],
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    report = bring(lake, line, tmp_path, "coco")
    assert (report.annotations, report.boxes, report.crowds) == (2, 2, 2)
    assert active(lake, line) == {
        0: [box(0, 20), box(10, 20) | {"crowd": True}],
        1: [box(20, 20), box(30, 20) | {"crowd": True}],
    }
    assert bring(lake, line, tmp_path, "coco").annotations == 0
    # An annotator's browser sends the region back with its note; a note may be typed as well, or removed.
    (task,) = client.task_work(project_of(client, line), [labeling_tasks(client, line)[0]])
    first, second = task.work[0].regions
    assert second["meta"] == {"text": ["crowd"]}
    changed = [first | {"meta": {"text": "Crowd "}}, {key: value for key, value in second.items() if key != "meta"}]
    client.change_annotation(task.work[0].annotation_id, changed)
    assert active(lake, line)[0] == [box(0, 20) | {"crowd": True}, box(10, 20)]


def test_a_bad_label_file_costs_only_itself(lake: Lake, line: Line, tmp_path: Path) -> None:
    film(lake, line, frames=1)
    folder = tmp_path / "yolo"
    folder.mkdir()
    (folder / "classes.txt").write_text("sperm\n")
    (folder / "S_0001_0000.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    (folder / "S_0001_0001.txt").write_text("0 0.5 0.5 0.1 0.1\n" * 100_000)
    (folder / "S_0001_0002.txt").write_text("0 1e400 0.5 0.1 0.1\n")
    report = bring(lake, line, folder, "yolo")
    assert report.matched == 1
    assert [each["reason"] for each in report.unmatched] == [
        "is not a YOLO label file: it has 100000 boxes on one image, and at most 5000 are taken: cut the picture into "
        "several",
        "is not a YOLO label file: line 1 (0 1e400 0.5 0.1 0.1): value 2 is '1e400', expected a number",
    ]
    assert sorted(active(lake, line)) == [0]
