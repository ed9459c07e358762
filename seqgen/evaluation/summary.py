"""What an evaluation comes to, in numbers: every metric, by name, under every alignment. Measures by `metrics`; knows no network, no file and no table."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from seqgen.evaluation.bootstrap import bootstrap_mean
from seqgen.evaluation.evaluate import CROP_PX, Evaluation
from seqgen.evaluation.metrics import (
    Thresholds,
    acceleration_errors,
    auc,
    auc_scores,
    bone_scaled,
    difference_lengths,
    error_per_joint,
    jitter,
    joint_errors,
    mean_error,
    median_error,
    pck,
    procrustes_aligned,
    scale_aligned,
    success_by_mean,
    success_by_worst,
)

Array = np.ndarray
VERSION = 2  # of the names in report.json; 2: mean_mm, measured, joint_set
AUC_MM = {"20-50 mm": Thresholds(20.0, 50.0), "0-50 mm": Thresholds(0.0, 50.0)}
AUC_PX = {"0-20 px": Thresholds(0.0, 20.0), "0-30 px": Thresholds(0.0, 30.0)}
PCK_MM, PCK_PX, SUCCESS_MM = Thresholds(0.0, 50.0), Thresholds(0.0, 30.0), Thresholds(1.0, 80.0)
ALIGNMENTS = {
    "absolute": "nothing aligned: places in space, of estimators that say where the hand is",
    "root_relative": "the roots together (of 21 joints the wrists)",
    "root_scale": "the roots together, the prediction scaled to the least squares of the frame",
    "root_bone_scale": "the roots together, the prediction scaled to the true length of the middle finger's first phalanx; of the 21 joints only",
    "procrustes": "the prediction under the similarity that brings it nearest to the truth in the frame",
}
CONVENTIONS = {
    "joints": "means are over all labelled joints, the root among them",
    "measured": "what mean_joint_error_mm, per_joint_mm and success are of: absolute where the estimator says where the hand is, as networks of depth do, else root_relative",
    "mean_joint_error_mm": "Euclidean distance",
    "pck": "fraction of joints with an error of at most the threshold",
    "auc": "area under the PCK curve in steps of 1, trapezoid rule, divided by the range",
    "success": "fraction of frames whose mean (success_mean) or worst (success_max) error is below the threshold",
    "px": "picture: pixels as stored",
    "crop": f"pixels of a crop of {CROP_PX} px, whatever the network's input is",
    "acceleration": "length of second differences over frames, root-relative; error: of prediction less truth",
    "jitter": "length of third differences over frames, root-relative",
    "interval_95": "bootstrap over clips",
}


class Measured(NamedTuple):
    """Errors and where they count."""

    errors: Float[Array, "frames joints"]
    valid: Bool[Array, "frames joints"]


def summarise(evaluation: Evaluation, *, about: Mapping[str, Any], seed: int = 0) -> dict[str, Any]:
    """All numbers of the report as plain values. `seed`: of the bootstrap."""
    aligned = align(evaluation)
    headline = "absolute" if "absolute" in aligned else "root_relative"
    chief, crop = aligned[headline], Measured(evaluation.error_crop_px, evaluation.joints_valid)
    areas = {name: {label: auc(*measured, range) for label, range in AUC_MM.items()} for name, measured in aligned.items()}
    curves = {name: _curve(pck(*measured, PCK_MM.values()), PCK_MM) for name, measured in aligned.items()}
    summary = {
        "version": VERSION,
        "data": list(evaluation.names),
        "about": dict(about),
        "joint_set": evaluation.joint_set,
        "measured": headline,
        "counts": _counts(evaluation, aligned),
        "mean_joint_error_mm": mean_error(*chief),
        "median_joint_error_mm": median_error(*chief),
        "per_joint_mm": dict(zip(evaluation.targets.names, error_per_joint(*chief), strict=True)),
        "root_scale_mm": mean_error(*aligned["root_scale"]),
        "root_bone_scale_mm": mean_error(*aligned["root_bone_scale"]),
        "pa_mpjpe_mm": mean_error(*aligned["procrustes"]),
        "mean_mm": {name: mean_error(*measured) for name, measured in aligned.items()},
        "median_mm": {name: median_error(*measured) for name, measured in aligned.items()},
        "auc": {**areas, "crop": {label: auc(*crop, range) for label, range in AUC_PX.items()}},
        "success_mean": _curve(success_by_mean(*chief, SUCCESS_MM.values()), SUCCESS_MM),
        "success_max": _curve(success_by_worst(*chief, SUCCESS_MM.values()), SUCCESS_MM),
        "pck": {**curves, "crop": _curve(pck(*crop, PCK_PX.values()), PCK_PX)},
        "px": _pixels(evaluation),
        **_motion(evaluation),
        "interval_95": _intervals(evaluation, chief, aligned["root_relative"], crop, np.random.default_rng(seed)),
        "conventions": {**CONVENTIONS, **ALIGNMENTS},
    }
    return _plain(summary)


def align(evaluation: Evaluation) -> dict[str, Measured]:
    """Errors in millimetres by alignment, as ALIGNMENTS describes them, each with the joints that it can be measured on; absolute ones where any can be."""
    predicted, true, valid = evaluation.predicted_mm, evaluation.true_mm, evaluation.root_relative_valid
    bone = evaluation.targets.scale_bone
    scaled = predicted if bone is None else bone_scaled(predicted, true, bone)
    has_bone = np.zeros((len(valid), 1), bool) if bone is None else evaluation.joints_valid[:, list(bone)].all(1, keepdims=True)
    similar, alignable = procrustes_aligned(1e3 * evaluation.predicted_m, 1e3 * evaluation.true_m, evaluation.joints_valid)
    in_space = {"absolute": Measured(evaluation.absolute_error_mm, evaluation.absolute_valid)} if evaluation.absolute_valid.any() else {}
    return {
        **in_space,
        "root_relative": Measured(joint_errors(predicted, true), valid),
        "root_scale": Measured(joint_errors(scale_aligned(predicted, true, valid), true), valid),
        "root_bone_scale": Measured(joint_errors(scaled, true), valid & has_bone),
        "procrustes": Measured(joint_errors(similar, 1e3 * evaluation.true_m), evaluation.joints_valid & alignable[:, None]),
    }


def per_frame(evaluation: Evaluation) -> dict[str, Array]:
    """The arrays of `per_frame.npz`."""
    aligned = align(evaluation)
    in_space = {"absolute_error_mm": aligned["absolute"]} if "absolute" in aligned else {}
    errors = {"error_mm": aligned["root_relative"], **in_space, "procrustes_error_mm": aligned["procrustes"], "error_px": Measured(evaluation.error_px, evaluation.joints_valid)}
    return {
        **{name: np.array(getattr(evaluation, name)) for name in ("sources", "keys", "sides", "fps", "clip", "frame", "crop_scale")},
        **{name: np.where(measured.valid, measured.errors, np.nan).astype(np.float32) for name, measured in errors.items()},
    }


def _counts(evaluation: Evaluation, aligned: Mapping[str, Measured]) -> dict[str, int]:
    """How much was measured, and what had to be left out."""
    valid = evaluation.joints_valid
    return {
        "clips": len(evaluation.keys),
        "left_hands": evaluation.sides.count("left"),
        "frames": len(valid),
        "joints": int(valid.sum()),
        "frames_without_joints": int((~valid.any(1)).sum()),
        "frames_not_usable": int((~evaluation.usable).sum()),
        "frames_without_root": int((~evaluation.has_root).sum()),
        "frames_too_few_to_align": int((~aligned["procrustes"].valid.any(1)).sum()),
    }


def _pixels(evaluation: Evaluation) -> dict[str, float]:
    kinds = {"picture": evaluation.error_px, "crop": evaluation.error_crop_px}
    measures = {"mean": mean_error, "median": median_error}
    return {f"{kind}_{name}": measure(errors, evaluation.joints_valid) for kind, errors in kinds.items() for name, measure in measures.items()}


def _motion(evaluation: Evaluation) -> dict[str, dict[str, float]]:
    """Acceleration and jitter, per frame and per second."""
    predicted, true, valid, clip = evaluation.predicted_mm, evaluation.true_mm, evaluation.root_relative_valid, evaluation.clip
    rate = evaluation.fps[clip][:, None]
    both = {"predicted": predicted, "true": true}
    accelerations = {"error": acceleration_errors(predicted, true, valid, clip), **{name: difference_lengths(joints, valid, clip, 2) for name, joints in both.items()}}
    jerks = {name: jitter(joints, valid, clip) for name, joints in both.items()}
    per_frame2 = {f"{name}_mm_per_frame2": mean_error(*each) for name, each in accelerations.items()}
    per_s2 = {f"{name}_mm_per_s2": mean_error(each * rate[: len(each)] ** 2, whole) for name, (each, whole) in accelerations.items()}
    per_frame3 = {f"{name}_mm_per_frame3": mean_error(*each) for name, each in jerks.items()}
    per_s3 = {f"{name}_m_per_s3": mean_error(1e-3 * each * rate[: len(each)] ** 3, whole) for name, (each, whole) in jerks.items()}
    return {"acceleration": {**per_frame2, **per_s2}, "jitter": {**per_frame3, **per_s3}}


def _intervals(evaluation: Evaluation, chief: Measured, relative: Measured, crop: Measured, rng: np.random.Generator) -> dict[str, list[float]]:
    """Where the most quoted numbers would lie with other clips."""
    values = {
        "mean_joint_error_mm": chief,
        "auc_root_relative_20_50_mm": Measured(auc_scores(relative.errors, AUC_MM["20-50 mm"]), relative.valid),
        "crop_mean_px": crop,
    }
    return {name: list(bootstrap_mean(evaluation.by_clip(*measured), rng)[1:]) for name, measured in values.items()}


def _curve(fractions: Float[Array, "_"], thresholds: Thresholds) -> dict[str, float]:
    """Threshold to fraction."""
    return {f"{threshold:g}": fraction for threshold, fraction in zip(thresholds.values(), fractions, strict=True)}


def _plain(value: Any) -> Any:
    """Numpy's numbers as Python's, nan as None, all the way down."""
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value
