"""A smooth curve along a route through the bank: smoothed over its own length, and pulled back to the real poses near it.

Smoothing in time would blur fast clips more than slow ones and leave corners in slow ones; here the time law comes afterwards, on the curve's own length.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Float32, Int64

from seqgen.poses.bank import PoseBank
from seqgen.poses.graph import NeighbourGraph

Array = np.ndarray
ROUNDS = 3
PULL_BACK = 0.8
BLOCK = 128  # samples that share their candidates for the nearest pose, and are smoothed at once
SAMPLES_A_WIDTH = 2.5  # grid points per standard deviation of the narrower smoothing


@dataclass(frozen=True)
class Widths:
    """Standard deviations, along the route, of the first smoothing and of the one after each pulling back, metres."""

    first_m: float
    after_m: float

    @property
    def margin_m(self) -> float:
        """How much of the route before and after a place has a say in it: three standard deviations of all smoothings together."""
        return 3 * float(np.sqrt(self.first_m**2 + ROUNDS * self.after_m**2))


@dataclass(frozen=True)
class Curve:
    """A smoothed part of a route. `raw_m` (length along the raw route) and `length_m` (along the curve itself) at its grid points."""

    raw_m: Float[Array, "grid"]
    length_m: Float[Array, "grid"]
    points: Float[Array, "grid 63"]
    tangents: Float[Array, "grid 63"]  # per metre of the curve
    candidates: Int64[Array, "rows"]  # of the bank, near it

    def length_at(self, raw_m: Float[Array, "*places"], shrinkage: float) -> Float[Array, "*places"]:
        """Length along the curve at raw lengths; outside of the part, `shrinkage` times the raw way."""
        inside = np.clip(raw_m, self.raw_m[0], self.raw_m[-1])
        return np.interp(inside, self.raw_m, self.length_m) + shrinkage * (raw_m - inside)

    def joints_m(self, length_m: Float[Array, "places"]) -> Float[Array, "places 21 3"]:
        """Poses at lengths along the curve, which ends at its ends."""
        at = np.minimum(np.maximum(length_m, self.length_m[0]), self.length_m[-1])
        left = np.minimum(np.maximum(np.searchsorted(self.length_m, at, side="right") - 1, 0), len(self.length_m) - 2)
        step = self.length_m[left + 1] - self.length_m[left]
        t = (at - self.length_m[left]) / step
        from_points = (1 + 2 * t) * (1 - t) ** 2, t**2 * (3 - 2 * t)  # cubic Hermite
        from_tangents = t * (1 - t) ** 2 * step, t**2 * (t - 1) * step
        weighted = zip((*from_points, *from_tangents), (self.points[left], self.points[left + 1], self.tangents[left], self.tangents[left + 1]), strict=True)
        return sum(weight[:, None] * values for weight, values in weighted).reshape(-1, 21, 3)


def lengths(points: Float[Array, "points 63"]) -> Float[Array, "points"]:
    """Way gone at each point, as mean joint displacement."""
    steps = points[1:] - points[:-1]
    squares = steps * steps
    moved = np.sqrt(squares[:, ::3] + squares[:, 1::3] + squares[:, 2::3]).sum(1) / 21
    along = np.zeros(len(points))
    np.cumsum(np.maximum(moved, 1e-9), out=along[1:])
    return along


def smooth_curve(bank: PoseBank, graph: NeighbourGraph, route: Int64[Array, "rows"], along_m: Float[Array, "rows"], part_m: tuple[float, float], widths: Widths) -> Curve:
    """The curve along a part of a route, given as raw lengths. A true end of the route stays where it is; other ends need `widths.margin_m` to spare."""
    spacing = widths.after_m / SAMPLES_A_WIDTH
    grid = np.linspace(*part_m, max(8, int((part_m[1] - part_m[0]) / spacing) + 2))
    blocks = [_Block(bank, graph, route, along_m, grid, slice(start, start + BLOCK)) for start in range(0, len(grid), BLOCK)]
    first, last = np.searchsorted(along_m, part_m[0], side="right") - 1, np.searchsorted(along_m, part_m[1]) + 1
    points = bank.joints_m[route[first:last]].reshape(-1, 63).astype(float)
    step = grid[1] - grid[0]
    curve = _smooth(_polyline(along_m[first:last], points, grid), widths.first_m / step)
    for _ in range(ROUNDS):
        pulled = curve + PULL_BACK * (np.concatenate([block.nearest(curve) for block in blocks]) - curve)
        pulled[[0, -1]] = curve[[0, -1]]  # where they are for good; in single precision a near twin may seem nearer
        curve = _smooth(pulled, widths.after_m / step)
    length_m = lengths(curve)
    return Curve(grid, length_m, curve, _tangents(curve, length_m), _rows_of(blocks))


def nearest(queries: Float[Array, "queries d"], rows: Float[Array, "rows d"]) -> Int64[Array, "queries"]:
    """The nearest of a few rows to each query."""
    return ((rows**2).sum(1) - 2 * queries @ rows.T).argmin(1)


class _Block:
    """Some neighbouring samples of a curve and the poses of the bank that may be nearest to them: those of the route beside them and their neighbours."""

    def __init__(self, bank: PoseBank, graph: NeighbourGraph, route: Array, along_m: Array, grid: Array, part: slice) -> None:
        first, last = np.searchsorted(along_m, grid[part][[0, -1]])
        self.part = part
        self.rows = graph.around(route[max(0, first - 2) : last + 2])
        self.points = bank.joints_m[self.rows].reshape(-1, 63)
        self.half_squares = 0.5 * np.einsum("ri,ri->r", self.points, self.points)

    def nearest(self, curve: Float[Array, "grid 63"]) -> Float32[Array, "samples 63"]:
        products = curve[self.part].astype(np.float32) @ self.points.T
        return self.points[(self.half_squares - products).argmin(1)]


def _polyline(along: Float[Array, "points"], points: Float[Array, "points 63"], grid: Float[Array, "samples"]) -> Float[Array, "samples 63"]:
    """Points on straight lines between the given ones."""
    left = np.clip(np.searchsorted(along, grid, side="right") - 1, 0, len(along) - 2)
    fraction = (grid - along[left]) / (along[left + 1] - along[left])
    return points[left] + fraction[:, None] * (points[left + 1] - points[left])


def _rows_of(blocks: list[_Block]) -> Int64[Array, "rows"]:
    """The rows of all blocks, each once, in rising order."""
    return blocks[0].rows if len(blocks) == 1 else np.unique(np.concatenate([block.rows for block in blocks]))


def _tangents(points: Float[Array, "grid 63"], along: Float[Array, "grid"]) -> Float[Array, "grid 63"]:
    """Slopes at points: of the parabola through a point and those beside it, and of the first and the last piece at the ends."""
    steps = along[1:] - along[:-1]
    slopes = (points[1:] - points[:-1]) / steps[:, None]
    tangents = np.empty_like(points)
    tangents[0], tangents[-1] = slopes[0], slopes[-1]
    tangents[1:-1] = slopes[:-1] + (steps[:-1] / (steps[:-1] + steps[1:]))[:, None] * (slopes[1:] - slopes[:-1])
    return tangents


def _smooth(curve: Float[Array, "grid 63"], sigma: float) -> Float[Array, "grid 63"]:
    """Gaussian smoothing that leaves the ends where they are: beyond them the curve goes on as its own mirror image through the end point."""
    sigma = min(sigma, (len(curve) - 1) / 4)  # a way too short for it is smoothed less
    reach = int(4 * sigma + 0.5)
    beyond = np.concatenate([2 * curve[0] - curve[reach:0:-1], curve, 2 * curve[-1] - curve[-2 : -reach - 2 : -1]])
    weights = _gaussian_rows(min(len(curve), BLOCK), sigma, reach)
    blocks = [weights[: len(curve) - start, : len(curve) - start + 2 * reach] @ beyond[start : start + len(weights[0])] for start in range(0, len(curve), len(weights))]
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


@lru_cache(maxsize=4)
def _gaussian_rows(num: int, sigma: float, reach: int) -> Float[Array, "num more"]:
    """The matrix that smooths `num` samples, given `reach` more before and after them."""
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    shifted = np.tile(np.concatenate([weights / weights.sum(), np.zeros(num)]), num)  # cut one shorter, each row begins one later
    rows = shifted[: num * (num + 2 * reach)].reshape(num, num + 2 * reach)
    rows.flags.writeable = False
    return rows
