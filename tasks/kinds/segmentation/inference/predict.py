"""A picture's cells, and the cells of given boxes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tasks.kinds.segmentation.inference.disjoint import disjoint, run_lengths
from tasks.kinds.segmentation.inference.joining import joined
from tasks.kinds.segmentation.inference.pieces import Piece, pieces_of
from tasks.kinds.segmentation.inference.tiles import MULTIPLE, Tile, tiles_of
from tasks.kinds.segmentation.instances import Instances
from tasks.kinds.segmentation.pictures import Floats, padded, prepare, scaled

BATCH = 4
"""Tiles that a network sees at once."""
OVERLAP = 0.25
"""Of neighbouring tiles, as a share of their side."""
_ROOM = 1.5
"""Side of a box's own tile, in sides of the box, where no other tile holds it."""


def predict_picture(
    network: Any,
    spec: Mapping[str, Any],
    picture: NDArray[Any],
    min_score: float | None = None,
    *,
    device: str = "cpu",
    overlap: float = OVERLAP,
) -> Instances:
    """The cells of a picture of any size.

    Args:
        network: See `networks/`; has `raw_instances`.
        spec: Stands in its weights: `input` (an `InputPlan`'s values) and `min_score`.
        picture: As `pictures.read_picture` gives it, [h, w, 1 or 3].
        min_score: Cells that score lower are left out; None: the spec's.
        device: Where the network is.
        overlap: Of neighbouring tiles, as a share of their side; a larger cell is put together of two tiles' parts.
    """
    how: Any = SimpleNamespace(**spec["input"])  # an InputPlan's values; where it is served, there is no InputPlan
    least = float(spec["min_score"] if min_score is None else min_score)
    height, width = picture.shape[:2]
    shown = scaled(prepare(picture, how), how.scale)
    tiles = tiles_of(shown.shape[0], shown.shape[1], how.imgsz, int(how.imgsz * overlap))
    found = (
        piece
        for own, raw in _looked_at(network.raw_instances, shown, tiles, device, least)
        for piece in pieces_of(raw, own, how.scale, height, width)
    )
    pieces = list(found) if len(tiles) == 1 else joined(found, height, width)
    return instances_of(disjoint(pieces, height, width), height, width)


def fill_boxes(
    network: Any, spec: Mapping[str, Any], picture: NDArray[Any], boxes: NDArray[Any], *, device: str = "cpu"
) -> list[str | None]:
    """The mask of each given box, by the second stage alone.

    Args:
        network: Has `fill`.
        spec: As above.
        picture: As above.
        boxes: x1, y1, x2, y2 in pixels of the picture, [n, 4].
        device: As above.

    Returns:
        COCO's run lengths of the whole picture for each box, in their order; no two masks share a pixel. None: the
        model sees nothing there.

    Raises:
        ValueError: The network finds and outlines in one step: it cannot be given boxes; or a box is no numbers.
    """
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    if not hasattr(network, "fill"):
        raise ValueError(f"a model {spec.get('model')!r} outlines what it finds itself: it cannot fill boxes")
    if not np.isfinite(boxes).all():
        raise ValueError("expected boxes x1, y1, x2, y2 of finite numbers")
    asked = np.flatnonzero((boxes[:, 2:] > boxes[:, :2]).all(axis=1))  # in a box without extent there is nothing
    how: Any = SimpleNamespace(**spec["input"])  # an InputPlan's values; where it is served, there is no InputPlan
    height, width = picture.shape[:2]
    shown = scaled(prepare(picture, how), how.scale)
    pieces: list[Piece] = []
    for tile, places in _tiles_of_boxes(boxes[asked] * how.scale, shown.shape[0], shown.shape[1], how.imgsz):
        numbers = asked[places]
        inside = torch.from_numpy(boxes[numbers] * how.scale - np.array([tile.x, tile.y] * 2)).float()
        with torch.inference_mode():
            (raw,) = network.fill(_stacked(shown, [tile], device), [inside.to(device)])
        for piece in pieces_of(_on_cpu(raw), tile, how.scale, height, width):
            piece.number = int(numbers[piece.number])
            pieces.append(piece)
    apart = disjoint(_smaller_first(pieces), height, width, min_left=0.0)
    masks: list[str | None] = [None] * len(boxes)
    for piece, mask in zip(apart, run_lengths(apart, height, width), strict=True):
        masks[piece.number] = mask
    return masks


def instances_of(pieces: Sequence[Piece], height: int, width: int) -> Instances:
    """Cells that share no pixel, surest first, in the form that the rest of the kind takes."""
    return Instances(
        height_px=height,
        width_px=width,
        masks=run_lengths(pieces, height, width),
        labels=np.array([piece.label for piece in pieces], dtype=np.int64),
        scores=np.array([piece.score for piece in pieces], dtype=np.float64),
        boxes_px=np.array([piece.box_px for piece in pieces], dtype=np.float64).reshape(-1, 4),
    )


def _looked_at(
    look: Any, shown: Floats, tiles: Sequence[Tile], device: str, min_score: float
) -> Iterator[tuple[Tile, Any]]:
    """Each tile with what the network says of it; tiles of one size together."""
    batch: list[Tile] = []
    for place, tile in enumerate(tiles):
        batch.append(tile)
        following = tiles[place + 1] if place + 1 < len(tiles) else None
        if following is not None and len(batch) < BATCH and following[2:4] == tile[2:4]:
            continue
        with torch.inference_mode():
            found = look(_stacked(shown, batch, device), min_score)
        yield from zip(batch, map(_on_cpu, found), strict=True)
        batch = []


def _stacked(shown: Floats, tiles: Sequence[Tile], device: str) -> torch.Tensor:
    """Tiles as the network takes them, float32 [n, 3, height, width]; beyond the picture is the ground's colour."""
    parts = [
        padded(shown[tile.y : tile.y + tile.height, tile.x : tile.x + tile.width], tile.height, tile.width)
        for tile in tiles
    ]
    return torch.from_numpy(np.stack(parts)).permute(0, 3, 1, 2).contiguous().to(device)


def _on_cpu(raw: Any) -> Any:
    return SimpleNamespace(**{
        name: getattr(raw, name).detach().cpu() for name in ("boxes_px", "scores", "labels", "windows", "masks")
    })  # fmt: skip


def _smaller_first(pieces: Sequence[Piece]) -> list[Piece]:
    """Nobody says which of two boxes is surer: what both claim belongs to the smaller cell, which has less to lose."""
    by_size = sorted(pieces, key=lambda piece: piece.area)
    for place, piece in enumerate(by_size):
        piece.score = 1.0 - place / (len(by_size) + 1)
    return by_size


def _tiles_of_boxes(
    boxes: NDArray[np.float64], height: int, width: int, side: int
) -> Iterator[tuple[Tile, NDArray[np.int64]]]:
    """A tile for each box that holds it with room around, and which boxes it is for; all in the scaled picture."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    tiles = tiles_of(height, width, side, side // 2)
    waiting = np.ones(len(boxes), dtype=np.bool_)
    sizes = boxes[:, 2:] - boxes[:, :2]
    fits = np.ones(len(boxes), dtype=np.bool_) if len(tiles) == 1 else (sizes * _ROOM <= side / 2).all(axis=1)
    for tile in tiles:
        left, top, right, bottom = tile.core
        place = np.clip(centres, 0, [width, height])
        own = waiting & fits & (place >= [left, top]).all(axis=1) & (place <= [right, bottom]).all(axis=1)
        waiting &= ~own
        if own.any():
            yield tile, np.flatnonzero(own)
    for number in np.flatnonzero(waiting):
        x1, y1 = np.clip(centres[number] - sizes[number] * _ROOM / 2, 0, [width - 1, height - 1]).astype(int)
        across, down = (int(-(-max(1.0, length * _ROOM) // MULTIPLE)) * MULTIPLE for length in sizes[number])
        tile = Tile(int(x1), int(y1), across, down, (0.0, 0.0, float(width), float(height)), (False,) * 4)
        yield tile, np.array([number], dtype=np.int64)
