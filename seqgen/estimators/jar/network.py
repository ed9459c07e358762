"""Joint-Aware Regression (Zheng et al., BMVC 2021): a ResNet, a decoder that gives each joint maps of its own, and stages that refine.

    pictures (N,3,S,S) -> stem .. layer3 -> middle (N,C/2,S/16,S/16) -> layer4 -> (N,C,S/32,S/32) -> decoder 1 -> joints (N,J,3), head outputs
                                               |                                                                  |
                                               +--> cat <-- maps over the crop, S/16 x S/16: heat, depth, refine <+
                                                     +--> 1 x 1 convolution -> layer4 of its own -> decoder 2 -> joints, head outputs; and so on

    map (one a joint)  of the stage before                                                        gradient
    heat    (Eq. 6)    exp(-d^2 / sigma^2), d the distance in cells to the joint's u, v           unless `detach_joints`
    depth   (Eq. 6)    the joint's z at its own cell, else 0                                      the same; of z alone
    refine  (Eq. 5)    what the heads said of the joint, by a transformation that joints share    none, unless `detach_refinemap` is off

Eq. 6 is printed without the minus and the square. The paper leaves open: the adapter's activation, the transformation's width, how the maps join the middle
features, sigma. Pictures are normalised as ImageNet's; what the joints' numbers mean is told in `decoders`.
Knows no batches, metres or losses.
"""

import copy
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seqgen.estimators.jar.decoders import Decoded, DecoderKind, JarDecoder, px_from_uv, transformation
from seqgen.estimators.resnet import ResNet, ResNetName, read_weights

DepthSplat = Literal["pixel", "bilinear", "heat"]

MIDDLE_STRIDE, LAST_STRIDE = 16, 32  # of the middle features and of the last, pixels of the picture

_WHOLE: dict[str, Any] = {"decoder": "whole_hand", "heads": 1, "maps_per_head": 8}
_POOLED: dict[str, Any] = {"decoder": "joint_specific", "heads": 1, "maps_per_head": 512, "pooled": True}
_SPATIAL: dict[str, Any] = {"decoder": "joint_specific", "heads": 1, "maps_per_head": 8}
_HEAT: dict[str, Any] = {"stages": 2, "use_depthmap": False, "use_refinemap": False}
# Table 1's IDs to arguments of JarNetwork; the backbone there is a ResNet-18. The 512 pooled maps are as many numbers a joint as 8 maps of 8 x 8 (size 256).
ABLATIONS: dict[int, dict[str, Any]] = {
    1: _WHOLE,
    2: {**_WHOLE, "maps_per_head": 64, "pooled": True, "hidden": 4096},
    3: _POOLED,
    4: {**_POOLED, "decoder": "joint_shared"},
    5: _SPATIAL,
    6: {**_SPATIAL, "decoder": "joint_shared"},
    7: {},
    8: _HEAT,
    9: {**_HEAT, "use_depthmap": True},
    10: {"stages": 2},
    11: {"stages": 3},
}


class JointMaps(NamedTuple):
    """Which maps a later stage is given of the one before, and how they are made; see `JarNetwork`."""

    heat: bool
    depth: bool
    refine: bool
    sigma: float
    depth_splat: DepthSplat
    detach_joints: bool
    detach_refinemap: bool

    def per_joint(self) -> int:
        """How many kinds there are."""
        return self.heat + self.depth + self.refine


class JarNetwork(nn.Module):
    """The network drawn above, for crops of `size` x `size`.

    decoder, pooled, heads, maps_per_head, hidden, head_features   as in `decoders`; `hidden` is also that of the refine maps' transformation
    use_heatmap, use_depthmap, use_refinemap                       which maps a later stage is given
    sigma                                                          cells of the maps at which a heat map is 1/e
    depth_splat                                                    where z stands: in one cell, shared by the four nearest, or times the heat map

    ValueError for a size that is no multiple of 32, no stages, later stages without any maps, refine maps of a decoder without several heads.
    """

    def __init__(
        self,
        *,
        num_joints: int = 21,
        backbone: ResNetName = "resnet50",
        width: float = 1.0,
        size: int = 256,
        stages: int = 1,
        decoder: DecoderKind = "joint_shared",
        pooled: bool = False,
        heads: int = 8,
        maps_per_head: int = 8,
        hidden: int = 512,
        head_features: int = 64,
        use_heatmap: bool = True,
        use_depthmap: bool = True,
        use_refinemap: bool = True,
        sigma: float = 1.5,
        depth_splat: DepthSplat = "pixel",
        detach_joints: bool = False,
        detach_refinemap: bool = True,
    ) -> None:
        super().__init__()
        if size < LAST_STRIDE or size % LAST_STRIDE:
            raise ValueError(f"a size of {size} is no multiple of {LAST_STRIDE}, as the maps' whole cells need")
        if stages < 1:
            raise ValueError(f"{stages} stages: there is at least one")
        self.size = size
        self.backbone = ResNet(backbone, width=width)
        make_decoder = partial(
            JarDecoder,
            self.backbone.channels_out,
            num_joints=num_joints,
            map_side=size // LAST_STRIDE,
            decoder=decoder,
            pooled=pooled,
            heads=heads,
            maps_per_head=maps_per_head,
            hidden=hidden,
            head_features=head_features,
        )
        self.decoder = make_decoder()
        maps = JointMaps(use_heatmap, use_depthmap, use_refinemap, sigma, depth_splat, detach_joints, detach_refinemap)
        said = heads * head_features if heads > 1 else 0
        refine = partial(Refinement, self.backbone, maps=maps, num_joints=num_joints, side=size // MIDDLE_STRIDE, head_outputs=said, hidden=hidden)
        self.refinements = nn.ModuleList(refine(make_decoder()) for _ in range(stages - 1))

    def forward(self, pictures: Float[Tensor, "batch 3 height width"]) -> list[Float[Tensor, "batch joints 3"]]:
        """u, v, z of the joints, of every stage; the last is the best. ValueError for pictures of another size."""
        if pictures.shape[-2:] != (self.size, self.size):
            width, height = pictures.shape[-1], pictures.shape[-2]
            raise ValueError(f"pictures of {width} x {height}, but the decoder's layers fit {self.size} x {self.size}; make the network with their size")
        middle = self.backbone.stem(pictures)
        for layer in self.backbone.stages[:3]:
            middle = layer(middle)
        decoded = [self.decoder(self.backbone.layer4(middle))]
        for refinement in self.refinements:
            decoded.append(refinement(middle, decoded[-1]))
        return [stage.joints for stage in decoded]

    def load_backbone(self, path: Path) -> None:
        """Starts the ResNet, and each later stage's layer4, from published or trained weights, see `read_weights`; UserError if they are another network's."""
        self.backbone.load_torchvision_weights(read_weights(path), where=str(path))
        for refinement in self.refinements:
            refinement.layer4.load_state_dict(self.backbone.layer4.state_dict())


class Refinement(nn.Module):
    """A later stage: maps of the stage before join the middle features of the first (Eq. 7), and a layer4 of its own, begun as a copy of the first's, and
    a decoder of its own look again. `side`: of the middle features; `head_outputs`: numbers that the heads say of a joint, 0 without several heads."""

    def __init__(self, backbone: ResNet, decoder: JarDecoder, *, maps: JointMaps, num_joints: int, side: int, head_outputs: int, hidden: int) -> None:
        super().__init__()
        if not maps.per_joint():
            raise ValueError("several stages, but no maps for the later ones: use heat maps, depth maps or refine maps")
        if maps.refine and not head_outputs:
            raise ValueError("refine maps are made of what several heads say, and there is one head or none; leave them out with use_refinemap=False")
        self.maps, self.side = maps, side
        channels = backbone.stage_channels[2]
        self.to_refine_map = transformation(head_outputs, hidden, side**2) if maps.refine else None
        self.fuse = nn.Conv2d(channels + maps.per_joint() * num_joints, channels, 1)
        self.layer4 = copy.deepcopy(backbone.layer4)
        self.decoder = decoder

    def forward(self, middle: Float[Tensor, "batch channels side side"], before: Decoded) -> Decoded:
        """Joints again, from the middle features and the stage before."""
        return self.decoder(self.layer4(self.fuse(torch.cat([middle, *self._joint_maps(before)], 1))))

    def _joint_maps(self, before: Decoded) -> list[Float[Tensor, "batch joints side side"]]:
        """Refine, heat and depth maps, those that are used."""
        maps = []
        if self.to_refine_map is not None:
            said = before.head_outputs.detach() if self.maps.detach_refinemap else before.head_outputs
            maps.append(self.to_refine_map(said).unflatten(-1, (self.side, self.side)))
        joints = before.joints.detach() if self.maps.detach_joints else before.joints
        if self.maps.heat:
            maps.append(heat_maps(joints, side=self.side, sigma=self.maps.sigma))
        if self.maps.depth:
            maps.append(depth_maps(joints, side=self.side, splat=self.maps.depth_splat, sigma=self.maps.sigma))
        return maps


def heat_maps(joints: Float[Tensor, "batch joints 3"], *, side: int, sigma: float) -> Float[Tensor, "batch joints side side"]:
    """exp(-d^2 / sigma^2), d the distance in cells from each of the `side` x `side` cells over the crop to the joint's u, v."""
    rows, columns = _offsets(joints, side)
    return torch.exp(-(rows.square() + columns.square()) / sigma**2)


def depth_maps(joints: Float[Tensor, "batch joints 3"], *, side: int, splat: DepthSplat, sigma: float) -> Float[Tensor, "batch joints side side"]:
    """Each joint's z where the joint is, 0 elsewhere and of joints outside. Only z has a gradient with "pixel"; the others know the place too."""
    if splat == "heat":
        return joints[..., 2, None, None] * heat_maps(joints, side=side, sigma=sigma)
    offsets = _offsets(joints, side)
    if splat == "bilinear":
        rows, columns = (torch.relu(1 - offset.abs()) for offset in offsets)
    else:  # half a cell to one side counts, to the other not, so that a joint between two cells is in one
        rows, columns = (((offset > -0.5) & (offset <= 0.5)).to(joints.dtype) for offset in offsets)
    return joints[..., 2, None, None] * rows * columns


def _offsets(joints: Float[Tensor, "batch joints 3"], side: int) -> tuple[Float[Tensor, "batch joints side 1"], Float[Tensor, "batch joints 1 side"]]:
    """Of the map's rows and columns from each joint, cells."""
    cells = torch.arange(side, dtype=joints.dtype, device=joints.device)
    column, row = px_from_uv(joints[..., :2, None], side).unbind(-2)
    return (cells - row)[..., :, None], (cells - column)[..., None, :]
