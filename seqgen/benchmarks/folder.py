"""A plain folder of labelled pictures: the way in for data sets that have no reader here.

    FOLDER/labels.json            {"one.jpg": LABEL, "sub/two.png": LABEL, ...,
                                   "clips": {"wave": ["a.jpg", "b.jpg", ...]}, "fps": 30}         the last two are optional
    FOLDER/one.jpg ...

    LABEL  "joints_m"    21 x [x, y, z]  metres, camera axes (x right, y down, z forward), or null where a joint is not known; never the wrist
           "joints_px"   21 x [x, y]     pixels, centres at integers, or null. May be left out where there are intrinsics
           "side"        "right" or "left"; right when left out
           "intrinsics"  3 x 3. Without it the joints may lie anywhere along z: the wrist at the origin will do
           "mask"        a file: bright (over 127) on the hand
           "box_px"      [x0, y0, x1, y1]; from the joints when left out

Joints: wrist, then thumb, index, middle, ring, pinky, each from palm to tip; of a left hand as it is, not mirrored. A picture is a clip of one frame,
unless a clip names it; a clip's pictures have one size and side. Unknown keys, wrong shapes and numbers that are none are refused, and so are pictures
that their EXIF says to turn: labels are of pixels as they are stored.
"""

import difflib
import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32

from seqgen.benchmarks.first_contact import check_labels
from seqgen.benchmarks.pictures import read_mask, read_rgb
from seqgen.benchmarks.pinhole import box_around_joints, projected
from seqgen.dataset.clip import LabelledClip
from seqgen.errors import UserError

log = logging.getLogger(__name__)
Array = np.ndarray
LABELS_FILE = "labels.json"
FIELDS = ("joints_m", "joints_px", "side", "intrinsics", "mask", "box_px")
MASK_ABOVE = 127
LARGEST = 1e15  # a number beyond is none: its square would not be one in single precision
LEAST_JOINTS = 2  # that are known: fewer have no extent


@dataclass(frozen=True)
class PictureLabel:
    """One picture's label, checked. Places of unknown joints hold zeros."""

    joints_m: Float32[Array, "21 3"]
    joints_px: Float32[Array, "21 2"]
    valid: Bool[Array, "21"]
    side: str
    intrinsics: Float32[Array, "3 3"] | None
    mask: str | None
    box_px: Float32[Array, "4"]


class LabelledFolder:
    """Such a folder as a `ClipSource`: its clips, then the pictures that no clip names. `missing` lists pictures and masks that are not there; clips that need one are left out."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.name = self.path.name
        table = _read_table(self.path / LABELS_FILE)
        for name in table:
            _check_inside(name, f"{self.path / LABELS_FILE}: {name}")
        clips, self.fps = table.pop("clips", {}), _positive(table.pop("fps", 30), f"{self.path / LABELS_FILE}: fps")
        self._labels = {name: _label_of(label, f"{self.path / LABELS_FILE}: {name}") for name, label in table.items()}
        wanted = dict.fromkeys(file for name, label in self._labels.items() for file in (name, label.mask) if file is not None)
        self.missing = tuple(file for file in wanted if not (self.path / file).is_file())
        self._clips = self._clips_there(_check_clips(clips, self._labels, f"{self.path / LABELS_FILE}"))
        self.verdict = "; ".join(self._check(side) for side in ("right", "left") if any(label.side == side for label in self._labels.values()))

    def __len__(self) -> int:
        return len(self._clips)

    def key(self, position: int) -> str:
        return self._clips[position][0]

    def num_frames(self, position: int) -> int:
        return len(self._clips[position][1])

    def read(self, position: int, frames: Sequence[int] | None = None) -> LabelledClip:
        key, all_names = self._clips[position]
        names = list(all_names) if frames is None else [all_names[frame] for frame in frames]
        labels = [self._labels[name] for name in names]
        rgb = read_rgb([self.path / name for name in names])
        masks = [read_mask(self.path / label.mask, above=MASK_ABOVE, size=rgb.shape[2:0:-1]) for label in labels if label.mask is not None]
        return LabelledClip(
            key=key,
            source=self.name,
            side=labels[0].side,
            fps=self.fps if len(all_names) > 1 else 0.0,
            rgb=rgb,
            joints_m=np.stack([label.joints_m for label in labels]),
            joints_px=np.stack([label.joints_px for label in labels]),
            joints_valid=np.stack([label.valid for label in labels]),
            box_px=np.stack([label.box_px for label in labels]),
            camera_kind="perspective",
            intrinsics=None if labels[0].intrinsics is None else np.stack([label.intrinsics for label in labels]),
            mask=np.stack(masks) if masks else None,
        )

    def _clips_there(self, clips: dict[str, list[str]]) -> list[tuple[str, tuple[str, ...]]]:
        absent = {name for name, label in self._labels.items() if {name, label.mask} & set(self.missing)}
        named = {name for names in clips.values() for name in names}
        wanted = [*clips.items(), *((name, [name]) for name in self._labels if name not in named)]
        there = [(key, tuple(names)) for key, names in wanted if not absent & set(names)]
        if absent:
            some = ", ".join(self.missing[:3]) + ", ..." * (len(self.missing) > 3)
            log.warning("%s: %d of %d pictures are left out, as they or their masks are missing: %s", self.path, len(absent), len(self._labels), some)
        if not there:
            raise UserError(f"{self.path}: none of the clips of {LABELS_FILE} is there" + (f"; {self.missing[0]} is missing for one" if absent else ""))
        return there

    def _check(self, side: str) -> str:
        """First contact with the hands of one side, those with all joints known."""
        whole = [label.joints_m for label in self._labels.values() if label.side == side and label.valid.all()]
        where = f"{self.path} ({side} hands)"
        return check_labels(np.stack(whole), where=where, side=side) if whole else f"{where}: no label has all joints, not checked"


def _read_table(path: Path) -> dict[str, Any]:
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: is missing") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # also of text that is none, and of numbers of thousands of digits
        raise UserError(f"{path}: is no JSON: {error}") from None
    if not isinstance(table, dict) or not table.keys() - {"clips", "fps"}:
        raise UserError(f"{path}: holds no labels; expected an object of file names with a label each")
    return table


def _label_of(label: Any, where: str) -> PictureLabel:
    if not isinstance(label, dict):
        raise UserError(f"{where}: expected an object with {', '.join(FIELDS)}")
    for name in label.keys() - set(FIELDS):
        near = difflib.get_close_matches(name, FIELDS, 1)
        raise UserError(f"{where}: unknown key {name!r}" + (f"; did you mean {near[0]}?" if near else f"; known: {', '.join(FIELDS)}"))
    intrinsics = _numbers(label["intrinsics"], (3, 3), f"{where}: intrinsics") if label.get("intrinsics") is not None else None
    joints_m, valid = _joints(label.get("joints_m"), 3, f"{where}: joints_m")
    if not valid[0]:
        raise UserError(f"{where}: joints_m has no wrist, which labels are relative to")
    if intrinsics is not None and (joints_m[valid, 2] <= 0).any():
        raise UserError(f"{where}: joints_m lie behind the camera; expected camera axes, z forward, or no intrinsics")
    if "joints_px" in label:
        joints_px, known_px = _joints(label["joints_px"], 2, f"{where}: joints_px")
        valid = valid & known_px
    elif intrinsics is not None:
        joints_px = np.zeros((21, 2), np.float32)
        joints_px[valid] = projected(joints_m[None, valid], intrinsics[None])[0]
    else:
        raise UserError(f"{where}: needs joints_px, or intrinsics to make them with")
    if valid.sum() < LEAST_JOINTS:
        raise UserError(f"{where}: only {valid.sum()} of the joints are known in space and in the picture")
    side = label.get("side", "right")
    if side not in ("right", "left"):
        raise UserError(f"{where}: side is {side!r}, expected right or left")
    box_px = box_around_joints(joints_px[None, valid], joints_m[None, valid])[0] if label.get("box_px") is None else _box(label["box_px"], f"{where}: box_px")
    if label.get("mask") is not None and not isinstance(label["mask"], str):
        raise UserError(f"{where}: mask is {label['mask']!r}, expected the name of a file")
    _check_inside(label.get("mask") or "", f"{where}: mask")
    return PictureLabel(joints_m, joints_px, valid, side, intrinsics, label.get("mask"), box_px)


def _check_inside(name: str, where: str) -> None:
    """A UserError for a file's name that leads out of the folder."""
    if name.startswith("/") or ".." in PurePosixPath(name).parts or "\0" in name:
        raise UserError(f"{where}: {name[:80]!a} is outside of the folder; names are below the folder of {LABELS_FILE}")


def _joints(value: Any, width: int, where: str) -> tuple[Float32[Array, "21 width"], Bool[Array, "21"]]:
    """Joints with zeros where they are null, and which are not."""
    if not isinstance(value, list) or len(value) != 21:
        raise UserError(f"{where}: expected a list of 21 joints, got {len(value) if isinstance(value, list) else type(value).__name__}")
    rows = [[0.0] * width if joint is None else joint for joint in value]
    return _numbers(rows, (21, width), where), np.array([joint is not None for joint in value], bool)


def _box(value: Any, where: str) -> Float32[Array, "4"]:
    box = _numbers(value, (4,), where)
    if not (box[2:] > box[:2]).all():
        raise UserError(f"{where} is {value}; expected x0, y0, x1, y1 with x0 < x1 and y0 < y1")
    return box


def _numbers(value: Any, shape: tuple[int, ...], where: str) -> Float32[Array, "..."]:
    try:
        array = np.asarray(value, np.float32)
    except (ValueError, TypeError, OverflowError):
        raise UserError(f"{where}: expected numbers of shape {shape}") from None
    if array.shape != shape or not (np.abs(array) <= LARGEST).all():
        raise UserError(f"{where}: has shape {array.shape}" + (f", expected {shape}" if array.shape != shape else " but holds a number that is not finite"))
    return array


def _positive(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise UserError(f"{where} is {value!r}, expected a positive number")
    return float(value)


def _check_clips(clips: Any, labels: dict[str, PictureLabel], where: str) -> dict[str, list[str]]:
    """Clips are lists of labelled pictures of one side, all with intrinsics and masks or all without."""
    if not isinstance(clips, dict):
        raise UserError(f"{where}: clips is a {type(clips).__name__}, expected an object of lists of file names")
    for key, names in clips.items():
        if not isinstance(names, list) or not names:
            raise UserError(f"{where}: clip {key} is no list of file names")
        for name in names:
            if not isinstance(name, str) or name not in labels:
                raise UserError(f"{where}: clip {key} names {name!r}, which has no label")
        _check_alike(((label.side, label.intrinsics is None, label.mask is None) for label in map(labels.__getitem__, names)), f"{where}: clip {key}")
    return clips


def _check_alike(kinds: Iterable[tuple[str, bool, bool]], where: str) -> None:
    if len(set(kinds)) > 1:
        raise UserError(f"{where}: its pictures differ in side, or some only have intrinsics or a mask; a clip is of one kind")
