"""JGR-P2O (Fang et al., ECCV 2020): every pixel of a depth crop says how far each joint is from it, and a weighted mean of what they say is the joint.

    depth (N,1,96,96) -> stem: 7x7 / 2, residual, 2x2 maximum, 2 residuals -> h (N,128,24,24) -> stage 1 -> h -> stage 2 ...

    stage    h -> hourglass, residual -> X -> weighting -> Xbar (N,128,24,24), weights w (N,J,24,24)
             Xbar -> 1x1 convolution -> maps -> decoding with w and the pixels' own u, v, z -> joints (N,J,3)
    next h   h + C(maps) + C(Xbar), C: 1x1 convolution, batch normalisation, ReLU

    weighting   Xbar                      w                                                        paper
    graph       C(X, its joint context)   softmax over pixels of a 1x1 convolution of X            JGR, section 3.2
    attention   residual of X             softmax over pixels of a residual and a 1x1 convolution  Table 4, Fig. 3
    uniform     X                         1 / pixels                                               Table 2, P2O alone

    decoding    maps                      joint
    offset      (du, dv, dz) of J joints  sum_i w_i ((u, v, z)_i + (du, dv, dz)_i)                 Eq. 6
    heatmap     scores, depths of J       h = softmax of scores; (sum h u, sum h v, sum h depth)   Table 4, DHM (Iqbal et al., ECCV 2018)

u and v run from 0 at the first pixel to 1 at the last one, of the crop as of the maps: `uv_of_pixels` and `pixels_of_uv`, the one scale of labels and decoding.
z is (depth - centre) / (half the cube), background 1. Coordinates and weights are at least single precision, also under autocast.

Does not know: joints' names, cubes, cameras, metres.
"""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seqgen.estimators.jgr_p2o.hourglass import Hourglass, Residual, conv_block
from seqgen.estimators.jgr_p2o.joint_graph import Edges, Graph, JointGraphReasoning, at_least_single, spatial_softmax

Weighting = Literal["graph", "attention", "uniform"]
Decoding = Literal["offset", "heatmap"]

CELL = 4  # pixels of the crop to one of the maps, along a side
DEPTH = 3  # of an hourglass
FIRST_STD = 0.01  # of first weights, and of the scales of batch normalisation around 1; both drawn within two of them, as in the published code


class StageOutput(NamedTuple):
    """What one stage says, and of which pixels."""

    joints: Float[Tensor, "batch joints 3"]  # u, v, z
    weights: Float[Tensor, "batch joints rows columns"]  # sum 1 over each map; heat maps, if that is the decoding
    offsets: Float[Tensor, "batch joints 3 rows columns"] | None  # from pixel to joint; None of heat maps
    pixels: Float[Tensor, "batch 3 rows columns"]  # u, v, z of the maps' pixels


def uv_of_pixels(pixels: Float[Tensor, "*shape"], size: int) -> Float[Tensor, "*shape"]:
    """Normalised coordinates of pixel coordinates in a picture of `size` pixels along that side: centres of the first and last pixel are 0 and 1."""
    return pixels / (size - 1)


def pixels_of_uv(uv: Float[Tensor, "*shape"], size: int) -> Float[Tensor, "*shape"]:
    """The inverse."""
    return uv * (size - 1)


def pixel_coordinates(depth: Float[Tensor, "batch 1 height width"]) -> Float[Tensor, "batch 3 rows columns"]:
    """u, v, z of the maps' pixels. z is that of one pixel in 4 x 4, not their mean, so that no depth lies between hand and background."""
    z = at_least_single(depth[:, 0, ::CELL, ::CELL])
    rows, columns = z.shape[1:]
    v, u = (uv_of_pixels(torch.arange(size, dtype=z.dtype, device=z.device), size) for size in (rows, columns))
    return torch.stack([u.expand_as(z), v[:, None].expand_as(z), z], 1)


def decode_offsets(
    pixels: Float[Tensor, "batch 3 rows columns"], offsets: Float[Tensor, "batch joints 3 rows columns"], weights: Float[Tensor, "batch joints rows columns"]
) -> Float[Tensor, "batch joints 3"]:
    """Eq. 6: the weighted mean of where the pixels say a joint is."""
    return _weighted_mean(pixels[:, None] + offsets, weights)


def decode_heatmaps(
    pixels: Float[Tensor, "batch 3 rows columns"], depths: Float[Tensor, "batch joints rows columns"], heatmaps: Float[Tensor, "batch joints rows columns"]
) -> Float[Tensor, "batch joints 3"]:
    """u and v of the heat maps' centres of mass, and the mean depth under them."""
    uv = pixels[:, None, :2].expand(-1, depths.shape[1], -1, -1, -1)
    return _weighted_mean(torch.cat([uv, depths[:, :, None]], 2), heatmaps)


def _weighted_mean(places: Float[Tensor, "batch joints 3 rows columns"], weights: Float[Tensor, "batch joints rows columns"]) -> Float[Tensor, "batch joints 3"]:
    """No matrix product, which autocast would round."""
    return (weights[:, :, None] * places).sum((-2, -1))


class GraphWeighting(nn.Module):
    """Joint graph reasoning; its votes are the weights."""

    def __init__(self, num_joints: int, edges: Edges, *, graph: Graph, channels: int) -> None:
        super().__init__()
        self.scores = nn.Conv2d(channels, num_joints, 1)
        self.reasoning = JointGraphReasoning(num_joints, edges, graph=graph, channels=channels)
        self.fuse = conv_block(2 * channels, channels)

    def forward(self, features: Float[Tensor, "batch channels rows columns"]) -> tuple[Tensor, Tensor]:
        """Enhanced features (Eq. 5) and weights."""
        weights = spatial_softmax(self.scores(features))
        return self.fuse(torch.cat([features, self.reasoning(features, weights)], 1)), weights


class AttentionWeighting(nn.Module):
    """Weights by a residual block of their own, and another one for the features."""

    def __init__(self, num_joints: int, *, channels: int) -> None:
        super().__init__()
        self.scores = nn.Sequential(Residual(channels, channels), nn.Conv2d(channels, num_joints, 1))
        self.enhance = Residual(channels, channels)

    def forward(self, features: Float[Tensor, "batch channels rows columns"]) -> tuple[Tensor, Tensor]:
        """Enhanced features and weights."""
        return self.enhance(features), spatial_softmax(self.scores(features))


class UniformWeighting(nn.Module):
    """The features as they are, and the same weight everywhere."""

    def __init__(self, num_joints: int) -> None:
        super().__init__()
        self.num_joints = num_joints

    def forward(self, features: Float[Tensor, "batch channels rows columns"]) -> tuple[Tensor, Tensor]:
        """The features and the weights."""
        batch, _, rows, columns = features.shape
        return features, spatial_softmax(features.new_zeros(1, 1, rows, columns)).expand(batch, self.num_joints, -1, -1)


class Stage(nn.Module):
    """One hourglass and what is made of it; `num_maps` are the channels of its maps."""

    def __init__(self, num_joints: int, weighting: nn.Module, *, decoding: Decoding, channels: int) -> None:
        super().__init__()
        self.decoding = decoding
        self.num_maps = (3 if decoding == "offset" else 2) * num_joints
        self.local = nn.Sequential(Hourglass(DEPTH, channels), Residual(channels, channels))
        self.weighting = weighting
        self.maps = nn.Conv2d(channels, self.num_maps, 1, bias=False)

    def forward(self, features: Float[Tensor, "batch channels rows columns"], pixels: Float[Tensor, "batch 3 rows columns"]) -> tuple[StageOutput, Tensor, Tensor]:
        """The output, the maps and the enhanced features."""
        enhanced, weights = self.weighting(self.local(features))
        maps = self.maps(enhanced)
        if self.decoding == "heatmap":
            scores, depths = maps.chunk(2, 1)
            weights = spatial_softmax(scores)
            return StageOutput(decode_heatmaps(pixels, at_least_single(depths), weights), weights, None, pixels), maps, enhanced
        offsets = at_least_single(maps).unflatten(1, (3, -1)).transpose(1, 2)
        return StageOutput(decode_offsets(pixels, offsets, weights), weights, offsets, pixels), maps, enhanced


class JgrP2oNetwork(nn.Module):
    """The network drawn above; `edges` are the skeleton's, pairs of joints, and read by that graph alone. `channels`, a multiple of 8, scales all widths.

    ValueError for heat maps without the graph: they would make the attention's weights useless, and the paper has none without.
    """

    def __init__(
        self, num_joints: int, edges: Edges, *, stages: int = 2, graph: Graph = "skeleton", weighting: Weighting = "graph", decoding: Decoding = "offset", channels: int = 128
    ) -> None:
        super().__init__()
        if decoding == "heatmap" and weighting != "graph":
            raise ValueError(f"heat maps are decoded after the graph, not with weighting {weighting}")
        if stages < 1 or channels < 8 or channels % 8:
            raise ValueError(f"{stages} stages of {channels} channels; at least 1 and a multiple of 8 are needed")
        half = channels // 2
        self.stem = nn.Sequential(
            conv_block(1, channels // 4, 7, stride=2), Residual(channels // 4, half), nn.MaxPool2d(2), Residual(half, half), Residual(half, channels)
        )
        weightings = (_weighting(weighting, num_joints, edges, graph, channels) for _ in range(stages))
        self.stages = nn.ModuleList(Stage(num_joints, each, decoding=decoding, channels=channels) for each in weightings)
        self.from_maps = nn.ModuleList(conv_block(stage.num_maps, channels) for stage in self.stages[:-1])
        self.from_enhanced = nn.ModuleList(conv_block(channels, channels) for _ in self.stages[:-1])
        self.apply(_initialise)

    def forward(self, depth: Float[Tensor, "batch 1 height width"]) -> list[StageOutput]:
        """Every stage's output; the last is the answer. ValueError if a side is no multiple of 32 pixels, so that the maps can be halved three times."""
        if depth.shape[2] % (CELL << DEPTH) or depth.shape[3] % (CELL << DEPTH):
            raise ValueError(f"a crop of {depth.shape[2]} x {depth.shape[3]} pixels; both sides must be multiples of {CELL << DEPTH}")
        pixels, features = pixel_coordinates(depth), self.stem(depth)
        outputs = []
        for number, stage in enumerate(self.stages):
            output, maps, enhanced = stage(features, pixels)
            outputs.append(output)
            if number < len(self.from_maps):
                features = features + self.from_maps[number](maps) + self.from_enhanced[number](enhanced)
        return outputs


def _weighting(kind: Weighting, num_joints: int, edges: Edges, graph: Graph, channels: int) -> nn.Module:
    if kind == "graph":
        return GraphWeighting(num_joints, edges, graph=graph, channels=channels)
    return AttentionWeighting(num_joints, channels=channels) if kind == "attention" else UniformWeighting(num_joints)


def _initialise(module: nn.Module) -> None:
    """The published code's first weights."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.trunc_normal_(module.weight, std=FIRST_STD, a=-2 * FIRST_STD, b=2 * FIRST_STD)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.trunc_normal_(module.weight, mean=1.0, std=FIRST_STD, a=1 - 2 * FIRST_STD, b=1 + 2 * FIRST_STD)
