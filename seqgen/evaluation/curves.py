"""Curves as an SVG picture, written by hand so that a report needs no plotting library. Knows numbers and names, not what they mean.

    title                     title                      one panel a chart, side by side
    1 |      ___....          1 |        ___..
      |   .-'   -- a            |   ..--'   -- a         each curve has a colour and a dash of its own
    0 +-----------              +-----------
      0     x    50             0     x    80
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from jaxtyping import Float

Array = np.ndarray
Curve = tuple[Float[Array, "_"], Float[Array, "_"]]
# Okabe and Ito's colours, told apart by colour-blind readers too, and dashes for print without colour.
STYLES = (("#0072b2", ""), ("#d55e00", "7 3"), ("#009e73", "2 3"), ("#cc79a7", "9 3 2 3"), ("#e69f00", "12 4"), ("#56b4e9", "4 2"), ("#000000", "1 2"))
PANEL_WIDTH, PANEL_HEIGHT = 440, 320
LEFT, RIGHT, TOP, BOTTOM = 58, 18, 36, 50  # between the edge of a panel and its axes
LEGEND_LINE, LEGEND_SWATCH = 18, 30


@dataclass(frozen=True)
class Chart:
    """Curves by name, x and y, over axes that begin at 0 and end at `x_end` and 1; `y_label` names fractions, which are written as percentages."""

    title: str
    x_label: str
    y_label: str
    x_end: float
    curves: Mapping[str, Curve]


def draw_charts(charts: Sequence[Chart]) -> str:
    """An SVG document with the charts side by side, in their order. Values that are not finite break a curve; those outside the axes are cut off."""
    width = PANEL_WIDTH * len(charts)
    panels = "\n".join(f'<g transform="translate({PANEL_WIDTH * place} 0)">\n{_panel(chart, place)}\n</g>' for place, chart in enumerate(charts))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {PANEL_HEIGHT}" width="{width}" height="{PANEL_HEIGHT}" '
        f'font-family="Helvetica, Arial, sans-serif" font-size="12" fill="#222222">\n'
        f'<rect width="{width}" height="{PANEL_HEIGHT}" fill="#ffffff"/>\n{panels}\n</svg>\n'
    )


def _panel(chart: Chart, place: int) -> str:
    """Grid and axes, the curves cut off at the axes, the legend over them."""
    x, y, width, height = LEFT, TOP, PANEL_WIDTH - LEFT - RIGHT, PANEL_HEIGHT - TOP - BOTTOM
    middle = x + width / 2
    parts = [
        f'<clipPath id="axes{place}"><rect x="{x}" y="{y - 1}" width="{width}" height="{height + 2}"/></clipPath>',
        f'<text x="{middle}" y="{TOP - 14}" text-anchor="middle" font-weight="bold">{escape(chart.title)}</text>',
        *_grid(chart),
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" fill="none" stroke="#666666"/>',
        f'<text x="{middle}" y="{PANEL_HEIGHT - 12}" text-anchor="middle">{escape(chart.x_label)}</text>',
        f'<text transform="translate(16 {y + height / 2}) rotate(-90)" text-anchor="middle">{escape(chart.y_label)}</text>',
        f'<g clip-path="url(#axes{place})" fill="none" stroke-width="2" stroke-linejoin="round">',
        *(line for number, curve in enumerate(chart.curves.values()) for line in _polylines(chart, curve, number)),
        "</g>",
        *_legend(chart),
    ]
    return "\n".join(parts)


def _grid(chart: Chart) -> list[str]:
    """Lines and numbers at every fifth of the height, and at round places of the width."""
    lines = []
    for share in np.linspace(0.0, 1.0, 6).tolist():
        _, y = _place(chart, 0.0, share)
        lines.append(f'<line x1="{LEFT}" x2="{PANEL_WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#dddddd"/>')
        lines.append(f'<text x="{LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{100 * share:.0f} %</text>')
    for value in np.arange(0.0, chart.x_end * 1.0001, _round_step(chart.x_end)).tolist():
        x, y = _place(chart, value, 0.0)
        lines.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{y:.1f}" stroke="#dddddd"/>')
        lines.append(f'<text x="{x:.1f}" y="{y + 17:.1f}" text-anchor="middle">{value:g}</text>')
    return lines


def _polylines(chart: Chart, curve: Curve, number: int) -> list[str]:
    """A curve, a line for each stretch of finite values."""
    xs, ys = (np.asarray(values, float) for values in curve)
    finite = np.isfinite(xs) & np.isfinite(ys)
    stretches = np.split(np.arange(len(xs)), np.flatnonzero(np.diff(finite)) + 1)
    lines = []
    for stretch in stretches:
        if len(stretch) and finite[stretch[0]]:
            points = " ".join("{:.1f},{:.1f}".format(*_place(chart, float(xs[at]), float(ys[at]))) for at in stretch)
            lines.append(f'<polyline points="{points}" {_stroke(number)}/>')
    return lines


def _legend(chart: Chart) -> list[str]:
    """Names beside a piece of their line, in the lower right, where rising curves leave room."""
    widest = max((len(name) for name in chart.curves), default=0) * 6.2 + LEGEND_SWATCH + 16
    left, top = PANEL_WIDTH - RIGHT - widest - 8, PANEL_HEIGHT - BOTTOM - LEGEND_LINE * len(chart.curves) - 12
    lines = [f'<rect x="{left:.1f}" y="{top:.1f}" width="{widest:.1f}" height="{LEGEND_LINE * len(chart.curves) + 6}" fill="#ffffff" fill-opacity="0.85"/>']
    for number, name in enumerate(chart.curves):
        y = top + LEGEND_LINE * (number + 0.5) + 3
        lines.append(f'<line x1="{left + 6:.1f}" x2="{left + 6 + LEGEND_SWATCH:.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke-width="2" {_stroke(number)}/>')
        lines.append(f'<text x="{left + 12 + LEGEND_SWATCH:.1f}" y="{y + 4:.1f}">{escape(name)}</text>')
    return lines if chart.curves else []


def _place(chart: Chart, x: float, y: float) -> tuple[float, float]:
    """Where a value lies in its panel; y upwards."""
    return LEFT + x / chart.x_end * (PANEL_WIDTH - LEFT - RIGHT), PANEL_HEIGHT - BOTTOM - y * (PANEL_HEIGHT - TOP - BOTTOM)


def _stroke(number: int) -> str:
    colour, dash = STYLES[number % len(STYLES)]
    return f'stroke="{colour}"' + (f' stroke-dasharray="{dash}"' if dash else "")


def _round_step(end: float) -> float:
    """1, 2 or 5 times a power of ten, so that four to ten steps reach the end."""
    power = 10.0 ** np.floor(np.log10(end / 4))
    return float(max(factor * power for factor in (1, 2, 5) if end / (factor * power) >= 4))
