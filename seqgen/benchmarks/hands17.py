"""HANDS 2017 (Yuan et al., CVPR 2018; research only), the frame-based task: depth of right hands, 640 x 480, each frame a clip of its own.

    HANDS2017/training/images/image_D00000001.png ... image_D00957032.png      16 bits, millimetres, 0 = nothing
    HANDS2017/training/Training_Annotation.txt                                 a line a picture: its name, then x y z of 21 joints, millimetres
    HANDS2017/frame/images/..., frame/BoundingBox.txt                          the test pictures; what stands for labels there are dummies

White space of any kind between the columns; axes are ours; the order is the set "hands17" of `seqgen.skeleton`. The folder `training` may be given itself.
Pictures are in no order of time. They are of BigHand2.2M's camera, an Intel RealSense SR300: INTRINSICS.

There is no official validation split and no public test label: "training" is all that is labelled, "val" every VAL_EVERY-th picture by its number, "train" the
others. The five subjects of one are those of the other, so "val" does not measure what a hand never seen would.

The labels are parsed once and kept in the cache (250 MB), memory-mapped; a reader sent to another process carries no labels, only their place.
"""

import logging
import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Int32

from seqgen.benchmarks.depth_pictures import read_depth_mm
from seqgen.benchmarks.first_contact import check_labels
from seqgen.benchmarks.pictures import names_in
from seqgen.benchmarks.pinhole import box_around_joints, projected
from seqgen.dataset.clip import LabelledClip
from seqgen.errors import UserError
from seqgen.files import arrays_digest, cache_folder, cached_arrays
from seqgen.skeleton import JOINT_SETS

log = logging.getLogger(__name__)
Array = np.ndarray
SplitName = Literal["training", "train", "val"]

FOLDER, LABELS_FILE = "training", "Training_Annotation.txt"
NUM_PICTURES, VAL_EVERY = 957_032, 50
SIZE = (640, 480)
INTRINSICS = ((475.065948, 0, 315.944855), (0, 475.065857, 245.287079), (0, 0, 1))
PICTURE = re.compile(r"image_D(\d{8})\.png")
CHUNK_LINES = 20_000


class Hands17:
    """A split as a `ClipSource` of stills. `missing` lists labelled pictures that are not there; `verdict` is what the first look at the labels said."""

    def __init__(self, path: str | Path, split: SplitName = "train") -> None:
        folder = _labels_folder(Path(path))
        if folder is None:
            raise UserError(f"{path}: holds no {FOLDER}/{LABELS_FILE}; unpack the training part of HANDS 2017")
        self.path, self.split, self.name = folder, split, f"HANDS17 {split}"
        self._labels: dict[str, Array] | None = None
        self._rows, self.missing = self._find_rows()
        self.verdict = check_labels(self.labels["joints_m"][self._rows], where=f"{path} ({split})", side="right")

    def __len__(self) -> int:
        return len(self._rows)

    def key(self, position: int) -> str:
        return Path(self._picture(position)).stem

    def num_frames(self, position: int) -> int:
        return 1

    def read(self, position: int, frames: Sequence[int] | None = None) -> LabelledClip:
        """The still, or it as often as asked for."""
        if frames is not None and any(frames):
            raise IndexError(f"{self.name}: {self.key(position)} has one frame, asked for {list(frames)}")
        repeats, row = 1 if frames is None else len(frames), int(self._rows[position])
        depth = read_depth_mm(self.path / "images" / self._picture(position), size=SIZE)
        joints_m = np.repeat(self.labels["joints_m"][row][None], repeats, 0)
        intrinsics = np.repeat(np.array(INTRINSICS, np.float32)[None], repeats, 0)
        joints_px = projected(joints_m, intrinsics)
        return LabelledClip(
            key=self.key(position),
            source="HANDS17",
            side="right",
            fps=0.0,
            rgb=None,
            joints_m=joints_m,
            joints_px=joints_px,
            joints_valid=np.ones((repeats, 21), bool),
            box_px=box_around_joints(joints_px, joints_m),
            camera_kind="perspective",
            intrinsics=intrinsics,
            depth_tenth_mm=np.repeat(depth[None], repeats, 0),
        )

    @property
    def labels(self) -> dict[str, Array]:
        """`joints_m` (lines, 21, 3) in our order and `picture` (lines,), the pictures' numbers; from the cache when they have been parsed before."""
        if self._labels is None:
            file = self.path / LABELS_FILE
            stamp = np.array([f"{file.resolve()} {file.stat().st_size} {file.stat().st_mtime_ns}"])
            self._labels = cached_arrays(cache_folder() / "hands17" / arrays_digest(stamp)[:24], ("joints_m", "picture"), lambda: parse_labels(file))
        return self._labels

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_labels": None}

    def _picture(self, position: int) -> str:
        return _picture(int(self.labels["picture"][self._rows[position]]))

    def _find_rows(self) -> tuple[Int32[Array, "pictures"], tuple[str, ...]]:
        """Lines of the split whose pictures are there, and the names of the pictures that are not."""
        picture = self.labels["picture"]
        if len(picture) != NUM_PICTURES:
            log.warning("%s: has %d labels, the published file %d", self.path / LABELS_FILE, len(picture), NUM_PICTURES)
        rows = np.flatnonzero((self.split == "training") | ((picture % VAL_EVERY == 0) == (self.split == "val"))).astype(np.int32)
        there = names_in(self.path / "images")
        present = np.array([_picture(number) in there for number in picture[rows].tolist()], bool)
        missing = tuple(f"images/{_picture(number)}" for number in picture[rows[~present]].tolist())
        if not present.any():
            what = f"none of the {len(rows)} pictures is there, {missing[0]} for one" if missing else f"no picture is of the split {self.split}"
            raise UserError(f"{self.path}: {what}; unpack the data set again, or ask for another split")
        if missing:
            log.warning("%s: %d of %d pictures are missing and left out: %s%s", self.path, len(missing), len(rows), ", ".join(missing[:3]), ", ..." * (len(missing) > 3))
        return rows[present], missing


def looks_like_hands17(path: Path) -> bool:
    """Whether the folder, or its `training`, has the labels."""
    return _labels_folder(path) is not None


def _labels_folder(path: Path) -> Path | None:
    return next((folder for folder in (path / FOLDER, path) if (folder / LABELS_FILE).is_file()), None)


def _picture(number: int) -> str:
    return f"image_D{number:08d}.png"


def parse_labels(path: Path) -> dict[str, Array]:
    """Joints in our order and metres, and the number of each line's picture. A UserError names the line that is wrong."""
    log.info("%s: parsing the labels, once", path)
    joints, pictures = [], []
    with open(path, encoding="ascii", errors="replace") as file:
        numbered = ((number, line) for number, line in enumerate(file, 1) if line.strip())
        while chunk := list(islice(numbered, CHUNK_LINES)):
            rows = [_columns(line, f"{path}, line {number}") for number, line in chunk]
            pictures.append(np.array([picture for picture, _ in rows], np.int32))
            joints.append(np.array([numbers for _, numbers in rows]).astype(np.float32))
    if not joints:
        raise UserError(f"{path}: holds no labels")
    joints_mm = np.concatenate(joints).reshape(-1, 21, 3)
    return {"joints_m": joints_mm[:, JOINT_SETS["hands17"].places()] * np.float32(1e-3), "picture": np.concatenate(pictures)}


def _columns(line: str, where: str) -> tuple[int, list[float]]:
    """The number of the picture and those of its joints."""
    name, *words = line.split()
    found = PICTURE.fullmatch(name)
    if found is None:
        raise UserError(f"{where}: begins with {name[:40]!a}, expected a picture as image_D00000001.png")
    if len(words) != 63:
        raise UserError(f"{where}: holds a name and {len(words)} numbers, expected 63 (x y z of 21 joints)")
    try:
        return int(found[1]), [float(word) for word in words]
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None
