"""`dataset.json`: what a data set is and is made of. Written last, so its presence says that the data set is whole.

    format          "seqgen"                   schema_version   3
    config          what it was made with      config_hash      sha256 of it, in canonical JSON      seed      null where the parts have several
    identity        sha256 of config, assets and all else that decides the bytes: a run continues only what has its own
    counts          {sequences, frames, splits: {train: ...}}
    shares          of the frames in which a part of the hand is outside the picture; of the clips with left hands, an arm, an occluder
    conventions     `seqgen.dataset.conventions`
    assets          [{kind, name, licence, source, sha256, terms}]: see `seqgen.dataset.licences.Asset` for what is hashed
    sharing         {may_be_shared, because: [sentences], attribution: [whom to name]}: whether the licences allow to pass the data set on
    left_out        {label array: licence that forbids to store it}
    shards          [{name, split, sequences, bytes, sha256}]
    index           {bytes, sha256} of index.parquet
    parts           [{path, identity, sequences}]: of an index over several data sets, their folders as seen from this one; else empty
    run             machine, versions, times: the only part that differs between two runs of one config
    checksum        sha256 of this file up to here
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import islice
from textwrap import indent
from typing import Any, TypeVar

from seqgen.config import config_digest
from seqgen.dataset.conventions import conventions
from seqgen.dataset.index import INDEX_NAME, IndexRow
from seqgen.dataset.index_writer import IndexRecord
from seqgen.dataset.licences import Asset, verdict_of
from seqgen.dataset.shards import ShardRecord
from seqgen.dataset.tally import ShardTable, Tally, tally_of
from seqgen.errors import UserError
from seqgen.files import json_text, written_aside
from seqgen.places import Place, facts_in
from seqgen.splits import SPLITS
from seqgen.store_errors import StoreError

MANIFEST_NAME = "dataset.json"
SHARD_FOLDER = "shards"
FORMAT = "seqgen"
SCHEMA_VERSION = 3
ASKED_AT_ONCE = 1000  # shards
SHARD_NAME = re.compile(r"(train|val|test)-\d{6,}\.tar")  # a manifest from outside must not lead out of its folder
PLACE, END = "\0", b"\n}\n"  # where the shards go in the text of a manifest: no name holds a zero byte; and how that text ends
Record = TypeVar("Record")


@dataclass(frozen=True)
class Part:
    """A data set that an index goes over: its folder as seen from the index's, what it is, how many sequences it has."""

    path: str
    identity: str
    sequences: int


@dataclass(frozen=True)
class Manifest:
    """The content of `dataset.json`, field by field."""

    config: dict[str, Any]
    config_hash: str
    identity: str
    seed: int | None
    counts: dict[str, Any]
    shares: dict[str, float]
    conventions: dict[str, Any]
    assets: tuple[Asset, ...]
    sharing: dict[str, Any]
    left_out: dict[str, str]
    shards: Sequence[ShardRecord]
    index: IndexRecord
    parts: tuple[Part, ...]
    run: dict[str, Any]


def build_manifest(
    config: dict[str, Any],
    identity: str,
    *,
    seed: int | None,
    frames: int,
    assets: Sequence[Asset],
    left_out: dict[str, str],
    shards: Sequence[ShardRecord],
    rows: Iterable[IndexRow] | Tally,
    index: IndexRecord,
    run: dict[str, Any],
    parts: Sequence[Part] = (),
) -> Manifest:
    """The manifest of a data set whose clips have `frames` frames. `identity` is what `claim_folder` was given, `rows` are the index's, or the tally of them."""
    tally = rows if isinstance(rows, Tally) else tally_of(rows)
    return Manifest(
        config=config,
        config_hash=config_digest(config),
        identity=identity,
        seed=seed,
        counts={"sequences": tally.sequences, "frames": tally.sequences * frames, "splits": {name: tally.splits[name] for name in SPLITS if tally.splits[name]}},
        shares=_shares(tally, frames),
        conventions=conventions(),
        assets=tuple(assets),
        sharing=verdict_of(assets, tally.shareable, tally.sequences),
        left_out=left_out,
        shards=shards if isinstance(shards, ShardTable) else tuple(shards),
        index=index,
        parts=tuple(parts),
        run=run,
    )


def _shares(tally: Tally, frames: int) -> dict[str, float]:
    """How much of a data set has what users ask for by a share, as it came out."""
    outside = tally.frames_outside / (tally.sequences * frames)
    return {"frames_partly_outside": outside, **{name: having / tally.sequences for name, having in tally.having.items()}}


def missing_files(directory: Place, manifest: Manifest) -> list[Place]:
    """The index and shards that are not there, or not with their recorded size."""
    [index] = facts_in(directory, [INDEX_NAME])
    missing = [] if index and index.st_size == manifest.index.bytes else [directory / INDEX_NAME]
    shards = iter(manifest.shards)
    while batch := list(islice(shards, ASKED_AT_ONCE)):
        found = facts_in(directory / SHARD_FOLDER, [shard.name for shard in batch])
        missing += [directory / SHARD_FOLDER / shard.name for shard, facts in zip(batch, found, strict=True) if facts is None or facts.st_size != shard.bytes]
    return missing


def part_folders(directory: Place, manifest: Manifest) -> tuple[Place, ...]:
    """The folders with the shards, by the `part` of an index row: the data set's own, or those of its parts. A UserError where a part is gone or is another by now."""
    return tuple(_part_folder(directory, part) for part in manifest.parts) or (directory,)


def _part_folder(directory: Place, part: Part) -> Place:
    folder = directory / part.path
    if not facts_in(folder, [MANIFEST_NAME])[0]:
        again = f"`seqgen export --merge ... --out {directory}` with all its parts where they are now"
        raise UserError(f"{directory}: its part {folder} is not there, or not finished; put it back, or run {again}")
    theirs = read_manifest(folder)
    if theirs.identity != part.identity or theirs.parts:
        raise UserError(f"{directory}: its part {folder} is not the data set that was merged: grown or made anew; remove {directory} and merge them again")
    return folder


def write_manifest(directory: Place, manifest: Manifest) -> None:
    """Declares the data set in `directory` whole. Index and shards must be there."""
    missing = missing_files(directory, manifest)
    if missing:
        raise ValueError(f"{missing[0]} is not there in full: a manifest is written last")
    digest = hashlib.sha256()
    with written_aside(directory / MANIFEST_NAME) as aside, open(aside, "xb") as file:
        for piece in _pieces(manifest):
            file.write(piece)
            digest.update(piece)
        digest.update(END)
        file.write(_checksum(digest.hexdigest()) + END)


def _pieces(manifest: Manifest) -> Iterator[bytes]:
    """The text that `json_text` makes of a manifest, up to its `END`, shard by shard: there may be a million."""
    content = {"format": FORMAT, "schema_version": SCHEMA_VERSION, **asdict(replace(manifest, shards=()))}
    text = json_text({**content, "shards": [PLACE] if len(manifest.shards) else []}).removesuffix(END.decode())
    before, place, after = text.partition(f"  {json.dumps(PLACE)}")
    yield before.encode()
    for number, shard in enumerate(manifest.shards if place else ()):
        yield (",\n" * bool(number) + indent(json_text(asdict(shard)).rstrip(), "  ")).encode()
    yield after.encode()


def _checksum(checksum: str) -> bytes:
    """The last entry of a manifest, as it stands before the `END`."""
    return f',\n "checksum": "{checksum}"'.encode()


def with_checksum(content: dict[str, Any]) -> str:
    """The text of a manifest of this content, with its checksum for the last entry: a changed byte anywhere shows."""
    checksum = hashlib.sha256(json_text(content).encode()).hexdigest()
    return json_text({**content, "checksum": checksum})


def is_as_written(directory: Place) -> bool:
    """Whether `dataset.json`, which must be readable, is byte for byte what was once written."""
    data = (directory / MANIFEST_NAME).read_bytes()
    size = len(_checksum("0" * 64) + END)
    text, last = data[:-size], data[-size:]
    return last == _checksum(hashlib.sha256(text + END).hexdigest()) + END


def read_manifest(directory: Place) -> Manifest:
    """The manifest of the data set in `directory`."""
    path = directory / MANIFEST_NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{path} is missing: not a data set, or not finished; run the generating command again") from None
    except StoreError:  # a store that does not answer has not said anything of the data set
        raise
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged: {error}; `seqgen verify {directory} --repair` may mend it") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{path} was not written by seqgen")
    if content.get("schema_version") != SCHEMA_VERSION:
        raise UserError(f"{path} has schema version {content.get('schema_version')}, this seqgen reads {SCHEMA_VERSION}: use the seqgen that wrote it, or generate anew")
    return _parse(content, path)


def _parse(content: dict[str, Any], path: Place) -> Manifest:
    """The record of a file of our schema version."""
    try:
        values = {field.name: content[field.name] for field in fields(Manifest)}
        kinds = {**dict.fromkeys(("config", "counts", "shares", "sharing", "left_out", "run", "conventions"), dict), "config_hash": str, "identity": str}
        kinds["seed"] = int | None if content["parts"] else int
        for name, kind in kinds.items():
            if not isinstance(values[name], kind):
                raise TypeError(f"{name} is {values[name]!r}")
        records = {name: tuple(_record(kind, entry) for entry in content[name]) for name, kind in {"assets": Asset, "shards": ShardRecord, "parts": Part}.items()}
        records["index"] = _record(IndexRecord, content["index"])
        _check_counts(**values["counts"])
        _check_sharing(**values["sharing"])
    except (KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged: {error}; `seqgen verify {path.parent} --repair` may mend it") from error
    for shard in records["shards"]:
        if not SHARD_NAME.fullmatch(shard.name):
            raise UserError(f"{path} names a shard {shard.name!r}, which seqgen would not; fetch or generate it again")
    return Manifest(**{**values, **records})


def _check_counts(sequences: Any, frames: Any, splits: Any) -> None:
    for name, count in {"sequences": sequences, "frames": frames}.items():
        if type(count) is not int or count < 1:
            raise TypeError(f"counts.{name} is {count!r}")
    if not isinstance(splits, dict):
        raise TypeError(f"counts.splits is {splits!r}")


def _check_sharing(may_be_shared: Any, because: Any, attribution: Any) -> None:
    if not isinstance(may_be_shared, bool) or not isinstance(attribution, list) or not isinstance(because, list) or not because:
        raise TypeError(f"sharing is {may_be_shared!r}, because {because!r}, attribution {attribution!r}")


def _record(kind: type[Record], entry: Any) -> Record:
    """A flat record, each value of the type its field says."""
    record = kind(**entry)
    for field in fields(kind):
        if not isinstance(getattr(record, field.name), field.type):
            raise TypeError(f"{field.name} is {getattr(record, field.name)!r}")
    return record
