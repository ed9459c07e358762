"""What an estimator is shown of frames: pictures, depth or points, and the camera they were seen with. A `Batch` is a view with labels.

    View, all tensors; B clips, T frames, S the side of the crop in pixels, N points. One of the first three is there, by the estimator's input.

    rgb               (B,T,3,S,S)  uint8    sRGB as stored; `normalised` makes it the network's input
    depth             (B,T,S,S)    float32  (z - centre's z) over half the cube's edge, -1 .. 1; 1 also where nothing is and behind the cube, -1 before it
    points            (B,T,N,3)    float32  (point - centre) over the cube's edge, camera axes, -0.5 .. 0.5
    centre_m          (B,T,3)      float32  the cube's centre in the camera frame; of rgb the wrist where it was given to the estimator, else zeros
    cube_m            (B,T)        float32  the cube's edge; zeros of rgb
    usable            (B,T)        bool     false: the cube is empty, so nobody should believe what is said of the frame
    crop_from_picture (B,T,3,3)    float32  pixels of the picture to pixels of the crop; of points the turn about the camera's axis alone
    intrinsics        (B,T,3,3)    float32  of the crop, any upper-left 2 x 2 block; zeros where unknown
    perspective       (B,)         bool     whether pixels are (K X)_xy / (K X)_z, else weak perspective, as in `seqgen.camera`

Left hands are mirrored first: estimators see right hands.
"""

from dataclasses import dataclass, fields, replace
from typing import TypeVar

import torch
from jaxtyping import Bool, Float, Float32, UInt8
from torch import Tensor

AnyView = TypeVar("AnyView", bound="View")


@dataclass(frozen=True, kw_only=True)
class View:
    """Drawn above."""

    rgb: UInt8[Tensor, "batch frames 3 size size"] | None = None
    depth: Float32[Tensor, "batch frames size size"] | None = None
    points: Float32[Tensor, "batch frames points 3"] | None = None
    centre_m: Float[Tensor, "batch frames 3"]
    cube_m: Float[Tensor, "batch frames"]
    usable: Bool[Tensor, "batch frames"]
    crop_from_picture: Float[Tensor, "batch frames 3 3"]
    intrinsics: Float[Tensor, "batch frames 3 3"]
    perspective: Bool[Tensor, "batch"]

    @property
    def num_clips(self) -> int:
        """B"""
        return self.cube_m.shape[0]

    @property
    def num_frames(self) -> int:
        """T"""
        return self.cube_m.shape[1]

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.cube_m.device

    def frame(self, frame: int) -> "View":
        """One frame of every clip, as clips of one frame."""
        values = {field.name: getattr(self, field.name) for field in fields(View)}
        of_frames = {name: value if value is None or name == "perspective" else value[:, frame : frame + 1] for name, value in values.items()}
        return View(**of_frames)


def to_device(view: AnyView, device: torch.device | str) -> AnyView:
    """The view, or batch, with all its tensors there."""
    moved = {field.name: value.to(device, non_blocking=True) for field in fields(view) if isinstance(value := getattr(view, field.name), Tensor)}
    return replace(view, **moved)
