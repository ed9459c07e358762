"""NYU Hand Pose (Tompson et al., TOG 2014): depth of two subjects' right hands before a Kinect, 640 x 480.

    nyu_hand_dataset_v2/dataset/{train,test}/
      depth_{k}_%07d.png      k = 1, 2, 3: the camera, 1 in front; frames from 1 on. Millimetres: green the high byte, blue the low one
      joint_data.mat          `joint_xyz` (3 cameras, frames, 36, 3), millimetres, in the frame of each camera with y up: here (x, -y, z)

72,757 frames for training of one subject, 8,252 for testing: 2,440 of the same subject, then 5,812 of one with a smaller hand. Each is a clip, cut where
pictures are missing. Of the 36 points those 14 that methods are compared on: the set "nyu" of `seqgen.joint_targets`, as they are labelled; there are no
21 joints. Their published labels bend as right hands' do. The projection is the authors' own: u = 588.036865 x / z + 320, v = 240 + 587.075073 y / z.

Files of centres that others refined for every frame (`center_{train,test}_refined.txt`) are not read, and cubes are of one size for both subjects.
Frames per second are not published: FPS is the Kinect's. The labels are read once and kept in the cache (12 MB for training), memory-mapped.
"""

import logging
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32, Int64, UInt16

from seqgen.benchmarks.depth_contact import check_joint_set
from seqgen.benchmarks.depth_pictures import read_packed_depth_mm
from seqgen.benchmarks.depth_recording import DepthRecording, Stretch
from seqgen.benchmarks.pictures import names_in
from seqgen.benchmarks.stb import runs_of
from seqgen.errors import UserError
from seqgen.files import arrays_digest, cache_folder, cached_arrays

log = logging.getLogger(__name__)
Array = np.ndarray
SplitName = Literal["train", "test"]

LABELS_FILE = "joint_data.mat"
NUM_FRAMES = {"train": 72_757, "test": 8_252}
NEW_SUBJECT = {"train": (), "test": (2_440,)}  # rows with which another subject begins
SIZE, NUM_CAMERAS = (640, 480), 3
INTRINSICS = ((588.036865, 0, 320), (0, 587.075073, 240), (0, 0, 1))
POINTS = (0, 3, 6, 9, 12, 15, 18, 21, 24, 25, 27, 30, 31, 32)  # of the 36, those that methods are compared on
NUM_POINTS = 36
AXES = (1, -1, 1)  # of the file in the camera's frame


class Nyu(DepthRecording):
    """A split of NYU as a `ClipSource`, for one of its cameras (methods are compared on the first). `missing` lists pictures that are not there."""

    source, side, joint_set, fps = "NYU", "right", "nyu", 30.0

    def __init__(self, path: str | Path, split: SplitName = "train", *, camera: Literal[1, 2, 3] = 1) -> None:
        super().__init__(f"NYU {split}" + f" camera {camera}" * (camera > 1), np.array(INTRINSICS))
        self.folder, self.split, self.camera = Path(path) / split, split, camera
        self._joints_m: Float32[Array, "rows 14 3"] | None = None
        if not (self.folder / LABELS_FILE).is_file():
            raise UserError(f"{path}: no labels of NYU's {split} split: {split}/{LABELS_FILE} is not there")
        self.clips, self.missing = self._find_clips()
        self.verdict = check_joint_set(self.joints_m, self.joint_set, where=f"{path} ({split})", side=self.side)

    @property
    def joints_m(self) -> Float32[Array, "rows 14 3"]:
        """All labels of the split, from the cache when they have been read before."""
        if self._joints_m is None:
            self._joints_m = _read_labels(self.folder / LABELS_FILE, self.camera)
        return self._joints_m

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_joints_m": None}

    def joints_of(self, rows: Int64[Array, "frames"]) -> Float32[Array, "frames 14 3"]:
        return np.array(self.joints_m[rows])

    def depth_of(self, row: int) -> UInt16[Array, "480 640"]:
        return read_packed_depth_mm(self.folder / self._picture(row), size=SIZE)

    def _picture(self, row: int) -> str:
        return f"depth_{self.camera}_{row + 1:07d}.png"

    def _find_clips(self) -> tuple[tuple[Stretch, ...], tuple[str, ...]]:
        """The stretches of one subject without a missing picture, and the names of what is missing."""
        count, there = len(self.joints_m), names_in(self.folder)
        if count != NUM_FRAMES[self.split]:
            log.warning("%s: has labels of %d frames, the published file of %d", self.folder / LABELS_FILE, count, NUM_FRAMES[self.split])
        present = np.array([self._picture(row) in there for row in range(count)], bool)
        missing = tuple(f"{self.split}/{self._picture(row)}" for row in np.flatnonzero(~present).tolist())
        if len(missing) == count:
            raise UserError(f"{self.folder}: none of the {count} depth pictures of camera {self.camera} is there, {self._picture(0)} for one; unpack the data set again")
        if missing:
            log.warning("%s: %d of %d depth pictures are missing and left out: %s%s", self.folder, len(missing), count, ", ".join(missing[:3]), ", ..." * (len(missing) > 3))
        edges = [0, *(row for row in NEW_SUBJECT[self.split] if row < count), count]
        runs = [(first + start, first + stop) for first, last in pairwise(edges) for start, stop in runs_of(present[first:last])]
        return tuple(Stretch(f"{self.split}_{Path(self._picture(start)).stem}", start, stop) for start, stop in runs), missing


def looks_like_nyu(path: Path) -> bool:
    """Whether the folder has the labels of one of NYU's splits."""
    return any((path / split / LABELS_FILE).is_file() for split in NUM_FRAMES)


def _read_labels(path: Path, camera: int) -> Float32[Array, "rows 14 3"]:
    """The 14 points in the camera's frame, metres; the cache knows the file by place, size and date."""
    stamp = f"{path.resolve()} {path.stat().st_size} {path.stat().st_mtime_ns} {camera}"
    folder = cache_folder() / "nyu" / arrays_digest(np.array([stamp]))[:24]
    return cached_arrays(folder, ("joints_m",), lambda: {"joints_m": _read_mat(path, camera)})["joints_m"]


def _read_mat(path: Path, camera: int) -> Float32[Array, "rows 14 3"]:
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    log.info("%s: reading the labels, once", path)
    try:
        content = loadmat(path, variable_names=["joint_xyz"])
    except (MatReadError, NotImplementedError, OSError, ValueError, TypeError, EOFError) as error:  # what loadmat raises over damaged and newer files
        raise UserError(f"{path}: no readable .mat file ({error}); unpack the data set again") from None
    if "joint_xyz" not in content:
        raise UserError(f"{path}: holds no joint_xyz; these are not NYU's labels")
    labels = content["joint_xyz"]
    if labels.ndim != 4 or (labels.shape[0], *labels.shape[2:]) != (NUM_CAMERAS, NUM_POINTS, 3) or labels.dtype.kind not in "fiu":
        raise UserError(f"{path}: joint_xyz is {labels.dtype} of shape {labels.shape}, expected numbers of shape ({NUM_CAMERAS}, frames, {NUM_POINTS}, 3)")
    joints_m = labels[camera - 1][:, list(POINTS)] * AXES * 1e-3
    behind = np.flatnonzero((joints_m[..., 2] <= 0).any(1))
    if len(behind):
        raise UserError(f"{path}: frame {behind[0] + 1} has a joint behind the camera; expected z forward")
    return joints_m.astype(np.float32)
