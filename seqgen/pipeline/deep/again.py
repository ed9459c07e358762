"""Clips of a stored data set made again, and compared with what is stored: byte for byte on a like platform."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from seqgen.dataset.encoding import encode_sequence
from seqgen.dataset.manifest import SHARD_FOLDER
from seqgen.dataset.meta import sequence_key
from seqgen.dataset.shards import read_members, sample_bytes, shard_spans
from seqgen.dataset.verify import Fault
from seqgen.errors import UserError
from seqgen.files import written_aside
from seqgen.pipeline.config import GenerateConfig
from seqgen.pipeline.deep.origin import Reopened
from seqgen.pipeline.generate import Sources, generate_sequence, open_sources
from seqgen.pipeline.plan import shard_of
from seqgen.pipeline.process import one_thread
from seqgen.places import Place


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
    if not text.isdecimal() or len(text) > 20 or int(text) >= sequences:
        raise UserError(f"--sequence {text}: no such clip; the data set has {sequences}, numbered from 0")
    return int(text)


def other_members(remade: Remade, shard: Place) -> list[str] | None:
    """The members that differ from those stored in a shard; none where the bytes are the same, None where the clip is not there or cannot be read."""
    try:
        span = shard_spans(shard).get(remade.key)
        stored = read_members(shard, span, remade.members) if span else None
    except UserError:
        return None
    if stored is None:
        return None
    return [name for name, data in remade.members.items() if stored.get(name) != data]


def write_members(remade: Remade, folder: Place) -> None:
    """The members as files, named as in the shard. The folder must be there: `ready_folder`."""
    for name, data in remade.members.items():
        with written_aside(folder / f"{remade.key}.{name}") as aside:
            aside.write_bytes(data)


def ready_folder(folder: Place) -> None:
    """Makes a folder for members. A UserError where none can be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: no place for the files of a sequence ({error.strerror}); choose another --out") from error


def remade_faults(directory: Place, reopened: Reopened, ids: Sequence[int], report: Callable[[int], None]) -> list[Fault]:
    """What comes out otherwise when these clips are made again. `report` is told how many are done."""
    sources, faults = open_sources(reopened.assets, reopened.config), []
    shards = {index: shard_of(index, reopened.config) for index in ids}
    for done, index in enumerate(ids, 1):
        remade = remake(index, sources, reopened.config)
        other = other_members(remade, directory / SHARD_FOLDER / shards[index])
        if other:  # a clip that cannot be read is a fault that was found before
            faults.append(Fault(shards[index], remade.key, f"made again it differs in {', '.join(other[:3])}{f' and {len(other) - 3} more' if other[3:] else ''}"))
        report(done)
    return faults
