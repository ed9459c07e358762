"""Pose banks kept in the cache as files that every process of a machine maps: they take memory once, however many work with them, and no time to start.

    FOLDER/joints_m.npy ...    the arrays of a PoseBank
    FOLDER/told.npy            what it says of itself, as JSON

A folder's name holds a hash of what the bank comes from; so nothing here asks whether it is still true.
"""

import json
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from seqgen.config import config_digest
from seqgen.errors import UserError
from seqgen.files import cache_folder, cached_arrays, code_digest, file_digest, kept_arrays
from seqgen.poses.bank import PoseBank
from seqgen.poses.formats import annotation_files
from seqgen.skeleton import HandFrame

Array = np.ndarray
MADE_BY = ("poses", "geometry.py", "skeleton.py", "splits.py")  # code that a bank and its parts depend on
LIBRARIES = ("numpy", "scipy", "scikit-learn", "faiss-cpu")  # that do
FRAME = ("wrist", "axes", "palm")
NAMES = ("joints_m", "source_row", "subject", *FRAME, "told")


def kept_bank(folder: Path, build: Callable[[], tuple[PoseBank, str]]) -> tuple[PoseBank, str]:
    """The bank kept in `folder`, built and kept there if it is not; with the verdict of the checks of its source."""
    return _bank(cached_arrays(folder, NAMES, lambda: _arrays(*build())))


def open_bank(folder: Path) -> PoseBank:
    """The bank kept in `folder`. A UserError where it has gone."""
    arrays = kept_arrays(folder, NAMES)
    if arrays is None:
        raise UserError(f"{folder}: the poses kept there have been removed or damaged while they were in use; the same command makes them again")
    return _bank(arrays)[0]


def folder_of(source: Mapping[str, Any]) -> Path:
    """Where the bank of such a source is kept, as this code and these libraries make it."""
    made_by = {"code": code_digest(*MADE_BY), "libraries": {name: version(name) for name in LIBRARIES}}
    return cache_folder() / f"bank-{config_digest({'source': dict(source), 'made by': made_by})[:32]}"


def source_of_files(path: Path, format_name: str, side: str) -> dict[str, Any]:
    """What the bank of annotation files depends on: their content, and names within a folder."""
    files = {str(file.relative_to(path)): file_digest(file) for file in annotation_files(path, format_name)}
    return {"files": files, "format": format_name, "side": side}


def _arrays(bank: PoseBank, verdict: str) -> dict[str, Array]:
    told = {"name": bank.name, "licence": bank.licence, "copies_allowed": bank.copies_allowed, "digest": bank.digest, "verdict": verdict}
    frame = {name: getattr(bank.frame, name) for name in FRAME}
    return {"joints_m": bank.joints_m, "source_row": bank.source_row, "subject": bank.subject, **frame, "told": np.array(json.dumps(told))}


def _bank(arrays: Mapping[str, Array]) -> tuple[PoseBank, str]:
    told = json.loads(str(arrays["told"]))
    verdict, frame = told.pop("verdict"), HandFrame(*(arrays[name] for name in FRAME))
    return PoseBank(joints_m=arrays["joints_m"], source_row=arrays["source_row"], subject=arrays["subject"], frame=frame, **told), verdict
