"""Pictures of single heads: the same for the same seed, different where their labels are."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from tasks.cli import app
from tasks.ingest.phash import perceptual_hash
from tasks.synthetic import deformities
from tasks.synthetic.morphology import CLASSES, DEFECTS, draw_picture, write_pictures
from tasks.synthetic.shapes import head_outline


def test_a_picture_follows_from_its_number_and_the_seed() -> None:
    one, same, other = draw_picture(5), draw_picture(5), draw_picture(5, seed=1)
    assert np.array_equal(one.image, same.image) and one.defects == same.defects
    assert one.image.shape != other.image.shape or not np.array_equal(one.image, other.image)


def test_classes_and_donors_take_turns_and_only_abnormal_heads_have_defects() -> None:
    pictures = [draw_picture(number, donors=4) for number in range(1, 61)]
    assert Counter(each.label for each in pictures) == dict.fromkeys(CLASSES, 20)
    assert {(each.donor, each.label) for each in pictures} == {(f"D{n:02d}", c) for n in range(1, 5) for c in CLASSES}
    assert all(bool(each.defects) == (each.label == "abnormal") for each in pictures)
    assert all(sum(name in each.defects for each in pictures) >= 3 for name in DEFECTS)
    assert all(88 <= side < 105 and each.image.dtype == np.uint8 for each in pictures for side in each.image.shape[:2])


def test_no_two_pictures_are_the_same() -> None:
    hashes = [perceptual_hash(draw_picture(number).image) for number in range(1, 61)]
    assert len(set(hashes)) == 60


def test_a_data_set_is_class_folders_and_a_table(tmp_path: Path) -> None:
    made = write_pictures(tmp_path, count=12, donors=2, seed=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["abnormal", "labels.csv", "non_sperm", "normal"]
    rows = list(csv.DictReader((tmp_path / "labels.csv").read_text().splitlines()))
    assert [row["file"] for row in rows] == [each.file for each in made]
    for row, each in zip(rows, made, strict=True):
        assert np.array_equal(cv2.imread(str(tmp_path / row["file"])), each.image)
        assert row["class"] == each.label == row["file"].partition("/")[0] and row["donor"] == each.donor
        missing = each.label == "non_sperm"
        assert [row[name] for name in DEFECTS] == ["" if missing else str(int(n in each.defects)) for n in DEFECTS]
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.png")}
    write_pictures(tmp_path, count=12, donors=2, seed=3)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.png")} == before


def test_forms_differ_from_normal_ones() -> None:
    rng = np.random.default_rng(0)

    def slimness(outline: np.ndarray) -> float:
        return float(np.ptp(outline[:, 0]) / np.ptp(outline[:, 1]))

    normal = [slimness(head_outline(rng)) for _ in range(200)]
    sizes = [float(np.ptp(head_outline(rng)[:, 0])) for _ in range(200)]
    for _ in range(100):
        form = deformities.head(rng)
        jagged = np.abs(np.diff(np.linalg.norm(form, axis=1), 3)).max() > 0.02
        of_other_size = not min(sizes) <= np.ptp(form[:, 0]) <= max(sizes)
        assert of_other_size or jagged or not min(normal) <= slimness(form) <= max(normal)


def test_the_command_writes_it(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["synthesize", str(tmp_path), "--what", "morphology", "--count", "6"])
    assert done.exit_code == 0, done.output
    assert len(list(tmp_path.rglob("*.png"))) == 6 and "6 pictures" in done.output


@pytest.mark.parametrize("arguments", [["--count", "501"], ["--what", "morphology", "--count", "20001"]])
def test_too_many_are_refused(tmp_path: Path, arguments: list[str]) -> None:
    done = CliRunner().invoke(app, ["synthesize", str(tmp_path), *arguments])
    assert done.exit_code != 0 and not list(tmp_path.iterdir())
