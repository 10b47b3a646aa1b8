"""Pictures as they were taken: what `predict_files` gives a model that is trained on them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile

from tasks.config import IngestLimits
from tasks.errors import DataError
from tasks.kinds.segmentation.pictures import read_picture
from tasks.operations.predicting.files import Predicted, Unreadable, predict_files

HOT = 60_000


@dataclass
class Model:
    """Stands for a `LoadedModel`, and notes what it is given."""

    channels: Mapping[str, int] = field(default_factory=dict)
    originals: bool = True
    fault: DataError | None = None
    columns: tuple[str, ...] = ("label",)

    def __post_init__(self) -> None:
        self.given: list[np.ndarray] = []
        self.line = SimpleNamespace(channels=dict(self.channels))
        self.predictor = SimpleNamespace(read_original=self.read) if self.originals else SimpleNamespace()

    def read(self, path: Path) -> Any:
        if self.fault:
            raise self.fault
        return read_picture(path, self.channels)[:, :, ::-1]

    def rows(self, image: np.ndarray, min_score: float | None) -> list[dict[str, Any]]:
        self.given.append(image)
        return [{"label": "cell"}]


def run(model: Model, paths: Sequence[Path], limits: IngestLimits | None = None) -> list[Predicted | Unreadable]:
    found = predict_files(model, paths, limits or IngestLimits())  # type: ignore[arg-type]
    return [replace(each, rows=list(each.rows)) if isinstance(each, Predicted) else each for each in found]


def faint() -> np.ndarray:
    """Cells of 600 on a ground of 500, and hot pixels: enough of them to set the frame's white."""
    values = np.full((64, 64), 500, np.uint16)
    values[20:30, 20:30] = 600
    values[:2, :2] = HOT
    return values


def saved(path: Path, values: np.ndarray, **how: Any) -> Path:
    if path.suffix == ".tif":
        tifffile.imwrite(path, values, **how)
    else:
        assert cv2.imwrite(str(path), values)
    return path


@pytest.mark.parametrize("name", ["deep.png", "deep.tif"])
def test_faint_cells_beside_hot_pixels_come_in_their_own_depth(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path / name, faint())
    model, other = Model(), Model(originals=False)
    (found,), _ = run(model, [path]), run(other, [path])
    assert isinstance(found, Predicted) and found.frames == 1
    assert found.rows == [{"file": str(path), "frame_index": 0, "time_s": None, "label": "cell"}]
    (given,) = model.given
    assert given.dtype == np.uint16 and np.array_equal(given[:, :, 0], faint())
    (frame,) = other.given  # of a kind that is trained on frames
    assert frame.dtype == np.uint8 and frame.shape == (64, 64, 3)
    assert len(np.unique(frame[10:40, 10:40])) == 1, "the frame shows the cells: this test tests nothing"


@pytest.mark.parametrize("name", ["plain.png", "plain.tif", "plain.jpg"])
def test_eight_bits_are_given_as_their_frame(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path / name, (faint() // 256).astype(np.uint8))
    model = Model(fault=DataError("nobody may ask for the original"))
    (found,) = run(model, [path])
    assert isinstance(found, Predicted), found
    assert model.given[0].dtype == np.uint8 and model.given[0].shape == (64, 64, 3)


@pytest.mark.parametrize(
    ("shape", "how"),
    [
        ((2, 64, 64), {"photometric": "minisblack"}),  # pages of which the file says nothing
        ((2, 64, 64), {"metadata": {"axes": "CYX"}, "photometric": "minisblack"}),
        ((2, 64, 64), {"imagej": True, "metadata": {"axes": "CYX"}}),
        ((64, 64, 2), {"planarconfig": "contig", "photometric": "minisblack", "extrasamples": (0,)}),
    ],
)
def test_channels_of_a_line_that_names_them(tmp_path: Path, shape: tuple[int, ...], how: Any) -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 60_000, shape, dtype=np.uint16)
    path = saved(tmp_path / "two.tif", values, **how)
    model, other = Model({"nucleus": 1, "membrane": 0}), Model({"nucleus": 1, "membrane": 0}, originals=False)
    (found,), (shown,) = run(model, [path]), run(other, [path])
    assert isinstance(found, Predicted) and isinstance(shown, Predicted), (found, shown)
    planes = values if shape[0] == 2 else np.moveaxis(values, -1, 0)
    (given,) = model.given
    assert given.dtype == np.uint16
    assert np.array_equal(given[:, :, 0], planes[1]) and np.array_equal(given[:, :, 1], planes[0])  # BGR
    assert other.given[0].dtype == np.uint8 and other.given[0].shape == (64, 64, 3)


def test_stacks_stay_recordings(tmp_path: Path) -> None:
    frames = np.stack([faint()] * 3)
    plain = saved(tmp_path / "plain.tif", frames, photometric="minisblack")
    timed = saved(tmp_path / "timed.tif", frames, imagej=True, metadata={"axes": "TYX"})
    one_page = saved(tmp_path / "page.tif", frames, imagej=True, metadata={"axes": "TYX"}, truncate=True)
    model, mapping = Model(), Model({"nucleus": 0, "membrane": 1})
    for found in run(model, [plain, timed, one_page]):
        assert isinstance(found, Predicted) and found.frames == 3, found
    for found in run(mapping, [timed, one_page]):
        assert isinstance(found, Predicted) and found.frames == 3, found
    assert {each.dtype for each in (*model.given, *mapping.given)} == {np.dtype(np.uint8)}


def test_what_the_model_cannot_read_is_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    path = saved(tmp_path / "deep.png", faint())
    two = saved(tmp_path / "two.tif", np.stack([faint()] * 2), photometric="minisblack", metadata={"axes": "CYX"})
    plain = saved(tmp_path / "plain.png", np.zeros((8, 8), np.uint8))
    first, second = run(Model(fault=DataError("picture deep.png: odd", fix="mend it")), [path, plain])
    assert isinstance(first, Unreadable) and "odd" in first.reason and "mend it" in first.reason
    assert isinstance(second, Predicted)
    (found,) = run(Model(), [two])  # nobody says what is what
    assert isinstance(found, Unreadable) and "channels" in found.reason


def test_originals_are_read_within_the_limits_and_only_where_they_are_whole(tmp_path: Path) -> None:
    deep = saved(tmp_path / "deep.tif", faint(), compression="zlib", rowsperstrip=8)
    cut = tmp_path / "cut.tif"
    cut.write_bytes(deep.read_bytes()[:-40])
    header = struct.pack(">IIBBBBB", 50_000, 50_000, 16, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(99))), (b"IEND", b"")]
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    ))  # fmt: skip
    model = Model(fault=DataError("nobody may read it"))
    for found in run(model, [cut, bomb]):
        assert isinstance(found, Unreadable) and "nobody may" not in found.reason, found
    (found,) = run(model, [deep], IngestLimits(picture_mpx=0.001))
    assert isinstance(found, Unreadable) and "too large" in found.reason
    assert not model.given
