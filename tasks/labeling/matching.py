"""Which frame of which recording a label file belongs to.

Label files are named `<recording stem>_<frame>`: the last group of digits is the frame, so stems may hold underscores
and digits themselves; a recording that landed under several names is found by each. Whether the first frame is 0 or 1
is not written anywhere; it is found out from the names that match a recording, or asked for.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tasks.config import Line
from tasks.errors import ConfigError
from tasks.labeling.formats import BadFile, LabelFile
from tasks.schemas import Landing, Recording

_NAME = re.compile(r"(?P<stem>.+)_(?P<frame>\d+)")
_SUFFIX = re.compile(r"(?<=.)(\.frames\.zip|\.[^.]*)$", re.IGNORECASE)  # a packed folder's counts as one

_ByStem = Mapping[str, Mapping[str, Recording]]
"""Stem -> recording id -> recording."""


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


def other_names(landings: Iterable[Landing], recordings: Iterable[Recording]) -> dict[str, list[Recording]]:
    """Stem -> recordings whose content landed again under that name."""
    by_id = {recording.recording_id: recording for recording in recordings}
    found: dict[str, list[Recording]] = defaultdict(list)
    for landing in landings:
        if landing.outcome == "duplicate" and landing.recording_id in by_id:
            stem = _SUFFIX.sub("", landing.key.rpartition("/")[2])
            found[stem].append(by_id[landing.recording_id])
    return dict(found)


def match(
    files: Sequence[LabelFile | BadFile],
    recordings: Sequence[Recording],
    line: Line,
    frame_base: int | None,
    others: Mapping[str, Sequence[Recording]] | None = None,
) -> tuple[list[Match], list[Unmatched]]:
    """Find every file's frame.

    Args:
        files: As read. The bad ones go nowhere, but their names help to find out the frame base.
        recordings: All of the lake.
        line: Whose labels they are; it may learn from some studies only.
        frame_base: Number of the first frame, 0 or 1; None = find out.
        others: From `other_names`.

    Raises:
        ConfigError: The files do not tell whether their first frame is 0 or 1, and one of them needs to know.
    """
    by_stem = _by_stem(recordings, others or {})
    named: list[tuple[LabelFile, Recording, int]] = []
    numbered: list[tuple[Recording, int]] = []
    unmatched = []
    for labels in files:
        found = _named(labels, by_stem, line)
        if not isinstance(found, Unmatched):
            numbered.append(found)
        if isinstance(labels, BadFile):
            unmatched.append(Unmatched(labels.file, labels.reason))
        elif isinstance(found, Unmatched):
            unmatched.append(found)
        else:
            named.append((labels, *found))
    if not named:
        return [], unmatched
    matches, lost = _on_frames(named, find_frame_base(numbered) if frame_base is None else frame_base)
    return matches, [*unmatched, *lost]


def _by_stem(recordings: Sequence[Recording], others: Mapping[str, Sequence[Recording]]) -> _ByStem:
    by_stem: dict[str, dict[str, Recording]] = defaultdict(dict)
    pairs = [(recording.stem, recording) for recording in recordings]
    pairs += [(stem, recording) for stem, found in others.items() for recording in found]
    for stem, recording in pairs:
        by_stem[_composed(stem)][recording.recording_id] = recording
    return by_stem


def _composed(stem: str) -> str:
    """As recordings are named; some systems write NFD."""
    return unicodedata.normalize("NFC", stem)


def _on_frames(named: Sequence[tuple[LabelFile, Recording, int]], base: int) -> tuple[list[Match], list[Unmatched]]:
    matches: dict[tuple[str, int], Match] = {}
    unmatched = []
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


def _named(labels: LabelFile | BadFile, by_stem: _ByStem, line: Line) -> tuple[Recording, int] | Unmatched:
    parts = _NAME.fullmatch(labels.image or "")
    if parts is None:
        return Unmatched(labels.file, f"its name {labels.image!r} does not end in _<frame number>")
    stem = _composed(parts["stem"])
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
