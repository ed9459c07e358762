"""What a pinhole sees of labels: pixels of points, and a box around a hand of which only the joints are known."""

import numpy as np
from jaxtyping import Float, Float32

from seqgen.camera import fit_weak_perspective

Array = np.ndarray
FLESH_M = 0.0075  # by how much a hand's surface reaches beyond its joints, at each edge of their box: the median over 400 poses of the open hand seen from all sides


def projected(points_m: Float[Array, "frames points 3"], intrinsics: Float[Array, "frames 3 3"]) -> Float32[Array, "frames points 2"]:
    """Pixels of points in front of the camera; any upper-left 2 x 2 block (`seqgen.camera.Camera` knows no skew)."""
    homogeneous = np.einsum("fij,fpj->fpi", np.asarray(intrinsics, float), np.asarray(points_m, float))
    return (homogeneous[..., :2] / homogeneous[..., 2:]).astype(np.float32)


def box_of(points_px: Float[Array, "frames points 2"]) -> Float32[Array, "frames 4"]:
    """x0, y0, x1, y1 of points of the surface."""
    return np.concatenate([points_px.min(1), points_px.max(1)], 1).astype(np.float32)


def box_around_joints(joints_px: Float[Array, "frames joints 2"], joints_m: Float[Array, "frames joints 3"]) -> Float32[Array, "frames 4"]:
    """The box of the joints, FLESH_M wider at each edge at the hand's own scale in the picture: about the box of the surface. Known joints only."""
    scale_px_per_m = fit_weak_perspective(np.asarray(joints_m, float), np.asarray(joints_px, float))[0][:, :1]
    flesh_px = FLESH_M * np.maximum(scale_px_per_m, 0)
    return box_of(joints_px) + np.concatenate([-flesh_px, -flesh_px, flesh_px, flesh_px], 1).astype(np.float32)
