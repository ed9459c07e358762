"""The record both wings meet at: one clip of a moving hand with everything known about it. Plain arrays; knows no file format."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8, UInt16

from seqgen.skeleton import PART_PALM

Array = np.ndarray

DEPTH_UNIT_M = 1e-4  # depth pictures count tenths of a millimetre
HAND_PARTS = range(PART_PALM, PART_PALM + 16)
NOT_HIDDEN, NOTHING_THERE = 0, 255  # in `joints_hidden_by`, beside part labels


@dataclass(frozen=True)
class Labels:
    """What is exactly known of each frame. Camera frame: OpenCV, metres; joints: the canonical 21 (`seqgen.skeleton`).

    `pose`, `betas`, `translation_m` are MANO-type parameters of a right hand that has its joints at `joints_m`, or at their mirror image (x negated) where
    `meta.hand.side` is left; `pose` is relative to the model's template.
    `weak_perspective`: scale (px/m), tx, ty (px), least squares of `joints_px` on root-relative xy; `weak_perspective_residual_px`: what it leaves, RMS over the joints.
    `joints_hidden_by`: NOT_HIDDEN where the joint is visible, else the part label of what is seen at its pixel, or NOTHING_THERE (background, or outside the picture).
    `box_px`: x0, y0, x1, y1 of all the hand's projected vertices, hidden ones and those outside the picture too. `box_visible_px`: of the hand's pixels, along
    their outer edges (x0 = the first column - 0.5, x1 = the last + 0.5); zeros where none is seen.
    `flow_joints_m`: the motion the hand was asked to follow, hand frame, 95 mm palm; `flow_source`: row of the source file nearest to it.
    Those that may be None were not asked for, or the bank's licence forbids copies.
    """

    joints_m: Float32[Array, "frames 21 3"]
    joints_px: Float32[Array, "frames 21 2"]
    joints_visible: Bool[Array, "frames 21"]
    pose: Float32[Array, "frames 16 3"]
    betas: Float32[Array, "10"]
    translation_m: Float32[Array, "frames 3"]
    intrinsics: Float32[Array, "frames 3 3"]
    camera_from_world: Float32[Array, "frames 4 4"]
    weak_perspective: Float32[Array, "frames 3"]
    weak_perspective_residual_px: Float32[Array, "frames"]
    joints_hidden_by: UInt8[Array, "frames 21"] | None
    box_px: Float32[Array, "frames 4"] | None
    box_visible_px: Float32[Array, "frames 4"] | None
    flow_joints_m: Float32[Array, "frames 21 3"] | None
    flow_source: Int64[Array, "frames"] | None


@dataclass(frozen=True)
class HandSequence:
    """One clip. `key` is its index as eight digits; `meta` holds the scalars that `meta.json` stores (one schema over a data set).

    The last five are None where they were not asked for. `flow_px`: by how many pixels what is seen here has moved in the next stored frame, zeros in the
    last one. Depth counts tenths of a millimetre, 0 = nothing; normals are as `normal_bytes` makes them, masks 0 or 255.
    """

    key: str
    split: str
    rgb: UInt8[Array, "frames height width 3"]
    depth_tenth_mm: UInt16[Array, "frames height width"]
    parts: UInt8[Array, "frames height width"]
    labels: Labels
    meta: dict[str, Any]
    depth_sensor_tenth_mm: UInt16[Array, "frames height width"] | None = None  # as the depth camera of `meta.sensor.depth` would see it
    flow_px: Float32[Array, "frames height width 2"] | None = None
    normals: UInt8[Array, "frames height width 3"] | None = None
    mask_amodal: UInt8[Array, "frames height width"] | None = None  # where the hand would be seen if nothing were before it
    mask_visible: UInt8[Array, "frames height width"] | None = None  # where it is: `parts` 1..16

    @property
    def depth_m(self) -> Float32[Array, "frames height width"]:
        """Depth in metres, 0 = nothing."""
        return self.depth_tenth_mm.astype(np.float32) * np.float32(DEPTH_UNIT_M)

    @property
    def unit_normals(self) -> Float32[Array, "frames height width 3"]:
        """Outward normals of what is seen, camera frame, 0 where there is nothing. ValueError when the data set has none."""
        if self.normals is None:
            raise ValueError(f"sequence {self.key} has no normals; generate with labels.normals = true")
        vectors = self.normals.astype(np.float32) / np.float32(127.5) - 1
        vectors /= np.sqrt((vectors**2).sum(-1, keepdims=True))  # never zero: no byte is 127.5
        return vectors * self.normals.any(-1, keepdims=True)


def depth_counts(depth_m: Float32[Array, "*frames height width"]) -> UInt16[Array, "*frames height width"]:
    """Metres as a depth picture counts them; what is farther than it can count is at its end (6.5535 m)."""
    counts = depth_m * np.float32(1 / DEPTH_UNIT_M)
    return np.minimum(np.rint(counts, out=counts), np.float32(65535), out=counts).astype(np.uint16)


def normal_bytes(normals: Float32[Array, "*frames height width 3"]) -> UInt8[Array, "*frames height width 3"]:
    """Unit normals as a picture: (n + 1) / 2 * 255, rounded; zero vectors stay zeros, which no unit vector becomes."""
    scaled = normals * np.float32(127.5)
    scaled += np.float32(128.0)  # the half more lets the cast round
    stored = scaled.astype(np.uint8)
    there = (normals[..., 0] != 0) | (normals[..., 1] != 0) | (normals[..., 2] != 0)
    stored *= np.repeat(there.view(np.uint8), 3).reshape(stored.shape)
    return stored


def mask_bytes(mask: Bool[Array, "*frames height width"]) -> UInt8[Array, "*frames height width"]:
    """A mask as a picture: 255 where it is true."""
    return mask.view(np.uint8) * np.uint8(255)


def is_hand(parts: UInt8[Array, "*frames height width"]) -> Bool[Array, "*frames height width"]:
    """Where the hand itself is seen: the labels 1..16."""
    return parts - np.uint8(HAND_PARTS.start) < len(HAND_PARTS)  # background wraps around to 255
