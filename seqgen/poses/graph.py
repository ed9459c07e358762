"""The neighbour graph of a pose bank, and routes through it that visit real poses only.

Every pose is joined to its k nearest, as far as MAX_EDGE; an edge costs its squared length, so that many small steps beat one leap. Groups of
poses that no edge joins are bridged where the gap is no longer than an edge may be; what remains is walked group by group, and poses in groups too
small to walk in are left out, with a count. Routes come from shortest-path trees grown once from a few far-apart landmark poses in each group (a
forest a level): the way between two poses in a tree, up to their common ancestor and down, is a way in the graph, found by following pointers. Of
the most promising trees the cheapest way is taken. Built once, kept under the bank's hash, memory-mapped.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int32, Int64

from seqgen.errors import UserError
from seqgen.files import cached_arrays, kept_arrays
from seqgen.poses.bank import PoseBank
from seqgen.poses.neighbours import nearest_rows

Array = np.ndarray
NUM_NEIGHBOURS = 12
NUM_FORESTS = 12
TREES_TRIED = 3  # of a route's trees, those with the least cost by way of their landmark
MAX_EDGE = 3.6  # in mean distances to the nearest neighbour: half way along such an edge a pose is 1.8 times that distance from the bank
LEAST_EXTENT_M = 0.012  # a group whose poses are all nearer than this to its first (RMS over joints) is a hand at rest, not a way to walk
EDGE_FLOOR_M = 1e-6  # keeps an edge's cost above zero, which sparse graphs read as "no edge"
VERSION = 9

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class NeighbourGraph:
    """`neighbours`: each row's nearest rows, nearest first. `parents[l, row]`: the next row on the cheapest way to the landmark of the row's group in
    forest l (itself at the landmark); `costs[l, row]`: the cost of that way. `members`: the rows that can be walked, group by group; the group of
    `members[i]` stands at `members[group_start[i] : group_end[i]]`. `spacing_m`: mean distance to the nearest neighbour (RMS over joints)."""

    neighbours: Int32[Array, "rows k"]
    parents: Int32[Array, "forests rows"]
    costs: Float32[Array, "forests rows"]
    members: Int32[Array, "members"]
    group_start: Int32[Array, "members"]
    group_end: Int32[Array, "members"]
    spacing: Float32[Array, ""]

    @property
    def spacing_m(self) -> float:
        return float(self.spacing)

    def draw_start(self, rng: np.random.Generator) -> int:
        """The place in `members` of a row drawn from all that can be walked."""
        return int(rng.integers(len(self.members)))

    def draw_end(self, place: int, rng: np.random.Generator) -> int:
        """The place of another row that can be walked to from `members[place]`."""
        first, last = int(self.group_start[place]), int(self.group_end[place])
        end = int(rng.integers(first, last - 1))
        return end + (end >= place)

    def route(self, start: int, end: int) -> Int64[Array, "steps"]:
        """Rows of the cheapest way found from row `start` to row `end` of one group, both included."""
        start, end = int(start), int(end)
        by_landmark = self.costs[:, start].astype(float) + self.costs[:, end]
        best, best_cost = None, np.inf
        for forest in np.argsort(by_landmark, kind="stable")[:TREES_TRIED]:
            up, down = _meet(self.parents[forest], self.costs[forest], start, end)
            cost = by_landmark[forest] - 2 * float(self.costs[forest, up[-1]])
            if cost < best_cost:
                best, best_cost = up + down[::-1], cost
        return np.array(best)

    def around(self, rows: Int64[Array, "some"]) -> Int64[Array, "more"]:
        """The rows and their neighbours, each once, in rising order."""
        return np.unique(np.concatenate([rows, self.neighbours[rows].ravel()]))


NAMES = tuple(field.name for field in fields(NeighbourGraph))


def _meet(parents: Array, costs: Array, start: int, end: int) -> tuple[list[int], list[int]]:
    """The way from `start` up to the common ancestor (included), and from `end` up to it (excluded). A parent is never dearer than its child."""
    parent, cost = memoryview(parents), memoryview(costs)  # a number at a time: several times faster than the arrays
    up, down = [start], [end]
    while start != end:
        if cost[start] > cost[end] or (cost[start] == cost[end] and start > end):
            start = parent[start]
            up.append(start)
        else:
            end = parent[end]
            down.append(end)
    down.pop()
    while down and len(up) > 1 and up[-2] == down[-1]:  # between near twins costs tie, and either may have gone past the other
        up.pop(), down.pop()
    return up, down


def load_graph(bank: PoseBank, cache: Path, *, where: str, say: Callable[[str], None] = log.info) -> NeighbourGraph:
    """The graph of a bank, from the cache when it was built before."""
    if len(bank) <= NUM_NEIGHBOURS:
        raise UserError(f"{where}: {len(bank)} distinct poses are fewer than the {NUM_NEIGHBOURS + 1} that a walk needs")
    folder = cache / f"graph-v{VERSION}-k{NUM_NEIGHBOURS}-f{NUM_FORESTS}-{bank.digest[:32]}"
    arrays = cached_arrays(folder, NAMES, lambda: build_graph(bank.joints_m.reshape(len(bank), -1), where=where, say=say))
    if len(arrays["neighbours"]) != len(bank):
        raise UserError(f"{folder}: not the graph of {where}; remove the folder, it will be built again")
    return NeighbourGraph(**arrays)


def open_graph(folder: Path) -> NeighbourGraph:
    """The graph kept in `folder`. A UserError where it has gone."""
    arrays = kept_arrays(folder, NAMES)
    if arrays is None:
        raise UserError(f"{folder}: the graph kept there has been removed or damaged while it was in use; the same command makes it again")
    return NeighbourGraph(**arrays)


def build_graph(rows: Float32[Array, "rows 63"], *, where: str = "the bank", say: Callable[[str], None] = log.info) -> dict[str, Array]:
    """The arrays of a NeighbourGraph."""
    neighbours, squared = _without_self(*nearest_rows(rows, rows, NUM_NEIGHBOURS + 1, say=say))
    spacing = float(np.sqrt(squared[:, 0] / 21).mean())
    graph = _bridged(rows, _edges(neighbours, squared, longest=MAX_EDGE * spacing), longest=MAX_EDGE * spacing)
    members, group_start, group_end = _groups(rows, graph, where, say)
    parents, costs = _forests(graph, members, group_start, group_end)
    groups = {"members": members, "group_start": group_start, "group_end": group_end}
    return {"neighbours": neighbours.astype(np.int32), "parents": parents, "costs": costs, "spacing": np.array(spacing, np.float32), **groups}


def _without_self(nearest: Array, squared: Array) -> tuple[Array, Array]:
    """Neighbours without the row itself (or without the farthest, where rounding or approximate search put another first)."""
    is_self = nearest == np.arange(len(nearest))[:, None]
    is_self[~is_self.any(1), -1] = True
    keep = ~is_self
    return nearest[keep].reshape(len(nearest), -1), squared[keep].reshape(len(nearest), -1)


def _edges(neighbours: Array, squared: Array, *, longest: float):
    """The symmetric sparse matrix of edge costs, metres squared."""
    short = np.sqrt(squared / 21) <= longest
    starts = np.repeat(np.arange(len(neighbours), dtype=np.int32), short.sum(1))
    return _symmetric(starts, neighbours[short].astype(np.int32), squared[short], len(neighbours))


def _symmetric(starts: Array, ends: Array, squared: Array, size: int):
    from scipy.sparse import csr_matrix

    costs = ((np.sqrt(squared / 21) + EDGE_FLOOR_M) ** 2).astype(np.float32)
    graph = csr_matrix((costs, (starts, ends)), shape=(size, size))
    return graph.maximum(graph.T).tocsr()


def _bridged(rows: Array, graph, *, longest: float):
    """The graph with one more edge from each group to the nearest row of the largest, where that is no farther than an edge may be; until none is left."""
    from scipy.sparse.csgraph import connected_components

    while True:
        _, group = connected_components(graph, directed=False)
        largest = np.bincount(group).argmax()
        main, apart = np.flatnonzero(group == largest), np.flatnonzero(group != largest)
        if len(apart) == 0:
            return graph
        nearest, squared = nearest_rows(rows[apart], rows[main], 1)
        order = np.lexsort((apart, squared[:, 0], group[apart]))
        first = order[np.unique(group[apart][order], return_index=True)[1]]
        first = first[np.sqrt(squared[first, 0] / 21) <= longest]
        if len(first) == 0:
            return graph
        graph = graph.maximum(_symmetric(apart[first], main[nearest[first, 0]], squared[first, 0], len(rows))).tocsr()


def _groups(rows: Array, graph, where: str, say: Callable[[str], None]) -> tuple[Array, Array, Array]:
    """Rows that can be walked, group by group, with each group's range. Groups too small to walk in are left out, with a count."""
    from scipy.sparse.csgraph import connected_components

    _, group = connected_components(graph, directed=False)
    first = np.unique(group, return_index=True)[1]
    extent = np.zeros(len(first))
    np.maximum.at(extent, group, np.linalg.norm(rows - rows[first[group]], axis=1) / np.sqrt(21))
    roomy = (np.bincount(group) > NUM_NEIGHBOURS) & (extent >= LEAST_EXTENT_M)
    walkable = roomy[group]
    if not walkable.any():
        raise UserError(f"{where}: no {NUM_NEIGHBOURS + 1} poses lie near enough to each other to walk from one to the next")
    if not walkable.all():
        say(f"{where}: {(~walkable).sum():,} poses stand alone and are left out of walks; the others form {roomy.sum()} group(s)")
    members = np.flatnonzero(walkable)[np.argsort(group[walkable], kind="stable")].astype(np.int32)
    of_member = group[members]
    start = np.searchsorted(of_member, of_member, side="left")
    return members, start.astype(np.int32), np.searchsorted(of_member, of_member, side="right").astype(np.int32)


def _forests(graph, members: Array, group_start: Array, group_end: Array) -> tuple[Int32[Array, "forests rows"], Float32[Array, "forests rows"]]:
    """Shortest-path forests: in each group the landmark is the row farthest from those of the forests before; in the first, from the group's first row."""
    from scipy.sparse.csgraph import dijkstra

    firsts = np.unique(group_start)
    nearest_cost = dijkstra(graph, indices=members[firsts], min_only=True)
    parents, costs = [], []
    for number in range(NUM_FORESTS):
        landmarks = [members[start + nearest_cost[members[start : group_end[start]]].argmax()] for start in firsts]
        cost, parent, _ = dijkstra(graph, indices=landmarks, min_only=True, return_predecessors=True)
        parent[landmarks] = landmarks
        parents.append(parent.astype(np.int32))
        costs.append(cost.astype(np.float32))
        nearest_cost = cost if number == 0 else np.minimum(nearest_cost, cost)
    return np.stack(parents), np.stack(costs)
