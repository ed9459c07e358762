"""Pose-flows: how the hand moves in a clip. `walk` follows real poses through the neighbour graph and is timed like a hand.

    1. two poses are drawn; the route between them visits neighbouring poses only (graph.py); if it is too short, more poses follow
    2. the route is smoothed along its length and pulled back to the bank's poses near it, three times
    3. a time law: eased starts and stops at a speed drawn for the clip; the clip is a window of this motion
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int64
from pydantic import Field
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter1d

from seqgen.config import Section
from seqgen.geometry import minimum_jerk
from seqgen.poses.bank import PoseBank
from seqgen.poses.graph import NeighbourGraph

Array = np.ndarray
FULL_SPEED_FPS = 30.0  # speeds are stated per frame at this rate
GRID_M = 0.0005  # a route is sampled this finely
SMOOTHING_M = 0.004  # standard deviation, along the route
PULL_BACK = 0.7
MAX_LEGS = 50


class FlowConfig(Section):
    kind: Literal["walk"] = "walk"
    """walk: through neighbouring real poses, timed like a hand"""
    median_step_mm: float = Field(1.2, gt=0, le=50)
    """median over clips of the mean joint step per frame at 30 fps, for a 95 mm palm (real hands: 1.2)"""
    spread: float = Field(0.9, ge=0, le=2)
    """standard deviation of the logarithm of that step (real hands: 0.9, so mean 1.8 and 95th percentile 5.3 mm)"""


@dataclass(frozen=True)
class PoseFlow:
    """The motion a hand is asked to follow. `source`: the bank row nearest to each frame of those the walk passed."""

    joints_m: Float[Array, "frames 21 3"]  # hand frame, 95 mm palm
    source: Int64[Array, "frames"]
    kind: str
    start: int  # bank rows between which the walk went when the clip was taken
    end: int
    fps: float

    def step_m(self) -> float:
        """Mean joint displacement between consecutive frames, 0 for a single frame."""
        steps = np.linalg.norm(np.diff(self.joints_m, axis=0), axis=-1)
        return float(steps.mean()) if len(steps) else 0.0


@dataclass(frozen=True)
class Walk:
    """A smooth way through the bank: pose as a function of the length gone, and the length at which each leg (start to end pose) ends."""

    curve: CubicSpline
    leg_ends_m: list[float]
    poses: list[int]
    rows: Int64[Array, "candidates"]


def draw_flow(bank: PoseBank, graph: NeighbourGraph, config: FlowConfig, *, frames: int, stride: int, fps: float, rng: np.random.Generator) -> PoseFlow:
    """A clip's motion: `frames` poses, `stride` source frames apart, at `fps` source frames a second."""
    step_m = 1e-3 * config.median_step_mm * np.exp(config.spread * rng.standard_normal()) * FULL_SPEED_FPS / fps
    span = (frames - 1) * stride
    walk = draw_walk(bank, graph, length_m=span * step_m, rng=rng)
    durations = np.diff([0.0, *walk.leg_ends_m]) / step_m
    first = rng.uniform(0.0, max(0.0, durations.sum() - span))
    times = first + np.arange(0, span + 1, stride)
    joints = walk.curve(_length_at(times, durations, walk.leg_ends_m)).reshape(-1, 21, 3)
    leg = int(np.searchsorted(np.cumsum(durations), times[len(times) // 2]).clip(0, len(durations) - 1))
    source = walk.rows[nearest(joints.reshape(frames, -1), bank.joints_m[walk.rows].reshape(len(walk.rows), -1))]
    return PoseFlow(joints, source, config.kind, walk.poses[leg], walk.poses[leg + 1], fps / stride)


def draw_walk(bank: PoseBank, graph: NeighbourGraph, *, length_m: float, rng: np.random.Generator) -> Walk:
    """A walk between drawn poses, with as many poses on the way as it takes to be `length_m` long."""
    poses, legs, ends = [int(rng.integers(len(bank)))], [], []
    while len(legs) < MAX_LEGS and (not ends or ends[-1] < length_m):
        end = int(rng.integers(len(bank)))
        if end == poses[-1]:
            continue
        route = graph.route(poses[-1], end)
        poses.append(end)
        legs.append(route if not legs else route[1:])
        curve, ends, rows = _smooth_curve(bank, graph, legs)
    return Walk(curve, ends, poses, rows)


def nearest(queries: Float[Array, "queries d"], rows: Float[Array, "rows d"]) -> Int64[Array, "queries"]:
    """The nearest of a few rows to each query."""
    return ((rows**2).sum(1) - 2 * queries @ rows.T).argmin(1)


def _smooth_curve(bank: PoseBank, graph: NeighbourGraph, legs: list[Array]) -> tuple[CubicSpline, list[float], Array]:
    route = np.concatenate(legs)
    rows = graph.around(route)
    near = bank.joints_m[rows].reshape(len(rows), -1).astype(float)
    points = bank.joints_m[route].reshape(len(route), -1).astype(float)
    along = _lengths(points)
    grid = np.linspace(0, along[-1], max(8, int(along[-1] / GRID_M)))
    sigma = SMOOTHING_M / (grid[1] - grid[0])
    curve = gaussian_filter1d(_polyline(along, points, grid), sigma, axis=0, mode="nearest")
    for _ in range(3):
        curve = curve + PULL_BACK * (near[nearest(curve, near)] - curve)
        curve = gaussian_filter1d(curve, sigma / 2, axis=0, mode="nearest")
    lengths = _lengths(curve)
    corners = along[np.cumsum([len(leg) for leg in legs]) - 1]
    return CubicSpline(lengths, curve), np.interp(corners, grid, lengths).tolist(), rows


def _lengths(points: Float[Array, "points 63"]) -> Float[Array, "points"]:
    """Way gone at each point, as mean joint displacement."""
    steps = np.linalg.norm(np.diff(points, axis=0).reshape(len(points) - 1, 21, 3), axis=-1).mean(1)
    return np.concatenate([[0.0], np.cumsum(np.maximum(steps, 1e-9))])


def _polyline(along: Float[Array, "points"], points: Float[Array, "points 63"], grid: Float[Array, "samples"]) -> Float[Array, "samples 63"]:
    """Points on straight lines between the given ones."""
    left = np.clip(np.searchsorted(along, grid, side="right") - 1, 0, len(along) - 2)
    fraction = (grid - along[left]) / (along[left + 1] - along[left])
    return points[left] + fraction[:, None] * (points[left + 1] - points[left])


def _length_at(times: Float[Array, "frames"], durations: Float[Array, "legs"], leg_ends_m: list[float]) -> Float[Array, "frames"]:
    """Way gone at each time when every leg starts and ends at rest (minimum jerk)."""
    starts = np.concatenate([[0.0], np.cumsum(durations)])
    ends_m = np.concatenate([[0.0], leg_ends_m])
    leg = np.clip(np.searchsorted(starts, times, side="right") - 1, 0, len(durations) - 1)
    return ends_m[leg] + (ends_m[leg + 1] - ends_m[leg]) * minimum_jerk((times - starts[leg]) / durations[leg])
