"""Histograms and curves as inline SVG, coloured by the page."""

from __future__ import annotations

from markupsafe import Markup, escape

from tasks.kind import Curve, Histogram

_WIDTH, _HEIGHT = 440, 210
_LEFT, _RIGHT, _TOP, _BOTTOM = 38, 8, 12, 36


def histogram_svg(plot: Histogram) -> Markup:
    """Steps of the share of each series' values in each bin."""
    shares = {
        name: [count / total for count in counts] for name, counts in plot.counts.items() if (total := sum(counts))
    }
    most = max((share for own in shares.values() for share in own), default=1.0) or 1.0
    width, height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    low, high = plot.edges[0], plot.edges[-1]

    def x(value: float) -> float:
        return _LEFT + width * (value - low) / (high - low)

    def y(share: float) -> float:
        return _TOP + height * (1 - share / most)

    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(plot.title)}">']
    parts.append(f'<line class="axis" x1="{_LEFT}" y1="{y(0):.1f}" x2="{_LEFT + width}" y2="{y(0):.1f}"/>')
    for share in (0.5 * most, most):
        parts.append(f'<line class="grid" x1="{_LEFT}" y1="{y(share):.1f}" x2="{_LEFT + width}" y2="{y(share):.1f}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y(share) + 4:.1f}" text-anchor="end">{share:.0%}</text>')
    for value in (low, (low + high) / 2, high):
        anchor = "start" if value == low else "end" if value == high else "middle"
        parts.append(f'<text x="{x(value):.1f}" y="{y(0) + 15:.1f}" text-anchor="{anchor}">{value:.3g}</text>')
    parts.append(f'<text x="{_LEFT + width / 2}" y="{_HEIGHT - 4}" text-anchor="middle">{escape(plot.x_title)}</text>')
    for number, own in enumerate(shares.values()):
        points = [f"{x(low):.1f},{y(0):.1f}"]
        for share, left, right in zip(own, plot.edges[:-1], plot.edges[1:], strict=True):
            points += [f"{x(left):.1f},{y(share):.1f}", f"{x(right):.1f},{y(share):.1f}"]
        points.append(f"{x(high):.1f},{y(0):.1f}")
        parts.append(f'<polyline class="s{number % 6}" points="{" ".join(points)}"/>')
    return Markup("".join(parts) + "</svg>")


def curve_svg(plot: Curve) -> Markup:
    """Lines of values from 0 to 1, and an upright one where to look."""
    width, height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    low, high = plot.x[0], max(plot.x[-1], plot.x[0] + 1e-9)

    def x(value: float) -> float:
        return _LEFT + width * (value - low) / (high - low)

    def y(value: float) -> float:
        return _TOP + height * (1 - value)

    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(plot.title)}">']
    parts.append(f'<line class="axis" x1="{_LEFT}" y1="{y(0):.1f}" x2="{_LEFT + width}" y2="{y(0):.1f}"/>')
    for value in (0.5, 1.0):
        parts.append(f'<line class="grid" x1="{_LEFT}" y1="{y(value):.1f}" x2="{_LEFT + width}" y2="{y(value):.1f}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:g}</text>')
    if plot.marked_x is not None:
        there = x(plot.marked_x)
        parts.append(f'<line class="axis" x1="{there:.1f}" y1="{y(1):.1f}" x2="{there:.1f}" y2="{y(0):.1f}"/>')
    for value in plot.x:
        parts.append(f'<text x="{x(value):.1f}" y="{y(0) + 15:.1f}" text-anchor="middle">{value:g}</text>')
    parts.append(f'<text x="{_LEFT + width / 2}" y="{_HEIGHT - 4}" text-anchor="middle">{escape(plot.x_title)}</text>')
    for number, values in enumerate(plot.series.values()):
        points = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in zip(plot.x, values, strict=True))
        parts.append(f'<polyline class="s{number % 6}" points="{points}"/>')
    return Markup("".join(parts) + "</svg>")
