"""Which sequences go to which shard: a function of the config alone, so that any worker can make any shard, and machines can share the shards out unasked."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from seqgen.dataset.claim import identity_of
from seqgen.dataset.index import index_row
from seqgen.dataset.manifest import SHARD_FOLDER
from seqgen.dataset.progress import record_shard
from seqgen.dataset.sequence import HandSequence
from seqgen.dataset.shards import ShardRecord, shard_name, write_shard
from seqgen.errors import UserError
from seqgen.pipeline.config import GenerateConfig
from seqgen.pipeline.generate import Sources, generate_sequences
from seqgen.splits import SPLITS


@dataclass(frozen=True)
class ShardPlan:
    """A shard to be made: its file name and the indices of its sequences, rising."""

    name: str
    ids: tuple[int, ...]


@dataclass(frozen=True)
class Portion:
    """Which shards one run makes: all, or every `of`-th from `place` on (`--shard-range`), or one by its name or number (`--only-shard`)."""

    place: int = 0
    of: int = 1
    shard: str | None = None

    @property
    def is_shared(self) -> bool:
        """Whether other runs may be at work in the same folder."""
        return self.of > 1

    def among(self, plans: Sequence[ShardPlan]) -> list[ShardPlan]:
        """Those of all shards of a data set. A UserError where it has no such shard."""
        if self.shard is None:
            return list(plans[self.place :: self.of])
        name = self.shard.removesuffix(".tar")
        chosen = [plan for number, plan in enumerate(plans) if name in (plan.name.removesuffix(".tar"), str(number))]
        if not chosen:
            raise UserError(f"--only-shard {self.shard}: no such shard; there are {plans[0].name} to {plans[-1].name}, or by number 0 to {len(plans) - 1}")
        return chosen


def parse_range(text: str) -> Portion:
    """The portion of `--shard-range i/n`: the i-th, from 0, of n that together are the data set."""
    place, slash, of = text.partition("/")
    if not slash or not (place + of).isdecimal() or not place or not of or len(text) > 20 or int(place) >= int(of):
        raise UserError(f"command line: --shard-range {text}: expected i/n with i from 0 to n - 1, as 0/4, 1/4, 2/4, 3/4 for four machines")
    return Portion(int(place), int(of))


def plan_shards(config: GenerateConfig) -> list[ShardPlan]:
    """All shards of a data set: each split's sequences in order, `output.sequences_per_shard` at a time."""
    ids: dict[str, list[int]] = {split: [] for split in SPLITS}
    for index in range(config.sequences):
        ids[config.split_of(index)].append(index)
    views = config.camera.views
    size = max(views, config.output.sequences_per_shard // views * views)  # a motion's cameras stay together
    starts = {split: range(0, len(ids[split]), size) for split in SPLITS}
    return [ShardPlan(shard_name(split, number), tuple(ids[split][start : start + size])) for split in SPLITS for number, start in enumerate(starts[split])]


def make_shard(plan: ShardPlan, sources: Sources, config: GenerateConfig, directory: Path, identity: str) -> ShardRecord:
    """Generates and writes one shard, then its record for the data set of this identity: the unit of work. The file is whole or not there.

    A UserError where the folder has become another data set's meanwhile, as it may where no locks keep runs apart.
    """
    rows = []
    if identity_of(directory) != identity:
        raise UserError(f"{directory} has become another data set's while this run was at work")

    def note(sequence: HandSequence, sha256: str) -> None:
        rows.append(index_row(sequence.meta, plan.name, sha256))

    sequences = generate_sequences(plan.ids, sources, config)
    record = write_shard(directory / SHARD_FOLDER / plan.name, sequences, jpeg_quality=config.output.jpeg_quality, wrote=note)
    record_shard(directory, record, rows, identity)
    return record
