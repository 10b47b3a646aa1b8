"""Looking at an image more than once: test-time augmentation, and tiles for small objects. NumPy alone.

A detector is handed in as a function, so that the same code serves weights, exported files and, copied beside
`pyfunc_model.py`, a model outside Nightscope: this file imports nothing of it. Boxes are float32 [n, 6]: x1, y1, x2, y2
in pixels, score, class index.

**Test-time augmentation.** The image, its mirror images and a smaller copy are views; a box is the score-weighted mean
of what the views found, its score the mean over all views, 0 where a view missed it (weighted boxes fusion: Solovyev,
Wang & Gabruseva 2021). Ultralytics' own `augment=True` is no choice: it drops the tail of what it takes for three
grids, and of a model with a single grid that is everything but one of its three views.

**Tiles.** Overlapping tiles, each scaled to the model's size like an image, show small objects large; the whole image
is looked at as well, for what is larger than a tile (sliced inference: Akyon, Altinuc & Temizel 2022). A box that ends
at a tile's inner edge is probably cut: it gives way to a whole one, and only cut ones are joined.

Two boxes of one pass are two objects, however close: the pass has suppressed doubles already. So boxes are merged
one to one between passes, never within one, and dense neighbours stay apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
Boxes = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

Find = Callable[[Sequence[Image], int, float], Sequence[Boxes]]
"""One plain pass: images, the side they are scaled to, the lowest score -> boxes of each, best score first."""

VIEWS = ((1.0, False, False), (1.0, True, False), (1.0, False, True), (0.83, True, True))
"""Of test-time augmentation: scale, mirrored left to right, mirrored top to bottom. A microscope has no up."""

STRIDE_PX = 32
SAME_IOU = 0.55
"""Views see the same pixels: the same object has nearly the same box (the threshold of weighted boxes fusion)."""
SAME_OVER_SMALLER = 0.5
"""Between tiles: intersection over the smaller box, for a cut box lies within a whole one (as SAHI has it)."""
EDGE_PX = 4.0
"""A box that ends so close to a tile's inner edge is probably cut."""


def find_objects(
    find: Find,
    images: Sequence[Image],
    *,
    imgsz: int,
    conf: float,
    iou: float,
    max_det: int,
    tta: bool = False,
    slice_px: int = 0,
    slice_overlap: float = 0.2,
) -> list[Boxes]:
    """Find objects, looking as often as the options say.

    Args:
        find: One plain pass of the model.
        images: [height, width, 3] each.
        imgsz: Side that images, and tiles, are scaled to.
        conf: Lowest score of a box that is returned.
        iou: Overlap above which the weaker of two merged boxes is dropped.
        max_det: Boxes per image at most.
        tta: Whether to look at mirrored and scaled views too.
        slice_px: Side of the tiles; 0 = no tiles. An image that fits into one tile is looked at whole, once.
        slice_overlap: Of neighbouring tiles, at least, as a share of their side.

    Returns:
        Per image float32 [n, 6], best score first.
    """

    def look(some: Sequence[Image], floor: float) -> Sequence[Boxes]:
        return _of_views(find, some, imgsz, floor) if tta else find(some, imgsz, floor)

    if not tta and not slice_px:
        return list(look(images, conf))
    found = []
    for image in images:
        corners = tiles(image.shape[0], image.shape[1], slice_px, slice_overlap) if slice_px else []
        if len(corners) < 2:
            boxes = look([image], conf)[0]
        else:
            parts = [image[y : y + slice_px, x : x + slice_px] for x, y in corners]
            boxes = _of_tiles(look([image], conf)[0], look(parts, conf), corners, image.shape[:2], slice_px)
        boxes = boxes[np.argsort(-boxes[:, 4], kind="stable")]
        found.append(suppressed(boxes[boxes[:, 4] >= conf], iou)[:max_det])
    return found


def tiles(height: int, width: int, slice_px: int, overlap: float) -> list[tuple[int, int]]:
    """Top left corners (x, y) of tiles that cover an image evenly, row by row."""

    def starts(side: int) -> list[int]:
        if side <= slice_px:
            return [0]
        step = max(1.0, slice_px * (1 - overlap))
        count = int(np.ceil((side - slice_px) / step)) + 1
        return [round(float(start)) for start in np.linspace(0, side - slice_px, count)]

    return [(x, y) for y in starts(height) for x in starts(width)]


def _of_views(find: Find, images: Sequence[Image], imgsz: int, conf: float) -> list[Boxes]:
    """The fused boxes of all views of each image. Views of one scale go through the model together."""
    floor = conf / len(VIEWS)  # what is weaker than that in every view is too weak on average
    seen: list[list[Boxes]] = [[] for _ in images]
    for scale in dict.fromkeys(view[0] for view in VIEWS):
        ways = [(mirrored, upended) for at, mirrored, upended in VIEWS if at == scale]
        side = max(STRIDE_PX, round(imgsz * scale / STRIDE_PX) * STRIDE_PX)
        turned = [_turned(image, *way) for image in images for way in ways]
        passes = iter(find(turned, side, floor))
        for index, image in enumerate(images):
            seen[index] += [_turned_back(next(passes), image, *way) for way in ways]
    return [_fused(passes_of_one) for passes_of_one in seen]


def _turned(image: Image, mirrored: bool, upended: bool) -> Image:
    return np.ascontiguousarray(image[:: -1 if upended else 1, :: -1 if mirrored else 1])


def _turned_back(boxes: Boxes, image: Image, mirrored: bool, upended: bool) -> Boxes:
    height, width = image.shape[:2]
    back = boxes.copy()
    if mirrored:
        back[:, [0, 2]] = width - boxes[:, [2, 0]]
    if upended:
        back[:, [1, 3]] = height - boxes[:, [3, 1]]
    return back


def _fused(passes: Sequence[Boxes]) -> Boxes:
    """Weighted boxes fusion of several views of one image."""
    boxes, source = _stacked(passes)
    order = np.argsort(-boxes[:, 4], kind="stable")
    leader = _leaders(boxes, source, order, lambda inter, one, other: inter / (one + other - inter), SAME_IOU)
    leaders = np.unique(leader)
    weight = np.maximum(boxes[:, 4].astype(np.float64), 1e-9)

    def sums(values: Floats) -> Floats:
        totals: Floats = np.bincount(leader, values, minlength=len(boxes)).astype(np.float64)
        return totals[leaders]

    fused = boxes[leaders].copy()
    for side in range(4):
        fused[:, side] = sums(weight * boxes[:, side]) / sums(weight)
    fused[:, 4] = sums(boxes[:, 4].astype(np.float64)) / len(passes)
    return fused


def _of_tiles(
    whole: Boxes, parts: Sequence[Boxes], corners: Sequence[tuple[int, int]], shape: tuple[int, ...], slice_px: int
) -> Boxes:
    """The merged boxes of an image and its tiles, in the image's pixels."""
    moved: list[Boxes] = [whole]
    cut: list[npt.NDArray[np.bool_]] = [np.zeros(len(whole), dtype=bool)]
    for boxes, (x, y) in zip(parts, corners, strict=True):
        placed = boxes.copy()
        placed[:, :4] += np.array([x, y, x, y], dtype=np.float32)
        moved.append(placed)
        cut.append(_cut(placed, x, y, shape, slice_px))
    boxes, source = _stacked(moved)
    is_cut = np.concatenate(cut)
    order = np.lexsort((-boxes[:, 4], is_cut))  # whole ones lead, the best first; then the cut ones
    leader = _leaders(boxes, source, order, lambda inter, one, other: inter / np.minimum(one, other), SAME_OVER_SMALLER)
    merged = boxes.copy()
    np.maximum.at(merged[:, 4], leader, boxes[:, 4])
    unseen = is_cut[leader]  # nobody saw it whole: what was seen of it is joined
    for side, join in ((0, np.minimum), (1, np.minimum), (2, np.maximum), (3, np.maximum)):
        join.at(merged[:, side], leader[unseen], boxes[unseen, side])
    return merged[np.unique(leader)]


def _cut(boxes: Boxes, x: int, y: int, shape: tuple[int, ...], slice_px: int) -> npt.NDArray[np.bool_]:
    """Which boxes end at an edge of the tile at (x, y) that is no edge of the image."""
    height, width = shape[:2]
    right, bottom = x + slice_px, y + slice_px
    return np.asarray(
        ((boxes[:, 0] <= x + EDGE_PX) & (x > 0))
        | ((boxes[:, 1] <= y + EDGE_PX) & (y > 0))
        | ((boxes[:, 2] >= right - EDGE_PX) & (right < width))
        | ((boxes[:, 3] >= bottom - EDGE_PX) & (bottom < height))
    )


def _stacked(passes: Sequence[Boxes]) -> tuple[Boxes, Ints]:
    boxes = np.concatenate([np.asarray(one, dtype=np.float32).reshape(-1, 6) for one in passes])
    return boxes, np.repeat(np.arange(len(passes)), [len(one) for one in passes])


def _leaders(
    boxes: Boxes, source: Ints, order: Ints, overlap: Callable[[Floats, Floats, Floats], Any], least: float
) -> Ints:
    """For each box the index of the box that leads its object; each takes one box of every other pass, the nearest.

    Args:
        boxes: Of all passes.
        source: Which pass each is of.
        order: Indices of the boxes; who comes first leads.
        overlap: Of intersection and both areas, px².
        least: Overlap of two boxes of one object.
    """
    one, other, inter, areas = _meeting(boxes)
    nearness = np.asarray(overlap(inter, areas[one], areas[other]))
    same = (nearness >= least) & (source[one] != source[other]) & (boxes[one, 5] == boxes[other, 5])
    one, other, inter = one[same], other[same], inter[same]
    closeness = inter / (areas[one] + areas[other] - inter)
    owner, partner = np.concatenate([one, other]), np.concatenate([other, one])
    rank = np.lexsort((-np.concatenate([closeness, closeness]), owner))
    partners = partner[rank].tolist()
    starts = np.searchsorted(owner[rank], np.arange(len(boxes) + 1)).tolist()
    leader, passes = [-1] * len(boxes), source.tolist()
    for index in order.tolist():
        if leader[index] >= 0:
            continue
        leader[index] = index
        heard = {passes[index]}
        for candidate in partners[starts[index] : starts[index + 1]]:
            if leader[candidate] < 0 and passes[candidate] not in heard:
                leader[candidate] = index
                heard.add(passes[candidate])
    return np.array(leader, dtype=np.int64)


def _meeting(boxes: Boxes) -> tuple[Ints, Ints, Floats, Floats]:
    """Pairs of boxes that intersect (indices), their intersections and all boxes' areas, px². By a sweep along x."""
    exact = boxes[:, :4].astype(np.float64)
    areas = np.prod(np.maximum(exact[:, 2:] - exact[:, :2], 1e-9), axis=1)
    by_x = np.argsort(exact[:, 0], kind="stable")
    place = np.arange(len(boxes))
    reach = np.maximum(np.searchsorted(exact[by_x, 0], exact[by_x, 2]) - place - 1, 0)
    first = np.repeat(place, reach)
    second = first + 1 + np.arange(len(first)) - np.repeat(np.cumsum(reach) - reach, reach)
    one, other = by_x[first], by_x[second]
    low, high = np.maximum(exact[one, :2], exact[other, :2]), np.minimum(exact[one, 2:], exact[other, 2:])
    inter = np.prod(np.maximum(high - low, 0), axis=1)
    meet = inter > 0
    return one[meet], other[meet], inter[meet], areas


def suppressed(boxes: Boxes, iou: float) -> Boxes:
    """Non-maximum suppression within each class. Boxes come, and stay, best score first."""
    one, other, inter, areas = _meeting(boxes)
    near = (inter / (areas[one] + areas[other] - inter) > iou) & (boxes[one, 5] == boxes[other, 5])
    better, worse = np.minimum(one[near], other[near]), np.maximum(one[near], other[near])
    rank = np.lexsort((worse, better))
    kept = [True] * len(boxes)
    for strong, weak in zip(better[rank].tolist(), worse[rank].tolist(), strict=True):
        if kept[strong]:
            kept[weak] = False
    left: Boxes = boxes[kept]
    return left
