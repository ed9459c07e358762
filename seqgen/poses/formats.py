"""Readers of pose annotations. Each gives `Annotations`: right hands, canonical joints, metres, in the camera frame of their source.

    hands17   text, one line a frame: a picture's name, then 63 numbers (x y z of 21 joints), mm, any white space between; HANDS 2017 order
    npz       `joints_m` or `joints_mm` (N, 21, 3); optional `joint_set` (a name of `seqgen.skeleton.JOINT_SETS`), `subject` (N,), `licence`

To add one: write a function of a path that gives `RawAnnotations`, and name it in READERS.
"""

import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int32

from seqgen.errors import UserError
from seqgen.files import cache_folder, cached_arrays, file_digest, is_writable
from seqgen.poses.bank import Annotations
from seqgen.poses.first_contact import check_annotations
from seqgen.skeleton import JOINT_SETS

Array = np.ndarray
CHUNK_LINES = 20_000
LARGEST = float(np.finfo(np.float32).max)
MIRROR = np.array([-1.0, 1.0, 1.0])


@dataclass(frozen=True)
class RawAnnotations:
    """What stands in a file: joints in its own order and unit, and what is known of it. `subject` is None where the file does not say."""

    joints: Float[Array, "rows 21 3"]
    metres_per_unit: float
    joint_set: str
    subject: Array | None
    licence: str
    copies_allowed: bool


def read_annotations(path: Path, format_name: str, *, side: str = "right") -> tuple[Annotations, str]:
    """The annotations of a file, checked, and the verdict of the checks in one line. A UserError when the file is not what it is said to be."""
    if format_name not in READERS:
        raise UserError(f"{format_name}: no such annotation format; known are {', '.join(READERS)}")
    if side not in ("right", "left"):
        raise UserError(f"{path}: side is {side!r}, expected right or left")
    if path.is_dir():
        raise UserError(f"{path}: is a folder; {format_name} is a file")
    if not path.exists():
        raise UserError(f"{path}: no such annotation file")
    _check_readable(path)
    raw = READERS[format_name](path)
    verdict = check_annotations(raw.joints, where=str(path), joint_set=raw.joint_set, metres_per_unit=raw.metres_per_unit, side=side)
    joints = JOINT_SETS[raw.joint_set].to_canonical(raw.joints) * raw.metres_per_unit
    mirrored = joints * MIRROR if side == "left" else joints
    return Annotations(f"{format_name}:{path.name}", raw.licence, raw.copies_allowed, mirrored, _subject_numbers(raw.subject, len(joints))), verdict


def _check_readable(path: Path) -> None:
    try:
        open(path, "rb").close()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None


def _subject_numbers(subject: Array | None, num_rows: int) -> Int32[Array, "rows"]:
    """Subjects as 0, 1, ... in the order of their names; -1 where the source does not say, or says a negative number."""
    numbers = np.full(num_rows, -1, np.int32)
    if subject is not None:
        known = subject >= 0 if subject.dtype.kind in "iuf" else np.ones(num_rows, bool)
        numbers[known] = np.unique(subject[known], return_inverse=True)[1]
    return numbers


def read_hands17(path: Path) -> RawAnnotations:
    """HANDS 2017 text. Parsed once; the numbers are kept beside the file, or in the cache folder when that place is read-only."""
    name = f"{path.name}.seqgen-{file_digest(path)[:16]}"
    folder = path.parent / f".{name}" if is_writable(path.parent) else cache_folder() / "annotations" / name
    joints = cached_arrays(folder, lambda: {"joints": _parse_text(path)})["joints"]
    return RawAnnotations(joints, 1e-3, "hands17", None, "HANDS2017: research only, no redistribution", False)


def read_npz(path: Path) -> RawAnnotations:
    """Joints in a numpy archive; see the head of this file."""
    if not zipfile.is_zipfile(path):
        raise UserError(f"{path}: not a .npz archive, or cut short; numpy.savez writes one")
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (ValueError, OSError, EOFError, KeyError) as error:
        raise UserError(f"{path}: not a readable .npz of plain arrays: {error}") from None
    except Exception as error:  # zipfile.BadZipFile and zlib.error of a damaged archive share no better base
        raise UserError(f"{path}: damaged .npz: {error}") from None
    unit = next((name for name in ("joints_m", "joints_mm") if name in arrays), None)
    if unit is None:
        raise UserError(f"{path}: has no array joints_m or joints_mm (N, 21, 3); it holds {', '.join(arrays) or 'nothing'}")
    joints, subject = arrays[unit], arrays.get("subject")
    if joints.ndim != 3 or joints.shape[1:] != (21, 3) or joints.dtype.kind not in "fiu":
        raise UserError(f"{path}: {unit} is {joints.dtype} {joints.shape}, expected numbers of shape (N, 21, 3)")
    if subject is not None and subject.shape != joints.shape[:1]:
        raise UserError(f"{path}: subject has shape {subject.shape}, expected ({len(joints)},)")
    joint_set = str(arrays.get("joint_set", "canonical"))
    if joint_set not in JOINT_SETS or not JOINT_SETS[joint_set].exact:
        raise UserError(f"{path}: joint_set is {joint_set!r}, expected one of {', '.join(n for n, s in JOINT_SETS.items() if s.exact)}")
    licence = str(arrays.get("licence", "not stated"))
    return RawAnnotations(joints.astype(float), 1.0 if unit == "joints_m" else 1e-3, joint_set, subject, licence, True)


READERS: dict[str, Callable[[Path], RawAnnotations]] = {"hands17": read_hands17, "npz": read_npz}


def _parse_text(path: Path) -> Float[Array, "rows 21 3"]:
    with open(path, "rb") as file:
        if b"\0" in file.read(65_536):
            raise UserError(f"{path}: is a binary file, expected text: a name and 63 numbers a line")
        file.seek(0)
        chunks = [_parse_chunk(lines, path) for lines in _numbered_chunks(file)]
    if not chunks:
        raise UserError(f"{path}: holds no annotations")
    return np.concatenate(chunks).astype(np.float32).reshape(-1, 21, 3)


def _numbered_chunks(file: Iterator[bytes]) -> Iterator[list[tuple[int, bytes]]]:
    lines = ((number, line) for number, line in enumerate(file, 1) if line.strip())
    while chunk := list(islice(lines, CHUNK_LINES)):
        yield chunk


def _parse_chunk(lines: list[tuple[int, bytes]], path: Path) -> Float[Array, "lines 63"]:
    """Numbers of many lines at once; only when that fails is each line looked at for the one to blame."""
    rows = [line.split() for _, line in lines]
    if all(len(row) == 64 for row in rows):
        try:
            numbers = np.array([word for row in rows for word in row[1:]]).astype(float).reshape(-1, 63)
            if (np.abs(numbers) <= LARGEST).all():
                return numbers
        except ValueError:
            pass
    for (number, _), row in zip(lines, rows, strict=True):
        _blame_line(row, f"{path}, line {number}")
    raise AssertionError("a chunk failed whose lines are all well")


def _blame_line(words: list[bytes], where: str) -> None:
    if len(words) != 64:
        raise UserError(f"{where}: holds a name and {len(words) - 1} numbers, expected 63 (x y z of 21 joints)")
    for word in words[1:]:
        try:
            value = float(word)
        except ValueError:
            raise UserError(f"{where}: {word[:20].decode('ascii', 'backslashreplace')!r} is not a number") from None
        if not abs(value) <= LARGEST:
            raise UserError(f"{where}: holds {word.decode()}, every coordinate must be finite")
