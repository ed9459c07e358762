"""BigHand2.2M (Yuan et al. 2017), the full release: a folder of text files, a line a frame, mm, in the order `bighand`.

    BigHand2.2M/
      Subject_1/ ... /1 75/image_D00000000.png           pictures, not needed here
      full_annotation/
        Subject_1/
          README*.txt                                    skipped
          1 75_loc_shift_made_by_qi_20180112_v2.txt      frame number, 63 numbers, often an empty 65th column

Given any of: BigHand2.2M, full_annotation, one Subject folder, one file. Rows are read subject by subject, file by file, both in the order in
which people count (Subject_2 before Subject_10, "76 150" before "301 375"), line by line; a bank's `source_row` counts them from 0.

Known defects: lines that repeat the one before (counted; a bank keeps one of them), and lines whose picture does not exist (counted where
the pictures are there; the annotation is as good as any, so it stays).
"""

import os
import re
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int64

from seqgen.errors import UserError
from seqgen.poses.formats.raw import RawAnnotations
from seqgen.poses.formats.text import read_text

Array = np.ndarray
ANNOTATIONS = "full_annotation"
LICENCE = "BigHand2.2M: research only, no redistribution"
PICTURE = re.compile(r"image_D(\d{1,18})\.png")


def read_bighand(path: Path) -> RawAnnotations:
    """See the head of this file. A file's numbers are kept after the first time, as those of `hands17` are."""
    files, empty = annotation_files(path)
    parts = [read_text(file) for file in files]
    subjects = sorted({subject_of(file) for file in files}, key=_counting_order)
    subject = np.repeat([subjects.index(subject_of(file)) for file in files], [len(part["joints"]) for part in parts])
    remarks = [f"{_plural(len(subjects), 'subject')} in {_plural(len(files), 'file')}"]
    remarks += [f"{_plural(empty, 'empty file')} skipped"] * (empty > 0)
    remarks.append(f"{sum(_repeats(part['joints']) for part in parts):,} repeat the line before")
    missing = [count for file, part in zip(files, parts, strict=True) if (count := missing_pictures(file, part["picture"])) is not None]
    if missing:
        remarks.append(f"{sum(missing):,} without a picture in the {_plural(len(missing), 'folder')} of pictures found")
    return RawAnnotations(np.concatenate([part["joints"] for part in parts]), 1e-3, "bighand", subject, LICENCE, False, tuple(remarks))


def annotation_files(path: Path) -> tuple[list[Path], int]:
    """The files that hold annotations, in reading order, and how many others are empty."""
    if path.is_file():
        return [path], 0
    base = path
    while (base / ANNOTATIONS).is_dir():
        base = base / ANNOTATIONS
    found = sorted(_texts_in(base), key=lambda file: _counting_order(file.name))
    for folder in sorted(filter(Path.is_dir, base.iterdir()), key=lambda folder: _counting_order(folder.name)):
        found += sorted(_texts_in(folder), key=lambda file: _counting_order(file.name))
    files = [file for file in found if file.stat().st_size]
    if not files:
        beside = path.absolute().parent / ANNOTATIONS / path.absolute().name
        hint = f"; the annotations of these pictures are in {beside}" if beside.is_dir() else ""
        raise UserError(f"{path}: holds no annotations of BigHand2.2M, expected {ANNOTATIONS}/Subject_*/*.txt{hint}")
    return files, len(found) - len(files)


def _texts_in(folder: Path) -> list[Path]:
    """Text files of a folder that are neither hidden nor a README. By `scandir`: the folders of pictures hold 100,000s of files."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.name.lower().endswith(".txt") and entry.is_file()]
    return [folder / name for name in names if not name.lower().startswith((".", "readme"))]


def _counting_order(name: str) -> list[str | int]:
    """A key that puts 2 before 10."""
    return [int(piece) if piece.isdecimal() else piece for piece in re.split(r"(\d+)", name)]


def subject_of(file: Path) -> str:
    """The folder a file of annotations is in."""
    return file.absolute().parent.name


def _repeats(joints: Float[Array, "rows 21 3"]) -> int:
    return int((joints[1:] == joints[:-1]).all((1, 2)).sum())


def missing_pictures(file: Path, pictures: Int64[Array, "rows"]) -> int | None:
    """How many lines of a file have no picture, or None when its folder of pictures is not there or is empty."""
    release = file.absolute().parents[2]
    folder = release / subject_of(file) / file.name.partition("_loc_shift")[0].removesuffix(".txt")
    if file.absolute().parents[1].name != ANNOTATIONS or not folder.is_dir():
        return None
    with os.scandir(folder) as entries:
        there = [int(found[1]) for entry in entries if (found := PICTURE.fullmatch(entry.name))]
    return int((~np.isin(pictures, there)).sum()) if there else None


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
