"""The exploration report: one HTML file, readable offline and on paper."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from tasks.config import Line
from tasks.errors import NotFound
from tasks.exploration.appearance import frame_name
from tasks.exploration.balance import Balance
from tasks.exploration.duplicates import Duplicates, Pair
from tasks.exploration.frames import Frames
from tasks.exploration.plots import curve_svg, histogram_svg
from tasks.kind import Histogram, Image, Row, Section, ShownFrame
from tasks.schemas import Oid

_SIDE_PX, _QUALITY = 240, 78
_PAIRS_SHOWN = 12
MOST_BYTES = 4_000_000
"""Of pictures in the page; what goes beyond it is named without one."""


@dataclass(frozen=True)
class Content:
    """All that the page shows.

    Attributes:
        rows: Of the manifest, `objects` parsed, as far as their frames can be read; places in `duplicates` are theirs.
        every: The same, damaged frames included.
    """

    line: Line
    version: str
    created_at: str
    rows: Sequence[Row]
    every: Sequence[Row]
    balance: Balance
    sections: Sequence[Section]
    duplicates: Duplicates
    histograms: Sequence[Histogram]
    extremes: Sequence[ShownFrame]
    warnings: Sequence[str]


def render(frames: Frames, content: Content) -> str:
    """The page's HTML.

    Args:
        frames: Reads the frames that are shown; those that it could not read are named.
        content: What to show.
    """
    import jinja2

    duplicates = content.duplicates
    pairs = [*duplicates.exact[:_PAIRS_SHOWN], *duplicates.near[:_PAIRS_SHOWN]]
    of_pairs = [ShownFrame(frame_oid=content.rows[place]["frame_oid"], caption="") for pair in pairs
                for place in (pair.one, pair.other)]  # fmt: skip
    shown = [frame for section in content.sections for frame in section.frames]
    pictures = small_pictures(frames, [*shown, *of_pairs, *content.extremes])
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    template = environment.from_string(files("tasks.exploration").joinpath("report.html.j2").read_text("utf-8"))
    checked = [section for section in content.sections if section.to_check is not None]
    return template.render(
        content=content,
        balance=content.balance,
        classes=list(content.line.classes),
        frames=len(content.every),
        recordings=len({row["recording_id"] for row in content.every}),
        stills=all(row["pts_s"] is None and not row["frame_index"] for row in content.every),
        damaged=[
            (frame_name(row), frames.damaged[row["frame_oid"]])
            for row in content.every
            if row["frame_oid"] in frames.damaged
        ],
        to_check=sum(section.to_check or 0 for section in checked) if checked else None,
        pairs=[_shown_pair(pair, content.rows, pictures) for pair in pairs],
        differ=sum(pair.labels_differ for pair in (*duplicates.exact, *duplicates.near)),
        picture_of=lambda frame: pictures.get(_key(frame), ""),
        svg=histogram_svg,
        curve=curve_svg,
    )


def _shown_pair(pair: Pair, rows: Sequence[Row], pictures: Mapping[Any, str]) -> dict[str, Any]:
    sides = [
        {
            "picture": pictures.get((rows[place]["frame_oid"], None), ""),
            "name": frame_name(rows[place]),
            "split": rows[place]["split"],
            "labels": labels,
        }
        for place, labels in zip((pair.one, pair.other), pair.labels, strict=True)
    ]
    what = "the same file" if pair.bits is None else "nearly the same"
    return {"what": what, "sides": sides, "labels_differ": pair.labels_differ}


def _key(frame: ShownFrame) -> tuple[Oid, tuple[float, ...] | None]:
    return frame.frame_oid, frame.box_px


def small_pictures(frames: Frames, shown: Iterable[ShownFrame]) -> dict[tuple[Oid, tuple[float, ...] | None], str]:
    """Small JPEGs as data URIs; what cannot be shown, or has no room, is not among them."""
    wanted = {_key(frame): frame for frame in shown}
    found: dict[tuple[Oid, tuple[float, ...] | None], str] = {}
    room = MOST_BYTES
    for key, frame in wanted.items():
        path = None
        with suppress(NotFound):  # it was looked at once, and is not in the lake any more
            path = frames.paths([frame.frame_oid]).get(frame.frame_oid)
        image = frames.image(frame.frame_oid, path) if path else None
        if image is None:
            continue
        uri = _small(image, frame.box_px)
        room -= len(uri)
        if room < 0:
            break
        if uri:
            found[key] = uri
    return found


def _small(image: Image, box_px: tuple[float, float, float, float] | None) -> str:
    import cv2

    if box_px is not None:
        x, y, width, height = (round(value) for value in box_px)
        image = image[max(0, y) : max(0, y + height), max(0, x) : max(0, x + width)]
        if not image.size:
            return ""
    high, wide = image.shape[:2]
    scale = _SIDE_PX / max(high, wide)
    if scale < 1 or box_px is not None:
        size = max(1, round(wide * scale)), max(1, round(high * scale))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    made, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg.tobytes()).decode()}" if made else ""
