"""Cameras: how metres become pixels and back.

OpenCV's frame: x right, y down, z forward; pixel centres at integers. A camera is one (3, 3) matrix a frame and a kind:

    perspective        px = (K X)_xy / (K X)_z
    weak_perspective   px = (s x + tx, s y + ty), the matrix being [[s, 0, tx], [0, s, ty], [0, 0, 1]]: depth does not matter
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

Array = np.ndarray
CameraKind = Literal["perspective", "weak_perspective"]


@dataclass(frozen=True)
class Camera:
    """A camera over a clip. `size` is (width, height) in pixels."""

    kind: CameraKind
    intrinsics: Float[Array, "frames 3 3"]
    size: tuple[int, int]

    def project(self, points_m: Float[Array, "frames points 3"]) -> Float[Array, "frames points 2"]:
        """Pixels of points given in the camera frame."""
        focal, centre = self.intrinsics.diagonal(axis1=1, axis2=2)[:, None, :2], self.intrinsics[:, None, :2, 2]
        near = points_m[..., :2] if self.kind == "weak_perspective" else points_m[..., :2] / points_m[..., 2:]
        return focal * near + centre

    def mirrored(self) -> "Camera":
        """The camera that sees the mirrored world, x to -x, as this one sees the world, left and right exchanged."""
        intrinsics = self.intrinsics.copy()
        intrinsics[:, 0, 2] = self.size[0] - 1 - intrinsics[:, 0, 2]
        return Camera(self.kind, intrinsics, self.size)

    def unproject(self, points_px: Float[Array, "frames points 2"], depth_m: Float[Array, "frames points"]) -> Float[Array, "frames points 3"]:
        """Points of the camera frame seen at pixels with depth z = `depth_m`."""
        focal, centre = self.intrinsics.diagonal(axis1=1, axis2=2)[:, None, :2], self.intrinsics[:, None, :2, 2]
        near = (points_px - centre) / focal
        xy = near if self.kind == "weak_perspective" else near * depth_m[..., None]
        return np.concatenate([xy, depth_m[..., None]], -1)


def intrinsics_from_fov(fov_rad: float, size: tuple[int, int]) -> Float[Array, "3 3"]:
    """Pinhole intrinsics with square pixels, the principal point in the middle, and `fov_rad` across the shorter side."""
    width, height = size
    focal = min(size) / 2 / np.tan(fov_rad / 2)
    return np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1.0]])


def fit_weak_perspective(joints_m: Float[Array, "frames joints 3"], joints_px: Float[Array, "frames joints 2"]) -> tuple[Float[Array, "frames 3"], Float[Array, "frames"]]:
    """Scale (px/m) and translation tx, ty (px) that carry root-relative xy onto `joints_px` in least squares, and the residual (RMS, px)."""
    xy = joints_m[..., :2] - joints_m[:, :1, :2]
    xy_mean, px_mean = xy.mean(1, keepdims=True), joints_px.mean(1, keepdims=True)
    scale = ((xy - xy_mean) * (joints_px - px_mean)).sum((1, 2)) / ((xy - xy_mean) ** 2).sum((1, 2))
    translation = (px_mean - scale[:, None, None] * xy_mean)[:, 0]
    off = scale[:, None, None] * xy + translation[:, None] - joints_px
    return np.concatenate([scale[:, None], translation], 1), np.sqrt((off**2).sum(-1).mean(1))
