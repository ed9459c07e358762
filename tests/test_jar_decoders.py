"""JAR's decoders: published counts, plain twins, and who may read what: a joint its own maps, a head its own share, all joints one transformation."""

import pytest
import torch
from torch.nn.functional import conv2d, leaky_relu, linear, relu

from seqgen.estimators.cost import num_parameters
from seqgen.estimators.jar.decoders import GroupedLinear, JarDecoder, JointAdapter, MultiHeadDecoder, px_from_uv, uv_from_px

SMALL = {"num_joints": 5, "map_side": 2, "maps_per_head": 3, "hidden": 16}
OWN = {  # decoders of which a joint reads its own maps only
    "joint-specific": {"decoder": "joint_specific", "heads": 1},
    "joint-specific, pooled": {"decoder": "joint_specific", "heads": 1, "pooled": True},
    "joint-shared": {"decoder": "joint_shared", "heads": 1},
    "joint-shared, pooled": {"decoder": "joint_shared", "heads": 1, "pooled": True},
    "multi-head": {"decoder": "joint_shared", "heads": 4, "head_features": 6},
    "multi-head, pooled": {"decoder": "joint_shared", "heads": 4, "head_features": 6, "pooled": True},
}
SHARED = [name for name, switches in OWN.items() if switches["decoder"] == "joint_shared"]


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(autouse=True)
def one_start():
    """Modules draw their first weights from torch's own generator."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def small(**switches):
    return JarDecoder(32, **{**SMALL, **switches})


def test_u_and_v_are_one_at_the_crops_edges():
    for side in (8, 16, 256):
        places = torch.tensor([-0.5, (side - 1) / 2, side - 0.5])
        assert uv_from_px(places, side).tolist() == [-1, 0, 1]
    assert uv_from_px(torch.tensor(0.0), 256) == 1 / 256 - 1  # half a pixel inside the edge


def test_u_is_the_same_place_whatever_the_crops_size():
    """The middle of the left of four cells is the middle of the left quarter of 256 pixels."""
    assert uv_from_px(torch.tensor(0.0), 4) == uv_from_px(torch.arange(64.0), 256).mean() == -0.75


def test_pixels_and_uv_are_inverse():
    uv = 2 * torch.rand(50, generator=torch.Generator().manual_seed(1)) - 1
    torch.testing.assert_close(uv_from_px(px_from_uv(uv, 256), 256), uv, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("count", "make"),
    [
        (2_753_856, lambda: JointAdapter(2048, num_joints=21, heads=8, maps_per_head=8, pooled=False)),
        (2_363_904, lambda: MultiHeadDecoder(512, heads=8, hidden=512, head_features=64).heads),
        (264_195, lambda: MultiHeadDecoder(512, heads=8, hidden=512, head_features=64).fusion),
        (5_381_955, lambda: JarDecoder(2048)),
        (5_624_039, lambda: JarDecoder(512, decoder="whole_hand", heads=1)),
        (8_521_087, lambda: JarDecoder(2048, decoder="whole_hand", heads=1, maps_per_head=64, pooled=True, hidden=4096)),
        (21 * 264_195, lambda: JarDecoder(512, decoder="joint_specific", heads=1).decoder),
        (264_195, lambda: JarDecoder(512, decoder="joint_shared", heads=1).decoder),
    ],
    ids=["adapter", "heads", "fusion", "JAR", "FR", "AFR", "21 decoders", "one decoder"],
)
def test_parameter_counts_are_the_papers(count, make):
    with torch.device("meta"):
        assert num_parameters(make()) == count


def test_maps_are_dealt_out_joint_after_joint_and_head_after_head():
    adapter, features = JointAdapter(6, num_joints=3, heads=2, maps_per_head=4, pooled=False), random(2, 6, 2, 5)
    maps = leaky_relu(conv2d(features, adapter.convolution.weight, adapter.convolution.bias), 0.1)
    representations = adapter(features)
    assert representations.shape == (2, 3, 2, 4 * 2 * 5)
    for joint in range(3):
        for head in range(2):
            first = joint * 8 + head * 4
            torch.testing.assert_close(representations[:, joint, head], maps[:, first : first + 4].reshape(2, -1), atol=1e-6, rtol=0)


def test_pooled_representations_are_the_means_of_the_maps():
    flat, pooled = (JointAdapter(6, num_joints=3, heads=2, maps_per_head=4, pooled=pooled) for pooled in (False, True))
    pooled.load_state_dict(flat.state_dict())
    features = random(2, 6, 2, 5)
    torch.testing.assert_close(pooled(features), flat(features).unflatten(-1, (4, 10)).mean(-1), atol=1e-6, rtol=0)


def test_the_layout_in_memory_changes_nothing():
    adapter, features = JointAdapter(6, num_joints=3, heads=2, maps_per_head=4, pooled=False), random(2, 6, 4, 4)
    torch.testing.assert_close(adapter(features.to(memory_format=torch.channels_last)), adapter(features), atol=1e-6, rtol=0)


def test_a_grouped_layer_is_a_linear_layer_a_group():
    layer, features = GroupedLinear(3, 5, 4), random(2, 7, 3, 5)
    expected = torch.stack([linear(features[..., group, :], layer.weight[group], layer.bias[group]) for group in range(3)], -2)
    torch.testing.assert_close(layer(features), expected, atol=1e-6, rtol=0)


def test_a_grouped_layer_starts_as_linear_ones():
    """Uniform within 1 / sqrt(inputs), of which 20,000 draws come near the edge and have a variance of a third of its square."""
    for layer in (GroupedLinear(50, 20, 20), torch.nn.Linear(20, 1000)):
        assert 0.999 < layer.weight.abs().max() * 20**0.5 <= 1
        assert layer.weight.var().item() * 20 == pytest.approx(1 / 3, rel=0.05)
        assert layer.bias.abs().max() * 20**0.5 <= 1


def equation_3(features, layers, group=None):
    """Linear - ReLU - linear, of one group's weights."""
    weights = [tensor if group is None else tensor[group] for layer in (layers[0], layers[2]) for tensor in (layer.weight, layer.bias)]
    return linear(relu(linear(features, *weights[:2])), *weights[2:])


def test_several_heads_are_equation_4():
    decoder, representations = MultiHeadDecoder(7, heads=4, hidden=16, head_features=6), random(2, 5, 4, 7)
    decoded = decoder(representations)
    for joint in range(5):
        said = torch.cat([equation_3(representations[:, joint, head], decoder.heads, head) for head in range(4)], -1)
        torch.testing.assert_close(decoded.head_outputs[:, joint], said, atol=1e-6, rtol=0)
        torch.testing.assert_close(decoded.joints[:, joint], equation_3(said, decoder.fusion), atol=1e-6, rtol=0)


def test_joint_specific_decoders_are_one_equation_3_a_joint():
    module, features = small(**OWN["joint-specific"]), random(2, 32, 2, 2)
    representations = module.adapter(features)
    expected = torch.stack([equation_3(representations[:, joint, 0], module.decoder.transform, joint) for joint in range(5)], 1)
    torch.testing.assert_close(module(features).joints, expected, atol=1e-6, rtol=0)


def test_a_whole_hand_decoder_flattens_all_maps():
    module, features = small(decoder="whole_hand", heads=1), random(2, 32, 2, 2)
    maps = leaky_relu(conv2d(features, module.adapter.convolution.weight, module.adapter.convolution.bias), 0.1)
    expected = equation_3(maps.flatten(1), module.decoder.transform).reshape(2, 5, 3)
    torch.testing.assert_close(module(features).joints, expected, atol=1e-6, rtol=0)


def reach(module):
    """Size of the gradient of each joint's numbers (rows) in each joint's representations (columns)."""
    representations = module.adapter(random(1, 32, 2, 2)).detach().requires_grad_()
    joints = module.decoder(representations).joints
    return torch.stack([torch.autograd.grad(joint.square().sum(), representations, retain_graph=True)[0].abs().sum((0, 2, 3)) for joint in joints[0]])


@pytest.mark.parametrize("name", OWN)
def test_a_joint_reads_its_own_maps_only(name):
    reached = reach(small(**OWN[name])) > 0
    assert torch.equal(reached, torch.eye(5, dtype=torch.bool))


def test_a_whole_hand_reads_all_maps():
    assert (reach(small(decoder="whole_hand", heads=1)) > 0).all()


def test_a_head_reads_its_own_share_only():
    decoder, representations = MultiHeadDecoder(7, heads=4, hidden=16, head_features=6), random(1, 5, 4, 7).requires_grad_()
    said = decoder(representations).head_outputs.unflatten(-1, (4, 6))
    for head in range(4):
        [gradient] = torch.autograd.grad(said[:, :, head].square().sum(), representations, retain_graph=True)
        assert [bool(gradient[:, :, other].any()) for other in range(4)] == [other == head for other in range(4)]


def permuted(module):
    """What is decoded from permuted representations, and from the others, permuted after."""
    representations, order = module.adapter(random(2, 32, 2, 2)), torch.tensor([3, 0, 4, 1, 2])
    return module.decoder(representations[:, order]).joints, module.decoder(representations).joints[:, order]


@pytest.mark.parametrize("name", SHARED)
def test_shared_decoders_treat_all_joints_alike(name):
    torch.testing.assert_close(*permuted(small(**OWN[name])), atol=1e-6, rtol=0)


@pytest.mark.parametrize("switches", [OWN["joint-specific"], {"decoder": "whole_hand", "heads": 1}], ids=["joint-specific", "whole hand"])
def test_other_decoders_know_the_joints_apart(switches):
    before, after = permuted(small(**switches))
    assert (before - after).abs().amax((0, 2)).min() > 1e-3  # of every joint


@pytest.mark.parametrize("num_joints", [14, 16, 21])
@pytest.mark.parametrize("switches", [{"decoder": "whole_hand", "heads": 1}, *OWN.values()], ids=["whole hand", *OWN])
def test_any_number_of_joints(num_joints, switches):
    assert small(**{**switches, "num_joints": num_joints})(random(2, 32, 2, 2)).joints.shape == (2, num_joints, 3)


def test_only_several_heads_say_something_before_the_end():
    assert small(**OWN["multi-head"])(random(2, 32, 2, 2)).head_outputs.shape == (2, 5, 4 * 6)
    assert all(small(**OWN[name])(random(2, 32, 2, 2)).head_outputs is None for name in OWN if not name.startswith("multi-head"))


@pytest.mark.parametrize("decoder", ["whole_hand", "joint_specific"])
def test_several_heads_of_decoders_that_are_not_shared_are_refused(decoder):
    with pytest.raises(ValueError, match=f"^8 heads of a {decoder} decoder: several heads are of a joint_shared one"):
        JarDecoder(32, decoder=decoder)
