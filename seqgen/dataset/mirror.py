"""A clip as a mirror shows it: how left hands are made of right ones. The whole world is mirrored, x to -x, so the labels fit the pixels as before.

A point of the camera frame goes from (x, y, z) to (-x, y, z), a pixel of a picture W wide from (x, y) to (W - 1 - x, y). The pinhole that does both has its
principal point mirrored and its focal length as it was, since f (-x) / z + (W - 1 - c) = W - 1 - (f x / z + c); likewise the weak-perspective scale.
"""

import math
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from seqgen.dataset.sequence import HandSequence, Labels

Array = np.ndarray

SIDES = {"right": "left", "left": "right"}
NEGATE_X = np.array([-1, 1, 1], np.float32)
FLIPPED = ("rgb", "depth_tenth_mm", "parts", "depth_sensor_tenth_mm", "mask_amodal", "mask_visible")  # pictures whose values a mirror leaves alone


def mirrored(sequence: HandSequence) -> HandSequence:
    """The clip with all labels, of the other hand. Its hand parameters stay those of the hand that was mirrored (`meta.hand.side` says so).

    Twice gives the record back, bit for bit but for the labels in pixels, which float32 rounds at W - 1 - x (by less than 1e-4 px).
    """
    flipped: dict[str, Any] = {name: _flip(getattr(sequence, name)) for name in FLIPPED if getattr(sequence, name) is not None}
    if sequence.flow_px is not None:
        flipped["flow_px"] = _flip(sequence.flow_px)
        flipped["flow_px"][..., 0] *= -1
    if sequence.normals is not None:
        flipped["normals"] = _mirrored_normals(sequence.normals)
    hand = {**sequence.meta["hand"], "side": SIDES[sequence.meta["hand"]["side"]]}
    return replace(sequence, **flipped, labels=_mirrored_labels(sequence.labels, sequence.meta["size"][0]), meta={**sequence.meta, "hand": hand})


def _mirrored_labels(labels: Labels, width: int) -> Labels:
    """What is along x, in metres or pixels, is mirrored; what is the hand's own stays."""
    world = np.append(NEGATE_X, np.float32(1))
    return replace(
        labels,
        joints_m=labels.joints_m * NEGATE_X,
        joints_px=_mirror_at(labels.joints_px, (..., 0), width),
        intrinsics=_mirror_at(labels.intrinsics, (..., 0, 2), width),
        camera_from_world=labels.camera_from_world * (world[:, None] * world),  # both frames are mirrored: still a turn and a shift
        weak_perspective=_mirror_at(labels.weak_perspective, (..., 1), width),
        box_px=None if labels.box_px is None else _mirrored_box(labels.box_px, width),
        box_visible_px=None if labels.box_visible_px is None else _mirrored_box(labels.box_visible_px, width),
    )


def _flip(pictures: Array) -> Array:
    """A copy with left and right exchanged. Whole pixels are moved: three times as fast as channels."""
    pixel = pictures.itemsize * math.prod(pictures.shape[3:])
    pixels = np.ascontiguousarray(pictures).reshape(*pictures.shape[:2], -1).view(f"V{pixel}")
    return np.ascontiguousarray(pixels[:, :, ::-1]).view(pictures.dtype).reshape(pictures.shape)


def _mirrored_normals(normals: UInt8[Array, "frames height width 3"]) -> UInt8[Array, "frames height width 3"]:
    """255 - b is the byte of -n; where there is nothing stays nothing."""
    flipped = _flip(normals)
    there = (flipped[..., 0] | flipped[..., 1] | flipped[..., 2]) > 0
    np.subtract(255, flipped[..., 0], out=flipped[..., 0], where=there)
    return flipped


def _mirror_at(values: Array, place: tuple[Any, ...], width: int) -> Array:
    """A copy with the pixel coordinates x at `place` at their mirror image."""
    changed = values.copy()
    changed[place] = np.float32(width - 1) - values[place]
    return changed


def _mirrored_box(box: Float32[Array, "frames 4"], width: int) -> Float32[Array, "frames 4"]:
    """Left and right change places; the box of nothing, zeros, stays."""
    x0, y0, x1, y1 = box.T
    last = np.float32(width - 1)
    return np.where(box.any(1, keepdims=True), np.stack([last - x1, y0, last - x0, y1], 1), box)
