"""The report's plots as inline SVG: crisp at any size, and coloured by the page, so that dark, light and print all fit.

Everything drawn is text-escaped here; the results are safe to put into the page as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from tasks.evaluation.evaluation import Plot
from tasks.kind import Shape

_WIDTH, _HEIGHT = 460, 330
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 12, 42
_KEY = 24
"""Height of the key below a plot that stands alone."""
SERIES = 6
"""How many line colours the page defines (`--series-0` and on)."""
_COLOURS = ("#22577a", "#c2571a", "#3d8b5f", "#8a4f9e", "#a88a16", "#5d646d")
"""The page's, on white."""


@dataclass(frozen=True)
class ForestRow:
    """A difference with its interval; `low`/`high` None where none exists, `margin` where a gate allows one.

    `whole` rows name a metric; the others, below them, its slices.
    """

    name: str
    whole: bool
    value: float
    low: float | None
    high: float | None
    margin: float | None
    digits: int


def line_plot(plot: Plot, before: Plot | None) -> Markup:
    """Curves on the unit square; those of the champion dashed behind."""

    def x(v: float) -> float:
        return _LEFT + v * (_WIDTH - _LEFT - _RIGHT)

    def y(v: float) -> float:
        return _HEIGHT - _BOTTOM - v * (_HEIGHT - _TOP - _BOTTOM)

    parts = [
        Markup('<svg class="plot" viewBox="0 0 {} {}" role="img" aria-label="{}">').format(_WIDTH, _HEIGHT, plot.title)
    ]
    for tick in (0, 0.25, 0.5, 0.75, 1):
        parts.append(
            Markup(
                '<line class="grid" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>'
                '<line class="grid" x1="{3}" x2="{4}" y1="{5}" y2="{5}"/>'
                '<text class="tick" x="{0}" y="{6}" text-anchor="middle">{7}</text>'
                '<text class="tick" x="{8}" y="{9}" text-anchor="end">{7}</text>'
            ).format(
                f"{x(tick):.1f}",
                y(0),
                y(1),
                x(0),
                x(1),
                f"{y(tick):.1f}",
                y(0) + 16,
                f"{tick:g}",
                x(0) - 7,
                f"{y(tick) + 4:.1f}",
            )
        )
    parts.append(
        Markup('<text class="axis" x="{}" y="{}" text-anchor="middle">{}</text>').format(
            x(0.5), _HEIGHT - 6, plot.x_title
        )
    )
    parts.append(
        Markup('<text class="axis" transform="translate(12 {}) rotate(-90)" text-anchor="middle">{}</text>').format(
            y(0.5), plot.y_title
        )
    )
    if plot.diagonal or plot.chance:
        parts.append(Markup('<line class="diagonal" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(x(0), y(0), x(1), y(1)))
    for source, extra in ((before, " before"), (plot, "")):
        for number, (xs, ys) in enumerate(source.series.values() if source else ()):
            points = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in zip(xs, ys, strict=True))
            parts.append(
                Markup('<polyline class="curve{}" style="stroke:var(--series-{})" points="{}"/>').format(
                    extra, number % SERIES, points
                )
            )
            # Where a curve is made of few measured points, each is shown.
            parts += [
                Markup('<circle class="point" style="fill:var(--series-{})" cx="{:.1f}" cy="{:.1f}" r="3"/>').format(
                    number % SERIES, x(a), y(b)
                )
                for a, b in zip(xs, ys, strict=True)
                if plot.diagonal and not extra
            ]
    return Markup("").join([*parts, Markup("</svg>")])


def standalone(plot: Plot, before: Plot | None) -> str:
    """The same as an SVG file of its own, with its colours and a key of its lines; for wherever the page is not."""
    height = _HEIGHT + _KEY
    size = f'viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" xmlns="http://www.w3.org/2000/svg"'
    opening, drawn = str(line_plot(plot, before)).split(">", 1)
    opening = opening.replace(f'viewBox="0 0 {_WIDTH} {_HEIGHT}"', size)
    style = (
        f"<style>:root{{{';'.join(f'--series-{i}:{colour}' for i, colour in enumerate(_COLOURS))}}}"
        "text{font:12px sans-serif;fill:#444}.grid{stroke:#ddd}.diagonal{stroke:#999;stroke-dasharray:2 4}"
        ".curve{fill:none;stroke-width:2.2}.before{stroke-dasharray:4 4;stroke-width:1.4;opacity:.75}</style>"
        f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>'
    )
    names = [(name, _COLOURS[i % SERIES]) for i, (name, (x, _)) in enumerate(plot.series.items()) if x]
    names += [("dashed: champion", "#444")] if before and any(x for x, _ in before.series.values()) else []
    key = Markup("").join(
        Markup('<tspan dx="14" style="fill:{}">{}</tspan>').format(tone, name) for name, tone in names
    )
    return f'{opening}>{style}{drawn.removesuffix("</svg>")}<text x="{_LEFT - 14}" y="{height - 8}">{key}</text></svg>'


def forest(rows: Sequence[ForestRow]) -> Markup:
    """Differences with their intervals against zero, one row each; a tick marks how much worse a gate allows."""
    width, name_width, number_width, step, gap = 860, 190, 200, 28, 14
    reach = max([abs(v) for row in rows for v in (row.value, row.low, row.high, row.margin) if v is not None] or [0.01])
    reach = max(reach, 1e-3) * 1.08
    middle, half = (name_width + width - number_width) / 2, (width - number_width - name_width) / 2
    height = step * len(rows) + gap * max(0, sum(row.whole for row in rows) - 1) + 40

    def x(v: float) -> float:
        return middle + v / reach * half

    parts = [
        Markup('<svg class="forest" viewBox="0 0 {} {}" role="img" aria-label="Differences with intervals">').format(
            width, height
        ),
        Markup('<line class="zero" x1="{0}" x2="{0}" y1="8" y2="{1}"/>').format(f"{middle:.1f}", height - 28),
        Markup('<text class="tick" x="{}" y="{}" text-anchor="start">◂ worse</text>').format(name_width, height - 8),
        Markup('<text class="tick" x="{}" y="{}" text-anchor="middle">champion</text>').format(
            f"{middle:.1f}", height - 8
        ),
        Markup('<text class="tick" x="{}" y="{}" text-anchor="end">better ▸</text>').format(
            width - number_width, height - 8
        ),
    ]
    at = 8 - step / 2
    for number, row in enumerate(rows):
        at += step + (gap if row.whole and number else 0)
        state = _state(row)
        label = Markup('<text class="label{}" x="{}" y="{}">{}</text>')
        parts.append(label.format(" whole" if row.whole else "", 0 if row.whole else 14, at + 4, row.name))
        if row.low is not None and row.high is not None:
            parts.append(
                Markup('<line class="whisker {}" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
                    state, f"{x(row.low):.1f}", f"{x(row.high):.1f}", at, at
                )
            )
        if row.margin is not None:
            parts.append(
                Markup('<line class="margin" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>').format(
                    f"{x(-row.margin):.1f}", at - 9, at + 9
                )
            )
        parts.append(
            Markup('<circle class="dot {}" cx="{}" cy="{}" r="4.5"/>').format(state, f"{x(row.value):.1f}", at)
        )
        parts.append(
            Markup('<text class="number" x="{}" y="{}" text-anchor="end">{}</text>').format(
                width, at + 4, _numbers(row)
            )
        )
    return Markup("").join([*parts, Markup("</svg>")])


def _state(row: ForestRow) -> str:
    if row.low is None or row.high is None:
        return "unsure"
    return "better" if row.low > 0 else "worse" if row.high < 0 else "unsure"


def _numbers(row: ForestRow) -> str:
    text = signed(row.value, row.digits)
    if row.low is None or row.high is None:
        return text
    return f"{text}  [{signed(row.low, row.digits)}, {signed(row.high, row.digits)}]"


def signed(value: float, digits: int) -> str:
    """A difference as people write it: '+0.012', '−0.003', '0.000'."""
    text = f"{abs(value):.{digits}f}"
    if float(text) == 0:
        return text
    return f"{'+' if value > 0 else '−'}{text}"


def outlines(shapes: Sequence[Shape]) -> Markup:
    """Drawn objects of a frame, each with a tooltip. The right ones, whose lines are thinner, lie on top.

    A detector may name one box twice, as two classes: below a thicker line the right one would not be seen.
    """
    parts = []
    for shape in sorted(shapes, key=lambda shape: shape.state == "right"):
        points = " ".join(f"{a:g},{b:g}" for a, b in shape.points)
        tip = shape.label if shape.score is None else f"{shape.label} {shape.score:.2f}"
        parts.append(
            Markup('<polygon class="shape {}" points="{}"><title>{}</title></polygon>').format(
                shape.state, points, escape(f"{tip} ({shape.state})")
            )
        )
    return Markup("").join(parts)
