"""index.parquet and dataset.json held against each other and against what must be true of either. Reads no shard.

What one of them says is used to check the rest also where it is damaged, so far as it can be read.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from seqgen.config import build
from seqgen.dataset.index import INDEX_NAME, IndexRow, read_index, read_origin
from seqgen.dataset.index_writer import describe_index
from seqgen.dataset.manifest import MANIFEST_NAME, SHARD_NAME, Manifest, build_manifest, is_as_written, read_manifest
from seqgen.dataset.meta import sequence_key
from seqgen.dataset.verify.shard import Fault, value_at
from seqgen.errors import UserError
from seqgen.places import Place
from seqgen.splits import SplitConfig

DERIVED = ("config_hash", "counts", "shares")  # of a manifest, from what else is in it and the rows


@dataclass(frozen=True)
class Papers:
    """What is written of a data set beside its shards, None where it cannot be read. `manifest_sound`: dataset.json is as it was once written; `index_sound`:
    and so is the index that it lists."""

    manifest: Manifest | None
    rows: tuple[IndexRow, ...] | None
    origin: dict[str, Any] | None
    manifest_sound: bool
    index_sound: bool

    @property
    def config(self) -> dict[str, Any]:
        """The config of the data set, from what is sound, else from what can be read; empty where nothing can."""
        told = [self.manifest.config] if self.manifest else []
        stored = value_at(self.origin, "config")
        told.insert(0 if not self.manifest_sound else 1, stored if isinstance(stored, dict) else {})
        return next((config for config in told if config), {})


def read_papers(directory: Place) -> tuple[Papers, list[Fault]]:
    """Both files, and what is wrong with each by itself and with their being there together."""
    manifest, faults = _read_manifest(directory)
    rows, origin, index_faults = _read_index(directory)
    manifest_sound = manifest is not None and not faults
    as_listed = manifest is not None and rows is not None and describe_index(directory) == manifest.index
    if manifest is not None and rows is not None and not as_listed:
        index_faults.append(Fault(INDEX_NAME, None, f"has another size or sha256 than {MANIFEST_NAME} lists"))
    papers = Papers(manifest, rows, origin, manifest_sound, manifest_sound and as_listed and not index_faults)
    return papers, [*faults, *index_faults]


def paper_faults(papers: Papers) -> list[Fault]:
    """Where manifest, rows and origin cannot all be true."""
    told = [*_row_faults(papers)] if papers.rows is not None else []
    manifest = papers.manifest
    if manifest is None:
        return told
    if papers.origin is not None:
        for name, due in (("config", manifest.config), ("identity", manifest.identity)):
            if papers.origin.get(name) != due:
                told.append(Fault(INDEX_NAME if papers.manifest_sound else MANIFEST_NAME, None, f"{name} is not that of the other: {INDEX_NAME}, {MANIFEST_NAME}"))
    if papers.rows and (papers.index_sound or not papers.manifest_sound):  # rows that are known to be damaged say nothing of a sound manifest
        told += _listing_faults(manifest, papers.rows)
        told += _derived_faults(manifest, papers.rows)
    if not manifest.parts and manifest.seed != manifest.config.get("seed"):
        told.append(Fault(MANIFEST_NAME, None, f"seed is {manifest.seed}, that of its config {manifest.config.get('seed')}"))
    return told


def _read_manifest(directory: Place) -> tuple[Manifest | None, list[Fault]]:
    path = directory / MANIFEST_NAME
    if path.exists() and not path.is_file():
        return None, [Fault(MANIFEST_NAME, None, "is no file")]
    try:
        manifest = read_manifest(directory)
    except UserError as error:
        return None, [Fault(MANIFEST_NAME, None, str(error).removeprefix(f"{path} "))]
    return manifest, [] if is_as_written(path.parent) else [Fault(MANIFEST_NAME, None, "was changed after it was written: its checksum is of another content")]


def _read_index(directory: Place) -> tuple[tuple[IndexRow, ...] | None, dict[str, Any] | None, list[Fault]]:
    """Rows, origin, and what keeps them from being read."""
    path = directory / INDEX_NAME
    if path.exists() and not path.is_file():
        return None, None, [Fault(INDEX_NAME, None, "is no file")]
    try:
        rows = tuple(read_index(directory))
    except UserError as error:
        return None, None, [Fault(INDEX_NAME, None, str(error).removeprefix(f"{path} "))]
    try:
        origin = read_origin(directory)
    except UserError as error:
        return rows, None, [Fault(INDEX_NAME, None, str(error).removeprefix(f"{path} "))]
    return rows, origin, []


def _row_faults(papers: Papers) -> Iterator[Fault]:
    """What is wrong with rows as such, and by the config."""
    ids = [row.id for row in papers.rows]
    if not ids:
        yield Fault(INDEX_NAME, None, "lists no sequences")
    yield from (Fault(INDEX_NAME, sequence_key(number), f"its id is there {count} times") for number, count in Counter(ids).items() if count > 1)
    if ids != sorted(ids):
        yield Fault(INDEX_NAME, None, "its rows are not sorted by id")
    is_merged = any(row.part for row in papers.rows) or value_at(papers.origin, "parts") is not None or bool(papers.manifest and papers.manifest.parts)
    sequences = len(ids) if is_merged else papers.config.get("sequences")
    if isinstance(sequences, int):
        there = set(ids)
        yield from (Fault(INDEX_NAME, sequence_key(number), "is missing") for number in range(min(sequences, 2 * len(ids) + 1)) if number not in there)
        yield from (Fault(INDEX_NAME, sequence_key(number), f"is none of the {sequences:,} sequences of the data set") for number in ids if not 0 <= number < sequences)
    if not is_merged:
        yield from _place_faults(papers)


def _place_faults(papers: Papers) -> Iterator[Fault]:
    """Where a row says that its clip lies, and of which split it is. Rows of a data set whose shards are its own."""
    split = _split_config(papers.config)
    views = value_at(papers.config, "camera.views")
    known = {shard.name for shard in papers.manifest.shards} if papers.manifest and papers.manifest_sound else None
    last: dict[str, tuple[str, str]] = {}  # by split, the latest shard and where
    for row in papers.rows:
        if row.key != sequence_key(row.id):
            yield Fault(INDEX_NAME, row.key, f"its id is {row.id}")
        if not SHARD_NAME.fullmatch(row.shard) or not row.shard.startswith(f"{row.split}-"):
            yield Fault(INDEX_NAME, row.key, f"lies in {row.shard!r}, which is no shard of its split {row.split!r}")
            continue
        if known is not None and row.shard not in known:
            yield Fault(INDEX_NAME, row.key, f"lies in {row.shard}, which {MANIFEST_NAME} does not list")
        if split is not None and row.id >= 0 and split.of(row.id // (views if isinstance(views, int) and views > 0 else 1)) != row.split:
            yield Fault(INDEX_NAME, row.key, f"its split is {row.split}, by the config it is another")
        before = last.setdefault(row.split, (row.shard, row.key))
        if _number(row.shard) < _number(before[0]):
            yield Fault(INDEX_NAME, row.key, f"lies in {row.shard}, and {before[1]} before it in {before[0]}")
        last[row.split] = (row.shard, row.key)


def _number(shard: str) -> int:
    return int(shard.partition("-")[2].removesuffix(".tar"))


def _split_config(config: dict[str, Any]) -> SplitConfig | None:
    """How the splits are dealt, where the config says so."""
    try:
        return build(SplitConfig, config["split"], where=MANIFEST_NAME)
    except (KeyError, UserError):
        return None


def _listing_faults(manifest: Manifest, rows: Sequence[IndexRow]) -> Iterator[Fault]:
    """The shards that a manifest lists are those that the rows name, with as many sequences."""
    names = [shard.name for shard in manifest.shards]
    yield from (Fault(MANIFEST_NAME, None, f"lists {name} {count} times") for name, count in Counter(names).items() if count > 1)
    held = Counter() if manifest.parts else Counter(row.shard for row in rows)
    for shard in manifest.shards:
        if held[shard.name] != shard.sequences:
            yield Fault(MANIFEST_NAME, None, f"lists {shard.name} with {shard.sequences} sequences, {INDEX_NAME} with {held[shard.name]}")
        if not shard.name.startswith(f"{shard.split}-"):
            yield Fault(MANIFEST_NAME, None, f"lists {shard.name} as of the split {shard.split!r}")
    yield from (Fault(MANIFEST_NAME, None, f"does not list {name}, which {INDEX_NAME} names") for name in sorted(held.keys() - set(names)))


def _derived_faults(manifest: Manifest, rows: Sequence[IndexRow]) -> Iterator[Fault]:
    """What of a manifest follows from the rest of it and the rows."""
    frames = value_at(manifest.config, "clip.frames")
    if not isinstance(frames, int) or frames < 1:
        yield Fault(MANIFEST_NAME, None, f"its config has clips of {frames} frames")
        return
    kept = {name: getattr(manifest, name) for name in ("seed", "assets", "left_out", "shards", "index", "run", "parts")}
    due = build_manifest(manifest.config, manifest.identity, frames=frames, rows=rows, **kept)
    for name in DERIVED:
        if getattr(manifest, name) != getattr(due, name):
            yield Fault(MANIFEST_NAME, None, f"{name} is not what follows from its config and {INDEX_NAME}")
    if manifest.sharing.get("may_be_shared") is not due.sharing["may_be_shared"]:
        yield Fault(MANIFEST_NAME, None, "sharing is not what follows from the licences of its assets")
