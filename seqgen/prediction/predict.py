"""Predictions on a live stream: one frame is taken, looked at and answered before the next one is asked for. The estimator's state is carried along.

Left hands are shown to the estimator in a mirror, and what it says is mirrored back: joints are those of the picture as it is. Pose and betas stay those of
the mirrored hand, a right one, as everywhere in seqgen.
Does not know: files, where frames come from.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Float64, UInt8

from seqgen.errors import UserError
from seqgen.estimators.checkpoint import LoadedEstimator
from seqgen.estimators.estimator import Prediction, device_of
from seqgen.estimators.views.crop import InputConfig, crop_from_picture, crop_squares, resample, to_picture
from seqgen.estimators.views.sample import flip_of_crop
from seqgen.estimators.views.view import View, to_device
from seqgen.joint_targets import JointSetName
from seqgen.prediction.boxes import BoxFrom, Following, Track, follow_joints, next_track
from seqgen.prediction.frames import Frame
from seqgen.prediction.localise import Box, Localiser

Array = np.ndarray


@dataclass(frozen=True)
class FramePrediction:
    """What is said of the hand in a frame: joints in pixels of the picture; in metres from the wrist, camera axes; the rest where the estimator has it.

    `weak_perspective`: px/m, px, px of the picture: joints_px = scale * joints_m[:, :2] + shift. `box_from` as in `boxes`; the box is None for "picture".
    """

    frame: Frame
    side: str
    box_px: Box | None
    box_from: BoxFrom
    joints_px: Float32[Array, "joints 2"]
    joints_m: Float32[Array, "joints 3"]
    pose: Float32[Array, "16 3"] | None = None
    betas: Float32[Array, "10"] | None = None
    weak_perspective: Float32[Array, "3"] | None = None
    joint_set: JointSetName = "canonical"

    @property
    def found(self) -> bool:
        """Whether the hand's place was known in this frame; else it was looked for where it was last, or in the middle of the picture."""
        return self.box_from in ("given", "found", "followed")

    def as_json(self) -> dict[str, Any]:
        """Plain values, rounded to a hundredth of a pixel and of a millimetre."""
        return {
            "joints_px": self.joints_px.astype(float).round(2).tolist(),
            "joints_m": self.joints_m.astype(float).round(5).tolist(),
            "pose": _rounded(self.pose, 5),
            "betas": _rounded(self.betas, 5),
            "weak_perspective": _rounded(self.weak_perspective, 3),
            "box_px": _rounded(self.box_px, 2),
            "box_from": self.box_from,
            "found": self.found,
            "side": self.side,
            "time_s": None if self.frame.time_s is None else round(self.frame.time_s, 4),
        }


def _rounded(values: Array | None, decimals: int) -> list[Any] | None:
    return None if values is None else values.astype(float).round(decimals).tolist()


def predict_stream(
    loaded: LoadedEstimator, frames: Iterable[Frame], find_hand: Localiser | None = None, *, side: str = "right", following: Following | None = None
) -> Iterator[FramePrediction]:
    """A prediction for each frame, as it comes.

    `find_hand`: looks for the hand where frames have no box of their own; None: nobody does. `side`: of frames that do not say it.
    The state starts anew with a new clip, another size or side of the picture, and when the hand was lost. A UserError when a prediction is not finite.
    """
    following = following or Following()
    device = device_of(loaded.estimator)
    before: tuple[Any, ...] = ()
    track, state = Track(), None
    for frame in frames:
        stream = (frame.clip, frame.rgb.shape, frame.side or side)
        if stream != before:
            track, state, before = Track(), None, stream
        track = next_track(track, frame, find_hand, following)
        state = None if track.missed > following.lost_after else state
        view, crop = view_of(frame.rgb, track.box_px, loaded.input, side=stream[2])
        with torch.no_grad():
            said, state = loaded.estimator.step(to_device(view, device), state)
        prediction = replace(_in_picture(said, crop, frame, track, side=stream[2]), joint_set=loaded.input.joints)
        yield prediction
        track = follow_joints(track, prediction.joints_px, prediction.joints_m, (frame.rgb.shape[1], frame.rgb.shape[0]))


def view_of(rgb: UInt8[Array, "height width 3"], box_px: Box | None, input: InputConfig, *, side: str) -> tuple[View, Float64[Array, "1 3 3"]]:
    """What the estimator is shown, and the map to its pixels from those of the picture.

    With a box: the square about it, also where an estimator was taught with whole pictures, which had the hand large in their middle. Without: the largest
    square in the middle.
    """
    boxes = np.zeros((1, 4), np.float32) if box_px is None else box_px[None]
    squares = crop_squares((rgb.shape[1], rgb.shape[0]), boxes, input.model_copy(update={"crop": "box"}))
    crop = crop_from_picture(squares, input.size)
    pixels = torch.from_numpy(resample(rgb[None], crop, input.size)).permute(0, 3, 1, 2)[None]
    pixels, crop = (pixels.contiguous(), crop) if side == "right" else (pixels.flip(-1), flip_of_crop(input.size) @ crop)
    nowhere = {"centre_m": torch.zeros(1, 1, 3), "cube_m": torch.zeros(1, 1), "usable": torch.ones(1, 1, dtype=torch.bool)}
    camera = {"intrinsics": torch.zeros(1, 1, 3, 3), "perspective": torch.ones(1, dtype=torch.bool)}
    return View(rgb=pixels, crop_from_picture=torch.from_numpy(crop[None].astype(np.float32)), **nowhere, **camera), crop


def _in_picture(said: Prediction, crop: Float64[Array, "1 3 3"], frame: Frame, track: Track, *, side: str) -> FramePrediction:
    """A prediction of a crop, as one of the picture."""
    arrays = _only_frame(said)
    if not (np.isfinite(arrays["joints_px"]).all() and np.isfinite(arrays["joints_m"]).all()):
        raise UserError(f"frame {frame.name}: the checkpoint's joints are not finite; take another checkpoint")
    weak = arrays["weak_perspective"]
    if weak is not None:
        scale = weak[:1] / np.sqrt(abs(np.linalg.det(crop[0, :2, :2])))
        arrays["weak_perspective"] = np.concatenate([scale, to_picture(weak[None, None, 1:], crop)[0, 0]]).astype(np.float32)
    arrays["joints_px"] = to_picture(arrays["joints_px"][None], crop)[0].astype(np.float32)
    arrays["joints_m"] = arrays["joints_m"] * np.array([1 if side == "right" else -1, 1, 1], np.float32)
    return FramePrediction(frame=frame, side=side, box_px=track.box_px, box_from=track.box_from, **arrays)


def _only_frame(said: Prediction) -> dict[str, Array | None]:
    """The prediction of the only frame of the only stream, as arrays."""
    values = {name: getattr(said, name) for name in ("joints_px", "joints_m", "pose", "betas", "weak_perspective")}
    return {name: None if value is None else value[0, 0].float().cpu().numpy() for name, value in values.items()}
