"""How far a data set is: which shards are durable, and which were set aside.

    DIR/.progress/<shard>.json           {identity, shard: ShardRecord, rows: [IndexRow]}: written by whoever made the shard, when it is durable
    DIR/.progress/<shard>.failed.json    {identity, ids, seed, tries, traceback}: of a shard that could not be made
    DIR/.progress/run-<hash>.json        {machine, versions, ..., began}: of each run that worked here
    DIR/shards/.<shard>.partial-...      half a shard of a killed run: swept up by the next one

The order is: claim, shards with their records, index, manifest, and then the progress is cleared.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from seqgen.dataset.index import IndexRow
from seqgen.dataset.manifest import SHARD_FOLDER
from seqgen.dataset.shards import ShardRecord
from seqgen.files import file_digest, json_text, write_json

PROGRESS_FOLDER = ".progress"


@dataclass(frozen=True)
class FinishedShard:
    """A durable shard with the index rows of its sequences."""

    shard: ShardRecord
    rows: tuple[IndexRow, ...]


@dataclass(frozen=True)
class FailedShard:
    """A shard that could not be made: its name, the indices of its sequences, the seed, after how many tries, and what was raised at last."""

    name: str
    ids: tuple[int, ...]
    seed: int
    tries: int
    traceback: str


def record_shard(directory: Path, shard: ShardRecord, rows: Sequence[IndexRow], identity: str) -> None:
    """Notes that a shard of the data set of this identity is durable."""
    write_json(_record_path(directory, shard.name), {"identity": identity, "shard": asdict(shard), "rows": [asdict(row) for row in rows]})
    _failure_path(directory, shard.name).unlink(missing_ok=True)


def set_aside(directory: Path, failed: FailedShard, identity: str) -> Path:
    """Notes that a shard could not be made; returns where."""
    path = _failure_path(directory, failed.name)
    write_json(path, {"identity": identity, **asdict(failed)})
    return path


def note_run(directory: Path, run: Mapping[str, Any]) -> None:
    """Notes that a run works here: a data set tells of all machines that made it."""
    write_json(directory / PROGRESS_FOLDER / f"run-{hashlib.sha256(json_text(run).encode()).hexdigest()[:16]}.json", run)


def noted_runs(directory: Path) -> list[dict[str, Any]]:
    """The runs that are noted, the first to begin first; those whose note is damaged are left out."""
    runs = []
    for path in sorted((directory / PROGRESS_FOLDER).glob("run-*.json")):
        try:
            run = json.loads(path.read_text(encoding="utf-8"))
            runs += [run] if isinstance(run, dict) else []
        except (OSError, ValueError, RecursionError):
            continue
    return sorted(runs, key=lambda run: str(run.get("began")))


def recorded_shards(directory: Path, planned: Mapping[str, Sequence[int]], identity: str) -> dict[str, FinishedShard]:
    """The planned shards (name -> ids of its sequences) that a record of this data set vouches for, with these ids, and whose file has the recorded size."""
    recorded = {}
    for name, ids in planned.items():
        record = _read_record(_record_path(directory, name), identity)
        if record and record.shard.name == name and [row.id for row in record.rows] == list(ids) and _has_size(directory / SHARD_FOLDER / name, record.shard.bytes):
            recorded[name] = record
    return recorded


def finished_shards(directory: Path, planned: Mapping[str, Sequence[int]], identity: str) -> dict[str, FinishedShard]:
    """Those that need not be made again: their files also have the recorded hash."""
    recorded = recorded_shards(directory, planned, identity)
    return {name: done for name, done in recorded.items() if file_digest(directory / SHARD_FOLDER / name) == done.shard.sha256}


def adopt_records(directory: Path, theirs: str, ours: str) -> None:
    """The records of one data set become another's, which begins with the same sequences."""
    for path in sorted((directory / PROGRESS_FOLDER).glob("*.tar.json")):
        record = _read_record(path, theirs)
        if record:
            record_shard(directory, record.shard, record.rows, ours)


def has_record(directory: Path, shard: str) -> bool:
    """Whether there is a record of a shard, of whichever data set."""
    return _record_path(directory, shard).exists()


def forget_shards(directory: Path) -> None:
    """Removes all records."""
    for record in (directory / PROGRESS_FOLDER).glob("*.tar.*json"):
        record.unlink()


def clear_progress(directory: Path) -> None:
    """Removes the progress of a finished data set."""
    shutil.rmtree(directory / PROGRESS_FOLDER, ignore_errors=True)


def _record_path(directory: Path, shard: str) -> Path:
    return directory / PROGRESS_FOLDER / f"{shard}.json"


def _failure_path(directory: Path, shard: str) -> Path:
    return directory / PROGRESS_FOLDER / f"{shard}.failed.json"


def _read_record(path: Path, identity: str) -> FinishedShard | None:
    """The record, or None when it is not there, unreadable or of another data set: the shard is then made again."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["identity"] != identity:
            return None
        return FinishedShard(ShardRecord(**content["shard"]), tuple(IndexRow(**row) for row in content["rows"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _has_size(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size
