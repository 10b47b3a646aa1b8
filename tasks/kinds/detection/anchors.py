"""Which anchors would stand for the boxes of a dataset, and which levels of a feature pyramid would find them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tasks.config import Line
from tasks.errors import ConfigError
from tasks.kind import Curve, Histogram, Row, Section
from tasks.kinds.detection.boxes import single
from tasks.kinds.detection.recipe import load_recipe
from tasks.metrics.anchors import LEVELS, MOST, Anchors, cluster_anchors, elbow, pyramid_level
from tasks.training.ultralytics_stages import spelt_out

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEWEST = 20
"""Boxes that clusters are looked for in."""
_LEVELS_APART = 5
"""Levels with a column of their own; coarser ones share the last."""
_COLUMNS = (*(f"P{level}" for level in LEVELS if level < _LEVELS_APART), f"P{_LEVELS_APART} and coarser")


def anchor_sections(rows: Sequence[Row], line: Line) -> list[Section]:
    """The anchor analysis of the training split's boxes, in pixels as the line's recipe scales its pictures."""
    train = [row for row in rows if row["split"] == "train"]
    side_px = trained_side_px(train, line)
    sizes, labels = scaled_sizes(train, side_px)
    if len(sizes) < FEWEST:
        return []
    tried = [cluster_anchors(sizes, count) for count in range(1, MOST + 1)]
    tried = [each for n, each in enumerate(tried, 1) if len(each.sizes) == n]
    best = elbow([each.mean_iou for each in tried])
    scaled = f"with the longest side at {side_px} px, as the line's recipe trains" if side_px else "in their own pixels"
    return [
        Section(
            title="Anchors",
            note=(
                f"Clusters of the training split's {len(sizes):,} boxes by 1 - IoU (Redmon and Farhadi 2017), pictures "
                f"{scaled}. YOLO's newer detectors (v8, 11, 12, 26) have no anchors: nothing here changes what such a "
                "recipe learns. The marked row, where the curve bends, says how many are worth having."
            ),
            columns=("anchors", "mean best IoU", "boxes with IoU ≥ 0.5", "width × height, px"),
            rows=tuple(_row(n, each, marked=n == best + 1) for n, each in enumerate(tried, 1)),
            curves=(_curve(tried, best),),
            histograms=(_level_histogram(sizes, labels, line),),
        ),
        _levels(sizes, labels, line),
    ]


def trained_side_px(rows: Sequence[Row], line: Line) -> int | None:
    """The side that the line's recipe scales these frames to; None: it names no recipe that is there."""
    try:
        recipe = load_recipe(line.recipe)
    except ConfigError:
        return None
    longest = max((max(row["width_px"], row["height_px"]) for row in rows), default=0)
    return int(spelt_out(recipe.arguments_for(longest))[-1].get("imgsz", recipe.imgsz))


def scaled_sizes(rows: Sequence[Row], side_px: int | None) -> tuple[NDArray[np.float64], list[str]]:
    """Width and height of each labelled box [n, 2], and its class.

    Args:
        rows: Of the manifest, `objects` parsed.
        side_px: The longest side that each frame is scaled to; None: it stays as it is.
    """
    sizes, labels = [], []
    for row in rows:
        scale = side_px / max(row["width_px"], row["height_px"]) if side_px else 1.0
        for box in single(row["objects"]):
            if min(box["width_px"], box["height_px"]) > 0:
                sizes.append((box["width_px"] * scale, box["height_px"] * scale))
                labels.append(str(box["label"]))
    return np.array(sizes, dtype=np.float64).reshape(-1, 2), labels


def _row(count: int, anchors: Anchors, *, marked: bool) -> tuple[str, ...]:
    sizes = ", ".join(f"{width:.0f}×{height:.0f}" for width, height in anchors.sizes)
    return (f"{count} ←" if marked else str(count), f"{anchors.mean_iou:.3f}", f"{anchors.matched:.0%}", sizes)


def _curve(tried: Sequence[Anchors], best: int) -> Curve:
    return Curve(
        title="How well so many anchors fit",
        x_title="anchors",
        x=tuple(float(n) for n in range(1, len(tried) + 1)),
        series={
            "mean best IoU": tuple(each.mean_iou for each in tried),
            "boxes with IoU ≥ 0.5": tuple(each.matched for each in tried),
        },
        marked_x=float(best + 1),
    )


def _level_histogram(sizes: NDArray[np.float64], labels: Sequence[str], line: Line) -> Histogram:
    """Sizes of boxes over the levels that find them: the edges of the bins lie at halves of levels."""
    level = np.log2(np.sqrt(sizes.prod(axis=1)) / 4)
    edges = np.arange(LEVELS[0] - 1, LEVELS[-1] + 1.01, 0.25)
    of = np.array(labels)
    return Histogram(
        title="Sizes by level of the pyramid",
        x_title="level: P2 is found at stride 4, P3 at 8, P4 at 16, P5 at 32",
        edges=tuple(edges.tolist()),
        counts={
            name: tuple(np.histogram(np.clip(level[of == name], edges[0], edges[-1]), edges)[0].tolist())
            for name in line.classes
            if (of == name).any()
        },
    )


def _levels(sizes: NDArray[np.float64], labels: Sequence[str], line: Line) -> Section:
    level, of = np.minimum(pyramid_level(sizes), _LEVELS_APART), np.array(labels)
    table = []
    for name in (*line.classes, "all"):
        own = level[of == name] if name != "all" else level
        if len(own):
            shares = (float(np.mean(own == each)) for each in range(LEVELS[0], _LEVELS_APART + 1))
            table.append((name, f"{len(own):,}", *(f"{share:.0%}" for share in shares)))
    return Section(
        title="Levels of a feature pyramid",
        note=(
            "The share of boxes that each level of a pyramid would find, by RetinaNet's rule: a side of four strides "
            "(16 px on P2, 32 on P3, 64 on P4, 128 on P5). A level with nothing on it costs time; without P2, boxes "
            "much smaller than 16 px are hard to find."
        ),
        columns=("class", "boxes", *_COLUMNS),
        rows=tuple(table),
    )
