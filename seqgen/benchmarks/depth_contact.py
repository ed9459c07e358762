"""First contact with depth pictures and their labels: do joints lie in the hand that the pictures show, and are the joints those they are said to be?

    z of a joint - depth at its pixel      0 on the surface, some millimetres in the flesh, more where another finger is before it; hundreds behind what it is not

Labels and pictures that do not belong together, a wrong unit, wrong intrinsics or an axis turned round: then joints lie far from the surface, or where
the pictures have no depth. `check_joint_set` looks at labels of other joints than the 21 that `first_contact.check_labels` knows. Reads no files.
"""

from itertools import combinations
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from seqgen.benchmarks.first_contact import CLEAR_BEND_M, MAX_ROWS, TURNED_AXES, UNITS, inside_picture, reprojection_px
from seqgen.benchmarks.pinhole import projected
from seqgen.benchmarks.stills import Stills
from seqgen.dataset.clip import ClipSource, LabelledClip
from seqgen.dataset.sequence import DEPTH_UNIT_M
from seqgen.errors import UserError
from seqgen.joint_targets import TARGETS
from seqgen.skeleton import FINGERS

Array = np.ndarray
BEHIND_M = (-0.005, 0.040)  # the median joint behind the surface: what is expected
MOST_BEHIND_M = (-0.020, 0.060)  # and what is refused beyond: mistakes are off by hundreds of millimetres, ways to label by ten
LEAST_SEEN = 0.5  # of the joints within their pictures: so many must lie where there is depth
CLEARLY_MORE = 0.1  # of the joints: by so many more must lie in the hand for an axis to be called turned round
REACH_M = (0.06, 0.25)  # of a hand: the largest distance between two of its joints, in the median; a fist and a large open hand
SIDE_POINTS = {  # thumb's side and pinky's side of the hand, then two points of which the second is farther towards the fingers
    "nyu": ("wrist_thumb_side", "wrist_pinky_side", "wrist_thumb_side", "palm"),
    "icvl": ("index_root", "pinky_root", "palm", "middle_root"),
}
ORDER_MARGIN = 1.1  # the right order may seem longer than another by this much: of 50 frames of bent fingers in NYU's test set it does by 1.06


def check_depth(source: ClipSource, *, samples: int = 16) -> str:
    """The verdict on some frames spread over the source, in one line; a UserError when depth and labels do not belong together. Perspective cameras only.

    Clips need depth and intrinsics; of what they have of colours nothing is looked at.
    """
    clips = _looked_at(source, samples)
    if not clips:
        return f"{source.name}: {samples} depth pictures looked at, none with a known joint"
    if any((clip.joints_m[clip.joints_valid][:, 2] <= 0).any() for clip in clips):
        raise UserError(f"{source.name}: joints lie behind the camera; expected camera axes, x right, y down, z forward")
    off_px = max(reprojection_px(clip) for clip in clips)
    _refuse_turned_axes(clips, source.name)
    inside = _refuse_unless_seen(clips, source.name)
    median_m = float(np.median(_depths_behind(clips, (1, 1, 1))))
    if not MOST_BEHIND_M[0] <= median_m <= MOST_BEHIND_M[1]:
        raise UserError(f"{source.name}: {_said(median_m)}; are depth and labels of one unit, and of the same pictures?")
    remarks = f"{len(clips)} depth pictures looked at; {inside:.0%} of the joints within; joints_px {off_px:.1f} px from the projected joints_m at most"
    return f"{source.name}: {remarks}; {_said(median_m)}"


def _looked_at(source: ClipSource, samples: int) -> list[LabelledClip]:
    """So many stills spread over the source, those with a known joint."""
    if len(source) == 0:
        raise UserError(f"{source.name}: holds no clips")
    stills = Stills(source)
    clips = [stills.read(int(position)) for position in np.unique(np.linspace(0, len(stills) - 1, samples).astype(int))]
    return [clip for clip in clips if clip.joints_valid.any()]


def _refuse_turned_axes(clips: list[LabelledClip], name: str) -> None:
    """A UserError when clearly more joints lie in the hand with x or y turned round."""
    share = _share_in_hand(clips, (1, 1, 1))
    turned = {axes: _share_in_hand(clips, signs) for axes, signs in TURNED_AXES.items() if signs[2] > 0}
    best = max(turned, key=turned.__getitem__)
    if turned[best] > share + CLEARLY_MORE:
        raise UserError(f"{name}: {share:.0%} of the joints lie in the hand that the depth shows, with {best} turned round {turned[best]:.0%} would; x is right, y is down")


def _refuse_unless_seen(clips: list[LabelledClip], name: str) -> float:
    """The share of the known joints that lie within their pictures; a UserError when too few do, or too few of these where there is depth."""
    inside = np.concatenate([inside_picture(clip)[clip.joints_valid] for clip in clips])
    seen = len(_depths_behind(clips, (1, 1, 1))) / max(1, int(inside.sum()))
    if inside.mean() < LEAST_SEEN or seen < LEAST_SEEN:
        raise UserError(
            f"{name}: {inside.mean():.0%} of the joints lie within their pictures, {seen:.0%} of these where there is depth "
            f"(first looked at: {clips[0].key}); are these labels of these pictures, and are unit and intrinsics right?"
        )
    return float(inside.mean())


def _said(median_m: float) -> str:
    low, high = BEHIND_M
    expected = "" if low <= median_m <= high else f", expected {low * 1e3:.0f} to {high * 1e3:.0f}"
    return f"the median joint lies {median_m * 1e3:.0f} mm behind the surface that the depth shows{expected}"


def _depths_behind(clips: list[LabelledClip], signs: tuple[int, int, int]) -> Float[Array, "joints"]:
    """How far (m) behind the surface at their pixels the valid joints lie, those with depth there, once axes have been turned round."""
    return np.concatenate([behind[known] for behind, known in (_behind(clip, np.array(signs)) for clip in clips)])


def _behind(clip: LabelledClip, signs: Array) -> tuple[Float[Array, "joints"], Bool[Array, "joints"]]:
    """Of one still: z less depth (m) of each valid joint, and whether its pixel is in the picture and has depth."""
    assert clip.depth_tenth_mm is not None and clip.intrinsics is not None, f"clip {clip.key} has no depth, or no camera"
    joints_m = clip.joints_m[0, clip.joints_valid[0]] * signs
    columns, rows = np.rint(projected(joints_m[None], clip.intrinsics)[0]).astype(int).T
    width, height = clip.size
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    depth = np.where(inside, clip.depth_tenth_mm[0, np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)], 0)
    return joints_m[:, 2] - depth * DEPTH_UNIT_M, depth > 0


def _share_in_hand(clips: list[LabelledClip], signs: tuple[int, int, int]) -> float:
    """The share of all valid joints that are as far behind the surface as joints of hands are."""
    low, high = MOST_BEHIND_M
    behind_m = _depths_behind(clips, signs)
    return float(((behind_m >= low) & (behind_m <= high)).sum() / sum(int(clip.joints_valid.sum()) for clip in clips))


def check_joint_set(joints_m: Float[Array, "rows joints 3"], joint_set: Literal["nyu", "icvl"], *, where: str, side: str) -> str:
    """The verdict on labels of other joints than the 21 in one line, or a UserError: of a hand's size, in the set's order, of that side. Camera axes."""
    if len(joints_m) == 0:
        raise UserError(f"{where}: holds no labels")
    if not np.isfinite(joints_m).all():
        raise UserError(f"{where}: row {int(np.isfinite(joints_m).all((1, 2)).argmin())} holds a coordinate that is not finite")
    sample = np.asarray(joints_m[:: max(1, len(joints_m) // MAX_ROWS)], float)
    distances = np.linalg.norm(sample[:, :, None] - sample[:, None], axis=-1)
    reach_m = float(np.median(distances.max((1, 2))))
    if not REACH_M[0] <= reach_m <= REACH_M[1]:
        fitting = [name for name, unit in UNITS.items() if REACH_M[0] <= reach_m * unit <= REACH_M[1]]
        hint = f"the numbers look like {fitting[0]}" if fitting else f"expected {REACH_M[0]:g} to {REACH_M[1]:g}"
        raise UserError(f"{where}: wrong unit: the joints of a hand lie up to {reach_m:.4g} m apart; {hint}")
    _check_places(distances, joint_set, where)
    return f"{where}: {len(joints_m)} hands; joints up to {reach_m * 1e3:.0f} mm apart; joint order fits {joint_set}; {_check_bend(sample, joint_set, where, side)}"


def _check_places(distances: Float[Array, "rows joints joints"], joint_set: str, where: str) -> None:
    """A UserError when the skeleton, its bones' mean lengths summed, is clearly shorter with two joints exchanged."""
    targets, mean_m = TARGETS[joint_set], distances.mean(0)
    first, second = np.array(targets.bones).T
    lengths = {}
    for one, other in combinations(range(targets.num_joints), 2):
        places = np.arange(targets.num_joints)
        places[[one, other]] = other, one
        lengths[one, other] = mean_m[places[first], places[second]].sum()
    one, other = min(lengths, key=lengths.__getitem__)
    if mean_m[first, second].sum() > lengths[one, other] * ORDER_MARGIN:
        raise UserError(f"{where}: wrong joint order: these are not {joint_set}'s joints; with {targets.names[one]} and {targets.names[other]} exchanged they would fit better")


def _check_bend(joints_m: Float[Array, "rows joints 3"], joint_set: str, where: str, side: str) -> str:
    """Words on the side, or a UserError when the fingers bend the wrong way for it; as `first_contact.check_labels` does with 21 joints."""
    names = TARGETS[joint_set].names
    joint = {name: joints_m[:, place] for place, name in enumerate(names)}
    thumb_side, pinky_side, below, above = (joint[name] for name in SIDE_POINTS[joint_set])
    back = np.cross(pinky_side - thumb_side, above - below)  # of a right hand out of its back
    back = back / np.maximum(np.linalg.norm(back, axis=-1, keepdims=True), 1e-9)
    ends = np.mean([joint[f"{finger}_tip"] - joint[f"{finger}_middle"] for finger in FINGERS[1:]], 0)
    bend_m = float((ends * back).sum(-1).mean()) * (1 if side == "right" else -1)
    if bend_m > CLEAR_BEND_M:
        other = "left" if side == "right" else "right"
        raise UserError(f"{where}: these look like {other} hands: fingers bend {bend_m * 1e3:.0f} mm towards the back of a {side} hand; is an axis turned round?")
    return f"{side} hands" if bend_m < -CLEAR_BEND_M else f"{side} hands as stated, too flat to tell"
