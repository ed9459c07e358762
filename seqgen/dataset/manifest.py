"""`dataset.json`: what a data set is and is made of. Written last, so its presence says that the data set is whole.

    format          "seqgen"                   schema_version   2
    config          what it was made with      config_hash      sha256 of it, in canonical JSON      seed
    identity        sha256 of config, assets and all else that decides the bytes: a run continues only what has its own
    counts          {sequences, frames, splits: {train: ...}}
    shares          of the frames in which a part of the hand is outside the picture; of the clips with left hands, an arm, an occluder
    conventions     `seqgen.dataset.conventions`
    assets          [{kind, name, licence, source}]
    left_out        {label array: licence that forbids to store it}
    shards          [{name, split, sequences, bytes, sha256}]
    run             machine, versions, times: the only part that differs between two runs of one config
"""

import json
import os
import platform
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from importlib import metadata
from pathlib import Path
from typing import Any

from seqgen.config import config_digest
from seqgen.dataset.conventions import conventions
from seqgen.dataset.index import INDEX_NAME, IndexRow
from seqgen.dataset.shards import ShardRecord
from seqgen.errors import UserError
from seqgen.files import write_json

MANIFEST_NAME = "dataset.json"
SHARD_FOLDER = "shards"
FORMAT = "seqgen"
SCHEMA_VERSION = 2


@dataclass(frozen=True)
class Asset:
    """Something of others that the pictures show or follow: a pose bank, a hand model, photos. `source`: where it is from (an address or a package)."""

    kind: str
    name: str
    licence: str
    source: str


@dataclass(frozen=True)
class Manifest:
    """The content of `dataset.json`, field by field."""

    config: dict[str, Any]
    config_hash: str
    identity: str
    seed: int
    counts: dict[str, Any]
    shares: dict[str, float]
    conventions: dict[str, Any]
    assets: tuple[Asset, ...]
    left_out: dict[str, str]
    shards: tuple[ShardRecord, ...]
    run: dict[str, Any]


def build_manifest(
    config: dict[str, Any],
    identity: str,
    *,
    seed: int,
    frames: int,
    assets: Sequence[Asset],
    left_out: dict[str, str],
    shards: Sequence[ShardRecord],
    rows: Sequence[IndexRow],
    run: dict[str, Any],
) -> Manifest:
    """The manifest of a data set whose clips have `frames` frames. `identity` is what `claim_folder` was given, `rows` are the index's."""
    splits: Counter[str] = Counter()
    for shard in shards:
        splits[shard.split] += shard.sequences
    counts = {"sequences": splits.total(), "frames": splits.total() * frames, "splits": dict(splits)}
    return Manifest(config, config_digest(config), identity, seed, counts, _shares(rows, frames), conventions(), tuple(assets), left_out, tuple(shards), run)


def _shares(rows: Sequence[IndexRow], frames: int) -> dict[str, float]:
    """How much of a data set has what users ask for by a share, as it came out."""
    of_clips = {"left": [row.side == "left" for row in rows], "arm": [row.arm != "none" for row in rows], "occluder": [row.occluder != "none" for row in rows]}
    outside = sum(row.frames_outside for row in rows) / (len(rows) * frames)
    return {"frames_partly_outside": outside, **{name: sum(having) / len(rows) for name, having in of_clips.items()}}


def describe_machine() -> dict[str, Any]:
    """Machine and versions for the `run` block, without names of hosts or people."""
    versions = {"python": platform.python_version(), "zlib": zlib.ZLIB_RUNTIME_VERSION}
    for name in ("seqgen", "numpy", "pillow", "pyarrow", "torch", "warp-lang", "ray"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {"machine": {"system": platform.system(), "architecture": platform.machine(), "cores": os.cpu_count()}, "versions": versions}


def missing_files(directory: Path, shards: Sequence[ShardRecord]) -> list[Path]:
    """The index and shards that are not there, or not with their recorded size."""
    index = [] if (directory / INDEX_NAME).is_file() else [directory / INDEX_NAME]
    paths = {directory / SHARD_FOLDER / shard.name: shard.bytes for shard in shards}
    return index + [path for path, size in paths.items() if not path.is_file() or path.stat().st_size != size]


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Declares the data set in `directory` whole. Index and shards must be there."""
    missing = missing_files(directory, manifest.shards)
    if missing:
        raise ValueError(f"{missing[0]} is not there in full: a manifest is written last")
    write_json(directory / MANIFEST_NAME, {"format": FORMAT, "schema_version": SCHEMA_VERSION, **asdict(manifest)})


def read_manifest(directory: Path) -> Manifest:
    """The manifest of the data set in `directory`."""
    path = directory / MANIFEST_NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{path} is missing: not a data set, or not finished; run the generating command again") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged: {error}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{path} was not written by seqgen")
    if content.get("schema_version") != SCHEMA_VERSION:
        raise UserError(f"{path} has schema version {content.get('schema_version')}, this seqgen reads {SCHEMA_VERSION}: use the seqgen that wrote it, or generate anew")
    return _parse(content, path)


def _parse(content: dict[str, Any], path: Path) -> Manifest:
    """The record of a file of our schema version."""
    try:
        values = {field.name: content[field.name] for field in fields(Manifest)}
        for name, kind in {"config": dict, "config_hash": str, "identity": str, "counts": dict, "shares": dict}.items():
            if not isinstance(values[name], kind):
                raise TypeError(f"{name} is {values[name]!r}")
        assets, shards = (tuple(record(**entry) for entry in content[name]) for name, record in (("assets", Asset), ("shards", ShardRecord)))
    except (KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged: {error}") from error
    return Manifest(**{**values, "assets": assets, "shards": shards})
