"""Whether the optical flow of a clip's background is the motion of one photo that glides, grows and turns evenly (`scene/surroundings/background.py`).

The photo's map at frame t is M (1 + t R), linear in t, with M and R affine. So a step carries a place by (1 + (t + 1) R)^-1 (1 + t R): all steps of a clip
have one R in common, whatever the photo.
"""

import numpy as np
from jaxtyping import Bool, Float, Float32

Array = np.ndarray
FIT_PIXELS = 20_000  # from which R is found


def photo_motion_error(flow_px: Float32[Array, "steps height width 2"], seen: Bool[Array, "steps height width"]) -> Float[Array, "steps"]:
    """The largest error of each step, px, under the R that fits best; zeros where too little of the photo is `seen`."""
    off = np.zeros(len(flow_px))
    rate = _fit_rate(flow_px, seen)
    if rate is None:
        return off
    x, y = np.arange(seen.shape[2], dtype=np.float32), np.arange(seen.shape[1], dtype=np.float32)[:, None]
    for t, (flow, shown) in enumerate(zip(flow_px, seen, strict=True)):
        moves = (np.linalg.solve(np.eye(3) + (t + 1) * rate, np.eye(3) + t * rate) - np.eye(3)).astype(np.float32)
        for axis in (0, 1):
            error = flow[..., axis] - moves[axis, 0] * x
            error -= moves[axis, 1] * y + moves[axis, 2]
            error *= shown
            off[t] = np.nanmax([off[t], error.max(), -error.min()])
    return off


def _fit_rate(flow_px: Array, seen: Bool[Array, "steps height width"]) -> Float[Array, "3 3"] | None:
    """R in least squares, from some pixels: where a place p goes to q, p - q = R ((t + 1) q - t p). None where too few show the photo."""
    every = max(1, int(np.sqrt(seen.size / FIT_PIXELS)))
    step, row, column = np.nonzero(seen[:, ::every, ::every])
    before = np.stack([column, row], -1) * float(every)
    after = before + flow_px[step, row * every, column * every]
    moved = (step + 1)[:, None] * after - step[:, None] * before
    places = np.concatenate([moved, np.ones((len(moved), 1))], 1)
    if np.linalg.matrix_rank(places) < 3:
        return None
    rate, *_ = np.linalg.lstsq(places, before - after, rcond=None)
    return np.vstack([rate.T, np.zeros(3)])
