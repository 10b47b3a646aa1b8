"""How bright, rich in contrast and sharp the frames are, by split and by class; and which are unlike the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tasks.exploration.looks import FloatArray, Looks
from tasks.kind import Histogram, Object, Row, ShownFrame
from tasks.schemas import SPLITS

_BINS = 24
_EXTREMES = 4
_MOST_SERIES = 6
_EXTREME_OF = (
    ("brightness", False, "darkest"), ("brightness", True, "brightest"), ("contrast", False, "least contrast"),
    ("sharpness", False, "least sharp"),
)  # fmt: skip


def histograms_of(
    rows: Sequence[Row], looks: Looks, classes: Sequence[str], counted: Callable[[Sequence[Object]], list[Object]]
) -> list[Histogram]:
    """Brightness, contrast and sharpness by split; brightness by class, by which a model could cheat."""
    by_split = _places([[row["split"]] for row in rows])
    splits = {str(split): by_split[split] for split in SPLITS if split in by_split}
    by_class = _places([{str(item["label"]) for item in counted(row["objects"])} for row in rows])
    own = {name: by_class[name] for name in classes if name in by_class}
    found = [
        histogram(f"{title} by split", x_title, looks.number(name), splits)
        for name, title, x_title in (
            ("brightness", "Brightness", "mean grey value"),
            ("contrast", "Contrast", "standard deviation of the grey values"),
            ("sharpness", "Sharpness", "standard deviation of the Laplacian"),
        )
    ]
    if 1 < len(own) <= _MOST_SERIES:
        found.append(histogram("Brightness by class", "mean grey value", looks.number("brightness"), own))
    return found


def histogram(title: str, x_title: str, values: FloatArray, series: Mapping[str, Sequence[int]]) -> Histogram:
    """Values in equal bins, over what nearly all of them take.

    Args:
        title: Of the plot.
        x_title: With its unit.
        values: [n].
        series: Name -> places of its values.
    """
    some = values[np.isfinite(values)]
    low, high = (float(bound) for bound in np.percentile(some, (0.5, 99.5))) if len(some) else (0.0, 1.0)
    if high - low < 1e-6:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, _BINS + 1)
    counts = {
        name: tuple(int(count) for count in np.histogram(np.clip(values[list(own)], low, high), edges)[0])
        for name, own in series.items()
    }
    return Histogram(title=title, x_title=x_title, edges=tuple(float(edge) for edge in edges), counts=counts)


def extremes_of(rows: Sequence[Row], looks: Looks) -> list[ShownFrame]:
    """The darkest, brightest, flattest and least sharp frames; each once, and each file once."""
    shown: set[str] = set()
    found = []
    for name, most, called in _EXTREME_OF:
        values = looks.number(name)
        taken = 0
        for place in np.argsort(-values if most else values, kind="stable").tolist():
            oid = rows[place]["frame_oid"]
            if oid not in shown:
                shown.add(oid)
                taken += 1
                found.append(
                    ShownFrame(frame_oid=oid, caption=f"{called} ({values[place]:.0f}): {frame_name(rows[place])}")
                )
            if taken == _EXTREMES:
                break
    return found


def frame_name(row: Row) -> str:
    """A frame as people know it."""
    still = row["pts_s"] is None and not row["frame_index"]
    return str(row["recording_name"]) if still else f"{row['recording_name']} frame {row['frame_index']}"


def _places(names: Sequence[Sequence[str] | set[str]]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for place, own in enumerate(names):
        for name in sorted(own):
            found.setdefault(name, []).append(place)
    return found
