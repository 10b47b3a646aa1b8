"""Pictures as under a microscope: what a recipe may say, and that boxes still hold what they held."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.training.microscope import EFFECTS, MICROSCOPE, STRENGTH, microscope

SPATIAL = ("rotate", "optics", "grid", "elastic")
HEIGHT, WIDTH = 240, 320


@pytest.mark.parametrize("word", MICROSCOPE)
def test_each_word_stands_for_values(word: str) -> None:
    assert microscope(word.upper()) == MICROSCOPE[word] == microscope(dict(MICROSCOPE[word]))
    assert MICROSCOPE[word].keys() <= {*EFFECTS, STRENGTH}


def test_nothing_happens_where_nothing_is_asked_for() -> None:
    assert microscope("none") is microscope(None) is None
    assert microscope({"blur": "0.5", "hue": 0}) == {"blur": 0.5, STRENGTH: 1.0}


@pytest.mark.parametrize(
    ("value", "faults"),
    [
        ("much", ("expected none, light, medium, heavy, or how often each happens", "found 'much'")),
        (0.5, ("expected none, light, medium, heavy", "found 0.5")),
        ({"turn": 1, "blur": 2, STRENGTH: 9}, ("'turn': expected one of rotate, optics", "blur: expected a number from "
         "0 to 1, found 2", "strength: expected a number from 0.1 to 3, found 9")),
        ({"blur": 0}, ("expected something that happens, or none",)),
        ({}, ("expected something that happens, or none",)),
    ],
)  # fmt: skip
def test_all_faults_at_once(value: Any, faults: tuple[str, ...]) -> None:
    with pytest.raises(ValueError) as caught:
        microscope(value)
    assert not [fault for fault in faults if fault not in str(caught.value)], caught.value


def effects(**often: float) -> Any:
    from tasks.training.microscope_transforms import MicroscopeEffects

    plan = microscope(often)
    assert plan is not None
    return MicroscopeEffects(plan)


def blob(x: float, y: float, width: float, height: float) -> tuple[np.ndarray, np.ndarray]:
    """A white ellipse with a soft edge on grey, and the box of its pixels."""
    down, across = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    outside = (np.hypot((across - x) / width * 2, (down - y) / height * 2) - 1) * min(width, height) / 2
    image = np.repeat(np.uint8(114 + 136 * np.clip(0.5 - outside, 0, 1))[..., None], 3, axis=2)
    return image, np.array([[x - width / 2, y - height / 2, x + width / 2, y + height / 2]], np.float32)


def box_of(image: np.ndarray) -> tuple[float, float, float, float]:
    rows, columns = np.nonzero(image[..., 0] > 182)
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


@pytest.mark.parametrize("name", SPATIAL)
@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    x=st.floats(120, 200), y=st.floats(100, 140), width=st.floats(8, 60), height=st.floats(8, 60),
    strength=st.floats(0.1, 2), seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_a_box_still_encloses_its_blob_and_not_much_more(
    name: str, x: float, y: float, width: float, height: float, strength: float, seed: int
) -> None:
    image, boxes = blob(x, y, width, height)
    changed, found, rows = effects(**{name: 1.0, STRENGTH: strength})(image, boxes, seed)
    assert changed.shape == image.shape and changed.dtype == np.uint8
    assert rows.tolist() == [0]
    left, top, right, bottom = found[0]
    there = box_of(changed)
    assert left <= there[0] + 1 and top <= there[1] + 1 and right >= there[2] - 1 and bottom >= there[3] - 1
    assert left >= there[0] - 1.5 and top >= there[1] - 1.5 and right <= there[2] + 1.5 and bottom <= there[3] + 1.5


@pytest.mark.parametrize("name", [name for name in EFFECTS if name not in SPATIAL])
@pytest.mark.parametrize("strength", [0.1, 1.0, 3.0])
def test_what_changes_pixels_alone_changes_them_and_leaves_boxes(name: str, strength: float) -> None:
    image, boxes = blob(150, 120, 40, 30)
    image = np.clip(image + np.random.default_rng(0).integers(-20, 20, image.shape), 0, 255).astype(np.uint8)
    image[..., 0] //= 2  # else hue is nothing to change
    changed, found, rows = effects(**{name: 1.0, STRENGTH: strength})(image.copy(), boxes, 3)
    assert changed.shape == image.shape and changed.dtype == np.uint8
    assert not np.array_equal(changed, image)
    assert np.array_equal(found, boxes) and rows.tolist() == [0]


def test_it_follows_from_the_seed() -> None:
    image, boxes = blob(150, 120, 40, 30)
    change, again = (effects(**MICROSCOPE["heavy"]) for _ in range(2))
    change(image, boxes, 1)
    one, other = change(image, boxes, 2), again(image, boxes, 2)
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert len({change(image, boxes, seed)[0].tobytes() for seed in range(20)}) > 15


def test_each_thing_happens_as_often_as_asked_and_by_itself() -> None:
    """Albumentations gives all its transforms one seed: they would happen together or not at all."""
    change = effects(rotate=0.5, optics=0.5, blur=0.5, hue=0.5)
    seen = []
    for each in (*change._spatial.transforms, *change._of_pixels.transforms):
        name = type(each).__name__
        each._key2func["image"] = lambda image, name=name, **_: (seen.append(name), image)[1]
    pictures = []
    for seed in range(300):
        seen.clear()
        change(*blob(150, 120, 40, 30), seed)
        pictures.append(frozenset(seen))
    for name in ("Rotate", "Optics", "GaussianBlur", "HueSaturationValue"):
        assert sum(name in picture for picture in pictures) / 300 == pytest.approx(0.5, abs=0.1)
    assert len(set(pictures)) == 16, "every combination"


def test_boxes_that_leave_the_picture_are_left_out_and_cut_ones_end_at_its_edge() -> None:
    image = np.full((HEIGHT, WIDTH, 3), 114, np.uint8)
    boxes = np.array([[2, 2, 22, 22], [140, 100, 180, 140], [-5, 100, 15, 120]], np.float32)
    kept = [effects(rotate=1.0)(image, boxes, seed) for seed in range(60)]
    assert all(1 in rows for _, _, rows in kept), "in the middle it stays"
    assert any(0 not in rows for _, _, rows in kept), "a corner is turned out of the picture"
    for _, found, rows in kept:
        assert len(found) == len(rows)
        assert (found >= 0).all() and (found[:, [0, 2]] <= WIDTH).all() and (found[:, [1, 3]] <= HEIGHT).all()
    changed, found, rows = effects(**MICROSCOPE["heavy"])(image, np.zeros((0, 4), np.float32), 1)
    assert found.shape == (0, 4) and rows.tolist() == [] and changed.shape == image.shape


@pytest.mark.parametrize("name", SPATIAL)
def test_where_the_picture_does_not_reach_it_is_grey(name: str) -> None:
    image = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    found = [effects(**{name: 1.0})(image, np.zeros((0, 4), np.float32), seed)[0] for seed in range(20)]
    outside = np.concatenate([each[each.min(axis=2) < 200] for each in found])
    assert len(outside) and (outside[:, :1] == outside).all(), "grey, not blue"
    assert outside.min() == 114


def test_neighbours_that_overlap_keep_their_boxes() -> None:
    """Albumentations' own way bites a piece out of the lower box."""
    image = np.full((HEIGHT, WIDTH, 3), 114, np.uint8)
    boxes = np.array([[100, 100, 140, 140], [110, 110, 150, 150]], np.float32)
    for seed in range(10):
        _, found, rows = effects(elastic=1.0, strength=0.5)(image, boxes, seed)
        assert rows.tolist() == [0, 1]
        assert np.abs(found - boxes).max() < 8
        assert ((found[:, 2:] - found[:, :2]) > 30).all()


def test_it_asks_nobody_at_its_import_and_shows_no_window() -> None:
    code = (
        "import socket, sys\n"
        "def refuse(*a, **k): raise SystemExit('a socket')\n"
        "socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse\n"
        "import tasks.training.microscope_transforms\n"
        "import cv2; print([line for line in cv2.getBuildInformation().splitlines() if 'GUI' in line])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "NONE" in done.stdout, "the headless OpenCV alone"


def test_checking_a_recipe_does_not_import_it() -> None:
    code = (
        "import sys; from tasks.kinds.detection.recipe import load_recipe; from tasks.config import RecipeChoice;"
        "load_recipe(RecipeChoice(name='detection-from-scratch', microscope='heavy'));"
        "print([m for m in ('albumentations', 'cv2', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
