"""From feature maps to joints: the decoders of Joint-Aware Regression's Table 1 (Zheng et al., BMVC 2021, Eq. 2-4).

    features (N,C,s,s) -> adapter: 1 x 1 convolution, LeakyReLU -> maps (N, J H m, s, s) -> [mean over each] -> representations (N,J,H,F) -> decoder -> (N,J,3)

    decoder          reads for joint i             transformations
    whole_hand       the maps of all joints        one, to 3 J numbers
    joint_specific   its own m maps                one a joint
    joint_shared     its own m maps                one for all joints
      with H heads   its own H times m maps        one a head and a fusion of what the heads say, all shared by the joints

A transformation (Eq. 3) is linear - ReLU - linear. F is m s^2, or m where maps are pooled: FR and AFR of the paper are `whole_hand`, without and with pooling.

What the numbers of a joint mean: u, v are its place in a crop of any side S, -1 and 1 at the crop's edges. Pixel centres lie at integers, so that the edges are
at -0.5 and S - 0.5. z is the depth behind the root joint in units of `DEPTH_UNIT_M`.
Knows neither the ResNet before it nor the stages (`network`), nor metres, cameras and losses.
"""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

DecoderKind = Literal["whole_hand", "joint_specific", "joint_shared"]

DEPTH_UNIT_M = 0.3  # z = 1, metres
LEAK = 0.1  # of the adapter's LeakyReLU


class Decoded(NamedTuple):
    """Joints u, v, z, and what the heads said of each joint before the fusion (M of Eq. 4), where there is more than one head."""

    joints: Float[Tensor, "batch joints 3"]
    head_outputs: Float[Tensor, "batch joints features"] | None


def uv_from_px(px: Float[Tensor, "..."], side: int) -> Float[Tensor, "..."]:
    """Pixels of a crop, or cells of a map over it, of `side` x `side`, centres at integers, to u or v."""
    return (px - (side - 1) / 2) / (side / 2)


def px_from_uv(uv: Float[Tensor, "..."], side: int) -> Float[Tensor, "..."]:
    """The inverse of `uv_from_px`."""
    return uv * (side / 2) + (side - 1) / 2


class JointAdapter(nn.Module):
    """As many maps as the joints' heads need, dealt out in the order of the channels (Eq. 2): joint after joint, head after head."""

    def __init__(self, channels: int, *, num_joints: int, heads: int, maps_per_head: int, pooled: bool) -> None:
        super().__init__()
        self.shares = (num_joints, heads, maps_per_head)
        self.pooled = pooled
        self.convolution = nn.Conv2d(channels, num_joints * heads * maps_per_head, 1)
        self.activation = nn.LeakyReLU(LEAK)

    def forward(self, features: Float[Tensor, "batch channels rows columns"]) -> Float[Tensor, "batch joints heads features"]:
        """What each head of each joint may read, flattened: map after map, row after row."""
        maps = self.activation(self.convolution(features)).unflatten(1, self.shares)
        return maps.mean((-2, -1)) if self.pooled else maps.flatten(3)


class GroupedLinear(nn.Module):
    """A linear layer of its own for each group, drawn as torch's `Linear`."""

    def __init__(self, groups: int, features_in: int, features_out: int) -> None:
        super().__init__()
        bound = features_in**-0.5
        self.weight = nn.Parameter(nn.init.uniform_(torch.empty(groups, features_out, features_in), -bound, bound))
        self.bias = nn.Parameter(nn.init.uniform_(torch.empty(groups, features_out), -bound, bound))

    def forward(self, features: Float[Tensor, "*batch groups features_in"]) -> Float[Tensor, "*batch groups features_out"]:
        """Each group by its own weights."""
        return torch.einsum("...gi,goi->...go", features, self.weight) + self.bias


def transformation(features_in: int, hidden: int, features_out: int, *, groups: int | None = None) -> nn.Sequential:
    """Eq. 3: linear - ReLU - linear over the last axis; with `groups`, one for each of the last axis but one."""
    if groups is None:
        return nn.Sequential(nn.Linear(features_in, hidden), nn.ReLU(), nn.Linear(hidden, features_out))
    return nn.Sequential(GroupedLinear(groups, features_in, hidden), nn.ReLU(), GroupedLinear(groups, hidden, features_out))


class WholeHandDecoder(nn.Module):
    """All joints from all representations: the paper's FR and AFR."""

    def __init__(self, features: int, *, num_joints: int, hidden: int) -> None:
        super().__init__()
        self.transform = transformation(num_joints * features, hidden, 3 * num_joints)

    def forward(self, representations: Float[Tensor, "batch joints 1 features"]) -> Decoded:
        """Joints; no heads."""
        return Decoded(self.transform(representations.flatten(1)).unflatten(1, (-1, 3)), None)


class SingleHeadDecoder(nn.Module):
    """Each joint from its own representation, by its own weights or by weights that all joints share."""

    def __init__(self, features: int, *, num_joints: int, hidden: int, shared: bool) -> None:
        super().__init__()
        self.transform = transformation(features, hidden, 3, groups=None if shared else num_joints)

    def forward(self, representations: Float[Tensor, "batch joints 1 features"]) -> Decoded:
        """Joints; no heads."""
        return Decoded(self.transform(representations.flatten(2)), None)


class MultiHeadDecoder(nn.Module):
    """Each joint from its own representations, one a head: every head's transformation and their fusion are shared by all joints (Eq. 4)."""

    def __init__(self, features: int, *, heads: int, hidden: int, head_features: int) -> None:
        super().__init__()
        self.heads = transformation(features, hidden, head_features, groups=heads)
        self.fusion = transformation(heads * head_features, hidden, 3)

    def forward(self, representations: Float[Tensor, "batch joints heads features"]) -> Decoded:
        """Joints, and what the heads said."""
        head_outputs = self.heads(representations).flatten(2)
        return Decoded(self.fusion(head_outputs), head_outputs)


class JarDecoder(nn.Module):
    """Adapter and decoder of one stage, drawn above, for maps of `map_side` x `map_side`. ValueError for several heads of anything but a shared decoder."""

    def __init__(
        self,
        channels: int,
        *,
        num_joints: int = 21,
        map_side: int = 8,
        decoder: DecoderKind = "joint_shared",
        pooled: bool = False,
        heads: int = 8,
        maps_per_head: int = 8,
        hidden: int = 512,
        head_features: int = 64,
    ) -> None:
        super().__init__()
        if heads > 1 and decoder != "joint_shared":
            raise ValueError(f"{heads} heads of a {decoder} decoder: several heads are of a joint_shared one")
        features = maps_per_head * (1 if pooled else map_side**2)
        self.adapter = JointAdapter(channels, num_joints=num_joints, heads=heads, maps_per_head=maps_per_head, pooled=pooled)
        if decoder == "whole_hand":
            self.decoder: nn.Module = WholeHandDecoder(features, num_joints=num_joints, hidden=hidden)
        elif heads > 1:
            self.decoder = MultiHeadDecoder(features, heads=heads, hidden=hidden, head_features=head_features)
        else:
            self.decoder = SingleHeadDecoder(features, num_joints=num_joints, hidden=hidden, shared=decoder == "joint_shared")

    def forward(self, features: Float[Tensor, "batch channels map_side map_side"]) -> Decoded:
        """Joints of each picture from its feature maps."""
        return self.decoder(self.adapter(features))
