"""Which files of a folder are label images, which picture each is about, and of which class.

    a.png, a_masks.png (or _mask, _seg, _label, _cp_masks ...)      beside its picture
    images/a.png, masks/a.png (or labels/, gt/, instances/ ...)     in a folder of their own
    img1.tif, mask1.tif                                             `mask` in place of `img`
    a.npy                                                           a NumPy array is no picture
    <id>/images/*.png, <id>/masks/*.png                             one mask for each object, of the one picture

Where nothing of a folder is called so, all its pictures are label images.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.config import Line
from tasks.kinds.segmentation.formats.label_images import SUFFIXES
from tasks.labeling.formats.image_names import IMAGE_SUFFIXES, stem_of

_WORDS = (
    "cp[-_ ]?masks?|masks?|seg|segs|segmentations?|labels?|instances?|inst|gt|ground[-_ ]?truth|preds?|predictions?|"
    "annotations?|cells?[-_ ]?masks?|outlines?"
)
ENDING = re.compile(rf"(?<=.)[-_ .](?:{_WORDS})$", re.IGNORECASE)
"""What stands behind a picture's name in that of its label image."""
_BEGINNING = re.compile(r"(?:masks?|labels?|seg)[-_ ]?(?=.)", re.IGNORECASE)
_LABEL_FOLDERS = re.compile(_WORDS, re.IGNORECASE)
_PICTURE_FOLDERS = ("images", "image", "imgs", "img", "raw", "pictures", "jpegimages")
_PICTURE_NAMES = ("img", "image", "im", "")


@dataclass(frozen=True)
class LabelImage:
    """A file with masks.

    Attributes:
        path: Of the file; of one mask for each object, of the folder of them.
        image: The picture's name, without suffix.
        picture: The picture itself, where it lies beside the labels.
        label: Its class, in the line's words; None: nothing names one.
        masks: Where each object has a file of its own: these files.
    """

    path: Path
    image: str
    picture: Path | None
    label: str | None
    masks: tuple[Path, ...] = ()


def label_images(folder: Path, line: Line) -> list[LabelImage]:
    """Every label image below a folder, and every folder of masks, by name."""
    files = [path for path in sorted(folder.rglob("*")) if _is_ours(path, folder)]
    objects = _object_folders(files, folder)
    used = {path for place, masks in objects.values() for path in (place, *masks)}
    single = [path for path in files if path not in used]
    named = [path for path in single if _is_label_image(path, folder)]
    chosen = named if named or objects else single
    taken = set(chosen)
    pictures = {(path.parent, path.stem): path for path in single if path not in taken}
    found = [_of_file(path, folder, line, pictures) for path in chosen]
    for place, (picture, masks) in objects.items():
        found += _of_folder(place, picture, masks, folder, line)
    return sorted(found, key=lambda each: each.path)


def _is_ours(path: Path, folder: Path) -> bool:
    parts = path.relative_to(folder).parts
    hidden = "__MACOSX" in parts or any(part.startswith(".") for part in parts)
    return not hidden and path.suffix.lower() in {*SUFFIXES, *IMAGE_SUFFIXES} and path.is_file()


def _object_folders(files: Iterable[Path], folder: Path) -> dict[Path, tuple[Path, list[Path]]]:
    """Folders of one mask for each object, the picture of each, and the masks: `<id>/masks` beside `<id>/images` of one
    picture that none of the masks is named like."""
    within: dict[Path, list[Path]] = defaultdict(list)
    below: dict[Path, list[Path]] = defaultdict(list)
    for path in files:
        within[path.parent].append(path)
        parts = [part.lower() for part in path.relative_to(folder).parts[:-1]]
        for depth, part in enumerate(parts):
            if part in ("masks", "mask"):
                below[path.parents[len(parts) - 1 - depth]].append(path)
                break
    found = {}
    for place, masks in below.items():
        pictures = [each for name in _PICTURE_FOLDERS for each in within.get(place.parent / name, ())]
        if len(pictures) == 1 and not _is_named_like(masks, pictures[0]):
            found[place] = pictures[0], masks
    return found


def _is_named_like(masks: Sequence[Path], picture: Path) -> bool:
    """Whether what lies in a folder of masks is a label image of the picture, and not its cells one by one."""
    stems = [_picture_stem(path) for path in masks]
    return picture.stem in stems or (len(stems) == 1 and picture.stem in _other_names(stems[0]))


def _other_names(stem: str) -> list[str]:
    """Of `mask_1`: `img_1`, `image_1` and the like; none for a name that does not begin so."""
    rest = _BEGINNING.sub("", stem, count=1)
    return [f"{name}{mark}{rest}" for name in _PICTURE_NAMES for mark in ("", "_", "-")] if rest != stem else []


def _is_label_image(path: Path, folder: Path) -> bool:
    if path.suffix.lower() == ".npy" or ENDING.search(path.stem):
        return True
    inner = [part.lower() for part in path.relative_to(folder).parts[:-1]]
    if any(part in _PICTURE_FOLDERS for part in inner):
        return False
    if any(_LABEL_FOLDERS.fullmatch(part) for part in inner):
        return True
    return _BEGINNING.match(path.stem) is not None


def _picture_stem(path: Path) -> str:
    return ENDING.sub("", stem_of(path.name))


def _of_file(path: Path, folder: Path, line: Line, pictures: Mapping[tuple[Path, str], Path]) -> LabelImage:
    stem = _picture_stem(path)
    label, shorter = _class_at_end(stem, line)
    names = [stem, shorter] if shorter else [stem]
    rest = _BEGINNING.sub("", stem, count=1)
    names += _other_names(stem)
    picture = _picture_beside(path, folder, names, pictures)
    if picture is not None:
        image = picture.stem
        label = label if image != stem or not shorter else None  # the picture itself is called so
    else:
        image = shorter or (rest if rest != stem and stem[len(stem) - len(rest) - 1] in "-_ " else stem)
    return LabelImage(path, image, picture, label or _class_of_folders(path.parent, folder, line))


def _picture_beside(
    path: Path, folder: Path, names: list[str], pictures: Mapping[tuple[Path, str], Path]
) -> Path | None:
    """The picture of a label image: in its folder, or in one for pictures beside that or a folder above it."""
    places = [path.parent]
    for parent in (path.parent, *path.parent.parents):
        if not parent.is_relative_to(folder):
            break
        tail = path.parent.relative_to(parent).parts[1:]
        places += [parent / each for each in _PICTURE_FOLDERS]
        places += [parent.joinpath(each, *tail) for each in _PICTURE_FOLDERS if tail]
    return next((pictures[key] for place in places for name in names if (key := (place, name)) in pictures), None)


def _class_at_end(stem: str, line: Line) -> tuple[str | None, str | None]:
    """Of lines with several classes: the class that a name ends in, and the name without it."""
    if len(line.classes) == 1:
        return None, None
    for match in re.finditer(r"[-_ .]", stem):
        name = line.class_named(re.sub(r"[-_ .]+", " ", stem[match.end() :])) or line.class_named(stem[match.end() :])
        if name is not None and match.start():
            return name, stem[: match.start()]
    return None, None


def _class_of_folders(place: Path, folder: Path, line: Line) -> str | None:
    """The class that the nearest folder is named like; of a line with one class, that one."""
    if len(line.classes) == 1:
        return next(iter(line.classes))
    parts = place.relative_to(folder).parts if place.is_relative_to(folder) else ()
    return next((name for part in reversed(parts) if (name := line.class_named(part)) is not None), None)


def _of_folder(place: Path, picture: Path, masks: Sequence[Path], folder: Path, line: Line) -> list[LabelImage]:
    """Masks of one picture, one entry a class: by their own names, else by their folders."""
    by_class: dict[str | None, list[Path]] = defaultdict(list)
    for path in masks:
        label = _class_at_end(path.stem, line)[0] or line.class_named(path.stem.rstrip("0123456789-_ "))
        by_class[(label if len(line.classes) > 1 else None) or _class_of_folders(path.parent, folder, line)].append(
            path
        )
    return [LabelImage(place, picture.stem, picture, label, tuple(own)) for label, own in by_class.items()]
