"""Estimators made ready to predict: all networks say what they said, frame by frame too, and the originals stay as they are; layers against torch's own."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from seqgen.estimators import ESTIMATORS
from seqgen.estimators.checkpoint import new_estimator
from seqgen.estimators.cost import blank_view
from seqgen.estimators.inference import LaidOutConvolution, LaidOutLinear, for_inference

SMALL = {"backbone": "resnet18", "width": 0.125}
JAR = {**SMALL, "size": 64, "hidden": 32}
NETWORKS = {
    "handr2n2": ("handr2n2", {"iterations": 2, "neighbours": 16}),
    "srn": ("srn", {"width": 0.125}),
    "srn, deconvolution": ("srn", {"width": 0.125, "interface": "deconvolution"}),
    "jgr_p2o": ("jgr_p2o", {"channels": 16}),
    "jgr_p2o, attention": ("jgr_p2o", {"channels": 16, "weighting": "attention"}),
    "jar": ("jar", {**JAR, "stages": 2}),
    "jar, 2.5D": ("jar", {**JAR, "kind": "detection25d"}),
    "jar, resnet50": ("jar", {**JAR, "backbone": "resnet50"}),
    **{f"seqhand, {temporal}": ("seqhand", {**SMALL, "temporal": temporal}) for temporal in ("none", "lstm", "convlstm", "i3d", "motion")},
}


def lively(name):
    """A small estimator, as in training, with statistics and scales of batch normalisation that count."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        kind, changes = NETWORKS[name]
        estimator = new_estimator(ESTIMATORS[kind].config(**changes))
        for module in estimator.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                for tensor in (module.weight.data, module.running_var):
                    tensor.copy_(0.5 + torch.rand(tensor.shape))
                for tensor in (module.bias.data, module.running_mean):
                    tensor.copy_(0.1 * torch.randn(tensor.shape))
    return estimator


def view_for(estimator, clips, seed=0):
    """Frames of noise, half a metre away; depth has a border of background."""
    kind, generator = ESTIMATORS[estimator.config.name].input, torch.Generator().manual_seed(seed)
    view = blank_view(kind(**({"size": 64} if estimator.config.name in ("jar", "seqhand") else {})), clips=clips)
    if view.rgb is not None:
        view.rgb.random_(0, 256, generator=generator)
    elif view.depth is not None:
        view.depth[..., 30:-30, 30:-30].uniform_(-1, 0.9, generator=generator)
    else:
        view.points.copy_((torch.rand(view.points.shape, generator=generator) - 0.5) * torch.tensor([0.7, 0.5, 0.2]))
    camera = torch.tensor([[200.0, 0.0, 50.0], [0.0, 200.0, 50.0], [0.0, 0.0, 1.0]]).expand(view.intrinsics.shape)
    return replace(view, centre_m=view.centre_m + torch.tensor([0.0, 0.0, 0.5]), cube_m=0.25 * view.cube_m, intrinsics=camera)


def places(prediction):
    """Joints in space, where the estimator knows it: from the root they are differences of these, with their rounding."""
    return prediction.joints_m if prediction.root_m is None else prediction.joints_m + prediction.root_m[:, :, None]


def assert_close_by_size(tensor, expected):
    """To 1e-5 of the largest."""
    torch.testing.assert_close(tensor, expected, atol=1e-5 * expected.abs().max().item(), rtol=0)


@pytest.mark.parametrize("name", NETWORKS)
def test_it_says_what_the_estimator_says(name):
    """Of one stream and of several, in turns, a frame and the next one."""
    estimator = lively(name)
    ready = for_inference(estimator)
    estimator.eval()
    assert not [module for module in ready.modules() if isinstance(module, nn.BatchNorm2d)]
    for clips in (1, 3, 1):
        states = None, None
        for frame in range(2):
            view = view_for(estimator, clips, seed=clips + frame)
            (expected, before), (said, state) = (one.step(view, old) for one, old in zip((estimator, ready), states, strict=True))
            states = before, state
            assert_close_by_size(places(said), places(expected))
            assert_close_by_size(said.joints_px, expected.joints_px)
            assert expected.joints_m.std() > 1e-4  # there is something to compare


@pytest.mark.parametrize("name", ["seqhand, convlstm", "jar", "handr2n2"])
def test_the_estimator_stays_as_it_is(name):
    estimator = lively(name)
    before = copy.deepcopy(estimator.state_dict())
    ready, view = for_inference(estimator), view_for(estimator, 1)
    said = ready.step(view, None)[0].joints_m
    assert estimator.training and all(parameter.requires_grad for parameter in estimator.parameters())
    assert all(torch.equal(tensor, estimator.state_dict()[key]) for key, tensor in before.items()) and before.keys() == estimator.state_dict().keys()
    for parameter in estimator.parameters():
        parameter.data.zero_()
    assert not ready.training and torch.equal(ready.step(view, None)[0].joints_m, said)


CONVOLUTIONS = {
    "3 x 3": {"kernel_size": 3, "padding": 1},
    "of every second pixel": {"kernel_size": 3, "padding": 1, "stride": 2},
    "1 x 1, no bias": {"kernel_size": 1, "bias": False},
    "7 x 5 in groups": {"kernel_size": (7, 5), "padding": (3, 2), "groups": 4},
    "wide": {"kernel_size": 3, "dilation": 2},
}


@pytest.mark.parametrize("kind", CONVOLUTIONS)
@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_a_convolution_is_torchs_in_double_precision(kind, order):
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        convolution = nn.Conv2d(8, 12, **CONVOLUTIONS[kind]).to(memory_format=order)
        laid_out = LaidOutConvolution(convolution)
        for size in ((1, 8, 9, 11), (1, 8, 40, 40), (4, 8, 9, 11)):
            maps = torch.randn(size).to(memory_format=order)
            expected = copy.deepcopy(convolution).double()(maps.double())
            torch.testing.assert_close(laid_out(maps).double(), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_layer_is_torchs_in_double_precision(bias):
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        layer = nn.Linear(20, 7, bias=bias)
        laid_out = LaidOutLinear(layer)
        for shape in ((1,), (5,), (2, 3, 4), (1,)):
            values = torch.randn(*shape, 20)
            torch.testing.assert_close(laid_out(values).double(), copy.deepcopy(layer).double()(values.double()), atol=1e-5, rtol=0)


@pytest.mark.filterwarnings("ignore:TF32 acceleration")  # of GPUs: told by torch when the switch is put back
def test_where_onednn_cannot_be_used_layers_are_torchs_own():
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        convolution, layer = nn.Conv2d(8, 8, 3), nn.Linear(8, 8)
        maps = torch.randn(1, 8, 6, 6)
        with torch.backends.mkldnn.flags(enabled=False):
            assert torch.equal(LaidOutConvolution(convolution)(maps), convolution(maps))
            assert torch.equal(LaidOutLinear(layer)(maps.transpose(1, 3)), layer(maps.transpose(1, 3)))
        convolution, layer, maps = convolution.double(), layer.double(), maps.double()
        assert torch.equal(LaidOutConvolution(convolution)(maps), convolution(maps))
        assert torch.equal(LaidOutLinear(layer)(maps.transpose(1, 3)), layer(maps.transpose(1, 3)))


def test_weights_are_laid_out_once_for_a_shape(monkeypatch):
    with torch.no_grad():
        laid_out, shapes = LaidOutLinear(nn.Linear(3, 2)), []
        plain = laid_out.lay_out
        monkeypatch.setattr(laid_out, "lay_out", lambda values: shapes.append(tuple(values.shape)) or plain(values))
        for rows in (1, 1, 4, 4, 1):
            laid_out(torch.ones(rows, 3))
    assert shapes == [(1, 3), (4, 3), (1, 3)]
