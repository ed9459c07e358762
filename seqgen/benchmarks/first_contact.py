"""First contact with other people's labels: is the unit metres, the joint order ours, the hand the one it is said to be, the camera the picture's?

Labels alone (`check_labels`): a palm, wrist to middle MCP, measures 60 to 120 mm. Of the known orders, ours must have the shortest way along all bones
and across the knuckles from the thumb's MCP to the pinky's; bones alone cannot tell orders apart that permute whole fingers. Fingers bend towards the
palm, so a right hand's lie at negative z of its hand frame, and a left hand's at positive z.

With some of the pictures (`check_pictures`): joints lie within them, in front of the camera; `joints_m` and the intrinsics give `joints_px`, else the
axis that is turned round is named; joints lie on the mask where there is one.

`seqgen.poses.first_contact` asks the same of annotations without pictures, in any order and unit.
"""

from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float

from seqgen.benchmarks.pinhole import projected
from seqgen.benchmarks.stills import Stills
from seqgen.dataset.clip import ClipSource, LabelledClip
from seqgen.errors import UserError
from seqgen.skeleton import BONES, JOINT_SETS, MCPS, hand_frame

Array = np.ndarray
PALM_RANGE_M = (0.060, 0.120)
UNITS = {"millimetres": 1e-3, "centimetres": 1e-2}
MAX_ROWS = 2000  # of many rows, every n-th is looked at
WAY = np.array((*BONES, (2, 5), *pairwise(MCPS)))  # all bones, and thumb MCP, index, middle, ring, pinky MCP
ORDER_MARGIN = 1.005  # as for pose banks: the right order may seem longer than another by this much
LEAST_TAPER = 0.8  # a finger's first bone over its last; below it the fingers run from tip to palm
CLEAR_BEND_M = 0.003  # of a 95 mm palm
MOST_OFF = 0.01  # of the picture's longer edge, between joints_px and what the camera makes of joints_m
LEAST_INSIDE = 0.5  # of the joints; hands that leave a picture by half are rare, wrong cameras show none or few
NEAR_MASK_PX = 4  # how far beside the mask a joint may lie: masks of recordings are ragged
TURNED_AXES = {"y": (1, -1, 1), "z": (1, 1, -1), "y and z": (1, -1, -1), "x": (-1, 1, 1), "x and y": (-1, -1, 1)}


def check_labels(joints_m: Float[Array, "rows 21 3"], *, where: str, side: str, palm_range_m: tuple[float, float] = PALM_RANGE_M) -> str:
    """The verdict in one line, or a UserError that says what looks wrong. Canonical joints, camera axes; left hands as they are.

    `palm_range_m`: what wrist to middle MCP may measure; wider where the wrist is no annotated joint.
    """
    if len(joints_m) == 0:
        raise UserError(f"{where}: holds no labels")
    if not np.isfinite(joints_m).all():
        raise UserError(f"{where}: row {int(np.isfinite(joints_m).all((1, 2)).argmin())} holds a coordinate that is not finite")
    sample = np.asarray(joints_m[:: max(1, len(joints_m) // MAX_ROWS)], float)
    palm_m = float(np.median(np.linalg.norm(sample[:, 9] - sample[:, 0], axis=-1)))
    _check_order(sample, where)
    _check_unit(palm_m, where, palm_range_m)
    return f"{where}: {len(joints_m)} hands; palm {palm_m * 1e3:.0f} mm; joint order fits; {_check_side(sample, where, side)}"


def _check_order(joints: Float[Array, "rows 21 3"], where: str) -> None:
    ours = order_cost(joints)
    backwards = np.concatenate([[0], np.arange(1, 21).reshape(5, 4)[:, ::-1].ravel()])
    others = {name: known.places() for name, known in JOINT_SETS.items()} | {"the order from tip to palm": backwards}
    costs = {name: order_cost(joints[:, places]) for name, places in others.items()}
    best = min(costs, key=costs.__getitem__)
    if ours > costs[best] * ORDER_MARGIN:
        raise UserError(f"{where}: wrong joint order: expected wrist, then thumb to pinky, each from palm to tip; {best} would fit")
    if not np.isfinite(ours):
        raise UserError(f"{where}: no known joint order fits; expected wrist, then thumb to pinky, each from palm to tip")


def order_cost(joints: Float[Array, "rows 21 3"]) -> float:
    """The median length of WAY over the joints' spread: least in the right order. Infinite when fingers have their shortest bones at the palm."""
    spread = np.maximum(np.sqrt(joints.var(1).sum(-1)), 1e-9)
    bones = np.linalg.norm(joints[:, WAY[:, 0]] - joints[:, WAY[:, 1]], axis=-1)
    knuckles = np.array(MCPS)
    first, last = (np.linalg.norm(joints[:, knuckles + place] - joints[:, knuckles + place + 1], axis=-1) for place in (0, 2))
    taper = np.median(first / spread[:, None], 0) / np.maximum(np.median(last / spread[:, None], 0), 1e-9)
    return float(np.median(bones.sum(1) / spread)) if np.median(taper) >= LEAST_TAPER else np.inf


def _check_unit(palm_m: float, where: str, palm_range_m: tuple[float, float]) -> None:
    low, high = palm_range_m
    if low <= palm_m <= high:
        return
    fitting = [name for name, unit in UNITS.items() if low <= palm_m * unit <= high]
    hint = f"the numbers look like {fitting[0]}" if fitting else f"expected {low:g} to {high:g}"
    raise UserError(f"{where}: wrong unit: wrist to middle MCP measures {palm_m:.4g} m; {hint}")


def _check_side(joints_m: Float[Array, "rows 21 3"], where: str, side: str) -> str:
    """Words on the side, or a UserError when the fingers bend the wrong way for it."""
    frame = hand_frame(joints_m)
    known = np.isfinite(frame.axes).all((1, 2))
    bend_m = frame.normalise(joints_m)[known][:, [7, 8, 11, 12, 15, 16, 19, 20], 2].mean() * (1 if side == "right" else -1)
    if bend_m > CLEAR_BEND_M:
        other = "left" if side == "right" else "right"
        raise UserError(f"{where}: these look like {other} hands: fingers bend {bend_m * 1e3:.0f} mm towards the back of a {side} hand")
    return f"{side} hands" if bend_m < -CLEAR_BEND_M else f"{side} hands as stated, too flat to tell"


def check_pictures(source: ClipSource, *, samples: int = 8) -> str:
    """The verdict on some frames spread over the source, in one line; a UserError when labels and pictures do not belong together."""
    if len(source) == 0:
        raise UserError(f"{source.name}: holds no clips")
    stills = Stills(source)
    clips = [stills.read(int(position)) for position in np.unique(np.linspace(0, len(stills) - 1, samples).astype(int))]
    inside = np.concatenate([inside_picture(clip)[clip.joints_valid] for clip in clips])
    if inside.size == 0:
        return f"{source.name}: {len(clips)} pictures looked at, none with a known joint"
    if inside.mean() < LEAST_INSIDE:
        raise UserError(f"{source.name}: only {inside.mean():.0%} of the joints lie within their pictures (first looked at: {clips[0].key}); are these labels of these pictures?")
    remarks = [f"{len(clips)} pictures looked at", f"{inside.mean():.0%} of the joints within"]
    off = [reprojection_px(clip) for clip in clips if clip.intrinsics is not None and clip.camera_kind == "perspective" and clip.joints_valid.any()]
    remarks += [f"joints_px {max(off):.1f} px from the projected joints_m at most"] if off else []
    on_mask = [_on_mask(clip) for clip in clips if clip.mask is not None]
    if on_mask:
        share = float(np.concatenate(on_mask).mean())
        if share < LEAST_INSIDE:
            raise UserError(f"{source.name}: only {share:.0%} of the joints lie on the hand's mask; are masks and labels of the same pictures?")
        remarks.append(f"{share:.0%} on the mask")
    return f"{source.name}: {'; '.join(remarks)}"


def inside_picture(clip: LabelledClip) -> Bool[Array, "1 joints"]:
    """Which joints of a still lie within the picture."""
    return ((clip.joints_px >= -0.5) & (clip.joints_px <= np.array(clip.size) - 0.5)).all(-1)


def reprojection_px(clip: LabelledClip) -> float:
    """Median distance (px) in a still of joints_px to what the camera makes of joints_m; a UserError when it is too far, with the axis that is turned round if one is."""
    off = {name: _median_off(clip, np.array(signs)) for name, signs in {"": (1, 1, 1), **TURNED_AXES}.items()}
    limit = MOST_OFF * max(clip.size)
    if off[""] <= limit:
        return off[""]
    best = min(off, key=off.__getitem__)
    hint = f"with {best} turned round they would fit" if off[best] <= limit else "intrinsics, unit or axes are wrong (x right, y down, z forward)"
    raise UserError(f"{clip.source} {clip.key}: joints_m and intrinsics give pixels {off['']:.0f} px from joints_px; {hint}")


def _median_off(clip: LabelledClip, signs: Array) -> float:
    """Of the known joints of a still; places of the others hold anything."""
    valid = clip.joints_valid[0]
    joints_m = clip.joints_m[:, valid] * signs
    if (joints_m[..., 2] <= 0).any():
        return np.inf
    return float(np.median(np.linalg.norm(projected(joints_m, clip.intrinsics) - clip.joints_px[:, valid], axis=-1)))


def _on_mask(clip: LabelledClip) -> Bool[Array, "joints"]:
    """Of the joints within the picture, which lie on the mask or beside it."""
    columns, rows = np.rint(clip.joints_px[0][inside_picture(clip)[0] & clip.joints_valid[0]]).astype(int).T
    padded = np.pad(clip.mask[0], NEAR_MASK_PX)
    reach = 2 * NEAR_MASK_PX + 1
    return np.array([padded[row : row + reach, column : column + reach].any() for row, column in zip(rows, columns, strict=True)], bool)
