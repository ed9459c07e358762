"""Operations on batches of point clouds, in plain torch, alike on CPU and CUDA: which points to take, and taking them.

    points (B,N,3) -> farthest_point_sampling -> indices (B,M) -> gather -> centres (B,M,3)
    points, centres -> ball_query or nearest_neighbours -> indices (B,M,K) -> gather -> groups (B,M,K,C)

Coordinates of any one unit. Which points are taken hangs on comparisons, so squared distances are sums of squared differences, one rounding after the other:
the shorter |a|^2 + |b|^2 - 2 ab cancels, which moves points of a crop by up to 1e-7 across a radius, breaks ties of points that are equally far and makes a
point lie at a distance from itself. And no multiplication is fused with an addition, so that all machines take the same points.

Indices carry no gradient; what is gathered by them does. Knows nothing of networks, nor which order of the points is a good one: `hashed_order` gives one
that hangs on the points alone.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

Points = Float[Tensor, "batch points 3"]

FARTHER_THAN_ALL = 1e10  # squared distance of a point to centres that are not there yet
HASH_FACTORS = (0x1E3779B97F4A7C15, 0x3F58476D1CE4E5B9, 0x14D049BB133111EB)  # odd and without pattern; a coordinate's bits times one of them


@torch.no_grad()
def farthest_point_sampling(points: Points, num: int) -> Int[Tensor, "batch num"]:
    """Indices of points spread over each cloud: point 0, then always the point farthest from those taken, the first of several.

    When all points (with their duplicates) have been taken, index 0 is given again and again.
    """
    coordinates = points.movedim(-1, 0).contiguous()
    taken = points.new_zeros(len(points), num, dtype=torch.long)
    nearest = points.new_full(points.shape[:2], FARTHER_THAN_ALL)  # squared distance of each point to the closest one taken
    apart = torch.empty_like(coordinates)
    for place in range(1, num):  # buffers are written again and again: with new tensors this takes twice as long
        last = coordinates.gather(2, taken[:, place - 1].expand(3, -1)[..., None])
        torch.sub(coordinates, last, out=apart)
        x, y, z = apart.mul_(apart)
        torch.minimum(nearest, x.add_(y).add_(z), out=nearest)
        torch.argmax(nearest, 1, out=taken[:, place])
    return taken


@torch.no_grad()
def ball_query(points: Points, centres: Float[Tensor, "batch centres 3"], radius: float, num: int) -> Int[Tensor, "batch centres num"]:
    """Indices of the first `num` points, in their order, that are closer to a centre than the radius. Where there are fewer, the first of them fills up;
    where there is none, index 0 does (the published semantics of PointNet++'s ball query)."""
    hits = (_squared_distances(centres, points) < radius * radius).cumsum(-1, dtype=torch.int32)
    count = torch.arange(1, num + 1, device=points.device, dtype=torch.int32)
    found = torch.searchsorted(hits, count.expand(*hits.shape[:2], num).contiguous())  # where the running count of hits reaches 1, 2, ..; else N
    missing = found == points.shape[1]
    first = found[..., :1].masked_fill(missing[..., :1], 0)
    return torch.where(missing, first, found)


@torch.no_grad()
def nearest_neighbours(points: Points, queries: Float[Tensor, "batch queries 3"], num: int) -> Int[Tensor, "batch queries num"]:
    """Indices of the `num` points closest to each query, closest first, of equally far ones the first; ValueError if there are not so many."""
    if num > points.shape[1]:
        raise ValueError(f"{num} neighbours asked for among {points.shape[1]} points")
    return _squared_distances(queries, points).sort(dim=-1, stable=True).indices[..., :num]


def _squared_distances(queries: Float[Tensor, "batch queries 3"], points: Points) -> Float[Tensor, "batch queries points"]:
    """By differences, (x^2 + y^2) + z^2, see above; without gradients, so that one buffer does for a sum."""
    from_queries, to_points = (places.movedim(-1, 0).contiguous() for places in (queries, points))
    total = apart = None
    for start, end in zip(from_queries, to_points, strict=True):
        apart = torch.sub(start[..., None], end[:, None], out=apart)
        total = apart.square() if total is None else total.add_(apart.square_())
    return total


def gather(values: Float[Tensor, "batch points channels"], indices: Int[Tensor, "batch ..."]) -> Float[Tensor, "batch ... channels"]:
    """Rows of each cloud's values: (B,N,C) by (B,M) is (B,M,C), by (B,M,K) is (B,M,K,C)."""
    starts = values.shape[1] * torch.arange(len(values), device=values.device)
    rows = (indices.flatten(1) + starts[:, None]).flatten()
    return values.flatten(0, 1).index_select(0, rows).reshape(*indices.shape, values.shape[-1])


@torch.no_grad()
def hashed_order(points: Float[Tensor, "batch points 3"]) -> Int[Tensor, "batch points"]:
    """Indices that put each cloud into an order as good as random, but the same for the same points in any order.

    Points are sorted by a hash of their coordinates' bits (float32). So the first points of any region are spread over all of it, as after a random
    permutation, where sorting by the coordinates themselves would take them all from one side. Equal points stay in the order they came in; that two others
    have one hash happens once in 10^12 clouds of a thousand.
    """
    bits = (points.float() + 0.0).view(torch.int32).long()  # adding zero makes -0 and 0 the same
    mixed = sum(_scrambled(bits[..., axis] * factor) for axis, factor in enumerate(HASH_FACTORS))
    return _scrambled(mixed).sort(dim=-1, stable=True).indices


def _scrambled(bits: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    """Numbers of 64 bits (products wrap around), mixed so that nearby ones come to lie far apart: high bits into low ones, a product back up, twice."""
    for factor in HASH_FACTORS[1:]:
        bits = (bits ^ (bits >> 30)) * factor
    return bits ^ (bits >> 31)
