"""Where a thing must be for its outline to fill a box of the picture, and how to move it into the picture: in closed form, for all its vertices.

A place in the picture is a pair of slopes (px - c) / f. A vertex (x, y, z) about an origin at w is seen left of slope a just when
x - a z <= a w_z - w_x: so of a whole outline an edge of the picture has to know one number, its largest x - a z.

A weak-perspective camera is the same with z left out of the outline: w_z is then its focal length over its scale.

Outlines are (frames, 3, vertices), coordinates before vertices: their extremes are then found along contiguous memory, three times as fast.
"""

import numpy as np
from jaxtyping import Float

Array = np.ndarray
NEAREST_M = 0.1  # no vertex is nearer to the pinhole along the axis
ROUNDS, EXACT = 12, 1e-7  # corrections of the middle, at most; the slope that is near enough


def box_of(outlines: Float[Array, "frames 3 vertices"], origins: Float[Array, "frames 3"]) -> tuple[Float[Array, "frames 2"], Float[Array, "frames 2"]]:
    """Least and largest slopes of x and y at which outlines about their origins are seen."""
    slopes = _slopes(outlines, origins)
    return slopes.min(2), slopes.max(2)


def origin_for_box(outlines: Float[Array, "frames 3 vertices"], middles: Float[Array, "frames 2"], extents: Float[Array, "frames 2"]) -> Float[Array, "frames 3"]:
    """Where each outline is seen with the middle of its box at `middles`, filling `extents` along one of x and y and less along the other.

    Where a vertex would come nearer than NEAREST_M, the outline is farther away and seen smaller.
    """
    beyond_high, beyond_low = _beyond(outlines, middles - extents / 2, middles + extents / 2)
    depth = np.maximum(((beyond_high + beyond_low) / extents).max(1), NEAREST_M - outlines[:, 2].min(1))[:, None]
    origins = np.concatenate([middles * depth + (beyond_low - beyond_high) / 2, depth], 1)
    for _ in range(ROUNDS):  # the axis that fills its extent is right at once; Newton's steps for the other
        slopes = _slopes(outlines, origins)
        ends = np.stack([slopes.argmin(2), slopes.argmax(2)], 2)
        off = middles - np.take_along_axis(slopes, ends, 2).mean(2)
        if np.abs(off).max() < EXACT:
            break
        depths = np.take_along_axis(outlines[:, 2:], ends.reshape(len(ends), 1, 4), 2).reshape(ends.shape) + depth[:, None]
        origins[:, :2] += off / (1 / depths).mean(2)
    return origins


def move_in(
    origins: Float[Array, "frames 3"], outlines: Float[Array, "frames 3 vertices"], picture: tuple[Float[Array, "2"], Float[Array, "2"]] | None
) -> Float[Array, "frames 3"]:
    """Origins all shifted by one vector so that every vertex of every frame is inside `picture` (its low and high slopes) and not nearer than NEAREST_M.

    The shift goes back as little as possible and aside as little as possible; it is nought where all is inside. Without a picture only the distance counts.
    """
    back = max(0.0, (NEAREST_M - outlines[:, 2].min(1) - origins[:, 2]).max())
    if picture is None:
        return origins + np.array([0.0, 0.0, back])
    low, high = picture
    beyond_high, beyond_low = _beyond(outlines, low[None], high[None])
    over_high = (beyond_high + origins[:, :2] - high * origins[:, 2:]).max(0)
    over_low = (beyond_low - origins[:, :2] + low * origins[:, 2:]).max(0)
    back = max(back, ((over_high + over_low) / (high - low)).max())
    aside = np.clip(0.0, low * back + over_low, high * back - over_high)
    return origins + np.append(aside, back)


def _slopes(outlines: Array, origins: Array) -> Float[Array, "frames 2 vertices"]:
    return (outlines[:, :2] + origins[:, :2, None]) / (outlines[:, 2:] + origins[:, 2:, None])


def _beyond(outlines: Array, low: Array, high: Array) -> tuple[Float[Array, "frames 2"], Float[Array, "frames 2"]]:
    """For each frame and axis the largest x - high z and the largest low z - x."""
    return (outlines[:, :2] - high[:, :, None] * outlines[:, 2:]).max(2), (low[:, :, None] * outlines[:, 2:] - outlines[:, :2]).max(2)
