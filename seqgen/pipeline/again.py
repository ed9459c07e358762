"""Clips of a stored data set made again, and compared with what is stored: byte for byte on a like platform."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from seqgen.dataset.encoding import encode_sequence
from seqgen.dataset.index import IndexRow
from seqgen.dataset.manifest import SHARD_FOLDER
from seqgen.dataset.meta import sequence_key
from seqgen.dataset.shards import read_members, sample_bytes, shard_spans
from seqgen.errors import UserError
from seqgen.files import written_aside
from seqgen.pipeline.config import GenerateConfig
from seqgen.pipeline.generate import Sources, generate_sequence
from seqgen.pipeline.process import one_thread


@dataclass(frozen=True)
class Remade:
    """A clip made again: its members (name after the key, bytes) in their order, and the hash of what a shard would hold of it."""

    key: str
    members: dict[str, bytes]
    sha256: str


def remake(index: int, sources: Sources, config: GenerateConfig) -> Remade:
    """Clip `index` of a config, as a shard would hold it."""
    with one_thread():
        sequence = generate_sequence(index, sources, config)
    members = encode_sequence(sequence, jpeg_quality=config.output.jpeg_quality)
    return Remade(sequence_key(index), dict(members), hashlib.sha256(sample_bytes(sequence.key, members)).hexdigest())


def parse_id(text: str, sequences: int) -> int:
    """The index of a clip that is named by its number or key. A UserError where the data set has none."""
    if not text.isdecimal() or int(text) >= sequences:
        raise UserError(f"--sequence {text}: no such clip; the data set has {sequences}, numbered from 0")
    return int(text)


def other_members(remade: Remade, directory: Path, rows: Sequence[IndexRow]) -> list[str] | None:
    """The members that differ from the stored clip's; none where the bytes are the same, None where nothing stored can be compared with.

    `rows`: those of the index, as far as it can be read.
    """
    row = next((row for row in rows if row.key == remade.key), None)
    if row is None:
        return None
    stored = _stored_members(directory / SHARD_FOLDER / row.shard, remade)
    if stored is None:
        return [] if row.sha256 == remade.sha256 else ["hash in index.parquet"]
    return [name for name, data in remade.members.items() if stored.get(name) != data]


def write_members(remade: Remade, folder: Path) -> None:
    """The members as files, named as in the shard."""
    for name, data in remade.members.items():
        with written_aside(folder / f"{remade.key}.{name}") as aside:
            aside.write_bytes(data)


def _stored_members(shard: Path, remade: Remade) -> dict[str, bytes] | None:
    """The stored clip's members, or None where its shard is lost or cannot be read that far."""
    try:
        span = shard_spans(shard).get(remade.key)
        return read_members(shard, span, remade.members) if span else None
    except UserError:
        return None
