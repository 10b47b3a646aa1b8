"""Pictures keep their depth and channels, and are prepared alike wherever they come from."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from tasks.errors import DataError
from tasks.ingest.images import decode_image
from tasks.kinds.segmentation.pictures import mapped, padded, prepare, read_picture, scaled, scaled_labels
from tasks.kinds.segmentation.plan import InputPlan
from tasks.kinds.segmentation.stain import is_stained

RNG = np.random.default_rng(0)
DEEP = RNG.integers(0, 60_000, (20, 30), dtype=np.uint16)
STACK = RNG.integers(0, 60_000, (4, 20, 30), dtype=np.uint16)
RGB = RNG.integers(0, 255, (20, 30, 3), dtype=np.uint8)


def section(strength: float = 1.0, size: int = 64) -> NDArray[np.uint8]:
    """A stained section of two stains, by Lambert and Beer's law; `strength` is how much of them."""
    stains = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])
    amounts = np.random.default_rng(3).uniform(0, 1.2, (size, size, 2)) * strength
    return np.asarray(240 * np.exp(-amounts @ stains), dtype=np.uint8)


def png(values: NDArray[Any]) -> bytes:
    return cv2.imencode(".png", values)[1].tobytes()


@pytest.mark.parametrize("name", ["deep.tif", "deep.png"])
def test_sixteen_bits_stay(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.endswith("tif"):
        tifffile.imwrite(path, DEEP, compression="zlib")
    else:
        path.write_bytes(png(DEEP))
    found = read_picture(path)
    assert found.dtype == np.uint16
    assert np.array_equal(found, DEEP[:, :, None])


@pytest.mark.parametrize("compression", ["lzw", "deflate", "packbits", "lzma", "zstd"])
def test_a_tiff_is_read_however_it_is_packed(tmp_path: Path, compression: str) -> None:
    tifffile.imwrite(tmp_path / "cells.tif", DEEP, compression=compression)
    assert (read_picture(tmp_path / "cells.tif")[:, :, 0] == DEEP).all()


def test_colour_grey_and_alpha(tmp_path: Path) -> None:
    assert np.array_equal(read_picture(png(RGB[:, :, ::-1])), RGB)
    with_alpha = np.dstack([RGB[:, :, ::-1], np.full((20, 30), 9, np.uint8)])
    assert np.array_equal(read_picture(png(with_alpha)), RGB)
    assert np.array_equal(read_picture(png(RGB[:, :, 0])), RGB[:, :, :1])
    tifffile.imwrite(tmp_path / "rgba.tif", with_alpha[:, :, [2, 1, 0, 3]], photometric="rgb")
    assert np.array_equal(read_picture(tmp_path / "rgba.tif"), RGB)
    tifffile.imwrite(tmp_path / "white.tif", RGB[:, :, 0], photometric="miniswhite")
    assert np.array_equal(read_picture(tmp_path / "white.tif"), 255 - RGB[:, :, :1])
    tifffile.imwrite(tmp_path / "float.tif", DEEP.astype(np.float64))
    assert read_picture(tmp_path / "float.tif").dtype == np.float32


@pytest.mark.parametrize("form", ["pages", "samples", "imagej", "ome", "as tifffile has it", "planes as it has them"])
def test_channels_are_mapped_to_their_colours(tmp_path: Path, form: str) -> None:
    path = tmp_path / ("stack.ome.tif" if form == "ome" else "stack.tif")
    if form == "samples":
        tifffile.imwrite(path, np.moveaxis(STACK, 0, -1), photometric="minisblack", planarconfig="contig")
    elif form == "as tifffile has it":  # red, green, blue and opacity, it says
        tifffile.imwrite(path, np.moveaxis(STACK, 0, -1), photometric="rgb")
    elif form == "planes as it has them":
        tifffile.imwrite(path, STACK, photometric="rgb", planarconfig="separate")
    elif form == "imagej":
        tifffile.imwrite(path, STACK, imagej=True, metadata={"axes": "CYX"})
    elif form == "ome":
        tifffile.imwrite(path, STACK, metadata={"axes": "CYX"}, photometric="minisblack")
    else:
        tifffile.imwrite(path, STACK, photometric="minisblack")
    found = read_picture(path, {"membrane": 0, "nucleus": 2})
    assert found.dtype == np.uint16 and found.shape[2] == 3
    assert np.array_equal(found[:, :, 1], STACK[0])
    assert np.array_equal(found[:, :, 2], STACK[2])
    assert not found[:, :, 0].any()
    assert np.array_equal(read_picture(path, {"nucleus": 3})[:, :, 0], STACK[3])


def test_two_names_never_share_a_colour() -> None:
    values = np.moveaxis(STACK, 0, -1)
    found = mapped(values, {"actin": 1, "tubulin": 3, "nucleus": 0})
    assert np.array_equal(found, values[:, :, [1, 3, 0]])


def test_what_cannot_be_shown_is_refused(tmp_path: Path) -> None:
    values = np.moveaxis(STACK, 0, -1)
    with pytest.raises(DataError, match="or a mapping"):
        mapped(values, {})
    with pytest.raises(DataError, match="at least 8"):
        mapped(values, {"nucleus": 7})
    with pytest.raises(DataError, match="3 channels at most"):
        mapped(values, dict(zip("abcd", range(4), strict=True)))
    tifffile.imwrite(tmp_path / "z.tif", STACK, imagej=True, metadata={"axes": "ZYX"})
    with pytest.raises(DataError, match="is a stack"):
        read_picture(tmp_path / "z.tif")
    with tifffile.TiffWriter(tmp_path / "two.tif") as writer:
        writer.write(DEEP)
        writer.write(DEEP[:10])
    with pytest.raises(DataError, match="has 2 pictures"):
        read_picture(tmp_path / "two.tif")
    whole = png(DEEP)
    tifffile.imwrite(tmp_path / "cut.tif", DEEP, compression="zlib")
    for damaged in (b"", b"nothing", whole[:20], (tmp_path / "cut.tif").read_bytes()[:300]):
        with pytest.raises(DataError, match="cannot be read"):
            read_picture(damaged)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_tiff_is_turned_as_its_frame_is(tmp_path: Path, orientation: int) -> None:
    deep = np.random.default_rng(0).integers(0, 60_000, (5, 7, 3), dtype=np.uint16)
    for name, values in (("grey.tif", deep[:, :, 0]), ("colour.tif", deep)):
        tifffile.imwrite(tmp_path / name, values, extratags=[(274, 3, 1, orientation, True)])
        frame = decode_image((tmp_path / name).read_bytes())
        assert frame is not None and frame.dtype == np.uint16
        found = read_picture(tmp_path / name)[:, :, ::-1]
        assert np.array_equal(found.reshape(frame.shape), frame)


@pytest.mark.parametrize("form", ["tif", "tiled.tif", "png", "bmp"])
def test_what_a_file_states_is_looked_at_before_it_is_decoded(
    tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"bomb.{form}"
    if form == "tif":  # a few hundred bytes that claim 2.5 thousand million pixels
        tifffile.imwrite(path, DEEP, compression="zlib")
        with tifffile.TiffFile(path, mode="r+") as tiff:
            for tag in ("ImageWidth", "ImageLength", "RowsPerStrip"):
                tiff.pages[0].tags[tag].overwrite(50_000)
    elif form == "tiled.tif":
        tifffile.imwrite(path, DEEP, compression="zlib", tile=(64, 64))
        with tifffile.TiffFile(path, mode="r+") as tiff:
            for tag in ("TileWidth", "TileLength"):
                tiff.pages[0].tags[tag].overwrite(50_000)
    elif form == "png":
        data = bytearray(png(DEEP))
        data[16:24] = struct.pack(">II", 50_000, 50_000)
        data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
        path.write_bytes(data)
    else:
        data = bytearray(cv2.imencode(".bmp", DEEP.astype(np.uint8))[1].tobytes())
        data[18:26] = struct.pack("<ii", 50_000, 50_000)
        path.write_bytes(data)

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(cv2, "imdecode", never)
    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", never)
    for source in (path, path.read_bytes()):
        with pytest.raises(DataError, match="too large"):
            read_picture(source)


def test_a_jpeg_in_a_tiff_is_no_larger_than_the_tiff_says(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    path = tmp_path / "jpeg.tif"
    tifffile.imwrite(path, values, compression="jpeg", tile=(32, 32))
    assert np.abs(read_picture(path)[:, :, 0].astype(int) - values).mean() < 20
    with tifffile.TiffFile(path, mode="r+") as tiff:
        page = tiff.pages[0]
        start, count = page.dataoffsets[0], page.databytecounts[0]
    data = bytearray(path.read_bytes())
    at = data.index(b"\xff\xc0", start, start + count)
    data[at + 5 : at + 9] = struct.pack(">HH", 13_000, 13_000)
    with pytest.raises(DataError, match="a part of it is larger"):
        read_picture(bytes(data))
    tifffile.imwrite(path, values, compression="jpeg2000")
    with pytest.raises(DataError, match="is compressed as"):
        read_picture(path)


def test_percentiles_bring_every_depth_to_the_same_range() -> None:
    ramp = np.linspace(0, 1, 10_000).reshape(100, 100, 1)
    for values in ((ramp * 200 + 20).astype(np.uint8), (ramp * 3000 + 500).astype(np.uint16), ramp.astype(np.float32)):
        found = prepare(values, InputPlan())
        assert found.shape == (100, 100, 3)
        assert found.dtype == np.float32
        assert np.allclose(found[:, :, 0], np.clip((ramp[:, :, 0] - 0.01) / 0.98, 0, None), atol=0.01)
    assert np.isfinite(prepare(np.full((9, 9, 1), 7, np.uint16), InputPlan())).all()


def test_few_bright_cells_keep_their_order_and_do_not_dazzle() -> None:
    values = np.tile(np.arange(100, dtype=np.uint16), (100, 1))[:, :, None]
    values[0, :3, 0] = [1000, 10_000, 60_000]
    found = prepare(values, InputPlan())[0, :3, 0]
    assert 1 < found[0] < found[1] < found[2] < 10


def test_gamma_range_and_channels_one_by_one() -> None:
    grey = np.array([[[51], [255]]], np.uint8)
    assert np.allclose(prepare(grey, InputPlan(normalise="fixed", gamma=2))[0, :, 0], [0.04, 1])
    two = np.stack([np.zeros_like(DEEP), DEEP // 100, DEEP], axis=-1)
    apart = prepare(two, InputPlan(channels={"membrane": 0, "nucleus": 1}))
    assert apart[:, :, 1].max() == pytest.approx(apart[:, :, 2].max(), rel=0.02)
    together = prepare(two, InputPlan())
    assert together[:, :, 1].max() < 0.05 * together[:, :, 2].max()


@pytest.mark.parametrize("how", ["macenko", "reinhard"])
def test_stains_become_alike_and_the_rest_is_left_alone(how: Any) -> None:
    plan, plain = (InputPlan(stain=stain, normalise="fixed") for stain in (how, "none"))
    pale, dark = section(0.7), section(1.3)
    before = np.abs(prepare(pale, plain).mean((0, 1)) - prepare(dark, plain).mean((0, 1))).max()
    after = np.abs(prepare(pale, plan).mean((0, 1)) - prepare(dark, plan).mean((0, 1))).max()
    assert after < before / 2
    fluorescence = (section() < 60).astype(np.uint8) * np.array([10, 20, 200], np.uint8)
    blank = np.full((32, 32, 3), 236, np.uint8)
    grey = np.repeat(section()[:, :, :1], 3, axis=2)
    for other in (fluorescence, blank, grey, section()[:, :, :1], STACK[:3].transpose(1, 2, 0)):
        assert np.array_equal(prepare(np.ascontiguousarray(other), plan), prepare(other, plain))
    assert is_stained(pale)


def test_macenko_equals_torchstain() -> None:
    from torchstain.numpy.normalizers import NumpyMacenkoNormalizer

    from tasks.kinds.segmentation.stain import stain_normalised

    picture = section()
    expected = NumpyMacenkoNormalizer().normalize(picture)[0].astype(int)
    assert np.abs(stain_normalised(picture, "macenko").astype(int) - expected).max() <= 1


@pytest.mark.parametrize(("side", "scale"), [(1001, 0.5), (101, 0.25), (102, 0.25), (333, 1 / 3), (97, 1.7), (90, 3)])
def test_cells_lie_where_their_picture_shows_them_whatever_it_is_scaled_by(side: int, scale: float) -> None:
    """Masks are put back into the picture by the scale alone: a cell at its far edge must lie there, too."""
    labels = np.zeros((64, side), np.int32)
    labels[20:44, -41:-20] = 1
    shown = scaled(np.repeat(labels[..., None], 3, axis=2).astype(np.float32), scale)[..., 0]
    cells = scaled_labels(labels, scale)
    assert cells.shape == shown.shape
    middle = side - 30.5
    for values in (shown, cells):
        columns = (np.arange(values.shape[1]) + 0.5) / scale
        found = (values.sum(axis=0) * columns).sum() / values.sum()
        assert found == pytest.approx(middle, abs=0.15 if values is shown else 0.5 / min(scale, 1))


def test_scaled_and_padded() -> None:
    values = prepare(RGB, InputPlan())
    assert scaled(values, 1) is values
    assert scaled(values, 2).shape == (40, 60, 3)
    wide = padded(values, 32, 64)
    assert np.array_equal(wide[:20, :30], values)
    assert np.allclose(wide[25, 40], np.median(values, axis=(0, 1)))
