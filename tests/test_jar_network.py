"""JAR and the 2.5D baseline: published counts, maps of joints and back, which way gradients go, what later stages start from, and the loss in closed form."""

import functools
import math

import pytest
import torch
from safetensors.torch import save_file
from torch.utils.flop_counter import FlopCounterMode

from seqgen.errors import UserError
from seqgen.estimators.cost import num_parameters
from seqgen.estimators.jar.decoders import px_from_uv, uv_from_px
from seqgen.estimators.jar.detection25d import Detection25d, soft_argmax
from seqgen.estimators.jar.losses import jar_losses
from seqgen.estimators.jar.network import ABLATIONS, JarNetwork, depth_maps, heat_maps
from seqgen.estimators.resnet import ResNet

TINY = {"backbone": "resnet18", "width": 0.125, "size": 64, "num_joints": 5, "hidden": 32, "head_features": 8}


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(autouse=True)
def one_start():
    """Modules draw their first weights from torch's own generator."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def tiny(**switches):
    return JarNetwork(**{**TINY, **switches})


def baseline(**switches):
    return Detection25d(**{"backbone": "resnet18", "width": 0.125, "channels": 16, **switches})


def cost(kind, **switches):
    """Parameters, and multiply-accumulates of one picture of 256 x 256."""
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        network = kind(**switches).eval()
        outputs = network(torch.zeros(1, 3, 256, 256))
    assert all(joints.shape == (1, 21, 3) for joints in outputs) and len(outputs) == switches.get("stages", 1)
    return num_parameters(network), counter.get_total_flops() // 2  # torch counts two operations a MAC


def linear(features_in, features_out):
    """Numbers of a linear layer or a 1 x 1 convolution."""
    return (features_in + 1) * features_out


AFR = ABLATIONS[2]
# millions of parameters and 10^9 MACs, from the paper's Table 2 and from counting its design
COSTS = {
    "R18, 1 stage": (JarNetwork, {"backbone": "resnet18"}, 14.494, 2.468),
    "R18, 2 stages": (JarNetwork, {"backbone": "resnet18", "stages": 2}, 26.681, 3.134),
    "R18, 3 stages": (JarNetwork, {"backbone": "resnet18", "stages": 3}, 38.868, 3.799),
    "R34, 1 stage": (JarNetwork, {"backbone": "resnet34"}, 24.602, 4.884),
    "R34, 2 stages": (JarNetwork, {"backbone": "resnet34", "stages": 2}, 41.510, 5.852),
    "R34, 4 stages": (JarNetwork, {"backbone": "resnet34", "stages": 4}, 75.326, 7.786),
    "R50, 1 stage": (JarNetwork, {}, 28.890, 5.569),
    "R50, 2 stages": (JarNetwork, {"stages": 2}, 50.745, 7.151),
    "R50, AFR": (JarNetwork, AFR, 32.029, 5.520),
    "R50, 2.5D": (Detection25d, {}, 34.006, 7.261),
}


@functools.cache
def cost_of(name):
    kind, switches, *_ = COSTS[name]
    return cost(kind, **switches)


@pytest.mark.parametrize("name", COSTS)
def test_parameters_and_macs_are_the_papers(name):
    *_, millions, giga_macs = COSTS[name]
    parameters, macs = cost_of(name)
    assert round(parameters / 1e6, 3) == millions
    assert macs / 1e9 == pytest.approx(giga_macs, rel=0.001)


def test_table_2_as_printed():
    """Its figures with one decimal; its MACs of the deconvolutions count every tap at every output pixel, four times what a stride of 2 needs."""
    names = ("R50, 1 stage", "R50, AFR", "R50, 2.5D")
    assert [round(cost_of(name)[0] / 1e6, 1) for name in names] == [28.9, 32.0, 34.0]
    jar, afr, detection = (cost_of(name)[1] for name in names)
    last = 64 * 64 * 256 * 42
    backbone = detection - last - sum(side**2 * 16 * channels * 256 for side, channels in ((8, 2048), (16, 256), (32, 256)))
    counted_at_outputs = backbone + last + sum(side**2 * 16 * channels * 256 for side, channels in ((16, 2048), (32, 256), (64, 256)))
    assert [round(macs / 1e9, 1) for macs in (jar, afr, counted_at_outputs)] == [5.6, 5.5, 12.9]  # AFR is printed as 5.6


R18, R18_LAYER4, DECODED = 11_176_512, 8_393_728, 2_363_904 + 264_195
EQUATION_3 = linear(512, 512) + linear(512, 3)
LATER = R18_LAYER4 + linear(512, 1344) + DECODED  # a later stage without its convolution and refine maps
TO_REFINE_MAP = linear(512, 512) + linear(512, 256)
ABLATED = {
    1: R18 + linear(512, 168) + linear(168 * 64, 512) + linear(512, 63),
    2: R18 + linear(512, 1344) + linear(1344, 4096) + linear(4096, 63),
    3: R18 + linear(512, 21 * 512) + 21 * EQUATION_3,
    4: R18 + linear(512, 21 * 512) + EQUATION_3,
    5: R18 + linear(512, 168) + 21 * EQUATION_3,
    6: R18 + linear(512, 168) + EQUATION_3,
    7: R18 + linear(512, 1344) + DECODED,
    8: R18 + linear(512, 1344) + DECODED + LATER + linear(256 + 21, 256),
    9: R18 + linear(512, 1344) + DECODED + LATER + linear(256 + 42, 256),
    10: R18 + linear(512, 1344) + DECODED + LATER + linear(256 + 63, 256) + TO_REFINE_MAP,
    11: R18 + linear(512, 1344) + DECODED + 2 * (LATER + linear(256 + 63, 256) + TO_REFINE_MAP),
}


def test_the_table_has_all_ablations():
    assert list(ABLATIONS) == list(ABLATED) == list(range(1, 12))


@pytest.mark.parametrize("number", ABLATED)
def test_each_ablation_has_the_parts_it_should(number):
    assert cost(JarNetwork, backbone="resnet18", **ABLATIONS[number])[0] == ABLATED[number]


@pytest.mark.parametrize("number", ABLATED)
def test_each_ablation_runs_on_another_joint_set_and_size(number):
    network = JarNetwork(backbone="resnet18", width=0.125, size=64, num_joints=14, **{**ABLATIONS[number], "hidden": 16}).eval()
    with torch.no_grad():
        outputs = network(random(2, 3, 64, 64))
    assert [joints.shape for joints in outputs] == [(2, 14, 3)] * ABLATIONS[number].get("stages", 1)


@pytest.mark.parametrize("num_joints", [14, 16, 21])
def test_the_baseline_takes_other_joint_sets_and_sizes(num_joints):
    [joints] = baseline(num_joints=num_joints).eval()(random(2, 3, 64, 96))
    assert joints.shape == (2, num_joints, 3)


def joints_at(*cells, side, z=0.5):
    """Joints of one picture at these (column, row) cells of a map."""
    uv = uv_from_px(torch.tensor(cells, dtype=torch.float32), side)
    return torch.cat([uv, torch.full((len(cells), 1), z)], 1)[None]


def test_a_heat_map_is_one_at_its_joint_and_1_over_e_at_sigma():
    maps = heat_maps(joints_at((3, 7), (10.0, 2.0), side=16), side=16, sigma=2.0)
    assert maps.shape == (1, 2, 16, 16)
    assert maps[0, 0].argmax() == 7 * 16 + 3 and maps[0, 1].argmax() == 2 * 16 + 10  # rows are v, columns u
    assert maps[0, 0, 7, 3].item() == pytest.approx(1, abs=1e-6)
    for row, column in ((7, 5), (7, 1), (9, 3), (5, 3)):
        assert maps[0, 0, row, column].item() == pytest.approx(math.exp(-1), abs=1e-6)


def test_a_heat_map_is_equation_6_in_every_cell():
    joints = 2.4 * torch.rand(2, 3, 3, generator=torch.Generator().manual_seed(2)) - 1.2  # some outside
    maps, places = heat_maps(joints, side=8, sigma=1.5), px_from_uv(joints, 8)
    for picture in range(2):
        for joint in range(3):
            for row in range(8):
                for column in range(8):
                    x, y = places[picture, joint, :2].tolist()
                    expected = math.exp(-((column - x) ** 2 + (row - y) ** 2) / 1.5**2)
                    assert maps[picture, joint, row, column].item() == pytest.approx(expected, abs=1e-5)


def test_a_depth_map_is_z_in_one_cell():
    maps = depth_maps(joints_at((3.4, 6.6), side=16, z=-0.7), side=16, splat="pixel", sigma=1.5)
    expected = torch.zeros(1, 1, 16, 16)
    expected[0, 0, 7, 3] = -0.7
    assert torch.equal(maps, expected)


def test_a_joint_between_cells_is_in_one_and_one_outside_in_none():
    between = depth_maps(joints_at((3.5, 6.5), (0.5, 4.0), side=16), side=16, splat="pixel", sigma=1.5)
    assert between.sum((2, 3)).tolist() == [[0.5, 0.5]]
    outside = joints_at((-0.6, 4), (15.6, 4), (4, -3), (4, 40), side=16)
    assert not depth_maps(outside, side=16, splat="pixel", sigma=1.5).any()


def test_a_bilinear_depth_map_has_its_sum_and_its_centre():
    [[splat]] = depth_maps(joints_at((3.25, 6.5), side=16, z=0.8), side=16, splat="bilinear", sigma=1.5)
    assert splat[6:8, 3:5].flatten().tolist() == pytest.approx([0.3, 0.1, 0.3, 0.1], abs=1e-6)
    assert splat.sum().item() == pytest.approx(0.8, abs=1e-6)


def test_a_depth_map_by_heat_is_z_times_the_heat_map():
    joints = joints_at((3.25, 6.5), (9, 1), side=16, z=-0.4)
    torch.testing.assert_close(depth_maps(joints, side=16, splat="heat", sigma=2.0), -0.4 * heat_maps(joints, side=16, sigma=2.0))


@pytest.mark.parametrize(("splat", "knows_the_place"), [("pixel", False), ("bilinear", True), ("heat", True)])
def test_what_a_depth_map_has_gradients_of(splat, knows_the_place):
    joints = joints_at((3.2, 6.4), side=16).requires_grad_()
    depth_maps(joints, side=16, splat=splat, sigma=1.5)[..., 6, 3].sum().backward()
    assert joints.grad[0, 0, 2] > 0
    assert bool((joints.grad[0, 0, :2] != 0).all()) == knows_the_place


def gradients(network, *, of):
    """Of the sum of squares of one stage's joints, in the parameters of the first stage's decoder and of its layer3."""
    outputs = network(random(2, 3, 64, 64))
    wanted = {"decoder": list(network.decoder.parameters()), "layer4": list(network.backbone.layer4.parameters()), "layer3": list(network.backbone.layer3.parameters())}
    found = {name: torch.autograd.grad(outputs[of].square().sum(), tensors, allow_unused=True, retain_graph=True) for name, tensors in wanted.items()}
    return {name: any(gradient is not None and bool(gradient.any()) for gradient in some) for name, some in found.items()}


REFINE_ALONE = {"use_heatmap": False, "use_depthmap": False}
ALONE = {  # switches, and whether a later stage teaches the first stage's decoder
    "refine maps": (REFINE_ALONE, False),
    "refine maps, not detached": ({**REFINE_ALONE, "detach_refinemap": False}, True),
    "heat maps": ({"use_depthmap": False, "use_refinemap": False}, True),
    "depth maps": ({"use_heatmap": False, "use_refinemap": False, "depth_splat": "heat"}, True),
    "both": ({"use_refinemap": False}, True),
    "all": ({}, True),
    "all, detached": ({"detach_joints": True}, False),
}


@pytest.mark.parametrize("name", ALONE)
def test_what_a_later_stage_teaches_the_first(name):
    switches, taught = ALONE[name]
    assert gradients(tiny(stages=2, **switches), of=1) == {"decoder": taught, "layer4": taught, "layer3": True}


def test_refine_maps_are_taught_though_what_they_read_is_not():
    network = tiny(stages=2, **REFINE_ALONE)
    network(random(2, 3, 64, 64))[1].square().sum().backward()
    assert all(parameter.grad.any() for parameter in network.refinements[0].to_refine_map.parameters())


@pytest.mark.parametrize("make", [lambda: tiny(stages=3), lambda: baseline(num_joints=5)], ids=["JAR", "2.5D"])
def test_every_parameter_is_taught_by_the_loss(make):
    network = make()
    sum(jar_losses(network(random(4, 3, 64, 64)), random(4, 5, 3, seed=1), torch.ones(4, 5, dtype=torch.bool)).values()).backward()
    assert not [name for name, parameter in network.named_parameters() if parameter.grad is None or not parameter.grad.any()]


def test_refine_maps_see_what_the_heads_said():
    """Other words of one joint change its own refine map and no other."""
    network = tiny(stages=2, **REFINE_ALONE)
    stage = network.refinements[0]
    seen = []
    stage.fuse.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0][:, -5:]))
    middle, before = random(1, 32, 4, 4), network.decoder(random(1, 64, 2, 2))
    said = before.head_outputs.clone()
    said[:, 3] += 1
    for outputs in (before.head_outputs, said):
        stage(middle, before._replace(head_outputs=outputs))
    assert [bool((seen[0] != seen[1])[:, joint].any()) for joint in range(5)] == [False, False, False, True, False]


def test_a_later_stage_sees_the_middle_features_and_the_maps_of_the_stage_before():
    network, pictures, seen = tiny(stages=3).eval(), random(2, 3, 64, 64), []
    network.backbone.layer3.register_forward_hook(lambda module, inputs, output: seen.append(output))
    for stage in network.refinements:
        stage.fuse.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        outputs = network(pictures)
    middle, *fused = seen
    for joints, stacked in zip(outputs[:2], fused, strict=True):
        assert torch.equal(stacked[:, :32], middle)
        assert torch.equal(stacked[:, 37:42], heat_maps(joints, side=4, sigma=1.5))  # after five refine maps
        assert torch.equal(stacked[:, 42:], depth_maps(joints, side=4, splat="pixel", sigma=1.5))


def test_the_first_stage_does_not_know_of_later_ones():
    several = tiny(stages=3).eval()
    one = tiny(stages=1).eval()
    one.load_state_dict({name: tensor for name, tensor in several.state_dict().items() if not name.startswith("refinements")})
    pictures = random(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(several(pictures)[0], one(pictures)[0])


@pytest.mark.parametrize("make", [lambda: tiny(stages=2), baseline], ids=["JAR", "2.5D"])
def test_a_picture_alone_gives_what_it_gives_in_a_batch(make):
    network, pictures = make().eval(), random(3, 3, 64, 64)
    with torch.no_grad():
        together, alone = network(pictures), [network(picture[None]) for picture in pictures]
    for stage, joints in enumerate(together):
        torch.testing.assert_close(joints, torch.cat([outputs[stage] for outputs in alone]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", [JarNetwork, Detection25d])
def test_weights_of_a_file_start_the_backbone_and_every_layer4(tmp_path, kind):
    source = ResNet("resnet18", width=0.125)
    save_file(source.state_dict(), tmp_path / "weights.safetensors")
    network = tiny(stages=3) if kind is JarNetwork else baseline()
    network.load_backbone(tmp_path / "weights.safetensors")
    assert all(torch.equal(tensor, source.state_dict()[name]) for name, tensor in network.backbone.state_dict().items())
    for stage in getattr(network, "refinements", ()):
        own = stage.layer4.state_dict()
        assert all(torch.equal(tensor, own[name]) for name, tensor in source.layer4.state_dict().items())
        assert stage.layer4[0].conv1.weight is not network.backbone.layer4[0].conv1.weight


def test_the_backbone_of_a_checkpoint_is_the_first_stages(tmp_path):
    source, network = tiny(stages=2), tiny(stages=2)
    save_file({f"network.{name}": tensor.contiguous() for name, tensor in source.state_dict().items()}, tmp_path / "weights.safetensors")
    network.load_backbone(tmp_path)
    assert all(torch.equal(tensor, source.backbone.state_dict()[name]) for name, tensor in network.backbone.state_dict().items())


@pytest.mark.parametrize("make", [tiny, baseline], ids=["JAR", "2.5D"])
def test_weights_of_another_resnet_are_refused(tmp_path, make):
    save_file(ResNet("resnet34", width=0.125).state_dict(), tmp_path / "weights.safetensors")
    with pytest.raises(UserError, match="weights of resnet34, not of resnet18"):
        make().load_backbone(tmp_path / "weights.safetensors")


REFUSED = {
    "size": ({"size": 100}, "a size of 100 is no multiple of 32"),
    "nothing": ({"size": 0}, "a size of 0 is no multiple of 32"),
    "stages": ({"stages": 0}, "0 stages: there is at least one"),
    "maps": ({"stages": 2, **REFINE_ALONE, "use_refinemap": False}, "several stages, but no maps for the later ones"),
    "heads": ({"stages": 2, "heads": 1}, "refine maps are made of what several heads say"),
    "decoder": ({"decoder": "whole_hand"}, "8 heads of a whole_hand decoder"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_arguments_that_make_no_network_are_refused(name):
    switches, message = REFUSED[name]
    with pytest.raises(ValueError, match=f"^{message}"):
        tiny(**switches)


@pytest.mark.parametrize("shape", [(96, 96), (64, 96)])
def test_pictures_of_another_size_are_refused(shape):
    with pytest.raises(ValueError, match=f"^pictures of {shape[1]} x {shape[0]}, but the decoder's layers fit 64 x 64"):
        tiny()(random(1, 3, *shape))


def test_the_baselines_maps_are_heat_before_depth_a_quarter_of_the_pictures_side():
    network, seen = baseline(num_joints=5).eval(), []
    network.to_maps.register_forward_hook(lambda module, inputs, output: seen.append(output))
    [joints] = network(random(2, 3, 64, 96))
    assert seen[0].shape == (2, 10, 16, 24)
    assert torch.equal(joints, soft_argmax(seen[0][:, :5], seen[0][:, 5:]))


def test_the_baseline_refuses_pictures_that_its_maps_do_not_span():
    with pytest.raises(ValueError, match=r"^pictures of 70 x 64: sides are multiples of 32"):
        baseline()(random(1, 3, 64, 70))


def test_soft_argmax_of_a_single_cell_is_its_place_and_depth():
    heat, depth = torch.zeros(1, 2, 6, 9), random(1, 2, 6, 9)
    heat[0, 0, 4, 7] = heat[0, 1, 0, 2] = 1e4
    joints = soft_argmax(heat, depth)
    expected = [[uv_from_px(torch.tensor(7.0), 9), uv_from_px(torch.tensor(4.0), 6), depth[0, 0, 4, 7]], [(2 * 2 + 1) / 9 - 1, 1 / 6 - 1, depth[0, 1, 0, 2]]]
    torch.testing.assert_close(joints[0], torch.tensor(expected), atol=1e-6, rtol=0)


def test_soft_argmax_of_a_flat_map_is_the_middle():
    torch.testing.assert_close(soft_argmax(torch.zeros(1, 1, 8, 8), torch.full((1, 1, 8, 8), 0.3)), torch.tensor([[[0, 0, 0.3]]]), atol=1e-6, rtol=0)


def test_soft_argmax_gives_back_the_joints_of_heat_maps():
    """A Gaussian's mean is its centre, also between cells, where its edges are far: exp(-d^2 / 9) more than 16 cells from any is below 1e-12."""
    joints = 0.9 * torch.rand(2, 5, 3, generator=torch.Generator().manual_seed(3)) - 0.45
    heat = heat_maps(joints.double(), side=64, sigma=3.0).log().float()
    depth = joints[..., 2, None, None].expand(2, 5, 64, 64)
    torch.testing.assert_close(soft_argmax(heat, depth), joints, atol=1e-5, rtol=0)


def test_soft_argmax_is_the_mean_under_the_softmax():
    heat, depth = random(1, 1, 3, 4), random(1, 1, 3, 4, seed=1)
    shares = {(row, column): math.exp(heat[0, 0, row, column].item()) for row in range(3) for column in range(4)}
    whole = sum(shares.values())
    u = sum(share * ((2 * column + 1) / 4 - 1) for (_, column), share in shares.items()) / whole
    v = sum(share * ((2 * row + 1) / 3 - 1) for (row, _), share in shares.items()) / whole
    z = sum(share * depth[0, 0, row, column].item() for (row, column), share in shares.items()) / whole
    assert soft_argmax(heat, depth)[0, 0].tolist() == pytest.approx([u, v, z], abs=1e-6)


def test_the_loss_is_the_mean_absolute_difference_of_all_stages():
    outputs, targets = [random(4, 5, 3, seed=seed) for seed in range(3)], random(4, 5, 3, seed=9)
    terms = jar_losses(outputs, targets, torch.ones(4, 5, dtype=torch.bool))
    assert set(terms) == {"uv", "depth"}
    whole = sum(torch.nn.functional.l1_loss(output, targets).item() for output in outputs) / 3
    assert sum(terms.values()).item() == pytest.approx(whole, abs=1e-6)
    assert terms["depth"].item() == pytest.approx(sum((output - targets)[..., 2].abs().mean().item() for output in outputs) / 9, abs=1e-6)


def test_a_still_without_depth_counts_by_u_and_v_alone():
    """Two joints, of which one has a depth: off by 0.1, 0.2 and 0.3, and by 0.4, 0.5 and what is not known."""
    targets = torch.tensor([[[0.1, -0.2, 0.3]], [[0.4, -0.5, math.nan]]])
    terms = jar_losses([torch.zeros(2, 1, 3)], targets, torch.ones(2, 1, dtype=torch.bool), torch.tensor([[True], [False]]))
    assert terms["uv"].item() == pytest.approx((0.1 + 0.2 + 0.4 + 0.5) / 3 / 2, abs=1e-6)
    assert terms["depth"].item() == pytest.approx(0.3 / 3, abs=1e-6)


@pytest.mark.parametrize("hole", [math.nan, math.inf, 1e30])
def test_joints_that_are_not_valid_count_nothing(hole):
    valid = torch.tensor([[True, False, True], [False, True, True]])
    targets, output = random(2, 3, 3), random(2, 3, 3, seed=1).requires_grad_()
    expected = (output - targets)[valid].abs().mean().item()
    terms = jar_losses([output, output], torch.where(valid[..., None], targets, hole), valid, torch.ones_like(valid))
    total = sum(terms.values())
    total.backward()
    assert total.item() == pytest.approx(expected, abs=1e-6)
    torch.testing.assert_close(output.grad, (output - targets).detach().sign() * valid[..., None] / (3 * 4), atol=1e-7, rtol=0)


def test_nothing_valid_costs_nothing():
    output = random(2, 3, 3).requires_grad_()
    terms = jar_losses([output], torch.full((2, 3, 3), math.nan), torch.zeros(2, 3, dtype=torch.bool))
    assert [term.item() for term in terms.values()] == [0, 0]
    sum(terms.values()).backward()
    assert not output.grad.any()


def test_a_loss_of_no_outputs_is_refused():
    with pytest.raises(ValueError, match=r"^no outputs"):
        jar_losses([], random(2, 3, 3), torch.ones(2, 3, dtype=torch.bool))
