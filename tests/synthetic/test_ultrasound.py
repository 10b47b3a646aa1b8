"""Pictures of fetal ultrasound: speckle of the right statistics, and boxes that are where the parts are."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from tasks.cli import app
from tasks.config import HOME, load_line
from tasks.ingest.phash import perceptual_hash
from tasks.synthetic.fetus import PARTS, BodyPart, covers
from tasks.synthetic.sector import Sector, attenuated
from tasks.synthetic.speckle import RAYLEIGH_SNR, compress, scatter
from tasks.synthetic.ultrasound import SIDE_PX, UltrasoundPicture, draw_picture, write_pictures


@pytest.fixture(scope="module")
def pictures() -> list[UltrasoundPicture]:
    return [draw_picture(number, donors=6) for number in range(1, 25)]


def test_even_tissue_gives_fully_developed_speckle() -> None:
    """Amplitudes are Rayleigh-distributed: mean square, ratio of mean to deviation, 90th percentile."""
    amplitude = scatter(np.ones((512, 512), np.float32), np.random.default_rng(3), axial_px=1.0, lateral_px=1.4)
    assert np.mean(amplitude**2) == pytest.approx(1, rel=0.03)
    assert amplitude.mean() / amplitude.std() == pytest.approx(RAYLEIGH_SNR, rel=0.02)
    assert np.quantile(amplitude, 0.9) == pytest.approx(np.sqrt(np.log(10)), rel=0.02)  # of P(a > t) = exp(-t^2)
    lags = [np.corrcoef(amplitude[:, :-lag].ravel(), amplitude[:, lag:].ravel())[0, 1] for lag in (1, 6)]
    assert lags[0] > 0.6 and abs(lags[1]) < 0.05, "neighbours in one resolution cell are alike, others are not"


def test_weaker_tissue_comes_back_weaker_and_decibels_are_grey_levels() -> None:
    power = np.full((64, 512), 10 ** (-20 / 10), np.float32)
    amplitude = scatter(power, np.random.default_rng(0), axial_px=0.8, lateral_px=0.8)
    assert 10 * np.log10(np.mean(amplitude**2)) == pytest.approx(-20, abs=0.3)
    grey = compress(np.array([1.0, 10 ** (-15 / 20), 1e-9, 1e9], np.float32), dynamic_range_db=60)
    assert grey == pytest.approx([0.5, 0.25, 0, 1], abs=1e-6)


def test_bone_casts_a_shadow_behind_itself_only() -> None:
    loss = np.zeros((100, 8), np.float32)
    loss[40:45, 3] = 2.0
    left = attenuated(np.ones((100, 8), np.float32), loss)
    assert np.all(left[:40] == 1) and np.all(left[:, [0, 7]] == 1)
    assert left[60, 3] == pytest.approx(0.1)  # 5 px of 2 dB


def test_what_beams_meet_comes_back_to_its_place() -> None:
    sector = Sector(240, 260, radius_px=90, half_angle_rad=0.6)
    picture = cv2.GaussianBlur(np.random.default_rng(1).normal(0, 1, (240, 260)).astype(np.float32), (0, 0), 6)
    back = sector.gather(sector.spread(picture))
    inner = cv2.erode(sector.inside.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    assert np.corrcoef(back[inner], picture[inner])[0, 1] > 0.99
    assert not back[~sector.inside].any() and 0.4 < sector.inside.mean() < 0.9


def test_an_area_is_that_of_the_pixels() -> None:
    for label in PARTS:
        part = BodyPart(label, (100.0, 90.0), (40.0, 15.0), 0.7)
        assert covers(part, (200, 200)).sum() == pytest.approx(part.area_px, rel=0.02)


def test_a_picture_follows_from_its_number_and_the_seed() -> None:
    one, same, other = draw_picture(5), draw_picture(5), draw_picture(5, seed=1)
    assert np.array_equal(one.image, same.image) and one.parts == same.parts
    assert one.image.shape != other.image.shape or not np.array_equal(one.image, other.image)


def test_sizes_examinations_and_parts(pictures: list[UltrasoundPicture]) -> None:
    for each in pictures:
        height, width = each.image.shape
        assert each.image.dtype == np.uint8 and all(SIDE_PX[0] <= n < SIDE_PX[1] for n in (height, width))
        assert each.parts and all(
            x >= 0 and y >= 0 and x + w <= width and y + h <= height and min(w, h) >= 10
            for x, y, w, h in (part.box_px for part in each.parts)
        )
        assert max(sum(part.label == label for part in each.parts) for label in ("head", "abdomen")) <= 1
    assert {each.examination for each in pictures} == {f"E{n:02d}" for n in range(1, 7)}
    assert len({(each.examination, each.image.shape) for each in pictures}) == 6
    assert {part.label for each in pictures for part in each.parts} == set(PARTS)
    assert len({each.view for each in pictures}) == 4


def test_a_skull_is_bright_and_its_inside_is_not(pictures: list[UltrasoundPicture]) -> None:
    heads = [(each.image, part.box_px) for each in pictures for part in each.parts if part.label == "head"]
    assert len(heads) >= 8
    for image, (x, y, w, h) in heads:
        crop = image[y : y + h, x : x + w].astype(float)
        rows, columns = np.mgrid[:h, :w]
        reach = np.hypot((rows - h / 2) / (h / 2), (columns - w / 2) / (w / 2))
        top = crop[: max(3, h // 6), w // 3 : -w // 3]  # waves meet it upright there
        assert top.max() > crop[reach < 0.5].mean() + 60


def test_no_two_pictures_are_the_same(pictures: list[UltrasoundPicture]) -> None:
    hashes = {perceptual_hash(np.repeat(each.image[:, :, None], 3, axis=2)) for each in pictures}
    assert len(hashes) == len(pictures)


def test_a_data_set_is_pictures_and_a_coco_file_of_the_lines_classes(tmp_path: Path) -> None:
    made = write_pictures(tmp_path, count=4, donors=2, seed=3, first=7)
    assert [each.file for each in made] == ["E01_0007.png", "E02_0008.png", "E01_0009.png", "E02_0010.png"]
    for each in made:
        assert np.array_equal(cv2.imread(str(tmp_path / "images" / each.file), cv2.IMREAD_UNCHANGED), each.image)
    coco = json.loads((tmp_path / "annotations" / "instances.json").read_text())
    assert [image["file_name"] for image in coco["images"]] == [f"images/{each.file}" for each in made]
    line = load_line("fetal-ultrasound", HOME / "dags" / "lines")
    assert [line.class_named(each["name"]) for each in coco["categories"]] == list(PARTS) == list(line.classes)
    assert [each["bbox"] for each in coco["annotations"]] == [list(p.box_px) for each in made for p in each.parts]
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    write_pictures(tmp_path, count=4, donors=2, seed=3, first=7)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == before


def test_the_command_writes_it(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["synthesize", str(tmp_path), "--what", "ultrasound", "--count", "3"])
    assert done.exit_code == 0, done.output
    assert len(list(tmp_path.rglob("*.png"))) == 3 and "annotations/instances.json" in done.output.replace("\n", "")
