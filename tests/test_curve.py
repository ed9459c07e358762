"""Smoothed routes: straight stays straight, ends stay where they are, real poses pull, and what is far along the route has no say."""

from collections.abc import Iterator

import numpy as np
import pytest
from banks import bank_of, built_in_bank, graph_of, line_bank, random_curls, rows_of, straight_hands, with_near_twins
from scipy.spatial.distance import cdist
from threadpoolctl import threadpool_limits

import seqgen.poses.curve as curve_module
from seqgen.poses.curve import BLOCK, PULL_BACK, ROUNDS, SAMPLES_A_WIDTH, Widths, lengths, smooth_curve
from seqgen.poses.curve import nearest as nearest_of
from seqgen.poses.walk import begin_walk, extend_walk

NARROW, WIDE = Widths(0.0025, 0.0015), Widths(0.008, 0.0076)
BANKS = {"line": line_bank, "surface": lambda: bank_of(random_curls(800)), "built-in": built_in_bank}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """As in a run; and threads that wait for each other make small products slow."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module", params=BANKS)
def bank(request):
    return BANKS[request.param]()


@pytest.fixture(scope="module")
def graph(bank):
    return graph_of(bank)


@pytest.fixture(params=[NARROW, WIDE], ids=["narrow", "wide"])
def widths(request):
    return request.param


def draw_route(bank, graph, legs, seed=0):
    """Rows of a walk and the length along them."""
    rng = np.random.default_rng(seed)
    walk = begin_walk(graph, rng)
    for _ in range(legs):
        walk = extend_walk(walk, bank, graph, rest=0.0, rest_s=0.0, least_leg_m=0.0, rng=rng)
    return walk.route, walk.along_m


def whole(bank, graph, route, along_m, widths):
    return smooth_curve(bank, graph, route, along_m, (0.0, float(along_m[-1])), widths)


def whole_line(widths, bank=None, graph=None):
    bank = bank or line_bank()
    route = np.arange(len(bank))
    return whole(bank, graph or graph_of(bank), route, lengths(rows_of(bank)), widths)


def apart_m(some, others):
    """Mean joint distance, pose by pose."""
    return np.linalg.norm((some - others).reshape(-1, 21, 3), axis=-1).mean(1)


def from_bank_m(bank, points):
    """To the nearest of all poses, root mean square over joints."""
    return cdist(points.reshape(-1, 63), rows_of(bank)).min(1) / np.sqrt(21)


def test_lengths_are_the_mean_displacement_of_joints():
    points = np.zeros((4, 63))
    points[1:, 3] += 0.021  # one joint of 21 by 21 mm
    points[2:, :] += np.tile([0.0, 0.002, 0.0], 21)  # all by 2 mm
    np.testing.assert_allclose(lengths(points), [0.0, 0.001, 0.003, 0.003 + 1e-9], rtol=1e-9)
    assert lengths(points[:1]).tolist() == [0.0]


def test_lengths_always_rise():
    assert (np.diff(lengths(np.zeros((1000, 63)))) > 0).all()


def test_a_straight_line_stays_a_straight_line(widths):
    """To a micrometre: bank rows are rounded to that in every coordinate."""
    bank = line_bank()
    rows, curve = rows_of(bank), whole_line(widths)
    direction = (rows[-1] - rows[0]) / np.linalg.norm(rows[-1] - rows[0])
    off = curve.points - rows[0]
    along = off @ direction
    assert np.abs(off - along[:, None] * direction).max() < 2e-6
    assert (np.diff(along) > 0).all()


def test_a_line_is_gone_along_evenly(widths):
    """Smoothing and pulling leave an evenly sampled line where it is but for the poses' own places: half a step of the bank at most."""
    curve, bank = whole_line(widths), line_bank()
    step_m = lengths(rows_of(bank))[-1] / (len(bank) - 1)
    assert curve.length_m[-1] == pytest.approx(curve.raw_m[-1], rel=1e-4)
    assert np.abs(curve.length_m - curve.raw_m).max() < step_m / 2


@pytest.mark.parametrize("seed", range(4))
def test_true_ends_stay_where_they_are(bank, graph, widths, seed):
    route, along = draw_route(bank, graph, 2, seed)
    curve = whole(bank, graph, route, along, widths)
    ends = curve.joints_m(np.array([0.0, curve.length_m[-1]])).reshape(2, 63)
    np.testing.assert_allclose(ends, rows_of(bank)[route[[0, -1]]], atol=1e-12)
    assert (curve.raw_m[0], curve.length_m[0]) == (0.0, 0.0) and curve.raw_m[-1] == along[-1]


@pytest.mark.parametrize("num_rows", [2, 3, 5])
def test_routes_shorter_than_the_smoothing_keep_their_ends(bank, graph, num_rows):
    rows = rows_of(bank)
    nearby = np.concatenate([[20], graph.neighbours[20][: num_rows - 1]]).astype(np.int64)
    curve = whole(bank, graph, nearby, lengths(rows[nearby]), WIDE)
    np.testing.assert_allclose(curve.points[[0, -1]], rows[nearby[[0, -1]]], atol=1e-12)
    assert np.isfinite(curve.points).all() and np.isfinite(curve.tangents).all()


def test_near_twins_do_not_move_the_ends():
    """Poses twenty micrometres beside them: in single precision either may seem nearer."""
    bank = with_near_twins(built_in_bank(), every=5, apart_m=2e-5)
    graph, rows = graph_of(bank), rows_of(bank)
    for row in range(0, 400, 5):
        route = graph.route(row, row + 100)
        curve = whole(bank, graph, route, lengths(rows[route]), NARROW)
        np.testing.assert_allclose(curve.points[[0, -1]], rows[[row, row + 100]], atol=1e-12)


def test_the_grid_is_fine_against_the_smoothing(bank, graph, widths):
    route, along = draw_route(bank, graph, 3)
    curve = whole(bank, graph, route, along, widths)
    steps = np.diff(curve.raw_m)
    np.testing.assert_allclose(steps, steps[0], rtol=1e-6)
    assert steps[0] <= widths.after_m / SAMPLES_A_WIDTH * (1 + 1e-9) or len(steps) == 7


def test_lengths_and_tangents_are_those_of_the_points(bank, graph, widths):
    curve = whole(bank, graph, *draw_route(bank, graph, 3), widths)
    np.testing.assert_allclose(np.diff(curve.length_m), apart_m(curve.points[1:], curve.points[:-1]), atol=1e-9)
    np.testing.assert_array_equal(curve.length_m, lengths(curve.points))
    assert curve.length_m[-1] <= curve.raw_m[-1] * 1.001  # smoothing takes from the way
    speed = np.linalg.norm(curve.tangents.reshape(-1, 21, 3), axis=-1).mean(1)
    assert np.median(speed) == pytest.approx(1, abs=0.02) and speed.max() < 1.5  # metres of mean displacement a metre


def test_poses_at_grid_points_are_the_grid_points(bank, graph, widths):
    curve = whole(bank, graph, *draw_route(bank, graph, 2), widths)
    np.testing.assert_allclose(curve.joints_m(curve.length_m).reshape(-1, 63), curve.points, atol=1e-12)


def test_poses_between_grid_points_are_cubic_hermite(bank, graph):
    """C1: from either side of a grid point the slope is its tangent; half way it is the mean and an eighth of the tangents' difference."""
    curve = whole(bank, graph, *draw_route(bank, graph, 2), NARROW)
    step = np.diff(curve.length_m)[:, None]
    h = 1e-5 * np.minimum(step[:-1], step[1:])[:, 0]
    at = [curve.joints_m(curve.length_m[1:-1] + shift).reshape(-1, 63) for shift in (-h, 0 * h, h)]
    np.testing.assert_allclose((at[1] - at[0]) / h[:, None], curve.tangents[1:-1], atol=1e-3)
    np.testing.assert_allclose((at[2] - at[1]) / h[:, None], curve.tangents[1:-1], atol=1e-3)
    middle = 0.5 * (curve.points[1:] + curve.points[:-1]) + step / 8 * (curve.tangents[:-1] - curve.tangents[1:])
    np.testing.assert_allclose(curve.joints_m(curve.length_m[:-1] + step[:, 0] / 2).reshape(-1, 63), middle, atol=1e-12)


def test_a_curve_ends_at_its_ends(bank, graph):
    curve = whole(bank, graph, *draw_route(bank, graph, 1), NARROW)
    beyond = curve.joints_m(np.array([-1.0, 0.0, curve.length_m[-1], curve.length_m[-1] + 1.0]))
    np.testing.assert_array_equal(beyond[[0, 3]], beyond[[1, 2]])
    assert curve.joints_m(np.empty(0)).shape == (0, 21, 3)


def test_length_at_raw_places(bank, graph):
    """Known at grid points, linear between them, and shrunk as told beyond the part."""
    route, along = draw_route(bank, graph, 6)
    part = (0.3 * along[-1], 0.6 * along[-1])
    curve = smooth_curve(bank, graph, route, along, part, NARROW)
    np.testing.assert_allclose(curve.length_at(curve.raw_m, 0.85), curve.length_m, atol=1e-15)
    halves = 0.5 * (curve.raw_m[1:] + curve.raw_m[:-1])
    np.testing.assert_allclose(curve.length_at(halves, 0.85), 0.5 * (curve.length_m[1:] + curve.length_m[:-1]), atol=1e-12)
    np.testing.assert_allclose(curve.length_at(np.array([part[0] - 0.02, part[1] + 0.01]), 0.85), [-0.017, curve.length_m[-1] + 0.0085], atol=1e-12)
    assert (np.diff(curve.length_at(np.linspace(-1, 2 * along[-1], 500), 0.85)) > 0).all()


def smoothed(curve, sigma):
    """The slow twin of the Gaussian: weights written out, the curve turned about its ends point by point."""
    sigma = min(sigma, (len(curve) - 1) / 4)
    reach, num = int(4 * sigma + 0.5), len(curve)
    result = np.zeros_like(curve)
    for offset in range(-reach, reach + 1):
        at = np.arange(num) + offset
        inside = curve[np.abs((at + num - 1) % (2 * num - 2) - num + 1)]
        inside = np.where((at < 0)[:, None], 2 * curve[0] - inside, np.where((at >= num)[:, None], 2 * curve[-1] - curve[np.clip(2 * (num - 1) - at, 0, num - 1)], inside))
        result += np.exp(-0.5 * (offset / sigma) ** 2) * inside
    return result / np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2).sum()


def slow_curve(bank, route, along, grid, widths, candidates):
    rows, step = rows_of(bank), grid[1] - grid[0]
    points = np.stack([np.interp(grid, along, rows[route, coordinate]) for coordinate in range(63)], 1)
    points = smoothed(points, widths.first_m / step)
    for _ in range(ROUNDS):
        pulled = points + PULL_BACK * (rows[candidates][cdist(points, rows[candidates]).argmin(1)] - points)
        pulled[[0, -1]] = points[[0, -1]]
        points = smoothed(pulled, widths.after_m / step)
    return points


def test_it_equals_the_slow_twin(bank, graph, widths):
    """In double precision, with the nearest of all candidates. To the last digits where poses are apart as in the built-in bank; where they lie dense against the
    smoothing, two are often as near but for rounding, and a block may not see one: then the curve moves by a small part of the spacing."""
    apart = []
    for seed in range(6):
        route, along = draw_route(bank, graph, 3, seed)
        curve = whole(bank, graph, route, along, widths)
        apart.append(apart_m(curve.points, slow_curve(bank, route, along, curve.raw_m, widths, curve.candidates)))
    apart = np.concatenate(apart)
    assert np.median(apart) < 1e-7 and apart.mean() < 0.05 * graph.spacing_m and apart.max() < 0.5 * graph.spacing_m
    assert len(bank) < 2000 or np.mean(apart < 1e-7) > 0.99


def test_blocks_hardly_matter(bank, graph, monkeypatch):
    """They hold the poses beside the route and their neighbours, so that the nearest is among them wherever they are cut."""
    route, along = draw_route(bank, graph, 4)
    curve = whole(bank, graph, route, along, NARROW)
    monkeypatch.setattr(curve_module, "BLOCK", 37)
    cut = whole(bank, graph, route, along, NARROW)
    assert len(curve.points) > 2 * BLOCK or len(curve.points) > 2 * 37
    assert np.mean(apart_m(curve.points, cut.points) < 1e-6) > 0.85


def test_candidates_are_the_route_and_its_neighbours(bank, graph):
    route, along = draw_route(bank, graph, 2)
    curve = whole(bank, graph, route, along, NARROW)
    np.testing.assert_array_equal(curve.candidates, graph.around(route))


def test_real_poses_pull(widths, monkeypatch):
    """Smoothing alone leaves the bank at bends; pulled back the curve is a third nearer to it, and as near as the issue asks of clips, on average."""
    bank, away = built_in_bank(), {}
    graph = graph_of(bank)
    for pull in (PULL_BACK, 0.0):
        monkeypatch.setattr(curve_module, "PULL_BACK", pull)
        points = np.concatenate([whole(bank, graph, *draw_route(bank, graph, 4, seed), widths).points for seed in range(4)])
        away[pull] = from_bank_m(bank, points).mean() / graph.spacing_m
    assert away[PULL_BACK] < 0.7 * away[0.0] and away[PULL_BACK] < 0.7


def test_a_pose_beside_the_way_pulls_it():
    """A line with a gap of five steps, and in its middle a pose two of whose joints lie 4 mm beside: the curve bends towards it there, and nowhere else."""
    hands = straight_hands(np.concatenate([np.delete(np.linspace(0, 1, 60), [28, 29, 30, 31]), [0.5]]))
    hands[-1, [4, 8], 0] += 0.004
    bank = bank_of(hands)
    route = np.arange(len(bank) - 1)
    curve = whole(bank, graph_of(bank), route, lengths(rows_of(bank)[route]), NARROW)
    along = curve.raw_m / curve.raw_m[-1] - 0.5
    off = curve.points[:, [12, 24]]
    beside = off - off[0] - (along[:, None] + 0.5) * (off[-1] - off[0])
    assert (np.abs(along[beside.argmax(0)]) < 0.02).all() and (beside.max(0) > 0.0005).all() and (beside.max(0) < 0.004).all()
    assert np.abs(beside[np.abs(along) > 0.3]).max() < 5e-5


def parts_on_one_grid(along, widths, more_samples):
    """Two parts whose grid points are the same places: one in the middle of the route, one with more of it before and after."""
    spacing = widths.after_m / SAMPLES_A_WIDTH
    num = int((2 * widths.margin_m + 0.05) / spacing)
    first = along[-1] / 2 - num * spacing / 2
    begin, end = first - more_samples * spacing, first + (num + more_samples) * spacing
    assert begin >= 0 and end <= along[-1]
    return (first, first + num * spacing - 1e-12), (begin, end - 1e-12)


def test_a_longer_part_is_the_same_inside_its_margins(widths):
    """What lies beyond the margin, three standard deviations of all smoothings together, weighs 0.13 %. An end that is turned about itself lies, there, some
    three centimetres from where the route goes: 0.04 mm, and as much again where a nearest pose changes by it."""
    bank = built_in_bank()
    graph, apart = graph_of(bank), []
    for seed in range(8):
        route, along = draw_route(bank, graph, 25, seed)
        part, longer = parts_on_one_grid(along, widths, 60)
        short, long = (smooth_curve(bank, graph, route, along, span, widths) for span in (part, longer))
        np.testing.assert_allclose(long.raw_m[60 : 60 + len(short.raw_m)], short.raw_m, atol=1e-9)
        inside = (short.raw_m >= part[0] + widths.margin_m) & (short.raw_m <= part[1] - widths.margin_m)
        apart.append(apart_m(short.points, long.points[60 : 60 + len(short.points)])[inside])
    apart = np.concatenate(apart)
    assert len(apart) > 8 * 0.04 / (widths.after_m / SAMPLES_A_WIDTH)
    assert apart.max() < 2e-4 and np.quantile(apart, 0.95) < 2e-5


def test_where_the_grid_begins_hardly_matters():
    """Other samples on the same route: at bends of the bank's own cells a pose is the nearest a little sooner or later. A tenth of the spacing on average."""
    bank = built_in_bank()
    graph, apart = graph_of(bank), []
    for seed in range(6):
        route, along = draw_route(bank, graph, 12, seed)
        part, longer = parts_on_one_grid(along, NARROW, 100)
        short, long = (smooth_curve(bank, graph, route, along, span, NARROW) for span in (part, (longer[0], longer[1] + 0.1 * NARROW.after_m)))
        raw = np.linspace(part[0] + NARROW.margin_m, part[1] - NARROW.margin_m, 200)
        apart.append(apart_m(*(curve.joints_m(curve.length_at(raw, 1.0)) for curve in (short, long))))
    assert np.mean(apart) < 0.1 * graph.spacing_m


def test_the_margin_in_closed_form():
    assert Widths(0.004, 0.003).margin_m == pytest.approx(3 * np.sqrt(0.004**2 + 3 * 0.003**2))


def test_a_curve_is_a_pure_function(bank, graph):
    route, along = draw_route(bank, graph, 3)
    before = route.copy(), along.copy()
    first, again = whole(bank, graph, route, along, NARROW), whole(bank, graph, route, along, NARROW)
    np.testing.assert_array_equal(first.points, again.points)
    np.testing.assert_array_equal(route, before[0])
    np.testing.assert_array_equal(along, before[1])


def test_the_nearest_of_a_few_rows():
    rows, queries = np.random.default_rng(0).normal(size=(2, 50, 63))
    np.testing.assert_array_equal(nearest_of(queries, rows), cdist(queries, rows).argmin(1))
