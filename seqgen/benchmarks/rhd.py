"""RHD, the Rendered Hand Pose Dataset v1.1 (Zimmermann and Brox, ICCV 2017; research only): rendered people, 320 x 320, stills.

    RHD_published_v2/{training,evaluation}/
        color/%05d.png
        mask/%05d.png                  0 background, 1 the person, 2..17 parts of the left hand, 18..33 of the right one
        depth/%05d.png                 not read
        anno_{training,evaluation}.pickle      {number: {"xyz": (42,3) metres, "uv_vis": (42,3) x, y in pixels, 1 = visible, "K": (3,3)}}

41,258 and 2,728 pictures. Of the 42 joints the left hand's come first; each hand is wrist, then thumb to pinky, each from TIP to palm: the set "rhd" of
`seqgen.skeleton`. A clip is of one hand, by the protocol of the authors (hand3d) the one of which the mask shows more pixels, the right one when equal; its box
is that of its pixels. "Visible" is a guess by the mask around each joint (hand3d, issue 32).

The labels are read as data, nothing in the pickle is run; once, then they are kept in the cache (70 MB), memory-mapped.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float32, Int32

from seqgen.benchmarks.array_pickle import array_of, read_pickle
from seqgen.benchmarks.first_contact import check_labels
from seqgen.benchmarks.pictures import names_in, read_mask, read_rgb
from seqgen.benchmarks.pinhole import box_around_joints
from seqgen.dataset.clip import LabelledClip
from seqgen.errors import UserError
from seqgen.files import arrays_digest, cache_folder, cached_arrays
from seqgen.skeleton import JOINT_SETS

log = logging.getLogger(__name__)
Array = np.ndarray
SplitName = Literal["training", "evaluation"]

NUM_PICTURES = {"training": 41_258, "evaluation": 2_728}
SIDES = ("left", "right")  # in the order of the labels
PERSON, LEFT_PARTS_END = 1, 17  # of the mask's values
LABEL_SHAPES = {"xyz": (42, 3), "uv_vis": (42, 3), "K": (3, 3)}
ARRAYS = ("number", *LABEL_SHAPES)


class Rhd:
    """A split as a `ClipSource` of stills. `missing` lists pictures and masks that are not there, whose stills are left out.

    With `hidden_valid=False` joints that are not visible are no labels, neither taught nor scored, as in some published evaluations.
    """

    def __init__(self, path: str | Path, split: SplitName = "training", *, hidden_valid: bool = True) -> None:
        self.path, self.split, self.hidden_valid, self.name = Path(path), split, hidden_valid, f"RHD {split}"
        self._labels: dict[str, Array] | None = None
        if not labels_file(self.path, split).is_file():
            raise UserError(f"{path}: no {split} split of RHD: {labels_file(self.path, split).relative_to(path)} is not there")
        self._rows, self.missing = self._find_rows()
        joints_m = self.labels["xyz"][self._rows]
        self.verdict = "; ".join(check_labels(_of_side(joints_m, side), where=f"{path} ({split}, {side})", side=side) for side in SIDES)

    def __len__(self) -> int:
        return len(self._rows)

    def key(self, position: int) -> str:
        return f"{self.split}_{self.labels['number'][self._rows[position]]:05d}"

    def num_frames(self, position: int) -> int:
        return 1

    def read(self, position: int, frames: Sequence[int] | None = None) -> LabelledClip:
        """The still, or it as often as asked for."""
        if frames is not None and any(frames):
            raise IndexError(f"{self.name}: {self.key(position)} has one frame, asked for {list(frames)}")
        row, repeats = self._rows[position], 1 if frames is None else len(frames)
        color, mask = (self.path / self.split / name for name in _pictures(int(self.labels["number"][row])))
        rgb = read_rgb([color])
        side, pixels = dominant_hand(mask, rgb.shape[2:0:-1])
        joints_m, uv_vis = (_of_side(self.labels[name][row], side) for name in ("xyz", "uv_vis"))
        seen = pixels.any()
        known = {
            "rgb": rgb[0],
            "joints_m": joints_m,
            "joints_px": uv_vis[:, :2],
            "joints_valid": (uv_vis[:, 2] > 0.5) | self.hidden_valid,
            "box_px": _box_of_pixels(pixels) if seen else box_around_joints(uv_vis[None, :, :2], joints_m[None])[0],
            "intrinsics": self.labels["K"][row],
            "mask": pixels,
        }
        repeated = {name: np.repeat(array[None], repeats, 0) for name, array in known.items()}
        return LabelledClip(key=self.key(position), source="RHD", side=side, fps=0.0, camera_kind="perspective", **repeated)

    @property
    def labels(self) -> dict[str, Array]:
        """`number` (pictures,) and the arrays of LABEL_SHAPES with that axis before; from the cache when they have been read before."""
        if self._labels is None:
            file = labels_file(self.path, self.split)
            stamp = np.array([f"{file.resolve()} {file.stat().st_size} {file.stat().st_mtime_ns}"])
            self._labels = cached_arrays(cache_folder() / "rhd" / arrays_digest(stamp)[:24], ARRAYS, lambda: read_labels(file))
        return self._labels

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_labels": None}

    def _find_rows(self) -> tuple[Int32[Array, "pictures"], tuple[str, ...]]:
        """Rows of the labels whose picture and mask are there, and the names of those that are not."""
        numbers = self.labels["number"].tolist()
        if len(numbers) != NUM_PICTURES[self.split]:
            log.warning("%s: %s split has %d labels, the published one %d", self.path, self.split, len(numbers), NUM_PICTURES[self.split])
        there = {f"{kind}/{name}" for kind in ("color", "mask") for name in names_in(self.path / self.split / kind)}
        absent = [[name for name in _pictures(number) if name not in there] for number in numbers]
        missing = tuple(f"{self.split}/{name}" for names in absent for name in names)
        rows = np.array([row for row, names in enumerate(absent) if not names], np.int32)
        if len(rows) == 0:
            raise UserError(f"{self.path}: of none of the {len(numbers)} labels picture and mask are there, {missing[0]} is missing for one; unpack the data set again")
        if missing:
            log.warning("%s: %d files are missing and left out: %s%s", self.path, len(missing), ", ".join(missing[:3]), ", ..." * (len(missing) > 3))
        return rows, missing


def labels_file(path: Path, split: SplitName) -> Path:
    return path / split / f"anno_{split}.pickle"


def looks_like_rhd(path: Path) -> bool:
    """Whether the folder has labels of one of RHD's splits."""
    return any(labels_file(path, split).is_file() for split in NUM_PICTURES)


def _pictures(number: int) -> tuple[str, str]:
    """Colours and mask."""
    return f"color/{number:05d}.png", f"mask/{number:05d}.png"


def _of_side(joints: Float32[Array, "*rows 42 axes"], side: str) -> Float32[Array, "*rows 21 axes"]:
    """One hand's joints in our order."""
    return joints[..., 21 * SIDES.index(side) + JOINT_SETS["rhd"].places(), :]


def dominant_hand(mask: Path, size: tuple[int, int]) -> tuple[str, Bool[Array, "height width"]]:
    """The hand of which more is seen, and its pixels."""
    hands, right = (read_mask(mask, above=above, size=size) for above in (PERSON, LEFT_PARTS_END))
    left = hands & ~right
    return ("left", left) if left.sum() > right.sum() else ("right", right)


def _box_of_pixels(pixels: Bool[Array, "height width"]) -> Float32[Array, "4"]:
    rows, columns = np.flatnonzero(pixels.any(1)), np.flatnonzero(pixels.any(0))
    return np.array([columns[0], rows[0], columns[-1], rows[-1]], np.float32)


def read_labels(path: Path) -> dict[str, Array]:
    """The labels of a split as arrays, by number. A UserError names the entry that is wrong."""
    log.info("%s: reading the labels, once", path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    content = read_pickle(data, str(path))
    if not content or not all(type(number) is int and 0 <= number < 2**31 for number in content):
        raise UserError(f"{path}: expected a dictionary of pictures by number; these are not RHD's labels")
    numbers = sorted(content)
    arrays = {name: np.stack([_array(content[number], name, f"{path}: entry {number}") for number in numbers]) for name in LABEL_SHAPES}
    return {"number": np.array(numbers, np.int32), **arrays}


def _array(entry: object, name: str, where: str) -> Float32[Array, "..."]:
    if not isinstance(entry, dict) or name not in entry:
        raise UserError(f"{where} has no {name}; these are not RHD's labels")
    try:
        array = array_of(entry[name])
    except ValueError as error:
        raise UserError(f"{where}: {name} {error}") from None
    if array.shape != LABEL_SHAPES[name]:
        raise UserError(f"{where}: {name} has shape {array.shape}, expected {LABEL_SHAPES[name]}")
    return array.astype(np.float32)
