"""What one stage of SRN tells the next: maps made from the joints that it found (Ren et al., BMVC 2019, Eq. 1 and 2), and the two rivals of its Fig. 2.

    joints (N,J,3) = (u,v,d) and the depth (N,1,R,R) at the maps' own grid -> maps (N,E,R,R)

    interface         maps                                                                          E         weights
    fields            unit vectors from pixel to joint (3 J, joint-major), then 3D heat maps (J)    4 J       none
    heatmap3d         3D heat maps alone                                                            J         none
    heatmap2d         Gaussians in the picture, blind to depth                                      J         none
    heatmap2d_depth   the same, then each times its joint's d                                       2 J       none
    deconvolution     a decoder's: 1 x 1 -> 4 x 4 -> 16 x 16 -> 32 x 32                             64        yes

u, v, d are in [-1, 1] over the crop's cube; d of the depth is 1 at the background. Gradients flow into the joints; which pixels are near one is a constant.
Knows nothing of the features beside the maps, nor how many stages there are.
"""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import relu

Interface = Literal["fields", "heatmap3d", "heatmap2d", "heatmap2d_depth", "deconvolution"]
Grid = Literal["corners", "pixels"]

DECODER_CHANNELS = 64
DECODER_SIDE = 32
DISTANCE_FLOOR = 1e-8  # squared: a joint exactly at a pixel is 1e-4 away, so that its direction has a derivative


def vector_fields(
    joints_uvd: Float[Tensor, "batch joints 3"], depth: Float[Tensor, "batch 1 rows rows"], *, kernel_size: float = 0.4, grid: Grid = "corners"
) -> Float[Tensor, "batch maps rows rows"]:
    """Unit vectors (Eq. 2, with the published code's sign: from pixel to joint) and heat maps (Eq. 1), zero beyond `kernel_size` and on the background."""
    offset, distance, near = _offsets(joints_uvd, depth, kernel_size, grid)
    directions = offset / distance[:, :, None]
    return torch.cat([_only(near[:, :, None], directions).flatten(1, 2), _only(near, kernel_size - distance)], 1)


def heat_maps_3d(
    joints_uvd: Float[Tensor, "batch joints 3"], depth: Float[Tensor, "batch 1 rows rows"], *, kernel_size: float = 0.4, grid: Grid = "corners"
) -> Float[Tensor, "batch joints rows rows"]:
    """Eq. 1 alone: how much nearer than `kernel_size` a foreground pixel is to a joint, in half cubes."""
    _, distance, near = _offsets(joints_uvd, depth, kernel_size, grid)
    return _only(near, kernel_size - distance)


def heat_maps_2d(
    joints_uvd: Float[Tensor, "batch joints 3"], depth: Float[Tensor, "batch 1 rows rows"], *, kernel_px: float = 3.4, with_depth: bool = False
) -> Float[Tensor, "batch maps rows rows"]:
    """exp(-distance^2 / kernel^2) in the picture, background or not; `kernel_px` is in pixels of 32 along a side, whatever there are. `with_depth` adds J
    maps more, each times d."""
    u, v = (coordinates(depth.shape[-1], "pixels", joints_uvd) - joints_uvd[..., axis, None] for axis in (0, 1))
    kernel = kernel_px / 32 * 2  # of half a side, as u and v are
    maps = torch.exp(-(u[:, :, None, :].square() + v[:, :, :, None].square()) / kernel**2)
    return torch.cat([maps, maps * joints_uvd[..., 2, None, None]], 1) if with_depth else maps


def coordinates(num: int, grid: Grid, like: Tensor) -> Float[Tensor, " num"]:
    """u or v of a grid's `num` columns or rows. "corners": from -1 to 1, as published. "pixels": where the crop's pixels that were taken are, 2 i / num - 1,
    as labels count; the published ones are up to 2 / num beyond."""
    if grid == "corners":
        return torch.linspace(-1, 1, num, dtype=like.dtype, device=like.device)
    return torch.arange(num, dtype=like.dtype, device=like.device) * (2 / num) - 1


class Reparameterisation(nn.Module):
    """One of the first four of the table, as a module without weights; `channels` is E. `kernel_size` counts for those that see depth, in half cubes."""

    def __init__(self, num_joints: int, interface: Interface, *, kernel_size: float = 0.4, grid: Grid = "corners") -> None:
        super().__init__()
        self.interface, self.kernel_size, self.grid = interface, kernel_size, grid
        self.channels = {"fields": 4, "heatmap3d": 1, "heatmap2d": 1, "heatmap2d_depth": 2}[interface] * num_joints

    def forward(self, joints_uvd: Float[Tensor, "batch joints 3"], depth: Float[Tensor, "batch 1 rows rows"]) -> Float[Tensor, "batch maps rows rows"]:
        """Maps of these joints."""
        if self.interface == "fields":
            return vector_fields(joints_uvd, depth, kernel_size=self.kernel_size, grid=self.grid)
        if self.interface == "heatmap3d":
            return heat_maps_3d(joints_uvd, depth, kernel_size=self.kernel_size, grid=self.grid)
        return heat_maps_2d(joints_uvd, depth, with_depth=self.interface == "heatmap2d_depth")


class Deconvolution(nn.Module):
    """Fig. 2 (a): the 3 J numbers as a picture of one pixel, decoded by three transposed convolutions, each with batch normalisation and ReLU. The paper gives
    only how many they are and the 32 x 32 at the end."""

    def __init__(self, num_joints: int) -> None:
        super().__init__()
        self.channels = DECODER_CHANNELS
        self.deconv1 = nn.ConvTranspose2d(3 * num_joints, self.channels, 4, bias=False)
        self.bn1 = nn.BatchNorm2d(self.channels)
        self.deconv2 = nn.ConvTranspose2d(self.channels, self.channels, 4, stride=4, bias=False)
        self.bn2 = nn.BatchNorm2d(self.channels)
        self.deconv3 = nn.ConvTranspose2d(self.channels, self.channels, 4, stride=2, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(self.channels)

    def forward(self, joints_uvd: Float[Tensor, "batch joints 3"], depth: Float[Tensor, "batch 1 rows rows"]) -> Float[Tensor, "batch maps rows rows"]:
        """Maps of these joints; of the depth only its size is looked at, which must be 32 x 32 (ValueError)."""
        if depth.shape[-1] != DECODER_SIDE:
            raise ValueError(f"the decoder makes maps of {DECODER_SIDE} x {DECODER_SIDE}, not {depth.shape[-1]} x {depth.shape[-1]}: crops must be of 128")
        maps = joints_uvd.flatten(1)[:, :, None, None]
        maps = relu(self.bn1(self.deconv1(maps)))
        maps = relu(self.bn2(self.deconv2(maps)))
        return relu(self.bn3(self.deconv3(maps)))


def _offsets(
    joints_uvd: Float[Tensor, "batch joints 3"], depth: Float[Tensor, "batch 1 rows rows"], kernel_size: float, grid: Grid
) -> tuple[Float[Tensor, "batch joints 3 rows rows"], Float[Tensor, "batch joints rows rows"], Bool[Tensor, "batch joints rows rows"]]:
    """From every pixel to every joint: the vector, its length, and whether it is within reach of a pixel of the foreground."""
    along = coordinates(depth.shape[-1], grid, depth).expand(depth.shape)
    pixels = torch.stack([along, along.transpose(-1, -2), depth], 2)
    offset = joints_uvd[..., None, None] - pixels
    distance = (offset.square().sum(2) + DISTANCE_FLOOR).sqrt()
    return offset, distance, (distance <= kernel_size) & (depth < 1)


def _only(where: Bool[Tensor, "..."], values: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """The values there, zero elsewhere."""
    return torch.where(where, values, torch.zeros_like(values))
