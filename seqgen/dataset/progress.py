"""A folder while a data set is made in it: whose it is, which shards are durable, how to continue or start anew.

    DIR/.progress/config.json            {config, identity}: written before anything else
    DIR/.progress/<shard>.json           {shard: ShardRecord, rows: [IndexRow]}: written when the shard is durable
    DIR/shards/.<shard>.partial-...      half a shard of a killed run: swept up by the next one

The order is: claim, shards with their records, index, manifest, and then the progress is cleared.
"""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from seqgen.dataset.index import INDEX_NAME, IndexRow
from seqgen.dataset.manifest import MANIFEST_NAME, SHARD_FOLDER, missing_files, read_manifest
from seqgen.dataset.shards import ShardRecord
from seqgen.errors import UserError
from seqgen.files import PARTIAL_GLOB, file_digest, write_json

PROGRESS_FOLDER = ".progress"
CLAIM_NAME = "config.json"
PREVIEW_NAMES = ("preview.png", "preview.gif")  # what `seqgen preview` leaves beside a data set
Claim = Literal["new", "unfinished", "finished"]


@dataclass(frozen=True)
class FinishedShard:
    """A durable shard with the index rows of its sequences."""

    shard: ShardRecord
    rows: tuple[IndexRow, ...]


def claim_folder(directory: Path, config: dict[str, Any], identity: str, *, overwrite: bool = False) -> Claim:
    """Makes the folder ours for this config and says how far it is. `identity` (a hash of all that decides the bytes) decides; `config` names the difference.

    Refused: a folder with other files, one with a data set of another config, and a place where none can be made. `overwrite` removes a data set (and its
    previews, nothing else) first.
    """
    try:
        return _claim(directory, config, identity, overwrite=overwrite)
    except OSError as error:
        reason = "a link to nothing" if os.path.islink(directory) and not os.path.exists(directory) else error.strerror or str(error)
        raise UserError(f"{directory}: no place for a data set ({reason}); choose another --out") from error


def _claim(directory: Path, config: dict[str, Any], identity: str, *, overwrite: bool) -> Claim:
    if not directory.exists() or (directory.is_dir() and not any(directory.iterdir())):
        return _claim_anew(directory, config, identity)
    owner = _owner(directory)
    if overwrite:
        return _claim_anew(directory, config, identity)
    if owner["identity"] != identity:
        raise UserError(f"{directory} holds a data set of another config ({_difference(owner['config'], config)}); choose another --out, or give --overwrite")
    if (directory / MANIFEST_NAME).exists():
        return _finished(directory)
    _sweep(directory)
    return "unfinished"


def record_shard(directory: Path, shard: ShardRecord, rows: Sequence[IndexRow]) -> None:
    """Notes that a shard is durable."""
    write_json(_record_path(directory, shard.name), {"shard": asdict(shard), "rows": [asdict(row) for row in rows]})


def finished_shards(directory: Path, planned: Mapping[str, Sequence[int]]) -> dict[str, FinishedShard]:
    """The planned shards (name -> ids of its sequences) that need not be made again: recorded with these ids, and the file has the recorded size and hash."""
    finished = {}
    for name, ids in planned.items():
        record = _read_record(_record_path(directory, name))
        if record and record.shard.name == name and [row.id for row in record.rows] == list(ids) and _matches(directory / SHARD_FOLDER / name, record.shard):
            finished[name] = record
    return finished


def clear_progress(directory: Path) -> None:
    """Removes the progress of a finished data set."""
    shutil.rmtree(directory / PROGRESS_FOLDER, ignore_errors=True)


def _claim_anew(directory: Path, config: dict[str, Any], identity: str) -> Claim:
    """Old records go first, then the claim is replaced, then the old data set goes: killed anywhere between, the folder is known as ours and no old shard as new."""
    for record in (directory / PROGRESS_FOLDER).glob("*.tar.json"):
        record.unlink()
    write_json(directory / PROGRESS_FOLDER / CLAIM_NAME, {"config": config, "identity": identity})
    for name in (MANIFEST_NAME, INDEX_NAME, *PREVIEW_NAMES):
        (directory / name).unlink(missing_ok=True)
    _sweep(directory)
    return "new"


def _finished(directory: Path) -> Claim:
    """Checks that a data set with a manifest still has its files, and clears what a run left that ended right after its manifest."""
    missing = missing_files(directory, read_manifest(directory).shards)
    if missing:
        raise UserError(f"{missing[0]} is missing or cut off{f', and {len(missing) - 1} more files' if missing[1:] else ''}; fetch it again, or generate anew with --overwrite")
    clear_progress(directory)
    return "finished"


def _owner(directory: Path) -> dict[str, Any]:
    """The config and identity of the data set in a folder that is not empty: its manifest's, else its claim's."""
    if not directory.is_dir():
        raise UserError(f"{directory} is a file; choose another --out")
    if (directory / MANIFEST_NAME).exists():
        manifest = read_manifest(directory)
        return {"config": manifest.config, "identity": manifest.identity}
    path = directory / PROGRESS_FOLDER / CLAIM_NAME
    try:
        claim = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(claim["config"], dict) or not isinstance(claim["identity"], str):
            raise TypeError("config or identity is of another kind")
        return {"config": claim["config"], "identity": claim["identity"]}
    except (FileNotFoundError, NotADirectoryError):
        names = sorted(entry.name for entry in directory.iterdir())
        raise UserError(f"{directory} holds other files ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''}) and no data set; choose an empty folder with --out") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({error}); remove the folder or choose another --out") from error


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


def _sweep(directory: Path) -> None:
    """Removes half-written files, and shards that no record vouches for (of an overwritten data set, or durable without a record)."""
    folders = [directory, directory / SHARD_FOLDER, directory / PROGRESS_FOLDER]
    partials = [path for folder in folders for path in folder.glob(PARTIAL_GLOB)]
    unrecorded = [path for path in (directory / SHARD_FOLDER).glob("*.tar") if not _record_path(directory, path.name).exists()]
    for path in partials + unrecorded:
        path.unlink(missing_ok=True)


def _record_path(directory: Path, shard: str) -> Path:
    return directory / PROGRESS_FOLDER / f"{shard}.json"


def _read_record(path: Path) -> FinishedShard | None:
    """The record, or None when it is not there or unreadable: the shard is then made again."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return FinishedShard(ShardRecord(**content["shard"]), tuple(IndexRow(**row) for row in content["rows"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _matches(path: Path, shard: ShardRecord) -> bool:
    """The file has the recorded size and hash."""
    if not path.is_file() or path.stat().st_size != shard.bytes:
        return False
    return file_digest(path) == shard.sha256
