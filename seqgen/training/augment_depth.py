"""Other looks of the same clip for networks of depth: another cube, turned; of points also turned in space. A pure function of clip and generator; labels exact.

    depth    cube shifted and scaled ──> square turned in the picture ──> sample            (SRN's, made consistent: the new cube normalises pixels and labels)
    points   sample with all its points ──> turned about the cube's centre, scaled, shifted with the joints       (HandR2N2's)

All is drawn once a clip: a camera that trembles would teach a network over time that motion is not to be trusted.
"""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Float32
from pydantic import Field

from seqgen.config import Section, interval
from seqgen.dataset.clip import LabelledClip
from seqgen.estimators.views.cube import CubeConfig
from seqgen.estimators.views.depth_sample import find_cubes, make_depth_sample, shifted
from seqgen.estimators.views.projection import project
from seqgen.estimators.views.sample import Sample, weak_perspective_of
from seqgen.geometry import axis_angle_from_matrix, matrix_from_axis_angle

Array = np.ndarray


class DepthAugmentConfig(Section):
    share: float = Field(1.0, ge=0, le=1)
    """of the clips, how many look other than they are"""
    turn_deg: float = Field(180.0, ge=0, le=180)
    """the picture, or the points about the camera's axis, turn by up to this, either way"""
    tilt_deg: float = Field(30.0, ge=0, le=180)
    """points turn about the camera's two other axes by up to this, either way; pictures cannot"""
    shift_mm: float = Field(10.0, ge=0, le=200)
    """the cube moves by up to this along each axis"""
    scale: interval(0.25, 4.0) = (0.9, 1.1)
    """how much larger the hand gets in its cube"""


def augmented_depth(clip: LabelledClip, input: CubeConfig, config: DepthAugmentConfig, rng: np.random.Generator, *, hand: str | None = None) -> Sample:
    """The clip as a network of depth sees it, in another cube, turned. `hand` as in `make_depth_sample`. Frames in which nothing is are left as they are."""
    drawing, points = rng.spawn(2)
    chosen, turn, scale = drawing.random() < config.share, drawing.uniform(-1, 1), np.exp(drawing.uniform(*np.log(config.scale)))
    shift_m, tilts = config.shift_mm / 1e3 * drawing.uniform(-1, 1, 3), drawing.uniform(-1, 1, 2)
    if not chosen:
        return make_depth_sample(clip, input, rng=points, hand=hand)
    cubes = shifted(find_cubes(clip, input), shift_m, 1 / scale)
    turn_rad = float(np.radians(config.turn_deg) * turn)
    sample = make_depth_sample(clip, input, cubes=cubes, turn_rad=turn_rad, rng=points, hand=hand)
    return sample if input.kind == "depth" else tilted(sample, np.radians(config.tilt_deg) * tilts)


def tilted(sample: Sample, tilts_rad: Float[Array, "2"]) -> Sample:
    """A sample of points turned about the x and then the y axis through the centre of each frame's cube, joints and the hand's orientation with it.

    The pixels become those where the camera would see the joints. Points that leave the cube stay: they are of the hand.
    """
    about_x, about_y = (matrix_from_axis_angle(np.array(axis) * tilt) for axis, tilt in zip(((1.0, 0, 0), (0, 1.0, 0)), tilts_rad, strict=True))
    turn = about_y @ about_x
    joints_m = sample.root_m[:, None] + sample.joints_m
    moved = sample.centre_m[:, None] + (joints_m - sample.centre_m[:, None]) @ turn.T
    root_m = sample.root_m - sample.centre_m
    new_root = sample.centre_m + root_m @ turn.T
    relative, pixels = moved - new_root[:, None], _pixels(sample, moved)
    known = {"joints_m": relative, "root_m": new_root, "points": sample.points @ turn.T, "joints_px": pixels, "pose": sample.pose.copy()}
    known["weak_perspective"] = weak_perspective_of(relative, pixels, sample.joints_valid)
    if sample.has_pose:
        known["pose"][:, 0] = axis_angle_from_matrix(turn @ matrix_from_axis_angle(sample.pose[:, 0]))
    if sample.vertices_m is not None:
        known["vertices_m"] = sample.vertices_m @ turn.T
    return replace(sample, **{name: value.astype(np.float32) for name, value in known.items()})


def _pixels(sample: Sample, joints_m: Float[Array, "frames joints 3"]) -> Float32[Array, "frames joints 2"]:
    """Where the sample's camera sees points."""
    tensors = (torch.from_numpy(np.asarray(values, np.float32))[None] for values in (joints_m, sample.intrinsics))
    return project(*tensors, torch.tensor([sample.perspective]))[0].numpy()
