"""Small pictures that nobody took: cells of a seeded generator, in whatever format is asked for."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image as Pillow

from tasks.config import Line, parse_line


def cell(seed: int, size: tuple[int, int] = (48, 64)) -> npt.NDArray[np.uint8]:
    """A bright ellipse on noise, [h, w, 3] BGR; another one for each seed."""
    generator = np.random.default_rng(seed)
    picture = generator.integers(40, 90, (*size, 3), dtype=np.uint8)
    x, y = (int(generator.integers(12, side - 12)) for side in (size[1], size[0]))
    axes = (int(generator.integers(5, 11)), int(generator.integers(3, 8)))
    cv2.ellipse(picture, (x, y), axes, float(generator.integers(0, 180)), 0, 360, (200, 210, 190), -1)
    return picture


def write(path: Path, seed: int) -> Path:
    """A cell as a file, in the format that its suffix says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image, suffix = cell(seed), path.suffix.lower()
    if suffix in (".tif", ".tiff"):
        tifffile.imwrite(path, image[..., ::-1], photometric="rgb")
    elif suffix == ".webp":
        Pillow.fromarray(np.ascontiguousarray(image[..., ::-1])).save(path, lossless=True)
    else:
        assert cv2.imwrite(str(path), image)
    return path


def a_line(name: str = "cells", **changes: object) -> Line:
    """A line that learns from everything."""
    data = {
        "line": name, "kind": "detection", "classes": {"cell": {}}, "recipe": {"name": "detection-from-scratch"},
        "gates": [{"metric": "AP50", "at_least": 0.1}],
    }  # fmt: skip
    return parse_line(data | changes, "a test's line")


def field(path: Path, smear: int, left: int, size: tuple[int, int] = (192, 240)) -> Path:
    """A picture of a smear of many cells, from `left` px on: two of one smear overlap."""
    generator = np.random.default_rng(smear)
    height, width = size
    wide = generator.integers(150, 190, (height, 2 * width, 3), dtype=np.uint8)
    for _ in range(60):
        x, y = int(generator.integers(0, 2 * width)), int(generator.integers(0, height))
        axes = (int(generator.integers(8, 18)), int(generator.integers(6, 14)))
        colour = tuple(int(each) for each in generator.integers(20, 120, 3))
        cv2.ellipse(wide, (x, y), axes, float(generator.integers(0, 180)), 0, 360, colour, -1)
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), wide[:, left : left + width])
    return path


def crop(path: Path, seed: int, quality: int = 95) -> Path:
    """A cell in the middle of its picture, like any other: crops of different cells correlate."""
    generator = np.random.default_rng(seed)
    picture = generator.normal(180, 4, (96, 96)).clip(0, 255)
    axes = (int(generator.integers(20, 25)), int(generator.integers(13, 18)))
    cv2.ellipse(picture, (48, 48), axes, float(generator.integers(-6, 7)), 0, 360, 90, -1)
    cv2.ellipse(picture, (44, 48), (8, 9), 0, 0, 360, 220, -1)
    cv2.line(picture, (66, 48), (95, 60), 110, 4)
    for _ in range(3):
        x, y = (int(place) for place in generator.integers(10, 86, 2))
        cv2.circle(picture, (x, y), 4, 120, -1)
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture.astype(np.uint8), [int(cv2.IMWRITE_JPEG_QUALITY), quality])
    return path


def labelled_cell(folder: Path, number: int) -> None:
    """A cell as `images/cell_<number>.png`, and where it is as `labels/cell_<number>.xml` (Pascal VOC)."""
    picture = cell(number, (96, 128))
    write_to = folder / "images" / f"cell_{number:03d}.png"
    write_to.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(write_to), picture)
    rows, columns = np.nonzero(picture[..., 1] > 150)
    box = {"xmin": columns.min(), "ymin": rows.min(), "xmax": columns.max() + 1, "ymax": rows.max() + 1}
    sides = "".join(f"<{name}>{value}</{name}>" for name, value in box.items())
    (folder / "labels").mkdir(exist_ok=True)
    (folder / "labels" / f"cell_{number:03d}.xml").write_text(
        f"<annotation><filename>{write_to.name}</filename><size><width>128</width><height>96</height><depth>3</depth>"
        f"</size><object><name>RBC</name><bndbox>{sides}</bndbox></object></annotation>"
    )
