"""The exact search against its slow twin: the same row and the same distance to the last bit, at rows, beside them, between them and far from all."""

from collections.abc import Iterator

import numpy as np
import pytest
from banks import built_in_bank, curling_hands, line_bank, random_curls, straight_hands
from scipy.spatial.distance import cdist
from threadpoolctl import threadpool_limits

from seqgen.poses.search import CANDIDATES, TREE_AXES, nearest_by_brute_force, pose_search

FEW = [1, 2, 3, CANDIDATES - 1, CANDIDATES, CANDIDATES + 1, 40]


def hands(kind):
    """Poses in single precision, as banks have them."""
    rng = np.random.default_rng(3)
    if kind == "built-in":
        return built_in_bank().joints_m
    if kind == "surface":
        return random_curls(800).astype(np.float32)
    if kind == "line":
        return line_bank().joints_m
    if kind == "all the same":
        return np.repeat(random_curls(1), 60, axis=0).astype(np.float32)
    if kind == "each many times":
        return np.repeat(random_curls(25), 3 * CANDIDATES, axis=0)[rng.permutation(75 * CANDIDATES)].astype(np.float32)
    if kind == "near twins":
        return np.concatenate([random_curls(300)] * 3).astype(np.float32) + rng.choice([-1e-6, 0, 1e-6], (900, 21, 3)).astype(np.float32)
    return rng.normal(0, 0.05, (500, 21, 3)).astype(np.float32)  # no hands: all 63 axes alike, so that the tree over 12 of them tells little


KINDS = ["built-in", "surface", "line", "all the same", "each many times", "near twins", "noise"]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """As in a run; and threads that wait for each other make small products slow."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module", params=KINDS)
def poses(request):
    return hands(request.param)


def assert_equals_brute_force(poses, queries):
    rows, distances = pose_search(poses).nearest(queries)
    assert (rows.dtype, distances.dtype, rows.shape, distances.shape) == (np.int64, np.float64, (len(queries),), (len(queries),))
    assert list(zip(rows.tolist(), distances.tolist(), strict=True)) == [nearest_by_brute_force(poses, query) for query in queries]


def some(poses, num=60, seed=1):
    return poses[np.random.default_rng(seed).integers(len(poses), size=num)].astype(float)


def test_brute_force_is_what_it_says(poses):
    """The slow twin against the plainest formula, in another library's words: root mean square over joints of the distances."""
    queries = some(poses, 20) + 0.001
    apart = cdist(queries.reshape(20, -1), poses.reshape(len(poses), -1).astype(float)) / np.sqrt(21)
    for query, row in zip(queries, apart, strict=True):
        found, distance = nearest_by_brute_force(poses, query)
        assert row[found] == pytest.approx(row.min(), abs=1e-15) and distance == pytest.approx(row.min(), abs=1e-15)
        assert distance == pytest.approx(np.sqrt((np.linalg.norm(poses[found] - query, axis=1) ** 2).mean()))


@pytest.mark.parametrize("spread_m", [0.0, 1e-7, 1e-4, 0.003, 0.05])
def test_at_rows_and_beside_them(poses, spread_m):
    queries = some(poses)
    assert_equals_brute_force(poses, queries + np.random.default_rng(2).normal(0, spread_m, queries.shape))


def test_one_by_one_as_together(poses):
    """A product of a single row may round otherwise than one of many: equal rows are found the same, the first."""
    search, queries = pose_search(poses), some(poses, 25)
    together, _ = search.nearest(queries)
    assert [int(search.nearest(query[None])[0][0]) for query in queries] == together.tolist()


@pytest.mark.parametrize("away_m", [0.3, 10.0, 1e4])
def test_far_from_all(poses, away_m):
    """Here all rows are about as near as one another, and an early exit hardly ever is allowed."""
    assert_equals_brute_force(poses, some(poses, 15) + away_m * np.random.default_rng(5).normal(size=(15, 1, 3)))


def test_half_way_between_two(poses):
    """Both are as near but for rounding."""
    assert_equals_brute_force(poses, 0.5 * (some(poses) + some(poses, seed=7)))


def test_of_exactly_equal_distances_the_first_counts():
    """Mirror images about the query in steps that binary fractions hold exactly: all 80 rows are as near."""
    middle = np.round(random_curls(1)[0] * 1024) / 1024
    offsets = np.zeros((80, 63))
    offsets[np.arange(80), np.arange(80) // 2] = np.where(np.arange(80) % 2, 1, -1) / 64
    poses = (middle + offsets.reshape(80, 21, 3)).astype(np.float32)
    for order in (np.arange(80), np.arange(80)[::-1], np.random.default_rng(0).permutation(80)):
        rows, distances = pose_search(poses[order]).nearest(middle[None])
        assert rows.tolist() == [0] and distances[0] == pytest.approx(1 / 64 / np.sqrt(21))


@pytest.mark.parametrize("num_rows", FEW)
def test_tiny_banks(num_rows):
    poses, near, far = random_curls(num_rows).astype(np.float32), random_curls(30, seed=1), 5 + random_curls(10, seed=1)
    assert_equals_brute_force(poses, near)
    assert_equals_brute_force(poses, far)
    assert_equals_brute_force(poses, poses.astype(float))


@pytest.mark.parametrize("num_rows", FEW)
def test_tiny_banks_of_one_pose(num_rows):
    assert_equals_brute_force(np.repeat(random_curls(1), num_rows, axis=0).astype(np.float32), random_curls(5, seed=1))


def test_a_query_that_the_tree_is_blind_to():
    """Rows that differ where the tree does not look: along axes that hold least of the spread. The nearest there is far in the tree's own axes."""
    rng = np.random.default_rng(0)
    scale = np.r_[np.full(TREE_AXES, 1e-3), np.full(63 - TREE_AXES, 0.99e-3)]
    rows = rng.normal(0, 1, (3000, 63)) * scale
    queries = rows[:20] + np.r_[np.full(TREE_AXES, 0.0), np.full(63 - TREE_AXES, 3e-3)]
    assert_equals_brute_force(rows.reshape(-1, 21, 3).astype(np.float32), queries.reshape(-1, 21, 3))


@pytest.mark.parametrize("num_rows", [1, 5, 500])
def test_no_queries(num_rows):
    search = pose_search(random_curls(num_rows))
    assert [array.shape for array in search.nearest(np.empty((0, 21, 3)))] == [(0,), (0,)]
    assert not search.rows_within(0.003, np.empty((0, 21, 3))).any()


def test_double_precision_is_rounded_once():
    """Rows of a search are single: what is found is exact for these, and of those that were one pose but for what is rounded off the first counts."""
    rng = np.random.default_rng(0)
    poses = np.repeat(random_curls(60), 50, axis=0) + rng.normal(0, 1e-10, (3000, 21, 3))
    single = poses.astype(np.float32)
    for queries in (some(poses), some(single), some(single) + rng.normal(0, 1e-9, (60, 21, 3))):
        rows, distances = pose_search(poses).nearest(queries)
        assert list(zip(rows.tolist(), distances.tolist(), strict=True)) == [nearest_by_brute_force(single, query) for query in queries]


def test_queries_in_single_precision_and_a_read_only_bank():
    bank = built_in_bank()
    assert not bank.joints_m.flags.writeable
    rows, distances = pose_search(bank.joints_m).nearest(bank.joints_m[50:80])
    assert rows.tolist() == list(range(50, 80)) and (distances == 0).all()


@pytest.mark.parametrize("radius_m", [0.0, 1e-6, 0.003, 0.02, 1.0])
def test_rows_within_equals_brute_force(poses, radius_m):
    queries = some(poses, 12)
    queries[6:] += np.random.default_rng(0).normal(0, 0.002, (6, 21, 3))
    apart = np.stack([np.linalg.norm((poses - query).reshape(len(poses), -1), axis=1) for query in queries], 1)
    np.testing.assert_array_equal(pose_search(poses).rows_within(radius_m, queries), apart.min(1) <= radius_m * np.sqrt(21))


def test_rows_within_of_a_line():
    """Rows 1/149 of the line apart; a radius of ten and a half steps reaches ten rows either way."""
    bank = line_bank()
    step_m = np.linalg.norm(bank.joints_m[-1] - bank.joints_m[0]) / 149 / np.sqrt(21)
    inside = pose_search(bank.joints_m).rows_within(10.5 * step_m, straight_hands(np.array([50, 100]) / 149))
    assert np.flatnonzero(inside).tolist() == [*range(40, 61), *range(90, 111)]


def test_distance_in_closed_form():
    """One joint moved by 21 mm is 21 / sqrt(21) mm away in root mean square; all moved by 1 mm are 1 mm away."""
    pose = curling_hands(np.zeros(1), np.zeros(1)).astype(np.float32)
    moved = np.repeat(pose.astype(float), 2, axis=0)
    moved[0, 8, 1] += 0.021
    moved[1, :, 2] += 0.001
    np.testing.assert_allclose(pose_search(pose).nearest(moved)[1], [0.021 / np.sqrt(21), 0.001], rtol=1e-9)
