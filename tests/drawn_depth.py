"""Depth pictures of made-up hands: balls along the bones, their fronts flat."""

import numpy as np

from seqgen.skeleton import BONES

Array = np.ndarray
FLESH_M = 0.008  # the radius of the balls, and how far their fronts lie before the bone


def draw_depth(joints_m: Array, intrinsics: Array, size: tuple[int, int]) -> Array:
    """Millimetres (height, width) float32, 0 where nothing is, of one hand before a pinhole."""
    width, height = size
    depth = np.full((height, width), np.inf)
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    for parent, joint in BONES:
        for share in np.linspace(0, 1, 12):
            point = joints_m[parent] * (1 - share) + joints_m[joint] * share
            x, y = (intrinsics @ point)[:2] / point[2]
            reach = FLESH_M * intrinsics[0, 0] / point[2]
            around = np.s_[max(0, int(y - reach)) : max(0, int(y + reach) + 2), max(0, int(x - reach)) : max(0, int(x + reach) + 2)]
            on_ball = (columns[around] - x) ** 2 + (rows[around] - y) ** 2 <= reach**2
            depth[around] = np.where(on_ball, np.minimum(depth[around], (point[2] - FLESH_M) * 1e3), depth[around])
    return np.where(np.isinf(depth), 0, depth).astype(np.float32)
