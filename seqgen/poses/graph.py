"""The neighbour graph of a pose bank, and routes through it that visit real poses only.

Every pose is joined to its k nearest; an edge costs its squared length, so that many small steps beat one leap. Routes come from shortest-path
trees grown once from a few far-apart landmark poses: the way between two poses in a tree (up to their common ancestor and down) is a way in the
graph, found by following pointers. Of the trees the cheapest way is taken. Built once, kept under the bank's hash, memory-mapped.
"""

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int32, Int64

from seqgen.errors import UserError
from seqgen.files import cached_arrays
from seqgen.poses.bank import PoseBank

Array = np.ndarray
NUM_NEIGHBOURS = 12
NUM_LANDMARKS = 12
QUERY_ROWS = 2048  # searched at a time, whatever the threads, so that results do not depend on them
EDGE_FLOOR_M = 1e-6  # keeps an edge's cost above zero, which sparse graphs read as "no edge"
VERSION = 1

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class NeighbourGraph:
    """`neighbours`: each row's nearest rows, nearest first. `parents[l, row]`: the next row on the cheapest way to landmark l (itself at the
    landmark); `costs[l, row]`: the cost of that way. `spacing_m`: mean distance to the nearest neighbour (mean over joints)."""

    neighbours: Int32[Array, "rows k"]
    parents: Int32[Array, "landmarks rows"]
    costs: Float32[Array, "landmarks rows"]
    spacing_m: float

    def route(self, start: int, end: int) -> Int64[Array, "steps"]:
        """Rows of the cheapest way from `start` to `end` through the trees, both included."""
        best, best_cost = None, np.inf
        for parents, costs in zip(self.parents, self.costs, strict=True):
            if costs[start] + costs[end] - 2 * min(costs[start], costs[end]) >= best_cost:
                continue  # even with the nearer pose as common ancestor no gain
            up, down = _meet(parents, costs, start, end)
            cost = costs[start] + costs[end] - 2 * costs[up[-1]]
            if cost < best_cost:
                best, best_cost = up + down[::-1], cost
        return np.array(best)

    def around(self, rows: Int64[Array, "some"]) -> Int64[Array, "more"]:
        """The rows and their neighbours, each once, in rising order."""
        return np.unique(np.concatenate([rows, self.neighbours[rows].ravel()]))


def _meet(parents: Array, costs: Array, start: int, end: int) -> tuple[list[int], list[int]]:
    """The way from `start` up to the common ancestor (included), and from `end` up to it (excluded)."""
    up, down = [int(start)], [int(end)]
    while up[-1] != down[-1]:
        climber = up if costs[up[-1]] > costs[down[-1]] or (costs[up[-1]] == costs[down[-1]] and up[-1] > down[-1]) else down
        climber.append(int(parents[climber[-1]]))
    return up, down[:-1]


def load_graph(bank: PoseBank, cache: Path, *, where: str) -> NeighbourGraph:
    """The graph of a bank, from the cache when it was built before."""
    if len(bank) <= NUM_NEIGHBOURS:
        raise UserError(f"{where}: {len(bank)} distinct poses are fewer than the {NUM_NEIGHBOURS + 1} that a walk needs")
    name = f"graph-v{VERSION}-k{NUM_NEIGHBOURS}-l{NUM_LANDMARKS}-{bank.digest[:32]}"
    arrays = cached_arrays(cache / name, lambda: build_graph(bank.joints_m.reshape(len(bank), -1)))
    return NeighbourGraph(arrays["neighbours"], arrays["parents"], arrays["costs"], float(arrays["spacing_m"]))


def build_graph(rows: Float32[Array, "rows 63"]) -> dict[str, Array]:
    """The arrays of a NeighbourGraph."""
    from scipy.sparse import csr_matrix

    neighbours, squared = nearest_rows(rows, rows, NUM_NEIGHBOURS + 1)
    neighbours, squared = _without_self(neighbours, squared)
    spacing = np.sqrt(squared[:, 0] / 21).mean()
    starts = np.repeat(np.arange(len(rows)), NUM_NEIGHBOURS)
    ends, lengths = neighbours.ravel(), np.sqrt(squared.ravel() / 21)
    starts, ends, lengths = _join_components(rows, starts, ends, lengths)
    graph = csr_matrix(((lengths + EDGE_FLOOR_M) ** 2, (starts, ends)), shape=(len(rows),) * 2)
    parents, costs = _landmark_trees(graph.maximum(graph.T).tocsr())
    return {"neighbours": neighbours.astype(np.int32), "parents": parents, "costs": costs, "spacing_m": np.float64(spacing)}


def nearest_rows(queries: Float32[Array, "queries d"], rows: Float32[Array, "rows d"], k: int) -> tuple[Int64[Array, "queries k"], Float32[Array, "queries k"]]:
    """The k nearest rows of each query and their squared distances, by exact search."""
    import faiss

    index = faiss.IndexFlatL2(rows.shape[1])
    index.add(np.ascontiguousarray(rows))

    def search(start: int) -> tuple[Array, Array]:
        faiss.omp_set_num_threads(1)
        return index.search(np.ascontiguousarray(queries[start : start + QUERY_ROWS]), k)

    with ThreadPoolExecutor() as pool:
        found = list(pool.map(search, range(0, len(queries), QUERY_ROWS)))
    squared, nearest = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return nearest, np.maximum(squared, 0)


def _without_self(nearest: Array, squared: Array) -> tuple[Array, Array]:
    """Neighbours without the row itself (or without the farthest, where rounding put a twin first)."""
    is_self = nearest == np.arange(len(nearest))[:, None]
    is_self[~is_self.any(1), -1] = True
    keep = ~is_self
    return nearest[keep].reshape(len(nearest), -1), squared[keep].reshape(len(nearest), -1)


def _join_components(rows: Array, starts: Array, ends: Array, lengths: Array) -> tuple[Array, Array, Array]:
    """The edges, and for each component that stands apart one more, from its row nearest to the largest component."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components

    graph = csr_matrix((np.ones(len(starts)), (starts, ends)), shape=(len(rows),) * 2)
    count, component = connected_components(graph, directed=False)
    if count == 1:
        return starts, ends, lengths
    main = np.flatnonzero(component == np.bincount(component).argmax())
    apart = np.flatnonzero(component != component[main[0]])
    nearest, squared = nearest_rows(rows[apart], rows[main], 1)
    order = np.lexsort((apart, squared[:, 0], component[apart]))
    first = order[np.unique(component[apart][order], return_index=True)[1]]
    bridges = np.sqrt(squared[first, 0] / 21)
    log.info("joined %d groups of poses to the largest, over %.1f mm at most", len(first), bridges.max() * 1e3)
    return np.r_[starts, apart[first]], np.r_[ends, main[nearest[first, 0]]], np.r_[lengths, bridges]


def _landmark_trees(graph) -> tuple[Int32[Array, "landmarks rows"], Float32[Array, "landmarks rows"]]:
    """Shortest-path trees from landmarks, each the row farthest from those before it; the first is farthest from row 0."""
    from scipy.sparse.csgraph import dijkstra

    nearest_cost = dijkstra(graph, directed=False, indices=0)
    parents, costs = [], []
    for number in range(min(NUM_LANDMARKS, graph.shape[0])):
        landmark = int(nearest_cost.argmax())
        cost, parent = dijkstra(graph, directed=False, indices=landmark, return_predecessors=True)
        parent[landmark] = landmark
        parents.append(parent.astype(np.int32))
        costs.append(cost.astype(np.float32))
        nearest_cost = cost if number == 0 else np.minimum(nearest_cost, cost)
    return np.stack(parents), np.stack(costs)
