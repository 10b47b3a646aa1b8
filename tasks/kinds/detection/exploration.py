"""What a person should see of labelled boxes: samples, sizes, how many a frame has, edges; and what looks wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np

from tasks.config import Line
from tasks.exploration.appearance import frame_name, histogram
from tasks.exploration.suspects import Suspect, find_suspects
from tasks.kind import Histogram, Image, Object, Part, Row, Section, ShownFrame
from tasks.kinds.detection.anchors import anchor_sections
from tasks.schemas import SPLITS, digest

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SAMPLES = 10
_AROUND = 0.6
"""Of a box's longer side is shown around it."""
_EDGE_PX = 1.0
_MOST_SERIES = 6
NOTHING = "no box"
"""What stands where nobody labelled anything; a class of this name would be taken for it."""
_PART_PX, _COLOUR_PX = 48, 6
_CONTEXT = 1.4
"""Side of the square that is looked at, in longer sides of the box."""
_TRIES = 8
_SUSPECTS_SHOWN = 24


def features(thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
    """None: boxes are looked at, not whole frames."""
    return np.zeros((len(thumbnails), 0), np.float32)


def sections(rows: Sequence[Row], features: NDArray[np.float32], line: Line) -> list[Section]:
    """Samples, sizes, counts, anchors."""
    boxes = [(place, box) for place, row in enumerate(rows) for box in row["objects"] if not box.get("crowd")]
    classes = list(line.classes)
    described = [_samples(rows, boxes, classes), _sizes(rows, boxes, line), _counts(rows, classes)]
    return described + anchor_sections(rows, line)


def _samples(rows: Sequence[Row], boxes: Sequence[tuple[int, Any]], classes: Sequence[str]) -> Section:
    shown = []
    for name in classes:
        own = [(place, box) for place, box in boxes if box["label"] == name]
        own.sort(key=lambda one: digest(rows[one[0]]["frame_oid"], one[1]["x_px"], one[1]["y_px"]))
        for place, box in own[:_SAMPLES]:
            shown.append(
                ShownFrame(
                    frame_oid=rows[place]["frame_oid"],
                    caption=f"{name}: {frame_name(rows[place])}",
                    box_px=_around((box["x_px"], box["y_px"], box["width_px"], box["height_px"])),
                )
            )
    return Section(
        title="Samples of each class", frames=tuple(shown), note="Chance picked them, and picks the same again."
    )


def _sizes(rows: Sequence[Row], boxes: Sequence[tuple[int, Any]], line: Line) -> Section:
    side = np.array([(box["width_px"] * box["height_px"]) ** 0.5 for _, box in boxes], np.float32)
    aspect = np.array([box["width_px"] / max(box["height_px"], 1e-6) for _, box in boxes], np.float32)
    edge = np.array([_at_edge(box, rows[place]) for place, box in boxes], np.bool_)
    plan, table = line.evaluation, []
    of_class = {name: [i for i, (_, box) in enumerate(boxes) if box["label"] == name] for name in line.classes}
    for name, own in of_class.items():
        if not own:
            table.append((name, "0", "", "", "", ""))
            continue
        small = float(np.mean(side[own] < plan.small_px))
        low, middle, high = np.percentile(side[own], (5, 50, 95))
        table.append(
            (name, f"{len(own):,}", f"{middle:.0f} ({low:.0f} to {high:.0f})", f"{np.median(aspect[own]):.2f}",
             f"{small:.0%}", f"{edge[own].mean():.0%}")
        )  # fmt: skip
    there = {name: own for name, own in of_class.items() if own}
    plots: tuple[Histogram, ...] = ()
    if len(side) and len(there) <= _MOST_SERIES:
        plots = (
            histogram("Size of boxes", "side (root of the area), px", side, there),
            histogram("Shape of boxes", "width over height", aspect, there),
        )
    return Section(
        title="Boxes",
        note=f"Small: a side below {plan.small_px:g} px, as the line's evaluation has it. At the edge: maybe cut off.",
        columns=("class", "boxes", "side in px (5th to 95th percentile)", "width / height", "small", "at the edge"),
        rows=tuple(table),
        histograms=plots,
    )


def _counts(rows: Sequence[Row], classes: Sequence[str]) -> Section:
    """How many objects a frame has."""
    per_frame = {
        name: np.array([sum(box["label"] == name for box in row["objects"]) for row in rows], np.float32)
        for name in classes
    }
    everything = np.sum(list(per_frame.values()), axis=0)
    table = []
    for split in SPLITS:
        own = [place for place, row in enumerate(rows) if row["split"] == split]
        if own:
            empty = float(np.mean(everything[own] == 0))
            most = f"{everything[own].max():.0f}"
            table.append((split, *(f"{per_frame[name][own].mean():.1f}" for name in classes), most, f"{empty:.0%}"))
    series = {split: [i for i, row in enumerate(rows) if row["split"] == split] for split in SPLITS}
    return Section(
        title="Objects in a frame",
        columns=("split", *(f"{name}, mean" for name in classes), "most", "frames without any"),
        rows=tuple(table),
        histograms=(histogram("Objects in a frame", "objects", everything, {k: v for k, v in series.items() if v}),),
    )


def _at_edge(box: Any, row: Row) -> bool:
    right, bottom = box["x_px"] + box["width_px"], box["y_px"] + box["height_px"]
    return bool(
        min(box["x_px"], box["y_px"]) <= _EDGE_PX
        or right >= row["width_px"] - _EDGE_PX
        or bottom >= row["height_px"] - _EDGE_PX
    )


def parts(image: Image, objects: Sequence[Object]) -> list[Part]:
    """Labelled boxes, and half as many places without any: of some tries each, the one with most contrast.

    Features are gradients (HOG, Dalal & Triggs 2005), colours and the box's size: weak, and 0.3 ms a box.
    """
    own = [box for box in objects if not box.get("crowd") and min(box["width_px"], box["height_px"]) > 0]
    boxes = [(box["label"], (box["x_px"], box["y_px"], box["width_px"], box["height_px"])) for box in own]
    taken = np.array([box for _, box in boxes] or [(0, 0, 0, 0)], np.float64)
    random = np.random.default_rng(crc32(np.ascontiguousarray(image).data))
    empty = [(NOTHING, spot) for _, box in boxes[::2] if (spot := _empty_spot(image, box[2:], taken, random))]
    return [Part(label, box, _described(image, box)) for label, box in (*boxes, *empty)]


def _empty_spot(
    image: Image, size: tuple[float, float], taken: NDArray[np.float64], random: np.random.Generator
) -> tuple[float, float, float, float] | None:
    """A place of that size that touches no box; None where tries found none."""
    (width, height), best, most = size, None, -1.0
    for x, y in random.random((_TRIES, 2)) * (max(0.0, image.shape[1] - width), max(0.0, image.shape[0] - height)):
        apart_x = (taken[:, 0] >= x + width) | (taken[:, 0] + taken[:, 2] <= x)
        apart_y = (taken[:, 1] >= y + height) | (taken[:, 1] + taken[:, 3] <= y)
        if (apart_x | apart_y).all():
            contrast = float(image[int(y) : int(y + height) + 1, int(x) : int(x + width) + 1, 1].std())
            if contrast > most:
                best, most = (float(x), float(y), width, height), contrast
    return best


def _described(image: Image, box: tuple[float, float, float, float]) -> NDArray[np.float32]:
    import cv2

    x, y, width, height = box
    side = max(2, round(_CONTEXT * max(width, height)))
    cut = cv2.getRectSubPix(image, (side, side), (x + width / 2, y + height / 2))
    small = cv2.resize(cut, (_PART_PX, _PART_PX), interpolation=cv2.INTER_AREA)
    hog = cv2.HOGDescriptor((_PART_PX, _PART_PX), (16, 16), (16, 16), (8, 8), 9)
    gradients = np.asarray(hog.compute(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY))).ravel()
    colours = cv2.resize(small, (_COLOUR_PX, _COLOUR_PX), interpolation=cv2.INTER_AREA).ravel() / 255
    size = np.log([max(width, 1e-3), max(height, 1e-3)])
    return np.asarray(np.concatenate([gradients, colours, size]), dtype=np.float32)


_HOW = (
    "A small model on gradients and colours of what is in and around a box, which has learned from other groups, finds "
    "these unlikely (confident learning, by cleanlab)."
)
_MIND = (
    "It is weak: it names what is worth a look, and no label is changed or left out by it. Mend what is wrong in Label "
    "Studio; the next night takes it up."
)


def part_sections(rows: Sequence[Row], parts: Sequence[tuple[int, Part]], line: Line) -> list[Section]:
    """Boxes that look like another class or like nothing, and places without a box that look like one."""
    suspects = find_suspects(
        np.stack([part.features for _, part in parts]),
        [part.label for _, part in parts],
        [rows[place]["group"] for place, _ in parts],
    )
    labels = [part.label for _, part in parts]
    table = []
    for name in (*line.classes, NOTHING):
        own = [one for one in suspects.found if one.given == name]
        if looked_at := labels.count(name):
            others = {other: sum(one.likely == other for one in own) for other in (*line.classes, NOTHING)}
            said = ", ".join(f"{other} {count:,}" for other, count in others.items() if count)
            table.append((name, f"{looked_at:,}", f"{len(own):,}" if suspects.accuracy is not None else "–", said))
    how = f"It names {suspects.accuracy:.0%} of them rightly itself. " if suspects.accuracy is not None else ""
    why_not = f"Nothing was looked for: {suspects.why_not}." if suspects.accuracy is None else ""
    return [
        Section(
            title="Labels to look at again",
            note=why_not or f"{_HOW} {how}{_MIND}",
            columns=("labelled", "looked at", "to look at", "looks rather like"),
            rows=tuple(table),
            frames=tuple(_suspected(rows, parts, one) for one in suspects.found[:_SUSPECTS_SHOWN]),
            to_check=len(suspects.found) if suspects.accuracy is not None else None,
        )
    ]


def _suspected(rows: Sequence[Row], parts: Sequence[tuple[int, Part]], suspect: Suspect) -> ShownFrame:
    place, part = parts[suspect.row]
    row, likely = rows[place], "nothing" if suspect.likely == NOTHING else suspect.likely
    return ShownFrame(
        frame_oid=row["frame_oid"],
        caption=f"{suspect.given}, or {likely} ({suspect.p_likely:.0%})? {frame_name(row)}, {row['split']}",
        box_px=_around(part.box_px),
        mark=True,
    )


def _around(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    """A box with what is around it, to be shown."""
    x, y, width, height = box
    around = _AROUND * max(width, height)
    return x - around, y - around, width + 2 * around, height + 2 * around
