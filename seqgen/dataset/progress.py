"""How far a data set is: which shards are durable, and which were set aside.

    DIR/.progress/<shard>.json           {identity, shard: ShardRecord, modified_ns, rows: {column: values, or the one that all have}}: written by whoever made
                                         the shard, when it is durable; `modified_ns`: the shard's time stamp where it was just written or hashed, else null
    DIR/.progress/<shard>.failed.json    {identity, ids, seed, tries, traceback}: of a shard that could not be made
    DIR/.progress/run-<hash>.json        {machine, versions, ..., began}: of each run that worked here
    DIR/shards/.<shard>.partial-...      half a shard of a killed run: swept up by the next one

The order is: claim, shards with their records, index, manifest, and then the progress is cleared. There may be a million records: they are read a few at a time.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from seqgen.dataset.index import COLUMNS, Columns, IndexRow, columns_of, rows_of
from seqgen.dataset.manifest import SHARD_FOLDER
from seqgen.dataset.shards import ShardRecord
from seqgen.files import file_digest, json_text, remove_tree, write_json, write_text
from seqgen.places import Place, contents_in, facts_in, names_in

PROGRESS_FOLDER = ".progress"
RECORD_ENDING, FAILURE_ENDING = ".tar.json", ".tar.failed.json"
READ_AT_ONCE = 100  # records
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


def record_shard(directory: Place, shard: ShardRecord, rows: Sequence[IndexRow], identity: str, *, just_written: bool = False) -> None:
    """Notes that a shard of the data set of this identity is durable. `just_written`, or hashed, by the caller: a later run need not read it as long as its time
    stamp stays what it is."""
    modified_ns = (directory / SHARD_FOLDER / shard.name).stat().st_mtime_ns if just_written else None
    _write_record(directory, FinishedShard(shard, columns_of(rows), modified_ns), identity)
    if isinstance(directory, Path):  # in a store a request for each shard; the record outweighs what an earlier run noted
        _failure_path(directory, shard.name).unlink(missing_ok=True)


def set_aside(directory: Place, failed: FailedShard, identity: str) -> Place:
    """Notes that a shard could not be made; returns where."""
    path = _failure_path(directory, failed.name)
    write_json(path, {"identity": identity, **asdict(failed)})
    return path


def note_run(directory: Place, run: Mapping[str, Any]) -> None:
    """Notes that a run works here: a data set tells of all machines that made it."""
    write_json(directory / PROGRESS_FOLDER / f"run-{hashlib.sha256(json_text(run).encode()).hexdigest()[:16]}.json", run)


def noted_runs(directory: Place) -> list[dict[str, Any]]:
    """The runs that are noted, the first to begin first; those whose note is damaged are left out."""
    runs = []
    names = sorted(name for name in _names(directory) if name.startswith("run-") and name.endswith(".json"))
    for data in contents_in(directory / PROGRESS_FOLDER, names):
        try:
            run = json.loads(data or b"")
            runs += [run] if isinstance(run, dict) else []
        except (ValueError, RecursionError):
            continue
    return sorted(runs, key=lambda run: str(run.get("began")))


def read_records(directory: Place, asked: Iterable[tuple[str, Sequence[int]]], identity: str) -> Iterator[FinishedShard | None]:
    """What the records say of planned shards (name, ids of its sequences), in their order; None where none of this data set vouches for one with these ids, or the
    file has not the recorded size. A few are in memory at a time."""
    return (record for record, _ in _records_and_times(directory, asked, identity))


def recorded_shards(directory: Place, planned: Planned, identity: str) -> Iterator[FinishedShard]:
    """The planned shards that have such a record, in no order."""
    return (record for record in read_records(directory, _asked(directory, planned), identity) if record)


def finished_shards(directory: Place, planned: Planned, identity: str, *, note: bool = False) -> Iterator[ShardRecord]:
    """Those of them that need not be made again: their files have the recorded hash, or the time stamp that they had when they had it. `note`: what was hashed here
    is recorded with its time stamp, so that no later run hashes it again."""
    for record, modified_ns in _records_and_times(directory, _asked(directory, planned), identity):
        if not record:
            continue
        if modified_ns != record.modified_ns:
            if file_digest(directory / SHARD_FOLDER / record.shard.name) != record.shard.sha256:
                continue
            if note:
                _write_record(directory, replace(record, modified_ns=modified_ns), identity)
        yield record.shard


def _asked(directory: Place, planned: Planned) -> Iterator[tuple[str, Sequence[int]]]:
    """The planned shards that have a record, of whichever data set."""
    return ((name, ids) for name in _recorded_names(directory) if (ids := planned(name)) is not None)


def _records_and_times(directory: Place, asked: Iterable[tuple[str, Sequence[int]]], identity: str) -> Iterator[tuple[FinishedShard | None, int]]:
    """The records, or None, and the time stamps of the shards."""
    left = iter(asked)
    while batch := list(islice(left, READ_AT_ONCE)):
        contents = contents_in(directory / PROGRESS_FOLDER, [f"{name}.json" for name, _ in batch])
        found = facts_in(directory / SHARD_FOLDER, [name for name, _ in batch])
        for (name, ids), content, facts in zip(batch, contents, found, strict=True):
            record = _parse_record(content, identity)
            as_planned = record and facts and record.shard.name == name and record.columns["id"] == list(ids) and record.shard.bytes == facts.st_size
            yield (record, facts.st_mtime_ns) if as_planned else (None, 0)


def count_records(directory: Place) -> int:
    """How many shards have a record, of whichever data set."""
    return sum(1 for _ in _recorded_names(directory))


def adopt_records(directory: Place, theirs: str, ours: str) -> None:
    """The records of one data set become another's, which begins with the same sequences."""
    for name in list(_recorded_names(directory)):  # which change meanwhile
        path = _record_path(directory, name)
        data = path.read_bytes()
        if _parse_record(data, theirs):
            write_text(path, json.dumps({**json.loads(data), "identity": ours}, ensure_ascii=False, separators=(",", ":")) + "\n")


def has_record(directory: Place, shard: str) -> bool:
    """Whether there is a record of a shard, of whichever data set."""
    return _record_path(directory, shard).exists()


def forget_shards(directory: Place) -> None:
    """Removes all records."""
    for name in list(_names(directory)):
        if name.endswith((RECORD_ENDING, FAILURE_ENDING)):
            (directory / PROGRESS_FOLDER / name).unlink()


def clear_progress(directory: Place) -> None:
    """Removes the progress of a finished data set."""
    folder = directory / PROGRESS_FOLDER
    if isinstance(folder, Path):  # name by name: to remove a tree is to list each of its folders, which takes 300 MB for a million names
        for name in names_in(folder):
            with suppress(OSError):
                (folder / name).unlink()
    remove_tree(folder)


def _names(directory: Place) -> Iterator[str]:
    """The names in the progress folder, as they come: a listing of a million is never held."""
    return names_in(directory / PROGRESS_FOLDER)


def _recorded_names(directory: Place) -> Iterator[str]:
    """The names of the shards that have a record."""
    return (name.removesuffix(".json") for name in _names(directory) if name.endswith(RECORD_ENDING) and not name.startswith("."))


def _write_record(directory: Place, record: FinishedShard, identity: str) -> None:
    content = {"identity": identity, "shard": asdict(record.shard), "modified_ns": record.modified_ns, "rows": _packed(record.columns)}
    write_text(_record_path(directory, record.shard.name), json.dumps(content, allow_nan=False, ensure_ascii=False, separators=(",", ":")) + "\n")


def _record_path(directory: Place, shard: str) -> Place:
    return directory / PROGRESS_FOLDER / f"{shard}.json"


def _failure_path(directory: Place, shard: str) -> Place:
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


def _parse_record(data: bytes | None, identity: str) -> FinishedShard | None:
    """The record, or None when it is not there, damaged or of another data set: the shard is then made again."""
    try:
        content = json.loads(data or b"")
        if content["identity"] != identity:
            return None
        modified_ns = content["modified_ns"]
        return FinishedShard(ShardRecord(**content["shard"]), _unpacked(content["rows"]), modified_ns if isinstance(modified_ns, int) else None)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
