"""What a person should see of labelled cells: samples, sizes, how many a picture has, borders and neighbours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.config import Line
from tasks.exploration.appearance import frame_name, histogram
from tasks.kind import Histogram, Object, Row, Section, ShownFrame
from tasks.kinds.segmentation.objects import coco_masks, filled
from tasks.metrics import masks
from tasks.metrics.segmentation_outlines import painted
from tasks.schemas import SPLITS, digest

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SAMPLES = 10
_AROUND = 0.4
"""Of a cell's longer side is shown around it."""
_MOST_SERIES = 6
_LOOKED_AT = 300
"""Pictures whose cells are looked at for neighbours: that alone needs every mask drawn."""


class _Cells:
    """All filled cells of some rows, in order.

    Attributes:
        place: int64 [N], the row of each.
        label: N class names.
        box: float64 [N, 4], x, y, width, height in pixels; `area`: int64 [N].
        border: bool [N], whether the picture's edge may cut it.
        touching: float64 [N], 1 where it touches another cell, NaN where nobody looked.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        cells = [filled(row["objects"]) for row in rows]
        flat = [item for own in cells for item in own]
        self.place: NDArray[np.int64] = np.repeat(np.arange(len(rows)), [len(own) for own in cells])
        self.label = [str(item["label"]) for item in flat]
        coco = coco_masks(flat)
        self.box, self.area = masks.boxes(coco), masks.areas(coco)
        size = np.array([(item["width_px"], item["height_px"]) for item in flat], dtype=np.float64).reshape(-1, 2)
        far = self.box[:, :2] + self.box[:, 2:]
        self.border: NDArray[np.bool_] = np.any((self.box[:, :2] <= 0) | (far >= size), axis=1)
        looked_at = sorted(range(len(rows)), key=lambda place: digest(rows[place]["frame_oid"]))[:_LOOKED_AT]
        near: list[NDArray[np.float64]] = [np.full(len(own), np.nan) for own in cells]
        for place in looked_at:
            near[place] = _touching(cells[place])
        self.touching = np.concatenate([np.zeros(0), *near])

    @property
    def diameter(self) -> NDArray[np.float32]:
        """Of a disc of the same area, in pixels, float32 [N]."""
        return np.asarray(2 * np.sqrt(self.area / math.pi), dtype=np.float32)

    def of(self, name: str) -> list[int]:
        """Places of one class's."""
        return [i for i, label in enumerate(self.label) if label == name]


def features(thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
    """None: cells are looked at, not whole pictures."""
    return np.zeros((len(thumbnails), 0), np.float32)


def sections(rows: Sequence[Row], features: NDArray[np.float32], line: Line) -> list[Section]:
    """Samples, sizes, counts."""
    cells = _Cells(rows)
    return [_samples(rows, cells, line), _sizes(cells, line), _counts(rows, cells, line)]


def _samples(rows: Sequence[Row], cells: _Cells, line: Line) -> Section:
    shown = []
    for name in line.classes:
        own = cells.of(name)
        own.sort(key=lambda i: digest(rows[int(cells.place[i])]["frame_oid"], *cells.box[i].tolist()))
        for i in own[:_SAMPLES]:
            row = rows[int(cells.place[i])]
            shown.append(
                ShownFrame(
                    frame_oid=row["frame_oid"], caption=f"{name}: {frame_name(row)}", box_px=_around(cells.box[i])
                )
            )
    return Section(
        title="Samples of each class", frames=tuple(shown), note="Chance picked them, and picks the same again."
    )


def _sizes(cells: _Cells, line: Line) -> Section:
    plan, table = line.evaluation, []
    of_class = {name: cells.of(name) for name in line.classes}
    for name, own in of_class.items():
        if not own:
            table.append((name, "0", "", "", "", "", ""))
            continue
        small = float(np.mean(np.sqrt(cells.area[own]) < plan.small_px))
        near = cells.touching[own][~np.isnan(cells.touching[own])]
        table.append(
            (name, f"{len(own):,}", _spread(cells.area[own]), _spread(cells.diameter[own]), f"{small:.0%}",
             f"{near.mean():.0%}" if len(near) else "–", f"{cells.border[own].mean():.0%}")
        )  # fmt: skip
    there = {name: own for name, own in of_class.items() if own}
    plots: tuple[Histogram, ...] = ()
    if 0 < len(there) <= _MOST_SERIES:
        plots = (histogram("Size of cells", "equivalent diameter, px", cells.diameter, there),)
    return Section(
        title="Cells",
        note=f"Equivalent diameter: of a disc of the same area. Small: a root of the area below {plan.small_px:g} px, "
        "as the line's evaluation has it. Touching: shares a side of a pixel with another cell "
        f"(looked for in {_LOOKED_AT} pictures at most). At the border: the picture's edge may cut it.",
        columns=("class", "cells", "area in px (5th to 95th percentile)", "equivalent diameter in px", "small",
                 "touching", "at the border"),
        rows=tuple(table),
        histograms=plots,
    )  # fmt: skip


def _counts(rows: Sequence[Row], cells: _Cells, line: Line) -> Section:
    """How many cells a picture has, and how much of it they cover."""
    of_class = {name: np.bincount(cells.place[cells.of(name)], minlength=len(rows)) for name in line.classes}
    everything = np.bincount(cells.place, minlength=len(rows)).astype(np.float32)
    pixels = np.array([row["width_px"] * row["height_px"] for row in rows], dtype=np.float64)
    covered = np.bincount(cells.place, cells.area.astype(np.float64), minlength=len(rows)) / np.maximum(pixels, 1)
    waiting = np.array([len(row["objects"]) - len(filled(row["objects"])) for row in rows])
    table = []
    series: dict[str, list[int]] = {
        split: own for split in SPLITS if (own := [i for i, row in enumerate(rows) if row["split"] == split])
    }
    for split, own in series.items():
        table.append(
            (split, *(f"{of_class[name][own].mean():.1f}" for name in line.classes), f"{everything[own].max():.0f}",
             f"{np.mean(everything[own] == 0):.0%}", f"{np.median(covered[own]):.0%}", f"{int(waiting[own].sum()):,}")
        )  # fmt: skip
    return Section(
        title="Cells in a picture",
        note="Covered: the share of a picture that its cells take, half of the pictures lie below. To be filled: boxes "
        "without a mask; their pictures are neither learned from nor tested on.",
        columns=("split", *(f"{name}, mean" for name in line.classes), "most", "pictures without any", "covered",
                 "to be filled"),
        rows=tuple(table),
        histograms=(
            histogram("Cells in a picture", "cells", everything, series),
            histogram("Share of a picture that cells cover", "share", covered.astype(np.float32), series),
        ) if series else (),
    )  # fmt: skip


def _touching(cells: Sequence[Object]) -> NDArray[np.float64]:
    """Which of one picture's cells share a side of a pixel with another, float64 [n] of 0 and 1."""
    touching = np.zeros(len(cells))
    if len(cells) > 1:
        labels = painted([item["mask"] for item in cells], cells[0]["height_px"], cells[0]["width_px"])
        for first, second in ((labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1])):
            both = (first != second) & (first > 0) & (second > 0)
            touching[first[both] - 1] = touching[second[both] - 1] = 1
    return touching


def _spread(values: NDArray[Any]) -> str:
    low, middle, high = np.percentile(values, (5, 50, 95))
    return f"{middle:.0f} ({low:.0f} to {high:.0f})"


def _around(box: NDArray[np.float64]) -> tuple[float, float, float, float]:
    """A box with what is around it, to be shown."""
    x, y, width, height = box.tolist()
    around = _AROUND * max(width, height)
    return x - around, y - around, width + 2 * around, height + 2 * around
