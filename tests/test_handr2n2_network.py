"""HandR2N2: published counts, the network against its equations written out, what it must not depend on, and its loss against closed forms."""

import dataclasses
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn.functional import batch_norm, leaky_relu, linear
from torch.utils.flop_counter import FlopCounterMode

from seqgen.estimators.cost import num_parameters
from seqgen.estimators.handr2n2.losses import handr2n2_losses
from seqgen.estimators.handr2n2.network import HandR2N2Network
from seqgen.estimators.points import ball_query, farthest_point_sampling, gather, hashed_order, nearest_neighbours
from seqgen.pipeline.process import one_thread

COUNTS = {14: 1_236_614, 16: 1_253_510, 21: 1_304_710}  # of the published module
GMACS = {  # its convolutions, by iterations
    14: (0.4289, 0.7213, 1.0137, 1.3062, 1.5986, 1.8910),
    16: (0.4295, 0.7636, 1.0978, 1.4320, 1.7662, 2.1004),
    21: (0.4308, 0.8694, 1.3080, 1.7466, 2.1852, 2.6238),
}
SMALL = dict(neighbours=6, num_centres=(40, 12), radii=(0.25, 0.5), group_size=8, local_channels=16, hidden=24)
JOINTS = 5
VARIANTS = {
    "paper": {},
    "conventional gates": {"gates": "conventional"},
    "no gates": {"gates": "none"},
    "shared graph": {"graph": "shared"},
    "no graph": {"graph": "none"},
    "absolute": {"residual": False},
    "tanh": {"candidate_activation": "tanh"},
    "conventional gates, shared graph": {"gates": "conventional", "graph": "shared"},
    "nothing": {"gates": "none", "graph": "none", "residual": False},
}


@pytest.fixture(autouse=True)
def one_start():
    """One thread, and modules draw their first weights from torch's own generator."""
    with torch.random.fork_rng(), one_thread():
        torch.manual_seed(0)
        yield


def cloud(num=100, batch=2, seed=0):
    return (torch.rand(batch, num, 3, generator=torch.Generator().manual_seed(seed)) - 0.5) * torch.tensor([0.8, 0.6, 0.2])


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def small(**fields):
    """A narrow network whose joints lie among its points and hang on them: weights do not shrink what passes, and normalisation has statistics that count."""
    network, generator = HandR2N2Network(JOINTS, **{**SMALL, **fields}).eval(), torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.Linear):
            module.weight.data *= 0.2 if module.out_features == 3 else 2.0
        if isinstance(module, nn.BatchNorm1d):
            for tensor in (module.weight.data, module.running_var):
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
            module.weight.data[::3] *= -1  # so that a maximum before it is not one after it
            for tensor in (module.bias.data, module.running_mean):
                tensor.copy_(0.1 * torch.randn(tensor.shape, generator=generator))
    return network


def num_of(joints, **fields):
    with torch.device("meta"):
        return num_parameters(HandR2N2Network(joints, **fields))


def macs(compute, monkeypatch):
    """Of a network or of its equations, on the meta device; sampling, a long loop there, has no products and is left out."""
    for module in ("seqgen.estimators.handr2n2.network", __name__):
        monkeypatch.setattr(f"{module}.farthest_point_sampling", lambda points, num: points.new_zeros(len(points), num, dtype=torch.long))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        compute()
    return counter.get_total_flops() // 2


@pytest.mark.parametrize("joints", COUNTS)
def test_parameter_counts_are_the_published(joints):
    assert num_of(joints) == COUNTS[joints] == 1_236_614 + (joints - 14) * 768 + 256 * (joints**2 - 196)


def test_parameter_counts_of_ablations():
    gate = 131 * 256 + 256 + 2 * (256 * 256 + 256) + 256 * 256
    assert num_of(14, graph="none") == 1_120_646
    assert num_of(14, graph="shared") == 1_186_634
    assert num_of(14, gates="none") == COUNTS[14] - 2 * gate
    assert num_of(14, gates="conventional") == num_of(14, residual=False) == num_of(14, candidate_activation="tanh") == COUNTS[14]


@pytest.mark.parametrize("joints", GMACS)
def test_macs_of_the_equations_are_the_published(joints, monkeypatch):
    with torch.device("meta"):
        network, points = HandR2N2Network(joints).eval(), torch.zeros(1, 1024, 3)
        for iterations, published in enumerate(GMACS[joints]):
            assert macs(lambda times=iterations: plain(network, points, times), monkeypatch) == pytest.approx(1e9 * published, rel=1e-3)


@pytest.mark.parametrize("joints", GMACS)
def test_macs_of_the_network_have_no_first_layers_in_groups(joints, monkeypatch):
    local = 1024 * 6 * 32 + 512 * 3 * 32 + 512 * 64 * (32 * 32 + 32 * 128)
    whole = 512 * 131 * 64 + 128 * 3 * 64 + 128 * 64 * (64 * 64 + 64 * 256) + 128 * (259 * 128 + 128 * 128 + 128 * 512)
    start = 512 * 256 + joints * (2 * 256 * 256 + 256 * 3) + 3 * 512 * 131 * 256
    once = joints * (joints * 256 + 3 * 3 * 256 + 256 * 256 + 256 * 3 + 4 * 256 * 256)  # graph, W_p j, W, regressor; S' in two gates, last layers of two
    per_point = joints * 48 * 5 * 256 * 256  # second layers of all gates, last of r, first of h for r S'
    with torch.device("meta"):
        network, points = HandR2N2Network(joints).eval(), torch.zeros(1, 1024, 3)
        for iterations in (0, 1, 3):
            assert macs(lambda times=iterations: network(points, times), monkeypatch) == local + whole + start + iterations * (once + per_point)


@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize("name", VARIANTS)
def test_the_network_equals_its_equations_written_out(name, training):
    network, points = small(**VARIANTS[name]).train(training), cloud()
    with torch.no_grad():
        expected = plain(network, gather(points, hashed_order(points)), 3)
        for joints, other in zip(network(points, 3), expected, strict=True):
            torch.testing.assert_close(joints, other, atol=1e-5, rtol=0)
    assert all((one - other).abs().max() > 1e-3 for one, other in pairwise(expected))  # iterations do something


def plain(network, points, iterations):
    """HandR2N2 from its table of weights, every layer on every point of every group, of points in the order given."""
    weights, unit = network.state_dict(), network.unit

    def layer(x, name, *, bias=0.0):
        x, norm = linear(x, weights[f"{name}.linear.weight"]) + bias, f"{name}.norm"
        statistics = (None, None) if network.training else (weights[f"{norm}.running_mean"], weights[f"{norm}.running_var"])
        flat = batch_norm(x.flatten(0, -2), *statistics, weights[f"{norm}.weight"], weights[f"{norm}.bias"], training=network.training)
        return leaky_relu(flat.view_as(x), 0.1)

    def set_convolution(name, points, features):
        sizes = getattr(network, name)
        centres = gather(points, farthest_point_sampling(points, sizes.num_centres))
        inside = ball_query(points, centres, sizes.radius, sizes.group_size)
        group = torch.cat([gather(features, inside), gather(points, inside) - centres[:, :, None]], -1)
        for part in ("first", "rest.layers.0", "rest.layers.1"):
            group = layer(group, f"{name}.{part}")
        return centres, group.amax(2)

    def gate(name, features, state, *, pool):
        at = f"unit.gates.{name}"
        x = linear(features, weights[f"{at}.of_point.weight"], weights[f"{at}.of_point.bias"]) + linear(state, weights[f"{at}.of_state.weight"])
        x = leaky_relu(linear(leaky_relu(x, 0.1), weights[f"{at}.second.weight"], weights[f"{at}.second.bias"]), 0.1)
        return linear(x.amax(2, keepdim=True) if pool else x, weights[f"{at}.last.weight"], weights[f"{at}.last.bias"])

    def graph(state):
        mixed = (weights["unit.graph.adjacency"] @ state.movedim(-1, 1)[..., None])[..., 0].movedim(1, -1)  # A_c s_c of each channel
        return leaky_relu(linear(mixed, weights["unit.graph.mix_channels.weight"], weights["unit.graph.mix_channels.bias"]), 0.1)

    def evolve(state, joints):
        near = nearest_neighbours(local_points, joints, unit.neighbours)
        features = torch.cat([gather(local_features, near), gather(local_points, near) - joints[:, :, None]], -1)
        evolved = (graph(state) if "unit.graph.adjacency" in weights else state)[:, :, None]
        r = torch.sigmoid(gate("r", features, evolved, pool=not unit.attentive)) if "r" in unit.gates else 1.0
        h = unit.activation(gate("h", features, r * evolved, pool=True))
        z = torch.sigmoid(gate("z", features, evolved, pool=True)) if "z" in unit.gates else 1.0
        return ((1 - z) * evolved + z * h)[:, :, 0]

    local_points, local_features = set_convolution("local_encoder", points, points)
    code = torch.cat(set_convolution("global_encoder", local_points, local_features), -1)
    for number in range(3):
        code = layer(code, f"pooling.layers.{number}")
    state = code.amax(1)[:, None].repeat(1, network.bias_induced[0].joint_bias.shape[0], 1)
    for number in range(3):
        state = layer(state, f"bias_induced.{number}", bias=weights[f"bias_induced.{number}.joint_bias"])
    outputs = [linear(state, weights["first_regressor.weight"], weights["first_regressor.bias"])]
    for _ in range(iterations):
        new = evolve(state, outputs[-1])
        moved = linear(new - state if network.residual else new, weights["regressor.weight"], weights["regressor.bias"])
        outputs.append(outputs[-1] + moved if network.residual else moved)
        state = new
    return outputs


def test_the_activation_of_the_candidate_is_the_one_asked_for():
    """Without gates and graph, states are the candidate itself."""
    values = {}
    for name in ("tanh", "leaky_relu"):
        torch.manual_seed(0)
        network = small(gates="none", graph="none", candidate_activation=name)
        network.unit.gates["h"].last.bias.data += 3 * random(SMALL["hidden"], seed=2)
        with torch.no_grad():
            encoded = network.encode(cloud())
            values[name], _ = network.iterate(encoded, encoded.state, encoded.joints)
    before = torch.where(values["leaky_relu"] > 0, values["leaky_relu"], 10 * values["leaky_relu"])
    assert before.abs().max() > 2 and before.min() < -1
    torch.testing.assert_close(values["tanh"], before.tanh(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
def test_joints_do_not_depend_on_the_order_of_the_points(training):
    network, points = small().train(training), cloud()
    expected = torch.stack(network(points, 3))
    for seed in range(4):
        order = torch.randperm(points.shape[1], generator=torch.Generator().manual_seed(seed))
        assert torch.equal(torch.stack(network(points[:, order], 3)), expected)


def test_joints_of_the_full_network_do_not_depend_on_the_order_of_the_points():
    network, points = HandR2N2Network(21).eval(), cloud(1024, 1)
    with torch.no_grad():
        assert torch.equal(network(points.flip(1), 1)[-1], network(points, 1)[-1])


def test_as_published_they_do_and_groups_are_of_the_first_points():
    network, points = small(point_order="given"), cloud()
    with torch.no_grad():
        as_given, turned = network(points, 2), network(points.flip(1), 2)
        assert (as_given[-1] - turned[-1]).abs().max() > 1e-3
        assert torch.equal(network.encode(points).points[:, 0], points[:, 0])  # sampling starts at the first
        torch.testing.assert_close(as_given[-1], plain(network, points, 2)[-1], atol=1e-5, rtol=0)


def test_joints_of_a_cloud_do_not_depend_on_those_beside_it():
    network, points = small(), cloud(batch=3)
    with torch.no_grad():
        alone = torch.cat([torch.stack(network(one, 2)) for one in points.split(1)], 1)
        torch.testing.assert_close(torch.stack(network(points, 2)), alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("num", [1, 16, 39])
def test_few_points_are_as_good_as_each_of_them_twice(num):
    """Fewer points than centres: one of them is repeated, which changes no maximum where groups have room for all."""
    network, points = small(group_size=80), cloud(num)
    with torch.no_grad():
        first = network.encode(points).joints
        torch.testing.assert_close(network.encode(torch.cat([points, points], 1)).joints, first, atol=1e-5, rtol=0)
        assert (network.encode(cloud(num, seed=1)).joints - first).abs().max() > 1e-3
        assert torch.stack(network(points, 2)).isfinite().all()


class Calls:
    """How often parts of a network are called."""

    def __init__(self, network, names):
        self.times = dict.fromkeys(names, 0)
        for name in names:
            network.get_submodule(name).register_forward_hook(lambda *_, name=name: self.count(name))

    def count(self, name):
        self.times[name] += 1


@pytest.mark.parametrize("iterations", [0, 1, 8])
def test_more_iterations_never_encode_again(iterations):
    network = small()
    once = ("local_encoder", "global_encoder", "pooling", "bias_induced", "first_regressor")
    calls = Calls(network, (*once, "unit", "regressor"))
    with torch.no_grad():
        assert len(network(cloud(), iterations)) == iterations + 1
    assert calls.times == {**dict.fromkeys(once, 1), "unit": iterations, "regressor": iterations}


def test_a_caller_may_go_on_iterating():
    network, points = small(), cloud()
    with torch.no_grad():
        expected, encoded = network(points, 5), network.encode(points)
        state, joints = encoded.state, encoded.joints
        for following in expected[1:]:
            state, joints = network.iterate(encoded, state, joints)
            assert torch.equal(joints, following)
    assert torch.equal(torch.stack(network(points, 2)), torch.stack(expected[:3]))


def test_fewer_iterations_than_none_and_more_neighbours_than_points_are_refused():
    with pytest.raises(ValueError, match=r"^-1 iterations asked for$"):
        small()(cloud(), -1)
    with pytest.raises(ValueError, match=r"^41 neighbours asked for among 40 points$"):
        HandR2N2Network(JOINTS, **{**SMALL, "neighbours": 41})


def test_joints_are_as_good_as_their_names():
    """Renaming the joints in the biases and in the graph renames them in the output."""
    network, points, order = small(), cloud(), torch.tensor([3, 0, 4, 1, 2])
    with torch.no_grad():
        before = network(points, 2)
        for induced in network.bias_induced:
            induced.joint_bias.copy_(induced.joint_bias[order])
        network.unit.graph.adjacency.copy_(network.unit.graph.adjacency[:, order][:, :, order])
        for joints, renamed in zip(before, network(points, 2), strict=True):
            torch.testing.assert_close(renamed, joints[:, order], atol=1e-5, rtol=0)


def test_a_closed_update_gate_keeps_the_state_and_an_open_one_forgets_it():
    network = small(graph="none")
    encoded = network.encode(cloud())
    for bias, kept in ((-1e4, True), (1e4, False)):
        network.unit.gates["z"].last.bias.data.fill_(bias)
        state, joints = network.iterate(encoded, encoded.state, encoded.joints)
        assert torch.equal(state, encoded.state) == kept
        if kept:  # nothing is left but the regressor's bias
            torch.testing.assert_close(joints, encoded.joints + network.regressor.bias, atol=1e-6, rtol=0)


def test_with_residual_the_regressor_moves_joints_and_without_it_places_them():
    for residual in (True, False):
        network = small(residual=residual)
        for parameter in network.regressor.parameters():
            parameter.data.zero_()
        start, end = network(cloud(), 1)
        assert torch.equal(end, start if residual else torch.zeros_like(start))


def test_only_the_nearest_points_count():
    network, points = small(), cloud(batch=1)
    encoded = network.encode(points)
    near = nearest_neighbours(encoded.points, encoded.joints, SMALL["neighbours"]).unique()
    far = torch.ones(SMALL["num_centres"][0], dtype=torch.bool).index_fill(0, near, False)
    expected = network.iterate(encoded, encoded.state, encoded.joints)[1]
    for changed, same in ((far, True), (~far, False)):
        inputs = {name: torch.where(changed[:, None], tensor + 1.0, tensor) for name, tensor in encoded.gate_inputs.items()}
        assert torch.equal(network.iterate(dataclasses.replace(encoded, gate_inputs=inputs), encoded.state, encoded.joints)[1], expected) == same
    assert 0 < far.sum() < len(far)


def test_the_graph_starts_near_the_identity_or_as_published():
    for init, mean, spread in (("near_identity", 1.0, 0.01), ("official", 0.0, 1.0)):
        matrices = HandR2N2Network(21, graph_init=init).unit.graph.adjacency.detach()
        assert matrices.diagonal(dim1=1, dim2=2).mean().item() == pytest.approx(mean, abs=5 * spread / (21 * 256) ** 0.5)
        assert matrices[:, ~torch.eye(21, dtype=torch.bool)].std().item() == pytest.approx(spread, rel=0.02)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_weight_learns_from_the_last_joints(name):
    network = small(**VARIANTS[name]).train()
    network(cloud(), 2)[-1].square().sum().backward()
    assert not [name for name, parameter in network.named_parameters() if not parameter.grad.any()]


def test_the_first_joints_teach_nothing_of_the_unit():
    network = small().train()
    network(cloud(), 2)[0].square().sum().backward()
    assert all((parameter.grad is None) == name.startswith(("unit", "regressor")) for name, parameter in network.named_parameters())


def test_autocast_leaves_coordinates_and_joints_alone():
    """What a gate knows of where a point lies is the same number for number, and joints are float32."""
    network, points = small(), cloud()
    channels = SMALL["local_channels"]
    for gate in network.unit.gates.values():
        gate.of_point.weight.data[:, :channels] = 0.0
    with torch.no_grad():
        expected, last = network.encode(points), network(points, 3)[-1]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            encoded, joints = network.encode(points), network(points, 3)[-1]
    assert all(torch.equal(encoded.gate_inputs[name], inputs) for name, inputs in expected.gate_inputs.items())
    assert encoded.state.dtype == joints.dtype == torch.float32
    assert 0 < (joints - last).abs().max() < 0.05  # a network of random weights in eight bits


def smooth_l1(x):
    """Eq. 8."""
    return 50 * x**2 if abs(x) < 0.01 else abs(x) - 0.005


def all_valid(batch=2, joints=4):
    return torch.ones(batch, joints, dtype=torch.bool)


@pytest.mark.parametrize("off", [0.0, 0.004, -0.0099, 0.0101, -0.3])
def test_the_loss_is_equation_nine(off):
    targets = random(2, 4, 3)
    outputs = [targets + scale * off * torch.tensor([1.0, 0.0, 1.0]) for scale in (3, 2, 1)]
    terms = handr2n2_losses(outputs, targets, all_valid())
    expected = {f"joints_{number}": 0.8 ** (2 - number) * 4 * 2 * smooth_l1((3 - number) * off) for number in range(3)}  # four joints, two coordinates
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(expected, rel=1e-4, abs=1e-9)


def test_published_weights_have_one_power_more_but_for_the_last():
    targets = random(2, 4, 3)
    outputs = [targets + 0.1] * 4
    paper, official = (handr2n2_losses(outputs, targets, all_valid(), official_weights=which) for which in (False, True))
    ratios = [(official[name] / paper[name]).item() for name in paper]
    assert ratios == pytest.approx([0.8, 0.8, 0.8, 1.0])
    assert [(paper[name] / paper["joints_3"]).item() for name in paper] == pytest.approx([0.8**3, 0.8**2, 0.8, 1.0])


def test_joints_that_are_not_valid_count_nothing_whatever_they_hold():
    valid = torch.tensor([[True, False, True, True], [False, False, False, False], [True, True, True, False]])
    targets, output = random(3, 4, 3), random(3, 4, 3, seed=1).requires_grad_()
    hidden = torch.where(valid[..., None], targets, torch.tensor([float("nan"), float("inf"), 7.0]))
    (term,) = handr2n2_losses([output], hidden, valid).values()
    expected = sum(smooth_l1(x) for x in (output - targets)[valid].flatten().tolist()) / 2  # clouds with any label
    assert term.item() == pytest.approx(expected, rel=1e-5)
    (gradient,) = torch.autograd.grad(term, output)
    assert gradient.isfinite().all() and torch.equal(gradient.any(-1), valid)


def test_nothing_valid_costs_nothing_and_nothing_at_all_is_refused():
    output = random(2, 4, 3).requires_grad_()
    (term,) = handr2n2_losses([output], torch.full((2, 4, 3), float("nan")), ~all_valid()).values()
    term.backward()
    assert term.item() == 0 and not output.grad.any()
    with pytest.raises(ValueError, match=r"^no outputs to compare$"):
        handr2n2_losses([], torch.zeros(2, 4, 3), all_valid())
