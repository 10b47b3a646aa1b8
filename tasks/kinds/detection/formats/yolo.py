"""YOLO: one .txt per image with `class x-centre y-centre width height` a line, as fractions of the image.

What longer lines are does not stand in them: outlines (`class x y x y x y ...`), poses (a box, then key points) and
what `yolo track` writes (a box, its score, its number) have the same counts of values. `data.yaml` says it: with
`kpt_shape` they are poses, and the box is taken; without, they are outlines, whose hull is the box. Where there is no
data.yaml, or a line fits neither, the file is refused, with the line.

Where the classes' names and `kpt_shape` come from: `tasks.labeling.formats.yolo`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from tasks.kind import BadFile, LabelFile
from tasks.kinds.detection.formats.records import ForeignBox
from tasks.labeling.formats.content import positive
from tasks.labeling.formats.yolo import OUTSIDE, LineContext, Scheme, read_files

_TOLERANCE = 1e-6  # of the image's side: centres are rounded when written


def read(folder: Path) -> Iterator[LabelFile | BadFile]:
    """Every .txt file below a folder, by name.

    Raises:
        ConfigError: Nothing names the classes of any of them.
    """
    return read_files(folder, _box, "boxes")


def _box(label: str, values: list[float], context: LineContext) -> ForeignBox:
    """A line's box."""
    if len(values) != 4:
        _must_be_told_apart(len(values) + 1, context.scheme, context.numbered)
    if len(values) == 4 or context.scheme.key_points is not None:
        x, y, width, height = values[:4]
        return _checked(ForeignBox(label, x - width / 2, y - height / 2, width, height))
    return _checked(_hull(label, values))


def _must_be_told_apart(count: int, scheme: Scheme, numbered: bool) -> None:
    """Refuse a line that may mean something else than what it would be taken for.

    Raises:
        ValueError: Saying what it may be, and what to do.
    """
    expected = "expected 5: class x-centre y-centre width height"
    if scheme.key_points is not None:
        with_points = 5 + scheme.key_points
        if count != with_points:
            raise ValueError(
                f"{count} values, expected {with_points} for kpt_shape {scheme.kpt_shape}, or 5"
                + ("; remove the extra columns (score, track)" if count in (with_points + 1, with_points + 2) else "")
            )
    elif count < 5:
        raise ValueError(f"{count} values, {expected}")
    elif count == 6:
        raise ValueError(f"6 values, {expected}; remove the extra column (a score or a track's number)")
    elif not scheme.described:
        raise ValueError(
            f"{count} values, {expected}. Longer lines are outlines, poses or tracks, and nothing says which: put the "
            "data.yaml of the labels beside them (with kpt_shape for poses), or remove the extra columns"
        )
    elif count % 2 == 0 or count < 7:
        raise ValueError(f"{count} values, {expected}, or an outline of at least 3 points (data.yaml has no kpt_shape)")
    elif numbered:
        raise ValueError(
            f"{count} values of which the last is a whole number: a track's, as `yolo track` writes it, or an "
            "outline's last place; remove the extra columns (score, track), or write the place as 1.0"
        )


def _hull(label: str, values: Sequence[float]) -> ForeignBox:
    if not all(-OUTSIDE <= value <= 1 + OUTSIDE for value in values):
        raise ValueError("an outline with a place outside the image, expected fractions of the image, 0 to 1")
    xs, ys = values[::2], values[1::2]
    return ForeignBox(label, min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys))


def _checked(box: ForeignBox) -> ForeignBox:
    """The box, if it is one: pixels where fractions are expected, for example, give a centre outside the image."""
    positive(box.width, box.height)
    x, y = box.x + box.width / 2, box.y + box.height / 2
    if not all(-_TOLERANCE <= place <= 1 + _TOLERANCE for place in (x, y)):
        raise ValueError(f"a box with its centre at {x:g} {y:g}, expected fractions of the image, 0 to 1")
    if max(box.width, box.height) > 1 + 2 * OUTSIDE:
        raise ValueError(f"a box of width {box.width:g} and height {box.height:g}, expected fractions of the image")
    return box
