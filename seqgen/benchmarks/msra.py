"""MSRA15 (Sun et al., CVPR 2015): depth of nine subjects' right hands, each in seventeen gestures of some 500 frames, 320 x 240.

    cvpr15_MSRAHandGestureDB/P{0..8}/{1,...,9,I,IP,L,MP,RP,T,TIP,Y}/
        joint.txt           the number of frames; then a line a frame: x y z of 21 joints, millimetres
        %06d_depth.bin      int32 width, height, left, top, right, bottom; float32 depth in millimetres of columns left..right-1, rows top..bottom-1; 0 = no hand
        %06d_depth.jpg      for people to look at

Little-endian, rows one after the other (the authors' read-me). In joint.txt y is up and z towards the camera, so here (x, -y, -z); wrist, then index to
pinky, then thumb, each from palm to tip: the set "msra" of `seqgen.skeleton`. A folder may hold more pictures than its joint.txt has lines; those without
a label are left alone. Labels are a fitted model's; DeepPrior++ found faulty ones (P2/TIP 172 to 174, P3/T 120 for example), published errors count them.

The protocol leaves one subject out, nine times: "test" is the subject left out, "train" the other eight. `train` and `test` leave P0 out, `train-P3` and
`test-P3` leave P3 out. Of the cubes that SRN takes from each subject's hands, nothing is here. Frames per second are not published: 30 is the
camera's usual rate.
"""

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float32, Int64, UInt16

from seqgen.benchmarks.depth_recording import DepthRecording, Stretch
from seqgen.benchmarks.first_contact import check_labels
from seqgen.benchmarks.pictures import names_in
from seqgen.benchmarks.stb import runs_of
from seqgen.dataset.sequence import depth_counts
from seqgen.errors import UserError
from seqgen.skeleton import JOINT_SETS

log = logging.getLogger(__name__)
Array = np.ndarray
SplitName = Literal["train", "test"]

NUM_SUBJECTS = 9
GESTURES = (*"123456789", "I", "IP", "L", "MP", "RP", "T", "TIP", "Y")
LABELS_FILE = "joint.txt"
SIZE = (320, 240)
INTRINSICS = ((241.42, 0, 160), (0, 241.42, 120), (0, 0, 1))
AXES = (1, -1, -1)  # of the file in the camera's frame
HEADER_BYTES = 24
MOST_MM = 6553.5  # what is farther cannot be counted in tenths of millimetres; some releases write 32001 for nothing
SPLIT = re.compile(rf"(train|test)(?:-P([0-{NUM_SUBJECTS - 1}]))?")
PALM_RANGE_M = (0.05, 0.13)  # of one subject alone: hands from small to large


class Msra(DepthRecording):
    """One half of a fold: the subject `held_out`, or all others. A gesture is a clip, cut where pictures are missing (listed in `missing`)."""

    source, side, joint_set, fps = "MSRA", "right", "canonical", 30.0

    def __init__(self, path: str | Path, split: SplitName = "train", *, held_out: int = 0) -> None:
        super().__init__(f"MSRA {split}, P{held_out} held out", np.array(INTRINSICS))
        self.path, self.split, self.held_out = Path(path), split, held_out
        wanted = _folders(split, held_out)
        labels = {folder: _read_joints(file) for folder in wanted if (file := self.path / folder / LABELS_FILE).is_file()}
        if not labels:
            raise UserError(f"{path}: no labels of MSRA's {split} split with P{held_out} held out: {wanted[0]}/{LABELS_FILE} is not there, nor any other")
        self._folders, self._first_rows = list(labels), np.cumsum([0, *map(len, labels.values())])
        self._joints_m = np.concatenate(list(labels.values()))
        self.clips, pictures_missing = self._find_clips()
        self.missing = (*(f"{folder}/{LABELS_FILE}" for folder in wanted if folder not in labels), *pictures_missing)
        _tell(self.missing, self.path)
        every = np.concatenate([self._joints_m[clip.start : clip.stop] for clip in self.clips])
        self.verdict = check_labels(every, where=f"{path} ({split}, P{held_out} held out)", side="right", palm_range_m=PALM_RANGE_M)

    def joints_of(self, rows: Int64[Array, "frames"]) -> Float32[Array, "frames 21 3"]:
        return self._joints_m[rows]

    def depth_of(self, row: int) -> UInt16[Array, "240 320"]:
        place = int(np.searchsorted(self._first_rows, row, side="right")) - 1
        return read_depth_bin(self.path / self._folders[place] / _picture(row - int(self._first_rows[place])))

    def _find_clips(self) -> tuple[tuple[Stretch, ...], list[str]]:
        """The clips, and the names of the pictures that are missing."""
        clips, missing = [], []
        for folder, first, after in zip(self._folders, self._first_rows[:-1].tolist(), self._first_rows[1:].tolist(), strict=True):
            there = names_in(self.path / folder)
            present = np.array([_picture(frame) in there for frame in range(after - first)], bool)
            missing += [f"{folder}/{_picture(frame)}" for frame in np.flatnonzero(~present).tolist()]
            clips += [Stretch(f"{folder.replace('/', '_')}_{start:06d}", first + start, first + stop) for start, stop in runs_of(present)]
        if not clips:
            raise UserError(f"{self.path}: none of the pictures of {self.name} is there, {missing[0]} for one; unpack the data set again")
        return tuple(clips), missing


def _folders(split: SplitName, held_out: int) -> list[str]:
    """The gestures of one half of a fold."""
    if held_out not in range(NUM_SUBJECTS):
        raise ValueError(f"held_out is {held_out}, expected 0 to {NUM_SUBJECTS - 1}")
    return [f"P{subject}/{gesture}" for subject in range(NUM_SUBJECTS) if (subject == held_out) == (split == "test") for gesture in GESTURES]


def _tell(missing: Sequence[str], path: Path) -> None:
    if missing:
        log.warning("%s: %d files are missing and left out: %s%s", path, len(missing), ", ".join(missing[:3]), ", ..." * (len(missing) > 3))


def looks_like_msra(path: Path) -> bool:
    """Whether the folder has the labels of one of MSRA's gestures."""
    return any((path / f"P{subject}" / gesture / LABELS_FILE).is_file() for subject in range(NUM_SUBJECTS) for gesture in GESTURES)


def fold_of(split: str) -> tuple[SplitName, int] | None:
    """The half and the subject held out that a split's name says: "test-P3" is P3, "train-P3" the others; None when it says neither."""
    found = SPLIT.fullmatch(split)
    return None if found is None else (found[1], int(found[2] or 0))


def _picture(row: int) -> str:
    return f"{row:06d}_depth.bin"


def _read_joints(path: Path) -> Float32[Array, "frames 21 3"]:
    """A joint.txt in our order and axes, metres. A UserError names the line that is wrong."""
    try:
        first, *lines = [line for line in path.read_text(encoding="ascii").splitlines() if line.strip()]
        count = int(first)
    except ValueError:  # also for text that is none
        raise UserError(f"{path}: expected the number of frames, then a line of 63 numbers for each") from None
    if count != len(lines):
        raise UserError(f"{path}: says {count} frames and has lines for {len(lines)}; unpack the data set again")
    joints_mm = np.array([_row(line, f"{path}, line {number}") for number, line in enumerate(lines, 2)]).reshape(-1, 21, 3)
    return (joints_mm[:, JOINT_SETS["msra"].places()] * AXES * 1e-3).astype(np.float32)


def _row(line: str, where: str) -> list[float]:
    try:
        numbers = [float(word) for word in line.split()]
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None
    if len(numbers) != 63:
        raise UserError(f"{where}: holds {len(numbers)} numbers, expected 63 (x y z of 21 joints)")
    return numbers


def read_depth_bin(path: Path) -> UInt16[Array, "240 320"]:
    """A depth picture, tenths of millimetres; of an empty box an empty picture."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) < HEADER_BYTES:
        raise UserError(f"{path}: has {len(content)} bytes, its header alone should have {HEADER_BYTES}; unpack the data set again")
    width, height, left, top, right, bottom = np.frombuffer(content, "<i4", 6).tolist()
    if (width, height) != SIZE or not (0 <= left <= right <= width and 0 <= top <= bottom <= height):
        raise UserError(f"{path}: its header says {width} x {height} with the box {left}, {top}, {right}, {bottom}; expected a box within {SIZE[0]} x {SIZE[1]}")
    pixels = (bottom - top) * (right - left)
    if len(content) != HEADER_BYTES + 4 * pixels:
        raise UserError(f"{path}: has {len(content)} bytes, its box needs {HEADER_BYTES + 4 * pixels}; unpack the data set again")
    region_mm = np.frombuffer(content, "<f4", offset=HEADER_BYTES).reshape(bottom - top, right - left)
    depth = np.zeros((height, width), np.uint16)
    depth[top:bottom, left:right] = depth_counts(np.where((region_mm > 0) & (region_mm < MOST_MM), region_mm, np.float32(0)) * np.float32(1e-3))
    return depth
