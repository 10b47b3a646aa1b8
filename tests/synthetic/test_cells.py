"""Pictures of cells: the same for the same seed, and masks that are where the cells are."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from tasks.cli import app
from tasks.ingest.phash import perceptual_hash
from tasks.synthetic.cells import CELLS, SIDE_PX, CellPicture, draw_picture, write_pictures


@pytest.fixture(scope="module")
def pictures() -> list[CellPicture]:
    return [draw_picture(number, donors=6) for number in range(1, 25)]


def test_a_picture_follows_from_its_number_and_the_seed() -> None:
    one, same, other = draw_picture(5), draw_picture(5), draw_picture(5, seed=1)
    assert np.array_equal(one.image, same.image) and np.array_equal(one.labels, same.labels)
    assert one.image.shape != other.image.shape or not np.array_equal(one.image, other.image)


def test_sizes_counts_donors_and_looks(pictures: list[CellPicture]) -> None:
    for each in pictures:
        assert each.image.shape[:2] == each.labels.shape and all(
            SIDE_PX[0] <= n < SIDE_PX[1] for n in each.labels.shape
        )
        assert each.image.dtype == np.uint8 and each.labels.dtype == np.uint16
        assert each.image.ndim == (2 if each.look == "fluorescence" else 3)
        assert CELLS[0] <= each.labels.max() < CELLS[1]
    assert {each.donor for each in pictures} == {f"D{n:02d}" for n in range(1, 7)}
    assert len({(each.donor, each.look) for each in pictures}) == 6 and len({each.look for each in pictures}) == 2


def test_every_cell_is_one_piece_some_touch_and_some_are_cut_by_the_edge(pictures: list[CellPicture]) -> None:
    touching = cut = 0
    for each in pictures:
        for number in range(1, int(each.labels.max()) + 1):
            mask = (each.labels == number).astype(np.uint8)
            assert cv2.connectedComponents(mask, connectivity=4)[0] == 2 and mask.sum() >= 30
            around = cv2.dilate(mask, np.ones((3, 3), np.uint8)) > 0
            touching += bool(((each.labels > 0) & (each.labels != number) & around).any())
            cut += bool(mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())
    cells = sum(int(each.labels.max()) for each in pictures)
    assert 0.3 < touching / cells < 0.95 and 0.02 < cut / cells < 0.5


def test_cells_are_brighter_or_darker_than_the_ground(pictures: list[CellPicture]) -> None:
    for each in pictures:
        grey = each.image if each.image.ndim == 2 else cv2.cvtColor(each.image, cv2.COLOR_BGR2GRAY)
        inside, outside = grey[each.labels > 0].mean(), grey[each.labels == 0].mean()
        apart = inside - outside if each.look == "fluorescence" else outside - inside
        assert apart > 40, (each.file, inside, outside)


def test_no_two_pictures_are_the_same(pictures: list[CellPicture]) -> None:
    def colour(image: np.ndarray) -> np.ndarray:
        return image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2)

    assert len({perceptual_hash(colour(each.image)) for each in pictures}) == len(pictures)


def test_a_data_set_is_pictures_and_label_images(tmp_path: Path) -> None:
    made = write_pictures(tmp_path, count=4, donors=2, seed=3, first=7)
    assert [each.file for each in made] == ["D01_0007.png", "D02_0008.png", "D01_0009.png", "D02_0010.png"]
    for each in made:
        assert np.array_equal(cv2.imread(str(tmp_path / "images" / each.file), cv2.IMREAD_UNCHANGED), each.image)
        assert np.array_equal(cv2.imread(str(tmp_path / "masks" / each.file), cv2.IMREAD_UNCHANGED), each.labels)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.png")}
    assert len(before) == 8
    write_pictures(tmp_path, count=4, donors=2, seed=3, first=7)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.png")} == before


def test_the_command_writes_it(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["synthesize", str(tmp_path), "--what", "cells", "--count", "3"])
    assert done.exit_code == 0, done.output
    assert len(list(tmp_path.rglob("*.png"))) == 6 and "3 pictures" in done.output


def test_too_many_are_refused(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["synthesize", str(tmp_path), "--what", "cells", "--count", "20001"])
    assert done.exit_code != 0 and not list(tmp_path.iterdir())
