"""Existing label files become annotations in Label Studio, on the right frames; twice is the same as once.

Every imported region's id starts with a digest of what its file says. Label Studio keeps those ids when people edit, so
an import recognises its own work, edited or not, and adds nothing. The server refuses a second annotation with the same
`unique_id`, so that a request whose answer was lost can be sent again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

from tasks.config import Line
from tasks.errors import ConfigError, DataError
from tasks.escaping import short_repr
from tasks.kind import BadFile, Kind, LabelFile, Misplaced, Object
from tasks.labeling import state as states
from tasks.labeling.answers import Project, TaskWork
from tasks.labeling.client import LabelStudio
from tasks.labeling.convert import objects_digest, to_objects, to_regions
from tasks.labeling.matching import Match, PictureNames, Unmatched, clear_pictures, clearly_named, match, other_names
from tasks.labeling.projects import ensure_project
from tasks.labeling.push_tasks import frame_row, place, refresh, remove_doubles, settle
from tasks.labeling.state import FrameKey, SyncState
from tasks.lake import Lake
from tasks.lake.locks import lake_lock
from tasks.schemas import Frame, Frozen, Landing, Recording

TakeFrames = Callable[[Lake, Recording, str, Sequence[int]], list[Frame]]
"""`tasks.ingest.frames.take_frames`: rows for frames of a recording, extracting those that are missing."""

_NAMESPACE = UUID("6f6c1f0e-6d0b-5c39-9a0e-6c1a2a8f4b57")
_MARK_DIGITS = 16
_THREADS = 4


class ImportReport(Frozen):
    """What an import did.

    Attributes:
        matched: Label files whose labels are in Label Studio now.
        unmatched: Files that went nowhere: [{file, reason}].
        annotations: Annotations made or replaced by this import; 0 if all were there already.
        boxes: Objects in the matched files that count as one label each, whatever the line's kind; scripts know the
            number by this name.
        crowds: Those that do not: regions of many objects (COCO's `iscrowd`).
    """

    matched: int
    unmatched: tuple[dict[str, str], ...]
    annotations: int
    boxes: int
    crowds: int = 0


@dataclass(frozen=True)
class _Labelled:
    """A frame and what a file says is on it."""

    file: str
    frame: Frame
    objects: list[Object]

    @property
    def key(self) -> FrameKey:
        return self.frame.recording_id, self.frame.frame_index

    @property
    def mark(self) -> str:
        return objects_digest(self.objects)[:_MARK_DIGITS]

    def regions(self, kind: Kind, line: Line) -> list[dict[str, Any]]:
        return to_regions(kind, self.objects, self.frame.width_px, self.frame.height_px, self.mark, line=line)


def import_labels(
    lake: Lake,
    line: Line,
    folder: Path,
    label_format: str,
    frame_base: int | None = None,
    *,
    kind: Kind,
    take_frames: TakeFrames,
    picture_names: PictureNames | None = None,
    clear_names: Mapping[str, str] | None = None,
) -> ImportReport:
    """Bring a folder of label files into Label Studio.

    Args:
        lake: The lake; its recordings are what files are matched with.
        line: Whose labels they are; foreign class names are looked up in its classes and aliases.
        folder: Searched with everything below it.
        label_format: What the files are.
        frame_base: Number of the first frame in the file names of videos and stacks; None = find out.
        kind: Of the line; reads the files.
        take_frames: Gives the frames that labels need, extracting those that were not sampled.
        picture_names: Names the pictures of folders of images, whose labels are found by them.
        clear_names: Pseudonym of a recording's stem, or a picture's → the name that label files know it by.

    Raises:
        ConfigError: The folder, the format or the frame base is wrong, or the line's kind reads no such files.
        ServiceUnavailable: Label Studio does not answer.
    """
    _check(line, kind, folder, label_format)
    files = _read(kind, line, folder, label_format)
    recordings = lake.tables.rows("recordings", Recording)
    again = lake.tables.rows("landings", Landing, {"outcome": "duplicate"})
    clear = clear_names or {}
    called = clearly_named(recordings, clear)
    pictures = clear_pictures(picture_names, clear) if picture_names and clear else picture_names
    matches, unmatched = match(files, called, line, frame_base, other_names(again, called, clear), pictures)
    by_id = {one.recording_id: one for one in recordings}  # clear names are for matching only
    matches = [replace(one, recording=by_id[one.recording.recording_id]) for one in matches]
    labelled, refused = _frames(lake, line, kind, matches, take_frames)
    unmatched += refused
    annotations = 0
    if labelled:
        with lake_lock(lake.settings, f"labels-{line.line}"), LabelStudio(lake.settings.label_studio) as client:
            annotations, refused = _annotate(client, lake, line, kind, labelled)
            unmatched += refused
    placed = {each.file for each in labelled} - {each.file for each in unmatched}
    put = [each.objects for each in labelled if each.file in placed]
    counted = sum(len(kind.checks.counted(each)) for each in put)
    crowded = [each for each in put if not kind.checks.is_learned_from(each)]
    return ImportReport(
        matched=len(placed),
        unmatched=tuple({"file": each.file, "reason": each.reason} for each in sorted(unmatched, key=lambda u: u.file)),
        annotations=annotations,
        boxes=counted,
        crowds=sum(len(each) - len(kind.checks.counted(each)) for each in crowded),
    )


def _check(line: Line, kind: Kind, folder: Path, label_format: str) -> None:
    formats = kind.files.FORMATS
    if label_format not in formats:
        raise ConfigError(
            f"label format {label_format!r}",
            expected=f"one of those of {kind.name} lines such as {line.line}: {', '.join(formats) or 'none'}",
        )
    if not folder.is_dir() and not (folder.is_file() and getattr(kind.files, "FOR_LINE", False)):
        raise ConfigError(f"{folder}: is no folder", fix="name the folder that holds the label files")


def _read(kind: Kind, line: Line, folder: Path, label_format: str) -> list[LabelFile | BadFile]:
    files = list(kind.read_files(label_format, folder, line))
    if not files:
        raise ConfigError(f"{folder}: holds no {label_format} label files")
    return files


def _frames(
    lake: Lake, line: Line, kind: Kind, matches: Sequence[Match], take_frames: TakeFrames
) -> tuple[list[_Labelled], list[Unmatched]]:
    """The frame rows that the matches need, and the matches in pixels of those frames."""
    present = _present(lake, line)
    seen = _sizes(present.values())
    labelled, unmatched = [], []
    by_recording: dict[str, list[Match]] = {}
    for each in matches:
        refused = _unknown_class(each, line, kind) or _unheard_of_size(each, seen)
        if refused is None:
            by_recording.setdefault(each.recording.recording_id, []).append(each)
        else:
            unmatched.append(Unmatched(each.labels.file, refused))
    for recording_id, own in by_recording.items():
        missing = sorted({each.frame_index for each in own if (recording_id, each.frame_index) not in present})
        why = "its frame could not be taken"
        if missing:
            try:
                taken = take_frames(lake, own[0].recording, line.line, missing)
                present |= {(row.recording_id, row.frame_index): row for row in taken}
            except DataError as error:  # those that could be taken are in the table
                why = f"its frame could not be taken: {error}"
                present |= _present(lake, line)
        for each in own:
            frame = present.get((recording_id, each.frame_index))
            if frame is None:
                unmatched.append(Unmatched(each.labels.file, why))
            elif refused := _other_size(each, frame):
                unmatched.append(Unmatched(each.labels.file, refused))
            else:
                try:
                    labelled.append(_Labelled(each.labels.file, frame, kind.files.place(each.labels, frame, line)))
                except Misplaced as error:
                    unmatched.append(Unmatched(each.labels.file, str(error)))
    return labelled, unmatched


def _present(lake: Lake, line: Line) -> dict[FrameKey, Frame]:
    rows = lake.tables.rows("frames", Frame, {"line": line.line})
    return {(row.recording_id, row.frame_index): row for row in rows}


def _sizes(frames: Iterable[Frame]) -> dict[str, set[tuple[int, int]]]:
    """Recording id -> (width, height) of those of its frames that are known."""
    found: dict[str, set[tuple[int, int]]] = defaultdict(set)
    for frame in frames:
        found[frame.recording_id].add((frame.width_px, frame.height_px))
    return found


def _unknown_class(found: Match, line: Line, kind: Kind) -> str | None:
    """Why a file cannot be used: a class. It is left out whole: frames with only a part of their labels would teach
    that the rest is background."""
    unknown = sorted(name for name in kind.files.classes_in(found.labels) if line.class_named(name) is None)
    if not unknown:
        return None
    return f"unknown class {', '.join(map(short_repr, unknown[:10]))} (line {line.line} has {', '.join(line.classes)})"


def _unheard_of_size(found: Match, seen: Mapping[str, set[tuple[int, int]]]) -> str | None:
    """Why no frame of a video is taken for a file: no known one has the size that it states. A folder's pictures may
    have any size each."""
    recording = found.recording
    sizes = seen.get(recording.recording_id, set()) | {(recording.width_px, recording.height_px)}
    if recording.container == "images" or any(_stated(found, size) == size for size in sizes):
        return None
    width_px, height_px = _stated(found, (recording.width_px, recording.height_px))
    has = f"{recording.name} has {recording.width_px}x{recording.height_px}"
    return f"is about images of {width_px}x{height_px} px, {has}"


def _other_size(found: Match, frame: Frame) -> str | None:
    """Why a file cannot be about its frame: it states another size."""
    size = (frame.width_px, frame.height_px)
    stated = _stated(found, size)
    if stated == size:
        return None
    where = f"frame {found.frame_index} of {found.recording.name} has {size[0]}x{size[1]}"
    return f"is about images of {stated[0]}x{stated[1]} px, {where}"


def _stated(found: Match, otherwise: tuple[int, int]) -> tuple[int, int]:
    """The size that a file states, filled up where it states none."""
    return found.labels.width_px or otherwise[0], found.labels.height_px or otherwise[1]


def _annotate(
    client: LabelStudio, lake: Lake, line: Line, kind: Kind, labelled: Sequence[_Labelled]
) -> tuple[int, list[Unmatched]]:
    """Make the annotations; how many, and the files whose labels were not taken.

    What is learned of the project here is not kept: the next sync has to see these changes as changes.
    """
    state = states.load(lake, line.line)
    project = ensure_project(client, line, state.project_id, kind=kind)
    if state.project_id != project.project_id:
        state = SyncState(project_id=project.project_id)
    refresh(client, project, state)
    remove_doubles(client, state)
    placed = state.placed()
    new = [each for each in labelled if each.key not in placed]
    place(
        client, project, lake, [frame_row(each.frame) for each in new], state,
        annotations={each.key: each.regions(kind, line) for each in new},
    )  # fmt: skip
    if new:
        settle(client, project, state)
    old = [(placed[each.key], each) for each in labelled if each.key in placed]
    changed, refused = _annotate_present(client, project, line, kind, state, old)
    return len(new) + changed, refused


def _annotate_present(
    client: LabelStudio,
    project: Project,
    line: Line,
    kind: Kind,
    state: SyncState,
    labelled: Sequence[tuple[int, _Labelled]],
) -> tuple[int, list[Unmatched]]:
    """Annotations on frames that have their labeling task already."""
    worked_on = [task_id for task_id, _ in labelled if state.tasks[task_id].annotations]
    own = client.user_id() if worked_on else 0
    plans = {task_id: _Plan() for task_id, _ in labelled}
    wanted = dict(labelled)
    for task in client.task_work(project.project_id, worked_on):
        plans[task.task_id] = _plan(kind, line, task, wanted[task.task_id], own)

    def carry_out(item: tuple[int, _Labelled]) -> bool:
        task_id, each = item
        plan = plans[task_id]
        if plan.done or plan.refusal:
            return False
        if plan.replaces is not None:
            client.change_annotation(plan.replaces, each.regions(kind, line))
            return True
        unique_id = uuid5(_NAMESPACE, f"{project.project_id}/{task_id}/{each.mark}")
        return client.create_annotation(task_id, each.regions(kind, line), str(unique_id))

    with ThreadPoolExecutor(_THREADS) as threads:
        made = sum(threads.map(carry_out, labelled))
    refused = [Unmatched(each.file, plans[task_id].refusal) for task_id, each in labelled if plans[task_id].refusal]
    return made, refused


@dataclass(frozen=True)
class _Plan:
    """What to do on a labeling task: nothing if `done`, replace an annotation, refuse, else make a new one."""

    done: bool = False
    replaces: int | None = None
    refusal: str = ""


def _plan(kind: Kind, line: Line, task: TaskWork, each: _Labelled, own: int) -> _Plan:
    """Other people's annotations are left alone. Of our own imports: the same = done, an older one = replaced unless
    somebody has edited it since."""
    older: _Plan | None = None
    for work in task.work:
        if not isinstance(work.regions, list) or work.unreadable:  # damaged: the sync sets it aside
            continue
        marks = {str(region.get("id", "")).split(".")[0] for region in work.regions if isinstance(region, dict)}
        if each.mark in marks or (not each.objects and not work.regions and not work.cancelled):
            return _Plan(done=True)
        imported = {mark for mark in marks if len(mark) == _MARK_DIGITS}
        if work.annotator_id != own or work.cancelled or not imported:
            continue
        said, faults = to_objects(kind, work.regions, each.frame.width_px, each.frame.height_px, line=line)
        if {objects_digest(said)[:_MARK_DIGITS]} == marks and not faults:
            older = _Plan(replaces=work.annotation_id)
        else:
            older = older or _Plan(
                refusal=f"labels imported earlier were edited in Label Studio (annotation {work.annotation_id}); "
                "delete that annotation to import this file"
            )
    return older or _Plan()
