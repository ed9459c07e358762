"""One shard held against what is known of it: its record in dataset.json, its rows of the index, the config, the schema that all clips of a data set have.

There are two witnesses of a shard's bytes: the hash of the file in dataset.json, and the hashes of its clips in the index. Which file is at fault where they
disagree follows from which of them is as it was written. Pure work on one file; knows nothing of the other shards.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from seqgen.dataset.encoding import member_names, sequence_schema
from seqgen.dataset.index import INDEX_NAME, IndexRow, index_row
from seqgen.dataset.manifest import MANIFEST_NAME, SHARD_FOLDER
from seqgen.dataset.sequence import HandSequence
from seqgen.dataset.shards import ShardRecord, sample_bytes
from seqgen.dataset.verify.clip import decode_clip
from seqgen.dataset.verify.truths import sequence_faults
from seqgen.dataset.verify.walk import Clip, Gap, read_clips
from seqgen.files import file_digest
from seqgen.places import Place

MOST_WORDS = 400  # characters of a fault that are shown: names and values from damaged files may be of any length
BYTES_A_PIXEL = 32  # of all pictures of a frame: 21 as they are decoded, and none grows by half when it is encoded
BYTES_BESIDE = 2**24  # of headers, and of what a clip has once
MOST_BYTES = 2**31  # of a clip, where no config says how large its pictures are
FROM_CONFIG = {  # what the meta of all clips takes from the config as it stands there
    "seed": "seed",
    "frames": "clip.frames",
    "size": "clip.size",
    "camera.model": "camera.model",
    "hand.kind": "hand.kind",
    "light.kind": "light.kind",
    "sensor.kind": "sensor.kind",
    "sensor.depth": "sensor.depth",
}
Inspect = Callable[[HandSequence], list[str]]


@dataclass(frozen=True)
class Fault:
    """Something that is not as it should be. `file`: its name ("train-000003.tar", "index.parquet", "dataset.json"). `key`: of the clip, where one can be told."""

    file: str
    key: str | None
    what: str

    def __str__(self) -> str:
        """One line, whatever the file held."""
        line = " ".join(f"{self.file}{f', {self.key}' if self.key else ''}: {self.what}".split())
        shown = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in line)
        return shown if len(shown) <= MOST_WORDS else f"{shown[:MOST_WORDS]}..."


@dataclass(frozen=True)
class Expected:
    """What is known of a shard. `record`: what dataset.json says of it, None where that cannot be read. `rows`: those of the index for it, by rising id, None
    where that cannot be read. `index_sound`: the index is known to be as it was written. `config`: of the data set, as far as it is known. `schema`: what all
    clips have in common (`seqgen.dataset.encoding.sequence_schema`), None where no clip could tell."""

    record: ShardRecord | None
    rows: tuple[IndexRow, ...] | None
    index_sound: bool
    config: dict[str, Any]
    schema: dict[str, Any] | None


def no_more(sequence: HandSequence) -> list[str]:
    """No further checks of a clip."""
    return []


def verify_shard(directory: Place, name: str, expected: Expected, inspect: Inspect = no_more) -> list[Fault]:
    """All faults of the shard `name` of the data set in `directory`. `inspect` is asked about each clip that has none by then."""
    path = directory / SHARD_FOLDER / name
    if not path.is_file():
        return [Fault(name, None, "is no file" if path.exists() else "is missing")]
    other = _other_bytes(path, expected.record)
    blamed = INDEX_NAME if expected.record and not other and not expected.index_sound else name  # where the index and the clips disagree
    check = _ClipCheck(name, blamed, expected, inspect)
    rows = {row.key: row for row in expected.rows or ()}
    faults, keys = [], []
    for found in read_clips(path, most_bytes(expected.config)):
        if isinstance(found, Gap):
            faults.append(_at_gap(name, found))
            continue
        faults += _out_of_place(name, found.key, keys)
        faults += check.faults(found, rows.get(found.key))
        keys.append(found.key)
    faults += [Fault(blamed, key, f"{name} does not hold it" if blamed == INDEX_NAME else "is missing") for key in rows.keys() - set(keys)]
    if expected.rows is None and expected.record and len(keys) != expected.record.sequences:
        faults.append(Fault(name, None, f"holds {len(keys)} sequences, {MANIFEST_NAME} lists {expected.record.sequences}"))
    if not other:
        return faults
    if not faults and keys and keys == [row.key for row in expected.rows or ()]:
        return [Fault(MANIFEST_NAME, None, f"what it lists of {name} is not so, whose clips are those that {INDEX_NAME} lists")]
    return [Fault(name, None, other), *faults]


def most_bytes(config: Mapping[str, Any]) -> int:
    """More bytes than a clip of a data set can have."""
    frames, size = value_at(config, "clip.frames"), value_at(config, "clip.size")
    if not isinstance(frames, int) or not isinstance(size, list | tuple) or len(size) != 2 or not all(isinstance(side, int) for side in size):
        return MOST_BYTES
    return BYTES_BESIDE + frames * size[0] * size[1] * BYTES_A_PIXEL


def value_at(table: Any, dotted: str) -> Any:
    """The value at `section.field` of tables in tables, None where there is none."""
    for name in dotted.split("."):
        table = table.get(name) if isinstance(table, Mapping) else None
    return table


def _other_bytes(path: Place, record: ShardRecord | None) -> str | None:
    """In words, that a shard's size or hash is not as recorded."""
    if record is None:
        return None
    size = path.stat().st_size
    if size != record.bytes:
        return f"has {size:,} bytes, {MANIFEST_NAME} lists {record.bytes:,}"
    try:
        digest = file_digest(path)
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    return None if digest == record.sha256 else f"its sha256 begins with {digest[:12]}, {MANIFEST_NAME} lists {record.sha256[:12]}"


def _at_gap(name: str, gap: Gap) -> Fault:
    return Fault(name, gap.key, f"byte {gap.start:,}: {gap.what}")


def _out_of_place(name: str, key: str, before: Sequence[str]) -> Iterator[Fault]:
    """Clips come by rising index, each once."""
    if before and int(key) <= int(before[-1]):
        yield Fault(name, key, "is there twice" if key in before else f"stands after {before[-1]}")


@dataclass(frozen=True)
class _ClipCheck:
    """The checks of one clip of the shard `name`."""

    name: str
    blamed: str
    expected: Expected
    inspect: Inspect

    def faults(self, clip: Clip, row: IndexRow | None) -> list[Fault]:
        """All of a clip's faults; of one whose members are not those it should have, these."""
        wrong = [_at_gap(self.name, gap) for gap in clip.gaps] or [self._own(clip.key, what) for what in self._wrong_members(clip)]
        if wrong:
            return wrong
        faults = []
        is_listed = row is not None and hashlib.sha256(clip.data).hexdigest() == row.sha256
        if self.expected.rows is not None and not is_listed:
            faults.append(Fault(self.blamed, clip.key, f"{self.name} holds other bytes than {INDEX_NAME} lists" if row else f"{INDEX_NAME} does not list it in {self.name}"))
        if not is_listed and sample_bytes(clip.key, clip.files()) != clip.data:
            faults.append(self._own(clip.key, "a header, or what fills a block up, is not as seqgen writes it"))
        sequence, damage = decode_clip(clip.key, dict(clip.files()))
        faults += [self._own(clip.key, what) for what in damage]
        if sequence is None:
            return faults
        faults += [self._own(clip.key, what) for what in [*self._of_another_set(sequence), *sequence_faults(sequence)]]
        if row is not None and (is_listed or self.blamed == INDEX_NAME):
            faults += [Fault(INDEX_NAME, clip.key, what) for what in _other_row(row, sequence, self.name)]
        return faults or [self._own(clip.key, what) for what in self.inspect(sequence)]

    def _own(self, key: str, what: str) -> Fault:
        return Fault(self.name, key, what)

    def _wrong_members(self, clip: Clip) -> Iterator[str]:
        names = [member.name for member in clip.members]
        if clip.data is None:
            yield f"has {clip.size:,} bytes, more than a clip of this data set can have"
        yield from (f"{name} is there {names.count(name)} times" for name in dict.fromkeys(names) if len(names) > len(set(names)) and names.count(name) > 1)
        if self.expected.schema is not None:
            due = member_names(self.expected.schema["picture shape"][0], self.expected.schema["members"])
            yield from (f"{name} is missing" for name in due if name not in names)
            yield from (f"{name} is no member of its clips" for name in dict.fromkeys(names) if name not in due)
            if sorted(names) == sorted(due) and names != due:
                yield "its members are in another order"

    def _of_another_set(self, sequence: HandSequence) -> Iterator[str]:
        """What shows that a clip is not of this shard or data set."""
        if not self.name.startswith(f"{sequence.split}-"):
            yield f"is of the split {sequence.split}"
        for name, source in FROM_CONFIG.items():
            there, due = value_at(sequence.meta, name), value_at(self.expected.config, source)
            if due is not None and there != (list(due) if isinstance(due, tuple) else due):
                yield f"meta.json: {name} is {there!r}, the data set's {source} is {due!r}"
        fps, stride = value_at(self.expected.config, "clip.fps"), value_at(self.expected.config, "clip.stride")
        if isinstance(fps, int | float) and isinstance(stride, int) and stride > 0 and sequence.meta["fps"] != fps / stride:
            yield f"meta.json: fps is {sequence.meta['fps']!r}, the data set's clip.fps / clip.stride is {fps / stride!r}"
        for name, value in sequence_schema(sequence).items() if self.expected.schema is not None else ():
            if value != self.expected.schema[name]:
                yield f"{name} is {value}, that of other clips of the data set {self.expected.schema[name]}"


def _other_row(row: IndexRow, sequence: HandSequence, shard: str) -> Iterator[str]:
    """Where the row of a clip does not say what the clip's meta says."""
    due = index_row(sequence.meta, shard, row.sha256)
    for field in fields(IndexRow):
        if getattr(row, field.name) != getattr(due, field.name):
            yield f"{field.name} is {getattr(row, field.name)!r}, by {shard} it is {getattr(due, field.name)!r}"
