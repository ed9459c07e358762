"""SRN: published counts, its maps against closed forms and loops, its stages against a chain written out, gradients through the maps, and its loss."""

import math

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from seqgen.estimators.cost import num_parameters
from seqgen.estimators.resnet import ResNet
from seqgen.estimators.srn.losses import srn_losses
from seqgen.estimators.srn.network import SrnNetwork
from seqgen.estimators.srn.reparameterisation import Deconvolution, coordinates, heat_maps_2d, heat_maps_3d, vector_fields

INTERFACES = ["fields", "heatmap3d", "heatmap2d", "heatmap2d_depth", "deconvolution"]
STAGE_1, PER_MAP = 11_019_008 + 21_546, 10 * 128  # of ResNet-18 and 14 joints; a map is read by a 3 x 3 and a 1 x 1 convolution to 128 channels
PUBLISHED = [  # joints, arguments, parameters, billions of MACs where known
    (14, {"stages": 1}, 11_191_786, 0.5665),
    (14, {}, 22_304_020, 0.9875),
    (14, {"stages": 3}, 33_487_934, 1.4269),
    (14, {"stages": 3, "accumulate": False}, 33_416_254, None),
    (16, {}, 22_320_416, 0.9902),
    (21, {"stages": 1}, 11_202_559, 0.5665),
    (21, {}, 22_361_406, 0.9967),
    (21, {"stages": 3}, 33_627_773, 1.4545),
    (14, {"stages": 1, "backbone": "resnet50"}, 23_587_818, 1.309),
    (14, {"backbone": "resnet50"}, 46_992_404, None),
    (14, {"interface": "heatmap3d"}, 22_250_260, None),
    (14, {"interface": "heatmap2d"}, 22_250_260, None),
    (14, {"interface": "heatmap2d_depth"}, 22_268_180, None),
    # ours: 64 maps are read (22,314,260 published for a decoder elsewhere), and three decoding layers make them
    (14, {"interface": "deconvolution"}, 22_314_260 + 16 * 64 * (42 + 64 + 64) + 3 * 2 * 64, None),
    # plain ResNets of torchvision's counts without fc, one input channel, and a linear layer
    (14, {"stages": 1, "backbone": "resnet34"}, 21_284_672 - 6_272 + 513 * 42, None),
    (14, {"stages": 1, "backbone": "resnet101"}, 42_500_160 - 6_272 + 2049 * 42, None),
]


@pytest.fixture(autouse=True)
def one_start():
    """Modules draw their first weights from torch's own generator."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def random(*shape, seed=0, dtype=torch.float64):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def crop(num=2, side=64, seed=0, dtype=torch.float64):
    """Noise in the middle, background around it."""
    depth = torch.ones(num, 1, side, side, dtype=dtype)
    quarter = side // 4
    depth[:, :, quarter:-quarter, quarter:-quarter] = random(num, 1, side // 2, side // 2, seed=seed, dtype=dtype) - 0.5
    return depth


def joints(num=2, num_joints=4, seed=1, dtype=torch.float64, deeper=0.0):
    """Around the centre; `deeper` by 0.5, some are as near to the background's d of 1 as to the hand."""
    return random(num, num_joints, 3, seed=seed, dtype=dtype) - 0.5 + torch.tensor([0.0, 0.0, deeper], dtype=dtype)


def small(num_joints=4, **arguments):
    """An eighth of the channels, in double precision, as when it predicts."""
    return SrnNetwork(num_joints, width=0.125, **arguments).double().eval()


@pytest.mark.parametrize(("num_joints", "arguments", "parameters", "gmacs"), PUBLISHED)
def test_parameters_and_macs_are_the_published_ones(num_joints, arguments, parameters, gmacs):
    with torch.device("meta"):
        network = SrnNetwork(num_joints, **arguments).eval()
    assert num_parameters(network) == parameters
    if gmacs is not None:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            stages = network(torch.zeros(1, 1, 128, 128, device="meta"))
        assert [stage.shape for stage in stages] == [(1, num_joints, 3)] * arguments.get("stages", 2)
        assert counter.get_total_flops() / 2e9 == pytest.approx(gmacs, abs=5e-5)  # all the digits that are published


def test_parts_have_the_published_counts():
    with torch.device("meta"):
        network = SrnNetwork(14)
    assert num_parameters(network.features.conv1) == 3_136 and num_parameters(network.features.bn1) == 128
    assert num_parameters(network.features.layer1) == 147_968
    assert [num_parameters(regression) for regression in network.regressions] == [STAGE_1, STAGE_1 + 4 * 14 * PER_MAP]


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
def test_a_single_stage_is_the_resnet_of_that_name(backbone):
    """Under its names, on the depth as a grey picture."""
    network, resnet = small(stages=1, backbone=backbone), ResNet(backbone, width=0.125).double().eval()
    table = {**network.features.state_dict(), **{name: tensor for name, tensor in network.regressions[0].state_dict().items() if not name.startswith("fc.")}}
    table["conv1.weight"] = table["conv1.weight"].expand(-1, 3, -1, -1) / 3
    resnet.load_state_dict(table)
    with torch.no_grad():
        expected = network.regressions[0].fc(resnet(crop().expand(-1, 3, -1, -1)).mean((2, 3)))
        assert len(network(crop())) == 1
        torch.testing.assert_close(network(crop())[0].flatten(1), expected)


@pytest.mark.parametrize("accumulate", [True, False])
def test_three_stages_are_this_chain(accumulate):
    network = small(stages=3, accumulate=accumulate, kernel_size=0.9)
    first, second, third = network.regressions
    with torch.no_grad():
        features, depth = network.features(crop()), crop()[:, :, ::4, ::4]
        one = first(features)
        maps_one = vector_fields(one, depth, kernel_size=0.9)
        two = second(torch.cat([features, maps_one], 1))
        maps_two = vector_fields(two, depth, kernel_size=0.9)
        three = third(torch.cat([features, maps_one, maps_two] if accumulate else [features, maps_two], 1))
        for stage, expected in zip(network(crop()), (one, two, three), strict=True):
            torch.testing.assert_close(stage, expected)
    assert (three - two).abs().max() > 1e-3 and maps_one.abs().max() > 0.1  # there is something to compare


@pytest.mark.parametrize("interface", INTERFACES)
def test_a_later_stage_depends_on_the_first_ones_joints_and_not_the_other_way(interface):
    network = small(interface=interface, kernel_size=1.0)
    first, last = network(crop(side=128))
    towards_first = torch.autograd.grad(last.sum(), network.regressions[0].fc.bias, retain_graph=True)[0]
    assert (towards_first != 0).sum() >= 8  # of 4 joints, two coordinates at least; heat maps in the picture are blind to the third
    assert torch.autograd.grad(first.sum(), network.regressions[1].fc.bias, allow_unused=True) == (None,)
    with torch.no_grad():
        network.regressions[0].fc.bias += 0.05
        moved_first, moved_last = network(crop(side=128))
    assert torch.allclose(moved_first, first + 0.05) and (moved_last - last).abs().max() > 1e-6


@pytest.mark.parametrize("interface", INTERFACES)
def test_a_crop_alone_is_as_in_a_batch(interface):
    network = small(interface=interface, stages=3)
    batch = crop(3, side=128)
    with torch.no_grad():
        for together, *alone in zip(network(batch), *(network(batch[place : place + 1]) for place in range(3)), strict=True):
            torch.testing.assert_close(together, torch.cat(alone), atol=1e-12, rtol=0)


@pytest.mark.parametrize("side", [32, 96, 160])
def test_other_multiples_of_32_run(side):
    with torch.no_grad():
        assert [stage.shape for stage in small()(crop(1, side))] == [(1, 4, 3)] * 2


@pytest.mark.parametrize(("shape", "interface"), [((1, 1, 100, 100), "fields"), ((1, 1, 64, 128), "fields"), ((1, 1, 64, 64), "deconvolution")])
def test_crops_of_other_sizes_are_refused(shape, interface):
    with pytest.raises(ValueError, match=r"crops .*must be"):
        small(interface=interface)(torch.ones(shape, dtype=torch.float64))


@pytest.mark.parametrize("wrong", [{"num_joints": 0}, {"stages": 0}, {"kernel_size": 0.0}])
def test_arguments_that_make_no_network_are_refused(wrong):
    with pytest.raises(ValueError, match=r"at least one|reaches no pixel"):
        SrnNetwork(**{"num_joints": 4, **wrong})


def test_joints_are_of_full_precision_under_autocast():
    network = SrnNetwork(4, width=0.125).eval()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        stages = network(crop(dtype=torch.float32))
    assert all(stage.dtype == torch.float32 for stage in stages)
    assert not any(torch.equal(stage, stage.bfloat16().float()) for stage in stages)


def test_a_line_of_pixels_sees_a_joint_at_its_end():
    """Flat depth, the joint in the upper left corner: rows and columns away by 2 / 31 each, until the kernel of 0.4 ends after six."""
    maps = vector_fields(torch.tensor([[[-1.0, -1.0, 0.0]]], dtype=torch.float64), torch.zeros(1, 1, 32, 32, dtype=torch.float64))[0]
    expected = torch.tensor([max(0.4 - 2 * place / 31, 0.0) for place in range(32)], dtype=torch.float64)
    assert (expected > 0).sum() == 7
    for line, axis in ((maps[:, 0, :], 0), (maps[:, :, 0], 1)):
        torch.testing.assert_close(line[3], expected, atol=1.1e-4, rtol=0)  # the floor under distances: 1e-4 at the joint itself
        towards = torch.zeros(3, 32, dtype=torch.float64)
        towards[axis, 1:7] = -1.0  # leftwards along the row, upwards along the column; no direction at the joint
        torch.testing.assert_close(line[:3], towards, atol=2e-6, rtol=0)


def loop_maps(joints_uvd, depth, kernel_size, along):
    """Eq. 1 and 2, pixel by pixel and joint by joint."""
    num, num_joints, side = len(joints_uvd), joints_uvd.shape[1], depth.shape[-1]
    directions, heat = torch.zeros(num, 3 * num_joints, side, side, dtype=torch.float64), torch.zeros(num, num_joints, side, side, dtype=torch.float64)
    for n, j, row, column in torch.cartesian_prod(*(torch.arange(count) for count in (num, num_joints, side, side))).tolist():
        d = depth[n, 0, row, column].item()
        offset = [place - pixel for place, pixel in zip(joints_uvd[n, j].tolist(), (along[column], along[row], d), strict=True)]
        distance = math.sqrt(sum(x * x for x in offset) + 1e-8)
        if d < 1 and distance <= kernel_size:
            heat[n, j, row, column] = kernel_size - distance
            directions[n, 3 * j : 3 * j + 3, row, column] = torch.tensor(offset, dtype=torch.float64) / distance
    return directions, heat


@pytest.mark.parametrize(("grid", "along"), [("corners", [-1 + 2 * i / 7 for i in range(8)]), ("pixels", [-1 + i / 4 for i in range(8)])])
def test_maps_equal_their_loop_twin(grid, along):
    points, depth = joints(deeper=0.5), crop(side=8)
    directions, heat = loop_maps(points, depth, 0.6, along)
    assert 20 < (heat > 0).sum() < heat.numel() / 2
    torch.testing.assert_close(vector_fields(points, depth, kernel_size=0.6, grid=grid), torch.cat([directions, heat], 1), atol=1e-7, rtol=0)
    torch.testing.assert_close(heat_maps_3d(points, depth, kernel_size=0.6, grid=grid), heat, atol=1e-7, rtol=0)


def test_directions_are_unit_vectors_near_joints_on_the_hand_and_zero_elsewhere():
    points, depth = joints(num_joints=14, deeper=0.5), crop(side=32)
    maps = vector_fields(points, depth)
    directions, heat = maps[:, :42].unflatten(1, (14, 3)), maps[:, 42:]
    length, on = directions.norm(dim=2), heat > 0
    assert on.sum() > 500 and torch.equal(length > 0, on)
    torch.testing.assert_close(length[on], torch.ones_like(length[on]), atol=1e-4, rtol=0)  # pixels are further than 0.01 from these joints
    assert not on[(depth == 1).expand_as(on)].any()
    reached = points[..., None, None] - directions * (0.4 - heat)[:, :, None]  # from the joint backwards: the pixel's depth
    torch.testing.assert_close(reached[:, :, 2][on], depth.expand_as(on)[on], atol=1e-6, rtol=0)


@pytest.mark.parametrize("grid", ["corners", "pixels"])
def test_grids_hold_what_they_say(grid):
    like = torch.zeros(1)
    if grid == "corners":
        torch.testing.assert_close(coordinates(32, grid, like)[[0, -1]], torch.tensor([-1.0, 1.0]))
    else:  # pixel 4 i of 128, whose u is pixel / 64 - 1
        torch.testing.assert_close(coordinates(32, grid, like), torch.arange(0, 128, 4) / 64 - 1)
    assert coordinates(32, grid, like).diff().std() < 1e-6


@pytest.mark.parametrize("maps", [vector_fields, heat_maps_3d, heat_maps_2d, lambda points, depth: heat_maps_2d(points, depth, with_depth=True)])
def test_gradients_into_the_joints_are_finite_differences(maps):
    depth = crop(1, side=8)
    assert torch.autograd.gradcheck(lambda points: maps(points, depth), (joints(1, 3).requires_grad_(),))


def test_gradients_are_finite_where_a_joint_is_a_pixel():
    depth = torch.zeros(1, 1, 32, 32)
    points = torch.stack([torch.tensor([torch.linspace(-1, 1, 32)[5], torch.linspace(-1, 1, 32)[9], 0.0])])[None].requires_grad_()
    maps = vector_fields(points, depth)
    assert maps[0, 3, 9, 5].item() == pytest.approx(0.4 - 1e-4, abs=1e-6) and not maps[0, :3, 9, 5].any()
    (gradient,) = torch.autograd.grad(maps.sum(), points)
    assert gradient.isfinite().all() and gradient.any()


@pytest.mark.parametrize("interface", INTERFACES)
def test_a_crop_without_a_hand_gives_numbers(interface):
    network, nothing = SrnNetwork(4, width=0.125, interface=interface), torch.ones(2, 1, 128, 128)
    for training in (True, False):
        stages = network.train(training)(nothing)
        sum(stage.sum() for stage in stages).backward()
        assert all(stage.isfinite().all() for stage in stages)
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())
    if interface in ("fields", "heatmap3d"):
        assert not network.maps[0](joints(dtype=torch.float32, deeper=0.5), nothing[:, :, ::4, ::4]).any()


def test_heat_maps_in_the_picture_are_gaussians_at_the_joints_pixel():
    """One joint at pixel (8, 20) of 32, i.e. u = 8 / 16 - 1, v = 20 / 16 - 1; blind to the depth picture."""
    maps = heat_maps_2d(torch.tensor([[[-0.5, 0.25, -0.6]]], dtype=torch.float64), torch.ones(1, 1, 32, 32, dtype=torch.float64), with_depth=True)[0]
    for row, column in ((20, 8), (20, 11), (17, 8), (0, 31)):
        expected = math.exp(-((column - 8) ** 2 + (row - 20) ** 2) / 3.4**2)
        assert maps[0, row, column].item() == pytest.approx(expected, rel=1e-9)
        assert maps[1, row, column].item() == pytest.approx(-0.6 * expected, rel=1e-9)


def test_heat_maps_in_the_picture_are_as_wide_on_any_grid():
    fine, coarse = (heat_maps_2d(joints(), torch.ones(2, 1, side, side, dtype=torch.float64)) for side in (64, 32))
    torch.testing.assert_close(fine[:, :, ::2, ::2], coarse)


def test_the_decoder_is_three_transposed_convolutions():
    """Its middle layer does not overlap, so a cell of 4 x 4 depends on one input cell alone; its sides are 1, 4, 16, 32."""
    decoder = Deconvolution(4).double().eval()
    sizes = []
    for layer in (decoder.deconv1, decoder.deconv2, decoder.deconv3):
        layer.register_forward_hook(lambda _module, _inputs, output: sizes.append(tuple(output.shape)))
    with torch.no_grad():
        maps = decoder(joints(), torch.ones(2, 1, 32, 32, dtype=torch.float64))
    assert sizes == [(2, 64, 4, 4), (2, 64, 16, 16), (2, 64, 32, 32)]
    assert maps.shape == (2, 64, 32, 32) and maps.min() == 0 and maps.max() > 0


def labels(num=3, num_joints=2):
    return joints(num, num_joints, seed=7), torch.ones(num, num_joints, dtype=torch.bool)


def test_the_loss_is_the_sum_of_smooth_l1_over_joints_axes_and_stages():
    label, valid = labels()
    off = torch.zeros_like(label)
    off[0, 0] = torch.tensor([0.004, -0.3, 0.0])
    off[2, 1, 2] = 0.02
    terms = srn_losses([label + off, label - 0.01], label, valid)
    assert list(terms) == ["stage_1", "stage_2"]
    assert terms["stage_1"].item() == pytest.approx((0.5 * 0.004**2 + 0.01 * 0.295 + 0.01 * 0.015) / 3)
    assert terms["stage_2"].item() == pytest.approx(3 * 2 * 3 * 0.5 * 0.01**2 / 3)
    squares = srn_losses([label + off], label, valid, loss="l2")
    assert squares["stage_1"].item() == pytest.approx(0.5 * (0.004**2 + 0.3**2 + 0.02**2) / 3)


@pytest.mark.parametrize(("arguments", "limit"), [({}, 0.01), ({"delta": 0.2}, 0.2), ({"loss": "l2"}, math.inf)])
def test_the_pull_on_a_coordinate_is_its_error_up_to_delta(arguments, limit):
    label, valid = labels()
    found = (label + joints(3, 2, seed=9)).requires_grad_()
    (gradient,) = torch.autograd.grad(sum(srn_losses([found], label, valid, **arguments).values()), found)
    torch.testing.assert_close(gradient, (found - label).detach().clamp(-limit, limit) / 3)


def test_joints_that_are_not_valid_count_nothing_whatever_they_hold():
    label, valid = labels()
    valid[0, 1] = valid[2] = False
    found = joints(3, 2, seed=9).requires_grad_()
    expected = sum(srn_losses([found[:1, :1]], label[:1, :1], valid[:1, :1]).values()) + sum(srn_losses([found[1:2]], label[1:2], valid[1:2]).values())
    spoilt = label.clone()
    spoilt[~valid] = math.nan
    loss = sum(srn_losses([found], spoilt, valid).values())
    assert loss.item() == pytest.approx(expected.item() / 2)  # two frames have a label
    (gradient,) = torch.autograd.grad(loss, found)
    assert gradient[valid].all() and not gradient[~valid].any()


def test_a_batch_without_labels_costs_nothing():
    label, valid = labels()
    found = joints(3, 2, seed=9).requires_grad_()
    loss = sum(srn_losses([found], torch.full_like(label, math.nan), torch.zeros_like(valid)).values())
    assert loss.item() == 0 and not torch.autograd.grad(loss, found)[0].any()


@pytest.mark.parametrize("interface", INTERFACES)
def test_the_loss_pulls_at_every_weight_and_falls_as_its_gradient_says(interface):
    """A short step of descent, of length eta |g|, lowers it by eta |g|^2."""
    network = small(interface=interface, kernel_size=1.0, stages=3).train()
    depth, label, valid, eta = crop(4, 128), joints(4), torch.ones(4, 4, dtype=torch.bool), 1e-6
    before = sum(srn_losses(network(depth), label, valid).values())
    before.backward()
    assert all(parameter.grad.any() for parameter in network.parameters())
    slope = sum(parameter.grad.square().sum() for parameter in network.parameters())
    with torch.no_grad():
        for parameter in network.parameters():
            parameter -= eta * parameter.grad
        fallen = before - sum(srn_losses(network(depth), label, valid).values())
    assert fallen.item() == pytest.approx(eta * slope.item(), rel=1e-2)


def test_training_starts_with_joints_near_the_centre_and_maps_that_see_the_hand():
    network = SrnNetwork(14)
    depth = crop(4, 128, dtype=torch.float32)
    with torch.no_grad():
        first, _ = network(depth)
        maps = network.maps[0](first, depth[:, :, ::4, ::4])
    assert first.abs().mean() < 0.4  # the kernel size
    assert (maps[:, 42:].flatten(2).amax(2) > 0).float().mean() > 0.9


def test_convolutions_start_as_he_says():
    """Normal with variance 2 / (outputs that a weight reaches)."""
    network = SrnNetwork(4, width=0.5)
    for convolution in (module for module in network.modules() if isinstance(module, nn.Conv2d)):
        fan_out = convolution.out_channels * convolution.kernel_size[0] ** 2
        assert convolution.weight.std().item() == pytest.approx(math.sqrt(2 / fan_out), rel=0.1)
