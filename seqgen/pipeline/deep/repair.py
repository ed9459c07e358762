"""A damaged data set made whole: it becomes an unfinished one that lacks exactly its bad shards, and is continued.

    good shards      recorded as durable, from what they hold        bad ones          removed
    copies of shards, half files    removed                          other files under shards/    moved to DIR/.set-aside
    dataset.json, index.parquet     removed last; the run that continues writes them anew

Killed anywhere, `verify --repair` or the generating command goes on.
"""

import hashlib
import itertools
import os
from collections.abc import Collection
from fnmatch import fnmatch
from pathlib import Path

from seqgen.dataset.claim import note_runs_of, rewrite_claim
from seqgen.dataset.encoding import decode_meta
from seqgen.dataset.hold import held_alone
from seqgen.dataset.index import INDEX_NAME, IndexRow, index_row
from seqgen.dataset.manifest import MANIFEST_NAME, SHARD_FOLDER
from seqgen.dataset.progress import forget_shards, record_shard
from seqgen.dataset.shards import ShardRecord, read_members, shard_spans
from seqgen.errors import UserError
from seqgen.files import PARTIAL_GLOB, file_digest
from seqgen.pipeline.deep.origin import Reopened
from seqgen.pipeline.plan import ShardPlan, plan_shards

ASIDE_FOLDER = ".set-aside"


def make_unfinished(directory: Path, reopened: Reopened, bad: Collection[str]) -> list[str]:
    """Leaves of a data set what is sound, for a run to continue; returns the names of the shards that it lacks. `bad`: names of files that are at fault."""
    plans = plan_shards(reopened.config)
    with held_alone(directory):
        records = {plan.name: _read_record(directory, plan) for plan in plans if plan.name not in bad}
        sound = {name: record for name, record in records.items() if record}
        forget_shards(directory)
        rewrite_claim(directory, reopened.origin)
        for shard, rows in sound.values():
            record_shard(directory, shard, rows, reopened.origin.identity, just_written=True)  # they were hashed
        if reopened.manifest:
            note_runs_of(directory, reopened.manifest.run)
        _clear(directory, {plan.name for plan in plans}, sound.keys())
        (directory / MANIFEST_NAME).unlink(missing_ok=True)
        (directory / INDEX_NAME).unlink(missing_ok=True)
    return [plan.name for plan in plans if plan.name not in sound]


def _read_record(directory: Path, plan: ShardPlan) -> tuple[ShardRecord, list[IndexRow]] | None:
    """What a sound shard's record says, from the shard itself; None where it is not the planned one."""
    path = directory / SHARD_FOLDER / plan.name
    try:
        rows = [_row(path, key, span) for key, span in shard_spans(path).items()]
    except (UserError, OSError):
        return None
    if [row.id for row in rows] != list(plan.ids):
        return None
    return ShardRecord(plan.name, rows[0].split, len(rows), path.stat().st_size, file_digest(path)), rows


def _row(path: Path, key: str, span: tuple[int, int]) -> IndexRow:
    with open(path, "rb") as file:
        file.seek(span[0])
        sha256 = hashlib.sha256(file.read(span[1] - span[0])).hexdigest()
    return index_row(decode_meta(key, read_members(path, span, {"meta.json"})), path.name, sha256)


def _clear(directory: Path, planned: Collection[str], sound: Collection[str]) -> None:
    """Takes away what is under shards/ and is no sound shard: for good what can be made again, aside what cannot."""
    folder = directory / SHARD_FOLDER
    hashes = {file_digest(folder / name) for name in sound}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.name in sound:
            continue
        if path.is_file() and (path.name in planned or fnmatch(path.name, PARTIAL_GLOB) or file_digest(path) in hashes):
            path.unlink()
        else:
            _set_aside(path, directory / ASIDE_FOLDER)


def _set_aside(path: Path, folder: Path) -> None:
    """Moves a stranger to a folder, under a name that is free there."""
    folder.mkdir(exist_ok=True)
    names = itertools.chain([path.name], (f"{path.name}.{number}" for number in itertools.count(1)))
    path.rename(next(folder / name for name in names if not os.path.lexists(folder / name)))
