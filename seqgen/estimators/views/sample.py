"""From clips to what estimators of pictures are given: the crop with its labels, exact under scale, shift, turn and mirror; and batches of samples.

A crop is a similarity of the picture, [[s Q, t], [0 0 1]]. To see it, the camera turns about its own axis by Q, zooms by s and shifts by t; so

    points    X' = diag(Q, 1) X                      pixels        p' = s Q p + t
    hand      R' = diag(Q, 1) R, the global turn     intrinsics    K' = [[s Q, t], [0 0 1]] K diag(Q, 1)^-1

of either camera kind. A left hand is seen in a mirror: Q then holds a reflection, and the hand parameters, already those of the mirrored hand, turn by
what is left of it. Knows no files and no randomness. `depth_sample` makes the samples of depth networks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, UInt8
from torch import Tensor

from seqgen.dataset.clip import LabelledClip
from seqgen.errors import UserError
from seqgen.estimators.views.batch import Batch
from seqgen.estimators.views.crop import InputConfig, crop_squares, resample, scale_and_turn, to_crop
from seqgen.estimators.views.crop import crop_from_picture as map_to_crop
from seqgen.geometry import axis_angle_from_matrix, matrix_from_axis_angle
from seqgen.joint_targets import TARGETS, JointTargets

Array = np.ndarray

MIRROR = np.diag([-1.0, 1.0])
OPTIONAL = ("rgb", "depth", "points", "mask")  # what a kind of sample has or has not
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of sRGB in 0..1: what public weights were trained with (torchvision)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One clip of a `Batch`, its fields without the batch axis, as arrays. What is not known is zeros, as there; what has no size is None."""

    key: str
    side: str
    rgb: UInt8[Array, "frames 3 size size"] | None = None
    depth: Float32[Array, "frames size size"] | None = None
    points: Float32[Array, "frames points 3"] | None = None
    centre_m: Float32[Array, "frames 3"]
    cube_m: Float32[Array, "frames"]
    usable: Bool[Array, "frames"]
    perspective: bool
    joints_m: Float32[Array, "frames joints 3"]
    root_m: Float32[Array, "frames 3"]
    joints_px: Float32[Array, "frames joints 2"]
    joints_valid: Bool[Array, "frames joints"]
    weak_perspective: Float32[Array, "frames 3"]
    pose: Float32[Array, "frames 16 3"]
    betas: Float32[Array, "10"]
    has_pose: bool
    mask: Bool[Array, "frames size size"] | None = None
    has_mask: bool = False
    vertices_m: Float32[Array, "frames vertices 3"] | None
    crop_from_picture: Float32[Array, "frames 3 3"]
    intrinsics: Float32[Array, "frames 3 3"]


def make_sample(clip: LabelledClip, input: InputConfig, *, crop_from_picture: Float[Array, "frames 3 3"] | None = None, hand: str | None = None) -> Sample:
    """The clip as a network sees it; of a left hand, the mirror image.

    `crop_from_picture` maps pixels of the clip's own pictures, before any mirroring (`crop.crop_from_picture` makes such maps); None is what `input` says.
    The sample's holds the mirror too, so that its inverse always leads back to the pictures.
    `hand`: the estimator's; parameters and surfaces of other hands count as unknown. None: whichever the clip has.
    """
    if crop_from_picture is None:
        crop_from_picture = map_to_crop(crop_squares(clip.size, clip.box_px, input), input.size)
    left = clip.side == "left"
    seen = flip_of_crop(input.size) @ crop_from_picture if left else crop_from_picture
    _, turn = scale_and_turn(seen)
    labels = labels_of(clip, seen, turn, input.joints, hand=hand)
    given = labels["root_m"] if input.root == "given" else np.zeros_like(labels["root_m"])
    nothing = {"centre_m": given, "cube_m": np.zeros(len(turn), np.float32), "usable": np.ones(len(turn), bool)}
    return Sample(key=clip.key, side=clip.side, **nothing, **_pictures(clip, crop_from_picture, input.size, flip=left), **labels)


def flip_of_crop(size: int) -> Float[Array, "3 3"]:
    """The map that exchanges left and right of a crop of this side, px."""
    return np.array([[-1.0, 0, size - 1], [0, 1, 0], [0, 0, 1]])


def _pictures(clip: LabelledClip, crop: Float[Array, "frames 3 3"], size: int, *, flip: bool) -> dict[str, Array | bool]:
    """Colours, channels first, and the mask: where the hand is seen, or may be behind something."""
    rgb = resample(clip.rgb, crop, size).transpose(0, 3, 1, 2)
    there = clip.mask if clip.mask is None or clip.occluder is None else clip.mask | clip.occluder
    mask = np.zeros((len(rgb), size, size), bool) if there is None else resample(there, crop, size)
    columns = slice(None, None, -1 if flip else 1)
    return {"rgb": np.ascontiguousarray(rgb[..., columns]), "mask": np.ascontiguousarray(mask[..., columns]), "has_mask": clip.mask is not None}


def labels_of(clip: LabelledClip, crop: Float[Array, "frames 3 3"], turn: Float[Array, "frames 2 2"], joints: str, *, hand: str | None = None) -> dict[str, Any]:
    """All labels of a sample but masks, carried along with the crop, whose turn is `turn`. `joints`: of which set; `hand` as in `make_sample`."""
    known = clip if hand in (None, clip.hand) else replace(clip, pose=None, betas=None, vertices_m=None)
    targets = TARGETS[joints]
    return _joints(in_joint_set(known, targets), targets.root, crop, turn) | _hand(known, turn, targets)


def in_joint_set(clip: LabelledClip, targets: JointTargets) -> LabelledClip:
    """The clip with the joints that are taught. UserError when it has another set than these or the canonical one: of those the others cannot be made.

    A joint made of several is valid where all of them are. Its pixels are its projection, which under perspective is not the mean of theirs.
    """
    if clip.joint_set == targets.joint_set.name:
        return clip
    if clip.joint_set != "canonical":
        asked, given = targets.joint_set.name, clip.joint_set
        raise UserError(
            f"{clip.source}: clip {clip.key} is labelled with the joints of {given} ({clip.joints_m.shape[1]} of them), "
            f"of which those of {asked} cannot be made; train with model.joints = {given}, or give a checkpoint that was"
        )
    made_of = targets.joint_set.matrix != 0
    joints_m = targets.joint_set.from_canonical(_finite(clip.joints_m))
    px = targets.joint_set.from_canonical(_finite(clip.joints_px))
    if not targets.joint_set.exact and clip.camera_kind == "perspective" and clip.intrinsics is not None:
        ahead = np.maximum(joints_m[..., 2:], 1e-6)
        px = np.einsum("tij,tnj->tni", clip.intrinsics[:, :2, :2].astype(float), joints_m[..., :2] / ahead) + clip.intrinsics[:, None, :2, 2]
    valid = (clip.joints_valid[:, None] | ~made_of).all(-1)
    return replace(clip, joints_m=joints_m.astype(np.float32), joints_px=px.astype(np.float32), joints_valid=valid, joint_set=targets.joint_set.name)


def _joints(clip: LabelledClip, root: int, crop: Float[Array, "frames 3 3"], turn: Float[Array, "frames 2 2"]) -> dict[str, Any]:
    """Joints and camera, carried along with the crop; numbers of joints that are not valid are kept finite."""
    valid = clip.joints_valid
    joints_m = _turned(_finite(clip.joints_m), turn)
    joints_px = to_crop(_finite(clip.joints_px), crop)
    root_m = joints_m[:, root : root + 1]
    intrinsics = np.zeros((len(turn), 3, 3)) if clip.intrinsics is None else crop @ clip.intrinsics.astype(float) @ np.swapaxes(about_z(turn), 1, 2)
    return {
        "joints_m": (joints_m - root_m).astype(np.float32),
        "root_m": root_m[:, 0].astype(np.float32),
        "joints_px": joints_px.astype(np.float32),
        "joints_valid": valid,
        "weak_perspective": weak_perspective_of(joints_m - root_m, joints_px, valid).astype(np.float32),
        "crop_from_picture": crop.astype(np.float32),
        "intrinsics": intrinsics.astype(np.float32),
        "perspective": clip.camera_kind == "perspective",
    }


def _finite(values: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Zeros where there are no numbers, in double precision."""
    return np.where(np.isfinite(values), values, 0.0)


def _hand(clip: LabelledClip, turn: Float[Array, "frames 2 2"], targets: JointTargets) -> dict[str, Array | bool | None]:
    """Hand parameters and surface, of a clip as it was labelled. Without a turn the pose keeps its numbers."""
    frames, left = len(turn), clip.side == "left"
    root_m = in_joint_set(clip, targets).joints_m[:, targets.root, None]
    vertices = None if clip.vertices_m is None else _turned(clip.vertices_m.astype(float) - root_m, turn).astype(np.float32)
    if clip.pose is None or clip.betas is None:
        return {"pose": np.zeros((frames, 16, 3), np.float32), "betas": np.zeros(10, np.float32), "has_pose": False, "vertices_m": vertices}
    spin = about_z(turn @ MIRROR if left else turn)  # its parameters are the mirrored hand's already
    pose = clip.pose.copy()
    if not np.array_equal(spin, np.broadcast_to(np.eye(3), spin.shape)):
        pose[:, 0] = axis_angle_from_matrix(spin @ matrix_from_axis_angle(clip.pose[:, 0]))
    return {"pose": pose, "betas": clip.betas, "has_pose": True, "vertices_m": vertices}


def about_z(turn: Float[Array, "frames 2 2"]) -> Float[Array, "frames 3 3"]:
    """The same turn in the camera frame, leaving z."""
    matrix = np.zeros((len(turn), 3, 3))
    matrix[:, :2, :2], matrix[:, 2, 2] = turn, 1
    return matrix


def _turned(points_m: Float[Array, "frames points 3"], turn: Float[Array, "frames 2 2"]) -> Float[Array, "frames points 3"]:
    return np.concatenate([np.einsum("tij,tnj->tni", turn, points_m[..., :2]), points_m[..., 2:]], -1)


def weak_perspective_of(
    joints_m: Float[Array, "frames joints 3"], joints_px: Float[Array, "frames joints 2"], valid: Bool[Array, "frames joints"]
) -> Float[Array, "frames 3"]:
    """`seqgen.camera.fit_weak_perspective` over the valid joints of root-relative hands; zeros where fewer than two are."""
    weight = valid[..., None] / np.maximum(valid.sum(1), 1)[:, None, None]
    xy = joints_m[..., :2]
    xy_mean, px_mean = (weight * xy).sum(1, keepdims=True), (weight * joints_px).sum(1, keepdims=True)
    spread = (weight * (xy - xy_mean) ** 2).sum((1, 2))
    scale = (weight * (xy - xy_mean) * (joints_px - px_mean)).sum((1, 2)) / np.where(spread > 0, spread, 1)
    fit = np.concatenate([scale[:, None], px_mean[:, 0] - scale[:, None] * xy_mean[:, 0]], 1)
    return fit * (spread > 0)[:, None]


def collate(samples: Sequence[Sample]) -> Batch:
    """Samples of one length as a batch. Surfaces only of one hand; zeros for those that have none."""
    optional = [name for name in OPTIONAL if samples[0].__dict__[name] is not None]
    names = [field.name for field in fields(Sample) if field.name not in ("key", "side", "vertices_m", *OPTIONAL)]
    stacked = {name: torch.from_numpy(np.stack([getattr(sample, name) for sample in samples])) for name in [*names, *optional]}
    surfaces = [sample.vertices_m for sample in samples]
    some = next((surface for surface in surfaces if surface is not None), None)
    vertices = None if some is None else torch.from_numpy(np.stack([np.zeros_like(some) if surface is None else surface for surface in surfaces]))
    has_vertices = torch.tensor([surface is not None for surface in surfaces])
    absent = dict.fromkeys(set(OPTIONAL) - set(optional))
    return Batch(keys=tuple(s.key for s in samples), sides=tuple(s.side for s in samples), vertices_m=vertices, has_vertices=has_vertices, **absent, **stacked)


def normalised(rgb: UInt8[Tensor, "*batch 3 height width"]) -> Float32[Tensor, "*batch 3 height width"]:
    """The network's input: sRGB bytes less ImageNet's mean, over its standard deviation."""
    mean, std = (torch.tensor(values, device=rgb.device)[:, None, None] * 255 for values in (IMAGENET_MEAN, IMAGENET_STD))
    return (rgb.float() - mean) / std
