"""The Stacked Regression Network (Ren et al., BMVC 2019): one ResNet's first part, then its rest several times, each seeing where the last put the joints.

    depth crop (N,1,S,S) -> conv1, bn1, ReLU, maxpool, layer1 -> features (N,C,S/4,S/4)
    stage 1: features                           -> layer2, layer3, layer4 -> mean over the map -> linear -> joints (N,J,3)
    stage t: features | maps | maps | ...       -> the same, weights of its own                          -> joints (N,J,3)
                        of stages 1 .. t-1, or of t-1 alone without `accumulate`

    backbone     T = 1        T = 2        T = 3        millions of parameters, 14 joints
    resnet18     11.19        22.30        33.49
    resnet50     23.59        46.99

A crop's value is d = (z - z_centre) / half the cube, clamped to [-1, 1], exactly 1 where there is no hand; joints are (u,v,d), u and v from -1 to 1 over the
crop. As published, S is 128 and the mean is over 4 x 4 cells; other multiples of 32 run too, with a mean over more or fewer cells, but weights trained at
one size do not suit another. Knows nothing of cubes, cameras or metres.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate, relu

from seqgen.estimators.resnet import ARCHITECTURES, BasicBlock, Bottleneck, ResNet, ResNetName, Weights, initialise, matching_weights, residual_layer, stem_channels
from seqgen.estimators.srn.reparameterisation import Deconvolution, Grid, Interface, Reparameterisation

LAST_LAYER_STD = 0.01  # so that training starts with joints near the cube's centre: maps of joints far from every pixel are empty


class SrnNetwork(nn.Module):
    """SRN of `stages` (T) stages. `interface`, `kernel_size` (Theta, half cubes) and `grid` are the maps', see `reparameterisation`; `width` multiplies all
    channels. A single stage is a plain ResNet and has no maps."""

    def __init__(
        self, num_joints: int, *, stages: int = 2, backbone: ResNetName = "resnet18", interface: Interface = "fields", kernel_size: float = 0.4,
        grid: Grid = "corners", accumulate: bool = True, width: float = 1.0,
    ) -> None:  # fmt: skip
        super().__init__()
        if num_joints < 1 or stages < 1:
            raise ValueError(f"{num_joints} joints in {stages} stages: at least one of each is needed")
        if kernel_size <= 0:
            raise ValueError(f"a kernel size of {kernel_size:g} reaches no pixel; the paper's is 0.4")
        self.num_joints, self.accumulate, self.backbone, self.width = num_joints, accumulate, backbone, width
        self.features = PreliminaryFeatures(backbone, width=width)
        self.maps = nn.ModuleList(
            Deconvolution(num_joints) if interface == "deconvolution" else Reparameterisation(num_joints, interface, kernel_size=kernel_size, grid=grid)
            for _ in range(stages - 1)
        )
        self.regressions = nn.ModuleList(
            PoseRegression(num_joints, backbone, num_maps=sum(maps.channels for maps in self._read_by(stage)), width=width) for stage in range(stages)
        )
        self.apply(initialise)

    def _read_by(self, stage: int) -> list[nn.Module]:
        """Makers of the maps that a stage, counted from 0, reads beside the features."""
        return list(self.maps[:stage] if self.accumulate else self.maps[max(stage - 1, 0) : stage])

    def forward(self, depth: Float[Tensor, "batch 1 height width"]) -> list[Float[Tensor, "batch joints 3"]]:
        """(u,v,d) of every joint after each stage, the answer last; ValueError for crops that are not squares of a multiple of 32."""
        if depth.shape[-1] != depth.shape[-2] or depth.shape[-1] % 32:
            raise ValueError(f"crops of {depth.shape[-2]} x {depth.shape[-1]}: they must be squares of a multiple of 32, as published 128")
        features = self.features(depth)
        coarse = interpolate(depth, size=features.shape[-2:], mode="nearest")  # a mean of hand and background would be neither
        seen, joints = features, [self.regressions[0](features)]
        for make_maps, regression in zip(self.maps, self.regressions[1:], strict=True):
            seen = torch.cat([seen if self.accumulate else features, make_maps(joints[-1], coarse)], 1)
            joints.append(regression(seen))
        return joints

    def load_torchvision_weights(self, weights: Weights, *, where: str) -> None:
        """Starts the shared part, and each stage alike, from a ResNet of torchvision's: the stem's weights summed over the three colours, and zeros for the maps
        that a stage reads beside the features. UserError, beginning with `where`, if it is of another network."""
        with torch.device("meta"):
            given = matching_weights(ResNet(self.backbone, width=self.width), weights, where=where)
        given = {name: weight for name, weight in given.items() if not weight.is_meta}  # counters that old files lack
        given["conv1.weight"] = given["conv1.weight"].sum(1, keepdim=True)
        for part in (self.features, *self.regressions):
            own = part.state_dict()
            part.load_state_dict({name: _with_more_inputs(given[name], own[name]) if name in given else own[name] for name in own})


def _with_more_inputs(weight: Tensor, own: Tensor) -> Tensor:
    """A weight, filled up with zeros for the channels that it does not read."""
    if weight.shape == own.shape:
        return weight
    more = own.shape[1] - weight.shape[1]
    return torch.cat([weight, weight.new_zeros(len(weight), more, *weight.shape[2:])], 1)


class PreliminaryFeatures(nn.Module):
    """A ResNet's stem for one channel and its layer1, under torchvision's names."""

    def __init__(self, backbone: ResNetName, *, width: float = 1.0) -> None:
        super().__init__()
        channels, block = stem_channels(width), _block(backbone)
        self.conv1 = nn.Conv2d(1, channels, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = residual_layer(block, channels, channels, ARCHITECTURES[backbone].blocks[0], stride=1)

    def forward(self, depth: Float[Tensor, "batch 1 side side"]) -> Float[Tensor, "batch channels rows rows"]:
        """Features at a quarter of the size."""
        return self.layer1(self.maxpool(relu(self.bn1(self.conv1(depth)))))


class PoseRegression(nn.Module):
    """A ResNet's layer2 to layer4, whose first convolution and shortcut read `num_maps` channels more, and a linear layer."""

    def __init__(self, num_joints: int, backbone: ResNetName, *, num_maps: int, width: float = 1.0) -> None:
        super().__init__()
        channels, block = stem_channels(width), _block(backbone)
        _, *num_blocks = ARCHITECTURES[backbone].blocks
        before = [channels * block.expansion + num_maps, 2 * channels * block.expansion, 4 * channels * block.expansion]
        self.layer2, self.layer3, self.layer4 = (
            residual_layer(block, before[place], channels * 2 ** (place + 1), number, stride=2) for place, number in enumerate(num_blocks)
        )
        self.fc = nn.Linear(8 * channels * block.expansion, 3 * num_joints)
        nn.init.normal_(self.fc.weight, std=LAST_LAYER_STD)
        nn.init.zeros_(self.fc.bias)

    def forward(self, seen: Float[Tensor, "batch channels rows rows"]) -> Float[Tensor, "batch joints 3"]:
        """Joints from features and maps."""
        pooled = self.layer4(self.layer3(self.layer2(seen))).mean((-1, -2))
        with torch.autocast("cuda" if seen.is_cuda else "cpu", enabled=False):  # in bfloat16 a coordinate is off by up to 0.2 mm of a cube of 250
            return self.fc(pooled.to(self.fc.weight.dtype)).unflatten(1, (-1, 3))


def _block(backbone: ResNetName) -> type[BasicBlock | Bottleneck]:
    return Bottleneck if ARCHITECTURES[backbone].bottleneck else BasicBlock
