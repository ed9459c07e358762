"""What every estimator is taught with: what it is shown, and the labels. J joints of the set that is taught (`seqgen.joint_targets`).

    Batch, all tensors, beside those of a `View`. All labels are those of the crop: turned, scaled and shifted with it.

    joints_m          (B,T,J,3)    float32  camera axes, metres, the set's root at the origin
    root_m            (B,T,3)      float32  the root in the camera frame; zeros where the source does not know it
    joints_px         (B,T,J,2)    float32  pixels of the crop
    joints_valid      (B,T,J)      bool     false: no such label, or padding
    weak_perspective  (B,T,3)      float32  px/m, px, px: least squares of joints_px on root-relative xy
    pose              (B,T,16,3)   float32  axis-angle, relative to the template, global orientation first; zeros without `has_pose`
    betas             (B,10)       float32
    has_pose          (B,)         bool     pose and betas are known, of the estimator's hand
    mask              (B,T,S,S)    bool     where the hand is seen, or may be behind something; None unless the estimator sees pictures
    has_mask          (B,)         bool
    vertices_m        (B,T,V,3)    float32  root-relative; None unless a clip of the batch has them
    has_vertices      (B,)         bool
"""

from dataclasses import dataclass

from jaxtyping import Bool, Float32
from torch import Tensor

from seqgen.estimators.views.view import View


@dataclass(frozen=True, kw_only=True)
class Batch(View):
    """Clips of one length; drawn above. `keys` names them, `sides` the hands before they were mirrored."""

    keys: tuple[str, ...]
    sides: tuple[str, ...]
    joints_m: Float32[Tensor, "batch frames joints 3"]
    root_m: Float32[Tensor, "batch frames 3"]
    joints_px: Float32[Tensor, "batch frames joints 2"]
    joints_valid: Bool[Tensor, "batch frames joints"]
    weak_perspective: Float32[Tensor, "batch frames 3"]
    pose: Float32[Tensor, "batch frames 16 3"]
    betas: Float32[Tensor, "batch 10"]
    has_pose: Bool[Tensor, "batch"]
    mask: Bool[Tensor, "batch frames size size"] | None
    has_mask: Bool[Tensor, "batch"]
    vertices_m: Float32[Tensor, "batch frames vertices 3"] | None
    has_vertices: Bool[Tensor, "batch"]
