"""What every estimator is given, and how a clip becomes it.

    Batch, all tensors; B clips, T frames, S the side of the crop in pixels. All labels are those of the crop: turned, scaled and shifted with it.

    rgb               (B,T,3,S,S)  uint8    sRGB as stored; `normalised` makes it the network's input
    joints_m          (B,T,21,3)   float32  camera axes, metres, the wrist at the origin
    root_m            (B,T,3)      float32  the wrist in the camera frame; zeros where the source does not know it
    joints_px         (B,T,21,2)   float32  pixels of the crop
    joints_valid      (B,T,21)     bool     false: no such label, or padding
    weak_perspective  (B,T,3)      float32  px/m, px, px: least squares of joints_px on root-relative xy
    pose              (B,T,16,3)   float32  axis-angle, relative to the template, global orientation first; zeros without `has_pose`
    betas             (B,10)       float32
    has_pose          (B,)         bool     pose and betas are known, of the estimator's hand
    mask              (B,T,S,S)    bool     where the hand is seen, or may be behind something
    has_mask          (B,)         bool
    vertices_m        (B,T,V,3)    float32  root-relative; None unless a clip of the batch has them
    has_vertices      (B,)         bool
    crop_from_picture (B,T,3,3)    float32  pixels of the picture to pixels of the crop
    intrinsics        (B,T,3,3)    float32  of the crop, any upper-left 2 x 2 block; zeros where unknown

Clips of left hands are mirrored first: estimators see right hands.
"""

from dataclasses import dataclass

from jaxtyping import Bool, Float32, UInt8
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Clips of one length; drawn above. `keys` names them, `sides` the hands before they were mirrored."""

    keys: tuple[str, ...]
    sides: tuple[str, ...]
    rgb: UInt8[Tensor, "batch frames 3 size size"]
    joints_m: Float32[Tensor, "batch frames 21 3"]
    root_m: Float32[Tensor, "batch frames 3"]
    joints_px: Float32[Tensor, "batch frames 21 2"]
    joints_valid: Bool[Tensor, "batch frames 21"]
    weak_perspective: Float32[Tensor, "batch frames 3"]
    pose: Float32[Tensor, "batch frames 16 3"]
    betas: Float32[Tensor, "batch 10"]
    has_pose: Bool[Tensor, "batch"]
    mask: Bool[Tensor, "batch frames size size"]
    has_mask: Bool[Tensor, "batch"]
    vertices_m: Float32[Tensor, "batch frames vertices 3"] | None
    has_vertices: Bool[Tensor, "batch"]
    crop_from_picture: Float32[Tensor, "batch frames 3 3"]
    intrinsics: Float32[Tensor, "batch frames 3 3"]
