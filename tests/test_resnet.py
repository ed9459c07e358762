"""The ResNets: counts and names known from torchvision, one network against a plain twin, files of weights and what is refused."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.functional import batch_norm, conv2d, max_pool2d, relu

from seqgen.errors import UserError
from seqgen.estimators.cost import num_parameters
from seqgen.estimators.resnet import ARCHITECTURES, ResNet, channels_of, read_weights, weights_digest

COUNTS = {"resnet18": 11_176_512, "resnet34": 21_284_672, "resnet50": 23_508_032, "resnet101": 42_500_160, "resnet152": 58_143_808}  # torchvision's, without fc


def picture(size=64, num=2, seed=0):
    return torch.randn(num, 3, size, size, generator=torch.Generator().manual_seed(seed))


def lively(resnet, seed=1):
    """Statistics and scales of batch normalisation that are not those of the start, so that they count."""
    generator = torch.Generator().manual_seed(seed)
    for module in resnet.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.running_var):
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
            for tensor in (module.bias.data, module.running_mean):
                tensor.copy_(0.1 * torch.randn(tensor.shape, generator=generator))
    return resnet


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_parameter_counts_are_torchvisions(name):
    with torch.device("meta"):
        assert num_parameters(ResNet(name)) == COUNTS[name]


@pytest.mark.parametrize(("name", "some"), [("resnet18", "layer4.1.conv2.weight"), ("resnet34", "layer3.5.bn2.running_var"), ("resnet50", "layer1.0.downsample.1.bias")])
def test_parameter_names_are_torchvisions(name, some):
    with torch.device("meta"):
        names = ResNet(name).state_dict()
    assert some in names and "conv1.weight" in names and "bn1.num_batches_tracked" in names
    assert {own.split(".")[0] for own in names} == {"conv1", "bn1", "layer1", "layer2", "layer3", "layer4"}
    num_convolutions = sum(tensor.ndim == 4 for tensor in names.values())
    depth = int(name.removeprefix("resnet"))
    assert num_convolutions == depth - 1 + sum("downsample.0" in own for own in names)  # the depth counts fc, not the shortcuts


@pytest.mark.parametrize(("name", "width"), [("resnet18", 1.0), ("resnet18", 0.5), ("resnet50", 0.125)])
def test_features_have_the_channels_and_size_that_are_said(name, width):
    resnet = ResNet(name, width=width).eval()
    with torch.no_grad():
        assert resnet(picture(70, 1)).shape == (1, resnet.channels_out, 3, 3)  # 70 / 32, rounded up
    assert resnet.channels_out == channels_of(name, width=width) == int((512 if name == "resnet18" else 2048) * width)
    assert resnet.conv1.out_channels == 64 * width


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_features_equal_those_of_the_formula_over_the_state_dict(name):
    resnet = lively(ResNet(name, width=0.125)).eval()
    with torch.no_grad():
        torch.testing.assert_close(resnet(picture()), plain_resnet(resnet.state_dict(), picture()), atol=1e-5, rtol=1e-5)


def plain_resnet(weights, pictures):
    """A ResNet as torchvision's names describe it, block by block from the table of weights alone."""

    def conv(x, name, norm, stride=1):
        kernel = weights[f"{name}.weight"]
        x = conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2)
        return batch_norm(x, *(weights[f"{norm}.{what}"] for what in ("running_mean", "running_var", "weight", "bias")))

    x = max_pool2d(relu(conv(pictures, "conv1", "bn1", 2)), 3, 2, 1)
    blocks = sorted({tuple(name.split(".")[:2]) for name in weights if name.startswith("layer")}, key=lambda block: (block[0], int(block[1])))
    for layer, number in blocks:
        at, stride = f"{layer}.{number}", 2 if number == "0" and layer != "layer1" else 1
        shortcut = conv(x, f"{at}.downsample.0", f"{at}.downsample.1", stride) if f"{at}.downsample.0.weight" in weights else x
        if f"{at}.conv3.weight" in weights:
            y = relu(conv(x, f"{at}.conv1", f"{at}.bn1"))
            y = conv(relu(conv(y, f"{at}.conv2", f"{at}.bn2", stride)), f"{at}.conv3", f"{at}.bn3")
        else:
            y = conv(relu(conv(x, f"{at}.conv1", f"{at}.bn1", stride)), f"{at}.conv2", f"{at}.bn2")
        x = relu(y + shortcut)
    return x


@pytest.mark.parametrize("ending", ["safetensors", "pth"])
def test_weights_of_a_file_are_taken_over_without_fc(tmp_path, ending):
    source, path = lively(ResNet("resnet18")), tmp_path / f"weights.{ending}"
    table = {**source.state_dict(), "fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}
    save_file(table, path) if ending == "safetensors" else torch.save(table, path)
    resnet = ResNet("resnet18")
    resnet.load_torchvision_weights(read_weights(path), where=str(path))
    assert all(torch.equal(tensor, source.state_dict()[name]) for name, tensor in resnet.state_dict().items())


def test_counters_of_batches_may_be_missing():
    source, resnet = lively(ResNet("resnet18")), ResNet("resnet18")
    resnet.load_torchvision_weights({name: tensor for name, tensor in source.state_dict().items() if "num_batches" not in name}, where="old")
    assert torch.equal(resnet.layer4[1].bn2.running_mean, source.layer4[1].bn2.running_mean)


def test_the_backbone_of_a_checkpoint_is_taken_over(tmp_path):
    source, resnet = lively(ResNet("resnet18", width=0.125)), ResNet("resnet18", width=0.125)
    table = {f"network.encoder.backbone.{name}": tensor for name, tensor in source.state_dict().items()}
    save_file({**table, "network.head.1.weight": torch.zeros(26, 64)}, tmp_path / "weights.safetensors")
    resnet.load_torchvision_weights(read_weights(tmp_path), where=str(tmp_path))
    assert all(torch.equal(tensor, source.state_dict()[name]) for name, tensor in resnet.state_dict().items())
    assert weights_digest(tmp_path) == weights_digest(tmp_path / "weights.safetensors")


def test_a_checkpoint_without_a_backbone_is_refused(tmp_path):
    save_file({"network.head.1.weight": torch.zeros(26, 64)}, tmp_path / "weights.safetensors")
    with pytest.raises(UserError, match="a checkpoint without a backbone"):
        read_weights(tmp_path)


def without(table, name):
    return {other: tensor for other, tensor in table.items() if other != name}


REFUSED = {
    "another architecture": (lambda table: ResNet("resnet34").state_dict(), "weights of resnet34, not of resnet18; set the backbone to resnet34"),
    "missing": (lambda table: without(table, "layer1.0.bn1.weight"), "lacks layer1.0.bn1.weight; needed"),
    "unknown": (lambda table: {**table, "layer1.0.bn9.weight": torch.zeros(1)}, "has an unknown layer1.0.bn9.weight; needed"),
    "shape": (lambda table: {**table, "conv1.weight": torch.zeros(32, 3, 7, 7)}, r"conv1.weight is \(32, 3, 7, 7\), not \(64, 3, 7, 7\); published weights need width 1"),
    "nothing of it": (lambda table: {"weight": torch.zeros(1)}, r"lacks conv1.weight \(and 99 more\)"),
}


@pytest.mark.parametrize("wrong", REFUSED)
def test_weights_of_another_network_are_refused(wrong):
    change, message = REFUSED[wrong]
    resnet = ResNet("resnet18")
    with pytest.raises(UserError, match=f"^here: {message}"):
        resnet.load_torchvision_weights(change(resnet.state_dict()), where="here")


@pytest.mark.parametrize("content", [b"junk", b"(lp0", b"", b"\x80\x02", b"\x80\x02}q\x00X", b"PK\x03\x04", b"M\x01", b"0.", b"\x93"])
def test_files_of_anything_are_refused_in_one_line(tmp_path, content):
    (tmp_path / "any.pth").write_bytes(content)
    with pytest.raises(UserError, match=r"any\.pth: not a file of weights: .") as refused:
        read_weights(tmp_path / "any.pth")
    assert "\n" not in str(refused.value)


def test_a_file_of_weights_cut_anywhere_is_refused(tmp_path):
    for old_format in (True, False):
        torch.save({"conv1.weight": torch.zeros(2, 3)}, tmp_path / "whole.pth", _use_new_zipfile_serialization=not old_format)
        whole = (tmp_path / "whole.pth").read_bytes()
        for size in range(0, len(whole), 13):
            (tmp_path / "cut.pth").write_bytes(whole[:size])
            with pytest.raises(UserError, match="not a file of weights"):
                read_weights(tmp_path / "cut.pth")


def test_files_that_are_no_weights_are_refused(tmp_path):
    (tmp_path / "text.pth").write_text("no weights")
    (tmp_path / "text.safetensors").write_text("no weights")
    torch.save({"model": {"conv1.weight": torch.zeros(1)}}, tmp_path / "nested.pth")
    for name, message in (("text.pth", "not a file of weights"), ("text.safetensors", "not a file of weights"), ("nested.pth", "state_dict"), ("none.pth", "no such file")):
        with pytest.raises(UserError, match=message):
            read_weights(tmp_path / name)


class Opener:
    """Code hidden in a file."""

    def __reduce__(self):
        return open, ("/dev/null",)


def test_code_in_a_file_is_not_run(tmp_path):
    torch.save({"conv1.weight": Opener()}, tmp_path / "bad.pth")
    with pytest.raises(UserError, match="not a file of weights"):
        read_weights(tmp_path / "bad.pth")
