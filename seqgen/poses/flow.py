"""Pose-flows: how the hand moves in a clip. `walk` follows real poses through the neighbour graph and is timed like a hand.

    1. poses are drawn and joined by routes that visit neighbouring poses only (graph.py), with rests at some of them
    2. a clip is a window of that motion: a moment is drawn, and only the route around it is worked out
    3. there the route is smoothed along its length and pulled back to the poses near it, three times
    4. a time law runs along it: the clip's speed, eased starts and stops at the rests
"""

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int64
from pydantic import Field

from seqgen.config import Section
from seqgen.poses.bank import PoseBank
from seqgen.poses.curve import Curve, Widths, nearest, smooth_curve
from seqgen.poses.graph import NeighbourGraph
from seqgen.poses.timing import Stretch, travel
from seqgen.poses.walk import Walk, begin_walk, extend_walk

Array = np.ndarray
FULL_SPEED_FPS = 30.0  # speeds are stated per frame at this rate
SHRINKAGE = 0.85  # a smoothed route's length over the raw one's: about; used where only the order of magnitude matters
LEAST_SHRINKAGE = 0.5  # hardly ever less; a part of the route that turns out too short is taken twice as long
FIRST_STEPS = 1.5  # width of the first smoothing, in steps of a frame at the clip's speed
AFTER_STEPS, MORE_STEPS_A_M, MOST_STEPS = 0.9, 350.0, 2.6  # of the later ones; corners of fast clips need more, since little of them is left between two frames
MOST_SPEED_M_S = 0.6  # however much is asked for: 20 mm a frame at 30 fps
MOST_DEVIATIONS = 2.0  # of the logarithm of the speed: no hand is faster than that for long
PACE = 1.12  # puts back what easing and short ways take from the steps; measured, see docs/decisions.md
MOST_WIDTH_M = 0.02  # of the smoothing, however fast
LEG_S = 0.8  # from pose to pose it should take so long at least
LEAST_WIDTH_M, LEAST_WIDTH_SPACINGS = 0.001, 0.5


class FlowConfig(Section):
    kind: Literal["walk", "paper", "paper-script"] = "walk"
    """walk: through neighbouring real poses, timed like a hand; paper: Eq. 5-7 of SeqHAND to the letter; paper-script: what its authors' script does"""
    median_step_mm: float = Field(1.2, gt=0, le=15)
    """median over clips of the mean joint step per frame at 30 fps, for a 95 mm palm (real hands: 1.2)"""
    spread: float = Field(0.92, ge=0, le=2)
    """standard deviation of the logarithm of that step (real hands: about 0.92, so mean 1.8 and 95th percentile 5.5 mm)"""
    rest: float = Field(0.2, ge=0, le=1)
    """share of the poses on the way that the hand rests at; the others it passes"""
    rest_s: float = Field(0.3, ge=0, le=60)
    """mean length of a rest, seconds"""
    ease_s: float = Field(0.2, ge=0, le=10)
    """time to reach full speed after a rest, and to slow down before one, seconds"""
    redraws: int = Field(8, ge=0, le=100)
    """a motion whose hand bends or enters itself as none can is drawn anew, at most so often"""
    alpha: float = Field(1.2, gt=0)
    """paper and paper-script: each frame goes alpha / n of the way that is left"""
    steps: int | None = Field(None, ge=1)
    """paper and paper-script: n; none: as many as the clip has frames"""


@dataclass(frozen=True)
class PoseFlow:
    """The motion a hand is asked to follow. `source`: the bank row nearest to each frame of those the walk passed; `paused`: frames at which it rests, or stops
    to turn back."""

    joints_m: Float[Array, "frames 21 3"]  # hand frame, 95 mm palm
    source: Int64[Array, "frames"]
    paused: Bool[Array, "frames"]
    kind: str
    start: int  # bank rows between which the walk went at the middle of the clip
    end: int
    fps: float

    def step_m(self) -> float:
        """Mean joint displacement between consecutive frames, 0 for a single frame."""
        steps = np.linalg.norm(np.diff(self.joints_m, axis=0), axis=-1)
        return float(steps.mean()) if len(steps) else 0.0


def draw_flow(bank: PoseBank, graph: NeighbourGraph, config: FlowConfig, *, frames: int, stride: int, fps: float, rng: np.random.Generator) -> PoseFlow:
    """A clip of a walk: `frames` poses, `stride` source frames apart, at `fps` source frames a second."""
    speed = draw_speed(config, rng)
    times = np.arange(frames) * stride / fps
    extend = partial(extend_walk, bank=bank, graph=graph, rest=config.rest, rest_s=config.rest_s, least_leg_m=LEG_S * speed / SHRINKAGE, rng=rng)
    walk = begin_walk(graph, rng)
    while len(walk.stops) < 2:  # the moment is drawn from the time between two stops
        walk = extend(walk)
    first = _stretches(walk, walk.along_m, speed / SHRINKAGE, config)[0]
    moment = float(rng.uniform(0.0, first.total_s))
    raw_m, widths, reach_m = float(first.position_m(np.array([moment]))[0]), _widths(speed, graph), speed * times[-1] / LEAST_SHRINKAGE
    while True:
        part_m = (max(0.0, raw_m - widths.margin_m), raw_m + reach_m + widths.margin_m)
        while walk.along_m[-1] < part_m[1] + speed * config.ease_s:
            walk = extend(walk)
        curve = smooth_curve(bank, graph, walk.route, walk.along_m, part_m, widths)
        stretches = _stretches(walk, curve.length_at(walk.along_m, SHRINKAGE), speed, config)
        rested_s = moment - first.moving_s
        begun_s = stretches[0].moving_s + rested_s if rested_s > 0 else stretches[0].time_s(float(curve.length_at(np.array([raw_m]), SHRINKAGE)[0]))
        lengths_m, paused = travel(stretches, begun_s, times)
        if lengths_m[-1] <= curve.length_m[-1]:
            return _flow(bank, curve, walk, lengths_m, paused, fps / stride)
        reach_m *= 2


def draw_whole_walk(bank: PoseBank, graph: NeighbourGraph, config: FlowConfig, *, fps: float, rng: np.random.Generator) -> PoseFlow:
    """The motion from one drawn pose to the next, from stop to stop, every frame of it."""
    speed = draw_speed(config, rng)
    walk = extend_walk(begin_walk(graph, rng), bank, graph, rest=0.0, rest_s=0.0, least_leg_m=LEG_S * speed / SHRINKAGE, rng=rng)
    curve = smooth_curve(bank, graph, walk.route, walk.along_m, (0.0, float(walk.along_m[-1])), _widths(speed, graph))
    stretches = _stretches(walk, curve.length_at(walk.along_m, SHRINKAGE), speed, config)
    times = np.arange(int(np.ceil(stretches[0].moving_s * fps)) + 1) / fps
    return _flow(bank, curve, walk, *travel(stretches, 0.0, times), fps)


def draw_speed(config: FlowConfig, rng: np.random.Generator) -> float:
    """A clip's speed, metres of mean joint displacement a second."""
    while abs(deviation := rng.standard_normal()) > MOST_DEVIATIONS:
        pass
    return min(PACE * 1e-3 * FULL_SPEED_FPS * config.median_step_mm * float(np.exp(config.spread * deviation)), MOST_SPEED_M_S)


def _stretches(walk: Walk, along_m: Float[Array, "rows"], speed: float, config: FlowConfig) -> list[Stretch]:
    """The walk from stop to stop, and from the last stop to its end, by the length `along_m` at each row of its route."""
    ends = [*walk.stops, len(walk.route) - 1]
    rests = [*walk.rests_s[1:], 0.0]
    return [Stretch(float(along_m[a]), float(along_m[b]), rest, speed, config.ease_s) for (a, b), rest in zip(pairwise(ends), rests, strict=True)]


def _widths(speed: float, graph: NeighbourGraph) -> Widths:
    """As much smoothing as a frame or two at full speed, and never less than a part of the bank's spacing: slower clips show its corners longer."""
    step_m = min(speed / FULL_SPEED_FPS, MOST_WIDTH_M / FIRST_STEPS)
    floor = max(LEAST_WIDTH_M, LEAST_WIDTH_SPACINGS * graph.spacing_m)
    return Widths(max(FIRST_STEPS * step_m, floor), max(min(AFTER_STEPS + MORE_STEPS_A_M * step_m, MOST_STEPS) * step_m, 0.6 * floor))


def _flow(bank: PoseBank, curve: Curve, walk: Walk, lengths_m: Array, at_rest: Array, fps: float) -> PoseFlow:
    joints = curve.joints_m(lengths_m)
    source = curve.candidates[nearest(joints.reshape(len(joints), -1), bank.joints_m[curve.candidates].reshape(-1, 63).astype(float))]
    middle = np.interp(lengths_m[len(lengths_m) // 2], curve.length_m, curve.raw_m)
    leg = int(np.clip(np.searchsorted(walk.along_m[list(walk.poses)], middle), 1, len(walk.poses) - 1))
    return PoseFlow(joints, source, at_rest, "walk", int(walk.route[walk.poses[leg - 1]]), int(walk.route[walk.poses[leg]]), fps)
