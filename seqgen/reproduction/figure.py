"""A table as an SVG picture: each row's mean 3D error with its interval, and its seeds. Written by hand, so that no plotting library is needed.

test                        test
encoder      --o--          encoder      --o--       o: mean, --: interval over clips and seeds (of two seeds or more), .: a seed
ConvLSTM   -o-.             ConvLSTM   -o-.
           0   5  10 mm                0   5  10 mm
"""

from collections.abc import Sequence
from html import escape

import numpy as np
from jaxtyping import Float

from seqgen.reproduction.report import RowResults, row_results
from seqgen.reproduction.results import Results
from seqgen.reproduction.tables import Table

Array = np.ndarray
Number = float | int
METRIC = "error_mm"
LABELS, AXIS, GAP = 300, 330, 30  # widths: of the rows' names, of an axis, between panels
TOP, ROW, BOTTOM = 34, 24, 44  # heights
COLOUR, FAINT = "#0072b2", "#999999"


def table_figure(table: Table, results: Results, seeds: Sequence[int]) -> str:
    """The SVG document: a panel for each test of each part, one below the other."""
    panels, height = [], 0
    for part in table.parts:
        for test in part.tests:
            rows = [row_results(row, test, results, seeds) for row in part.rows]
            title = part.title if len(part.tests) == 1 else f"{part.title}; test: {test.title}"
            panels.append(f'<g transform="translate(0 {height})">\n{_panel(title, rows)}\n</g>')
            height += TOP + ROW * len(rows) + BOTTOM
    width = LABELS + AXIS + GAP
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">'
    return "\n".join([head, f'<rect width="{width}" height="{height}" fill="white"/>', *panels, "</svg>"]) + "\n"


def _panel(title: str, rows: Sequence[RowResults]) -> str:
    """Rows over an axis from 0 to beyond the largest interval."""
    found = [each.estimate(METRIC) for each in rows]
    ticks = _ticks(max((estimate.high for estimate in found if estimate), default=1.0))
    foot = TOP + ROW * len(rows)
    lines = [_text(0, 16, title, "font-weight='bold'")]
    for tick in ticks:
        x = _x(tick, ticks[-1])
        lines += [_stroke(x, TOP, x, foot, "#dddddd"), _text(x, foot + 16, f"{tick:g}", "text-anchor='middle'")]
    lines.append(_text(_x(ticks[-1] / 2, ticks[-1]), foot + 32, "mean root-relative error, mm", "text-anchor='middle'"))
    for place, (each, estimate) in enumerate(zip(rows, found, strict=True)):
        y = TOP + ROW * (place + 0.5)
        lines.append(_text(LABELS - 14, y + 4, each.row.title, "text-anchor='end'"))
        if estimate is None:
            lines.append(_text(LABELS + 6, y + 4, "not done", f"fill='{FAINT}'"))
            continue
        if len(each.seeds) > 1:
            lines.append(_stroke(_x(estimate.low, ticks[-1]), y, _x(estimate.high, ticks[-1]), y, COLOUR))
        lines += [_dot(_x(mean, ticks[-1]), y, 2.5, FAINT) for mean in np.nanmean(each.values[METRIC], 1)]
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
