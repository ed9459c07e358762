"""The moments of a frame at which its samples are taken: one, or with an open shutter one for each sample of a pixel.

Between frames everything moves on parabolas through a frame and its two neighbours (at the ends: through the nearest three).
"""

from functools import lru_cache

import numpy as np
from jaxtyping import Float64, Int64

from seqgen.scene.scene import Scene

Array = np.ndarray
# When each sample of a pixel is taken, row by row: nearly no side of the pixel comes earlier than another (3 x 3: the magic square, 2 x 2: rows but not columns).
ORDERS = {2: (0, 3, 2, 1), 3: (7, 0, 5, 2, 4, 6, 3, 8, 1)}


def moment_times(samples: int, shutter: float) -> Float64[Array, "moments"]:
    """Times of the moments, in frames from the frame's own: first the frame's own, then, with an open shutter, that of each sample."""
    if shutter == 0 or samples == 1:
        return np.zeros(1)
    order = np.array(ORDERS[samples])
    return np.concatenate([[0.0], shutter * ((order + 0.5) / len(order) - 0.5)])


@lru_cache(maxsize=16)
def neighbouring_frames(frames: int) -> Int64[Array, "frames 3"]:
    """The three frames that every frame's parabola goes through; fewer frames than three stand in several times. Read-only, kept for the next clip."""
    middle = np.clip(np.arange(frames), 1, max(frames - 2, 1))
    near = np.clip(middle[:, None] + np.array([-1, 0, 1]), 0, frames - 1)
    near.flags.writeable = False
    return near


def moment_weights(scene: Scene) -> Float64[Array, "moments frames 3"]:
    """Weights of `neighbouring_frames` at every moment (Lagrange); in a clip of two frames the line between them, in one of one frame that frame. Read-only."""
    return _weights(len(scene.camera.intrinsics), scene.samples, float(scene.shutter))


@lru_cache(maxsize=16)
def _weights(frames: int, samples: int, shutter: float) -> Float64[Array, "moments frames 3"]:
    times = moment_times(samples, shutter)[:, None]
    at = np.arange(frames) - np.clip(np.arange(frames), 1, max(frames - 2, 1)) + times  # from the middle one of the three
    if frames == 1:
        weights = np.tile([0.0, 1.0, 0.0], (len(times), 1, 1))
    elif frames == 2:
        weights = np.stack([-at, 1 + at, np.zeros_like(at)], -1)
    else:
        weights = np.stack([at * (at - 1) / 2, 1 - at * at, at * (at + 1) / 2], -1)
    weights.flags.writeable = False
    return weights
