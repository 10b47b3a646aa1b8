"""A contact sheet: training pictures as a network sees them, with their boxes, in one small JPEG for people."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

COLUMNS = 4
PICTURES = 16
NAME = "contact_sheet"
"""What its files' names begin with."""
PREDICTED = "val/predicted.jpg"
"""File of a training, as MLflow shows it: pictures of the validation split with labels and predictions."""
MOST_BYTES = 300_000
_TILE_PX = 320
_GAP_PX = 4
_LEGEND_PX = 30
_QUALITIES = (85, 75, 65, 50, 35)
_SMALLER = 0.75
"""A sheet that no quality makes small enough is scaled down by so much, again and again."""
_COLOURS = (
    (255, 106, 77), (47, 191, 156), (255, 210, 63), (90, 160, 255), (214, 120, 255), (120, 230, 80), (255, 140, 200),
    (60, 220, 230),
)  # fmt: skip
"""Of the classes, RGB."""


@dataclass(frozen=True)
class Picture:
    """One of them.

    Attributes:
        image: RGB, uint8 [height, width, 3].
        boxes: Corners in pixels, [n, 4].
        labels: Classes, [n].
    """

    image: NDArray[np.uint8]
    boxes: NDArray[Any]
    labels: NDArray[Any]


def file_name(stage: int, stages: int) -> str:
    """Of the sheet of a stage, counted from 1; a training without stages is one."""
    return f"{NAME}.jpg" if stages == 1 else f"{NAME}_stage_{stage:02d}.jpg"


def contact_sheet(pictures: Sequence[Picture], names: Sequence[str]) -> bytes:
    """A JPEG of `MOST_BYTES` at most, with a legend of the classes.

    Args:
        pictures: From one; those after the first `PICTURES` are left out.
        names: Of the classes, by their numbers.
    """
    from PIL import Image

    return small_jpeg(Image.fromarray(_drawn(pictures[:PICTURES], names)))


def small_jpeg(sheet: Image.Image) -> bytes:
    """A picture in RGB as a JPEG of `MOST_BYTES` at most."""
    while True:
        for quality in _QUALITIES:
            buffer = io.BytesIO()
            sheet.save(buffer, "JPEG", quality=quality)
            if buffer.tell() <= MOST_BYTES:
                return buffer.getvalue()
        sheet = sheet.resize((round(sheet.width * _SMALLER), round(sheet.height * _SMALLER)))


def _drawn(pictures: Sequence[Picture], names: Sequence[str]) -> NDArray[np.uint8]:
    tiles = [_tile(picture) for picture in pictures]
    columns = min(COLUMNS, len(tiles))
    height = max(tile.shape[0] for tile in tiles)
    rows = -(-len(tiles) // columns)
    across, down = _TILE_PX + _GAP_PX, height + _GAP_PX
    sheet = np.full((rows * down + _LEGEND_PX, COLUMNS * across - _GAP_PX, 3), 255, np.uint8)
    for place, tile in enumerate(tiles):
        top, left = place // columns * down, place % columns * across
        sheet[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    _write_legend(sheet, pictures, names)
    return sheet


def _tile(picture: Picture) -> NDArray[np.uint8]:
    """A picture as wide as a tile at most, its boxes drawn after scaling so that their lines stay thin."""
    import cv2

    height, width = picture.image.shape[:2]
    scale = _TILE_PX / max(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    tile = np.ascontiguousarray(cv2.resize(picture.image, size, interpolation=how))
    for box, label in zip(picture.boxes * scale, picture.labels, strict=True):
        left, top, right, bottom = (round(float(side)) for side in box)
        cv2.rectangle(tile, (left, top), (right - 1, bottom - 1), _colour(int(label)), 1)
    return np.asarray(tile, np.uint8)


def _write_legend(sheet: NDArray[np.uint8], pictures: Sequence[Picture], names: Sequence[str]) -> None:
    """The classes with how many boxes of each there are, below the pictures."""
    from PIL import Image, ImageDraw, ImageFont

    counts = np.bincount(
        np.concatenate([np.zeros(0, int), *(p.labels.astype(int) for p in pictures)]), minlength=len(names)
    )
    strip = Image.fromarray(sheet[-_LEGEND_PX:])
    pen, font, left = ImageDraw.Draw(strip), ImageFont.truetype(_font(), 16), 4
    for label, name in enumerate(names):
        pen.rectangle((left, 8, left + 14, 22), outline=_colour(label), width=2)
        text = f"{name}: {counts[label]}"
        pen.text((left + 22, 4), text, fill=(30, 30, 30), font=font)
        left += 22 + round(pen.textlength(text, font)) + 24
    sheet[-_LEGEND_PX:] = np.asarray(strip)


def _colour(label: int) -> tuple[int, int, int]:
    return _COLOURS[label % len(_COLOURS)]


def _font() -> str:
    """One that matplotlib brings; found without importing it."""
    from importlib.util import find_spec
    from pathlib import Path

    spec = find_spec("matplotlib")
    return str(Path(str(spec and spec.origin)).parent / "mpl-data/fonts/ttf/DejaVuSans.ttf")
