"""The neighbour graph: neighbours by brute force, routes against Dijkstra, and the same bits whatever the threads."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from banks import bank_of, built_in_bank, curling_hands, graph_of, random_curls
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components, dijkstra
from scipy.spatial.distance import cdist

import seqgen.poses.graph as graph_module
from seqgen.errors import UserError
from seqgen.poses.graph import EDGE_FLOOR_M, NUM_NEIGHBOURS, build_graph, load_graph, nearest_rows


def distances_m(bank):
    """Root mean square over joints, every row to every row."""
    rows = bank.joints_m.reshape(len(bank), -1).astype(float)
    return cdist(rows, rows) / np.sqrt(21)


@pytest.fixture(scope="module", params=["surface", "built-in", "two islands"])
def bank(request):
    """A surface of two parameters; the built-in bank; two surfaces far apart."""
    if request.param == "built-in":
        return built_in_bank(1500)
    if request.param == "surface":
        return bank_of(random_curls(1000))
    return bank_of(np.concatenate([random_curls(300, low=0.0, high=0.3), random_curls(500, low=1.0, high=1.4)]))


@pytest.fixture(scope="module")
def graph(bank):
    return graph_of(bank)


def test_neighbours_are_the_nearest_by_brute_force(bank, graph):
    """Equal in distance, row by row and place by place: of two equally far either may come first."""
    distance = distances_m(bank)
    np.fill_diagonal(distance, np.inf)
    found = np.take_along_axis(distance, graph.neighbours, 1)
    np.testing.assert_allclose(found, np.sort(distance, 1)[:, :NUM_NEIGHBOURS], atol=5e-5)
    assert all(len(set(row)) == NUM_NEIGHBOURS for row in graph.neighbours.tolist())
    assert graph.spacing_m == pytest.approx(distance.min(1).mean(), abs=1e-5)


def cost_of(distance):
    return (distance + EDGE_FLOOR_M) ** 2


def edges_of(bank, graph):
    """The graph anew, neighbours both ways, without what joins islands; and the island of each row."""
    starts, ends = np.repeat(np.arange(len(bank)), NUM_NEIGHBOURS), graph.neighbours.ravel()
    edges = coo_matrix((cost_of(distances_m(bank)[starts, ends]), (starts, ends)), shape=(len(bank),) * 2).tocsr()
    edges = edges.maximum(edges.T).tocsr()
    return edges, connected_components(edges, directed=False)[1]


def some_pairs(bank, num=150):
    return np.random.default_rng(0).integers(len(bank), size=(num, 2)).tolist()


def test_routes_go_from_neighbour_to_neighbour_and_arrive(bank, graph):
    edges, island = edges_of(bank, graph)
    for start, end in some_pairs(bank):
        route = graph.route(start, end)
        assert (route[0], route[-1]) == (start, end)
        assert len(set(route.tolist())) == len(route)
        bridges = [(a, b) for a, b in pairwise(route) if edges[a, b] == 0]
        assert all(island[a] != island[b] for a, b in bridges)
        assert len(bridges) <= 2 * (island[start] != island[end])  # islands are joined to the largest one


def test_bridges_are_the_shortest_between_islands():
    """Two islands: one bridge, over the nearest pair of rows."""
    bank = bank_of(np.concatenate([random_curls(100, low=0.0, high=0.2), random_curls(60, low=1.2, high=1.4)]))
    edges, island = edges_of(bank, graph_of(bank))
    assert island.max() == 1
    route = graph_of(bank).route(int(np.argmin(island)), int(np.argmax(island)))
    [bridge] = [(a, b) for a, b in pairwise(route) if edges[a, b] == 0]
    distance = distances_m(bank)
    assert distance[bridge] == pytest.approx(distance[np.ix_(island == 0, island == 1)].min(), abs=1e-6)


def test_routes_cost_little_more_than_dijkstras(bank, graph):
    """The trees' way is never cheaper than the optimum, and on average at most a fifth dearer."""
    (edges, island), distance = edges_of(bank, graph), distances_m(bank)
    pairs = [(start, end) for start, end in some_pairs(bank) if island[start] == island[end] and start != end]
    starts = sorted({start for start, _ in pairs})
    optimum = dict(zip(starts, dijkstra(edges, directed=False, indices=starts), strict=True))
    ratios = []
    for start, end in pairs:
        route = graph.route(start, end)
        ratios.append(cost_of(distance[route[:-1], route[1:]]).sum() / optimum[start][end])
    assert min(ratios) > 0.99
    assert np.mean(ratios) < 1.2 and np.quantile(ratios, 0.9) < 1.5


def test_from_a_landmark_the_route_is_dijkstras(bank, graph):
    edges, _ = edges_of(bank, graph)
    landmark = int(np.argmin(graph.costs[0]))
    assert graph.parents[0, landmark] == landmark and graph.costs[0, landmark] == 0
    optimum = dijkstra(edges, directed=False, indices=landmark)
    reached = np.isfinite(optimum)
    np.testing.assert_allclose(graph.costs[0, reached], optimum[reached], rtol=0.02)
    assert np.isfinite(graph.costs).all() and (graph.parents >= 0).all()


def test_a_route_to_itself_is_one_row(graph):
    assert graph.route(7, 7).tolist() == [7]


def test_around_is_rows_and_neighbours_each_once(graph):
    rows = np.array([5, 2, 5])
    expected = sorted({5, 2, *graph.neighbours[5].tolist(), *graph.neighbours[2].tolist()})
    assert graph.around(rows).tolist() == expected


def test_twins_are_no_neighbours_of_themselves():
    """Rows nearer to each other than search can tell: a row may not find itself first."""
    rows = np.repeat(random_curls(10).reshape(10, -1), 15, 0).astype(np.float32)
    neighbours = build_graph(rows)["neighbours"]
    assert neighbours.shape == (150, NUM_NEIGHBOURS)
    assert (neighbours != np.arange(150)[:, None]).all()


@pytest.mark.parametrize("threads", [1, 3])
def test_the_graph_has_the_same_bits_whatever_the_threads(monkeypatch, threads):
    import faiss

    rows = built_in_bank(5000).joints_m.reshape(-1, 63)
    expected = build_graph(rows)
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(threads)
    monkeypatch.setattr(graph_module, "ThreadPoolExecutor", partial(ThreadPoolExecutor, max_workers=threads))
    try:
        for name, array in build_graph(rows).items():
            np.testing.assert_array_equal(array, expected[name])
    finally:
        faiss.omp_set_num_threads(before)


def test_nearest_rows_of_other_queries():
    rows, queries = (built_in_bank(n).joints_m.reshape(-1, 63) for n in (1500, 2000))
    nearest, squared = nearest_rows(queries[:300], rows, 3)
    distance = cdist(queries[:300].astype(float), rows.astype(float))
    np.testing.assert_allclose(np.take_along_axis(distance, nearest, 1), np.sort(distance, 1)[:, :3], atol=3e-4)
    np.testing.assert_allclose(np.sqrt(squared), np.sort(distance, 1)[:, :3], atol=1e-3)


def test_a_graph_is_built_once_and_kept_under_the_banks_digest(tmp_path, monkeypatch):
    bank = bank_of(random_curls(60))
    first = load_graph(bank, tmp_path, where="test")
    [kept] = tmp_path.iterdir()
    assert bank.digest[:32] in kept.name
    monkeypatch.setattr(graph_module, "build_graph", None)
    again = load_graph(bank, tmp_path, where="test")
    for name in ("neighbours", "parents", "costs", "spacing_m"):
        np.testing.assert_array_equal(getattr(again, name), getattr(first, name))
    with pytest.raises(TypeError):
        load_graph(bank_of(random_curls(60, seed=1)), tmp_path, where="test")


@pytest.mark.parametrize("num_rows", [2, NUM_NEIGHBOURS])
def test_too_few_rows_are_refused(tmp_path, num_rows):
    bank = bank_of(curling_hands(np.linspace(0, 1, num_rows), np.zeros(num_rows)))
    with pytest.raises(UserError, match=f"my bank: {num_rows} distinct poses are fewer than the {NUM_NEIGHBOURS + 1} that a walk needs"):
        load_graph(bank, tmp_path, where="my bank")


def test_the_least_number_of_rows_will_do(tmp_path):
    bank = bank_of(curling_hands(np.linspace(0, 1, NUM_NEIGHBOURS + 1), np.zeros(NUM_NEIGHBOURS + 1)))
    graph = load_graph(bank, tmp_path, where="test")
    assert graph.route(0, NUM_NEIGHBOURS).tolist()[-1] == NUM_NEIGHBOURS
