"""Readers of pose annotations. Each gives `Annotations`: right hands, canonical joints, metres, in the camera frame of their source.

    hands17      text, one line a frame: a picture's name, then 63 numbers (x y z of 21 joints), mm, any white space between; HANDS 2017 order
    bighand      BigHand2.2M: the release's folder, a Subject folder of it, or one file; lines as in hands17, a subject a folder
    npz          `joints_m` or `joints_mm` (N, 21, 3); optional `joint_set` (a name of `seqgen.skeleton.JOINT_SETS`), `subject` (N,), `licence`
    seqhand-npy  (N, 21, 3) or (N, 63) of any uniform scale, MANO's joint order with tips: what SeqHAND's authors give out

To add one: write a function of a path that gives `RawAnnotations`, and name it in READERS (and in `PosesConfig.format`).
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int32

from seqgen.errors import UserError
from seqgen.poses.bank import Annotations
from seqgen.poses.first_contact import check_annotations
from seqgen.poses.formats.arrays import read_npz, read_seqhand_npy
from seqgen.poses.formats.bighand import annotation_files as bighand_files
from seqgen.poses.formats.bighand import read_bighand
from seqgen.poses.formats.raw import CHUNK_ROWS, RawAnnotations
from seqgen.poses.formats.text import read_hands17
from seqgen.skeleton import JOINT_SETS

Array = np.ndarray
READERS: dict[str, Callable[[Path], RawAnnotations]] = {"hands17": read_hands17, "npz": read_npz, "bighand": read_bighand, "seqhand-npy": read_seqhand_npy}
FOLDERS = ("bighand",)  # formats whose annotations may be a folder


def annotation_files(path: Path, format_name: str) -> list[Path]:
    """The files that annotations are read from. A UserError where there are none."""
    _check_place(path, format_name)
    return bighand_files(path)[0] if format_name == "bighand" else [path]


def read_annotations(path: Path, format_name: str, *, side: str = "right") -> tuple[Annotations, str]:
    """The annotations of a file, checked, and the verdict of the checks in one line. A UserError when the file is not what it is said to be."""
    if side not in ("right", "left"):
        raise UserError(f"{path}: side is {side!r}, expected right or left")
    _check_place(path, format_name)
    raw = READERS[format_name](path)
    metres_per_unit, verdict = check_annotations(raw.joints, where=str(path), joint_set=raw.joint_set, metres_per_unit=raw.metres_per_unit, side=side, remarks=raw.remarks)
    joints = _canonical_m(raw, metres_per_unit, side)
    name = f"{format_name}:{path.absolute().name}"
    return Annotations(name, raw.licence, raw.copies_allowed, joints, _subject_numbers(raw.subject, len(joints))), verdict


def _check_place(path: Path, format_name: str) -> None:
    if format_name not in READERS:
        raise UserError(f"{format_name}: no such annotation format; known are {', '.join(READERS)}")
    if path.is_dir() and format_name not in FOLDERS:
        raise UserError(f"{path}: is a folder; {format_name} is a file")
    if not path.exists():
        raise UserError(f"{path}: no such annotation {'folder or file' if format_name in FOLDERS else 'file'}")
    try:
        any(path.iterdir()) if path.is_dir() else open(path, "rb").close()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None


def _canonical_m(raw: RawAnnotations, metres_per_unit: float, side: str) -> Float[Array, "rows 21 3"]:
    """Right hands in canonical order and metres, converted in pieces; left ones are mirrored."""
    scale = np.array([-1 if side == "left" else 1, 1, 1], raw.joints.dtype) * raw.joints.dtype.type(metres_per_unit)
    joints = np.empty(raw.joints.shape, raw.joints.dtype)
    for start in range(0, len(joints), CHUNK_ROWS):
        piece = slice(start, start + CHUNK_ROWS)
        joints[piece] = JOINT_SETS[raw.joint_set].to_canonical(raw.joints[piece]) * scale
    return joints


def _subject_numbers(subject: Array | None, num_rows: int) -> Int32[Array, "rows"]:
    """Subjects as 0, 1, ... in the order of their names; -1 where the source does not say, or says a negative number."""
    numbers = np.full(num_rows, -1, np.int32)
    if subject is not None:
        known = subject >= 0 if subject.dtype.kind in "iuf" else np.ones(num_rows, bool)
        numbers[known] = np.unique(subject[known], return_inverse=True)[1]
    return numbers
