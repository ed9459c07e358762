"""Which sequences go to which shard: a function of the config alone, so that any worker can make any shard."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from seqgen.dataset.index import index_row
from seqgen.dataset.manifest import SHARD_FOLDER
from seqgen.dataset.progress import FinishedShard
from seqgen.dataset.sequence import HandSequence
from seqgen.dataset.shards import shard_name, write_shard
from seqgen.pipeline.config import GenerateConfig
from seqgen.pipeline.generate import Sources, generate_sequence
from seqgen.splits import SPLITS


@dataclass(frozen=True)
class ShardPlan:
    """A shard to be made: its file name and the indices of its sequences, rising."""

    name: str
    ids: tuple[int, ...]


def plan_shards(config: GenerateConfig) -> list[ShardPlan]:
    """All shards of a data set: each split's sequences in order, `output.sequences_per_shard` at a time."""
    plans = []
    for split in SPLITS:
        ids = [index for index in range(config.sequences) if config.split_of(index) == split]
        views = config.camera.views
        size = max(views, config.output.sequences_per_shard // views * views)  # a motion's cameras stay together
        plans += [ShardPlan(shard_name(split, number), tuple(ids[start : start + size])) for number, start in enumerate(range(0, len(ids), size))]
    return plans


def make_shard(plan: ShardPlan, sources: Sources, config: GenerateConfig, directory: Path) -> FinishedShard:
    """Generates and writes one shard: the unit of work. The file is whole or not there."""
    rows = []

    def sequences() -> Iterator[HandSequence]:
        for index in plan.ids:
            sequence = generate_sequence(index, sources, config)
            rows.append(index_row(sequence.meta, plan.name))
            yield sequence

    record = write_shard(directory / SHARD_FOLDER / plan.name, sequences(), jpeg_quality=config.output.jpeg_quality)
    return FinishedShard(record, tuple(rows))
