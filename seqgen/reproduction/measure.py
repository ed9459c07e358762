"""What a table measures of a trained network: one number a test clip and metric, so that clips can be resampled.

    auc_2d, auc_3d   area under the PCK curve: 0 to 20 px of a crop of 224 px; 20 to 50 mm, root-relative (SeqHAND's baseline, Boukhayma et al. 2019)
    error_px         mean 2D error in pixels of a crop of 224 px, whatever side the network sees
    error_mm         mean root-relative 3D error
    pa_mm            mean 3D error after each frame's best similarity: what is wrong with the hand's pose, not with how it is turned or how large it is
    covered_mm       the same over frames whose hand is partly covered (`covered_frames`); nan without such frames
    acceleration_mm  mean length of the difference of predicted and true second differences, mm per frame squared
    blackout_mm      mean way of the predicted joints from a frame to the next, into and out of a frame of the clip that was made black; `blackout_shown_mm`: with
                     the frame shown; `blackout_true_mm`: of the true joints
    black_frame_mm   mean root-relative 3D error in the frame made black
    mean_20, max_20  share of the frames whose mean root-relative error, or whose worst joint's, is below 20 mm; `max_40`: 40 mm
    space_mm         mean 3D error in the camera's frame, of networks that say where the hand is; `space_x_mm`...: along an axis; `space_mean_20`...: shares as above

Means over joints and frames of a clip. Whoever changes what a number means raises VERSION, so that it is not mixed with older ones.
Knows no tables but their tests, and no files but checkpoints and data sets.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from torch import nn

from seqgen.benchmarks import Stills, open_clips
from seqgen.dataset.clip import ClipSource, LabelledClip
from seqgen.estimators.checkpoint import load_estimator
from seqgen.estimators.views.feed import Input, pictures_of
from seqgen.evaluation.evaluate import Evaluation, evaluate
from seqgen.evaluation.metrics import Thresholds, acceleration_errors, auc_scores, joint_errors, mean_per_frame, procrustes_aligned, worst_per_frame
from seqgen.reproduction.tables import HeldOut
from seqgen.skeleton import TIPS

log = logging.getLogger(__name__)

Array = np.ndarray
PerClip = Float[Array, "clips"]
VERSION = 2  # 2: pa_mm
BLACKOUT = ("blackout_mm", "black_frame_mm")
SUCCESS = {"mean_20": (mean_per_frame, 20.0), "max_20": (worst_per_frame, 20.0), "max_40": (worst_per_frame, 40.0)}  # mm
RANGE_PX, RANGE_MM = Thresholds(0.0, 20.0), Thresholds(20.0, 50.0)
INNER = np.setdiff1d(np.arange(1, 21), TIPS)  # joints well inside the outline: tips lie on it, and at the wrist the arm begins
COVERED_JOINTS = 3  # of these 15


@dataclass(frozen=True)
class HeldOutClips:
    """The first clips of a source. `black`: a frame of each that shows nothing. Notes of each clip that is read which frames are covered."""

    source: ClipSource
    limit: int
    black: int | None = None
    covered: dict[int, list[Bool[Array, "frames"]]] = field(default_factory=dict)  # of each clip, the parts that were read, in their order

    @property
    def name(self) -> str:
        return self.source.name

    def __len__(self) -> int:
        return min(len(self.source), self.limit)

    def key(self, position: int) -> str:
        return self.source.key(position)

    def num_frames(self, position: int) -> int:
        return self.source.num_frames(position)

    def read(self, position: int, frames: Sequence[int] | None = None) -> LabelledClip:
        clip = self.source.read(position, frames)
        self.covered.setdefault(position, []).append(covered_frames(clip))
        return clip if self.black is None else blacked_out(clip, self.black)


def measure_checkpoint(checkpoint: Path, folder: Path, test: HeldOut, *, metrics: Sequence[str], clips: int, device: str) -> dict[str, PerClip]:
    """Metrics of a checkpoint on a test, whose data are in a folder: on its first `clips` clips, or on every frame of a real data set's, each a clip of its own, so
    that all count alike, as they do in the papers."""
    loaded = load_estimator(checkpoint, device=device, replaced=test.fields)
    source = open_clips(folder, split=test.data.tested, pictures=pictures_of(loaded.input))
    source, clips = (source, clips) if test.data.path is None else (singles := Stills(source), len(singles))
    return measure(loaded.estimator, loaded.input, source, metrics=metrics, clips=clips)


def measure(estimator: nn.Module, input: Input, source: ClipSource, *, metrics: Sequence[str], clips: int) -> dict[str, PerClip]:
    """Some metrics of an estimator on the first `clips` clips of a source; those of the blackout need clips of as many frames each."""
    shown = HeldOutClips(source, clips)
    seen = evaluate(estimator, input, shown, say=log.debug)
    covered = np.concatenate([part for position in range(len(shown)) for part in shown.covered[position]])
    found = measured(seen, covered)
    if set(BLACKOUT) & set(metrics):
        found |= blackout_jumps(estimator, input, source, clips=clips, shown=seen)
    return found


def measured(seen: Evaluation, covered: Bool[Array, "frames"]) -> dict[str, PerClip]:
    """All metrics but those of the blackout."""
    num_clips, px, mm = len(seen.keys), seen.error_crop_px, seen.error_mm
    in_2d, in_3d = seen.joints_valid, seen.root_relative_valid
    aligned_mm, alignable = procrustes_aligned(seen.predicted_mm, seen.true_mm, in_2d)
    bends, whole = acceleration_errors(seen.predicted_mm, seen.true_mm, in_3d, seen.clip)
    return {
        "auc_2d": clip_means(auc_scores(px, RANGE_PX), in_2d, seen.clip, num_clips),
        "auc_3d": clip_means(auc_scores(mm, RANGE_MM), in_3d, seen.clip, num_clips),
        "error_px": clip_means(px, in_2d, seen.clip, num_clips),
        "error_mm": clip_means(mm, in_3d, seen.clip, num_clips),
        "pa_mm": clip_means(joint_errors(aligned_mm, seen.true_mm), in_2d & alignable[:, None], seen.clip, num_clips),
        "covered_mm": clip_means(mm, in_3d & covered[:, None], seen.clip, num_clips),
        "acceleration_mm": clip_means(bends, whole, seen.clip[: len(bends)], num_clips),
        **successes(mm, in_3d, seen.clip, num_clips),
        **in_space(seen),
    }


def successes(mm: Float[Array, "frames joints"], valid: Bool[Array, "frames joints"], clip: Array, num_clips: int) -> dict[str, PerClip]:
    """Shares of frames whose error is small, by SUCCESS; frames without a valid joint do not count."""
    some = valid.any(1, keepdims=True)
    small = {name: of_frame(mm, valid) < threshold for name, (of_frame, threshold) in SUCCESS.items()}  # nan is not
    return {name: clip_means(good[:, None].astype(float), some, clip, num_clips) for name, good in small.items()}


def in_space(seen: Evaluation) -> dict[str, PerClip]:
    """Errors in the camera's frame; nan where nobody knows where the hand is."""
    num_clips, valid = len(seen.keys), seen.absolute_valid
    apart = 1e3 * np.abs(seen.predicted_m + seen.predicted_root_m[:, None] - seen.true_m - seen.true_root_m[:, None])
    axes = {f"space_{axis}_mm": clip_means(apart[..., place], valid, seen.clip, num_clips) for place, axis in enumerate("xyz")}
    shares = {f"space_{name}": values for name, values in successes(seen.absolute_error_mm, valid, seen.clip, num_clips).items()}
    return {"space_mm": clip_means(seen.absolute_error_mm, valid, seen.clip, num_clips), **axes, **shares}


def blackout_jumps(estimator: nn.Module, input: Input, source: ClipSource, *, clips: int, shown: Evaluation, frame: int | None = None) -> dict[str, PerClip]:
    """How far the predicted joints go into and out of a frame that is black, beside the way without, which `shown` tells. By default the middle frame."""
    num_clips = len(shown.keys)
    frames = len(shown.clip) // num_clips
    black = frames // 2 if frame is None else frame
    if not 0 < black < frames - 1:
        raise ValueError(f"frame {black} of clips of {frames} frames has no frame before or after it")
    dark = evaluate(estimator, input, HeldOutClips(source, clips, black), say=log.debug)
    places = {"blackout_mm": dark.predicted_mm, "blackout_shown_mm": shown.predicted_mm, "blackout_true_mm": shown.true_mm}
    jumps = {name: mean_step(joints.reshape(num_clips, frames, 21, 3)[:, black - 1 : black + 2]) for name, joints in places.items()}
    in_it = dark.root_relative_valid & (dark.frame == black)[:, None]
    return {**jumps, "black_frame_mm": clip_means(dark.error_mm, in_it, dark.clip, num_clips)}


def mean_step(joints: Float[Array, "clips frames 21 3"]) -> PerClip:
    """Mean way of the joints from a frame to the next."""
    return joint_errors(joints[:, 1:].reshape(-1, 21, 3), joints[:, :-1].reshape(-1, 21, 3)).reshape(len(joints), -1).mean(1)


def blacked_out(clip: LabelledClip, frame: int) -> LabelledClip:
    """The clip with one frame that shows nothing."""
    rgb = clip.rgb.copy()
    rgb[frame] = 0
    return replace(clip, rgb=rgb)


def covered_frames(clip: LabelledClip) -> Bool[Array, "frames"]:
    """Frames in which COVERED_JOINTS inner joints or more lie at pixels that show no hand, or outside; none where the source has no masks, or
    labels other joints than the 21."""
    if clip.mask is None or clip.joint_set != "canonical":
        return np.zeros(len(clip.joints_px), bool)
    height, width = clip.mask.shape[1:]
    column, row = np.rint(clip.joints_px).astype(int).transpose(2, 0, 1)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    frames = np.arange(len(clip.mask))[:, None]
    seen = inside & clip.mask[frames, row.clip(0, height - 1), column.clip(0, width - 1)]
    return (clip.joints_valid & ~seen)[:, INNER].sum(1) >= COVERED_JOINTS


def clip_means(values: Float[Array, "frames joints"], valid: Bool[Array, "frames joints"], clip: Array, num_clips: int) -> PerClip:
    """The mean over the valid values of each clip; nan for a clip without any."""
    total = np.bincount(clip, np.where(valid, values, 0.0).sum(1), minlength=num_clips)
    count = np.bincount(clip, valid.sum(1), minlength=num_clips)
    return np.divide(total, count, out=np.full(num_clips, np.nan), where=count > 0)
