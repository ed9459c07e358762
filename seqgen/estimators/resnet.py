"""ResNet-18/34/50/101/152 without their last layer (He et al., CVPR 2016; strides in the 3 x 3 convolutions), under torchvision's parameter names.

    pictures (N,3,S,S) -> stem: conv1, bn1, ReLU, max pooling (S/4) -> layer1 .. layer4 (S/4 .. S/32) -> features (N,C,S/32,S/32), sides rounded up

C is 512 times `width` for 18 and 34, 2048 times `width` for the deeper ones. Weights published for torchvision load at width 1; their `fc` is left out.
Knows nothing of time: clips come in as so many pictures, and batch normalisation in training is over all of them.
"""

import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import relu

from seqgen.errors import UserError
from seqgen.files import file_digest

Weights = Mapping[str, Tensor]
ResNetName = Literal["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]

STEM_CHANNELS = 64
# What torch and safetensors raise, by trial, for files that are none of theirs, or changed or cut anywhere.
DAMAGED = (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, LookupError, AssertionError, TypeError, struct.error)


UNSAFE_NAME = re.compile(r"GLOBAL ([\w.]+)")  # in torch's words on what a file names besides tensors


class Architecture(NamedTuple):
    """Blocks of each of the four layers, and whether they are bottlenecks."""

    blocks: tuple[int, int, int, int]
    bottleneck: bool


ARCHITECTURES: dict[str, Architecture] = {
    "resnet18": Architecture((2, 2, 2, 2), bottleneck=False),
    "resnet34": Architecture((3, 4, 6, 3), bottleneck=False),
    "resnet50": Architecture((3, 4, 6, 3), bottleneck=True),
    "resnet101": Architecture((3, 4, 23, 3), bottleneck=True),
    "resnet152": Architecture((3, 8, 36, 3), bottleneck=True),
}


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut."""

    expansion = 1

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = _shortcut(channels_in, channels, stride)

    def forward(self, features: Float[Tensor, "batch channels height width"], seen: Tensor | None = None) -> Float[Tensor, "batch ..."]:
        """`seen`: what the first convolution reads in place of the features, when it reads more than them."""
        inner = relu(self.bn1(self.conv1(features if seen is None else seen)))
        return relu(self.bn2(self.conv2(inner)) + self.downsample(features))


class Bottleneck(nn.Module):
    """A 1 x 1, a 3 x 3 and a 1 x 1 convolution and a shortcut."""

    expansion = 4

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, 4 * channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * channels)
        self.downsample = _shortcut(channels_in, 4 * channels, stride)

    def forward(self, features: Float[Tensor, "batch channels height width"], seen: Tensor | None = None) -> Float[Tensor, "batch ..."]:
        """`seen`: what the first convolution reads in place of the features, when it reads more than them."""
        inner = relu(self.bn1(self.conv1(features if seen is None else seen)))
        inner = relu(self.bn2(self.conv2(inner)))
        return relu(self.bn3(self.conv3(inner)) + self.downsample(features))


def _shortcut(channels_in: int, channels_out: int, stride: int) -> nn.Module:
    """Nothing where shapes agree, else a 1 x 1 convolution with batch normalisation."""
    if stride == 1 and channels_in == channels_out:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out))


class ResNet(nn.Module):
    """One of the five; its features have `channels_out` channels. `width` multiplies all channels."""

    def __init__(self, name: ResNetName, *, width: float = 1.0) -> None:
        super().__init__()
        self.name, self.width = name, width
        architecture = ARCHITECTURES[name]
        block = Bottleneck if architecture.bottleneck else BasicBlock
        channels = stem_channels(width)
        self.conv1 = nn.Conv2d(3, channels, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.stage_channels = [channels * 2**place * block.expansion for place in range(4)]  # of what layer1 .. layer4 give
        before = [channels, *self.stage_channels]
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            residual_layer(block, before[place], channels * 2**place, num_blocks, stride=1 if place == 0 else 2) for place, num_blocks in enumerate(architecture.blocks)
        )
        self.channels_out = self.stage_channels[-1]
        self.apply(initialise)

    @property
    def stages(self) -> tuple[nn.Sequential, ...]:
        """layer1 .. layer4, sequences of blocks."""
        return self.layer1, self.layer2, self.layer3, self.layer4

    def stem(self, pictures: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch stem quarter_height quarter_width"]:
        """Up to the first block."""
        return self.maxpool(relu(self.bn1(self.conv1(pictures))))

    def forward(self, pictures: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch channels rows columns"]:
        """Features of each picture."""
        features = self.stem(pictures)
        for stage in self.stages:
            features = stage(features)
        return features

    def load_torchvision_weights(self, weights: Weights, *, where: str) -> None:
        """Takes over a state dict of torchvision's ResNet of the same name; UserError, beginning with `where`, if it is of another network."""
        self.load_state_dict(matching_weights(self, weights, where=where))


def stem_channels(width: float) -> int:
    """Channels of the stem: 64 times `width`, which is a multiple of 1/8 (ValueError), so that all channels come in eights, as processors like them."""
    channels = round(STEM_CHANNELS * width)
    if channels < 8 or channels % 8 or channels != STEM_CHANNELS * width:
        raise ValueError(f"a width of {width:g} is no multiple of 1/8")
    return channels


def channels_of(name: ResNetName, *, width: float = 1.0) -> int:
    """Channels of a ResNet's features, without making it."""
    return stem_channels(width) * 8 * (4 if ARCHITECTURES[name].bottleneck else 1)


def residual_layer(block: type[BasicBlock | Bottleneck], channels_in: int, channels: int, num_blocks: int, *, stride: int) -> nn.Sequential:
    """Blocks of one resolution; the first may shrink."""
    rest = (block(channels * block.expansion, channels, 1) for _ in range(num_blocks - 1))
    return nn.Sequential(block(channels_in, channels, stride), *rest)


def initialise(module: nn.Module) -> None:
    """He initialisation by fan-out, as torchvision's; batch normalisation starts as the identity by itself."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def weights_digest(path: Path) -> str:
    """sha256 of the file that `read_weights` reads."""
    try:
        return file_digest(_weights_file(path))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; give torchvision's file of weights or a checkpoint") from None


def _weights_file(path: Path) -> Path:
    """The file itself, or the one in a checkpoint."""
    return path / "weights.safetensors" if path.is_dir() else path


def read_weights(path: Path) -> dict[str, Tensor]:
    """A ResNet's weights: a .safetensors file, one of torch's checkpoints, of which nothing but tensors is read, or the backbone in a checkpoint of ours."""
    if path.is_dir():
        inside = {name.rpartition("backbone.")[2]: tensor for name, tensor in read_weights(_weights_file(path)).items() if "backbone." in name}
        if not inside:
            raise UserError(f"{path}: a checkpoint without a backbone; give one of a network with a ResNet")
        return inside
    try:
        _refuse_bombs(path)
        weights = load_file(path) if path.suffix == ".safetensors" else _load(path)
    except (FileNotFoundError, IsADirectoryError):
        raise UserError(f"{path}: no such file; weights are a .safetensors or .pth file of torchvision's names") from None
    except pickle.UnpicklingError as error:
        named = UNSAFE_NAME.search(str(error))
        what = f"it names {named[1][:80]}, which is no tensor" if named else "it is damaged, or holds more than tensors"
        raise UserError(f"{path}: not a file of weights: {what}; nothing was run, save the model's state_dict() alone") from None
    except DAMAGED as error:
        raise UserError(f"{path}: not a file of weights: {str(error).splitlines()[0] if str(error) else type(error).__name__}") from None
    if not isinstance(weights, Mapping) or not all(isinstance(name, str) for name in weights) or not all(isinstance(tensor, Tensor) for tensor in weights.values()):
        raise UserError(f"{path}: not a plain table of tensors; save the model's state_dict() alone")
    return dict(weights)


def _load(path: Path) -> object:
    """What a file of torch's holds, tensors and plain containers alone; its warnings of what else may be in it are no news to the user, who is told."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.load(path, map_location="cpu", weights_only=True)


def _refuse_bombs(path: Path) -> None:
    """UserError for an archive that unpacks to more than it holds: torch stores its members as they are."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            claimed = sum(info.file_size for info in archive.infolist())
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a file of weights: {error}") from None
    if claimed > path.stat().st_size:
        raise UserError(f"{path}: not a file of weights: {path.stat().st_size:,} bytes that unpack to {claimed:,}")


def matching_weights(resnet: ResNet, weights: Weights, *, where: str) -> dict[str, Tensor]:
    """The weights without `fc`, whole, if names and shapes are the network's. Counters of batches may be missing, as in old files."""
    own = resnet.state_dict()
    given = {name: tensor for name, tensor in weights.items() if not name.startswith("fc.")}
    other = architecture_of(given)
    if other not in (None, resnet.name):
        raise UserError(f"{where}: weights of {other}, not of {resnet.name}; set the backbone to {other} or give weights of {resnet.name}")
    missing = [name for name in own if name not in given and not name.endswith("num_batches_tracked")]
    for what, names in (("lacks", missing), ("has an unknown", [name for name in given if name not in own])):
        if names:
            raise UserError(f"{where}: {what} {names[0]}{_and_more(names)}; needed are the weights of torchvision's {resnet.name}")
    wrong = [name for name, tensor in given.items() if tensor.shape != own[name].shape]
    if wrong:
        shapes = f"{tuple(given[wrong[0]].shape)}, not {tuple(own[wrong[0]].shape)}"
        raise UserError(f"{where}: {wrong[0]} is {shapes}{_and_more(wrong)}; published weights need width 1")
    return {**own, **given}


def architecture_of(weights: Weights) -> str | None:
    """Which of the five has these names; None if none has."""
    places = [re.match(r"layer([1-4])\.(\d+)\.conv1\.weight$", name) for name in weights]
    found = [(int(place[1]), int(place[2])) for place in places if place]
    blocks = tuple(max((block + 1 for layer, block in found if layer == wanted), default=0) for wanted in (1, 2, 3, 4))
    bottleneck = "layer1.0.conv3.weight" in weights
    return next((name for name, known in ARCHITECTURES.items() if known == (blocks, bottleneck)), None)


def _and_more(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""
