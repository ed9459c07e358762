"""A table as an SVG picture: each row's mean of one metric with its interval, and its seeds. Written by hand, so that no plotting library is needed.

test                        test                              a part with its tests side by side
encoder      --o--          encoder      --o--                mm 10 |o
ConvLSTM   -o-.             ConvLSTM   -o-.                    5    |   o   o    a line a row
           0   5  10 mm                0   5  10 mm                  0   1   2   a test a place

o: mean, --: interval over clips and seeds (of two seeds or more), .: a seed
"""

from collections.abc import Sequence
from html import escape
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from seqgen.reproduction.columns import METRICS
from seqgen.reproduction.report import RowResults, row_results
from seqgen.reproduction.results import Results
from seqgen.reproduction.tables import Part, Table

Array = np.ndarray
Number = float | int
LABELS, AXIS, GAP = 300, 330, 30  # widths: of the rows' names, of an axis, between panels
TOP, ROW, BOTTOM = 34, 24, 44  # heights
COLOUR, FAINT = "#0072b2", "#999999"
LINES = (COLOUR, "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#999999")  # Okabe and Ito's, which most eyes can tell apart
CURVE_HEIGHT = 220


def table_figure(table: Table, results: Results, seeds: Sequence[int]) -> str:
    """The SVG document: a panel for each test of each part, one below the other."""
    panels, height = [], 0
    for part in table.parts:
        rows = [[row_results(row, test, results, seeds) for test in part.tests] for row in part.rows]
        if part.across:
            drawn = [(_curves(part, rows), CURVE_HEIGHT + ROW * len(rows))]
        else:
            titles = (part.title if len(part.tests) == 1 else f"{part.title}; test: {test.title}" for test in part.tests)
            drawn = [(_panel(title, list(own), table.columns.drawn), ROW * len(rows)) for title, own in zip(titles, zip(*rows, strict=True), strict=True)]
        for panel, own_height in drawn:
            panels.append(f'<g transform="translate(0 {height})">\n{panel}\n</g>')
            height += TOP + own_height + BOTTOM
    width = LABELS + AXIS + GAP
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">'
    return "\n".join([head, f'<rect width="{width}" height="{height}" fill="white"/>', *panels, "</svg>"]) + "\n"


def _curves(part: Part, rows: Sequence[Sequence[RowResults]]) -> str:
    """A line for each row through its means on the tests, with a legend below."""
    means = [[found.mean if (found := each.estimate(part.across)) else np.nan for each in row] for row in rows]
    ticks = _ticks(max((mean for row in means for mean in row if np.isfinite(mean)), default=1.0))
    foot, width = TOP + CURVE_HEIGHT - 20, LABELS + AXIS
    places = np.linspace(60, width - 20, len(part.tests))
    lines = [_text(0, 16, f"{part.title}: {METRICS[part.across].long or METRICS[part.across].title}", "font-weight='bold'")]
    for tick in ticks:
        y = foot - (foot - TOP) * tick / ticks[-1]
        lines += [_stroke(40, y, width, y, "#dddddd"), _text(34, y + 4, f"{tick:g}", "text-anchor='end'")]
    lines += [_text(x, foot + 16, test.title, "text-anchor='middle'") for x, test in zip(places, part.tests, strict=True)]
    for place, (row, own) in enumerate(zip(rows, means, strict=True)):
        colour = LINES[place % len(LINES)]
        dots = [(x, foot - (foot - TOP) * mean / ticks[-1]) for x, mean in zip(places, own, strict=True) if np.isfinite(mean)]
        lines += [_stroke(*one, *other, colour) for one, other in pairwise(dots)] + [_dot(x, y, 3, colour) for x, y in dots]
        y = foot + 20 + ROW * (place + 0.5)
        lines += [_stroke(60, y, 90, y, colour), _text(98, y + 4, row[0].row.title + ("" if dots else ": not done"), "")]
    return "\n".join(lines)


def _panel(title: str, rows: Sequence[RowResults], metric: str) -> str:
    """Rows over an axis from 0 to beyond the largest interval."""
    found = [each.estimate(metric) for each in rows]
    ticks = _ticks(max((estimate.high for estimate in found if estimate), default=1.0))
    foot = TOP + ROW * len(rows)
    lines = [_text(0, 16, title, "font-weight='bold'")]
    for tick in ticks:
        x = _x(tick, ticks[-1])
        lines += [_stroke(x, TOP, x, foot, "#dddddd"), _text(x, foot + 16, f"{tick:g}", "text-anchor='middle'")]
    lines.append(_text(_x(ticks[-1] / 2, ticks[-1]), foot + 32, METRICS[metric].long or METRICS[metric].title, "text-anchor='middle'"))
    for place, (each, estimate) in enumerate(zip(rows, found, strict=True)):
        y = TOP + ROW * (place + 0.5)
        lines.append(_text(LABELS - 14, y + 4, each.row.title, "text-anchor='end'"))
        if estimate is None:
            lines.append(_text(LABELS + 6, y + 4, "not done", f"fill='{FAINT}'"))
            continue
        if len(each.seeds) > 1:
            lines.append(_stroke(_x(estimate.low, ticks[-1]), y, _x(estimate.high, ticks[-1]), y, COLOUR))
        lines += [_dot(_x(mean, ticks[-1]), y, 2.5, FAINT) for mean in np.nanmean(each.values[metric], 1)]
        lines.append(_dot(_x(estimate.mean, ticks[-1]), y, 4, COLOUR))
    return "\n".join(lines)


def _ticks(largest: Number) -> Float[Array, "_"]:
    """From 0 to beyond the largest value, 1, 2 or 5 times a power of ten apart, which gives at most seven."""
    power = 10.0 ** np.floor(np.log10(max(largest, 1e-9) / 6))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor * 6 >= largest)
    return step * np.arange(int(np.ceil(largest / step)) + 1)


def _x(value: Number, end: Number) -> float:
    return LABELS + AXIS * value / end


def _text(x: Number, y: Number, text: str, style: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(text)}</text>'


def _stroke(x1: Number, y1: Number, x2: Number, y2: Number, colour: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="1.5"/>'


def _dot(x: Number, y: Number, radius: Number, colour: str) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{colour}"/>'
