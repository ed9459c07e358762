"""What is true of every decoded clip, whatever was asked for: numbers are finite and within what they can be, pictures and labels agree where both say the same.

Each fault is a line. Does not know how labels are computed, nor what the config asked for.
"""

from collections.abc import Iterator
from dataclasses import fields
from functools import cache

import numpy as np
from jaxtyping import Bool

from seqgen.dataset.conventions import part_names
from seqgen.dataset.sequence import NOT_HIDDEN, NOTHING_THERE, HandSequence, Labels, is_hand
from seqgen.skeleton import PALM_M, PART_BACKGROUND

Array = np.ndarray
MOST_BETA = 10.0  # shapes are drawn from N(0, 1)
MOST_TURN = 2 * np.pi  # of a joint, as an axis-angle vector
ROUNDING = 1e-5  # of rotations and metres in float32, in the largest of their numbers: ten times what it is in generated clips
NORMAL_ROUNDING = np.sqrt(3) / 255 + ROUNDING  # each component of a normal is a byte: half a step of 1/127.5


def sequence_faults(sequence: HandSequence) -> list[str]:
    """What cannot be true of a clip, each in a line; where numbers are not finite, nothing else of the labels is looked at."""
    faults = list(_not_finite(sequence.labels))
    if not faults:
        faults += [*_wrong_camera(sequence), *_wrong_hand(sequence.labels), *_wrong_marks(sequence.labels)]
    return faults + list(_wrong_pictures(sequence))


def _not_finite(labels: Labels) -> Iterator[str]:
    for field in fields(Labels):
        array = getattr(labels, field.name)
        if array is not None and not np.isfinite(array).all():
            yield f"labels.npz: {field.name} is not finite"


def _wrong_camera(sequence: HandSequence) -> Iterator[str]:
    """Cameras are as `seqgen.camera` and the conventions describe them."""
    labels = sequence.labels
    focal, rest = labels.intrinsics[:, [0, 1], [0, 1]], labels.intrinsics[:, [0, 1, 2, 2, 2], [1, 0, 0, 1, 2]]
    yield from _told("labels.npz: intrinsics are no camera matrix", (focal > 0).all(1) & (rest == [0, 0, 0, 0, 1]).all(1))
    turn = labels.camera_from_world[:, :3, :3].astype(float)
    is_turn = (np.abs(turn @ turn.transpose(0, 2, 1) - np.eye(3)) < ROUNDING).all((1, 2)) & (np.linalg.det(turn) > 0)
    yield from _told("labels.npz: camera_from_world is no turn and shift", is_turn & (labels.camera_from_world[:, 3] == [0, 0, 0, 1]).all(1))
    if sequence.meta["camera"]["kind"] == "perspective":
        yield from _told("labels.npz: joints_m has a joint that is not before the camera", (labels.joints_m[..., 2] > 0).all(1))
    yield from _told("labels.npz: weak_perspective has a scale that is not positive", labels.weak_perspective[:, 0] > 0)
    yield from _told("labels.npz: weak_perspective_residual_px is negative", labels.weak_perspective_residual_px >= 0)


def _wrong_hand(labels: Labels) -> Iterator[str]:
    """Parameters that a hand can have."""
    if np.abs(labels.betas).max() > MOST_BETA:
        yield f"labels.npz: betas go to {np.abs(labels.betas).max():.3g}"
    yield from _told("labels.npz: pose turns a joint more than once around", (np.linalg.norm(labels.pose, axis=-1) <= MOST_TURN).all(1))
    if labels.flow_joints_m is not None:
        palm = np.linalg.norm(labels.flow_joints_m[:, 9], axis=-1)
        normalised = (np.abs(palm - PALM_M) < ROUNDING) & (np.abs(labels.flow_joints_m[:, 0]) < ROUNDING).all(1)
        yield from _told(f"labels.npz: flow_joints_m has no wrist at 0 and a palm of {PALM_M} m", normalised)
    if labels.flow_source is not None:
        yield from _told("labels.npz: flow_source is negative", labels.flow_source >= 0)


def _wrong_marks(labels: Labels) -> Iterator[str]:
    """Visibility and boxes."""
    if labels.joints_hidden_by is not None:
        yield from _told("labels.npz: joints_hidden_by names what is no part", _known(NOT_HIDDEN, NOTHING_THERE)[labels.joints_hidden_by].all(1))
        yield from _told("labels.npz: joints_visible and joints_hidden_by disagree", (labels.joints_visible == (labels.joints_hidden_by == NOT_HIDDEN)).all(1))
    for name in ("box_px", "box_visible_px"):
        box = getattr(labels, name)
        if box is not None:
            yield from _told(f"labels.npz: {name} ends before it begins", (box[:, :2] <= box[:, 2:]).all(1))


def _wrong_pictures(sequence: HandSequence) -> Iterator[str]:
    """Values that pictures can have, and what they say of each other."""
    nothing = sequence.parts == PART_BACKGROUND
    yield from _told("parts.png has a label that is no part", _frames(_known(PART_BACKGROUND)[sequence.parts]))
    yield from _told("depth.png and parts.png disagree on where there is nothing", _frames((sequence.depth_tenth_mm == 0) == nothing))
    for name in ("mask_amodal", "mask_visible"):
        mask = getattr(sequence, name)
        if mask is not None:
            yield from _told(f"{name}.png has values other than 0 and 255", _frames((mask == 0) | (mask == 255)))
    if sequence.mask_visible is not None:
        yield from _told("mask_visible.png and parts.png disagree", _frames((sequence.mask_visible > 0) == is_hand(sequence.parts)))
    if sequence.flow_px is not None:
        yield from _told("flow.npy is not finite", _frames(np.isfinite(sequence.flow_px)))
        yield from _told("flow.npy: something moves after the last frame", ~sequence.flow_px[-1:].any((1, 2, 3)), len(sequence.flow_px) - 1)
    if sequence.normals is not None:
        yield from _told("normals.png and parts.png disagree on where there is nothing", _frames(sequence.normals.any(-1) != nothing))
        length = np.linalg.norm(sequence.normals / np.float32(127.5) - 1, axis=-1)
        yield from _told("normals.png has vectors that are not of length 1", _frames(nothing | (np.abs(length - 1) <= NORMAL_ROUNDING)))


@cache
def _known(*others: int) -> Bool[Array, "256"]:
    """Whether a byte is the label of a part of something, or one of the others."""
    known = np.isin(np.arange(256), [*(label for label in part_names() if label != PART_BACKGROUND), *others])
    known.flags.writeable = False
    return known


def _frames(right: Bool[Array, "frames *pixels"]) -> Bool[Array, "frames"]:
    """Whether all of a frame is right."""
    return right.reshape(len(right), -1).all(1)


def _told(fault: str, right: Bool[Array, "frames"], begin: int = 0) -> Iterator[str]:
    """The fault with the first frame that has it, if any; the first of `right` is frame `begin`."""
    if not right.all():
        yield f"{fault} (frame {begin + right.argmin()}{'' if right.sum() == len(right) - 1 else f' and {len(right) - 1 - right.sum()} more'})"
