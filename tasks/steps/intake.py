"""Steps that bring recordings and labels in."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from tasks.config import Line, Settings, load_line, load_lines, load_settings
from tasks.errors import ConfigError, NothingToDo
from tasks.lake import open_lake


def list_lines() -> list[str]:
    """Names of all lines whose files are right."""
    return [line.line for line in _right_lines(load_settings())]


def _right_lines(settings: Settings) -> tuple[Line, ...]:
    """A line whose file is wrong keeps no other line's recordings and labels waiting: its own DAG says what is wrong.

    Once it is mended it gets its frames like a new line.
    """
    lines = []
    for path in sorted(settings.lines_dir.glob("*.yaml")):
        try:
            lines.append(load_line(path.stem, settings.lines_dir))
        except ConfigError as error:
            print(f"left out: {error}")
    return tuple(lines)


def ingest_recordings(*, must_be_new: bool = False) -> dict[str, Any]:
    """Take everything new in the landing bucket into the lake, once.

    Args:
        must_be_new: Raise if there is nothing new, so that nothing downstream is woken.

    Raises:
        NothingToDo: Nothing new, and `must_be_new`.
    """
    from tasks.ingest.recordings import ingest_new

    settings = load_settings()
    report = ingest_new(open_lake(settings), _right_lines(settings))
    if must_be_new and not (report.new or report.quarantined or report.frames):
        waiting = f"; {len(report.delayed)} did not come through, the next night tries again" if report.delayed else ""
        raise NothingToDo(f"landing bucket: nothing new{waiting}")
    return {
        "new": list(report.new),
        "duplicates": report.duplicates,
        "frames": report.frames,
        "quarantined": [{"what": item.subject, "reason": item.reason} for item in report.quarantined],
        "delayed": [{"what": key, "reason": reason} for key, reason in report.delayed],
    }


def quarantined_recordings(line: str | None = None) -> list[dict[str, str]]:
    """Every recording that stands in quarantine, of all lines or as far as it concerns one: [{what, reason}]."""
    from tasks.lake.quarantine import listed

    items = listed(open_lake(load_settings()), line)
    return [{"what": item.subject, "reason": item.reason} for item in items if item.what == "recording"]


def list_quarantine(line: str | None = None) -> list[dict[str, Any]]:
    """Everything in quarantine, newest first; with a line, what concerns it.

    Raises:
        ConfigError: No such line.
    """
    from tasks.lake.quarantine import listed

    settings = load_settings()
    if line is not None:
        load_line(line, settings.lines_dir)
    items = listed(open_lake(settings), line)
    return [item.model_dump(mode="json") for item in reversed(items)]


def sync_annotations(line: str, *, must_be_new: bool = False) -> dict[str, Any]:
    """Put the line's new frames before the annotators, and fetch what they have changed.

    Raises:
        NothingToDo: Nothing has changed, and `must_be_new`.
    """
    from tasks.labeling.sync import sync

    settings = load_settings()
    report = sync(open_lake(settings), load_line(line, settings.lines_dir))
    for note in report.notes:
        print(f"note: {note}")
    if must_be_new and not report.revisions:
        raise NothingToDo(f"line {line}: no label has changed")
    return {
        "tasks_created": report.tasks_created,
        "revisions": report.revisions,
        "deleted": report.deleted,
        "cancelled": report.cancelled,
        "quarantined": report.quarantined,
        "notes": list(report.notes),
    }


def import_labels(
    line: str, folder: Path, label_format: Literal["voc", "coco", "yolo"], frame_base: int | None = None
) -> dict[str, Any]:
    """Bring existing labels into Label Studio as annotations, taking the frames they need.

    What waits in the landing bucket is ingested first: labels usually arrive together with their recordings.
    """
    from functools import partial

    from tasks.ingest.frames import take_frames
    from tasks.ingest.picture_names import picture_names
    from tasks.labeling.importing import import_labels as into_label_studio
    from tasks.lake.pseudonyms import known_names

    ingest_recordings()
    settings = load_settings()
    own = load_line(line, settings.lines_dir)
    lake = open_lake(settings)
    report = into_label_studio(
        lake, own, folder, label_format, frame_base,
        take_frames=take_frames, picture_names=partial(picture_names, lake), clear_names=known_names(settings),
    )  # fmt: skip
    return dict(report.model_dump(mode="json"))


def collect_garbage() -> dict[str, Any]:
    """Remove blobs that nothing names and that are older than the grace period.

    Raises:
        ConfigError: A line's file is wrong, and may name weights: then nothing is removed.
    """
    from tasks.lake.gc import collect

    settings = load_settings()
    weights = [str(line.recipe.changes.get("weights")) for line in load_lines(settings.lines_dir)]
    report = collect(open_lake(settings), dry_run=False, protected=weights)
    return {"removed": report.removed, "size_bytes": report.size_bytes, "kept_young": report.kept_young}
