"""Which frame of which recording a label file belongs to.

Label files are named `<recording stem>_<frame>` or `<recording stem>_frame_<frame>`: the last group of digits is the
frame, so stems may hold underscores and digits themselves; a recording that landed under several names is found by
each. What Label Studio adds to a name is seen through (`formats.image_names`).

In a video or a stack, the number counts frames. Whether the first is 0 or 1 is not written anywhere; it is found out
from the names that match a recording, or asked for. In a folder of images a label belongs to the picture of its own
name, or to the one that carries its number in its name: a picture that is missing, damaged, or lies there as well moves
nothing. A label of a still is named like the still; of several of one name, the folders tell which. Where the picture
itself lies beside the label, its bytes tell, whatever it is called.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tasks.config import Line
from tasks.errors import ConfigError, DataError
from tasks.kind import BadFile, LabelFile
from tasks.labeling.formats.image_names import as_uploaded, last_part, spellings, stem_of
from tasks.schemas import Landing, Oid, Recording

_NAMES = (
    re.compile(r"(?P<stem>.+)_(?P<frame>\d{1,18})"),
    re.compile(r"(?P<stem>.+?)[-_. ]frame[-_. ]?(?P<frame>\d{1,18})", re.IGNORECASE),
)
_NUMBER = re.compile(r"\d{1,18}")
_SUFFIX = re.compile(r"(?<=.)(\.(?:frames|stills)\.zip|\.[^.]*)$", re.IGNORECASE)  # a packed folder's counts as one
_SOME = 4  # names in a message

PictureNames = Callable[[Recording], Sequence[str]]
"""Names of the pictures of a folder of images, one for each frame. `tasks.ingest.picture_names.picture_names`."""

_ByStem = Mapping[str, Mapping[Oid, Recording]]
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


@dataclass(frozen=True)
class _Place:
    """Where a name points: a frame's number, or, in a folder of images, the picture of that very name.

    Attributes:
        called: What the recording, or the picture, is called in the name.
    """

    recording: Recording
    called: str
    number: int = -1
    index: int | None = None


def other_names(
    landings: Iterable[Landing], recordings: Iterable[Recording], clear: Mapping[str, str] | None = None
) -> dict[str, list[Recording]]:
    """Stem -> recordings whose content landed again under that name (or the one that it is a pseudonym of)."""
    by_id = {recording.recording_id: recording for recording in recordings}
    found: dict[str, list[Recording]] = defaultdict(list)
    for landing in landings:
        if landing.outcome == "duplicate" and landing.recording_id in by_id:
            stem = _SUFFIX.sub("", landing.key.rpartition("/")[2])
            found[(clear or {}).get(stem, stem)].append(by_id[landing.recording_id])
    return dict(found)


def clearly_named(recordings: Iterable[Recording], clear: Mapping[str, str]) -> list[Recording]:
    """Recordings as label files know them, where the lake knows pseudonyms; only to be matched, never to be stored.

    Args:
        recordings: Of the lake.
        clear: Pseudonym → clear name, of stems.
    """
    return [
        each.model_copy(
            update={"stem": clear[each.stem], "name": f"{clear[each.stem]}{each.name.removeprefix(each.stem)}"}
        )
        if each.stem in clear
        else each
        for each in recordings
    ]


def clear_pictures(pictures: PictureNames, clear: Mapping[str, str]) -> PictureNames:
    """Names of pictures as label files know them, where the lake knows pseudonyms."""

    def named(recording: Recording) -> list[str]:
        parts = (name.rpartition(".") for name in pictures(recording))
        return [f"{clear.get(stem, stem)}{dot}{suffix}" for stem, dot, suffix in parts]

    return named


def match(
    files: Sequence[LabelFile | BadFile],
    recordings: Sequence[Recording],
    line: Line,
    frame_base: int | None,
    others: Mapping[str, Sequence[Recording]] | None = None,
    pictures: PictureNames | None = None,
) -> tuple[list[Match], list[Unmatched]]:
    """Find every file's frame.

    Args:
        files: As read. The bad ones go nowhere, but their names help to find out the frame base.
        recordings: All of the lake.
        line: Whose labels they are; it may learn from some studies only.
        frame_base: Number of the first frame of videos and stacks, 0 or 1; None = find out.
        others: From `other_names`.
        pictures: Names the pictures of folders of images; None: their frames are numbered like a video's.

    Raises:
        ConfigError: The files do not tell whether their first frame is 0 or 1, and one of them needs to know.
    """
    finder = _Finder(recordings, others or {}, pictures, line, files)
    named: list[tuple[LabelFile, _Place]] = []
    numbered: list[tuple[Recording, int]] = []
    unmatched = []
    for labels in files:
        found = finder.place(labels)
        if isinstance(found, _Place) and finder.counts_frames(found.recording):
            numbered.append((found.recording, found.number))
        if isinstance(labels, BadFile):
            unmatched.append(Unmatched(labels.file, labels.reason))
        elif isinstance(found, Unmatched):
            unmatched.append(found)
        else:
            named.append((labels, found))
    base = frame_base
    if base is None and any(finder.counts_frames(place.recording) for _, place in named):
        base = find_frame_base(numbered)
    matches, lost = _on_frames(named, finder, base or 0)
    return matches, [*unmatched, *lost]


def _on_frames(
    named: Sequence[tuple[LabelFile, _Place]], finder: _Finder, base: int
) -> tuple[list[Match], list[Unmatched]]:
    """The frames that places mean. Files about one frame that differ are all refused: who can tell which is right?"""
    found: dict[tuple[Oid, int], list[Match]] = defaultdict(list)
    unmatched = []
    for labels, place in named:
        index = finder.index(place, base)
        if isinstance(index, str):
            unmatched.append(Unmatched(labels.file, index))
        else:
            found[place.recording.recording_id, index].append(Match(labels, place.recording, index))
    matches = []
    for first, *more in found.values():
        other = next((each for each in more if _content(each.labels) != _content(first.labels)), None)
        if other is None:
            matches.append(first)
            unmatched += [
                Unmatched(each.labels.file, f"is about the same frame as {first.labels.file}") for each in more
            ]
            continue
        for each in (first, *more):
            partner = other if _content(each.labels) == _content(first.labels) else first
            reason = f"is about the same frame as {partner.labels.file}, and they differ: keep the one that is right"
            unmatched.append(Unmatched(each.labels.file, reason))
    return matches, unmatched


def _content(labels: LabelFile) -> object:
    return labels.normalised, sorted(labels.objects, key=repr)


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


class _Finder:
    """Finds recordings and pictures by the names of label files."""

    def __init__(
        self,
        recordings: Sequence[Recording],
        others: Mapping[str, Sequence[Recording]],
        pictures: PictureNames | None,
        line: Line,
        files: Sequence[LabelFile | BadFile] = (),
    ) -> None:
        self._pictures = pictures
        self._line = line
        self._folders: dict[Oid, _Folder | str] = {}
        self._stills = {each.recording_id: each for each in recordings if each.is_still}
        self._by_bytes = {each.picture_oid for each in files if isinstance(each, LabelFile)} & self._stills.keys()
        self._elsewhere = {each.recording_id for found in others.values() for each in found}
        self._label_folders = {part for each in files for part in _folders_of(each)}
        named = [(recording.stem, recording) for recording in recordings]
        named += [(stem, recording) for stem, found in others.items() for recording in found]
        pairs = [(stem, recording) for stem, recording in named if not recording.is_still]
        self._by_stem = _grouped((_composed(stem), recording) for stem, recording in pairs)
        self._by_upload = _grouped((as_uploaded(_composed(stem)), recording) for stem, recording in pairs)
        self._by_picture: dict[str, list[_Place]] = defaultdict(list)
        self._by_uploaded_picture: dict[str, list[_Place]] = defaultdict(list)
        for stem, recording in named:
            if recording.is_still:
                self._note_picture(_composed(stem), recording, 0)
        for recording in {each.recording_id: each for each in recordings}.values():
            # Of old recordings the file itself would have to be read: only where a label names them.
            if recording.frame_names_oid is not None and not self.counts_frames(recording):
                self._note_pictures(recording)

    def counts_frames(self, recording: Recording) -> bool:
        """Whether numbers count the recording's frames; else they stand in its pictures' names."""
        return not recording.is_still and (recording.container != "images" or self._pictures is None)

    def place(self, labels: LabelFile | BadFile) -> _Place | Unmatched:
        """Where a file points: by the picture's bytes, else by its name."""
        oid = labels.picture_oid if isinstance(labels, LabelFile) else None
        if oid is not None and oid in self._stills:
            still = self._stills[oid]
            return self._chosen(labels, {oid: _Place(still, still.stem, index=0)})
        tried: dict[str, None] = {}
        for spelling in spellings(labels.image or ""):
            for by_stem, by_picture in (
                (self._by_stem, self._by_picture),
                (self._by_upload, self._by_uploaded_picture),
            ):
                found = self._places(spelling, by_stem, by_picture, tried)
                if found:
                    return self._chosen(labels, found)
        if not tried:
            return Unmatched(
                labels.file,
                f"no picture is named {labels.image!r}, and as a recording's frame it does not end in _<frame number>",
            )
        names = " or ".join(map(repr, list(tried)[:_SOME]))
        return Unmatched(labels.file, f"there is no recording named {names}")

    def _places(
        self, spelling: str, by_stem: _ByStem, by_picture: Mapping[str, Sequence[_Place]], tried: dict[str, None]
    ) -> dict[Oid, _Place]:
        found: dict[Oid, _Place] = {}
        for pattern in _NAMES:
            parts = pattern.fullmatch(spelling)
            if parts is None or found:
                continue
            tried.setdefault(parts["stem"])
            for recording in by_stem.get(parts["stem"], {}).values():
                found[recording.recording_id] = _Place(recording, parts["stem"], int(parts["frame"]))
        pictures = {place.recording.recording_id: place for place in by_picture.get(spelling, ())}
        both = {recording_id: place for recording_id, place in pictures.items() if recording_id in found}
        return both if len(both) == 1 else found | pictures

    def _chosen(self, labels: LabelFile | BadFile, found: Mapping[Oid, _Place]) -> _Place | Unmatched:
        """The one place that a file means: of several, the one of the recording that its folder is named like."""
        places, folders = list(found.values()), _folders_of(labels)
        others = [place for place in places if self._is_another(place.recording, labels, folders)]
        if len(others) == len(places):
            where = others[0].recording.landing_key
            return Unmatched(labels.file, f"the picture that is called like it is another one: {where}")
        places = [place for place in places if place not in others]
        if len(places) > 1:
            places = [place for place in places if _composed(place.recording.stem) in folders] or places
            places = _in_like_folders(places, folders)
        if len(places) > 1:
            names = ", ".join(f"{each.recording.name} ({each.recording.recording_id[:12]})" for each in places[:_SOME])
            called = {each.called for each in places}
            if len(called) == 1 and not all(place.recording.is_still for place in places):
                return Unmatched(labels.file, f"several recordings are named {called.pop()!r}: {names}")
            fix = "put the file into a folder named like the one that it means"
            return Unmatched(labels.file, f"its name may mean several recordings: {names}; {fix}")
        recording = places[0].recording
        if not self._line.recordings.takes(recording.study):
            where = f"study {recording.study!r}" if recording.study else "no study"
            reason = f"{recording.name} belongs to {where}, line {self._line.line} learns from {self._line.recordings}"
            return Unmatched(labels.file, reason)
        return places[0]

    def _is_another(self, still: Recording, labels: LabelFile | BadFile, folders: Sequence[str]) -> bool:
        """Whether a still bears the name of a label's picture only: another file has its very bytes, or it lies in
        another of the folders that the labels lie in."""
        oid = labels.picture_oid if isinstance(labels, LabelFile) else None
        if not still.is_still or still.recording_id == oid:
            return False
        if oid is not None and still.recording_id in self._by_bytes:
            return True
        if still.recording_id in self._elsewhere:  # it lies in other folders, too
            return False
        own = [_composed(part) for part in still.landing_key.split("/")[:-1]]
        differing = next((a for a, b in zip(reversed(own), reversed(folders), strict=False) if a != b), None)
        return differing in self._label_folders

    def index(self, place: _Place, base: int) -> int | str:
        """The frame's index, or why there is none."""
        recording, number = place.recording, place.number
        if place.index is not None:
            return place.index
        if not self.counts_frames(recording):
            folder = self._folder(recording)
            return folder if isinstance(folder, str) else folder.index(recording, number)
        if not 0 <= number - base < recording.frames_decoded:
            last = recording.frames_decoded - 1 + base
            return f"{recording.name} has no frame {number} (its frames are {base} to {last})"
        return number - base

    def _folder(self, recording: Recording) -> _Folder | str:
        if recording.recording_id not in self._folders and self._pictures is not None:
            try:
                folder: _Folder | str = _Folder(self._pictures(recording))
            except DataError as error:
                folder = f"the names of its pictures cannot be read: {error}"
            self._folders[recording.recording_id] = folder
        return self._folders[recording.recording_id]

    def _note_pictures(self, recording: Recording) -> None:
        folder = self._folder(recording)
        if isinstance(folder, str):
            return
        for stem, indices in folder.by_stem.items():
            if len(indices) == 1:
                self._note_picture(stem, recording, indices[0])

    def _note_picture(self, stem: str, recording: Recording, index: int) -> None:
        place = _Place(recording, stem, index=index)
        self._by_picture[stem].append(place)
        self._by_uploaded_picture[as_uploaded(stem)].append(place)


def _folders_of(labels: LabelFile | BadFile) -> list[str]:
    """The folders that a label file lies in, or those of its picture."""
    return [_composed(part) for part in re.split(r"[/\\]|: ", labels.file)[:-1]]


def _in_like_folders(places: list[_Place], folders: Sequence[str]) -> list[_Place]:
    """Of stills of one name, those whose last folders are called like the label file's: `val/a.xml` is of `val/a.png`,
    and of none but that where `train/a.png` is there, too."""

    def shared(place: _Place) -> int:
        count = 0
        if place.recording.is_still:
            own = [_composed(part) for part in place.recording.landing_key.split("/")[:-1]]
            for one, other in zip(reversed(own), reversed(folders), strict=False):
                if one != other:
                    break
                count += 1
        return count

    most = max((shared(place) for place in places), default=0)
    return [place for place in places if shared(place) == most] if most else places


class _Folder:
    """The pictures of a folder of images, by their names."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = [last_part(name) for name in names]
        self.by_stem: dict[str, list[int]] = defaultdict(list)
        self._by_number: dict[int, list[int]] = defaultdict(list)
        for index, name in enumerate(self._names):
            stem = _composed(stem_of(name))
            self.by_stem[stem].append(index)
            digits = _NUMBER.findall(stem)
            if digits:
                self._by_number[int(digits[-1])].append(index)

    def index(self, recording: Recording, number: int) -> int | str:
        """The picture that carries a number in its name (the last one in it), or why there is none."""
        found = self._by_number.get(number, [])
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(self._names[index] for index in found[:_SOME])
            return f"several pictures of {recording.name} carry the number {number}: {names}; name labels like pictures"
        if not self._by_number:
            return f"no picture of {recording.name} carries a number in its name; name labels like pictures"
        first, last = min(self._by_number), max(self._by_number)
        return f"{recording.name} has no picture numbered {number} that can be read (theirs are {first} to {last})"


def _grouped(pairs: Iterable[tuple[str, Recording]]) -> _ByStem:
    grouped: dict[str, dict[Oid, Recording]] = defaultdict(dict)
    for stem, recording in pairs:
        grouped[stem][recording.recording_id] = recording
    return grouped


def _composed(stem: str) -> str:
    """As recordings are named; some systems write NFD."""
    return unicodedata.normalize("NFC", stem)
