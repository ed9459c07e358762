"""JGR-P2O: published counts, the network against the formula over its weights, what decoding returns of true offsets, and the losses against closed forms."""

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import batch_norm, conv2d, max_pool2d, relu
from torch.utils.flop_counter import FlopCounterMode

from seqgen.estimators.cost import num_parameters
from seqgen.estimators.jgr_p2o.hourglass import Hourglass, Residual
from seqgen.estimators.jgr_p2o.joint_graph import normalised_adjacency, spatial_softmax
from seqgen.estimators.jgr_p2o.losses import jgr_p2o_losses, offset_loss
from seqgen.estimators.jgr_p2o.network import JgrP2oNetwork, StageOutput, decode_heatmaps, decode_offsets, pixel_coordinates, pixels_of_uv, uv_of_pixels

EDGES = {  # of the paper's three data sets
    14: [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9), (9, 10), *((13, joint) for joint in (1, 3, 5, 7, 10, 11, 12))],
    16: [(0 if joint % 3 == 1 else joint - 1, joint) for joint in range(1, 16)],
    21: [(0 if joint % 4 == 1 else joint - 1, joint) for joint in range(1, 21)],
}
PUBLISHED = {  # joints, stages: parameters in use, 10^9 multiply-accumulates of convolutions and linear layers
    (14, 1): (715_502, 0.2105),
    (14, 2): (1_365_244, 0.3562),
    (14, 3): (2_014_986, 0.5019),
    (16, 2): (1_368_064, 0.3579),
    (21, 1): (719_093, 0.2127),
    (21, 2): (1_375_114, 0.3621),
    (21, 3): (2_031_135, 0.5115),
}
KINDS = {
    "skeleton": {},
    "similarity": {"graph": "similarity"},
    "parameterised": {"graph": "parameterised"},
    "attention": {"weighting": "attention"},
    "uniform": {"weighting": "uniform"},
    "heatmap": {"decoding": "heatmap"},
}


@pytest.fixture(autouse=True)
def one_start():
    """Modules draw their first weights from torch's own generator."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def crop(num=2, size=64, seed=0):
    """Depth in -1..1, a third of it background."""
    depth = torch.rand(num, 1, size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 3 - 1
    return depth.clamp(max=1)


def lively(kind="skeleton", *, edges=None, stages=2):
    """A narrow network of 14 joints in double precision in which everything matters: at the published start, what the joints give back drowns in the epsilon
    of batch normalisation. Weights by He's rule with peaked votes, statistics of batch normalisation from two batches."""
    network = JgrP2oNetwork(14, EDGES[14] if edges is None else edges, stages=stages, channels=16, **KINDS[kind]).double()
    generator = torch.Generator().manual_seed(1)
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            gain = 5 if name.endswith(("scores", "scores.1")) else 1
            module.weight.data.copy_(gain * torch.randn(module.weight.shape, generator=generator) * (2 / module.weight[0].numel()) ** 0.5)
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the mean of all batches
            module.bias.data.copy_(0.1 * torch.randn(module.bias.shape, generator=generator))
        if name.endswith("graph") and kind == "parameterised":
            module.connections.data.copy_(torch.randn(14, 14, generator=generator))
    with torch.no_grad():
        for seed in (1, 2):
            network(crop(seed=seed))
    return network.eval()


def on_meta(num_joints=14, **kwargs):
    """A whole network, of which only shapes are known."""
    with torch.device("meta"):
        return JgrP2oNetwork(num_joints, EDGES[num_joints], **kwargs).eval()


@pytest.mark.parametrize(("num_joints", "stages"), PUBLISHED)
def test_parameters_and_operations_are_the_published(num_joints, stages):
    network, (parameters, published) = on_meta(num_joints, stages=stages), PUBLISHED[num_joints, stages]
    assert num_parameters(network) == parameters
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 1, 96, 96, device="meta"))
    billions = counter.get_total_flops() / 2e9
    assert billions == pytest.approx(published, rel=0.02)
    products = stages * 128 * (2 * 24 * 24 * num_joints + num_joints**2)  # votes, what is given back, the graph: not among the published
    assert billions - products / 1e9 == pytest.approx(published, abs=6e-5)


def test_parameters_of_the_ablations():
    full = PUBLISHED[14, 2][0]
    counts = {kind: num_parameters(on_meta(**kwargs)) for kind, kwargs in KINDS.items()}
    assert counts["similarity"] == 1_430_780
    assert counts["parameterised"] == full + 2 * 14**2
    assert counts["attention"] == 1_414_908  # published: 1.42 million
    assert counts["heatmap"] == full - 3 * 14 * 128  # two maps a joint instead of three, in both stages and on the way between them
    assert counts["heatmap"] == pytest.approx(1.37e6, rel=0.01)
    without_scores = full - 2 * (128 * 14 + 14)
    assert counts["uniform"] == without_scores - 2 * 128 * (5 * 128 + 3 * 2)  # votes, transform, return and, twice as wide, fusion


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_have_the_shapes_and_weights_sum_to_one(kind):
    depth = crop()
    with torch.no_grad():
        outputs = lively(kind, stages=3)(depth)
    assert len(outputs) == 3
    for output in outputs:
        assert output.joints.shape == (2, 14, 3) and output.weights.shape == (2, 14, 16, 16)
        assert (output.weights >= 0).all()
        torch.testing.assert_close(output.weights.sum((2, 3)), torch.ones(2, 14).double())
        if kind == "heatmap":
            assert output.offsets is None
        else:
            assert output.offsets.shape == (2, 14, 3, 16, 16)
            torch.testing.assert_close(output.joints, decode_offsets(output.pixels, output.offsets, output.weights))
        assert torch.equal(output.pixels, pixel_coordinates(depth))
    if kind == "uniform":
        torch.testing.assert_close(outputs[0].weights, torch.full((2, 14, 16, 16), 1 / 256).double())


def test_pixels_are_every_fourth_of_the_crop():
    depth = random(2, 1, 96, 64)
    pixels = pixel_coordinates(depth)
    assert pixels.shape == (2, 3, 24, 16)
    for row in range(24):
        for column in range(16):
            assert torch.equal(pixels[:, 2, row, column], depth[:, 0, 4 * row, 4 * column])
            assert pixels[1, :2, row, column].tolist() == pytest.approx([column / 15, row / 23])


def test_labels_and_decoding_have_one_scale():
    """The published code divides by 95 and multiplies by 96."""
    pixels = torch.tensor([0.0, 47.5, 95.0, -3.25])
    uv = uv_of_pixels(pixels, 96)
    assert uv.tolist() == pytest.approx([0.0, 0.5, 1.0, -3.25 / 95])
    torch.testing.assert_close(pixels_of_uv(uv, 96), pixels)
    assert torch.equal(pixel_coordinates(crop(1, 96))[0, 0, 0], uv_of_pixels(torch.arange(24.0).double(), 24))


def test_true_offsets_give_the_joints_whatever_the_weights():
    pixels, joints = pixel_coordinates(crop(3, 96)), random(3, 5, 3).double()
    weights = spatial_softmax(4 * random(3, 5, 24, 24, seed=1).double())
    true = joints[..., None, None] - pixels[:, None]
    torch.testing.assert_close(decode_offsets(pixels, true, weights), joints, atol=1e-12, rtol=0)


def test_decoding_equals_a_loop_over_pixels():
    pixels, offsets = random(2, 3, 4, 5).double(), random(2, 6, 3, 4, 5, seed=1).double()
    weights = random(2, 6, 4, 5, seed=2).double()
    by_offsets, by_depths = torch.zeros(2, 6, 3).double(), torch.zeros(2, 6, 3).double()
    depths = offsets[:, :, 2]
    for row in range(4):
        for column in range(5):
            pixel, weight = pixels[:, None, :, row, column], weights[:, :, None, row, column]
            by_offsets += weight * (pixel + offsets[..., row, column])
            by_depths += weight * torch.cat([pixel[..., :2].expand(2, 6, 2), depths[:, :, None, row, column]], -1)
    torch.testing.assert_close(decode_offsets(pixels, offsets, weights), by_offsets)
    torch.testing.assert_close(decode_heatmaps(pixels, depths, weights), by_depths)


def plain_network(weights, depth, num_joints, stages):
    """The network with a skeleton as its drawing says, from the table of weights and the edges alone."""

    def norm(x, name):
        return batch_norm(x, *(weights[f"{name}.{what}"] for what in ("running_mean", "running_var", "weight", "bias")))

    def block(x, name, stride=1):
        kernel = weights[f"{name}.0.weight"]
        return norm(conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2), f"{name}.1")

    def residual(x, name):
        inner = block(relu(block(relu(block(x, f"{name}.inner.0")), f"{name}.inner.1")), f"{name}.inner.2")
        return relu(inner + (block(x, f"{name}.shortcut") if f"{name}.shortcut.0.weight" in weights else x))

    def hourglass(x, name, depth):
        low = residual(max_pool2d(x, 3, 2, 1), f"{name}.lower.0")
        if depth > 1:
            low = hourglass(low, f"{name}.lower.1", depth - 1)
        low = residual(low, f"{name}.lower.{2 if depth > 1 else 1}")
        return residual(x, f"{name}.upper") + low.repeat_interleave(2, 2).repeat_interleave(2, 3)

    adjacency, pixels, joints = normalised_adjacency(num_joints, EDGES[num_joints]).double(), pixel_coordinates(depth), []
    h = max_pool2d(residual(relu(block(depth, "stem.0", 2)), "stem.1"), 2)
    h = residual(residual(h, "stem.3"), "stem.4")
    for stage in (f"stages.{number}" for number in range(stages)):
        x = residual(hourglass(h, f"{stage}.local.0", 3), f"{stage}.local.1")
        scores = conv2d(x, weights[f"{stage}.weighting.scores.weight"], weights[f"{stage}.weighting.scores.bias"])
        w = scores.flatten(2).softmax(2).view_as(scores)
        at = f"{stage}.weighting.reasoning"
        f = torch.einsum("nkrc,nfrc->nkf", w, relu(block(x, f"{at}.before_vote")))
        f = relu(torch.einsum("kl,nlf,gf->nkg", adjacency, f, weights[f"{at}.transform.weight"]))
        context = relu(block(torch.einsum("nkrc,nkf->nfrc", w, f) / num_joints, f"{at}.after_return"))
        enhanced = relu(block(torch.cat([x, context], 1), f"{stage}.weighting.fuse"))
        maps = conv2d(enhanced, weights[f"{stage}.maps.weight"])
        du, dv, dz = maps.split(num_joints, 1)
        u, v, z = (coordinate[:, None] for coordinate in pixels.unbind(1))
        joints.append(torch.stack([(w * (u + du)).sum((2, 3)), (w * (v + dv)).sum((2, 3)), (w * (z + dz)).sum((2, 3))], -1))
        number = stage[-1]
        if f"from_maps.{number}.0.weight" in weights:
            h = h + relu(block(maps, f"from_maps.{number}")) + relu(block(enhanced, f"from_enhanced.{number}"))
    return joints


def test_the_network_is_the_formula_over_its_weights():
    network, depth = lively(), crop()
    with torch.no_grad():
        expected = plain_network(network.state_dict(), depth, 14, 2)
        for output, joints in zip(network(depth), expected, strict=True):
            torch.testing.assert_close(output.joints, joints, atol=1e-9, rtol=0)


def test_an_hourglass_is_nine_residual_blocks_and_sees_the_whole_map():
    hourglass = Hourglass(3, 16).eval()
    for module in hourglass.modules():  # so that the way through the middle is not lost in rounding
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    assert sum(isinstance(module, Residual) for module in hourglass.modules()) == 9
    assert num_parameters(Residual(128, 128)) == 53_760
    features = random(1, 16, 24, 24).requires_grad_()
    out = hourglass(features)
    assert out.shape == features.shape
    (gradient,) = torch.autograd.grad(out[0, :, 0, 0].sum(), features)
    assert (gradient[0, :, 20:, 20:] != 0).any()


def permuted(network, kind, order):
    """The same network for joints in another order: new joint k is old joint order[k]."""
    place = order.argsort().tolist()
    other = lively(kind, edges=[(place[first], place[second]) for first, second in EDGES[14]])
    weights = dict(network.state_dict())
    num_maps = 2 if kind == "heatmap" else 3
    of_maps = torch.cat([order + 14 * number for number in range(num_maps)])
    for name, values in weights.items():
        if name.endswith(("scores.weight", "scores.bias", "scores.1.weight", "scores.1.bias")):
            weights[name] = values[order]
        elif name.endswith(".maps.weight"):
            weights[name] = values[of_maps]
        elif name.startswith("from_maps") and name.endswith(".0.weight"):
            weights[name] = values[:, of_maps]
        elif name.endswith("connections"):
            weights[name] = values[order][:, order]
    other.load_state_dict(weights)
    return other


@pytest.mark.parametrize("kind", KINDS)
def test_permuting_the_joints_permutes_the_joints(kind):
    network, order, depth = lively(kind), torch.randperm(14, generator=torch.Generator().manual_seed(3)), crop()
    with torch.no_grad():
        for output, other in zip(network(depth), permuted(network, kind, order)(depth), strict=True):
            torch.testing.assert_close(other.joints, output.joints[:, order], atol=1e-9, rtol=0)
            torch.testing.assert_close(other.weights, output.weights[:, order], atol=1e-9, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_stage_depends_on_those_before_it_and_on_no_later_one(kind):
    network = lively(kind)
    first, second = (stage.maps.weight for stage in network.stages)
    outputs = network(crop())
    assert (torch.autograd.grad(outputs[1].joints.sum(), first, retain_graph=True)[0] != 0).any()
    assert torch.autograd.grad(outputs[0].joints.sum(), second, allow_unused=True)[0] is None
    single = lively(kind, stages=1)
    single.load_state_dict({name: values for name, values in network.state_dict().items() if name in single.state_dict()})
    assert torch.equal(single(crop())[0].joints, outputs[0].joints)


@pytest.mark.parametrize("kind", KINDS)
def test_a_crop_alone_is_as_in_a_batch_in_any_memory_format(kind):
    network, depth = lively(kind), crop(3)
    with torch.no_grad():
        together = network(depth)[-1].joints
        for number in range(3):
            torch.testing.assert_close(network(depth[number : number + 1])[-1].joints[0], together[number], atol=1e-9, rtol=0)
        network.to(memory_format=torch.channels_last)
        torch.testing.assert_close(network(depth.to(memory_format=torch.channels_last))[-1].joints, together, atol=1e-9, rtol=0)
    assert (together[0] - together[1]).abs().max() > 1e-3  # it does look


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_learns(kind):
    network = lively(kind).train()
    terms = jgr_p2o_losses(network(crop()), random(2, 14, 3).double(), torch.ones(2, 14, dtype=torch.bool))
    sum(terms.values()).backward()
    assert not [name for name, parameter in network.named_parameters() if not parameter.grad.isfinite().all() or not parameter.grad.any()]


def test_first_weights_are_drawn_as_published():
    network = JgrP2oNetwork(14, EDGES[14])
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    weights = torch.cat([module.weight.flatten() for module in convolutions])
    assert weights.abs().max() <= 0.02 and weights.mean().abs() < 1e-4
    assert weights.std().item() == pytest.approx(0.0088, abs=1e-4)  # of a normal distribution cut at two deviations: 0.88 of them
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    scales = torch.cat([module.weight for module in norms])
    assert (scales - 1).abs().max() <= 0.02 and scales.std().item() == pytest.approx(0.0088, abs=5e-4)
    assert all(module.momentum == 0.05 and module.eps == 1e-5 for module in norms)
    assert all((stage.weighting.scores.bias == 0).all() for stage in network.stages)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"decoding": "heatmap", "weighting": "uniform"}, "not with weighting uniform"),
        ({"decoding": "heatmap", "weighting": "attention"}, "not with weighting attention"),
        ({"stages": 0}, "0 stages of 128 channels"),
        ({"channels": 12}, "2 stages of 12 channels"),
        ({"channels": 0}, "2 stages of 0 channels"),
    ],
)
def test_networks_that_make_no_sense_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        JgrP2oNetwork(14, EDGES[14], **kwargs)


def test_crops_that_cannot_be_halved_are_refused():
    with pytest.raises(ValueError, match="100 x 96 pixels; both sides must be multiples of 32"):
        on_meta(channels=8)(torch.zeros(1, 1, 100, 96, device="meta"))


def test_coordinates_are_single_precision_under_autocast():
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        for kind in ("skeleton", "heatmap"):
            output = lively(kind).float()(crop().float())[-1]
            assert output.joints.dtype == output.weights.dtype == torch.float32
            torch.testing.assert_close(output.weights.sum((2, 3)), torch.ones(2, 14))


def perfect(num=2, num_joints=3, num_stages=2):
    """Outputs of stages that are right in all, and their joints."""
    joints, pixels = random(num, num_joints, 3).double(), pixel_coordinates(crop(num, 32))
    offsets = joints[..., None, None] - pixels[:, None]
    weights = torch.full((num, num_joints, 8, 8), 1 / 64).double()
    return [StageOutput(joints.clone(), weights, offsets.clone(), pixels) for _ in range(num_stages)], joints


def everything(joints):
    return torch.ones(joints.shape[:2], dtype=torch.bool)


def test_a_perfect_prediction_costs_nothing():
    stages, joints = perfect()
    terms = jgr_p2o_losses(stages, joints, everything(joints))
    assert set(terms) == {"coordinates", "offsets"} and all(term.item() == 0 for term in terms.values())


@pytest.mark.parametrize(("off", "huber"), [(0.004, 0.5 * 0.004**2), (0.01, 5e-5), (-0.3, 0.01 * (0.3 - 0.005))])
def test_losses_are_sums_over_joints_and_pixels_and_means_over_pictures(off, huber):
    stages, joints = perfect()
    step = torch.zeros(2, 3, 3).double()
    step[1, 2, 2] = step[0, 0, 1] = step[0, 1, 0] = off
    wrong = [stages[0], stages[1]._replace(joints=joints + step, offsets=stages[1].offsets + step[..., None, None])]
    terms = jgr_p2o_losses(wrong, joints, everything(joints))
    assert terms["coordinates"].item() == pytest.approx(3 * huber / 2)
    assert terms["offsets"].item() == pytest.approx(1e-4 * 3 * 64 * huber / 2)
    both = jgr_p2o_losses([wrong[1], wrong[1]], joints, everything(joints))  # Eq. 9: all stages alike
    assert all(both[name].item() == pytest.approx(2 * terms[name].item()) for name in terms)


def test_background_pixels_count_unless_told_not_to():
    stages, joints = perfect(num_stages=1)
    background = stages[0].pixels[:, None, None, 2] == 1
    assert 0 < background.sum() < background.numel()
    wrong = [stages[0]._replace(offsets=stages[0].offsets + torch.where(background, 0.3, 0.004))]
    at_background, at_hand = background.sum().item() * 9 * 0.01 * 0.295, (~background).sum().item() * 9 * 0.5 * 0.004**2
    assert jgr_p2o_losses(wrong, joints, everything(joints), offset_weight=1.0)["offsets"].item() == pytest.approx((at_background + at_hand) / 2)
    only_hand = jgr_p2o_losses(wrong, joints, everything(joints), offset_weight=1.0, offset_foreground_only=True)
    assert only_hand["offsets"].item() == pytest.approx(at_hand / 2) and only_hand["coordinates"].item() == 0


@pytest.mark.parametrize("foreground_only", [False, True])
def test_joints_that_are_not_valid_count_nothing(foreground_only):
    """Whatever they hold; a picture without any is as if it were not there."""
    stages, joints = perfect(num=3)
    guesses = [stage._replace(joints=stage.joints + 0.1, offsets=stage.offsets + 0.1) for stage in stages]
    valid, holes = everything(joints), joints.clone()
    valid[0, 1], valid[2] = False, False
    holes[~valid] = math.nan
    learned = [tensor.requires_grad_() for stage in guesses for tensor in (stage.joints, stage.offsets)]
    terms = jgr_p2o_losses(guesses, holes, valid, offset_foreground_only=foreground_only)
    gradients = torch.autograd.grad(sum(terms.values()), learned)
    for gradient in gradients:
        assert gradient.isfinite().all() and not gradient[~valid].any() and gradient[valid].any()
    two = [StageOutput(*(tensor[:2] for tensor in guess)) for guess in guesses]
    alone = jgr_p2o_losses(two, joints[:2], valid[:2], offset_foreground_only=foreground_only)
    assert all(terms[name].item() == pytest.approx(alone[name].item()) for name in terms)
    assert terms["coordinates"].item() == pytest.approx(2 * 5 * 3 * 0.01 * 0.095 / 2)  # five joints in two stages
    none = jgr_p2o_losses(guesses, holes, torch.zeros_like(valid))
    assert all(term.item() == 0 for term in none.values())


def test_terms_that_cannot_be_or_weigh_nothing_are_left_out():
    stages, joints = perfect()
    assert set(jgr_p2o_losses(stages, joints, everything(joints), offset_weight=0.0)) == {"coordinates"}
    heatmaps = [stage._replace(offsets=None) for stage in stages]
    assert set(jgr_p2o_losses(heatmaps, joints, everything(joints))) == {"coordinates"}
    with pytest.raises(ValueError, match="heat maps have no offsets"):
        offset_loss(heatmaps[0], joints, everything(joints), foreground_only=False, delta=0.01)


def test_gradients_are_finite_differences():
    stages, joints = perfect(num=1, num_joints=2, num_stages=1)
    weights = spatial_softmax(random(1, 2, 8, 8, seed=4)).double()

    def loss(offsets):
        guess = StageOutput(decode_offsets(stages[0].pixels, offsets, weights), weights, offsets, stages[0].pixels)
        return sum(jgr_p2o_losses([guess], joints, everything(joints)).values())

    off = 0.1 * random(1, 2, 3, 8, 8, seed=5).double()
    assert torch.autograd.gradcheck(loss, ((stages[0].offsets + off).requires_grad_(),))


@pytest.mark.parametrize("kind", ["skeleton", "heatmap"])
def test_descending_the_loss_fits_four_pictures(kind):
    """From the published start, narrow, 30 steps of Adam halve the coordinates' loss; heat maps, which start as flat as they can be, learn more slowly."""
    network = JgrP2oNetwork(14, EDGES[14], channels=16, **KINDS[kind])
    depth, joints = crop(4, 32).float(), torch.rand(4, 14, 3, generator=torch.Generator().manual_seed(1))
    optimiser, history = torch.optim.Adam(network.parameters(), lr=0.01), []
    for _ in range(30):
        terms = jgr_p2o_losses(network(depth), joints, everything(joints))
        history.append(terms["coordinates"].item())
        optimiser.zero_grad()
        sum(terms.values()).backward()
        optimiser.step()
    assert history[-1] < history[0] / 2
