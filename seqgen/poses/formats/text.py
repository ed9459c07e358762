"""Text annotations: a picture's name and 63 numbers (x y z of 21 joints) a line, parsed once and kept.

White space of any kind may stand between and behind. A name may hold spaces where tabs divide the columns. A line that is anything else
is an error that names it and counts the others like it: what is dropped silently is missed by nobody.
"""

import re
from collections.abc import Iterator
from io import BufferedIOBase
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from seqgen.errors import UserError
from seqgen.files import cache_folder, cached_arrays, file_digest, is_writable
from seqgen.poses.formats.raw import LARGEST, RawAnnotations

Array = np.ndarray
Line = tuple[int, bytes]
CHUNK_LINES = 20_000
MAX_LINE = 20_000  # bytes: 63 numbers of 300 digits
COLUMNS = 64
PARSER = 2  # part of the cache's name; one more when what is kept changes
LAST_NUMBER = re.compile(rb"(\d{1,18})\D*$")


def read_hands17(path: Path) -> RawAnnotations:
    """HANDS 2017 text, `Training_Annotation.txt`."""
    return RawAnnotations(read_text(path)["joints"], 1e-3, "hands17", None, "HANDS2017: research only, no redistribution", False)


def read_text(path: Path) -> dict[str, Array]:
    """What `parse_text` gives, kept beside the file after the first time, or in the cache folder when that place is read-only."""
    try:
        name = f"{path.name}.seqgen-{PARSER}-{file_digest(path)[:16]}"
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    folder = path.parent / f".{name}" if is_writable(path.parent) else cache_folder() / "annotations" / name
    return cached_arrays(folder, ("joints", "picture"), lambda: parse_text(path))


def parse_text(path: Path) -> dict[str, Array]:
    """`joints` (N,21,3) float32 in the file's unit, and `picture` (N,) int64: the last number in each name, -1 where there is none."""
    joints, pictures, bad, num_bad = [], [], None, 0
    with open(path, "rb") as file:
        if b"\0" in file.read(65_536):
            raise UserError(f"{path}: is a binary file, expected text: a name and 63 numbers a line")
        file.seek(0)
        for lines in _numbered_chunks(file):
            rows = [_columns(line) for _, line in lines]
            numbers = _numbers(rows)
            if numbers is None:
                complaints = [(number, what) for (number, _), row in zip(lines, rows, strict=True) if (what := _complaint(row))]
                bad, num_bad = bad or complaints[0], num_bad + len(complaints)
            elif bad is None:
                joints.append(numbers)
                pictures.append(np.array([_last_number(row[0]) for row in rows]))
    if bad is not None:
        others = f" (and {num_bad - 1} more lines that cannot be read)" if num_bad > 1 else ""
        raise UserError(f"{path}, line {bad[0]}: {bad[1]}{others}")
    if not joints:
        raise UserError(f"{path}: holds no annotations")
    return {"joints": np.concatenate(joints).reshape(-1, 21, 3), "picture": np.concatenate(pictures)}


def _numbered_chunks(file: BufferedIOBase) -> Iterator[list[Line]]:
    """Lines that hold something, so many at a time; of one without end no more than MAX_LINE bytes."""
    lines = ((number, line) for number, line in enumerate(iter(lambda: file.readline(MAX_LINE), b""), 1) if line.strip())
    while chunk := list(islice(lines, CHUNK_LINES)):
        yield chunk


def _columns(line: bytes) -> list[bytes]:
    """Columns between white space; between tabs where only that gives 64. Empty ones at the end do not count."""
    words = line.split()
    if len(words) == COLUMNS:
        return words
    cells = [cell.strip() for cell in line.rstrip().split(b"\t")]
    return cells if len(cells) == COLUMNS else words


def _numbers(rows: list[list[bytes]]) -> Float32[Array, "lines 63"] | None:
    """Numbers of many lines at once; None when any line is not as it should be."""
    if not all(len(row) == COLUMNS for row in rows):
        return None
    try:
        numbers = np.array([word for row in rows for word in row[1:]]).astype(float).reshape(-1, COLUMNS - 1)
    except ValueError:
        return None
    return numbers.astype(np.float32) if (np.abs(numbers) <= LARGEST).all() else None


def _complaint(row: list[bytes]) -> str:
    """What is wrong with a line, or nothing."""
    if len(row) != COLUMNS:
        return f"holds a name and {len(row) - 1} numbers, expected 63 (x y z of 21 joints)"
    for word in row[1:]:
        try:
            value = float(word)
        except ValueError:
            return f"{word[:20].decode('ascii', 'backslashreplace')!r} is not a number"
        if not abs(value) <= LARGEST:
            return f"holds {word[:20].decode()}, every coordinate must be finite"
    return ""


def _last_number(name: bytes) -> int:
    found = LAST_NUMBER.search(name)
    return int(found[1]) if found else -1
