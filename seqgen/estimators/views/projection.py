"""Between metres of the camera frame, pixels of crops, and the numbers that networks say; for tensors, cameras of both kinds with any upper-left 2 x 2 block.

    perspective        px = A (X, Y) / Z + c          with A = K[:2, :2], c = K[:2, 2]
    weak perspective   px = A (X, Y) + c

    UVD of a cube about a hand, what networks of depth pictures say (Ren et al., BMVC 2019, section 3):
        u, v   place in the crop: (px - origin) / unit, each network with an origin and a unit of its own
        d      (z - centre's z) / (edge / 2)

Exact inverses of each other. `seqgen.camera` is the same for arrays whose block is diagonal.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from seqgen.estimators.views.view import View


class PixelScale(NamedTuple):
    """How a network counts pixels of its crop: u = (px - origin) / unit."""

    origin: float
    unit: float


def project(
    points_m: Float[Tensor, "batch frames points 3"], intrinsics: Float[Tensor, "batch frames 3 3"], perspective: Bool[Tensor, "batch"]
) -> Float[Tensor, "batch frames points 2"]:
    """Pixels of points of the camera frame."""
    near = torch.where(perspective[:, None, None, None], points_m[..., :2] / points_m[..., 2:], points_m[..., :2])
    return torch.einsum("btij,btnj->btni", intrinsics[..., :2, :2], near) + intrinsics[..., None, :2, 2]


def unproject(
    points_px: Float[Tensor, "batch frames points 2"],
    depth_m: Float[Tensor, "batch frames points"],
    intrinsics: Float[Tensor, "batch frames 3 3"],
    perspective: Bool[Tensor, "batch"],
) -> Float[Tensor, "batch frames points 3"]:
    """Points of the camera frame seen at pixels with z = `depth_m`."""
    near = rays(points_px, intrinsics)
    xy = torch.where(perspective[:, None, None, None], near * depth_m[..., None], near)
    return torch.cat([xy, depth_m[..., None]], -1)


def rays(points_px: Float[Tensor, "batch frames points 2"], intrinsics: Float[Tensor, "batch frames 3 3"]) -> Float[Tensor, "batch frames points 2"]:
    """(X, Y) of the pixels at Z = 1, or at any Z under weak perspective."""
    return torch.einsum("btij,btnj->btni", _inverse(intrinsics[..., :2, :2]), points_px - intrinsics[..., None, :2, 2])


def _inverse(matrices: Float[Tensor, "*batch 2 2"]) -> Float[Tensor, "*batch 2 2"]:
    """By Cramer's rule: a batch's bits do not depend on its size, as a solver's may."""
    a, b, c, d = matrices[..., 0, 0], matrices[..., 0, 1], matrices[..., 1, 0], matrices[..., 1, 1]
    return torch.stack([torch.stack([d, -b], -1), torch.stack([-c, a], -1)], -2) / (a * d - b * c)[..., None, None]


def uvd_from_joints(
    joints_px: Float[Tensor, "batch frames joints 2"], depth_m: Float[Tensor, "batch frames joints"], view: View, scale: PixelScale
) -> Float[Tensor, "batch frames joints 3"]:
    """UVD of joints at pixels of the crop with z = `depth_m`."""
    d = (depth_m - view.centre_m[..., None, 2]) / (view.cube_m[..., None] / 2)
    return torch.cat([(joints_px - scale.origin) / scale.unit, d[..., None]], -1)


def joints_from_uvd(
    uvd: Float[Tensor, "batch frames joints 3"], view: View, scale: PixelScale
) -> tuple[Float[Tensor, "batch frames joints 2"], Float[Tensor, "batch frames joints 3"]]:
    """Pixels of the crop, and metres of the camera frame."""
    joints_px = uvd[..., :2] * scale.unit + scale.origin
    depth_m = uvd[..., 2] * (view.cube_m[..., None] / 2) + view.centre_m[..., None, 2]
    return joints_px, unproject(joints_px, depth_m, view.intrinsics, view.perspective)
