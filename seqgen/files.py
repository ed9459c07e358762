"""Files that are whole or not there: written aside, flushed, renamed. And the folder for what can be made again."""

import hashlib
import json
import logging
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

log = logging.getLogger(__name__)

PARTIAL_GLOB = ".*.partial-*"  # what a killed process leaves behind


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """A path beside `path` to write a file or a folder to; it becomes `path` when the block ends well, and is removed when it does not.

    Random digits beside the process id: two nodes of a cluster (or two containers) may have the same process id and retry the same work.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.partial-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        yield aside
        for file in [aside, *aside.rglob("*")] if aside.is_dir() else [aside]:
            flush_to_disk(file)
        os.replace(aside, path)
        flush_to_disk(path.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True) if aside.is_dir() else aside.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """`value` as readable JSON with the order of its keys kept, whole or not at all. NaN and infinities are refused: other readers stumble over them."""
    with written_aside(path) as aside:
        aside.write_text(json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8")


def flush_to_disk(path: Path) -> None:
    """Wait until a file's or folder's content is durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_digest(path: Path) -> str:
    """sha256 of a file, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def arrays_digest(*arrays: np.ndarray) -> str:
    """sha256 over shapes, types and bytes of arrays, hexadecimal."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()


def cache_folder() -> Path:
    """Where things that can be made again are kept: SEQGEN_CACHE, else the user's cache folder, else the system's temporary one."""
    named = os.environ.get("SEQGEN_CACHE")
    if named:
        return Path(named)
    base = Path(os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache"))
    if base.is_absolute() and is_writable(base):  # without a home, "~" stays "~"
        return base / "seqgen"
    return Path(os.environ.get("TMPDIR", "/tmp")) / f"seqgen-cache-{os.getuid()}"


def is_writable(folder: Path) -> bool:
    """Whether files may be made in a folder, or in the nearest parent that exists. A folder without write bits is left alone, by root too."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and bool(folder.stat().st_mode & 0o222) and os.access(folder, os.W_OK)


def cached_arrays(folder: Path, names: tuple[str, ...], build: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The arrays of these names kept in `folder`, memory-mapped read-only; built once when they are not there, or anew when they are damaged.

    The folder's name must hold a hash of what they come from. Where nothing can be kept they are built each time.
    """
    arrays = _kept_arrays(folder, names)
    if arrays is not None:
        return arrays
    shutil.rmtree(folder, ignore_errors=True)
    arrays = build()
    try:
        with written_aside(folder) as aside:
            aside.mkdir()
            for name, array in arrays.items():
                np.save(aside / f"{name}.npy", array, allow_pickle=False)
    except OSError as error:  # a full or read-only disk, or another process that built the same and was faster
        log.info("%s: not kept (%s)", folder, error)
    return _kept_arrays(folder, names) or arrays


def _kept_arrays(folder: Path, names: tuple[str, ...]) -> dict[str, np.ndarray] | None:
    try:
        return {name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False).view(np.ndarray) for name in names}
    except (OSError, ValueError, EOFError):
        return None
