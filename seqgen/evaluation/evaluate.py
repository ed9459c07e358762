"""An estimator's predictions beside the labels, for every frame of some clips. Knows no metric but the mean joint error and no file: `report` writes what it gives.

    clips ──> Batch ──> estimator ──> Prediction ──> Evaluation: one row a frame, the frames of a clip together and in order

Clips are seen whole, as the estimator's `forward` sees them, never shuffled or augmented. Left hands are mirrored, prediction and label alike.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from itertools import chain

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor, nn

from seqgen.dataset.clip import ClipSource, LabelledClip
from seqgen.errors import UserError
from seqgen.estimators.estimator import Prediction, device_of
from seqgen.estimators.views.batch import Batch
from seqgen.estimators.views.crop import scale_and_turn, to_picture
from seqgen.estimators.views.feed import Input, batch_of, runs_of_one_length
from seqgen.estimators.views.view import to_device
from seqgen.evaluation.metrics import joint_errors, root_relative
from seqgen.joint_targets import TARGETS, JointTargets

log = logging.getLogger(__name__)

Array = np.ndarray
CROP_PX = 224  # the crop's side that pixel errors are stated for, whatever side the network sees: that of the papers


@dataclass(frozen=True)
class Evaluation:
    """What was predicted and what is true. Metres along the camera's axes, relative to the root (of 21 joints the wrist) where it has a label; pixels of the picture.

    `joint_set`: of which joints. `predicted_root_m`, `true_root_m`: where the root is in the camera frame, nan where the estimator, or the source, does not know it.
    `crop_scale`: pixels of a crop of 224 px for one of the picture. `joints_valid`: the labels that there are, in frames that can be used; the others hold anything.
    `usable`: frames in which the estimator was shown something.
    """

    joint_set: str

    sources: tuple[str, ...]  # the data set of each clip
    keys: tuple[str, ...]
    sides: tuple[str, ...]
    fps: Float[Array, "clips"]
    clip: Int64[Array, "frames"]  # place of the frame's clip in the above
    frame: Int64[Array, "frames"]  # place of the frame in its clip
    predicted_m: Float32[Array, "frames joints 3"]
    true_m: Float32[Array, "frames joints 3"]
    predicted_root_m: Float32[Array, "frames 3"]
    true_root_m: Float32[Array, "frames 3"]
    predicted_px: Float32[Array, "frames joints 2"]
    true_px: Float32[Array, "frames joints 2"]
    crop_scale: Float[Array, "frames"]
    joints_valid: Bool[Array, "frames joints"]
    usable: Bool[Array, "frames"]

    @property
    def names(self) -> tuple[str, ...]:
        """The data sets, each once, in their order."""
        return tuple(dict.fromkeys(self.sources))

    @property
    def targets(self) -> JointTargets:
        """The joint set."""
        return TARGETS[self.joint_set]

    @property
    def has_root(self) -> Bool[Array, "frames"]:
        """Frames with a label of the root: those that root-relative errors can be measured on."""
        return self.joints_valid[:, self.targets.root]

    @property
    def has_place(self) -> Bool[Array, "frames"]:
        """Frames in which both the estimator and the source say where in space the hand is."""
        return np.isfinite(self.predicted_root_m).all(1) & np.isfinite(self.true_root_m).all(1)

    @property
    def absolute_valid(self) -> Bool[Array, "frames joints"]:
        """Joints that errors in space count."""
        return self.joints_valid & self.has_place[:, None]

    @property
    def absolute_error_mm(self) -> Float[Array, "frames joints"]:
        """Errors in space, nothing aligned; `absolute_valid` says where."""
        return 1e3 * joint_errors(self.predicted_m + self.predicted_root_m[:, None], self.true_m + self.true_root_m[:, None])

    @property
    def root_relative_valid(self) -> Bool[Array, "frames joints"]:
        """Joints that root-relative errors count: the valid ones of frames with a root."""
        return self.joints_valid & self.has_root[:, None]

    @property
    def predicted_mm(self) -> Float[Array, "frames joints 3"]:
        """Predicted joints relative to the predicted root."""
        return 1e3 * root_relative(self.predicted_m, self.targets.root)

    @property
    def true_mm(self) -> Float[Array, "frames joints 3"]:
        """True joints relative to the true root; means something in frames with a root."""
        return 1e3 * root_relative(self.true_m, self.targets.root)

    @property
    def error_mm(self) -> Float[Array, "frames joints"]:
        """Root-relative errors; `root_relative_valid` says where."""
        return joint_errors(self.predicted_mm, self.true_mm)

    @property
    def error_px(self) -> Float[Array, "frames joints"]:
        """Errors in pixels of the picture; `joints_valid` says where."""
        return joint_errors(self.predicted_px, self.true_px)

    @property
    def error_crop_px(self) -> Float[Array, "frames joints"]:
        """Errors in pixels of a 224 px crop; `joints_valid` says where."""
        return self.error_px * self.crop_scale[:, None]

    def by_clip(self, values: Float[Array, "frames joints"], valid: Bool[Array, "frames joints"]) -> list[Float[Array, "_"]]:
        """The valid ones of some values, clip by clip, as `bootstrap_mean` wants them."""
        cuts = np.flatnonzero(np.diff(self.clip)) + 1
        return [own[counting] for own, counting in zip(np.split(values, cuts), np.split(valid, cuts), strict=True)]


def evaluate(
    estimator: nn.Module,
    input: Input,
    source: ClipSource | Sequence[ClipSource],
    *,
    batch: int = 8,
    at_once: int = 100,
    device: str | torch.device | None = None,
    say: Callable[[str], None] = log.info,
) -> Evaluation:
    """Runs an estimator over all clips of one or more sources, at most `batch` of one length at a time, on `device`: by default where its weights are.

    Clips of more than `at_once` frames are read and looked at frame by frame, as a stream, which comes to the same and needs no more memory for a long one.
    The estimator keeps its modes. UserError when there is nothing to compare with or a prediction is not finite.
    """
    sources = [source] if isinstance(source, ClipSource) else list(source)
    device = device_of(estimator) if device is None else torch.device(device)
    parts = []
    with evaluating(estimator):
        for each in sources:
            say(f"evaluating on {each.name}: {len(each)} clip{'s' * (len(each) != 1)}")
            for positions in runs_of_one_length(map(each.num_frames, range(len(each))), batch):
                if each.num_frames(positions[0]) > at_once:
                    parts += [_follow(estimator, input, each, position, at_once, device) for position in positions]
                else:
                    given = batch_of(clips := [each.read(position) for position in positions], input)
                    parts.append(_compare(_predict(estimator, to_device(given, device)), given, each.name, clips, input))
    if not parts:
        raise UserError(f"{', '.join(each.name for each in sources) or 'evaluation'}: holds no clips; give a data set, or a split, that has some")
    whole = _joined(parts)
    if not whole.joints_valid.any():
        raise UserError(f"{', '.join(whole.names)}: no frame has a label to compare with; give a labelled data set")
    return whole


def mean_joint_error_mm(estimator: nn.Module, batches: Iterable[Batch], joint_set: str = "canonical") -> float:
    """Mean joint error over valid joints, in one pass, for validation while training; nan without any. In space where the estimator says where the hand is,
    else root-relative over the frames that have a root.

    The estimator keeps its modes; batches go to where its weights are.
    """
    total, count, device, root = 0.0, 0, device_of(estimator), TARGETS[joint_set].root
    with evaluating(estimator):
        for batch in batches:
            predicted, valid = _predict(estimator, to_device(batch, device)), _frames(batch.joints_valid)
            if predicted.root_m is not None:
                places = (predicted.joints_m + predicted.root_m[:, :, None], batch.joints_m + batch.root_m[:, :, None])
                errors = joint_errors(*(1e3 * _frames(joints) for joints in places))
            else:
                errors = joint_errors(*(1e3 * root_relative(_frames(joints), root) for joints in (predicted.joints_m, batch.joints_m)))
                valid = valid & valid[:, root, None]
            total, count = total + float(errors[valid].sum()), count + int(valid.sum())
    return total / count if count else float("nan")


@contextmanager
def evaluating(estimator: nn.Module) -> Iterator[None]:
    """All modules in `eval` mode and no gradients, then every module in the mode it was in: parts may be frozen."""
    modes = {module: module.training for module in estimator.modules()}
    estimator.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module, training in modes.items():
            module.training = training


def _follow(estimator: nn.Module, input: Input, source: ClipSource, position: int, at_once: int, device: torch.device) -> Evaluation:
    """The evaluation of one clip as a stream, with at most `at_once` frames in memory."""
    state, parts = None, []
    for start in range(0, source.num_frames(position), at_once):
        clip = source.read(position, range(start, min(start + at_once, source.num_frames(position))))
        batch, said = batch_of([clip], input), []
        shown = to_device(batch, device)
        for frame in range(shown.num_frames):
            prediction, state = estimator.step(shown.frame(frame), state)
            said.append(prediction)
        names = [name for name in ("joints_m", "joints_px", "root_m") if getattr(said[0], name) is not None]
        joints = {name: torch.cat([getattr(each, name) for each in said], 1) for name in names}
        part = _compare(Prediction(**joints), batch, source.name, [clip], input)
        parts.append(replace(part, frame=part.frame + start))
    whole = _joined(parts)
    return replace(whole, sources=whole.sources[:1], keys=whole.keys[:1], sides=whole.sides[:1], fps=whole.fps[:1], clip=np.zeros_like(whole.clip))


def _compare(prediction: Prediction, batch: Batch, name: str, clips: list[LabelledClip], input: Input) -> Evaluation:
    """The evaluation of a batch, which is made of these clips."""
    crop_from_picture, true_root_m = _frames(batch.crop_from_picture), _frames(batch.root_m)
    num_clips, frames = batch.num_clips, batch.num_frames
    unknown = np.full_like(true_root_m, np.nan)
    part = Evaluation(
        joint_set=input.joints,
        sources=(name,) * num_clips,
        keys=tuple(clip.key for clip in clips),
        sides=tuple(clip.side for clip in clips),
        fps=np.array([clip.fps for clip in clips], float),
        clip=np.repeat(np.arange(num_clips), frames),
        frame=np.tile(np.arange(frames), num_clips),
        predicted_m=_frames(prediction.joints_m),
        true_m=_frames(batch.joints_m),
        predicted_root_m=unknown if prediction.root_m is None else _frames(prediction.root_m),
        true_root_m=np.where(true_root_m.any(1, keepdims=True), true_root_m, unknown),
        predicted_px=to_picture(_frames(prediction.joints_px), crop_from_picture).astype(np.float32),
        true_px=to_picture(_frames(batch.joints_px), crop_from_picture).astype(np.float32),
        crop_scale=scale_and_turn(crop_from_picture)[0] * (CROP_PX / input.size),
        joints_valid=_frames(batch.joints_valid),
        usable=_frames(batch.usable),
    )
    _refuse_unless_finite(part)
    return part


def _predict(estimator: nn.Module, batch: Batch) -> Prediction:
    return estimator.prediction(estimator(batch))


def _frames(values: Tensor) -> Array:
    """(batch, frames, ...) on any device as an array (batch * frames, ...)."""
    return values.flatten(0, 1).cpu().numpy()


def _refuse_unless_finite(part: Evaluation) -> None:
    finite = np.isfinite(part.predicted_m).all((1, 2)) & np.isfinite(part.predicted_px).all((1, 2))
    if not finite.all():
        row = int(np.argmin(finite))
        clip = part.clip[row]
        raise UserError(
            f"{part.sources[clip]}: {part.keys[clip]}, frame {part.frame[row]}: the prediction is not finite; training diverged or the weights are damaged, "
            "take an earlier checkpoint"
        )


def _joined(parts: Sequence[Evaluation]) -> Evaluation:
    """Evaluations behind each other."""
    starts = np.cumsum([0, *(len(part.keys) for part in parts)])
    columns = {field.name: [getattr(part, field.name) for part in parts] for field in fields(Evaluation)}
    joint_set = columns.pop("joint_set")[0]
    columns["clip"] = [clip + start for clip, start in zip(columns["clip"], starts[:-1], strict=True)]
    return Evaluation(joint_set=joint_set, **{name: tuple(chain(*values)) if isinstance(values[0], tuple) else np.concatenate(values) for name, values in columns.items()})
