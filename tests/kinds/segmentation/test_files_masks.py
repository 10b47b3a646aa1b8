"""Label images and folders of masks: found by name and by bytes, damaged ones refused."""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tasks.config import Line
from tasks.kind import BadFile, LabelFile, Misplaced
from tasks.kinds.segmentation import files
from tasks.kinds.segmentation.formats import label_images, masks
from tasks.kinds.segmentation.objects import mask_object
from tasks.schemas import MAX_OBJECTS
from tests.kinds.segmentation.labelled import SEGMENTATION, a_frame, cell_line, square

LINE = cell_line()
TWO = cell_line(classes={"nucleus": {"aliases": ["nuclei"]}, "cell body": {}})


def labels(dtype: Any = np.uint8, first: int = 1) -> np.ndarray:
    """Two cells, the second in two places; a gap between the ids."""
    picture = np.zeros((48, 64), dtype=dtype)
    picture[2:10, 3:9], picture[20:30, 40:50], picture[40:44, 1:4] = first, first + 6, first + 6
    return picture


def put(path: Path, picture: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, picture)
    elif path.suffix in (".tif", ".tiff"):
        tifffile.imwrite(path, picture, compression="zlib")
    else:
        Image.fromarray(picture).save(path)
    return path


def photo(path: Path, seed: int = 0) -> str:
    """A picture, and the sha256 of its bytes."""
    put(path, np.random.default_rng(seed).integers(0, 255, (48, 64, 3), dtype=np.uint8))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read(folder: Path, line: Line = LINE) -> list[LabelFile | BadFile]:
    return list(SEGMENTATION.read_files("masks", folder, line))


def only(folder: Path, line: Line = LINE) -> LabelFile:
    (found,) = read(folder, line)
    assert isinstance(found, LabelFile), found
    return found


def reason(folder: Path, line: Line = LINE) -> str:
    (found,) = read(folder, line)
    assert isinstance(found, BadFile), found
    return found.reason


def expected(picture: np.ndarray, label: str = "cell") -> list[dict[str, Any]]:
    return [mask_object(label, picture == i) for i in np.unique(picture) if i]


@pytest.mark.parametrize(
    ("name", "dtype", "first"),
    [
        ("a_masks.png", np.uint8, 1),
        ("a_mask.png", np.uint16, 900),
        ("a_seg.tif", np.uint8, 1),
        ("a-label.tif", np.uint16, 60_000),
        ("a_labels.tiff", np.int32, 2_000_000_000),
        ("a_cp_masks.tif", np.uint32, 4_000_000_000),
        ("a_gt.tif", np.float32, 1),
        ("a.npy", np.int64, 5),
        ("a_pred.npy", np.uint16, 1),
        ("a_instances.npy", np.float64, 1),
        ("masks/a.png", np.uint8, 1),
        ("deep/Labels/a.tif", np.uint16, 1),
        ("mask_a.png", np.uint8, 1),
        ("a.png", np.uint8, 1),
    ],
)
def test_a_label_image_is_found_by_its_name(tmp_path: Path, name: str, dtype: Any, first: int) -> None:
    picture = labels(dtype, first)
    put(tmp_path / name, picture)
    found = only(tmp_path)
    assert (found.file, found.image, found.picture_oid) == (name, "a", None)
    assert (found.width_px, found.height_px) == (64, 48)
    assert files.place(found, a_frame(64, 48), LINE) == expected(picture)


@pytest.mark.parametrize(
    ("picture", "mask", "image"),
    [
        ("a.png", "a_masks.png", "a"),
        ("a.jpg", "a_seg.tif", "a"),
        ("images/a.tif", "masks/a.png", "a"),
        ("images/well 1/a.tif", "labels/well 1/a_label.tif", "a"),
        ("set/imgs/a.png", "set/gt/a.npy", "a"),
        ("img007.png", "mask007.png", "img007"),
        ("x/img2d.tif", "x/mask2d.tif", "img2d"),
        ("images/img_4.png", "masks/mask_4.png", "img_4"),
    ],
)
def test_a_picture_beside_is_known_by_its_bytes(tmp_path: Path, picture: str, mask: str, image: str) -> None:
    (tmp_path / picture).parent.mkdir(parents=True, exist_ok=True)
    oid = photo(tmp_path / picture)
    put(tmp_path / mask, labels())
    found = only(tmp_path)
    assert (found.file, found.image, found.picture_oid) == (mask, image, oid)


def test_pictures_that_lie_beside_label_images_are_none(tmp_path: Path) -> None:
    for name in ("a", "b"):
        photo(tmp_path / f"{name}.png", seed=ord(name))
    put(tmp_path / "a_masks.png", labels())
    (tmp_path / ".hidden_masks.png").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("nothing")
    assert [each.file for each in read(tmp_path)] == ["a_masks.png"]


def per_object(folder: Path, name: str, cells: int = 3) -> str:
    (folder / name / "images").mkdir(parents=True)
    oid = photo(folder / name / "images" / f"{name}.png")
    for number in range(cells):
        mask = square(4, 3 + 15 * number, 9).astype(np.uint8) * 255
        put(folder / name / "masks" / f"{number}f{number}.png", mask)
    return oid


def test_a_folder_of_one_mask_for_each_object(tmp_path: Path) -> None:
    oids = [per_object(tmp_path, name) for name in ("ab12", "cd34")]
    found = read(tmp_path)
    assert [each.file for each in found] == ["ab12/masks", "cd34/masks"]
    for each, oid in zip(found, oids, strict=True):
        assert isinstance(each, LabelFile)
        assert (each.image, each.picture_oid) == (each.file[:4], oid)
        cells = [mask_object("cell", square(4, 3 + 15 * number, 9)) for number in range(3)]
        assert files.place(each, a_frame(64, 48), LINE) == cells


def test_one_picture_with_one_label_image_is_no_folder_of_objects(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    photo(tmp_path / "images" / "a.png")
    put(tmp_path / "masks" / "a.png", labels())
    assert len(only(tmp_path).objects) == 2


def test_an_empty_picture_is_said_by_a_mask_without_cells(tmp_path: Path) -> None:
    put(tmp_path / "a_masks.png", np.zeros((48, 64), dtype=np.uint8))
    per_object(tmp_path, "x", cells=0)
    put(tmp_path / "x" / "masks" / "none.png", np.zeros((48, 64), dtype=np.uint8))
    found = read(tmp_path)
    assert [(each.image, each.objects, each.width_px) for each in found if isinstance(each, LabelFile)] == [
        ("a", (), 64),
        ("x", (), 64),
    ]


def test_several_classes_are_named_by_folder_or_by_name(tmp_path: Path) -> None:
    nuclei, bodies = labels(), labels(np.uint16, 40)
    photo(tmp_path / "a.png")
    put(tmp_path / "a_nuclei_masks.png", nuclei)
    put(tmp_path / "a_cell_body_masks.tif", bodies)
    put(tmp_path / "masks" / "nucleus" / "b.png", nuclei)
    put(tmp_path / "masks" / "Cell Body" / "b.png", bodies)
    put(tmp_path / "masks" / "c.png", nuclei)
    (first, second), bad = [e for e in read(tmp_path, TWO) if isinstance(e, LabelFile)], read(tmp_path, TWO)[-1]
    for each, image in ((first, "a"), (second, "b")):
        assert each.image == image
        placed = sorted(files.place(each, a_frame(64, 48), TWO), key=lambda item: item["label"])
        assert placed == expected(bodies, "cell body") + expected(nuclei, "nucleus")
    assert isinstance(bad, BadFile)
    assert "nothing says of which class its cells are" in bad.reason


def test_files_that_claim_the_same_class_stay_apart(tmp_path: Path) -> None:
    put(tmp_path / "a_masks.png", labels())
    put(tmp_path / "a_seg.png", labels(first=3))
    assert [(each.file, each.image) for each in read(tmp_path)] == [("a_masks.png", "a"), ("a_seg.png", "a")]


def test_masks_of_another_size_than_the_frame_are_misplaced(tmp_path: Path) -> None:
    put(tmp_path / "a.npy", labels())
    found = only(tmp_path)
    with pytest.raises(Misplaced, match=r"cell 1 is a mask of 64x48 px, frame 3 has 64x47 px; cell 2 "):
        files.place(found, a_frame(64, 47), LINE)


def as_png(picture: np.ndarray) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(picture).save(sink, "PNG")
    return sink.getvalue()


def as_npy(picture: Any, **how: Any) -> bytes:
    sink = io.BytesIO()
    np.save(sink, picture, **how)
    return sink.getvalue()


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("/tmp/nightscope-was-here"),)


COLOURS = np.dstack([labels(), labels(first=2), labels(first=3)])
HUGE = (
    np.lib.format.magic(1, 0)
    + (118).to_bytes(2, "little")
    + b"{'descr': '<i8', 'fortran_order': False, 'shape': (900000, 900000)}".ljust(117)
    + b"\n"
)


def as_tif(picture: np.ndarray, **how: Any) -> bytes:
    sink = io.BytesIO()
    tifffile.imwrite(sink, picture, **how)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("a_masks.png", b"", "cannot identify image file"),
        ("a_masks.png", as_png(labels())[:60], "cannot be taken"),
        ("a_masks.png", as_png(COLOURS), "in colour"),
        ("a_masks.jpg", as_png(labels()), "blurs ids"),
        ("a_masks.tif", b"II*\0", "cannot be taken"),
        ("a_masks.tif", as_tif(labels(np.uint16), compression="zlib")[:-300], "cannot be taken"),
        ("a_masks.tif", as_tif(np.stack([labels()] * 2), photometric="minisblack"), "a stack or several channels"),
        ("a.npy", b"", "cannot be taken"),
        ("a.npy", as_npy(labels())[:-9], "cannot be taken"),
        ("a.npy", as_npy(np.array([Evil()], dtype=object), allow_pickle=True), "may run code"),
        ("a.npy", pickle.dumps({"masks": labels()}), "may run code"),
        ("a.npy", HUGE, "cannot be taken"),
        ("a.npy", as_npy(labels()[None, :, :, None].repeat(2, axis=3)), "1 x 48 x 64 x 2 values"),
        ("a.npy", as_npy(np.zeros(5)), "an array of 5 values"),
        ("a.npy", as_npy(np.zeros((0, 4), dtype=int)), "an array of 0 x 4 values"),
        ("a.npy", as_npy(-labels(np.int32)), "negative"),
        ("a.npy", as_npy(labels(np.float32) * 0.5), "not whole"),
        ("a.npy", as_npy(np.full((4, 4), np.nan)), "not whole"),
        ("a.npy", as_npy(np.full((4, 4), 1e300)), "not whole"),
        ("a.npy", as_npy(labels(np.complex64)), "expected whole numbers"),
        ("a.npy", as_npy(np.arange(80 * 80, dtype=np.uint16).reshape(80, 80)), f"at most {MAX_OBJECTS} are taken"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_refused(tmp_path: Path, name: str, data: bytes, why: str) -> None:
    (tmp_path / name).write_bytes(data)
    assert why in reason(tmp_path)
    assert not Path("/tmp/nightscope-was-here").exists()


@pytest.mark.parametrize("name", ["a_masks.png", "a_masks.tif", "a.npy"])
def test_a_picture_that_is_too_large_is_not_read(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / name, labels())
    monkeypatch.setattr(label_images, "MAX_PIXELS", 48 * 64 - 1)
    assert "at most 3071 are taken" in reason(tmp_path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(
    st.sampled_from(["png", "tif", "npy"]), st.lists(st.tuples(st.integers(0, 500), st.integers(0, 255)), max_size=8)
)
def test_no_damage_crashes(tmp_path: Path, suffix: str, damage: list[tuple[int, int]]) -> None:
    data = bytearray(
        {"png": as_png(labels()), "tif": as_tif(labels(), compression="zlib"), "npy": as_npy(labels())}[suffix]
    )
    for place, value in damage:
        data[place % len(data)] = value
    for old in tmp_path.iterdir():
        old.unlink()
    (tmp_path / f"a_masks.{suffix}").write_bytes(data)
    (found,) = read(tmp_path)
    assert isinstance(found, LabelFile | BadFile)


@pytest.mark.parametrize(
    ("mask", "why"),
    [
        (labels(), "1.png: it holds 2 values beside 0, expected the mask of one cell"),
        (np.zeros((48, 64), dtype=np.uint8), "1.png marks no pixel"),
        (square(1, 1, 5, (40, 64)).astype(np.uint8), "of different sizes: 64 x 40 and 64 x 48 px"),
    ],
)
def test_a_mask_of_one_object_is_one_objects(tmp_path: Path, mask: np.ndarray, why: str) -> None:
    per_object(tmp_path, "ab12")
    put(tmp_path / "ab12" / "masks" / "1.png", mask)
    assert why in reason(tmp_path)


def test_grey_pictures_saved_in_colour_and_masks_of_two_colours(tmp_path: Path) -> None:
    grey = labels()
    put(tmp_path / "a_masks.png", np.dstack([grey, grey, grey]))
    put(tmp_path / "b_masks.png", np.dstack([grey, grey, grey, np.full_like(grey, 255)]))
    Image.fromarray(square(2, 2, 7)).save(tmp_path / "c_masks.png")
    found = read(tmp_path)
    placed = [files.place(each, a_frame(64, 48), LINE) for each in found if isinstance(each, LabelFile)]
    assert placed == [expected(grey), expected(grey), [mask_object("cell", square(2, 2, 7))]]


def test_a_folder_without_label_images_has_none(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("nothing")
    assert list(masks.read(tmp_path, LINE)) == []


READERS: dict[str, Callable[..., Any]] = dict(files.FORMATS)


def test_the_formats() -> None:
    assert list(READERS) == ["masks", "coco", "yolo"]


def test_a_label_image_opens_no_other_file(tmp_path: Path) -> None:
    """Its OME-XML says that it goes on in the file beside it."""
    own = labels(np.uint16)
    parts = "".join(
        f'<TiffData IFD="0" FirstT="{place}" PlaneCount="1"><UUID FileName="{name}.tif">urn:{name}</UUID></TiffData>'
        for place, name in enumerate(("own", "other"))
    )
    for name, picture in (("own", own), ("other", labels(np.uint16, first=7))):
        xml = (
            f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:{name}"><Image ID="Image:0">'
            '<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16" SizeX="64" SizeY="48" SizeC="1" SizeZ="1" '
            f'SizeT="2">{parts}</Pixels></Image></OME>'
        )
        tifffile.imwrite(tmp_path / f"{name}.tif", picture, description=xml, metadata=None)
    assert np.array_equal(label_images.read_labels(tmp_path / "own.tif"), own)
