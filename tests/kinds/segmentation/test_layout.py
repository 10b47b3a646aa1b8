"""A dataset version on disk: cells whole and checked, and stills as they were taken where frames show less."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest
import tifffile

from tasks.config import Line, parse_line
from tasks.datasets.freeze import manifest_rows
from tasks.errors import ConfigError, DataError
from tasks.evaluation.predict import pictures_of, predict
from tasks.ingest.recordings import ingest_new
from tasks.ingest.stills.adding import add_stills
from tasks.ingest.viewing import Viewer
from tasks.ingest.watching import WHOLE
from tasks.kind import Kind, Object
from tasks.kinds.segmentation.dataset import CellDataset
from tasks.kinds.segmentation.layout import materialise
from tasks.kinds.segmentation.objects import label_image, mask_object
from tasks.known_kinds import place_of
from tasks.lake import Lake
from tasks.lake.datasets import COLUMNS
from tasks.schemas import Frame, QuarantineItem, Recording

SEGMENTATION = Kind(place_of("segmentation"))
HEIGHT, WIDTH = 48, 64
CHANNELS = {"nucleus": 2, "membrane": 0}
BOX = {"label": "cell", "x_px": 3.0, "y_px": 4.0, "width_px": 9.0, "height_px": 9.0, "to_fill": True}


def a_line(**changes: Any) -> Line:
    data: dict[str, Any] = {
        "line": "cells", "kind": "segmentation", "classes": ["cell", "debris"], "recipe": {"name": "any"},
        "gates": [{"metric": "PQ", "at_least": 0.1}],
    }  # fmt: skip
    return parse_line(data | changes, "a test's line")


def a_disc(x: int, y: int, radius: int = 6, label: str = "cell") -> Object:
    mask = cv2.circle(np.zeros((HEIGHT, WIDTH), np.uint8), (x, y), radius, 1, -1)
    return mask_object(label, mask)


def deep(seed: int, channels: int = 1) -> Any:
    """Noise of 12 bits in words of 16, [channels, height, width]."""
    return np.random.default_rng(seed).integers(300, 4000, (channels, HEIGHT, WIDTH), dtype=np.uint16)


def taken_in(lake: Lake, line: Line, folder: Path, **pictures: Any) -> dict[str, Frame]:
    """Stills of these names, through ingest; stem -> frame."""
    folder.mkdir()
    for name, values in pictures.items():
        if values.dtype == np.uint8 and values.ndim == 3 and values.shape[2] == 3:
            cv2.imwrite(str(folder / f"{name}.png"), values)
        else:
            tifffile.imwrite(folder / f"{name}.tif", np.squeeze(values), photometric="minisblack")
    add_stills(lake, [str(folder)])
    ingest_new(lake, [line])
    stems = {one.recording_id: one.stem for one in lake.tables.rows("recordings", Recording)}
    return {stems[frame.recording_id]: frame for frame in lake.tables.rows("frames", Frame)}


def frozen(lake: Lake, line: Line, frames: dict[str, Frame], labels: dict[str, list[Object]]) -> str:
    """A version of labelled frames, in the order of their names, without validation."""
    rows = [
        {
            "split": "test" if number == 0 else "train", "group": f"recording:{frame.recording_id}",
            "recording_id": frame.recording_id, "recording_name": f"{stem}.tif", "frame_index": 0,
            "frame_oid": frame.oid, "media_type": frame.media_type, "pts_s": None, "width_px": frame.width_px,
            "height_px": frame.height_px, "phash": frame.phash, "annotation_id": stem, "revision_id": stem,
            "annotator": "ann@lab", "objects": json.dumps(labels[stem]),
        }
        for number, (stem, frame) in enumerate(sorted(frames.items()))
    ]  # fmt: skip
    table = pa.Table.from_pylist(rows, schema=pa.schema(COLUMNS.items()))
    return lake.datasets.save(line.line, manifest_rows(line, table), {})


def test_cells_are_whole_and_pictures_with_boxes_to_fill_are_left_out(lake: Lake, tmp_path: Path) -> None:
    line = a_line()
    picture = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    frames = taken_in(lake, line, tmp_path / "in", a=picture, b=picture // 2, c=picture // 3)
    cells = [a_disc(20, 20), a_disc(40, 20, label="debris")]
    version = frozen(lake, line, frames, {"a": cells, "b": [a_disc(9, 9), BOX], "c": []})
    path = materialise(lake, line, version)
    dataset = CellDataset.read(path)
    assert dataset.classes == ("cell", "debris")
    assert dataset.channels == {}
    first, last = dataset.images
    assert (first.split, last.split) == ("test", "train")
    assert dataset.objects(path.parent, first) == cells
    assert dataset.objects(path.parent, last) == []
    assert label_image(dataset.objects(path.parent, first), HEIGHT, WIDTH).max() == 2
    assert np.array_equal(dataset.picture(path.parent, first), picture[:, :, ::-1])
    assert (path.parent / first.file).stat().st_ino == lake.blobs.fetch(frames["a"].oid).stat().st_ino
    before = path.stat().st_mtime_ns
    assert materialise(lake, line, version).stat().st_mtime_ns == before


def test_labels_that_are_no_masks_of_their_picture_are_named_all(lake: Lake, tmp_path: Path) -> None:
    line = a_line()
    frames = taken_in(lake, line, tmp_path / "in", a=np.full((HEIGHT, WIDTH, 3), 7, np.uint8))
    short = {**a_disc(9, 9), "mask": "04"}
    wrong = [{**a_disc(9, 9), "label": "yeast"}, {**a_disc(9, 9), "width_px": 9}, short]
    with pytest.raises(DataError) as raised:
        materialise(lake, line, frozen(lake, line, frames, {"a": wrong}))
    text = str(raised.value)
    assert "3 labels" in text
    assert "'yeast' is no class" in text
    assert "9 x 48" in text
    assert "run lengths of" in text


def test_a_deep_still_is_learned_and_judged_as_it_was_taken(lake: Lake, tmp_path: Path) -> None:
    line = a_line()
    values, plain = deep(1), np.random.default_rng(2).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    frames = taken_in(lake, line, tmp_path / "in", a=values, b=plain)
    version = frozen(lake, line, frames, {"a": [a_disc(20, 20)], "b": []})
    path = materialise(lake, line, version)
    dataset = CellDataset.read(path)
    assert [picture.original for picture in dataset.images] == [True, False]
    found = dataset.picture(path.parent, dataset.images[0])
    assert found.dtype == np.uint16
    assert np.array_equal(found[:, :, 0], values[0])

    manifest = lake.datasets.load(line.line, version)
    rows = manifest.rows.to_pylist()
    shown = pictures_of(lake, SEGMENTATION, manifest, rows)
    outputs, latency = predict(Looking(), shown.paths, "a test", shown.originals)
    assert np.array_equal(outputs[0][:, :, 0], values[0])
    assert np.array_equal(outputs[1], plain)
    assert latency.images == 2


class Looking:
    """A predictor that gives back what it was shown."""

    device = "cpu"

    def predict(self, images: Any) -> list[Any]:
        return list(images)

    def read_original(self, path: Path) -> Any:
        from tasks.kinds.segmentation.pictures import read_picture

        return read_picture(path, CHANNELS)[:, :, ::-1]


def test_channels_are_shown_to_annotators_in_colour_and_to_models_in_full(lake: Lake, tmp_path: Path) -> None:
    line = a_line(channels=CHANNELS)
    values = deep(3, channels=4)
    frames = taken_in(lake, line, tmp_path / "in", a=values)
    seen = cv2.imdecode(np.frombuffer(lake.blobs.get_bytes(frames["a"].oid), np.uint8), cv2.IMREAD_COLOR)
    assert seen.shape == (HEIGHT, WIDTH, 3)
    assert not seen[:, :, 2].any()  # nothing is red
    for place, colour in ((2, 0), (0, 1)):  # BGR: nuclei blue, membranes green
        order = np.argsort(values[place].ravel(), kind="stable")
        assert (np.diff(seen[:, :, colour].ravel()[order].astype(int)) >= 0).all()
        assert seen[:, :, colour].max() == 255

    version = frozen(lake, line, frames, {"a": [a_disc(20, 20)]})
    path = materialise(lake, line, version)
    dataset = CellDataset.read(path)
    assert dataset.channels == CHANNELS
    found = dataset.picture(path.parent, dataset.images[0])
    assert np.array_equal(found[:, :, 2], values[2])
    assert np.array_equal(found[:, :, 1], values[0])
    swapped = a_line(channels={"nucleus": 0, "membrane": 2})
    other = frozen(lake, swapped, frames, {"a": [a_disc(20, 20)]})
    assert other != version

    with Viewer(lake) as viewer:
        ((_, clip),) = viewer.watch([(frames["a"].recording_id, WHOLE)])
    assert not isinstance(clip, str)


def test_channels_that_nobody_names_are_refused_with_what_to_do(lake: Lake, tmp_path: Path) -> None:
    assert taken_in(lake, a_line(), tmp_path / "in", a=deep(4, channels=4)) == {}
    assert taken_in(lake, a_line(channels={"nucleus": 6}), tmp_path / "again", b=deep(5, channels=4)) == {}
    reasons = " ".join(item.reason for item in lake.tables.rows("quarantine", QuarantineItem))
    assert "export one channel" in reasons or "has 4 pages" in reasons
    assert "correct `channels` of the line" in reasons


def test_a_line_says_channels_by_their_places() -> None:
    for wrong in ({"nucleus": -1}, {"nucleus": 99}, dict.fromkeys("abcd", 0)):
        with pytest.raises(ConfigError, match="channels"):
            a_line(channels=wrong)
    assert a_line().fingerprint() != a_line(channels=CHANNELS).fingerprint()
