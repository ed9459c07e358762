"""The neighbour graph: neighbours by brute force, edges and groups by a slow twin, routes against Dijkstra, and the same bits whatever the threads."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from itertools import pairwise

import numpy as np
import pytest
from banks import bank_of, built_in_bank, curling_hands, graph_of, line_bank, random_curls, straight_hands, thinned_to_islands, with_near_twins
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components, dijkstra
from scipy.spatial.distance import cdist

import seqgen.poses.graph as graph_module
import seqgen.poses.neighbours as neighbours_module
from seqgen.errors import UserError
from seqgen.poses.graph import EDGE_FLOOR_M, LEAST_EXTENT_M, MAX_EDGE, NUM_FORESTS, NUM_NEIGHBOURS, TREES_TRIED, NeighbourGraph, build_graph, load_graph

LEAST = NUM_NEIGHBOURS + 1
SINGLE_M = 5e-5  # what single precision leaves of a distance between neighbours
BANKS = {
    "surface": lambda: bank_of(random_curls(700)),  # of two parameters
    "built-in": lambda: built_in_bank(1500),
    "two surfaces": lambda: bank_of(np.concatenate([random_curls(200, low=0.0, high=0.3), random_curls(300, low=1.0, high=1.4)])),
    "islands": lambda: thinned_to_islands(1500),
    "line": line_bank,
    "near twins": lambda: with_near_twins(built_in_bank(1000), every=4),  # nearer than a float of a whole way's cost can tell
}


@pytest.fixture(scope="module", params=BANKS)
def bank(request):
    return BANKS[request.param]()


@pytest.fixture(scope="module")
def graph(bank):
    return graph_of(bank)


@pytest.fixture(scope="module")
def distance(bank):
    """Root mean square over joints, every row to every row, metres."""
    rows = bank.joints_m.reshape(len(bank), -1).astype(float)
    return cdist(rows, rows) / np.sqrt(21)


@pytest.fixture(scope="module")
def edges(graph, distance):
    """The slow twin: costs of all edges, symmetric; neighbours both ways, none longer than allowed, and bridges from each group to the largest."""
    longest = MAX_EDGE * graph.spacing_m
    starts, ends = np.repeat(np.arange(len(distance)), NUM_NEIGHBOURS), graph.neighbours.ravel()
    short = distance[starts, ends] <= longest
    pairs = set(zip(starts[short].tolist(), ends[short].tolist(), strict=True))
    while True:
        found = matrix_of(pairs, distance)
        num, group = connected_components(found, directed=False)
        largest = np.bincount(group).argmax()
        bridges = [nearest_pair(distance, group == other, group == largest) for other in range(num) if other != largest]
        bridges = [pair for pair in bridges if distance[pair] <= longest]
        if not bridges:
            return found
        pairs.update(bridges)


def matrix_of(pairs, distance):
    starts, ends = np.array(sorted({*pairs, *((end, start) for start, end in pairs)})).T
    return coo_matrix((cost_of(distance[starts, ends]), (starts, ends)), shape=distance.shape).tocsr()


def nearest_pair(distance, some, others):
    rows, columns = np.flatnonzero(some), np.flatnonzero(others)
    place = np.unravel_index(distance[np.ix_(rows, columns)].argmin(), (len(rows), len(columns)))
    return int(rows[place[0]]), int(columns[place[1]])


def cost_of(distance):
    return (distance + EDGE_FLOOR_M) ** 2


def some_pairs(graph, num=120, seed=0):
    """Pairs of rows that can be walked between, as flows draw them."""
    rng = np.random.default_rng(seed)
    places = [graph.draw_start(rng) for _ in range(num)]
    return [(int(graph.members[place]), int(graph.members[graph.draw_end(place, rng)])) for place in places]


def groups_of(graph):
    """Each group's rows, by its first member's place."""
    return {int(start): graph.members[start:end] for start, end in sorted(set(zip(graph.group_start.tolist(), graph.group_end.tolist(), strict=True)))}


def test_neighbours_are_the_nearest_by_brute_force(distance, graph):
    """Equal in distance, row by row and place by place: of two equally far either may come first."""
    others = distance + np.diag(np.full(len(distance), np.inf))
    found = np.take_along_axis(others, graph.neighbours, 1)
    np.testing.assert_allclose(found, np.sort(others, 1)[:, :NUM_NEIGHBOURS], atol=SINGLE_M)
    assert all(len(set(row)) == NUM_NEIGHBOURS for row in graph.neighbours.tolist())
    assert graph.spacing_m == pytest.approx(others.min(1).mean(), abs=1e-5)


def test_arrays_are_as_annotated(bank, graph):
    arrays = {field.name: np.asarray(getattr(graph, field.name)) for field in fields(NeighbourGraph)}
    assert {name: array.dtype for name, array in arrays.items()} == {name: np.float32 if name in ("costs", "spacing") else np.int32 for name in arrays}
    assert arrays["neighbours"].shape == (len(bank), NUM_NEIGHBOURS) and arrays["parents"].shape == arrays["costs"].shape == (NUM_FORESTS, len(bank))


def test_groups_are_the_components_with_room_to_walk(bank, distance, graph, edges):
    """By the slow twin; all others are left out."""
    num, component = connected_components(edges, directed=False)
    rows = [np.flatnonzero(component == number) for number in range(num)]
    roomy = {tuple(group.tolist()) for group in rows if len(group) >= LEAST and distance[group[0], group].max() >= LEAST_EXTENT_M}
    assert {tuple(np.sort(group).tolist()) for group in groups_of(graph).values()} == roomy


def test_members_stand_group_by_group(bank, graph):
    """Ranges tile the members, each the same for all of its members; every member once."""
    assert len(set(graph.members.tolist())) == len(graph.members) <= len(bank)
    places = np.arange(len(graph.members))
    assert ((graph.group_start <= places) & (places < graph.group_end)).all()
    borders = sorted(groups_of(graph))
    assert borders[0] == 0 and [int(graph.group_end[start]) for start in borders] == [*borders[1:], len(graph.members)]
    for name in ("group_start", "group_end"):
        np.testing.assert_array_equal(getattr(graph, name), getattr(graph, name)[graph.group_start])


def test_an_end_is_another_row_of_the_same_group(graph):
    rng = np.random.default_rng(1)
    for _ in range(2000):
        place = graph.draw_start(rng)
        end = graph.draw_end(place, rng)
        assert end != place and graph.group_start[place] <= end < graph.group_end[place]


def test_routes_go_from_neighbour_to_neighbour_and_arrive(graph, edges):
    for start, end in some_pairs(graph):
        route = graph.route(start, end)
        assert (route[0], route[-1], route.dtype) == (start, end, np.int64)
        assert len(set(route.tolist())) == len(route)
        assert all(edges[a, b] > 0 for a, b in pairwise(route))


def test_no_step_of_a_route_is_longer_than_an_edge_may_be(graph, distance):
    steps = np.concatenate([distance[route[:-1], route[1:]] for route in (graph.route(*pair) for pair in some_pairs(graph))])
    assert steps.max() <= MAX_EDGE * graph.spacing_m + SINGLE_M


@pytest.mark.parametrize(("trees", "mean", "most"), [(TREES_TRIED, 1.45, 2.1), (NUM_FORESTS, 1.25, 1.6)])
def test_routes_cost_little_more_than_dijkstras(graph, distance, edges, monkeypatch, trees, mean, most):
    """A tree's way is never cheaper than the optimum; the bounds hold what the few trees tried cost in routes, and what all of them would."""
    monkeypatch.setattr(graph_module, "TREES_TRIED", trees)
    ratios = []
    for start, end in some_pairs(graph):
        route = graph.route(start, end)
        ratios.append(cost_of(distance[route[:-1], route[1:]]).sum() / dijkstra(edges, directed=False, indices=start)[end])
    assert min(ratios) > 1 - 1e-9
    assert np.mean(ratios) < mean and np.quantile(ratios, 0.9) < most


def test_forests_are_dijkstras_from_a_landmark_in_each_group(graph, edges):
    """Costs of every row are those of the slow twin's shortest ways; each is its parent's and the edge to it."""
    for parents, costs in zip(graph.parents, graph.costs, strict=True):
        for group in groups_of(graph).values():
            [landmark] = group[parents[group] == group]
            optimum = dijkstra(edges, directed=False, indices=landmark)[group]
            np.testing.assert_allclose(costs[group], optimum, rtol=0.01, atol=1e-9)
            others = group[group != landmark]
            steps = np.asarray(edges[others, parents[others]]).ravel()
            assert (steps > 0).all() and (costs[parents[others]] <= costs[others]).all()
            np.testing.assert_allclose(costs[others], costs[parents[others]] + steps, rtol=0.01, atol=1e-9)


def test_landmarks_are_far_apart(graph):
    """Each is the row of its group that is farthest from those of the forests before it."""
    for group in groups_of(graph).values():
        landmarks = [int(group[parents[group] == group][0]) for parents in graph.parents]
        for number in range(1, NUM_FORESTS):
            nearest = graph.costs[:number, group].min(0)
            assert graph.costs[:number, landmarks[number]].min() >= nearest.max() * (1 - 1e-6)


def way_up(parents, row):
    way = [row]
    while parents[way[-1]] != way[-1]:
        way.append(int(parents[way[-1]]))
    return way


def test_a_route_is_the_cheapest_way_in_the_most_promising_trees(graph, distance):
    """The slow twin: both ways to the landmark, cut where they first meet."""
    for start, end in some_pairs(graph, 40, seed=2):
        by_landmark = graph.costs[:, start].astype(float) + graph.costs[:, end]
        ways = []
        for forest in np.argsort(by_landmark, kind="stable")[:TREES_TRIED]:
            up, down = way_up(graph.parents[forest], start), way_up(graph.parents[forest], end)
            meeting = next(row for row in up if row in set(down))
            ways.append(up[: up.index(meeting) + 1] + down[: down.index(meeting)][::-1])
        costs = [cost_of(distance[way[:-1], way[1:]]).sum() for way in ways]
        route = graph.route(start, end)
        assert route.tolist() in ways and cost_of(distance[route[:-1], route[1:]]).sum() <= min(costs) * 1.01


def test_to_and_from_a_landmark_the_route_is_dijkstras(graph, distance, edges):
    for group in groups_of(graph).values():
        landmark = int(group[graph.parents[0, group] == group][0])
        optimum = dijkstra(edges, directed=False, indices=landmark)
        for row in group[:: max(1, len(group) // 20)].tolist():
            for route in (graph.route(landmark, row), graph.route(row, landmark)):
                assert cost_of(distance[route[:-1], route[1:]]).sum() == pytest.approx(optimum[row], rel=0.01, abs=1e-9)


def test_the_way_back_is_the_same_way(graph):
    for start, end in some_pairs(graph, 40):
        assert graph.route(start, end).tolist() == graph.route(end, start).tolist()[::-1]


def test_a_route_to_itself_is_one_row(graph):
    row = int(graph.members[7])
    assert graph.route(row, row).tolist() == [row]


def test_routes_are_a_function_of_the_bank(bank, graph):
    again = graph_of(bank)
    for start, end in some_pairs(graph, 40):
        np.testing.assert_array_equal(again.route(start, end), graph.route(start, end))


def test_around_is_rows_and_neighbours_each_once(graph):
    rows = np.array([5, 2, 5])
    expected = sorted({5, 2, *graph.neighbours[5].tolist(), *graph.neighbours[2].tolist()})
    assert graph.around(rows).tolist() == expected


def test_ends_are_drawn_evenly():
    """13 rows: every pair as likely, 24,000 draws, 154 expected of each; the rarest and the commonest of 156 lie within four standard deviations."""
    graph, rng, counts = graph_of(line_bank(LEAST)), np.random.default_rng(0), np.zeros((LEAST, LEAST))
    for _ in range(24_000):
        place = graph.draw_start(rng)
        counts[place, graph.draw_end(place, rng)] += 1
    pairs, expected = counts[~np.eye(LEAST, dtype=bool)], 24_000 / (LEAST * (LEAST - 1))
    assert np.trace(counts) == 0 and abs(pairs - expected).max() < 4 * np.sqrt(expected)


def test_on_a_line_the_route_is_the_line():
    """Squared lengths make many small steps cheaper than a few long ones: every row between is visited, in order."""
    bank = line_bank()
    graph = graph_of(bank)
    for start, end in some_pairs(graph, 60):
        assert graph.route(start, end).tolist() == list(range(start, end + 1) if start < end else range(start, end - 1, -1))


# Clusters whose distances are known: rows as far from one another as each other, as the corners of a simplex are.


def simplex(num_rows, side_m, *, at_m=0.0, axis=62):
    """Rows `side_m` from one another (root mean square over joints), moved as a whole along an axis of their own."""
    rows = np.zeros((num_rows, 63))
    rows[np.arange(num_rows), np.arange(num_rows)] = side_m * np.sqrt(21 / 2)
    rows[:, axis] = at_m * np.sqrt(21)
    return rows


def built(*clusters):
    said = []
    arrays = build_graph(np.concatenate(clusters).astype(np.float32), where="mine", say=said.append)
    return NeighbourGraph(**arrays), said


def sizes(graph):
    return sorted(len(group) for group in groups_of(graph).values())


SIDE_M = 0.015  # all mean spacings below


@pytest.mark.parametrize(("gap", "num_groups"), [(0.99, 1), (1.01, 2)])
def test_groups_are_bridged_when_as_near_as_an_edge_may_be_long(gap, num_groups):
    graph, said = built(simplex(20, SIDE_M), simplex(15, SIDE_M, at_m=gap * MAX_EDGE * SIDE_M))
    assert graph.spacing_m == pytest.approx(SIDE_M, rel=1e-5)
    assert sizes(graph) == ([35] if num_groups == 1 else [15, 20]) and said == []


def test_a_bridge_is_the_nearest_pair():
    """Corners that stand opposite each other are nearest; one of them is moved nearer still, and the way between the groups goes over it."""
    near = simplex(15, SIDE_M, at_m=0.9 * MAX_EDGE * SIDE_M)
    near[4, 62] -= 0.2 * SIDE_M * np.sqrt(21)
    graph, _ = built(simplex(20, SIDE_M), near)
    assert sizes(graph) == [35]
    for start, end in [(0, 34), (19, 20), (7, 28)]:
        route = graph.route(start, end).tolist()
        assert (4, 24) in pairwise(route)


def test_a_chain_of_groups_is_bridged_one_after_another():
    """The last is too far from the largest, but not from what that has grown to."""
    step = 0.9 * MAX_EDGE * SIDE_M
    graph, _ = built(simplex(14, SIDE_M, at_m=2 * step), simplex(20, SIDE_M), simplex(13, SIDE_M, at_m=step))
    assert sizes(graph) == [47]
    route = graph.route(0, 14)
    assert len(route) > 2 and any(34 <= row for row in route)


def test_neighbours_farther_than_an_edge_may_be_are_no_way():
    """13 poses and twelve: each of the twelve has a neighbour among the thirteen, which is no edge."""
    graph, said = built(simplex(LEAST, SIDE_M), simplex(LEAST - 1, SIDE_M, at_m=2 * MAX_EDGE * SIDE_M))
    assert (graph.neighbours[LEAST:] < LEAST).any(1).all()
    assert sizes(graph) == [LEAST] and sorted(graph.members.tolist()) == list(range(LEAST))
    assert said == ["mine: 12 poses stand alone and are left out of walks; the others form 1 group(s)"]


def test_what_is_left_out_is_counted_once_over_all_groups():
    apart = 2 * MAX_EDGE * SIDE_M
    clusters = [simplex(num, SIDE_M, at_m=place * apart) for place, num in enumerate([3, 30, 1, 20, 12])]
    graph, said = built(*clusters)
    assert sizes(graph) == [20, 30]
    [line] = said
    assert line.startswith("mine: 16 poses ") and line.endswith(" 2 group(s)")


@pytest.mark.parametrize(("side", "walked"), [(1.01, True), (0.99, False)])
def test_a_hand_at_rest_is_no_group(side, walked):
    """Many rows, none of them as far as LEAST_EXTENT_M from the first."""
    graph, said = built(simplex(40, LEAST_EXTENT_M * 1.5), simplex(20, LEAST_EXTENT_M * side, at_m=1.0))
    assert sizes(graph) == ([20, 40] if walked else [40]) and len(said) == (not walked)


def test_rows_left_out_are_in_no_tree():
    graph, _ = built(simplex(20, SIDE_M), simplex(5, SIDE_M, at_m=1.0))
    assert np.isinf(graph.costs[:, 20:]).all() and np.isfinite(graph.costs[:, :20]).all()
    rng = np.random.default_rng(0)
    assert {int(graph.members[graph.draw_start(rng)]) for _ in range(500)} == set(range(20))


NOWHERE = "mine: no 13 poses lie near enough to each other to walk from one to the next"


@pytest.mark.parametrize(
    "clusters",
    [
        [simplex(5, SIDE_M, at_m=place) for place in range(10)],
        [simplex(40, 0.9 * LEAST_EXTENT_M)],
        [np.repeat(simplex(1, SIDE_M), 30, axis=0)],
    ],
    ids=["small groups far apart", "a hand at rest", "one pose repeated"],
)
def test_nothing_to_walk_on_is_one_line(clusters):
    with pytest.raises(UserError) as error:
        built(*clusters)
    assert str(error.value) == NOWHERE


def test_twins_are_no_neighbours_of_themselves():
    """Rows nearer to each other than search can tell: a row may not find itself first."""
    rows = np.repeat(random_curls(10).reshape(10, -1), 15, 0).astype(np.float32)
    neighbours, _ = graph_module._without_self(*graph_module.nearest_rows(rows, rows, LEAST))
    assert neighbours.shape == (150, NUM_NEIGHBOURS)
    assert (neighbours != np.arange(150)[:, None]).all()


@pytest.mark.parametrize("threads", [1, 3])
def test_the_graph_has_the_same_bits_whatever_the_threads(monkeypatch, threads):
    import faiss

    rows = built_in_bank(5000).joints_m.reshape(-1, 63)
    expected = build_graph(rows)
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(threads)
    monkeypatch.setattr(neighbours_module, "ThreadPoolExecutor", lambda _: ThreadPoolExecutor(threads))
    try:
        for name, array in build_graph(rows).items():
            np.testing.assert_array_equal(array, expected[name])
    finally:
        faiss.omp_set_num_threads(before)


def test_a_graph_of_inverted_lists_can_be_walked(monkeypatch):
    """The way of large banks on a small one: a few neighbours are missed, none is invented."""
    bank = built_in_bank(1500)
    monkeypatch.setattr(neighbours_module, "EXACT_ROWS", 500)
    graph, rows = graph_of(bank), bank.joints_m.reshape(len(bank), -1).astype(float)
    expected = np.argsort(cdist(rows, rows), axis=1, kind="stable")[:, 1:LEAST]
    assert np.mean([len(set(a) & set(b)) for a, b in zip(graph.neighbours.tolist(), expected.tolist(), strict=True)]) > 0.95 * NUM_NEIGHBOURS
    for start, end in some_pairs(graph, 40):
        route = graph.route(start, end)
        assert (route[0], route[-1]) == (start, end) and len(set(route.tolist())) == len(route)


def test_a_graph_is_built_once_and_kept_under_the_banks_digest(tmp_path, monkeypatch):
    bank = bank_of(random_curls(60))
    first = load_graph(bank, tmp_path, where="test")
    [kept] = tmp_path.iterdir()
    assert bank.digest[:32] in kept.name
    monkeypatch.setattr(graph_module, "build_graph", None)
    again = load_graph(bank, tmp_path, where="test")
    for field in fields(NeighbourGraph):
        np.testing.assert_array_equal(getattr(again, field.name), getattr(first, field.name))
    assert again.route(*map(int, again.members[[0, -1]])).tolist() == first.route(*map(int, first.members[[0, -1]])).tolist()
    with pytest.raises(TypeError):
        load_graph(bank_of(random_curls(60, seed=1)), tmp_path, where="test")


def test_a_build_that_ends_half_way_leaves_nothing(tmp_path, monkeypatch):
    bank, save, saved = bank_of(random_curls(60)), np.save, []

    def save_three(*arguments, **options):
        if len(saved) == 3:
            raise KeyboardInterrupt
        saved.append(save(*arguments, **options))

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", save_three)
        with pytest.raises(KeyboardInterrupt):
            load_graph(bank, tmp_path, where="test")
    assert list(tmp_path.iterdir()) == []
    assert len(load_graph(bank, tmp_path, where="test").members) == 60


def test_a_graph_of_another_bank_is_refused_in_one_line(tmp_path):
    """Told by its rows. (Were they as many, nothing would tell: the folder's name holds the bank's hash.)"""
    bank, other = bank_of(random_curls(60)), bank_of(random_curls(59))
    for each in (bank, other):
        load_graph(each, tmp_path, where="my bank")
    [folder] = tmp_path.glob(f"*{bank.digest[:32]}")
    [of_other] = tmp_path.glob(f"*{other.digest[:32]}")
    shutil.rmtree(folder)
    of_other.rename(folder)
    with pytest.raises(UserError) as error:
        load_graph(bank, tmp_path, where="my bank")
    assert str(error.value) == f"{folder}: not the graph of my bank; remove the folder, it will be built again"


@pytest.mark.parametrize("name", [field.name for field in fields(NeighbourGraph)])
@pytest.mark.parametrize("injury", ["missing", "cut"])
def test_a_damaged_graph_is_built_again(tmp_path, name, injury):
    bank = bank_of(random_curls(60))
    load_graph(bank, tmp_path, where="test")
    [folder] = tmp_path.iterdir()
    file = folder / f"{name}.npy"
    file.unlink() if injury == "missing" else file.write_bytes(file.read_bytes()[:-2])
    again, expected = load_graph(bank, tmp_path, where="test"), graph_of(bank)
    for field in fields(NeighbourGraph):
        np.testing.assert_array_equal(getattr(again, field.name), getattr(expected, field.name))
    assert file.is_file()


@pytest.mark.parametrize("num_rows", [2, NUM_NEIGHBOURS])
def test_too_few_rows_are_refused(tmp_path, num_rows):
    bank = bank_of(curling_hands(np.linspace(0, 1, num_rows), np.zeros(num_rows)))
    with pytest.raises(UserError) as error:
        load_graph(bank, tmp_path, where="my bank")
    assert str(error.value) == f"my bank: {num_rows} distinct poses are fewer than the {LEAST} that a walk needs"
    assert list(tmp_path.iterdir()) == []


def test_a_single_pose_repeated_is_refused(tmp_path):
    bank = bank_of(np.repeat(random_curls(1), 500, axis=0))
    with pytest.raises(UserError, match=r"^my bank: 1 distinct poses are fewer than the 13 that a walk needs$"):
        load_graph(bank, tmp_path, where="my bank")


def test_a_hand_that_never_moves_is_refused(tmp_path):
    """Half a millimetre of a tracker's noise about one pose: many distinct poses, nowhere to go."""
    rng = np.random.default_rng(0)
    bank = bank_of(random_curls(1) + np.where(np.arange(21)[None, :, None] % 4 == 0, rng.normal(0, 5e-4, (300, 21, 3)), 0))
    assert len(bank) > 200
    with pytest.raises(UserError, match=r"^my bank: no 13 poses lie near enough"):
        load_graph(bank, tmp_path, where="my bank")
    assert list(tmp_path.iterdir()) == []


def test_the_least_number_of_rows_will_do(tmp_path):
    graph = load_graph(bank_of(straight_hands(np.linspace(0, 1, LEAST))), tmp_path, where="test")
    assert graph.route(0, NUM_NEIGHBOURS).tolist() == list(range(LEAST))
