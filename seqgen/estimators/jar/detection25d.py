"""The 2.5D detection that Joint-Aware Regression is compared with (Zheng et al., BMVC 2021, Table 2; after Iqbal et al., ECCV 2018).

    pictures (N,3,S,S) -> ResNet (N,C,S/32,S/32) -> three deconvolutions 4 x 4, each to twice the side: 256 channels, batch normalisation, ReLU
             -> 1 x 1 convolution: J heat maps, J depth maps (N,2J,S/4,S/4) -> soft-argmax -> joints (N,J,3): u, v, z as in `decoders`

A joint's u, v is the mean place of the softmax over its heat map, its z the mean of its depth map under the same softmax. The heat maps are latent: only joints
are taught. The softmax's temperature is in the last convolution's weights.
Knows no batches, metres or losses.
"""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seqgen.estimators.jar.decoders import uv_from_px
from seqgen.estimators.resnet import ResNet, ResNetName, read_weights

NUM_DECONVOLUTIONS = 3
STRIDE = 32  # of the ResNet


class Detection25d(nn.Module):
    """The network drawn above; `channels`: of the deconvolutions, which `width` leaves as they are."""

    def __init__(self, *, num_joints: int = 21, backbone: ResNetName = "resnet50", width: float = 1.0, channels: int = 256) -> None:
        super().__init__()
        self.backbone = ResNet(backbone, width=width)
        into = [self.backbone.channels_out, *[channels] * (NUM_DECONVOLUTIONS - 1)]
        self.deconvolutions = nn.Sequential(*(_deconvolution(channels_in, channels) for channels_in in into))
        self.to_maps = nn.Conv2d(channels, 2 * num_joints, 1)

    def forward(self, pictures: Float[Tensor, "batch 3 height width"]) -> list[Float[Tensor, "batch joints 3"]]:
        """u, v, z of the joints; a list of one, as there is one stage. ValueError for sides that are no multiples of 32: the maps would span more."""
        if pictures.shape[-2] % STRIDE or pictures.shape[-1] % STRIDE:
            raise ValueError(f"pictures of {pictures.shape[-1]} x {pictures.shape[-2]}: sides are multiples of {STRIDE}")
        heat, depth = self.to_maps(self.deconvolutions(self.backbone(pictures))).chunk(2, 1)
        return [soft_argmax(heat, depth)]

    def load_backbone(self, path: Path) -> None:
        """Starts the ResNet from published or trained weights, see `read_weights`; UserError if they are another network's."""
        self.backbone.load_torchvision_weights(read_weights(path), where=str(path))


def soft_argmax(heat_maps: Float[Tensor, "batch joints rows columns"], depth_maps: Float[Tensor, "batch joints rows columns"]) -> Float[Tensor, "batch joints 3"]:
    """u, v, z: means of columns, rows and depths under the softmax of each heat map. The maps span the crop."""
    rows, columns = heat_maps.shape[-2:]
    share = heat_maps.flatten(2).softmax(-1).unflatten(2, (rows, columns))
    u = (share.sum(-2) * _centres(columns, heat_maps)).sum(-1)
    v = (share.sum(-1) * _centres(rows, heat_maps)).sum(-1)
    return torch.stack([u, v, (share * depth_maps).sum((-2, -1))], -1)


def _centres(count: int, like: Tensor) -> Float[Tensor, "cells"]:
    """u or v of the cells along a side."""
    return uv_from_px(torch.arange(count, dtype=like.dtype, device=like.device), count)


def _deconvolution(channels_in: int, channels: int) -> nn.Sequential:
    """To twice the side."""
    return nn.Sequential(nn.ConvTranspose2d(channels_in, channels, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU())
