"""A dataset version on disk: right targets, links, and healed when damaged."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.config import Line
from tasks.datasets.freeze import freeze
from tasks.kinds.classification.dataset import ImageDataset
from tasks.kinds.classification.layout import materialise
from tasks.lake import Lake
from tasks.validation.dataset import check_dataset
from tasks.validation.validate import validate
from tests.ingest.stills.pictures import cell
from tests.kinds.classification.lake_of_pictures import label, put_picture
from tests.kinds.classification.lines import CLASSIFICATION, a_line, a_multi_label_line

ONE, MANY = a_line(), a_multi_label_line()


def frozen(lake: Lake, line: Line) -> str:
    found = validate(lake, line, CLASSIFICATION)
    assert not found.quarantined
    return freeze(lake, line, found.accepted, validation={}, check=check_dataset, kind=CLASSIFICATION)


def fill(lake: Lake, line: Line, count: int = 6) -> dict[str, tuple[float | None, ...]]:
    """Pictures of several donors; recording id -> its targets."""
    wanted: dict[str, tuple[float | None, ...]] = {}
    for number in range(count):
        frame = put_picture(lake, f"cell {number}.png", cell(number), donor=f"D{number // 2}")
        if line.multi_label:
            label(lake, frame, {"label": "acrosome", "present": number % 2 == 0}, {"label": "head", "present": True})
            wanted[frame.recording_id] = (float(number % 2 == 0), 1.0, None)
        else:
            label(lake, frame, {"label": list(line.classes)[number % 3]})
            wanted[frame.recording_id] = tuple(float(number % 3 == place) for place in range(3))
    return wanted


@pytest.mark.parametrize("line", [ONE, MANY], ids=["one class", "several labels"])
def test_the_dataset_says_what_the_manifest_says(lake: Lake, line: Line) -> None:
    wanted = fill(lake, line)
    version = frozen(lake, line)
    path = materialise(lake, line, version)
    dataset = ImageDataset.read(path)
    rows = lake.datasets.load(line.line, version).rows.to_pylist()
    assert dataset.classes == tuple(line.classes) and dataset.multi_label is line.multi_label
    assert len(dataset.images) == len(rows) == 6
    for row, image in zip(rows, dataset.images, strict=True):
        assert (image.split, image.group) == (row["split"], row["group"])
        assert image.targets == wanted[row["recording_id"]]
        file = path.parent / image.file
        assert file.read_bytes() == lake.blobs.get_bytes(row["frame_oid"])
        assert file.stat().st_ino == lake.blobs.fetch(row["frame_oid"]).stat().st_ino
    assert {image.split for image in dataset.images} >= {"train", "test"}
    assert len({image.group for image in dataset.images}) == 3


def test_the_second_time_touches_nothing_and_damage_is_mended(lake: Lake) -> None:
    fill(lake, ONE)
    version = frozen(lake, ONE)
    path = materialise(lake, ONE, version)
    before = path.stat()
    again = materialise(lake, ONE, version).stat()
    assert (again.st_ino, again.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    whole = ImageDataset.read(path)
    (path.parent / whole.images[0].file).unlink()
    assert ImageDataset.read(materialise(lake, ONE, version)) == whole
    assert (path.parent / whole.images[0].file).is_file()


def test_targets_of_missing_values_are_null_in_the_file(lake: Lake) -> None:
    fill(lake, MANY)
    text = materialise(lake, MANY, frozen(lake, MANY)).read_text()
    assert '"targets":[1.0,1.0,null]' in text and str(np.nan) not in text
