"""The record both wings meet at: one clip of a moving hand with everything known about it. Plain arrays; knows no file format."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8, UInt16

Array = np.ndarray

DEPTH_UNIT_M = 1e-4  # depth pictures count tenths of a millimetre


@dataclass(frozen=True)
class Labels:
    """What is exactly known of each frame. Camera frame: OpenCV, metres; joints: the canonical 21 (`seqgen.skeleton`).

    `pose`, `betas`, `translation_m` are MANO-type parameters of a right hand that has its joints at `joints_m`; `pose` is relative to the model's template.
    `weak_perspective`: scale (px/m), tx, ty (px), least squares of `joints_px` on root-relative xy.
    `flow_joints_m`: the motion the hand was asked to follow, hand frame, 95 mm palm; `flow_source`: row of the source file nearest to it.
    The last two are None where the bank's licence forbids copies.
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
    flow_joints_m: Float32[Array, "frames 21 3"] | None
    flow_source: Int64[Array, "frames"] | None


@dataclass(frozen=True)
class HandSequence:
    """One clip. `key` is its index as eight digits; `meta` holds the scalars that `meta.json` stores (one schema over a data set)."""

    key: str
    split: str
    rgb: UInt8[Array, "frames height width 3"]
    depth_tenth_mm: UInt16[Array, "frames height width"]  # 0 = nothing
    parts: UInt8[Array, "frames height width"]
    labels: Labels
    meta: dict[str, Any]

    @property
    def depth_m(self) -> Float32[Array, "frames height width"]:
        """Depth in metres, 0 = nothing."""
        return self.depth_tenth_mm.astype(np.float32) * np.float32(DEPTH_UNIT_M)
