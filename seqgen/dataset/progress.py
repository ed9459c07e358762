"""How far a data set is: which shards are durable, and which were set aside.

    DIR/.progress/<shard>.json           {identity, shard: ShardRecord, modified_ns, rows: {column: values, or the one that all have}}: written by whoever made
                                         the shard, when it is durable; `modified_ns`: the shard's time stamp where it was just written or hashed, else null
    DIR/.progress/<shard>.failed.json    {identity, ids, seed, tries, traceback}: of a shard that could not be made
    DIR/.progress/run-<hash>.json        {machine, versions, ..., began}: of each run that worked here
    DIR/shards/.<shard>.partial-...      half a shard of a killed run: swept up by the next one

The order is: claim, shards with their records, index, manifest, and then the progress is cleared. There may be a million records: they are read one by one.
"""

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from seqgen.dataset.index import COLUMNS, Columns, IndexRow, columns_of, rows_of
from seqgen.dataset.manifest import SHARD_FOLDER
from seqgen.dataset.shards import ShardRecord
from seqgen.files import file_digest, json_text, write_json, write_text

PROGRESS_FOLDER = ".progress"
RECORD_ENDING, FAILURE_ENDING = ".tar.json", ".tar.failed.json"
Planned = Callable[[str], Sequence[int] | None]  # the name of a shard to the ids of its sequences; None where it is not asked for


@dataclass(frozen=True)
class FinishedShard:
    """A durable shard with what the index says of its sequences, and its time stamp where its content is known to be as recorded since then."""

    shard: ShardRecord
    columns: Columns
    modified_ns: int | None

    @property
    def rows(self) -> list[IndexRow]:
        """The rows of the index."""
        return rows_of(self.columns)


@dataclass(frozen=True)
class FailedShard:
    """A shard that could not be made: its name, the indices of its sequences, the seed, after how many tries, and what was raised at last."""

    name: str
    ids: tuple[int, ...]
    seed: int
    tries: int
    traceback: str


def record_shard(directory: Path, shard: ShardRecord, rows: Sequence[IndexRow], identity: str, *, just_written: bool = False) -> None:
    """Notes that a shard of the data set of this identity is durable. `just_written`, or hashed, by the caller: a later run need not read it as long as its time
    stamp stays what it is."""
    modified_ns = (directory / SHARD_FOLDER / shard.name).stat().st_mtime_ns if just_written else None
    content = {"identity": identity, "shard": asdict(shard), "modified_ns": modified_ns, "rows": _packed(columns_of(rows))}
    write_text(_record_path(directory, shard.name), json.dumps(content, allow_nan=False, ensure_ascii=False, separators=(",", ":")) + "\n")
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
    for name in sorted(name for name in _names(directory) if name.startswith("run-") and name.endswith(".json")):
        try:
            run = json.loads((directory / PROGRESS_FOLDER / name).read_text(encoding="utf-8"))
            runs += [run] if isinstance(run, dict) else []
        except (OSError, ValueError, RecursionError):
            continue
    return sorted(runs, key=lambda run: str(run.get("began")))


def read_record(directory: Path, name: str, ids: Sequence[int], identity: str) -> FinishedShard | None:
    """What the record says of a planned shard; None where none of this data set vouches for it with these ids, or the file has not the recorded size."""
    record = _read_record(_record_path(directory, name), identity)
    if record is None or record.shard.name != name or record.columns["id"] != list(ids):
        return None
    return record if _size_and_time(directory / SHARD_FOLDER / name)[0] == record.shard.bytes else None


def recorded_shards(directory: Path, planned: Planned, identity: str) -> Iterator[FinishedShard]:
    """The planned shards that have such a record, one in memory at a time, in no order."""
    for name in _recorded_names(directory):
        ids = planned(name)
        record = None if ids is None else read_record(directory, name, ids, identity)
        if record:
            yield record


def finished_shards(directory: Path, planned: Planned, identity: str) -> Iterator[ShardRecord]:
    """Those of them that need not be made again: their files have the recorded hash, or the time stamp that they had when they had it."""
    for record in recorded_shards(directory, planned, identity):
        path = directory / SHARD_FOLDER / record.shard.name
        if _size_and_time(path)[1] == record.modified_ns or file_digest(path) == record.shard.sha256:
            yield record.shard


def count_records(directory: Path) -> int:
    """How many shards have a record, of whichever data set."""
    return sum(1 for _ in _recorded_names(directory))


def adopt_records(directory: Path, theirs: str, ours: str) -> None:
    """The records of one data set become another's, which begins with the same sequences."""
    for name in list(_recorded_names(directory)):  # which change meanwhile
        path = _record_path(directory, name)
        if _read_record(path, theirs):
            content = json.loads(path.read_text(encoding="utf-8"))
            write_text(path, json.dumps({**content, "identity": ours}, ensure_ascii=False, separators=(",", ":")) + "\n")


def has_record(directory: Path, shard: str) -> bool:
    """Whether there is a record of a shard, of whichever data set."""
    return _record_path(directory, shard).exists()


def forget_shards(directory: Path) -> None:
    """Removes all records."""
    for name in list(_names(directory)):
        if name.endswith((RECORD_ENDING, FAILURE_ENDING)):
            (directory / PROGRESS_FOLDER / name).unlink()


def clear_progress(directory: Path) -> None:
    """Removes the progress of a finished data set."""
    shutil.rmtree(directory / PROGRESS_FOLDER, ignore_errors=True)


def _names(directory: Path) -> Iterator[str]:
    """The names in the progress folder, as they come: a listing of a million is never held."""
    try:
        with os.scandir(directory / PROGRESS_FOLDER) as entries:
            yield from (entry.name for entry in entries)
    except FileNotFoundError:
        return


def _recorded_names(directory: Path) -> Iterator[str]:
    """The names of the shards that have a record."""
    return (name.removesuffix(".json") for name in _names(directory) if name.endswith(RECORD_ENDING) and not name.startswith("."))


def _record_path(directory: Path, shard: str) -> Path:
    return directory / PROGRESS_FOLDER / f"{shard}.json"


def _failure_path(directory: Path, shard: str) -> Path:
    return directory / PROGRESS_FOLDER / f"{shard}.failed.json"


def _packed(columns: Columns) -> dict[str, Any]:
    """Columns, those of one value as that value, for most say the same of all clips of a data set; never the ids, which say how many there are."""
    return {name: values if name == "id" or any(value != values[0] for value in values) else values[0] for name, values in columns.items()}


def _unpacked(packed: dict[str, Any]) -> Columns:
    """The columns again. KeyErrors, TypeErrors and ValueErrors where they are none of an index."""
    length = len(packed["id"])
    columns = {name: packed[name] if isinstance(packed[name], list) else [packed[name]] * length for name in COLUMNS}
    if any(len(values) != length for values in columns.values()):
        raise ValueError("columns of several lengths")
    return columns


def _read_record(path: Path, identity: str) -> FinishedShard | None:
    """The record, or None when it is not there, unreadable or of another data set: the shard is then made again."""
    try:
        content = json.loads(path.read_bytes())
        if content["identity"] != identity:
            return None
        modified_ns = content["modified_ns"]
        return FinishedShard(ShardRecord(**content["shard"]), _unpacked(content["rows"]), modified_ns if isinstance(modified_ns, int) else None)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _size_and_time(path: Path) -> tuple[int, int]:
    """Size and time stamp (ns) of a file; (-1, -1) where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return -1, -1
    return (found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else (-1, -1)
