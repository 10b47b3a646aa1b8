"""Which frame of which recording a label file belongs to.

Label files are named `<recording stem>_<frame>`: the last group of digits is the frame, so stems may hold underscores
and digits themselves. Whether the first frame is 0 or 1 is not written anywhere; it is found out from the files that
match a recording, or asked for.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.config import Line
from tasks.errors import ConfigError
from tasks.labeling.formats import LabelFile
from tasks.schemas import Recording

_NAME = re.compile(r"(?P<stem>.+)_(?P<frame>\d+)")


@dataclass(frozen=True)
class Match:
    """A label file and its frame; `frame_index` is 0-based."""

    labels: LabelFile
    recording: Recording
    frame_index: int


@dataclass(frozen=True)
class Unmatched:
    """A label file that goes nowhere, and why."""

    file: str
    reason: str


def match(
    files: Sequence[LabelFile], recordings: Sequence[Recording], line: Line, frame_base: int | None
) -> tuple[list[Match], list[Unmatched]]:
    """Find every file's frame.

    Args:
        files: As read.
        recordings: All of the lake.
        line: Whose labels they are; it may learn from some studies only.
        frame_base: Number of the first frame, 0 or 1; None = find out.

    Raises:
        ConfigError: The files do not tell whether their first frame is 0 or 1.
    """
    by_stem: dict[str, dict[str, Recording]] = defaultdict(dict)
    for recording in recordings:
        by_stem[recording.stem][recording.recording_id] = recording
    named: list[tuple[LabelFile, Recording, int]] = []
    unmatched = []
    for labels in files:
        found = _named(labels, by_stem, line)
        if isinstance(found, Unmatched):
            unmatched.append(found)
        else:
            named.append((labels, *found))
    if not named:
        return [], unmatched
    numbered = [(recording, number) for _, recording, number in named]
    base = find_frame_base(numbered) if frame_base is None else frame_base
    matches: dict[tuple[str, int], Match] = {}
    for labels, recording, number in named:
        index = number - base
        first = matches.get((recording.recording_id, index))
        if not 0 <= index < recording.frames_decoded:
            last = recording.frames_decoded - 1 + base
            reason = f"{recording.name} has no frame {number} (its frames are {base} to {last})"
            unmatched.append(Unmatched(labels.file, reason))
        elif first is not None:
            unmatched.append(Unmatched(labels.file, f"is about the same frame as {first.labels.file}"))
        else:
            matches[recording.recording_id, index] = Match(labels, recording, index)
    return list(matches.values()), unmatched


def find_frame_base(numbered: Sequence[tuple[Recording, int]]) -> int:
    """Number of the first frame, from files and their recordings.

    A frame 0 exists only where counting starts at 0, a frame numbered like the count of frames only where it starts
    at 1.

    Raises:
        ConfigError: Neither occurs, or both do.
    """
    zero = any(number == 0 for _, number in numbered)
    last = any(number in (recording.frames_decoded, recording.frames_announced) for recording, number in numbered)
    if zero != last:
        return 0 if zero else 1
    found = "both a frame 0 and a frame numbered like the count of frames" if zero else "neither of the two"
    raise ConfigError(
        "label files: it is not clear whether their first frame is 0 or 1",
        expected="a frame 0 (then it is 0), or one whose number is its recording's count of frames (then it is 1)",
        found=found,
        fix="say so: --frame-base 0 or --frame-base 1",
    )


def _named(
    labels: LabelFile, by_stem: dict[str, dict[str, Recording]], line: Line
) -> tuple[Recording, int] | Unmatched:
    parts = _NAME.fullmatch(labels.image)
    if parts is None:
        return Unmatched(labels.file, f"its name {labels.image!r} does not end in _<frame number>")
    stem = unicodedata.normalize("NFC", parts["stem"])  # as recordings are named; some systems write NFD
    found = list(by_stem.get(stem, {}).values())
    if not found:
        return Unmatched(labels.file, f"there is no recording named {stem!r}")
    if len(found) > 1:
        names = ", ".join(f"{each.name} ({each.recording_id[:12]})" for each in found)
        return Unmatched(labels.file, f"several recordings are named {stem!r}: {names}")
    studies = line.recordings.studies
    if studies and found[0].study not in studies:
        where = f"study {found[0].study!r}" if found[0].study else "no study"
        return Unmatched(labels.file, f"{found[0].name} belongs to {where}, line {line.line} learns from {studies}")
    return found[0], int(parts["frame"])
