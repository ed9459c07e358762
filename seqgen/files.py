"""Files that are whole or not there: written aside, flushed, renamed, or put into a store at once. And the folder for what can be made again."""

import errno
import hashlib
import json
import logging
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any

import numpy as np

from seqgen.errors import UserError
from seqgen.places import Place
from seqgen.remote import RemotePath
from seqgen.store_errors import StoreError

log = logging.getLogger(__name__)

PLAIN_PATH = re.compile(r"/[\w./ +=:,@%#-]*", re.ASCII)
PARTIAL_GLOB = ".*.partial-*"  # what a killed process leaves behind
ASIDE = "seqgen-aside-"  # folders of the temporary one, for files that are to be put into a store
# What a place to write to may lack, and what the user can do about it.
STORAGE_ERRORS = {errno.ENOSPC: "free some space", errno.EDQUOT: "free some of the quota", errno.EROFS: "make it writable", errno.EFBIG: "take a file system for larger files"}


@contextmanager
def written_aside(path: Place) -> Iterator[Path]:
    """A path beside `path` to write a file or a folder to; it becomes `path` when the block ends well, and is removed when it does not. A file for a store is written
    to the folder for temporary files, and put there in the end.

    Random digits beside the process id: two nodes of a cluster (or two containers) may have the same process id and retry the same work.
    """
    if isinstance(path, RemotePath):
        with _aside_folder() as folder:
            yield folder / path.name
            path.put(folder / path.name)
        return
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


def write_json(path: Place, value: Any) -> None:
    """`value` as readable JSON with the order of its keys kept, whole or not at all. NaN and infinities are refused: other readers stumble over them."""
    write_text(path, json_text(value))


def json_text(value: Any) -> str:
    """`value` as readable JSON with the order of its keys kept; ValueError for NaN and infinities."""
    return json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def write_text(path: Place, text: str) -> None:
    """A file of this text, whole or not at all."""
    with written_aside(path) as aside:
        aside.write_text(text, encoding="utf-8", newline="\n")


def write_text_once(path: Place, text: str) -> bool:
    """A file of this text, unless there is one already: of several that try at once, one gets True; in a store that has no way to say so, more may."""
    if isinstance(path, RemotePath):
        with _aside_folder() as folder:
            aside = folder / path.name
            aside.write_text(text, encoding="utf-8", newline="\n")
            return path.create(aside)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.partial-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        aside.write_text(text, encoding="utf-8", newline="\n")
        flush_to_disk(aside)
        _link(aside, path)
        flush_to_disk(path.parent)
    except FileExistsError:
        return False
    finally:
        aside.unlink(missing_ok=True)
    return True


def _link(aside: Path, path: Path) -> None:
    """A second name for a file, refused where there is one already; a rename on file systems that know no second names."""
    try:
        os.link(aside, path)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
            raise
        os.replace(aside, path)


@contextmanager
def _aside_folder() -> Iterator[Path]:
    """A folder of this machine for a file on its way into a store, named by the process: `sweep_aside` knows by it what nobody will put any more. Where it is full, the
    error names it, not the store."""
    with TemporaryDirectory(prefix=f"{ASIDE}{_process_space()}-{os.getpid()}-") as folder:
        try:
            yield Path(folder)
        except OSError as error:
            if error.errno not in STORAGE_ERRORS or isinstance(error, StoreError):
                raise
            raise OSError(error.errno, error.strerror, folder) from error


def _process_space() -> str:
    """The space of process numbers that this process lives in: containers that share a folder may each have a process 7."""
    return re.sub(r"\D", "", os.readlink("/proc/self/ns/pid")) if os.path.islink("/proc/self/ns/pid") else "0"


@contextmanager
def storage_named(place: Place, then: str = "the same command continues") -> Iterator[None]:
    """Where the storage of `place` is full or locked, or a store fails, one line says so in place of a traceback, and what is `then`, when that is mended."""
    try:
        yield
    except StoreError as error:
        raise UserError(f"{error}; see to it, then {then}") from error
    except OSError as error:
        if not is_storage_error(error):
            raise
        where = Path(error.filename).parent if isinstance(place, RemotePath) and isinstance(error.filename, str) else place  # on the way to a store, the folder for temporary files
        raise UserError(f"{where}: {error.strerror}; {STORAGE_ERRORS[error.errno]}, then {then}") from error


def is_storage_error(error: BaseException) -> bool:
    """Whether the storage is what is wrong, and stays so: space, quota, write protection; rights in a store, or its bucket."""
    return isinstance(error, OSError) and (error.errno in STORAGE_ERRORS or (isinstance(error, StoreError) and error.errno in (errno.EACCES, errno.ENOENT)))


def flush_to_disk(path: Path) -> None:
    """Wait until a file's or folder's content is durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep_aside(least_age_s: float) -> None:
    """Removes what killed processes on this machine have written for a store and not put there: of processes that are gone, and of all others what is so old."""
    for folder in Path(gettempdir()).glob(f"{ASIDE}*"):
        try:
            if _is_orphan(folder.name) or time.time() - folder.stat().st_mtime >= least_age_s:
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:  # gone meanwhile
            continue


def _is_orphan(name: str) -> bool:
    """Whether the process that a folder of `_aside_folder` is named by has lived where this one lives, and is gone."""
    space, _, rest = name.removeprefix(ASIDE).partition("-")
    number = rest.partition("-")[0]
    return space == _process_space() != "0" and number.isdecimal() and not os.path.exists(f"/proc/{number}")


def remove_tree(path: Place) -> None:
    """Removes a folder and all in it, so far as it is there and can be removed."""
    shutil.rmtree(path, ignore_errors=True) if isinstance(path, Path) else path.remove_tree()


def file_digest(path: Place) -> str:
    """sha256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@cache
def code_digest(*names: str) -> str:
    """sha256 of files and folders of this package, hexadecimal: what is kept in the cache under it was made by the same code."""
    package = Path(__file__).parent
    files = [file for name in names for file in sorted([package / name] if name.endswith(".py") else (package / name).rglob("*.py"))]
    return hashlib.sha256("".join(file_digest(file) for file in files).encode()).hexdigest()


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
        return Path(os.path.expanduser(named))
    stated = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(stated if os.path.isabs(stated) else os.path.join(os.path.expanduser("~"), ".cache"))  # the XDG specification ignores a relative one
    if base.is_absolute() and is_writable(base):  # without a home, "~" stays "~"
        return base / "seqgen"
    return _temporary_cache()


def _temporary_cache() -> Path:
    """A folder of this user's alone: everybody may write to the temporary folder, and what is kept here is trusted, down to compiled kernels."""
    folder = Path(os.environ.get("TMPDIR") or "/tmp") / f"seqgen-cache-{os.getuid()}"
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        found = os.lstat(folder)
    except OSError:  # nothing can be kept there; who needs a place says so
        return folder
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise UserError(f"{folder}: is no folder that only this user can write to; remove it, or set SEQGEN_CACHE to a folder of your own")
    return folder


def plain_temporary_folder(variables: Sequence[str], longest: int) -> Path:
    """The first folder for temporary files that these environment variables or the system name, that can be written to, and whose name every program can take:
    ASCII, no quotes, at most `longest` bytes. A UserError where there is none.
    """
    for folder in (*(os.environ.get(name, "") for name in variables), "/tmp", "/var/tmp", "/dev/shm"):
        if len(folder) <= longest and PLAIN_PATH.fullmatch(folder) and is_writable(Path(folder)):
            return Path(folder)
    raise UserError(f"no temporary folder that can be written to with a name of ASCII letters, at most {longest}; set {variables[-1]} to one")


def is_writable(folder: Path) -> bool:
    """Whether files may be made in a folder, or in the nearest parent that exists. A folder without write bits is left alone, by root too."""
    while not os.path.exists(folder) and folder != folder.parent:  # not Path.exists, which raises where a parent may not be searched
        folder = folder.parent
    return os.path.isdir(folder) and bool(os.stat(folder).st_mode & 0o222) and os.access(folder, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids)


def mapped_file(array: np.ndarray) -> Path | None:
    """The file that an array of `cached_arrays` is the content of; None where it is this process's own memory."""
    mapped = array.base
    return Path(mapped.filename) if isinstance(mapped, np.memmap) and mapped.shape == array.shape else None


def cached_arrays(folder: Path, names: tuple[str, ...], build: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The arrays of these names kept in `folder`, memory-mapped read-only; built once when they are not there, or anew when they are damaged.

    The folder's name must hold a hash of what they come from. Where nothing can be kept they are built each time.
    """
    arrays = kept_arrays(folder, names)
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
    return kept_arrays(folder, names) or arrays


def kept_arrays(folder: Path, names: tuple[str, ...]) -> dict[str, np.ndarray] | None:
    """The arrays of these names kept in `folder`, memory-mapped read-only; None where one of them is not there or damaged."""
    try:
        return {name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False).view(np.ndarray) for name in names}
    except (OSError, ValueError, EOFError):
        return None
