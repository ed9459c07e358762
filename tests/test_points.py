"""The point operations against loops over single points in float32, bit for bit, and the order that hangs on the points alone."""

import numpy as np
import pytest
import torch

from seqgen.estimators.points import ball_query, farthest_point_sampling, gather, hashed_order, nearest_neighbours
from seqgen.pipeline.process import one_thread

DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


@pytest.fixture(autouse=True)
def alone():
    """One thread: these are many small sums."""
    with one_thread():
        yield


def random(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def grid(side):
    """Two clouds, side^3 points each, half a unit apart: most distances are those of several pairs, exactly."""
    axis = 0.5 * torch.arange(side, dtype=torch.float32)
    cloud = torch.cartesian_prod(axis, axis, axis)
    return torch.stack([cloud, cloud.flip(0)])


CLOUDS = {
    "random": random(3, 60, 3),
    "ties": grid(3),
    "duplicates": random(2, 12, 3).repeat(1, 4, 1),
    "all the same": torch.full((2, 7, 3), 0.25),
    "one point": random(2, 1, 3),
    "far from zero": 100 + 0.01 * random(2, 40, 3),  # |a|^2 + |b|^2 - 2 ab is off by 1e-3 here, ten times the squared distances
}


@pytest.fixture(params=CLOUDS)
def cloud(request):
    return CLOUDS[request.param]


@pytest.fixture(params=DEVICES)
def device(request):
    return request.param


def squared(a, b):
    """Of two float32 points, rounded after each operation."""
    x, y, z = (a - b) * (a - b)
    return (x + y) + z


def slow_farthest(points, num):
    """One cloud: of the points left, always the one whose nearest neighbour among those taken is farthest."""
    taken = [0]
    while len(taken) < num:
        nearest = [min(squared(point, points[other]) for other in taken) for point in points]
        taken.append(max(range(len(points)), key=lambda index: (nearest[index], -index)))
    return taken


def slow_ball(points, centre, radius, num):
    """One centre: who is in the ball, in order."""
    inside = [index for index, point in enumerate(points) if squared(centre, point) < np.float32(radius * radius)]
    return (inside + (inside[:1] or [0]) * num)[:num]


def slow_nearest(points, query, num):
    """One query: all points by distance, then by index."""
    return sorted(range(len(points)), key=lambda index: (squared(query, points[index]), index))[:num]


@pytest.mark.parametrize("num", [1, 2, 15, 30])
def test_farthest_points_are_those_of_the_loop(cloud, num, device):
    assert farthest_point_sampling(cloud.to(device), num).tolist() == [slow_farthest(points, num) for points in cloud.numpy()]


def test_farthest_points_of_a_line_halve_it():
    line = torch.zeros(1, 9, 3)
    line[0, :, 1] = torch.arange(9)
    assert farthest_point_sampling(line, 9).tolist() == [[0, 8, 4, 2, 6, 1, 3, 5, 7]]


def test_more_points_than_there_are_give_the_first_again():
    assert farthest_point_sampling(grid(2)[:1], 11)[0, 8:].tolist() == [0, 0, 0]
    assert sorted(farthest_point_sampling(grid(2)[:1], 8)[0].tolist()) == list(range(8))


@pytest.mark.parametrize(("radius", "num"), [(0.3, 5), (0.5, 4), (0.8, 100), (0.004, 3)])
def test_balls_are_those_of_the_loop(cloud, radius, num, device):
    centres = torch.cat([cloud[:, :4], 1.5 * cloud[:, -3:]], 1)  # the last are far outside of some clouds, so that balls are empty
    expected = [[slow_ball(points, centre, radius, num) for centre in own] for points, own in zip(cloud.numpy(), centres.numpy(), strict=True)]
    assert ball_query(cloud.to(device), centres.to(device), radius, num).tolist() == expected


def test_balls_are_open_and_filled_with_their_first_point():
    points = torch.tensor([[[9.0, 0, 0], [0.5, 0, 0], [0.25, 0, 0], [0, 0.125, 0]]])
    origin, nowhere = torch.zeros(1, 1, 3), torch.full((1, 1, 3), -7.0)
    assert ball_query(points, origin, 0.5, 4).tolist() == [[[2, 3, 2, 2]]]  # the point at 0.5 is not inside
    assert ball_query(points, origin, 0.5, 1).tolist() == [[[2]]]
    assert ball_query(points, nowhere, 0.5, 3).tolist() == [[[0, 0, 0]]]


@pytest.mark.parametrize("num", [1, 4, 7])
def test_neighbours_are_those_of_the_loop(cloud, num, device):
    num, queries = min(num, cloud.shape[1]), torch.cat([cloud[:, :3], 0.7 * cloud[:, -2:]], 1)
    expected = [[slow_nearest(points, query, num) for query in own] for points, own in zip(cloud.numpy(), queries.numpy(), strict=True)]
    assert nearest_neighbours(cloud.to(device), queries.to(device), num).tolist() == expected


def test_more_neighbours_than_points_are_refused():
    with pytest.raises(ValueError, match=r"^6 neighbours asked for among 5 points$"):
        nearest_neighbours(random(1, 5, 3), random(1, 2, 3), 6)


@pytest.mark.parametrize("shape", [(4,), (4, 5)])
def test_gathering_takes_rows_and_teaches_them(shape):
    values = random(3, 6, 2).requires_grad_()
    indices = torch.randint(0, 6, (3, *shape), generator=torch.Generator().manual_seed(1))
    taken = gather(values, indices)
    for place in np.ndindex(3, *shape):
        assert torch.equal(taken[place], values[place[0], indices[place]])
    (gradient,) = torch.autograd.grad(taken.sum(), values)
    times = [[int((own == index).sum()) for index in range(6)] for own in indices]
    assert gradient[..., 0].tolist() == times and gradient[..., 1].tolist() == times


def test_the_hashed_order_hangs_on_the_points_alone(device):
    clouds = torch.cat([random(2, 50, 3) - 0.5, grid(4)[:, :50]]).to(device)
    ordered = gather(clouds, hashed_order(clouds))
    for seed in range(5):
        shuffled = clouds[:, torch.randperm(50, generator=torch.Generator().manual_seed(seed))]
        assert torch.equal(gather(shuffled, hashed_order(shuffled)), ordered)
    assert hashed_order(clouds).sort(-1).values.tolist() == [list(range(50))] * 4


def test_the_hashed_order_takes_minus_zero_for_zero():
    cloud = grid(3)
    assert torch.equal(hashed_order(torch.where(cloud == 0, -cloud, cloud)), hashed_order(cloud))


def plane(pixels):
    """What a depth camera sees of a slanted plane: a regular grid, depth in whole steps."""
    x, y = torch.meshgrid(torch.linspace(-0.4, 0.4, pixels), torch.linspace(-0.4, 0.4, pixels), indexing="ij")
    return torch.stack([x, y, torch.round((0.3 * x + 0.2 * y) * 275) / 275], -1).reshape(1, -1, 3)


@pytest.mark.parametrize("name", ["plane", "grid", "random"])
def test_the_hashed_order_is_as_good_as_random(name):
    """Places in the order and coordinates are uncorrelated, for all points and for those of every ball: in each of N points by chance within 1 / root N."""
    cloud = {"plane": plane(32), "grid": grid(10)[:1], "random": random(1, 1000, 3)}[name]
    ordered = gather(cloud, hashed_order(cloud))[0]
    assert (correlation_with_place(ordered) * len(ordered) ** 0.5).abs().max() < 4
    extent = ordered.std(0)
    balls = [ordered[((ordered - centre) / extent).square().sum(-1) < 0.8] for centre in ordered[:200]]
    scores = torch.stack([correlation_with_place(ball) * len(ball) ** 0.5 for ball in balls if len(ball) > 20])
    assert len(scores) > 100 and scores.abs().max() < 4.5 and 0.8 < scores.std() < 1.2
    by_coordinate = ordered[ordered[:, 0].argsort()]
    assert correlation_with_place(by_coordinate)[0] > 0.9  # what sorting by a coordinate would do


def correlation_with_place(points):
    place = torch.arange(len(points), dtype=torch.float32)
    place, points = place - place.mean(), points - points.mean(0)
    return (place @ points) / (place.square().sum() * points.square().sum(0)).sqrt()
