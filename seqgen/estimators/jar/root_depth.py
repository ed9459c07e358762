"""How far away a hand is of which places in the picture and depths behind the root are known: as far as makes it as large as hands are.

    perspective, K known    joint = ray (Z + z): the length of all bones is a square root of a quadratic in Z, solved for Z (Iqbal et al., ECCV 2018, Eq. 7, for one bone)
    else                    (X, Y) = pixels from the root's over a scale, which is solved for; the place in space stays unknown

"As large as hands are" is one number: the sum of squared bone lengths. Knows no network.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from seqgen.estimators.views.projection import rays

Bones = tuple[tuple[int, int], ...]
NEAREST_M = 0.05  # of the camera: a hand is not nearer


def squared_length(joints_m: Float[Tensor, "*frames joints 3"], bones: Bones) -> Float[Tensor, "*frames"]:
    """The sum of squared bone lengths, m^2."""
    return _along(joints_m, bones).square().sum((-1, -2))


def root_depth(
    joints_px: Float[Tensor, "batch frames joints 2"],
    behind_root_m: Float[Tensor, "batch frames joints"],
    intrinsics: Float[Tensor, "batch frames 3 3"],
    bones: Bones,
    squared_length_m2: Float[Tensor, ""],
) -> Float[Tensor, "batch frames"]:
    """The root's z, metres, under perspective: the farther solution; where there is none, what comes nearest to one."""
    near = rays(joints_px, intrinsics)
    directions = torch.cat([near, torch.ones_like(near[..., :1])], -1)
    per_metre = _along(directions, bones)[..., :2]
    fixed = _along(directions * behind_root_m[..., None], bones)
    a = per_metre.square().sum((-1, -2)).clamp(min=1e-9)
    b = (per_metre * fixed[..., :2]).sum((-1, -2))
    c = fixed.square().sum((-1, -2)) - squared_length_m2
    return ((-b + (b.square() - a * c).clamp(min=0).sqrt()) / a).clamp(min=NEAREST_M)


def flat_places(
    joints_px: Float[Tensor, "batch frames joints 2"],
    behind_root_m: Float[Tensor, "batch frames joints"],
    root: int,
    bones: Bones,
    squared_length_m2: Float[Tensor, ""],
) -> Float[Tensor, "batch frames joints 3"]:
    """Root-relative joints, metres, of a camera that is not known: one scale for the whole hand."""
    from_root = joints_px - joints_px[:, :, root, None]
    depth = behind_root_m - behind_root_m[:, :, root, None]
    across_px2 = _along(from_root, bones).square().sum((-1, -2)).clamp(min=1e-9)
    across_m2 = (squared_length_m2 - _along(depth[..., None], bones).square().sum((-1, -2))).clamp(min=1e-9)
    return torch.cat([from_root * (across_m2 / across_px2).sqrt()[..., None, None], depth[..., None]], -1)


def known_camera(intrinsics: Float[Tensor, "batch frames 3 3"]) -> Bool[Tensor, "batch frames"]:
    """Where there is a camera: unknown ones are zeros."""
    return intrinsics.flatten(-2).any(-1)


def _along(points: Float[Tensor, "*frames joints axes"], bones: Bones) -> Float[Tensor, "*frames bones axes"]:
    """From one end of each bone to the other."""
    starts, ends = zip(*bones, strict=True)
    return points[..., list(ends), :] - points[..., list(starts), :]
