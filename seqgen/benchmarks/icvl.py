"""ICVL Hand Posture (Tang et al., CVPR 2014): depth of ten subjects' hands, 320 x 240.

    ICVL/Training/labels.txt                        a line a frame: its picture's path below Depth/, then u v d of 16 joints: pixels and millimetres
    ICVL/Training/Depth/<recording>/image_%04d.png  millimetres, 16 bits
    ICVL/Training/Depth/.../                        copies turned in the picture's plane, one folder deeper ("45", "22-5"): listed in labels.txt too, 331,006 lines with them
    ICVL/Testing/test_seq_1.txt, test_seq_2.txt     702 and 894 frames, as labels.txt
    ICVL/Testing/Depth/test_seq_1/image_%04d.png

Palm, then three points a finger, thumb to pinky: the set "icvl" of `seqgen.joint_targets`, as they are labelled; there are no 21 joints. The points in
space are x = (u - cx) d / fx, y = (v - cy) d / fy, z = d. Two sets of numbers for the camera are in use: INTRINSICS.

In these pictures hands are left ones, or the camera mirrored right ones: with x right, y down and z forward the fingers of the published test labels bend
as a left hand's do. So they are called left, and networks see them in the mirror.

A clip is a stretch of frames whose numbers follow each other; pictures that are missing or empty are left out, listed and counted. Frames per second are
not published: FPS is the camera's usual rate.
"""

import logging
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
from jaxtyping import Float32, Float64, Int64, UInt16

from seqgen.benchmarks.depth_contact import check_joint_set
from seqgen.benchmarks.depth_pictures import read_depth_mm
from seqgen.benchmarks.depth_recording import DepthRecording, Stretch
from seqgen.errors import UserError

log = logging.getLogger(__name__)
Array = np.ndarray
SplitName = Literal["train", "test"]
CameraName = Literal["evaluation", "241.42"]

LABEL_FILES = {"train": ("Training/labels.txt",), "test": ("Testing/test_seq_1.txt", "Testing/test_seq_2.txt")}
SIZE, NUM_JOINTS = (320, 240), 16
INTRINSICS = {  # those with which published results are compared (REN, A2J, SRN, HandR2N2), and DeepPrior's, V2V's and JGR-P2O's
    "evaluation": ((240.99, 0, 160), (0, 240.96, 120), (0, 0, 1)),
    "241.42": ((241.42, 0, 160), (0, 241.42, 120), (0, 0, 1)),
}
NUMBER = re.compile(r"image_(\d+)\.png")


class Icvl(DepthRecording):
    """A split of ICVL as a `ClipSource`. `rotated`: with the copies turned in the plane. `missing` lists labelled pictures that are not there or empty."""

    source, side, joint_set, fps = "ICVL", "left", "icvl", 30.0

    def __init__(self, path: str | Path, split: SplitName = "train", *, rotated: bool = False, camera: CameraName = "evaluation") -> None:
        super().__init__(f"ICVL {split}", np.array(INTRINSICS[camera]))
        self.path, self.split = Path(path), split
        files = [self.path / name for name in LABEL_FILES[split] if (self.path / name).is_file()]
        if not files:
            raise UserError(f"{path}: no labels of ICVL's {split} split: {LABEL_FILES[split][0]} is not there")
        labels = sorted((label for file in files for label in _labels(file, rotated)), key=_order)
        self._pictures, self.missing = self._there([picture for picture, _ in labels])
        absent = set(self.missing)
        rows_uvd = [uvd for picture, uvd in labels if picture not in absent]
        self._joints_m = in_space(np.array(rows_uvd).reshape(-1, NUM_JOINTS, 3), self.intrinsics)
        self.clips = tuple(_stretches(self._pictures))
        self.verdict = check_joint_set(self._joints_m, self.joint_set, where=f"{path} ({split})", side=self.side)

    def joints_of(self, rows: Int64[Array, "frames"]) -> Float32[Array, "frames 16 3"]:
        return self._joints_m[rows]

    def depth_of(self, row: int) -> UInt16[Array, "240 320"]:
        return read_depth_mm(self.path / self._pictures[row], size=SIZE)

    def _there(self, pictures: list[str]) -> tuple[list[str], tuple[str, ...]]:
        """The pictures that are there with some content, and those that are not."""
        folders = {PurePosixPath(picture).parent for picture in pictures}
        there = {f"{folder}/{name}" for folder in folders for name in _not_empty(self.path / folder)}
        missing = tuple(picture for picture in pictures if picture not in there)
        if len(missing) == len(pictures):
            raise UserError(f"{self.path}: none of the {len(pictures)} depth pictures of the {self.split} split is there, {missing[0]} for one; unpack the data set again")
        if missing:
            some = ", ".join(missing[:3]) + ", ..." * (len(missing) > 3)
            log.warning("%s: %d of %d depth pictures are missing or empty, and left out: %s", self.path, len(missing), len(pictures), some)
        return [picture for picture in pictures if picture in there], missing


def in_space(uvd: Float64[Array, "frames joints 3"], intrinsics: Float64[Array, "3 3"]) -> Float32[Array, "frames joints 3"]:
    """Pixels and millimetres as points of the camera frame, metres."""
    (fx, _, cx), (_, fy, cy), _ = intrinsics
    depth_m = uvd[..., 2] * 1e-3
    return np.stack([(uvd[..., 0] - cx) / fx * depth_m, (uvd[..., 1] - cy) / fy * depth_m, depth_m], -1).astype(np.float32)


def looks_like_icvl(path: Path) -> bool:
    """Whether the folder has the labels of one of ICVL's splits."""
    return any((path / name).is_file() for names in LABEL_FILES.values() for name in names)


def _labels(file: Path, rotated: bool) -> Iterator[tuple[str, Float64[Array, "48"]]]:
    """Of each line the picture, from the data set's folder on, and its numbers. UserErrors name the line."""
    with file.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            name, _, rest = line.strip().partition(" ")
            if not name or (name.count("/") > 1 and not rotated):
                continue
            if NUMBER.fullmatch(PurePosixPath(name).name) is None or ".." in name:
                raise UserError(f"{file}, line {number}: begins with {name[:80]!r}, expected a picture like 201403121135/image_0000.png")
            yield f"{file.parent.name}/Depth/{name}", _numbers(rest, f"{file}, line {number}")


def _numbers(text: str, where: str) -> Float64[Array, "48"]:
    try:
        numbers = np.array(text.split(), float)
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None
    if len(numbers) != 3 * NUM_JOINTS or not (numbers[2::3] > 0).all():
        raise UserError(f"{where}: holds {len(numbers)} numbers, expected {3 * NUM_JOINTS}: u, v and depth of {NUM_JOINTS} joints, depth in millimetres before the camera")
    return numbers


def _not_empty(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir() if entry.stat().st_size] if folder.is_dir() else []


def _order(label: tuple[str, Array]) -> tuple[str, int]:
    """Pictures by recording, then by number."""
    return _place(label[0])


def _place(picture: str) -> tuple[str, int]:
    """The folder of a picture, and its number in it."""
    path = PurePosixPath(picture)
    return str(path.parent), int(NUMBER.fullmatch(path.name)[1])


def _stretches(pictures: list[str]) -> Iterator[Stretch]:
    """Clips of pictures in order: as long as folder and number go on."""
    places = [_place(picture) for picture in pictures]
    starts = [row for row, (folder, number) in enumerate(places) if row == 0 or places[row - 1] != (folder, number - 1)]
    for start, stop in zip(starts, [*starts[1:], len(places)], strict=True):
        folder, number = places[start]
        yield Stretch(f"{'_'.join(PurePosixPath(folder).parts[2:])}_{number:04d}", start, stop)
