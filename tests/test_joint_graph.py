"""Joint graphs: the skeletons' spectra, votes and what is given back against loops over pixels, and what a permutation of the joints must not change."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from seqgen.estimators.cost import num_parameters
from seqgen.estimators.jgr_p2o.joint_graph import JointGraphReasoning, ParameterisedGraph, SimilarityGraph, SkeletonGraph, give_back, normalised_adjacency, spatial_softmax, vote

SKELETONS = {  # JGR-P2O's: NYU, ICVL, MSRA
    14: [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9), (9, 10), *((13, joint) for joint in (1, 3, 5, 7, 10, 11, 12))],
    16: [(0 if joint % 3 == 1 else joint - 1, joint) for joint in range(1, 16)],
    21: [(0 if joint % 4 == 1 else joint - 1, joint) for joint in range(1, 21)],
}
GRAPHS = ("skeleton", "similarity", "parameterised")


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(autouse=True)
def one_start():
    """Modules draw their first weights from torch's own generator."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def reasoning(graph, *, num_joints=14, edges=None, channels=16):
    """With connections that are worth a look and running statistics that count."""
    module = JointGraphReasoning(num_joints, SKELETONS[14] if edges is None else edges, graph=graph, channels=channels).eval()
    if graph == "parameterised":
        module.graph.connections.data.copy_(random(num_joints, num_joints, seed=9))
    for norm in (module.before_vote[1], module.after_return[1]):
        norm.running_mean.copy_(0.1 * random(channels, seed=7))
        norm.running_var.copy_(0.5 + random(channels, seed=8).abs())
    return module


@pytest.mark.parametrize("num_joints", SKELETONS)
def test_the_skeletons_connections_are_those_of_the_formula(num_joints):
    edges = SKELETONS[num_joints]
    connected = np.eye(num_joints)
    for first, second in edges:
        connected[first, second] = connected[second, first] = 1
    root_degree = np.sqrt(connected.sum(0))
    adjacency = normalised_adjacency(num_joints, edges).numpy()
    np.testing.assert_allclose(adjacency, np.diag(1 / root_degree) @ connected @ np.diag(1 / root_degree), atol=1e-6)
    assert np.array_equal(adjacency, adjacency.T)
    np.testing.assert_allclose(adjacency @ root_degree, root_degree, atol=1e-5)  # the first eigenvector
    values = np.linalg.eigvalsh(adjacency)
    assert values[-1] == pytest.approx(1, abs=1e-6) and values[-2] < 0.999 and values[0] > -1  # one hand in one piece


def test_a_skeleton_is_a_set_of_undirected_edges():
    expected = normalised_adjacency(3, [(0, 1), (1, 2)])
    assert torch.equal(normalised_adjacency(3, [(2, 1), (1, 0), (0, 1), (0, 1)]), expected)
    assert expected[0, 1].item() == pytest.approx(1 / math.sqrt(6)) and expected[0, 2] == 0


@pytest.mark.parametrize("edge", [(1, 1), (0, 3), (-1, 0)])
def test_edges_of_no_skeleton_are_refused(edge):
    with pytest.raises(ValueError, match="is no edge among 3 joints"):
        normalised_adjacency(3, [(0, 1), edge])


def test_spatial_softmax_is_a_distribution_over_each_map():
    scores = 5 * random(2, 3, 4, 6)
    weights = spatial_softmax(scores)
    assert (weights > 0).all()
    torch.testing.assert_close(weights.sum((2, 3)), torch.ones(2, 3))
    torch.testing.assert_close(weights, scores.exp() / scores.exp().sum((2, 3), keepdim=True))
    torch.testing.assert_close(spatial_softmax(scores + 100), weights, rtol=1e-4, atol=0)


def test_votes_and_what_is_given_back_equal_loops_over_pixels():
    features, joints, weights = random(2, 5, 3, 4).double(), random(2, 6, 5, seed=1).double(), random(2, 6, 3, 4, seed=2).abs().double()
    voted, given = torch.zeros(2, 6, 5).double(), torch.zeros(2, 5, 3, 4).double()
    for picture in range(2):
        for row in range(3):
            for column in range(4):
                for joint in range(6):
                    weight = weights[picture, joint, row, column]
                    voted[picture, joint] += weight * features[picture, :, row, column]
                    given[picture, :, row, column] += weight * joints[picture, joint] / 6
    torch.testing.assert_close(vote(features, weights), voted)
    torch.testing.assert_close(give_back(joints, weights), given)
    torch.testing.assert_close((voted * joints).sum(), 6 * (features * given).sum())  # each is the other's transpose, but for the mean


def test_a_joint_seen_by_one_pixel_speaks_with_it_alone():
    features, joints, weights = random(1, 5, 3, 4), random(1, 2, 5, seed=1), torch.zeros(1, 2, 3, 4)
    weights[0, 0, 1, 3] = 1
    assert torch.equal(vote(features, weights)[0, 0], features[0, :, 1, 3])
    given = give_back(joints, weights)
    torch.testing.assert_close(given[0, :, 1, 3], joints[0, 0] / 2)
    assert torch.count_nonzero(given) == 5


def test_a_skeleton_passes_features_to_neighbours_alone():
    graph = SkeletonGraph(14, SKELETONS[14])
    joints = random(1, 14, 8)
    other = joints.clone()
    other[:, 9] += 1  # the thumb's middle
    changed = (graph(other) @ other != graph(joints) @ joints).any(-1)[0]
    assert changed.nonzero().flatten().tolist() == [8, 9, 10]
    assert not list(graph.parameters()) and not graph.state_dict()


def test_similarity_is_the_softmax_of_products_of_one_pictures_joints():
    graph = SimilarityGraph(4)
    joints = 2 * random(3, 5, 4)
    found = graph(joints)
    for picture in range(3):
        of_receiver, of_giver = joints[picture] @ graph.of_receiver.weight.T, joints[picture] @ graph.of_giver.weight.T
        for i in range(5):
            terms = torch.stack([(of_receiver[i] @ of_giver[j]).exp() for j in range(5)])
            torch.testing.assert_close(found[picture, i], terms / terms.sum())
    assert not torch.allclose(found[0], found[1])
    assert num_parameters(graph) == 2 * 4 * 4


def test_parameterised_connections_start_at_the_published_value_and_learn():
    graph = ParameterisedGraph(5)
    assert num_parameters(graph) == 25 and torch.equal(graph.connections, torch.full((5, 5), 1e-6))
    joints = random(2, 5, 4)
    (graph(joints) @ joints).square().sum().backward()
    assert (graph.connections.grad != 0).all()


def norm_relu(values, norm: nn.BatchNorm2d):
    """Of (..., channels), as in evaluation."""
    return ((values - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias).clamp(min=0)


@pytest.mark.parametrize("graph", GRAPHS)
def test_reasoning_equals_the_equations_joint_by_joint(graph):
    """Eq. 2 to 4 as they stand, one picture at a time, pixels in a list."""
    module = reasoning(graph)
    features, weights = random(2, 16, 3, 4), spatial_softmax(3 * random(2, 14, 3, 4, seed=1))
    with torch.no_grad():
        context = module(features, weights)
        for picture in range(2):
            x, w = features[picture].flatten(1).T, weights[picture].flatten(1)  # (pixels, channels), (joints, pixels)
            phi = norm_relu(x @ module.before_vote[0].weight[:, :, 0, 0].T, module.before_vote[1])
            f = torch.stack([sum(w[k, i] * phi[i] for i in range(12)) for k in range(14)])
            connections = module.graph(f[None]).reshape(14, 14)
            evolved = (connections @ f @ module.transform.weight.T).clamp(min=0)
            mean = torch.stack([sum(w[k, i] * evolved[k] for k in range(14)) / 14 for i in range(12)])
            expected = norm_relu(mean @ module.after_return[0].weight[:, :, 0, 0].T, module.after_return[1])
            torch.testing.assert_close(context[picture].flatten(1).T, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("graph", GRAPHS)
def test_the_context_does_not_depend_on_the_order_of_the_joints(graph):
    order = torch.randperm(14, generator=torch.Generator().manual_seed(3))
    place = order.argsort().tolist()
    module, other = reasoning(graph), reasoning(graph, edges=[(place[first], place[second]) for first, second in SKELETONS[14]])
    other.load_state_dict(module.state_dict())
    if graph == "parameterised":
        other.graph.connections.data.copy_(module.graph.connections.data[order][:, order])
    features, weights = random(2, 16, 3, 4), spatial_softmax(3 * random(2, 14, 3, 4, seed=1))
    with torch.no_grad():
        expected = module(features, weights)
        torch.testing.assert_close(other(features, weights[:, order]), expected, atol=1e-5, rtol=1e-5)
        if graph != "similarity":
            assert not torch.allclose(module(features, weights[:, order]), expected, atol=1e-4)  # the graph knows which joint is which
