"""The exact nearest pose of a bank, without looking at all of them.

Rows are turned onto their principal axes; a k-d tree over the first few of them gives candidates. A distance in fewer dimensions is never more than the whole
one, so the search ends as soon as the best whole distance found is no more than the partial distance of all that were not looked at.
Distances are RMS over joints: the length of the 63 differences over sqrt(21).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int64
from scipy.spatial import cKDTree

Array = np.ndarray
TREE_AXES = 12
CANDIDATES = 16
SLACK, SLACK_M = 1 + 1e-9, 1e-12  # what rounding may take from a partial distance
AXES_FROM = 20_000  # rows that the principal axes are computed from


@dataclass(frozen=True)
class PoseSearch:
    """Rows ready to be searched; made by `pose_search`."""

    rows: Float32[Array, "rows 63"]
    axes: Float[Array, "63 axes"]
    tree: cKDTree

    def nearest(self, joints_m: Float[Array, "queries 21 3"]) -> tuple[Int64[Array, "queries"], Float[Array, "queries"]]:
        """The nearest row of each pose (of equals the first) and its distance, metres RMS over joints."""
        queries = joints_m.reshape(-1, 63).astype(float)
        partial = queries @ self.axes
        k = min(CANDIDATES, len(self.rows))
        bounds, found = self.tree.query(partial, k=np.arange(1, k + 1))
        nearest, distance = np.empty(len(queries), np.int64), np.empty(len(queries))
        for number, (query, candidates) in enumerate(zip(queries, found, strict=True)):
            nearest[number], distance[number] = self._best(query, candidates)
            if k < len(self.rows) and bounds[number, -1] <= distance[number] * SLACK + SLACK_M:
                within = self.tree.query_ball_point(partial[number], distance[number] * SLACK + SLACK_M)
                nearest[number], distance[number] = self._best(query, np.array(within))
        return nearest, distance / np.sqrt(21)

    def rows_within(self, radius_m: float, joints_m: Float[Array, "queries 21 3"]) -> Bool[Array, "rows"]:
        """Which rows lie within a distance of some of the poses."""
        queries, radius = joints_m.reshape(-1, 63).astype(float), radius_m * np.sqrt(21)
        inside = np.zeros(len(self.rows), bool)
        for query, candidates in zip(queries, self.tree.query_ball_point(queries @ self.axes, radius * SLACK + SLACK_M), strict=True):
            near = np.array(candidates, np.int64)
            inside[near[np.linalg.norm(self.rows[near] - query, axis=1) <= radius]] = True
        return inside

    def _best(self, query: Float[Array, "63"], candidates: Int64[Array, "some"]) -> tuple[int, float]:
        candidates = np.sort(candidates)
        distances = np.sqrt(((self.rows[candidates] - query) ** 2).sum(1))
        best = int(distances.argmin())
        return int(candidates[best]), float(distances[best])


def pose_search(joints_m: Float[Array, "rows 21 3"]) -> PoseSearch:
    """The search over some poses."""
    rows = joints_m.reshape(len(joints_m), -1).astype(np.float32, copy=False)
    sample = rows[:: max(1, len(rows) // AXES_FROM)].astype(float)
    axes = np.linalg.eigh(np.cov(sample.T) if len(sample) > 1 else np.eye(63))[1][:, ::-1][:, :TREE_AXES]
    return PoseSearch(rows, axes, cKDTree(rows.astype(float) @ axes))


def nearest_by_brute_force(joints_m: Float[Array, "rows 21 3"], pose_m: Float[Array, "21 3"]) -> tuple[int, float]:
    """The nearest pose (of equals the first) and its distance, metres RMS over joints, by looking at all."""
    distances = np.sqrt(((joints_m.reshape(len(joints_m), -1) - pose_m.ravel()) ** 2).sum(1))
    nearest = int(distances.argmin())
    return nearest, float(distances[nearest] / np.sqrt(21))
