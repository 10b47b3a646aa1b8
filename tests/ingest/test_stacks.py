from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from tasks.errors import UnreadableRecording
from tasks.ingest import stacks
from tasks.ingest.formats import Format
from tasks.ingest.packing import pack
from tasks.ingest.sampling import Extractor, Picture, Rate, Sampler
from tasks.kinds.segmentation.pictures import read_picture
from tests.ingest.clips import number_in, numbered

STACK = np.stack([numbered(number) for number in range(12)])


def decoded(picture: Picture) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(picture.data, np.uint8), cv2.IMREAD_COLOR)


def numbers(sink: Extractor | Sampler) -> list[int]:
    return [number_in(decoded(picture)) for picture in sink.pictures]


@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
@pytest.mark.parametrize("depth", [8, 16])
def test_pages_are_frames(tmp_path: Path, depth: int, compression: str | None) -> None:
    path = tmp_path / "a.tif"
    stack = STACK if depth == 8 else STACK.astype(np.uint16) * 10 + 1000
    if compression == "lzw":  # tifffile leaves LZW to others; OpenCV's libtiff writes and reads it
        cv2.imwritemulti(str(path), list(stack), [int(cv2.IMWRITE_TIFF_COMPRESSION), 5])
    else:
        tifffile.imwrite(path, stack, photometric="minisblack", compression=compression)
    sink = Extractor(range(12))
    media, pts = stacks.read(path, Format.TIFF, sink)
    assert numbers(sink) == list(range(12))
    assert (media.frames_announced, media.frames_decoded, media.width_px, media.height_px) == (12, 12, 128, 96)
    assert (media.fps_hz, media.duration_s) == (None, None) and np.isnan(pts).all() and pts.shape == (12,)


def test_without_time_sampling_is_even_up_to_the_maximum(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, STACK, photometric="minisblack")
    sampler = Sampler({"few": Rate(1.0, 4, 0), "many": Rate(1.0, 60, 0)})
    stacks.read(path, Format.TIFF, sampler)
    assert sampler.kept == {"few": [0, 4, 7, 11], "many": list(range(12))}
    sampler = Sampler({"timed": Rate(1.0, 60, 0)})
    media, pts = stacks.read(path, Format.TIFF, sampler, fps_hz=4)
    assert (media.fps_hz, media.duration_s, pts[3]) == (4, 3, 0.75)
    assert sampler.kept == {"timed": [0, 4, 8]}


def test_one_scale_for_the_whole_stack(tmp_path: Path) -> None:
    """Brightness stays comparable between pages, and a hot pixel does not dim the rest."""
    stack = np.zeros((4, 200, 200), np.uint16) + 500
    for page in range(4):
        stack[page, :100] = 1000 + 1000 * page
    stack[2, 150, 150] = 65535
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, stack, photometric="minisblack")
    sink = Extractor(range(4))
    stacks.read(path, Format.TIFF, sink)
    tops = [int(np.median(decoded(picture)[:90])) for picture in sink.pictures]
    assert tops == pytest.approx([255 * (1000 + 1000 * page - 500) / 3500 for page in range(4)], abs=2)


def test_calibration_of_ome_and_imagej(tmp_path: Path) -> None:
    ome = tmp_path / "a.ome.tif"
    metadata = {
        "axes": "TYX",
        "PhysicalSizeX": 0.25,
        "PhysicalSizeY": 0.25,
        "PhysicalSizeXUnit": "µm",
        "TimeIncrement": 0.02,
    }
    tifffile.imwrite(ome, STACK, ome=True, photometric="minisblack", metadata=metadata)
    media, _ = stacks.read(ome, Format.TIFF, Sampler({}))
    assert (media.um_per_px, media.fps_hz) == (0.25, 50)

    imagej = tmp_path / "b.tif"
    metadata = {"axes": "TYX", "unit": "um", "finterval": 0.1}
    tifffile.imwrite(imagej, STACK, imagej=True, resolution=(2.0, 2.0), metadata=metadata)
    media, pts = stacks.read(imagej, Format.TIFF, sink := Extractor(range(12)))
    assert (media.um_per_px, media.fps_hz) == (0.5, 10) and pts[-1] == pytest.approx(1.1)
    assert numbers(sink) == list(range(12))

    oblong = tmp_path / "c.tif"
    tifffile.imwrite(oblong, STACK, imagej=True, resolution=(2.0, 3.0), metadata={"axes": "TYX", "unit": "um"})
    assert stacks.read(oblong, Format.TIFF, Sampler({}))[0].um_per_px is None


def test_colour_and_channels(tmp_path: Path) -> None:
    colour = np.zeros((3, 96, 128, 3), np.uint8)
    colour[..., 0] = 200
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, colour, photometric="rgb")
    sink = Extractor(range(3))
    stacks.read(path, Format.TIFF, sink)
    assert decoded(sink.pictures[0])[40, 40].tolist() == pytest.approx([0, 0, 200], abs=3)  # BGR
    channels = tmp_path / "b.tif"
    tifffile.imwrite(channels, np.zeros((4, 2, 96, 128), np.uint8), imagej=True, metadata={"axes": "TCYX"})
    with pytest.raises(UnreadableRecording, match="several axes"):
        stacks.read(channels, Format.TIFF, Sampler({}))


@pytest.mark.parametrize("imagej", [True, False])
def test_a_cut_stack_is_refused(tmp_path: Path, imagej: bool) -> None:
    path = tmp_path / "a.tif"
    if imagej:
        tifffile.imwrite(path, STACK, imagej=True, metadata={"axes": "TYX"})
    else:
        with tifffile.TiffWriter(path) as writer:
            for page in STACK:
                writer.write(page, photometric="minisblack", contiguous=False)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(UnreadableRecording):
        stacks.read(path, Format.TIFF, Sampler({}))


def images(folder: Path, suffix: str, count: int = 12, dtype: type = np.uint8) -> list[Path]:
    folder.mkdir(exist_ok=True)
    for number in range(count):
        cv2.imwrite(
            str(folder / f"img{number}{suffix}"), numbered(number).astype(dtype) * (1 if dtype is np.uint8 else 100)
        )
    return sorted(folder.iterdir())


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif"])
def test_a_packed_folder_is_read_in_natural_order(tmp_path: Path, suffix: str) -> None:
    files = images(tmp_path / "scan", suffix)
    pack(files, packed := tmp_path / "scan.frames.zip")
    sink = Extractor(range(12))
    media, _ = stacks.read(packed, Format.IMAGES, sink)
    assert numbers(sink) == list(range(12)) and media.frames_decoded == 12
    if suffix in (".png", ".jpg"):  # a browser can show them: stored unchanged
        assert sink.pictures[10].data == (tmp_path / "scan" / f"img10{suffix}").read_bytes()


def test_sixteen_bit_images_are_scaled(tmp_path: Path) -> None:
    pack(images(tmp_path / "scan", ".png", dtype=np.uint16), packed := tmp_path / "a.frames.zip")
    sink = Extractor(range(12))
    stacks.read(packed, Format.IMAGES, sink)
    assert numbers(sink) == list(range(12)) and sink.pictures[0].media_type == "image/jpeg"


def test_packing_is_deterministic(tmp_path: Path) -> None:
    files = images(tmp_path / "scan", ".png", 3)
    pack(files, tmp_path / "one.zip")
    for file in files:
        file.touch()
        file.chmod(0o600)
    pack(files[::-1], tmp_path / "two.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


def test_damaged_images_are_lost_frames(tmp_path: Path) -> None:
    files = images(tmp_path / "scan", ".png", 3)
    files[1].write_bytes(b"no image")
    pack(files, packed := tmp_path / "a.frames.zip")
    with pytest.raises(UnreadableRecording, match="1 of 3 frames are lost"):
        stacks.read(packed, Format.IMAGES, Sampler({}))
    pack([], packed)
    with pytest.raises(UnreadableRecording, match="0 frames"):
        stacks.read(packed, Format.IMAGES, Sampler({}))


FOUR = np.stack([np.full((96, 128), value, np.uint16) for value in (1000, 2000, 3000, 4000)])
FOUR[:, :10] = 0


def as_grey_pages(path: Path) -> None:
    tifffile.imwrite(path, FOUR, photometric="minisblack")


def as_grey_samples(path: Path) -> None:
    tifffile.imwrite(path, np.moveaxis(FOUR, 0, -1), photometric="minisblack", planarconfig="contig")


def as_colours_and_opacity(path: Path) -> None:
    tifffile.imwrite(path, np.moveaxis(FOUR, 0, -1), photometric="rgb")


@pytest.mark.parametrize("write", [as_grey_pages, as_grey_samples, as_colours_and_opacity])
def test_a_still_of_four_channels_shows_those_that_are_named(tmp_path: Path, write: Callable[[Path], None]) -> None:
    path = tmp_path / "cells.tif"
    write(path)
    named = {"nucleus": 3, "membrane": 0}
    sink = Extractor([0])
    media, _ = stacks.read(path, Format.STILL, sink, channels=named)
    assert media.codec == "tiff-channels"
    assert decoded(sink.pictures[0])[40, 40].tolist() == [255, 255, 0]  # BGR: nuclei blue, membranes green
    model_sees = read_picture(path, named)
    assert model_sees[40, 40].tolist() == [0, 1000, 4000]  # RGB, in the file's own depth


def test_a_transparent_still_says_what_a_further_stain_needs(tmp_path: Path) -> None:
    as_colours_and_opacity(tmp_path / "cells.tif")
    with pytest.raises(UnreadableRecording, match=r"one channel more than its colours[\s\S]*pages of grey"):
        stacks.read(tmp_path / "cells.tif", Format.STILL, Extractor([0]))
