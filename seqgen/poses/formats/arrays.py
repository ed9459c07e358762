"""Annotations as numpy files: `.npz` in a format of ours, and the `.npy` of SeqHAND's authors. Objects are never unpickled."""

import zipfile
from pathlib import Path

import numpy as np
from jaxtyping import Float

from seqgen import untrusted
from seqgen.errors import UserError
from seqgen.poses.formats.raw import CHUNK_ROWS, LARGEST, RawAnnotations
from seqgen.skeleton import JOINT_SETS
from seqgen.untrusted import Damaged, npy_header, npz_names

Array = np.ndarray
NPY_MAGIC = b"\x93NUMPY"
ARRAYS = ("joints_m", "joints_mm", "joint_set", "subject", "licence")


def read_npz(path: Path) -> RawAnnotations:
    """Joints in a numpy archive; see the head of the package."""
    names, arrays = _archive(path)
    unit = next((name for name in ("joints_m", "joints_mm") if name in arrays), None)
    if unit is None:
        raise UserError(f"{path}: has no array joints_m or joints_mm (N, 21, 3); it holds {', '.join(names[:10]) or 'nothing'}")
    joints, subject = arrays[unit], arrays.get("subject")
    if joints.ndim != 3 or joints.shape[1:] != (21, 3) or joints.dtype.kind not in "fiu":
        raise UserError(f"{path}: {unit} is {joints.dtype} {joints.shape}, expected numbers of shape (N, 21, 3)")
    if subject is not None and subject.shape != joints.shape[:1]:
        raise UserError(f"{path}: subject has shape {subject.shape}, expected ({len(joints)},)")
    joint_set = str(arrays.get("joint_set", "canonical"))
    if joint_set not in JOINT_SETS or not JOINT_SETS[joint_set].exact:
        raise UserError(f"{path}: joint_set is {joint_set!r}, expected one of {', '.join(n for n, s in JOINT_SETS.items() if s.exact)}")
    licence = str(arrays.get("licence", "not stated"))
    dtype = np.float32 if unit == "joints_m" and joints.dtype == np.float32 else float  # metres stay as they are: half the memory, the same bits
    return RawAnnotations(_finite(joints, path, dtype), 1.0 if unit == "joints_m" else 1e-3, joint_set, subject, licence, True)


def _archive(path: Path) -> tuple[list[str], dict[str, Array]]:
    """The names of all arrays, and those that are of use."""
    if not zipfile.is_zipfile(path):
        raise UserError(f"{path}: not a .npz archive, or cut short; numpy.savez writes one")
    try:
        return npz_names(path), untrusted.read_npz(path, ARRAYS)
    except (OSError, Damaged) as error:
        raise UserError(f"{path}: not a readable .npz of plain arrays: {error}") from None


def read_seqhand_npy(path: Path) -> RawAnnotations:
    """`normalized_bh_inMANOorder.npy`, by SeqHAND's authors: BigHand2.2M, normalised nobody says how, in MANO's joint order with the tips last.

    The order is left to the first-contact check, the scale is taken from the palm.
    """
    array = _mapped(path)
    if array.shape[1:] not in ((21, 3), (63,)) or array.dtype.kind not in "fiu":
        raise UserError(f"{path}: is {array.dtype} {array.shape}, expected numbers of shape (N, 21, 3) or (N, 63)")
    licence = "BigHand2.2M, normalised by SeqHAND's authors: research only, no redistribution"
    return RawAnnotations(_finite(array, path, np.float32).reshape(-1, 21, 3), None, "mano", None, licence, False)


def _mapped(path: Path) -> Array:
    with open(path, "rb") as file:
        if file.read(len(NPY_MAGIC)) != NPY_MAGIC:
            raise UserError(f"{path}: not a .npy file{'; a .npz is read by the format npz' if zipfile.is_zipfile(path) else ''}")
        file.seek(0)
        try:
            header = npy_header(file)
            there = path.stat().st_size - header.offset
            if header.num_bytes > there:
                raise Damaged(f"its header says {header.shape} of {header.dtype}, {header.num_bytes:,} bytes, and {there:,} follow")
        except Damaged as error:
            raise UserError(f"{path}: not a readable .npy of plain numbers, or cut short: {error}") from None
    if not header.num_bytes:
        return np.empty(header.shape, header.dtype)
    return np.memmap(path, header.dtype, "r", header.offset, header.shape, header.order)


def _finite(array: Array, path: Path, dtype: type) -> Float[Array, "..."]:
    """A copy of that type, made in pieces; the row of the first number that is none is named."""
    copy = np.empty(array.shape, dtype)
    for start in range(0, len(array), CHUNK_ROWS):
        piece = np.asarray(array[start : start + CHUNK_ROWS], float)
        bad = ~(np.abs(piece) <= LARGEST).reshape(len(piece), -1).all(1)
        if bad.any():
            raise UserError(f"{path}: row {start + int(bad.argmax())} holds a coordinate that is not finite")
        copy[start : start + len(piece)] = piece
    return copy
