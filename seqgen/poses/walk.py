"""A way through the bank from drawn pose to drawn pose, with its stops: what a walk is before it is smoothed and timed."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64

from seqgen.poses.bank import PoseBank
from seqgen.poses.curve import lengths
from seqgen.poses.graph import NeighbourGraph

Array = np.ndarray
LEG_DRAWS = 4  # of a next pose, until one is far enough
TURN_ROWS, TURN_M = 8, 0.01  # whether a route turns back is seen from so many rows, and so far, before and after a pose


@dataclass(frozen=True)
class Walk:
    """A way through the bank, as far as it has been drawn. `along_m`: raw length at each row of the route. The drawn poses stand at the places `poses` of
    the route; at those in `stops` the hand comes to a stop, because it rests there, for `rests_s` seconds, or because it turns back."""

    route: Int64[Array, "rows"]
    along_m: Float[Array, "rows"]
    poses: tuple[int, ...]
    stops: tuple[int, ...]
    rests_s: tuple[float, ...]
    member: int  # place in the graph of the last drawn pose

    def extended(self, leg: Int64[Array, "rows"], leg_m: Float[Array, "rows"], *, member: int, stops_here: bool, rest_s: float) -> "Walk":
        """The walk with one more leg; whether the hand stops where it began, and for how long."""
        route, along = np.concatenate([self.route, leg[1:]]), np.concatenate([self.along_m, self.along_m[-1] + leg_m[1:]])
        stops, rests = ((*self.stops, self.poses[-1]), (*self.rests_s, rest_s)) if stops_here else (self.stops, self.rests_s)
        return Walk(route, along, (*self.poses, len(route) - 1), stops, rests, member)


def begin_walk(graph: NeighbourGraph, rng: np.random.Generator) -> Walk:
    """A walk that stands at a drawn pose."""
    member = graph.draw_start(rng)
    return Walk(graph.members[member : member + 1].astype(np.int64), np.zeros(1), (0,), (), (), member)


def extend_walk(walk: Walk, bank: PoseBank, graph: NeighbourGraph, *, rest: float, rest_s: float, least_leg_m: float, rng: np.random.Generator) -> Walk:
    """The walk with one more drawn pose: the first of a few that is `least_leg_m` away, or else the farthest. At the pose before it the hand stops when that
    is the first, with the chance `rest` for a rest of `rest_s` seconds on average, or when it has to turn back; else it passes."""
    member, leg, points, leg_m = _draw_leg(walk, bank, graph, least_leg_m, rng)
    rests, seconds = rng.random() < rest, float(rng.exponential(rest_s))
    before = bank.joints_m[walk.route[-TURN_ROWS:]].reshape(-1, 63).astype(float)
    stops_here = rests or len(walk.route) == 1 or turns_back(before, points[:TURN_ROWS])
    return walk.extended(leg, leg_m, member=member, stops_here=bool(stops_here), rest_s=seconds if rests else 0.0)


def _draw_leg(walk: Walk, bank: PoseBank, graph: NeighbourGraph, least_m: float, rng: np.random.Generator) -> tuple[int, Array, Array, Array]:
    """The next pose's place in the graph, the route to it, that route's poses and the length at each."""
    legs = []
    while len(legs) < LEG_DRAWS and (not legs or legs[-1][3][-1] < least_m):
        member = graph.draw_end(walk.member, rng)
        leg = graph.route(int(walk.route[-1]), int(graph.members[member]))
        points = bank.joints_m[leg].reshape(len(leg), -1).astype(float)
        legs.append((member, leg, points, lengths(points)))
    return max(legs, key=lambda leg: leg[3][-1])


def turns_back(before: Float[Array, "rows_before 63"], after: Float[Array, "rows_after 63"]) -> bool:
    """Whether a route that came by `before` and goes on by `after` (both with the pose in question) turns by more than a right angle there."""
    return bool(_heading(before) @ _heading(after[::-1]) > 0)


def _heading(points: Float[Array, "rows 63"]) -> Float[Array, "63"]:
    """From the last point that is TURN_M from the end, or the first, to the end."""
    away = points - points[-1]
    far = np.flatnonzero(np.einsum("ri,ri->r", away, away) > TURN_M**2 * 21)
    return points[-1] - points[far[-1] if len(far) else 0]
