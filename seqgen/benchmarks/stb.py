"""STB, the stereo tracking benchmark (Zhang et al., ICIP 2017): a left hand before six backgrounds, twelve sequences of 1,500 frames, 640 x 480.

    STB/images/B{1..6}{Counting,Random}/ BB_left_{i}.png  BB_right_{i}.png  SK_color_{i}.png  SK_depth_{i}.png     i = 0..1499
    STB/labels/B{1..6}{Counting,Random}_{BB,SK}.mat     `handPara` (3, 21, 1500), millimetres

`_BB` labels are in the frame of the Bumblebee's left camera; the right one is BASELINE_M beside it. `_SK` labels are in the frame of the RealSense's
depth camera, and X_depth = R X_colour + t (the authors' read-me), so here X_colour = R^T (X_depth - t).

Fingers run from pinky to thumb, and the first joint is the palm's centre: the set "stb" of `seqgen.skeleton`. There is no wrist. Where the literature
wants one, it lengthens the way from a knuckle to the palm's centre (WRIST_RULES); so do we, and the verdict names the rule. Errors at the wrist, and of
whatever is measured from it, then hold the rule's own error; `palm_m` gives what was annotated.

B1 is for testing, B2 to B6 are for training. Frames per second are not published: FPS is the colour camera's usual rate.
"""

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, Float32

from seqgen.benchmarks.first_contact import check_labels
from seqgen.benchmarks.pictures import names_in, read_rgb
from seqgen.benchmarks.pinhole import box_around_joints, projected
from seqgen.dataset.clip import LabelledClip
from seqgen.errors import UserError
from seqgen.geometry import matrix_from_axis_angle
from seqgen.skeleton import JOINT_SETS

log = logging.getLogger(__name__)
Array = np.ndarray
Camera = Literal["SK", "BB_left", "BB_right"]
Wrist = Literal["ring_mcp", "middle_mcp", "mean_mcp"]

SEQUENCES = {split: [f"B{number}{kind}" for number in numbers for kind in ("Counting", "Random")] for split, numbers in {"train": range(2, 7), "test": range(1, 2)}.items()}
NUM_FRAMES, SIZE, FPS = 1500, (640, 480), 30.0
PICTURES = {"SK": "SK_color", "BB_left": "BB_left", "BB_right": "BB_right"}
BB_INTRINSICS = ((822.79041, 0, 318.47345), (0, 822.79041, 250.31296), (0, 0, 1))
SK_INTRINSICS = ((607.92271, 0, 314.78337), (0, 607.88192, 236.42484), (0, 0, 1))  # of the colour camera
SK_ROTATION_RAD, SK_TRANSLATION_M = (0.00531, -0.01196, 0.00301), (-0.0240381, -0.0004563, -0.0012326)  # colour to depth
BASELINE_M = 0.120054
# The wrist is `knuckles + factor (palm - knuckles)`, a mean over the knuckles: hand3d and Ge et al. (CVPR 2019); Yang's loaders have the other two.
WRIST_RULES: dict[str, tuple[tuple[int, ...], float]] = {"ring_mcp": ((13,), 2.0), "middle_mcp": ((9,), 2.2), "mean_mcp": ((5, 9, 13, 17), 2.25)}
PALM_RANGE_M = (0.05, 0.15)  # from an extrapolated wrist: the rules differ by some centimetres


class Stb:
    """A split of STB as a `ClipSource`, for one of its cameras. Sequences are whole clips, cut where pictures are missing (listed in `missing`).

    `clip_frames` cuts them into clips of so many frames instead; a rest that is shorter is left out. With `wrist_valid=False` the extrapolated wrist is
    the root that labels are relative to, but is not a label itself: it is neither taught nor scored.
    """

    def __init__(
        self,
        path: str | Path,
        split: Literal["train", "test"] = "train",
        *,
        camera: Camera = "SK",
        wrist: Wrist = "ring_mcp",
        wrist_valid: bool = True,
        clip_frames: int | None = None,
    ) -> None:
        self.path, self.split, self.camera, self.wrist_valid, self.name = Path(path), split, camera, wrist_valid, f"STB {split} {camera}"
        labels = {name: in_camera(_read_mat(file), camera) for name in SEQUENCES[split] if (file := self.path / "labels" / f"{name}_{camera[:2]}.mat").is_file()}
        if not labels:
            raise UserError(f"{path}: no labels of STB's {split} split: labels/{SEQUENCES[split][0]}_{camera[:2]}.mat is not there")
        self._palm_m = {name: joints_m[:, 0].astype(np.float32) for name, joints_m in labels.items()}
        self._joints_m = {name: with_wrist(joints_m, wrist).astype(np.float32) for name, joints_m in labels.items()}
        self._clips, self.missing = self._find_clips(clip_frames)
        every = np.concatenate([self._joints_m[name][start:stop] for name, start, stop in self._clips])
        first_look = check_labels(every, where=f"{path} ({split}, {camera})", side="left", palm_range_m=PALM_RANGE_M)
        self.verdict = f"{first_look}; wrist_source extrapolated, {wrist}"

    def __len__(self) -> int:
        return len(self._clips)

    def key(self, position: int) -> str:
        sequence, start, _ = self._clips[position]
        return f"{sequence}_{PICTURES[self.camera]}_{start:04d}"

    def num_frames(self, position: int) -> int:
        _, start, stop = self._clips[position]
        return stop - start

    def read(self, position: int, frames: Sequence[int] | None = None) -> LabelledClip:
        sequence, start, _ = self._clips[position]
        rows = start + self._places(position, frames)
        rgb = read_rgb([self._picture(sequence, row) for row in rows.tolist()])
        if rgb.shape[1:3] != SIZE[::-1]:
            raise UserError(f"{self._picture(sequence, int(rows[0]))}: is {rgb.shape[2]} x {rgb.shape[1]}, STB's cameras are known for {SIZE[0]} x {SIZE[1]} only")
        joints_m = self._joints_m[sequence][rows]
        intrinsics = np.repeat(np.array(SK_INTRINSICS if self.camera == "SK" else BB_INTRINSICS, np.float32)[None], len(rows), 0)
        joints_px = projected(joints_m, intrinsics)
        valid = np.ones((len(rows), 21), bool)
        valid[:, 0] = self.wrist_valid
        box_px = box_around_joints(joints_px, joints_m)
        return LabelledClip(self.key(position), "STB", "left", FPS, rgb, joints_m, joints_px, valid, box_px, "perspective", intrinsics)

    def palm_m(self, position: int, frames: Sequence[int] | None = None) -> Float32[Array, "frames 3"]:
        """The palm's centre as annotated, in the frame of the camera."""
        sequence, start, _ = self._clips[position]
        return self._palm_m[sequence][start + self._places(position, frames)]

    def _places(self, position: int, frames: Sequence[int] | None) -> Array:
        """The frames asked for as an array; an IndexError when the clip has no such frame."""
        length = self.num_frames(position)
        places = np.arange(length) if frames is None else np.asarray(frames, int)
        if len(places) == 0 or places.min() < 0 or places.max() >= length:
            raise IndexError(f"{self.name}: {self.key(position)} has {length} frames, asked for {places.tolist()}")
        return places

    def _picture(self, sequence: str, row: int) -> Path:
        return self.path / "images" / sequence / f"{PICTURES[self.camera]}_{row}.png"

    def _find_clips(self, clip_frames: int | None) -> tuple[list[tuple[str, int, int]], tuple[str, ...]]:
        """Sequence, first row and the one after the last of each clip; and the names of what is missing."""
        clips, missing = [], [f"labels/{name}_{self.camera[:2]}.mat" for name in SEQUENCES[self.split] if name not in self._joints_m]
        for name, joints_m in self._joints_m.items():
            there = names_in(self.path / "images" / name)
            present = np.array([self._picture(name, row).name in there for row in range(len(joints_m))], bool)
            missing += [f"images/{name}/{self._picture(name, row).name}" for row in np.flatnonzero(~present).tolist()]
            clips += [(name, start, stop) for run in runs_of(present) for start, stop in windows_of(*run, clip_frames)]
        if missing:
            log.warning("%s: %d files are missing and left out: %s%s", self.path, len(missing), ", ".join(missing[:3]), ", ..." * (len(missing) > 3))
        if not clips:
            raise UserError(f"{self.path}: none of {self.name}'s clips is there" + (f", {missing[0]} is missing for one" if missing else f" with {clip_frames} frames"))
        return clips, tuple(missing)


def runs_of(present: Array) -> list[tuple[int, int]]:
    """Begin and end of each stretch of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], present.astype(np.int8), [0]])))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


def windows_of(start: int, stop: int, length: int | None) -> list[tuple[int, int]]:
    """A stretch whole, or in pieces of that length."""
    return [(start, stop)] if length is None else [(begin, begin + length) for begin in range(start, stop - length + 1, length)]


def in_camera(labels_m: Float[Array, "frames 21 3"], camera: Camera) -> Float[Array, "frames 21 3"]:
    """Labels of a file in the frame of the camera whose pictures are read."""
    if camera == "SK":
        return (labels_m - np.array(SK_TRANSLATION_M)) @ matrix_from_axis_angle(np.array(SK_ROTATION_RAD))  # rows: (R^T x)^T = x^T R
    return labels_m - np.array([BASELINE_M if camera == "BB_right" else 0.0, 0.0, 0.0])


def with_wrist(joints_m: Float[Array, "frames 21 3"], wrist: Wrist) -> Float[Array, "frames 21 3"]:
    """Joints in our order with the palm's centre first, to joints with a wrist."""
    knuckles, factor = WRIST_RULES[wrist]
    centre = joints_m[:, list(knuckles)].mean(1)
    return np.concatenate([(centre + factor * (joints_m[:, 0] - centre))[:, None], joints_m[:, 1:]], 1)


def _read_mat(path: Path) -> Float[Array, "frames 21 3"]:
    """`handPara` in metres and in our order of fingers, the palm's centre first."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        content = loadmat(path, variable_names=["handPara"])
    except (MatReadError, NotImplementedError, OSError, ValueError, TypeError, EOFError) as error:  # what loadmat raises over damaged and newer files
        raise UserError(f"{path}: no readable .mat file ({error}); unpack the data set again") from None
    if "handPara" not in content:
        raise UserError(f"{path}: holds no handPara; these are not STB's labels")
    labels = content["handPara"]
    if labels.ndim != 3 or labels.shape[:2] != (3, 21) or labels.dtype.kind not in "fiu":
        raise UserError(f"{path}: handPara is {labels.dtype} of shape {labels.shape}, expected numbers of shape (3, 21, {NUM_FRAMES})")
    if labels.shape[2] != NUM_FRAMES:
        log.warning("%s: has labels of %d frames, the published files of %d", path, labels.shape[2], NUM_FRAMES)
    return labels.transpose(2, 1, 0).astype(float)[:, JOINT_SETS["stb"].places()] * 1e-3


def looks_like_stb(path: Path) -> bool:
    """Whether the folder has the labels of one of STB's sequences."""
    return any(re.fullmatch(r"B[1-6](Counting|Random)_(BB|SK)\.mat", name) for name in names_in(path / "labels"))
