"""Whatever a TIFF stores, its frames look as in any viewer, all of them are there, or it is refused with the reason."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from PIL import Image as Pillow

from tasks.errors import UnreadableRecording
from tasks.ingest import stacks
from tasks.ingest.formats import Format
from tasks.ingest.media import Media
from tasks.ingest.packing import pack
from tasks.ingest.sampling import Extractor, Sampler
from tasks.ingest.tiff_series import check_micromanager
from tests.ingest.clips import number_in, numbered

GROUND, DISC = 90, 230
COUNT = 4


def disc(number: int = 0) -> npt.NDArray[np.uint8]:
    """Ground 90, disc 230, as in the trial."""
    picture = np.full((96, 128), GROUND, np.uint8)
    cv2.circle(picture, (40 + 5 * number, 48), 20, DISC, -1)
    return picture


def read(path: Path, kind: Format = Format.TIFF) -> tuple[Media, list[npt.NDArray[np.uint8]]]:
    sink = Extractor(range(1000))
    media, _ = stacks.read(path, kind, sink)
    pictures = [cv2.imdecode(np.frombuffer(one.data, np.uint8), cv2.IMREAD_COLOR) for one in sink.pictures]
    return media, [np.asarray(picture, np.uint8) for picture in pictures]


def patched(path: Path, tag: int, value: int) -> None:
    """Set a short value of every page of a little-endian TIFF."""
    data = bytearray(path.read_bytes())
    offset = struct.unpack_from("<I", data, 4)[0]
    while offset:
        count = struct.unpack_from("<H", data, offset)[0]
        for entry in range(offset + 2, offset + 2 + 12 * count, 12):
            if struct.unpack_from("<H", data, entry)[0] == tag:
                struct.pack_into("<I", data, entry + 8, value)
        offset = struct.unpack_from("<I", data, offset + 2 + 12 * count)[0]
    path.write_bytes(data)


def by_pillow(mode: str, compression: str | None) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        pages = [Pillow.fromarray(disc(number)) for number in range(COUNT)]
        if mode == "P":
            pages = [Pillow.fromarray(255 - disc(number)) for number in range(COUNT)]
            for page in pages:
                page.putpalette([255 - value // 3 for value in range(768)])
        elif mode == "white":
            pages = [Pillow.fromarray(255 - disc(number)) for number in range(COUNT)]
        elif mode != "L":
            pages = [page.convert("RGB").convert(mode) for page in pages]
        pages[0].save(path, save_all=True, append_images=pages[1:], compression=compression)
        if mode == "white":
            patched(path, 262, 0)

    return write


def by_tifffile(change: Callable[[npt.NDArray[np.uint8]], Any], **how: Any) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with tifffile.TiffWriter(path) as writer:
            for number in range(COUNT):
                writer.write(change(disc(number)), contiguous=False, **how)

    return write


TABLE = np.repeat(np.arange(255, -1, -1, dtype=np.uint16)[None] * 257, 3, axis=0)
SHOWN = {
    **{f"{mode}-{compression}": by_pillow(mode, compression)
       for mode in ("L", "P", "white", "RGB", "CMYK", "YCbCr")
       for compression in (None, "tiff_lzw", "tiff_adobe_deflate", "packbits")},
    "jpeg": by_pillow("RGB", "jpeg"),
    "jpeg-grey": by_pillow("L", "jpeg"),
    "white": by_tifffile(lambda picture: 255 - picture, photometric="miniswhite"),
    "white-16": by_tifffile(lambda picture: 65535 - picture.astype(np.uint16) * 100, photometric="miniswhite"),
    "white-float": by_tifffile(lambda picture: -picture.astype(np.float32), photometric="miniswhite"),
    "palette": by_tifffile(lambda picture: 255 - picture, photometric="palette", colormap=TABLE),
    "planar": by_tifffile(lambda picture: np.stack([picture] * 3), photometric="rgb", planarconfig="separate"),
    "opaque": by_tifffile(lambda picture: np.dstack([picture] * 3 + [np.full_like(picture, 255)]), photometric="rgb",
                          extrasamples=["assocalpha"]),
    "deep": by_tifffile(lambda picture: picture.astype(np.uint16) * 16, photometric="minisblack"),
    "signed": by_tifffile(lambda picture: picture.astype(np.int16) - 100, photometric="minisblack"),
    "float": by_tifffile(lambda picture: picture.astype(np.float32) / 255, photometric="minisblack", compression="zlib",
                         predictor=False),
}  # fmt: skip
STRETCHED = {"white-16", "white-float", "deep", "signed", "float"}


@pytest.mark.parametrize("kind", sorted(SHOWN))
def test_every_kind_of_page_is_shown_as_viewers_show_it(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.tif"
    SHOWN[kind](path)
    media, pictures = read(path)
    assert (media.frames_announced, media.frames_decoded, len(pictures)) == (COUNT, COUNT, COUNT)
    ground, bright = (0, 255) if kind in STRETCHED else (GROUND, DISC)
    for number, picture in enumerate(pictures):
        assert picture[2, 2].tolist() == pytest.approx([ground] * 3, abs=3)
        assert picture[48, 40 + 5 * number].tolist() == pytest.approx([bright] * 3, abs=3)
    assert (media.grey_low is not None) == (kind in STRETCHED)


@pytest.mark.parametrize("kind", ["white", "palette", "white-16", "white-float", "L-tiff_lzw", "CMYK-None"])
def test_a_folder_of_such_pages_looks_the_same(tmp_path: Path, kind: str) -> None:
    SHOWN[kind](tmp_path / "a.tif")
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        page = tiff.pages.first
        if page.compression == 1 and kind not in ("palette", "CMYK-None"):
            tifffile.imwrite(tmp_path / "1.tif", page.asarray(), photometric=page.photometric)
        else:
            Pillow.open(tmp_path / "a.tif").save(tmp_path / "1.tif")
    pack([tmp_path / "1.tif"], packed := tmp_path / "a.frames.zip")
    media, (picture,) = read(packed, Format.IMAGES)
    ground, bright = (0, 255) if kind in STRETCHED else (GROUND, DISC)
    assert picture[2, 2, 0] == pytest.approx(ground, abs=3) and picture[48, 40, 0] == pytest.approx(bright, abs=3)
    assert media.frames_decoded == 1


@pytest.mark.parametrize("white", [True, False])
@pytest.mark.parametrize("bits", [1, 2, 4, 10, 12, 14])
def test_packed_bits(tmp_path: Path, bits: int, white: bool) -> None:
    """Written by hand, as tifffile would not: few bits, and those of cameras that pack 12 bits."""
    top, rows = 2**bits - 1, bytearray()
    levels = np.where(disc() == DISC, top, 0)
    for row in top - levels if white else levels:
        line = 0
        for value in row:
            line = line << bits | int(value)
        rows += line.to_bytes(len(row) * bits // 8, "big")
    tags = [(256, 3, 128), (257, 3, 96), (258, 3, bits), (259, 3, 1), (262, 3, 0 if white else 1), (273, 4, 8),
            (277, 3, 1), (278, 3, 96), (279, 4, len(rows))]  # fmt: skip
    directory = struct.pack("<H", len(tags)) + b"".join(
        struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags
    )
    path = tmp_path / "a.tif"
    path.write_bytes(b"II*\0" + struct.pack("<I", 8 + len(rows)) + rows + directory + bytes(4))
    media, (picture,) = read(path)
    assert (picture[2, 2, 0], picture[48, 40, 0]) == (0, 255)
    assert (media.grey_low, media.grey_high) == ((None, None) if bits < 8 else (top, 0) if white else (0, top))


def test_the_stretch_is_recorded_and_holds_again(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    by_tifffile(lambda picture: picture.astype(np.uint16) * 16, photometric="minisblack")(path)
    media, _ = read(path)
    assert (media.grey_low, media.grey_high) == (GROUND * 16, DISC * 16)
    by_tifffile(lambda picture: 4095 - picture.astype(np.uint16) * 16, photometric="miniswhite")(path)
    media, _ = read(path)
    assert (media.grey_low, media.grey_high) == (4095 - GROUND * 16, 4095 - DISC * 16), "what is black, what is white"
    sink = Extractor([0])
    stacks.read(path, Format.TIFF, sink, grey_range=(4095.0, 0.0))
    picture = cv2.imdecode(np.frombuffer(sink.pictures[0].data, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert picture[2, 2] == pytest.approx(GROUND * 16 / 4095 * 255, abs=2)


def numbered_pages(writer: tifffile.TiffWriter, numbers: range, **how: Any) -> None:
    for number in numbers:
        writer.write(numbered(number), photometric="minisblack", contiguous=False, metadata=None, **how)


def thumbnails_between(writer: tifffile.TiffWriter) -> None:
    for number in range(12):
        numbered_pages(writer, range(number, number + 1))
        writer.write(numbered(99)[::2, ::2], subfiletype=1, photometric="minisblack", metadata=None)


def thumbnail_first(writer: tifffile.TiffWriter) -> None:
    writer.write(numbered(99)[::2, ::2], subfiletype=1, photometric="minisblack", metadata=None)
    numbered_pages(writer, range(12))


def pyramids(writer: tifffile.TiffWriter) -> None:
    for number in range(12):
        numbered_pages(writer, range(number, number + 1), subifds=2)
        for step in (2, 4):
            writer.write(numbered(number)[::step, ::step], subfiletype=1, photometric="minisblack", metadata=None)


def several_series(writer: tifffile.TiffWriter) -> None:
    for part in (range(5), range(5, 12)):
        writer.write(np.stack([numbered(number) for number in part]), photometric="minisblack")


def several_compressions(writer: tifffile.TiffWriter) -> None:
    numbered_pages(writer, range(5))
    numbered_pages(writer, range(5, 12), compression="zlib")


def white_and_black(writer: tifffile.TiffWriter) -> None:
    for number in range(12):
        picture = numbered(number) if number % 3 else 255 - numbered(number)
        writer.write(picture, photometric="minisblack" if number % 3 else "miniswhite", contiguous=False, metadata=None)


@pytest.mark.parametrize(
    "write", [thumbnails_between, thumbnail_first, pyramids, several_series, several_compressions, white_and_black]
)
def test_all_pages_of_the_main_size_are_frames(tmp_path: Path, write: Callable[[tifffile.TiffWriter], None]) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        write(writer)
    media, pictures = read(path)
    assert [number_in(picture) for picture in pictures] == list(range(12))
    assert (media.width_px, media.height_px, media.frames_announced) == (128, 96, 12)


def refusal(path: Path) -> str:
    with pytest.raises(UnreadableRecording) as refused:
        stacks.read(path, Format.TIFF, Sampler({}))
    return str(refused.value)


MIXED: dict[str, tuple[list[dict[str, Any]], str]] = {
    "sizes": ([{"data": disc()}, {"data": disc()}, {"data": disc()[:50]}], "2 of 128 x 96 px, 1 of 128 x 50 px"),
    "depths": ([{"data": disc()}, {"data": disc().astype(np.uint16)}], "1 x 8 bits.* 1 x 16 bits"),
    "colours": ([{"data": disc()}, {"data": np.dstack([disc()] * 3), "photometric": "rgb"}], "mixes pages"),
    "deep white and black": (
        [{"data": disc().astype(np.uint16)}, {"data": disc().astype(np.uint16), "photometric": "miniswhite"}],
        "white is zero",
    ),
    "masks": ([{"data": disc()}, {"data": disc() > 100, "subfiletype": 4}], "masks"),
    "transparent": (
        [{"data": np.dstack([disc()] * 4), "photometric": "rgb", "extrasamples": ["assocalpha"]}],
        "transparent",
    ),
    "grey and a channel": ([{"data": np.dstack([disc(), disc(1)]), "planarconfig": "contig"}], "one channel more"),
    "channels": ([{"data": np.dstack([disc()] * 5), "planarconfig": "contig"}], "5 channels"),
    "complex": ([{"data": disc().astype(np.complex64)}], "complex"),
    "sensor": ([{"data": disc(), "photometric": "cfa"}], "colour filter array"),
    "Lab": ([{"data": np.dstack([disc()] * 3), "photometric": "cielab"}], "L\\*a\\*b"),
    "picture behind": (
        [{"data": disc()[::2, ::2], "subifds": 1}, {"data": disc(), "subfiletype": 0}], "as large or larger"
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(MIXED))
def test_pages_of_several_or_strange_kinds_are_refused(tmp_path: Path, kind: str) -> None:
    pages, says = MIXED[kind]
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        for page in pages:
            writer.write(**{"photometric": "minisblack", "metadata": None, "contiguous": False, **page})
    assert re.search(says, refusal(path))


@pytest.mark.parametrize("imagej", [True, False])
@pytest.mark.parametrize("axes", ["TCYX", "TZYX", "CYX", "TZCYX"])
def test_channels_and_several_axes_are_refused(tmp_path: Path, axes: str, imagej: bool) -> None:
    shape = tuple({"T": 4, "C": 2, "Z": 3, "Y": 96, "X": 128}[axis] for axis in axes)
    path = tmp_path / ("a.tif" if imagej else "a.ome.tif")
    more = {"imagej": True} if imagej else {"ome": True}
    tifffile.imwrite(path, np.zeros(shape, np.uint8), photometric="minisblack", metadata={"axes": axes}, **more)
    said = refusal(path)
    assert "several axes" in said and ("C=2" in said or "Z=3" in said)


@pytest.mark.parametrize("axes", ["TYX", "ZYX"])
def test_ome_with_one_axis_is_read(tmp_path: Path, axes: str) -> None:
    path = tmp_path / "a.ome.tif"
    stack = np.stack([numbered(number) for number in range(12)])
    tifffile.imwrite(path, stack, ome=True, photometric="minisblack", metadata={"axes": axes})
    assert [number_in(picture) for picture in read(path)[1]] == list(range(12))
    colour = np.stack([stack] * 3, axis=-1)
    tifffile.imwrite(path, colour, ome=True, photometric="rgb", metadata={"axes": axes + "S"})
    assert [number_in(picture) for picture in read(path)[1]] == list(range(12))


def ome(inside: str, uuid: str = "urn:uuid:1") -> str:
    return f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="{uuid}">{inside}</OME>'


def pixels(size_t: int, blocks: str) -> str:
    sizes = f'SizeX="128" SizeY="96" SizeC="1" SizeZ="1" SizeT="{size_t}"'
    return f'<Image><Pixels DimensionOrder="XYZCT" {sizes}>{blocks}</Pixels></Image>'


def block(frame: int, page: int, uuid: str, name: str) -> str:
    where = f'<UUID FileName="{name}">urn:uuid:{uuid}</UUID>'
    return f'<TiffData FirstT="{frame}" IFD="{page}" PlaneCount="1">{where}</TiffData>'


def write_ome(path: Path, description: str, count: int = 6) -> None:
    with tifffile.TiffWriter(path) as writer:
        for number in range(count):
            writer.write(numbered(number), photometric="minisblack", contiguous=False, metadata=None,
                         description=description if number == 0 else None)  # fmt: skip


def test_a_part_of_several_files_says_which_and_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    names = ["run_MMStack_Pos0.ome.tif", "run_MMStack_Pos0_1.ome.tif"]
    blocks = "".join(block(frame, frame % 6, str(1 + frame // 6), names[frame // 6]) for frame in range(12))
    write_ome(path, ome(pixels(12, blocks)))
    said = refusal(path)
    assert "part 1 of 2" in said and names[0] in said and f"the rest is in '{names[1]}'" in said
    write_ome(path, ome(pixels(12, blocks), "urn:uuid:2"))
    assert "part 2 of 2" in refusal(path)
    write_ome(path, ome('<BinaryOnly MetadataFile="set.companion.ome" UUID="urn:uuid:9"/>'))
    assert "set.companion.ome" in refusal(path)


def test_ome_order_holes_and_other_pictures(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    order = [5, 0, 1, 2, 3, 4]
    write_ome(path, ome(pixels(6, "".join(block(frame, page, "1", "a") for frame, page in enumerate(order)))))
    assert [number_in(picture) for picture in read(path)[1]] == order
    write_ome(path, ome(pixels(4, "".join(block(frame, frame, "1", "a") for frame in range(4)))))
    assert "6 pages of one size, of which its OME-XML names 4" in refusal(path)
    write_ome(path, ome(pixels(6, '<TiffData IFD="0" PlaneCount="6"/>') * 2))
    assert "2 pictures" in refusal(path)
    write_ome(path, ome(pixels(9, "".join(block(frame, frame, "1", "a") for frame in range(6)))))
    assert "3 of 9 frames are lost" in refusal(path)
    # Positions in files of their own: this one is whole.
    both = pixels(6, "".join(block(n, n, "1", "a") for n in range(6))) + pixels(
        6, "".join(block(n, n, "2", "b") for n in range(6))
    )
    write_ome(path, ome(both))
    assert len(read(path)[1]) == 6
    write_ome(path, '<!DOCTYPE x [<!ENTITY a "b">]>' + ome(pixels(6, "") + "&a;"))
    assert "OME-XML of the TIFF cannot be read" in refusal(path)


def test_a_file_that_is_named_in_the_metadata_is_not_opened(tmp_path: Path) -> None:
    """Whoever writes the metadata must not choose what is read."""
    tifffile.imwrite(tmp_path / "secret.ome.tif", np.stack([numbered(7)] * 6), photometric="minisblack")
    path = tmp_path / "a.ome.tif"
    write_ome(
        path, ome(pixels(7, block(0, 0, "2", "secret.ome.tif") + "".join(block(n + 1, n, "1", "a") for n in range(6))))
    )
    assert "secret.ome.tif" in refusal(path)


@pytest.mark.parametrize("compression", [None, "zlib", "tiff_lzw"])
def test_one_damaged_page_is_one_lost_frame(tmp_path: Path, compression: str | None) -> None:
    count, path = 60, tmp_path / "a.tif"
    if compression == "tiff_lzw":
        first, *rest = [Pillow.fromarray(numbered(number)) for number in range(count)]
        first.save(path, save_all=True, append_images=rest, compression="tiff_lzw")
    else:
        with tifffile.TiffWriter(path) as writer:
            numbered_pages(writer, range(count), compression=compression)
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[20]
        start, length = page.dataoffsets[0], page.databytecounts[0]
        entry = page.tags[279].offset + 8
    data = bytearray(path.read_bytes())
    if compression is None:  # nothing tells damaged plain numbers from good ones; a strip without bytes is found
        data[entry : entry + 4] = bytes(4)
    else:
        data[start : start + length] = b"\xff" * length
    path.write_bytes(data)
    media, pictures = read(path)
    assert (media.frames_announced, media.frames_decoded) == (count, count - 1)
    assert [number_in(picture) for picture in pictures] == [number for number in range(count) if number != 20]


@pytest.mark.parametrize("seed", range(8))
def test_random_damage_is_a_reason_or_a_loss_never_a_crash(tmp_path: Path, seed: int) -> None:
    generator, path = np.random.default_rng(seed), tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        numbered_pages(writer, range(20), compression="zlib" if seed % 2 else None)
    data = np.frombuffer(path.read_bytes(), np.uint8).copy()
    for _ in range(40):
        data[generator.integers(8, len(data), 8 if seed < 4 else 64)] = generator.integers(0, 256)
        path.write_bytes(data.tobytes())
        try:
            stacks.read(path, Format.TIFF, Extractor(range(20)))
        except UnreadableRecording as error:
            assert str(error)


@pytest.mark.parametrize("turn", range(1, 9))
def test_orientation_is_applied(tmp_path: Path, turn: int) -> None:
    path = tmp_path / "a.tif"
    picture = disc()
    picture[:20, :30] = 250
    how: dict[str, Any] = {"photometric": "minisblack", "extratags": [(274, "H", 1, turn, True)]}
    tifffile.imwrite(path, picture, **how)
    tifffile.imwrite(tmp_path / "deflated.tif", picture, compression="zlib", **how)  # the other is turned wrongly by it
    _, (shown,) = read(path)
    with Pillow.open(tmp_path / "deflated.tif") as image:
        image.load()
        expected = np.asarray(image)
    assert shown.shape[:2] == expected.shape and np.abs(shown[..., 0].astype(int) - expected).max() < 12


SUMMARY = {"MicroManagerVersion": "2.0", "Channels": 1, "Slices": 1, "Positions": 1, "Frames": 100}


def index(first: int, count: int, **fixed: int) -> npt.NDArray[np.int64]:
    """Micro-Manager's table: channel, slice, frame, position, offset."""
    table = np.zeros((count, 5), np.int64)
    table[:, 2] = np.arange(first, first + count)
    for axis, value in fixed.items():
        table[-1, "CZTR".index(axis)] = value
    return table


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (index(40, 60), "frames 40 to 99 of 100.*missing: frames 0 to 39"),
        (index(0, 60), "frames 0 to 59 of 100.*missing: frames 60 to 99"),
        (index(0, 100, C=1), "C=2"),
        (index(0, 100, R=2), "R=3"),
    ],
)
def test_a_micro_manager_part_says_which_frames_it_holds(table: npt.NDArray[np.int64], says: str) -> None:
    with pytest.raises(UnreadableRecording, match=says):
        check_micromanager({"Summary": SUMMARY, "IndexMap": table}, len(table))


def test_a_whole_micro_manager_file_is_fine() -> None:
    check_micromanager({"Summary": SUMMARY, "IndexMap": index(0, 100)}, 100)
    check_micromanager({"Summary": "odd"}, 1)
    check_micromanager(None, 7)
