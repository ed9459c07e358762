"""What readers of depth recordings share: labelled frames in rows, and clips as stretches of rows.

    rows      0 1 2 3 4 5 6 7 8 9          joints_m (rows, J, 3), a depth picture each
    clips     [0 .... 4)    [6 .... 9)     cut between recordings, and where pictures are missing

Of a clip any frames are read without the others. Does not know where joints and pictures come from: `Nyu` and `Icvl` do.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int64, UInt16

from seqgen.benchmarks.pinhole import box_around_joints, projected
from seqgen.dataset.clip import LabelledClip
from seqgen.joint_targets import JointSetName

Array = np.ndarray


class Stretch(NamedTuple):
    """A clip: its key, its first row and the one after its last."""

    key: str
    start: int
    stop: int


class DepthRecording(ABC):
    """A `ClipSource` of depth pictures of one camera and one side's hands, with `clips` to be set by who fills it."""

    source: ClassVar[str]
    side: ClassVar[str]
    joint_set: ClassVar[JointSetName]
    fps: ClassVar[float]

    def __init__(self, name: str, intrinsics: Float64[Array, "3 3"]) -> None:
        self.name, self.intrinsics = name, intrinsics
        self.clips: tuple[Stretch, ...] = ()

    @abstractmethod
    def joints_of(self, rows: Int64[Array, "frames"]) -> Float32[Array, "frames joints 3"]:
        """Labels, metres, camera frame, in the order of `joint_set`."""

    @abstractmethod
    def depth_of(self, row: int) -> UInt16[Array, "height width"]:
        """The depth picture, tenths of millimetres; a UserError when it cannot be read."""

    def __len__(self) -> int:
        return len(self.clips)

    def key(self, position: int) -> str:
        return self.clips[position].key

    def num_frames(self, position: int) -> int:
        return self.clips[position].stop - self.clips[position].start

    def read(self, position: int, frames: Sequence[int] | None = None) -> LabelledClip:
        rows = self.clips[position].start + self._places(position, frames)
        joints_m = self.joints_of(rows)
        intrinsics = np.repeat(self.intrinsics[None].astype(np.float32), len(rows), 0)
        joints_px = projected(joints_m, intrinsics)
        return LabelledClip(
            key=self.key(position),
            source=self.source,
            side=self.side,
            fps=self.fps,
            rgb=None,
            joints_m=joints_m,
            joints_px=joints_px,
            joints_valid=np.ones(joints_m.shape[:2], bool),
            box_px=box_around_joints(joints_px, joints_m),
            camera_kind="perspective",
            intrinsics=intrinsics,
            depth_tenth_mm=np.stack([self.depth_of(row) for row in rows.tolist()]),
            joint_set=self.joint_set,
        )

    def _places(self, position: int, frames: Sequence[int] | None) -> Int64[Array, "frames"]:
        """The frames asked for as an array; an IndexError when the clip has no such frame."""
        length = self.num_frames(position)
        places = np.arange(length) if frames is None else np.asarray(frames, np.int64)
        if len(places) == 0 or places.min() < 0 or places.max() >= length:
            raise IndexError(f"{self.name}: {self.key(position)} has {length} frames, asked for {places.tolist()}")
        return places
