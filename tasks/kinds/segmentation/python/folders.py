"""Folders of pictures and label images: what a script has instead of a lake."""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.errors import ConfigError, DataError
from tasks.kinds.segmentation.dataset import CellDataset, LabelledPicture
from tasks.kinds.segmentation.formats.mask_names import ENDING
from tasks.kinds.segmentation.python.config import ExperimentConfig
from tasks.kinds.segmentation.python.files import bring_picture, cells_of
from tasks.schemas import Split, canonical_json, digest

PICTURES = (".tif", ".tiff", ".png", ".npy", ".jpg", ".jpeg", ".bmp")
MASKS = (".tif", ".tiff", ".png", ".npy")
_SHOWN = 5


@dataclass(frozen=True)
class Sample:
    """A picture with its label image.

    Attributes:
        picture: Its file.
        masks: Its label image's file.
        name: Path below its folder.
        group: What it belongs to.
        oid: sha256 of both files' bytes.
    """

    picture: Path
    masks: Path
    name: str
    group: str
    oid: str


def find_samples(config: ExperimentConfig) -> list[Sample]:
    """All pictures with their label images, in the order of their names.

    Raises:
        ConfigError: Naming every folder that is not there; or the pattern of groups is none.
        DataError: Naming every picture without a label image, every label image without a picture, and every picture
            that is there twice.
    """
    found, faults = [], []
    _check_there([folder for pair in config.sources for folder in pair])
    for place, (pictures, masks) in enumerate(config.sources):
        pairs, lacking = _pairs(pictures, masks)
        faults += lacking
        prefix = f"{place}/" if place else ""
        for name, (picture, mask) in sorted(pairs.items()):
            found.append((f"{prefix}{name}", picture, mask))
    twice = defaultdict(list)
    samples = []
    for name, picture, mask in found:
        data = picture.read_bytes()
        twice[hashlib.sha256(data).hexdigest()].append(name)
        group = _group_of(name, config.group_by)
        if group is None:
            faults.append(f"{name}: group_by {config.group_by!r} finds nothing in its path")
            continue
        oid = digest(hashlib.sha256(data).hexdigest(), hashlib.sha256(mask.read_bytes()).hexdigest())
        samples.append(Sample(picture, mask, name, group, oid))
    faults += [f"{' and '.join(names)} are the same picture" for names in twice.values() if len(names) > 1]
    if faults:
        raise DataError(
            f"experiment {config.output_name!r}: {_some(faults)}",
            expected="each picture once, and a label image (tif, png, npy) for each: the same stem, or with _mask or "
            "_masks behind it",
        )
    if not samples:
        raise DataError(f"{config.img_path}: holds no picture", expected=f"files that end in {', '.join(PICTURES)}")
    return samples


def write_pictures(samples: Sequence[Sample], folder: Path, config: ExperimentConfig) -> list[LabelledPicture]:
    """Lay pictures and cells out as the training reads them; those that are there already are left.

    Raises:
        DataError: Naming every picture and label image that cannot be read, and every pair that differs in size.
    """
    for name in ("images", "cells"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    written, faults = [], []
    for number, sample in enumerate(samples):
        try:
            written.append(_written(number, sample, folder, config))
        except DataError as error:
            faults.append(error)
    if len(faults) == 1:
        raise faults[0]
    if faults:
        raise DataError(f"experiment {config.output_name!r}: {_some([str(fault) for fault in faults])}")
    return written


def write_dataset(
    pictures: Sequence[LabelledPicture], splits: Sequence[Split | None], path: Path, config: ExperimentConfig
) -> Path:
    """Write the dataset of one fold; pictures whose split is None are in no split of it."""
    kept = tuple(
        picture.model_copy(update={"split": split}) for picture, split in zip(pictures, splits, strict=True) if split
    )
    dataset = CellDataset(classes=(config.class_name,), channels=config.channels, images=kept)
    path.write_text(dataset.model_dump_json())
    return path


def _pairs(pictures: Path, masks: Path) -> tuple[dict[str, tuple[Path, Path]], list[str]]:
    """Name below the folder -> picture and label image; and what lacks the other. One may lie in the other."""
    together = pictures.resolve() == masks.resolve()
    shown = {
        name: path for name, path in _files(pictures, PICTURES, masks) if not (together and ENDING.search(path.stem))
    }
    labelled: dict[str, Path] = {}
    exact: dict[str, Path] = {}
    twice = []
    for name, path in _files(masks, MASKS, pictures):
        if together and not ENDING.search(path.stem):
            continue
        if (other := exact.get(_stem(name))) is not None:
            twice.append(f"{other.name} and {path.name} are both the label image of {_stem(name)}")
            continue
        labelled[_stem(name)] = exact[_stem(name)] = path
        labelled.setdefault(ENDING.sub("", _stem(name)), path)
    pairs = {name: (path, labelled[_stem(name)]) for name, path in shown.items() if _stem(name) in labelled}
    used = {mask for _, mask in pairs.values()}
    lacking = [f"{name} has no label image" for name in shown if name not in pairs]
    lacking += [f"{mask.name} is the label image of no picture" for mask in sorted({*labelled.values()} - used)]
    return pairs, lacking + twice


def _files(folder: Path, suffixes: Sequence[str], other: Path) -> list[tuple[str, Path]]:
    """Files of a folder by their names below it, but for those of the other folder, if that lies within."""
    whole, apart = folder.resolve(), other.resolve()
    found = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix.lower() in suffixes)
    names = [(path.relative_to(folder), path) for path in found if not path.name.startswith(".")]
    if whole.is_relative_to(apart):  # the other is the same, or lies around this one
        return [(name.as_posix(), path) for name, path in names]
    return [(name.as_posix(), path) for name, path in names if not (whole / name).is_relative_to(apart)]


def _check_there(folders: Sequence[Path]) -> None:
    lacking = dict.fromkeys(folder for folder in folders if not folder.is_dir())
    if lacking:
        raise ConfigError(
            f"{' and '.join(map(str, lacking))}: no folder is there",
            expected="a folder of pictures, and one of label images",
            fix=f"a path is looked for from {Path.cwd()}, where it does not begin with /",
        )


def _some(faults: Sequence[str]) -> str:
    more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
    return "; ".join(faults[:_SHOWN]) + more


def _stem(name: str) -> str:
    return name.rpartition(".")[0]


def _group_of(name: str, group_by: str | None) -> str | None:
    """The group of a picture; None: the rule finds none."""
    if group_by is None:
        return name
    if group_by == "folder":
        return name.rpartition("/")[0] or "."
    try:
        found = re.search(group_by, name)
        return found.group(1) if found else None
    except (re.error, IndexError) as error:
        raise ConfigError(
            f"group_by {group_by!r}: {error}", expected="'folder', or a pattern with a group, e.g. '(slide\\d+)_'"
        ) from error


def _written(number: int, sample: Sample, folder: Path, config: ExperimentConfig) -> LabelledPicture:
    suffix = ".tif" if sample.picture.suffix.lower() == ".npy" else sample.picture.suffix.lower()
    name = f"{number:06d}-{sample.oid[:12]}"
    file, cells, about = f"images/{name}{suffix}", f"cells/{name}.json", folder / "cells" / f"{name}.size"
    if not about.exists():  # written last: else a kill left the picture half done
        size = bring_picture(sample.picture, folder / file, config.channels)
        objects = cells_of(sample.masks, size, config.class_name, sample.name)
        (folder / cells).write_text(canonical_json(objects))
        about.write_text(json.dumps(size))
    height, width = json.loads(about.read_text())
    return LabelledPicture(
        file=file, cells=cells, split="train", group=sample.group, height_px=height, width_px=width, original=True
    )
