"""FreiHAND version 2 (Zimmermann et al., ICCV 2019; research only): single right hands with joints, MANO's surface and masks, as clips of one frame.

    FreiHAND_pub_v2/
      training/rgb/%08d.jpg        ids 0..32,559 before a green screen, then three more versions of the same pictures, +32,560 each: VERSIONS
      training/mask/%08d.jpg       32,560, for all four versions
      evaluation/rgb/%08d.jpg      3,960
      training_{K,xyz,verts,mano,scale}.json, evaluation_{K,scale,xyz,verts}.json      lists of 32,560 or 3,960 entries

K 3 x 3; xyz (21,3) and verts (778,3) in metres in the camera's frame, joints in our order; scale: length in metres of the middle finger's first bone
(joints 9 to 10); mano: 48 pose, 10 shape, 2 pixels and 1 scale that place joint 9. Tips are single vertices of MANO's surface (FREIHAND_TIPS; those of
ring and pinky are not the ones of `seqgen.hand.mano`, some millimetres away). The mask is of what is before the screen: a held object may belong to it.

Hands are in the middle of these pictures. SeqHAND moved them about at random (section 5); here that is the augmentation's part.

The labels are parsed once and kept in the cache (320 MB), memory-mapped; a reader sent to another process carries no labels, only their place.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Float32, Int32

from seqgen.benchmarks.first_contact import check_labels
from seqgen.benchmarks.json_list import read_arrays
from seqgen.benchmarks.pictures import names_in, read_mask, read_rgb
from seqgen.benchmarks.pinhole import box_around_joints, box_of, projected
from seqgen.dataset.clip import LabelledClip
from seqgen.errors import UserError
from seqgen.files import arrays_digest, cache_folder, cached_arrays

log = logging.getLogger(__name__)
Array = np.ndarray
SplitName = Literal["training", "evaluation"]

VERSIONS = ("gs", "hom", "sample", "auto")  # green screen, homogenised, and two automatic colourings, in the order of their ids
NUM_UNIQUE = {"training": 32_560, "evaluation": 3_960}
SHAPES = {"K": (3, 3), "xyz": (21, 3), "scale": (), "verts": (778, 3), "mano": (61,)}
NEEDED = {"training": ("K", "xyz", "scale", "verts", "mano"), "evaluation": ("K", "xyz", "scale")}
MASK_ABOVE = 200  # of 255: the masks are JPEGs
FREIHAND_TIPS = (744, 320, 443, 555, 672)  # thumb to pinky
MOST_SCALE_OFF_M = 0.002
MOST_TIPS_OFF_M = 0.015


@dataclass(frozen=True)
class FreihandLabels:
    """The lists of one split as read-only arrays. `vertices_m` and `mano` may be missing in the evaluation split."""

    intrinsics: Float32[Array, "samples 3 3"]
    joints_m: Float32[Array, "samples 21 3"]
    scale_m: Float32[Array, "samples"]
    vertices_m: Float32[Array, "samples 778 3"] | None
    mano: Float32[Array, "samples 61"] | None


class Freihand:
    """A split of FreiHAND as a `ClipSource`: the versions asked for, one after the other. `missing` lists pictures and masks that are not there,
    `verdict` is what the first look at the labels said.

    MANO's pose is relative to its mean pose (`flat_hand_mean=False`), which is known with the user's own MANO files only: `pose_mean` is its 45 numbers
    (`HandModel.pose_mean`). Without it clips have `betas` and vertices but no `pose`. With it the pose is relative to the template, its global
    orientation as in the file: the authors' viewer draws it with K and no other camera, so it is the camera frame's; others found it a
    little off the joints (I2L-MeshNet, issue 114), so trust joints and vertices first.
    """

    def __init__(self, path: str | Path, split: SplitName = "training", *, versions: Sequence[str] = VERSIONS, pose_mean: Float[Array, "45"] | None = None) -> None:
        self.path, self.split, self.name = Path(path), split, f"FreiHAND {split}"
        self.pose_mean = pose_mean
        self._labels: FreihandLabels | None = None
        _check_files(self.path, split)
        labels = self.labels
        self._ids, self.missing = _ids_there(self.path, split, versions if split == "training" else VERSIONS[:1], len(labels.joints_m))
        self.missing += _masks_missing(self.path, len(labels.joints_m)) if split == "training" else ()
        self.verdict = f"{_check(labels, self.path, split)}; pose {'unknown' if pose_mean is None or labels.mano is None else 'from MANO and its mean'}"

    def __len__(self) -> int:
        return len(self._ids)

    def key(self, position: int) -> str:
        return f"{self.split}_{self._ids[position]:08d}"

    def num_frames(self, position: int) -> int:
        return 1

    def read(self, position: int, frames: Sequence[int] | None = None) -> LabelledClip:
        """The still, or it as often as asked for."""
        number, repeats = int(self._ids[position]), 1 if frames is None else len(frames)
        if frames is not None and any(frames):
            raise IndexError(f"{self.name}: {self.key(position)} has one frame, asked for {list(frames)}")
        rgb = read_rgb([self.path / self.split / "rgb" / f"{number:08d}.jpg"])
        known = self._labels_of(number % NUM_UNIQUE[self.split], rgb.shape[2:0:-1])
        repeated = {name: np.repeat(array[None], repeats, 0) for name, array in known.items()}
        betas = None if self.labels.mano is None else self.labels.mano[number % NUM_UNIQUE[self.split], 48:58].copy()
        return LabelledClip(
            key=self.key(position),
            source="FreiHAND",
            side="right",
            fps=0.0,
            rgb=np.repeat(rgb, repeats, 0),
            camera_kind="perspective",
            hand="" if self.labels.vertices_m is None else "mano",
            betas=betas,
            **repeated,
        )

    @property
    def labels(self) -> FreihandLabels:
        """All labels of the split; from the cache when they have been parsed before."""
        if self._labels is None:
            self._labels = _read_labels(self.path, self.split)
        return self._labels

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_labels": None}

    def _labels_of(self, sample: int, size: tuple[int, int]) -> dict[str, Array]:
        """What is known of one hand, by the fields of `LabelledClip`."""
        labels = self.labels
        joints_m, intrinsics = labels.joints_m[sample], labels.intrinsics[sample]
        joints_px = projected(joints_m[None], intrinsics[None])
        box_px = box_around_joints(joints_px, joints_m[None])
        known = {"joints_m": joints_m, "joints_px": joints_px[0], "joints_valid": np.ones(21, bool), "intrinsics": intrinsics}
        if labels.vertices_m is not None:
            known["vertices_m"] = labels.vertices_m[sample]
            box_px = box_of(projected(labels.vertices_m[None, sample], intrinsics[None]))
        if labels.mano is not None and self.pose_mean is not None:
            known["pose"] = (labels.mano[sample, :48] + np.concatenate([np.zeros(3), self.pose_mean])).astype(np.float32).reshape(16, 3)
        mask = self.path / self.split / "mask" / f"{sample:08d}.jpg"
        if mask.is_file():
            known["mask"] = read_mask(mask, above=MASK_ABOVE, size=size)
        return known | {"box_px": box_px[0]}


def _check_files(path: Path, split: SplitName) -> None:
    """A UserError when this is no FreiHAND, or seems to be its first version, whose MANO parameters do not fit: known by the vertices, which it has not."""
    lacking = [f"{split}_{kind}.json" for kind in NEEDED[split] if not (path / f"{split}_{kind}.json").is_file()]
    if "training_verts.json" in lacking and len(lacking) <= 2 and "training_mano.json" not in lacking:
        raise UserError(f"{path}: looks like FreiHAND version 1 (before 22 October 2019): {', '.join(lacking)} missing; download version 2, FreiHAND_pub_v2")
    if lacking:
        hint = "; the evaluation labels come in an archive of their own, FreiHAND_pub_v2_eval" if split == "evaluation" else ""
        raise UserError(f"{path}: no {split} split of FreiHAND version 2: {', '.join(lacking)} missing{hint}")


def _read_labels(path: Path, split: str) -> FreihandLabels:
    """Parsed once; the cache knows the files by place, size and date."""
    files = {kind: path / f"{split}_{kind}.json" for kind in SHAPES if (path / f"{split}_{kind}.json").is_file()}
    stamp = [f"{file.resolve()} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files.values()]
    folder = cache_folder() / "freihand" / arrays_digest(np.array(stamp))[:24]
    arrays = cached_arrays(folder, tuple(files), lambda: _parse(files))
    return FreihandLabels(arrays["K"], arrays["xyz"], arrays["scale"], arrays.get("verts"), arrays.get("mano"))


def _parse(files: dict[str, Path]) -> dict[str, Array]:
    """The lists as arrays, all of one length."""
    log.info("%s: parsing the labels, once", files["xyz"].parent)
    arrays = {kind: read_arrays(file, SHAPES[kind]) for kind, file in files.items()}
    for kind, array in arrays.items():
        if len(array) != len(arrays["xyz"]):
            raise UserError(f"{files[kind]}: has {len(array)} entries, {files['xyz'].name} {len(arrays['xyz'])}; unpack the data set again")
    return arrays


def _ids_there(path: Path, split: str, versions: Sequence[str], num_samples: int) -> tuple[Int32[Array, "pictures"], tuple[str, ...]]:
    """Ids of the pictures of these versions that are there, and the names of those that are not."""
    unknown = [version for version in versions if version not in VERSIONS]
    if unknown or not versions:
        raise UserError(f"{path}: FreiHAND has no version {unknown[0] if unknown else ''!r} of its pictures; it has {', '.join(VERSIONS)}")
    if num_samples != NUM_UNIQUE[split]:
        log.warning("%s: %s split has %d labels, the published one %d", path, split, num_samples, NUM_UNIQUE[split])
    wanted = np.concatenate([VERSIONS.index(version) * NUM_UNIQUE["training"] + np.arange(num_samples, dtype=np.int32) for version in versions])
    there = names_in(path / split / "rgb")
    present = np.array([f"{number:08d}.jpg" in there for number in wanted], bool)
    missing = tuple(f"{split}/rgb/{number:08d}.jpg" for number in wanted[~present])
    if len(missing) == len(wanted):
        raise UserError(f"{path}: none of the {len(wanted)} pictures is there, {missing[0]} for one; unpack the data set again, or ask for other versions")
    if missing:
        log.warning("%s: %d of %d pictures are missing and left out: %s%s", path, len(missing), len(wanted), ", ".join(missing[:3]), ", ..." * (len(missing) > 3))
    return wanted[present], missing


def _masks_missing(path: Path, num_samples: int) -> tuple[str, ...]:
    """Names of the masks of the training split that are not there; their pictures are read without."""
    there = names_in(path / "training" / "mask")
    missing = tuple(f"training/mask/{name}" for name in (f"{number:08d}.jpg" for number in range(num_samples)) if name not in there)
    if missing:
        log.warning("%s: %d of %d masks are missing: %s%s", path, len(missing), num_samples, ", ".join(missing[:3]), ", ..." * (len(missing) > 3))
    return missing


def _check(labels: FreihandLabels, path: Path, split: str) -> str:
    """First contact: unit, order, side; and whether the lists belong to one another."""
    verdict = check_labels(labels.joints_m, where=f"{path} ({split})", side="right")
    every = slice(None, None, max(1, len(labels.joints_m) // 500))
    joints_m = labels.joints_m[every]
    off_m = float(np.median(np.abs(np.linalg.norm(joints_m[:, 10] - joints_m[:, 9], axis=-1) - labels.scale_m[every])))
    if off_m > MOST_SCALE_OFF_M:
        raise UserError(f"{path}: {split}_scale.json is {off_m * 1e3:.0f} mm off the middle finger's first bone in {split}_xyz.json; they are of different releases")
    if labels.vertices_m is not None:
        tips_m = labels.vertices_m[every][:, list(FREIHAND_TIPS)]
        off_m = float(np.median(np.linalg.norm(tips_m - joints_m[:, [4, 8, 12, 16, 20]], axis=-1)))
        if off_m > MOST_TIPS_OFF_M:
            raise UserError(f"{path}: tips in {split}_verts.json are {off_m * 1e3:.0f} mm off those in {split}_xyz.json; they are of different releases, or of version 1")
    return f"{verdict}; vertices {'given' if labels.vertices_m is not None else 'not given'}"
