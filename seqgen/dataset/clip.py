"""A clip as networks are taught with: pictures, and those labels that its source knows. Ours and other people's data become one record here.

A still is a clip of one frame. What a source does not know is None. Plain arrays; knows no file format but, for our own data, `Dataset`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, UInt8, UInt16

from seqgen.camera import CameraKind
from seqgen.joint_targets import JointSetName

Array = np.ndarray

PictureKind = Literal["rgb", "mask", "depth", "depth_sensor"]  # what a source can be asked to read of each frame; of the two depths one


@dataclass(frozen=True)
class LabelledClip:
    """What is known of a clip of one hand. Camera frame: OpenCV, metres; pixels: of these pictures. There are colours or depth, or both, of one size.

    Joints: those of the joint set called `joint_set` (`seqgen.joint_targets`): the canonical 21, or what a depth data set was labelled with.

    `pose` and `betas` are MANO-type parameters of a right hand, or of the mirror image where `side` is left, relative to the template of the hand called `hand`
    ("open", "mano"; "" where there are none). `vertices_m` are of that hand's surface. `joints_valid` is false where a source has no such joint.
    `depth_tenth_mm`: of a depth camera's pictures, 0 = nothing: as it truly is or as a sensor saw it, whichever the source was asked for.
    `intrinsics`: as in `seqgen.camera` for its `camera_kind`, but any upper-left 2 x 2 block. `mask`: the hand that is seen; `occluder`: things in the way, which may
    hide more of it.
    """

    key: str
    source: str
    side: str
    fps: float
    rgb: UInt8[Array, "frames height width 3"] | None
    joints_m: Float32[Array, "frames joints 3"]
    joints_px: Float32[Array, "frames joints 2"]
    joints_valid: Bool[Array, "frames joints"]
    box_px: Float32[Array, "frames 4"]
    camera_kind: CameraKind
    intrinsics: Float32[Array, "frames 3 3"] | None = None
    hand: str = ""
    pose: Float32[Array, "frames 16 3"] | None = None
    betas: Float32[Array, "10"] | None = None
    vertices_m: Float32[Array, "frames vertices 3"] | None = None
    mask: Bool[Array, "frames height width"] | None = None
    occluder: Bool[Array, "frames height width"] | None = None
    depth_tenth_mm: UInt16[Array, "frames height width"] | None = None
    joint_set: JointSetName = "canonical"

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the pictures, pixels."""
        pictures = self.depth_tenth_mm if self.rgb is None else self.rgb
        assert pictures is not None, f"clip {self.key} has neither colours nor depth"
        return pictures.shape[2], pictures.shape[1]


@runtime_checkable
class ClipSource(Protocol):
    """Clips by position; sendable to other processes. `read` may be asked for some frames only, and then decodes no others."""

    name: str

    def __len__(self) -> int: ...

    def key(self, position: int) -> str:
        """The clip's name, without reading it."""
        ...

    def num_frames(self, position: int) -> int:
        """How long the clip is, without reading it."""
        ...

    def read(self, position: int, frames: Sequence[int] | None = None) -> LabelledClip:
        """The clip, whole or the frames asked for in their order."""
        ...


@runtime_checkable
class MadeClips(ClipSource, Protocol):
    """Clips that are made when they are asked for, others in each epoch; those of epoch 0 are what `read` gives."""

    def make(self, epoch: int, requests: Sequence[tuple[int, Sequence[int]]]) -> Iterator[LabelledClip]:
        """For each position of an epoch, with the frames wanted of it, the clip."""
        ...


@runtime_checkable
class LiveData(Protocol):
    """A data set that is made while it is learned from. It reaches training from outside; `content` is what decides its clips, as plain JSON values."""

    @property
    def content(self) -> dict[str, Any]: ...

    def clips(self, split: str | None, pictures: Sequence[PictureKind]) -> ClipSource:
        """The clips of a split, or of all. UserError where there are none, or not these pictures."""
        ...
