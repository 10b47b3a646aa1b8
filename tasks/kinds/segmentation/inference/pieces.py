"""A network's masks as pieces: small pictures with a place in the whole one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tasks.kinds.segmentation.inference.tiles import Tile

Bools = NDArray[np.bool_]
Rect = tuple[int, int, int, int]
"""x1, y1, x2, y2 in pixels of the picture."""

_EDGE_PX = 2
"""What comes so near to a tile's inner border is taken for cut."""
_CELL = 0.5 + 1e-4
"""A pixel of just half a chance is ground wherever its tile lies, whatever floating point makes of the half."""
_LOW = 1.0 / 64
"""Windows are looked at this far beyond what is needed, never less: floating point."""


@dataclass
class Piece:
    """A cell as one tile shows it, or several tiles together.

    Attributes:
        x, y: Left upper corner of `mask` in the picture.
        mask: bool [height, width], with no empty row or column at its edges.
        score: Of the finder, in [0, 1].
        label: The model's own index of the class.
        box_px: float64 [4], x1, y1, x2, y2 in the picture, as the first stage found it.
        seen: Where its tiles look.
        cut: Whether a tile's inner border cuts it.
        central: Whether its centre lies in its tile's core.
        number: Its place among what the network gave; for boxes that were asked for.
    """

    x: int
    y: int
    mask: Bools
    score: float
    label: int
    box_px: NDArray[np.float64]
    seen: tuple[Rect, ...]
    cut: bool = False
    central: bool = True
    number: int = 0

    @property
    def area(self) -> int:
        """Pixels."""
        return int(np.count_nonzero(self.mask))

    @property
    def rows(self) -> slice:
        """Of the picture."""
        return slice(self.y, self.y + self.mask.shape[0])

    @property
    def columns(self) -> slice:
        """Of the picture."""
        return slice(self.x, self.x + self.mask.shape[1])

    def within(self, rect: Rect) -> Bools:
        """Its mask with what lies outside of a rectangle left out."""
        x1, y1, x2, y2 = rect
        out = np.zeros_like(self.mask)
        rows = slice(max(0, y1 - self.y), max(0, y2 - self.y))
        columns = slice(max(0, x1 - self.x), max(0, x2 - self.x))
        out[rows, columns] = self.mask[rows, columns]
        return out


def pieces_of(raw: Any, tile: Tile, scale: float, height: int, width: int) -> Iterator[Piece]:
    """What a network says of a tile, as pieces in the picture's own pixels; what has no pixel is left out.

    Args:
        raw: `networks.raw.RawInstances`, on the CPU.
        tile: Where it looked, in the scaled picture.
        scale: Pixels of the scaled picture for each of the picture.
        height, width: Of the picture.
    """
    boxes = raw.boxes_px.double().numpy() / scale + np.array([tile.x, tile.y] * 2) / scale
    windows, masks = raw.windows.numpy(), raw.masks.float().numpy()
    scores, labels = raw.scores.double().numpy(), raw.labels.numpy()
    seen = _in_picture((tile.x, tile.y, tile.x + tile.width, tile.y + tile.height), scale, height, width)
    for number in range(len(scores)):
        pasted = pasted_mask(masks[number], windows[number] + np.array([tile.x, tile.y] * 2), scale, seen)
        if pasted is None:
            continue
        x, y, mask = pasted
        yield Piece(
            x=x, y=y, mask=mask, score=float(scores[number]), label=int(labels[number]), box_px=boxes[number],
            seen=(seen,), cut=_is_cut(x, y, mask, seen, tile), central=_is_central(x, y, mask, tile, scale),
            number=number,
        )  # fmt: skip


def pasted_mask(
    chances: NDArray[np.float32], window: NDArray[Any], scale: float, within: Rect
) -> tuple[int, int, Bools] | None:
    """A mask's pixels in the picture: chances over a window, bilinear, above 0.5.

    Args:
        chances: [S, S].
        window: x1, y1, x2, y2 in the scaled picture.
        scale: Pixels of the scaled picture for each of the picture.
        within: What lies outside is left out.

    Returns:
        Left, top and the mask without empty edges; None: no pixel is left.
    """
    x1, y1, x2, y2 = (float(value) for value in window)
    left, top = max(within[0], int(np.floor(x1 / scale - _LOW))), max(within[1], int(np.floor(y1 / scale - _LOW)))
    right, bottom = min(within[2], int(np.ceil(x2 / scale + _LOW))), min(within[3], int(np.ceil(y2 / scale + _LOW)))
    if right <= left or bottom <= top or x2 <= x1 or y2 <= y1:
        return None
    side = chances.shape[0]
    across, down = side / (x2 - x1), side / (y2 - y1)
    # the middle of pixel p lies at (p + 0.5) * scale; grid cell g has its middle at g + 0.5
    warp = np.array(
        [
            [across * scale, 0, ((left + 0.5) * scale - x1) * across - 0.5],
            [0, down * scale, ((top + 0.5) * scale - y1) * down - 0.5],
        ]
    )
    shown = cv2.warpAffine(
        chances, warp, (right - left, bottom - top),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    mask = np.asarray(shown > _CELL)
    mask &= _inside(x1, x2, left, right, scale) & _inside(y1, y2, top, bottom, scale)[:, None]
    return trimmed(left, top, mask)


def trimmed(x: int, y: int, mask: Bools) -> tuple[int, int, Bools] | None:
    """A mask without empty rows and columns at its edges, and where it then begins; None: it is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    part = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return x + int(columns[0]), y + int(rows[0]), np.ascontiguousarray(part)


def _inside(start: float, end: float, first: int, last: int, scale: float) -> Bools:
    """Which pixels have their middle in a window: beyond it a network said nothing."""
    middles = (np.arange(first, last) + 0.5) * scale
    return np.asarray((middles >= start) & (middles <= end))


def _in_picture(rect: tuple[int, int, int, int], scale: float, height: int, width: int) -> Rect:
    x1, y1, x2, y2 = (value / scale for value in rect)
    return max(0, int(np.ceil(x1))), max(0, int(np.ceil(y1))), min(width, int(x2)), min(height, int(y2))


def _is_cut(x: int, y: int, mask: Bools, seen: Rect, tile: Tile) -> bool:
    gaps = (x - seen[0], y - seen[1], seen[2] - x - mask.shape[1], seen[3] - y - mask.shape[0])
    return any(inner and gap < _EDGE_PX for inner, gap in zip(tile.inner, gaps, strict=True))


def _is_central(x: int, y: int, mask: Bools, tile: Tile, scale: float) -> bool:
    across, down = (x + mask.shape[1] / 2) * scale, (y + mask.shape[0] / 2) * scale
    left, top, right, bottom = tile.core
    return bool(left <= across <= right and top <= down <= bottom)
