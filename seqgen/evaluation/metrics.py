"""What is measured of predicted joints, one definition a function. Knows arrays only: no files, no networks, no data sets.

    predicted, true  (frames, joints, 2 or 3)  any unit; what is measured comes in the same
    errors           (frames, joints)          Euclidean distances, see `joint_errors`
    valid            (frames, joints) bool     joints that have a label; the others may hold anything, NaN too, and never count
    clip             (frames,) int             which clip a frame is of; the frames of a clip stand together, in their order

Means are over all valid joints of all frames alike; frames without a valid joint are left out. What has nothing to be measured on is nan.
Root-relative errors count the root too, as Zimmermann and Brox and FreiHAND do: its error is zero, so a mean over 21 joints is 20/21 of that over the others.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Num

from seqgen.geometry import similarity_alignment

Array = np.ndarray
Errors = Float[Array, "frames joints"]
Valid = Bool[Array, "frames joints"]
ROOT = 0  # the wrist
SCALE_BONE = (9, 10)  # the middle finger's first phalanx, which gives RHD's and FreiHAND's scale
FEWEST_TO_ALIGN = 3  # joints; fewer leave a rotation open


class Thresholds(NamedTuple):
    """From `low` to `high`, both included, every `step`; `high - low` is a whole number of steps."""

    low: float
    high: float
    step: float = 1.0

    def values(self) -> Float[Array, "_"]:
        """All thresholds, rising."""
        return np.linspace(self.low, self.high, round((self.high - self.low) / self.step) + 1)


def joint_errors(predicted: Num[Array, "frames joints axes"], true: Num[Array, "frames joints axes"]) -> Errors:
    """Euclidean distance of each joint from its label, in the unit of both: the end-point error (EPE) in 3D, the pixel error in 2D."""
    return np.linalg.norm(np.asarray(predicted, float) - np.asarray(true, float), axis=-1)


def mean_error(errors: Errors, valid: Valid) -> float:
    """Mean EPE, or mean joint error, MPJPE: the mean over all valid joints of all frames (Zimmermann and Brox 2017; HandR2N2, SRN, section 4)."""
    return float(errors[valid].mean()) if valid.any() else np.nan


def median_error(errors: Errors, valid: Valid) -> float:
    """Median EPE: over all valid joints of all frames (Zimmermann and Brox 2017)."""
    return float(np.median(errors[valid])) if valid.any() else np.nan


def error_per_joint(errors: Errors, valid: Valid) -> Float[Array, "joints"]:
    """Mean joint error of each joint over the frames where it is valid; nan for a joint that never is."""
    return _means(errors.T, valid.T)


def mean_per_frame(errors: Errors, valid: Valid) -> Float[Array, "frames"]:
    """Mean error over the valid joints of each frame; nan for a frame without any."""
    return _means(errors, valid)


def worst_per_frame(errors: Errors, valid: Valid) -> Float[Array, "frames"]:
    """Error of the worst valid joint of each frame; nan for a frame without any."""
    return np.where(valid.any(1), np.where(valid, errors, -np.inf).max(1), np.nan)


def pck(errors: Errors, valid: Valid, thresholds: Float[Array, "thresholds"]) -> Float[Array, "thresholds"]:
    """Percentage of correct keypoints, as fractions: the valid joints with an error of at most t, for each t (Zimmermann and Brox 2017).

    Their code averages the fractions of the joints; here every label counts once, which is the same where all joints are valid equally often.
    """
    return _fraction_up_to(np.sort(errors[valid]), thresholds, side="right")


def auc(errors: Errors, valid: Valid, thresholds: Thresholds) -> float:
    """Area under the PCK curve from `low` to `high`: by the trapezoid rule over all thresholds, divided by `high - low`, so 1 is perfect.

    An error of at most `low` scores 1, above `high` 0, and between them near (high - error) / (high - low), within half a step over the range.
    Zimmermann and Brox 2017 use 20 to 50 mm on root-relative joints, Boukhayma et al. 2019 and so SeqHAND the same; FreiHAND 0 to 50 mm after `procrustes_aligned`.
    """
    return mean_error(auc_scores(errors, thresholds), valid)


def auc_scores(errors: Errors, thresholds: Thresholds) -> Errors:
    """What each joint adds to the area: the area under its own curve, a step from 0 to 1. Their mean is `auc`, so areas can be resampled like errors."""
    values = thresholds.values()
    weights = np.ones(len(values))
    weights[[0, -1]] = 0.5
    up_to_end = np.append(np.cumsum(weights[::-1])[::-1], 0.0) / weights.sum()
    return up_to_end[np.searchsorted(values, errors, side="left")]


def success_by_mean(errors: Errors, valid: Valid, thresholds: Float[Array, "thresholds"]) -> Float[Array, "thresholds"]:
    """Fraction of frames whose mean error is below t, for each t (HandR2N2, section 4; so the text of SRN)."""
    return _success(mean_per_frame(errors, valid), thresholds)


def success_by_worst(errors: Errors, valid: Valid, thresholds: Float[Array, "thresholds"]) -> Float[Array, "thresholds"]:
    """Fraction of frames whose worst joint's error is below t, for each t (Taylor et al. 2012; JGR-P2O, section 4; so the published curves of SRN)."""
    return _success(worst_per_frame(errors, valid), thresholds)


def root_relative(joints: Num[Array, "frames joints axes"], root: int = ROOT) -> Float[Array, "frames joints axes"]:
    """Joints relative to the root of their frame. Means something where the root is valid."""
    joints = np.asarray(joints, float)
    return joints - joints[:, root, None]


def scale_aligned(predicted: Num[Array, "frames joints axes"], true: Num[Array, "frames joints axes"], valid: Valid) -> Float[Array, "frames joints axes"]:
    """Root-relative predictions, each frame scaled by s = sum(p . t) / sum(p . p) over its valid joints: the least squares scale with the roots kept together.

    Not below 0, for a hand turned inside out is none. A prediction with all joints in the root stays as it is.
    """
    counting = valid[..., None]
    both = np.where(counting, predicted, 0.0), np.where(counting, true, 0.0)
    own, shared = (both[0] ** 2).sum((1, 2)), (both[0] * both[1]).sum((1, 2))
    scale = np.divide(np.maximum(shared, 0.0), own, out=np.ones(len(own)), where=own > 0)
    return np.asarray(predicted, float) * scale[:, None, None]


def bone_scaled(
    predicted: Num[Array, "frames joints axes"], true: Num[Array, "frames joints axes"], bone: tuple[int, int] = SCALE_BONE
) -> Float[Array, "frames joints axes"]:
    """Root-relative predictions, each frame scaled so that one bone is as long as it truly is (Zimmermann and Brox 2017). Means something where both
    ends of the bone are valid. A prediction whose bone has no length stays as it is."""
    own, wanted = (np.linalg.norm(np.asarray(joints, float)[:, bone[1]] - joints[:, bone[0]], axis=-1) for joints in (predicted, true))
    return np.asarray(predicted, float) * np.divide(wanted, own, out=np.ones(len(own)), where=own > 0)[:, None, None]


def procrustes_aligned(
    predicted: Num[Array, "frames joints 3"], true: Num[Array, "frames joints 3"], valid: Valid
) -> tuple[Float[Array, "frames joints 3"], Bool[Array, "frames"]]:
    """Predictions under the similarity (scale, rotation, translation) of each frame that brings its valid joints nearest to the truth in least squares, and the
    frames that could be aligned: those of at least three valid joints. Their mean error is PA-MPJPE (Gower 1975, Umeyama 1991; Kanazawa et al. 2018).

    No reflections; FreiHAND's own code allows them. A prediction with all joints in one point goes to the truth's mean.
    """
    aligned, alignable = np.array(predicted, float), valid.sum(1) >= FEWEST_TO_ALIGN
    for joints in np.unique(valid[alignable], axis=0):  # frames with the same joints go together
        frames = np.flatnonzero((valid == joints).all(1))
        chosen = np.ix_(frames, np.flatnonzero(joints))
        aligned[frames] = _similar(aligned[frames], aligned[chosen], np.asarray(true, float)[chosen])
    return aligned, alignable


def difference_lengths(
    joints: Num[Array, "frames joints axes"], valid: Valid, clip: Int[Array, "frames"], order: int
) -> tuple[Float[Array, "_ joints"], Bool[Array, "_ joints"]]:
    """Lengths of each joint's differences of an order over the frames, (frames - order, joints), in the unit of `joints` per frame to that power; and where they
    are valid: all `order + 1` frames are, and are of one clip. Times fps^order: speed (1), acceleration (2), jerk (3)."""
    count = max(len(joints) - order, 0)
    windows = [slice(start, start + count) for start in range(order + 1)]
    whole = np.all([valid[window] & (clip[window] == clip[:count])[:, None] for window in windows], axis=0)
    return np.linalg.norm(np.diff(np.asarray(joints, float), order, axis=0), axis=-1), whole


def acceleration_errors(
    predicted: Num[Array, "frames joints axes"], true: Num[Array, "frames joints axes"], valid: Valid, clip: Int[Array, "frames"]
) -> tuple[Float[Array, "_ joints"], Bool[Array, "_ joints"]]:
    """Acceleration error (Kanazawa et al. 2019, HMMR): the length of predicted less true second differences, per frame squared; and where valid."""
    return difference_lengths(np.asarray(predicted, float) - true, valid, clip, 2)


def jitter(joints: Num[Array, "frames joints axes"], valid: Valid, clip: Int[Array, "frames"]) -> tuple[Float[Array, "_ joints"], Bool[Array, "_ joints"]]:
    """Jitter (Yi et al. 2021, TransPose, after Flash and Hogan 1985): the length of each joint's jerk, here third differences, per frame cubed; and where valid.

    Of the prediction alone; a real motion has some too, so compare with the same of the truth.
    """
    return difference_lengths(joints, valid, clip, 3)


def _means(values: Float[Array, "rows columns"], valid: Bool[Array, "rows columns"]) -> Float[Array, "rows"]:
    """The mean over the valid ones of each row; nan for a row without any."""
    count = valid.sum(1)
    return np.divide(np.where(valid, values, 0.0).sum(1), count, out=np.full(len(count), np.nan), where=count > 0)


def _success(frame_errors: Float[Array, "frames"], thresholds: Float[Array, "thresholds"]) -> Float[Array, "thresholds"]:
    return _fraction_up_to(np.sort(frame_errors[~np.isnan(frame_errors)]), thresholds, side="left")


def _fraction_up_to(rising: Float[Array, "_"], thresholds: Float[Array, "thresholds"], *, side: str) -> Float[Array, "thresholds"]:
    """The fraction of values at most t (side "right") or below t ("left"), for each t."""
    return np.searchsorted(rising, thresholds, side=side) / len(rising) if len(rising) else np.full(len(thresholds), np.nan)


def _similar(moved: Float[Array, "frames joints 3"], source: Float[Array, "frames chosen 3"], target: Float[Array, "frames chosen 3"]) -> Float[Array, "frames joints 3"]:
    """All joints of each frame under the similarity that brings its chosen ones to their targets."""
    spread = np.ptp(source, axis=1).max(-1) > 0
    result = np.repeat(target.mean(1, keepdims=True), moved.shape[1], axis=1)
    scale, rotation, translation = similarity_alignment(source[spread], target[spread])
    result[spread] = scale[:, None, None] * np.einsum("nij,nkj->nki", rotation, moved[spread]) + translation[:, None]
    return result
