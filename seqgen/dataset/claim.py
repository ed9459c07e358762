"""Whose a folder is: claimed for one data set before anything else is written there, continued, grown, or made anew.

    DIR/.progress/config.json            {config, identity}

    nothing there                                        new
    the same data set                                    unfinished, or finished
    the same with fewer sequences                        unfinished: the shards that are there are kept, those that were not full are made again
    a data set of another config; anything else          refused, with the difference

Knows nothing of how shards are made.
"""

import errno
import json
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal

from seqgen.config import config_digest
from seqgen.dataset.index import INDEX_NAME, IndexRow, read_rows
from seqgen.dataset.index_writer import describe_index
from seqgen.dataset.manifest import MANIFEST_NAME, SHARD_FOLDER, SHARD_NAME, is_as_written, missing_files, read_manifest
from seqgen.dataset.progress import PROGRESS_FOLDER, adopt_records, clear_progress, forget_shards, has_record, note_run, record_shard
from seqgen.errors import UserError
from seqgen.files import PARTIAL_GLOB, is_writable, json_text, write_json, write_text_once
from seqgen.places import Place, check_store, names_in
from seqgen.remote import RemotePath

CLAIM_NAME = "config.json"
PREVIEW_NAMES = ("preview.png", "preview.gif")  # what `seqgen preview` leaves beside a data set
Claim = Literal["new", "unfinished", "finished"]


@dataclass(frozen=True)
class Origin:
    """What decides every byte of a data set: its config as plain JSON values, and a hash of the assets."""

    config: dict[str, Any]
    assets: str

    @property
    def identity(self) -> str:
        """One hash of both."""
        return config_digest({"config": self.config, "assets": self.assets})

    def as_dict(self) -> dict[str, Any]:
        """What claims and indexes hold of it."""
        return {"config": self.config, "identity": self.identity}

    def of(self, sequences: int) -> "Origin":
        """The same with so many sequences."""
        return replace(self, config={**self.config, "sequences": sequences})


def claim_folder(directory: Place, origin: Origin, *, overwrite: bool = False) -> Claim:
    """Makes the folder ours for this data set and says how far it is.

    Refused: a folder with other files, one with a data set of another origin, and a place where none can be made. `overwrite` removes a data set (and its
    previews, nothing else) first.
    """
    try:
        return _claim(directory, origin, overwrite=overwrite)
    except OSError as error:
        raise no_place(directory, error) from error


def check_place(directory: Place) -> None:
    """A UserError where no data set can be made. Makes nothing, in a store nothing that stays."""
    if isinstance(directory, RemotePath):
        check_store(directory)
        return
    try:
        if not stat.S_ISDIR(directory.stat().st_mode):
            raise UserError(f"{directory} is a file; choose another --out")
    except FileNotFoundError:
        if os.path.islink(directory) or not is_writable(directory):
            raise no_place(directory, PermissionError(errno.EACCES, os.strerror(errno.EACCES))) from None
    except OSError as error:
        raise no_place(directory, error) from error


def judge_folder(directory: Place, origin: Origin, *, overwrite: bool = False) -> Claim:
    """What `claim_folder` says of a folder, which it leaves as it is. What is smaller and of the same config is unfinished."""
    if _is_free(directory):
        return "new"
    owner = _owner(directory)
    if overwrite:
        return "new"
    finished = (directory / MANIFEST_NAME).exists()
    if owner["identity"] != origin.identity:
        if finished and read_manifest(directory).parts:
            raise UserError(f"{directory} is an index over several data sets; choose another --out")
        if not _is_smaller(owner, origin):
            difference = _difference(owner["config"], origin.config)
            raise UserError(f"{directory} holds a data set of another config ({difference}); choose another --out, or give --overwrite")
    if finished:
        _check_whole(directory)
    if finished and owner["identity"] != origin.identity:
        _check_papers(directory)
        return "unfinished"
    return "finished" if finished else "unfinished"


def rewrite_claim(directory: Place, origin: Origin) -> None:
    """Makes a folder that is ours that of another data set, or of the same again."""
    write_json(_claim_path(directory), origin.as_dict())


def read_claim(directory: Place) -> dict[str, Any]:
    """The config and identity that an unfinished data set was claimed for. A UserError where there is no such folder, or no such data set in it."""
    path = _claim_path(directory)
    try:
        claim = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(claim["config"], dict) or not isinstance(claim["identity"], str):
            raise TypeError("config or identity is of another kind")
        return {"config": claim["config"], "identity": claim["identity"]}
    except (FileNotFoundError, NotADirectoryError):
        names = sorted(names_in(directory))
        if not names:
            raise UserError(f"{directory}: nothing is there, and no data set") from None
        if INDEX_NAME in names and SHARD_FOLDER in names:
            raise UserError(f"{directory} holds a data set without its {MANIFEST_NAME}; `seqgen verify {directory} --repair` makes it again") from None
        raise UserError(f"{directory} holds other files ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''}) and no data set; choose an empty folder with --out") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({error}); remove the folder or choose another --out") from error


def no_place(directory: Place, error: OSError) -> UserError:
    """What to say where no data set can be made."""
    is_loose = isinstance(directory, Path) and os.path.islink(directory) and not os.path.exists(directory)
    reason = "a link to nothing" if is_loose else error.strerror or str(error)
    return UserError(f"{directory}: no place for a data set ({reason}); choose another --out")


def identity_of(directory: Place, *, at_work: bool = False) -> str | None:
    """Which data set the folder is claimed for or holds; None where nothing there says so. `at_work`: the claim is asked first, which a run that has not ended has:
    half the questions to a store."""
    readers = [lambda: read_manifest(directory).identity, lambda: read_claim(directory)["identity"]]
    for read in reversed(readers) if at_work else readers:
        try:
            return read()
        except UserError:
            continue
    return None


def is_claimed_for(directory: Place, origin: Origin) -> bool:
    """Whether it is this data set's already."""
    return identity_of(directory) == origin.identity


def sweep(directory: Place) -> None:
    """Removes half-written files, and what no record or manifest vouches for: shards (of an overwritten data set, or durable without a record), an index. For
    those who are alone in an unfinished folder. Files that seqgen would not name so are left alone.
    """
    sweep_partial(directory)
    (directory / INDEX_NAME).unlink(missing_ok=True)
    for name in names_in(directory / SHARD_FOLDER):
        if SHARD_NAME.fullmatch(name) and not has_record(directory, name) and (directory / SHARD_FOLDER / name).is_file():
            (directory / SHARD_FOLDER / name).unlink(missing_ok=True)


def sweep_unplanned(directory: Place, is_planned: Callable[[str], bool]) -> None:
    """Removes shards that the data set of a folder has not: of one that was overwritten by a run that ended meanwhile, where no locks allow `sweep`."""
    for name in names_in(directory / SHARD_FOLDER):
        if SHARD_NAME.fullmatch(name) and not is_planned(name):
            (directory / SHARD_FOLDER / name).unlink(missing_ok=True)


def sweep_partial(directory: Place, *, least_age_s: float = 0.0) -> None:
    """Removes half-written files that have not been written to for so long."""
    if isinstance(directory, RemotePath) and directory.puts_are_atomic:
        return  # nothing half is ever there, and a listing of all shards is long
    for folder in (directory, directory / SHARD_FOLDER, directory / PROGRESS_FOLDER):
        for path in (folder / name for name in names_in(folder) if fnmatch(name, PARTIAL_GLOB)):
            if path.is_file() and time.time() - path.stat().st_mtime >= least_age_s:
                path.unlink(missing_ok=True)


def _claim(directory: Place, origin: Origin, *, overwrite: bool) -> Claim:
    if _is_free(directory):
        if write_text_once(_claim_path(directory), json_text(origin.as_dict())):
            return "new"  # else another run was faster, and it may be another data set's
    owner = _owner(directory)
    claim = judge_folder(directory, origin, overwrite=overwrite)
    if claim == "new":
        return _claim_anew(directory, origin)
    if claim == "finished":
        clear_progress(directory)  # of a run that ended right after its manifest
    if owner["identity"] == origin.identity:
        return claim
    if (directory / MANIFEST_NAME).exists():
        _keep_shards(directory, origin)
    else:
        adopt_records(directory, owner["identity"], origin.identity)
    rewrite_claim(directory, origin)
    (directory / MANIFEST_NAME).unlink(missing_ok=True)
    (directory / INDEX_NAME).unlink(missing_ok=True)
    return "unfinished"


def _is_free(directory: Place) -> bool:
    """Nothing is there, or nothing but what a run left that ended before its claim was durable."""
    if not directory.exists():
        return True
    if not directory.is_dir() or any(entry.name != PROGRESS_FOLDER for entry in directory.iterdir()):
        return False
    return all(fnmatch(entry.name, PARTIAL_GLOB) for entry in (directory / PROGRESS_FOLDER).glob("*"))


def _claim_anew(directory: Place, origin: Origin) -> Claim:
    """Old records go first, then the claim is replaced, then the old data set goes: killed anywhere between, the folder is known as ours and no old shard as new."""
    forget_shards(directory)
    rewrite_claim(directory, origin)
    for name in (MANIFEST_NAME, INDEX_NAME, *PREVIEW_NAMES):
        (directory / name).unlink(missing_ok=True)
    sweep(directory)
    return "new"


def _claim_path(directory: Place) -> Place:
    return directory / PROGRESS_FOLDER / CLAIM_NAME


def _check_whole(directory: Place) -> None:
    missing = missing_files(directory, read_manifest(directory))
    if missing:
        more = f", and {len(missing) - 1} more files" if missing[1:] else ""
        raise UserError(f"{missing[0]} is missing or cut off{more}; `seqgen verify {directory} --repair` makes it again, --overwrite all")


def _check_papers(directory: Place) -> None:
    """What a larger data set takes over is what was written."""
    if not is_as_written(directory) or describe_index(directory) != read_manifest(directory).index:
        raise UserError(f"{directory}: {MANIFEST_NAME} or {INDEX_NAME} has been changed since it was written; `seqgen verify {directory} --repair` makes it again")


def _is_smaller(owner: dict[str, Any], origin: Origin) -> bool:
    """Whether the folder's data set is the first part of ours."""
    sequences = owner["config"].get("sequences")
    return isinstance(sequences, int) and sequences < origin.config.get("sequences", 0) and owner["identity"] == origin.of(sequences).identity


def _keep_shards(directory: Place, origin: Origin) -> None:
    """Gives the shards of a finished data set the records of a larger one's."""
    manifest, waiting = read_manifest(directory), dict[str, list[IndexRow]]()
    shards = {shard.name: shard for shard in manifest.shards}
    for row in read_rows(directory):
        rows = waiting.setdefault(row.shard, [])
        rows.append(row)
        if row.shard in shards and len(rows) == shards[row.shard].sequences:
            record_shard(directory, shards[row.shard], waiting.pop(row.shard), origin.identity)
    note_runs_of(directory, manifest.run)


def note_runs_of(directory: Place, run: dict[str, Any]) -> None:
    """Notes the runs that a finished data set tells of."""
    earlier = run.get("earlier")
    for one in [*(earlier if isinstance(earlier, list) else []), {name: value for name, value in run.items() if name != "earlier"}]:
        note_run(directory, one)


def _owner(directory: Place) -> dict[str, Any]:
    """The config and identity of the data set in a folder that is not empty: its manifest's, else its claim's."""
    if not directory.is_dir():
        raise UserError(f"{directory} is a file; choose another --out")
    if (directory / MANIFEST_NAME).exists():
        manifest = read_manifest(directory)
        return {"config": manifest.config, "identity": manifest.identity}
    return read_claim(directory)


def _difference(theirs: dict[str, Any], ours: dict[str, Any]) -> str:
    """The first settings that differ, named with both values."""
    theirs, ours = _flatten(theirs), _flatten(ours)
    names = [name for name in sorted(theirs | ours) if theirs.get(name) != ours.get(name)]
    shown = [f"{name} is {theirs.get(name, 'absent')!r} there, {ours.get(name, 'absent')!r} here" for name in names[:3]]
    return "; ".join(shown) + (f"; and {len(names) - 3} more" if len(names) > 3 else "") if names else "made with another version or other files"


def _flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings under dotted names; sequences as lists, as JSON gives them back."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = list(value) if isinstance(value, tuple) else value
    return flat
