"""Walks: legs are routes between drawn poses; the hand stops at the first pose, at drawn rests and where it turns back, and nowhere else."""

from itertools import pairwise

import numpy as np
import pytest
from banks import bank_of, built_in_bank, graph_of, line_bank, random_curls, rows_of, straight_hands, thinned_to_islands

from seqgen.poses.graph import NUM_NEIGHBOURS
from seqgen.poses.walk import LEG_DRAWS, TURN_M, TURN_ROWS, begin_walk, extend_walk, turns_back

BANKS = {"line": line_bank, "surface": lambda: bank_of(random_curls(800)), "built-in": lambda: built_in_bank(1500), "islands": lambda: thinned_to_islands(1500)}


@pytest.fixture(scope="module", params=BANKS)
def bank(request):
    return BANKS[request.param]()


@pytest.fixture(scope="module")
def graph(bank):
    return graph_of(bank)


@pytest.fixture(scope="module")
def line():
    return line_bank(), graph_of(line_bank())


def draw(bank, graph, legs, seed=0, *, rest=0.2, rest_s=0.3, least_leg_m=0.0):
    rng = np.random.default_rng(seed)
    walk = begin_walk(graph, rng)
    for _ in range(legs):
        walk = extend_walk(walk, bank, graph, rest=rest, rest_s=rest_s, least_leg_m=least_leg_m, rng=rng)
    return walk


def mean_displacement_m(some, others):
    return np.linalg.norm((some - others).reshape(-1, 21, 3), axis=-1).mean(1)


def test_a_walk_begins_standing_at_a_pose(graph):
    walk = begin_walk(graph, np.random.default_rng(3))
    assert walk.route.tolist() == [graph.members[walk.member]] and walk.along_m.tolist() == [0.0]
    assert (walk.poses, walk.stops, walk.rests_s) == ((0,), (), ())


@pytest.mark.parametrize("seed", range(3))
def test_legs_are_routes_between_the_drawn_poses(bank, graph, seed):
    walk = draw(bank, graph, 12, seed)
    assert len(walk.poses) == 13 and (walk.poses[0], walk.poses[-1]) == (0, len(walk.route) - 1)
    assert walk.route[-1] == graph.members[walk.member]
    for begin, end in pairwise(walk.poses):
        assert begin < end and walk.route[begin] != walk.route[end]
        np.testing.assert_array_equal(walk.route[begin : end + 1], graph.route(int(walk.route[begin]), int(walk.route[end])))


def test_the_way_is_the_mean_displacement_of_joints(bank, graph):
    walk, rows = draw(bank, graph, 12), rows_of(bank)
    np.testing.assert_allclose(np.diff(walk.along_m), mean_displacement_m(rows[walk.route[1:]], rows[walk.route[:-1]]), atol=1e-12)
    assert walk.along_m[0] == 0 and len(walk.along_m) == len(walk.route) and np.diff(walk.along_m).min() > 0


def test_a_walk_stays_in_its_group(bank, graph):
    for seed in range(6):
        walk = draw(bank, graph, 8, seed)
        start = int(graph.group_start[walk.member])
        assert set(walk.route.tolist()) <= set(graph.members[start : graph.group_end[start]].tolist())


def test_longer_is_the_same_and_more(bank, graph):
    """Extending changes nothing of what was there; and it makes a new walk."""
    rng = np.random.default_rng(1)
    walk = begin_walk(graph, rng)
    for legs in range(1, 5):
        longer = extend_walk(walk, bank, graph, rest=0.5, rest_s=0.3, least_leg_m=0.0, rng=rng)
        assert len(walk.poses) == legs and longer.poses[:legs] == walk.poses and longer.stops[: len(walk.stops)] == walk.stops
        np.testing.assert_array_equal(longer.route[: len(walk.route)], walk.route)
        np.testing.assert_array_equal(longer.along_m[: len(walk.route)], walk.along_m)
        walk = longer


def test_a_walk_is_a_pure_function_of_the_rng(bank, graph):
    first, again, other = draw(bank, graph, 5, 4), draw(bank, graph, 5, 4), draw(bank, graph, 5, 5)
    np.testing.assert_array_equal(first.route, again.route)
    assert (first.stops, first.rests_s) == (again.stops, again.rests_s) and first.route.tolist() != other.route.tolist()


@pytest.mark.parametrize("rest", [0.0, 0.3, 1.0])
def test_stops_are_the_first_pose_the_rests_and_the_turns(bank, graph, rest):
    """At the last pose nothing is decided yet."""
    walk, rows = draw(bank, graph, 40, rest=rest), rows_of(bank)
    rested = dict(zip(walk.stops, walk.rests_s, strict=True))
    turns = [place for place in walk.poses[1:-1] if turns_there(walk, rows, place)]
    rests = [place for place, seconds in rested.items() if seconds > 0]
    assert walk.stops == tuple(sorted({0, *turns, *rests})) and set(walk.stops) <= set(walk.poses[:-1])
    if rest == 0:
        assert rests == []
    if rest == 1:
        assert tuple(rests) == walk.poses[:-1]


def turns_there(walk, rows, place):
    """The slow twin: from TURN_M before the pose to TURN_M after it, a right angle or more."""

    def beside(step):
        limit = place + step * (TURN_ROWS - 1)
        at = next_at = place
        last = max(limit, 0) if step < 0 else min(limit, walk.poses[walk.poses.index(place) + 1])
        while at != last:
            at = next_at = at + step
            if np.linalg.norm(rows[walk.route[at]] - rows[walk.route[place]]) / np.sqrt(21) > TURN_M:
                break
        return rows[walk.route[next_at]]

    here = rows[walk.route[place]]
    return (here - beside(-1)) @ (beside(+1) - here) < 0


def test_on_a_line_it_stops_where_the_next_pose_lies_behind(line):
    """Row numbers are places: the hand stops where they stop rising or falling, and passes poses that lie on its way. (Legs are TURN_ROWS long at least.)"""
    walk = draw(*line, 300, rest=0.0, least_leg_m=0.0025)
    assert np.diff(walk.poses).min() >= TURN_ROWS
    rises = np.diff(walk.route[list(walk.poses)]) > 0
    turns = [place for place, before, after in zip(walk.poses[1:], rises, rises[1:], strict=False) if before != after]
    assert walk.stops == (0, *turns) and set(walk.rests_s) == {0.0}
    assert 0.6 < len(turns) / 299 < 0.73  # of three random places the middle one is the second in a third of the orders


def test_the_second_leg_has_to_turn_back():
    """From one end of a line to the other: wherever the next pose is, it lies behind. The hand stops there without a rest."""
    bank = bank_of(straight_hands(np.linspace(0, 1, 60)))
    graph = graph_of(bank)
    seen = 0
    for seed in range(400):
        walk = draw(bank, graph, 2, seed, rest=0.0)
        if walk.route[walk.poses[1]] in (0, 59):
            assert walk.stops == (0, walk.poses[1]) and walk.rests_s == (0.0, 0.0)
            seen += 1
    assert seen >= 5


def test_rests_are_as_often_and_as_long_as_asked(line):
    """800 poses: a share of 0.3 to four standard deviations, 0.065; a mean of 0.5 s over some 240 rests to four, 0.13."""
    walk = draw(*line, 800, rest=0.3, rest_s=0.5)
    rests = np.array([seconds for seconds in walk.rests_s if seconds > 0])
    assert len(rests) / 800 == pytest.approx(0.3, abs=4 * np.sqrt(0.3 * 0.7 / 800))
    assert rests.mean() == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(len(rests)))
    assert np.median(rests) == pytest.approx(0.5 * np.log(2), abs=0.13)  # exponential


def test_the_share_of_rests_leaves_the_way_alone(line):
    """The same random numbers give the same route, whatever the hand does at its poses."""
    some, none, long = (draw(*line, 30, rest=rest, rest_s=rest_s) for rest, rest_s in ((0.5, 0.3), (0.0, 0.3), (0.5, 3.0)))
    np.testing.assert_array_equal(some.route, none.route)
    assert set(none.stops) <= set(some.stops) and long.stops == some.stops
    np.testing.assert_allclose(long.rests_s, 10 * np.array(some.rests_s))


@pytest.mark.parametrize("least_leg_m", [0.0, 0.02, 1.0])
def test_poses_that_are_too_near_are_drawn_again(line, least_leg_m):
    """The slow twin draws from the same numbers, on a line, where the way is the distance; when no pose is far enough, the farthest is taken."""
    bank, graph = line
    walk, rows = begin_walk(graph, np.random.default_rng(2)), rows_of(bank)
    for seed in range(40):
        twin = np.random.default_rng(seed)
        ends = [graph.draw_end(walk.member, twin) for _ in range(LEG_DRAWS)]
        away = mean_displacement_m(rows[graph.members[ends]], rows[walk.route[-1]])
        expected = next((end for end, way in zip(ends, away, strict=True) if way >= least_leg_m), ends[int(away.argmax())])
        longer = extend_walk(walk, bank, graph, rest=0.5, rest_s=1.0, least_leg_m=least_leg_m, rng=np.random.default_rng(seed))
        assert longer.member == expected


def test_the_least_bank_there_may_be():
    """Walked for long."""
    bank = bank_of(straight_hands(np.linspace(0, 1, NUM_NEIGHBOURS + 1)))
    walk = draw(bank, graph_of(bank), 200)
    assert set(walk.route.tolist()) == set(range(NUM_NEIGHBOURS + 1)) and len(walk.poses) == 201


def plane(*places_m):
    """Points of pose space in a plane, by two coordinates in metres (root mean square over joints)."""
    points = np.zeros((len(places_m), 63))
    points[:, [5, 40]] = np.array(places_m) * np.sqrt(21)
    return points


def turned(degrees, *, radius_m=0.02):
    angle = np.deg2rad(degrees)
    return plane((0, 0), (radius_m * np.cos(angle), radius_m * np.sin(angle)))


@pytest.mark.parametrize(("degrees", "back"), [(0, False), (45, False), (89, False), (91, True), (135, True), (180, True), (-89, False), (-91, True)])
def test_more_than_a_right_angle_is_back(degrees, back):
    assert turns_back(plane((-0.02, 0), (0, 0)), turned(degrees)) is back


def test_exactly_a_right_angle_is_not():
    assert turns_back(plane((-0.02, 0), (0, 0)), plane((0, 0), (0, 0.02))) is False


def test_the_same_way_back_is_back_and_on_is_on():
    way = plane(*((0.003 * step, 0) for step in range(TURN_ROWS)))
    assert turns_back(way, way[::-1]) is True
    assert turns_back(way, way + way[-1]) is False


def test_turns_are_told_from_afar():
    """What counts is the way beyond TURN_M: a wriggle beside the pose is none, nor does a wide curve become one later on."""
    before = plane((-0.03, 0), (-0.02, 0), (-0.01, 0), (0, 0))
    assert turns_back(before, plane((0, 0), (-0.004, 0.004), (0.004, 0.008), (0.02, 0.004), (-0.5, 0))) is False
    assert turns_back(before, plane((0, 0), (0.006, 0.002), (0.002, 0.008), (-0.015, 0.002), (0.5, 0))) is True
    assert turns_back(plane((0.5, 0), (-0.02, 0), (-0.004, 0.001), (0, 0)), plane((0, 0), (0.02, 0))) is False


def test_short_ways_are_judged_as_a_whole():
    """Nothing as far as TURN_M: the farthest rows seen decide, which are those at the other ends."""
    assert turns_back(plane((-0.002, 0), (0, 0)), plane((0, 0), (0.001, 0.001), (-0.003, 0))) is True
    assert turns_back(plane((-0.002, 0), (0, 0)), plane((0, 0), (-0.001, 0.001), (0.003, 0))) is False


def test_from_standing_nothing_turns_back():
    assert turns_back(plane((0, 0)), plane((0, 0), (-0.02, 0))) is False
