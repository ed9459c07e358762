"""Which sequences go to which shard: a function of the config alone, so that any worker can make any shard, and machines can share the shards out unasked.

All of it is arithmetic: a data set of a million shards is planned as fast as one of four, and a plan is worked out when it is asked for.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import overload

import numpy as np

from seqgen.dataset.claim import identity_of
from seqgen.dataset.index import index_row
from seqgen.dataset.manifest import SHARD_FOLDER, SHARD_NAME
from seqgen.dataset.progress import record_shard
from seqgen.dataset.sequence import HandSequence
from seqgen.dataset.shards import ShardRecord, shard_name, write_shard
from seqgen.errors import UserError
from seqgen.pipeline.config import GenerateConfig
from seqgen.pipeline.generate import Sources, generate_sequences
from seqgen.places import Place
from seqgen.splits import SPLITS

LONGEST_NAME = 30  # of a shard: more digits are no number of ours

@dataclass(frozen=True)
class ShardPlan:
    """A shard to be made: its file name and the indices of its sequences, rising."""

    name: str
    ids: tuple[int, ...]


@dataclass(frozen=True)
class SplitPlan:
    """The sequences of one split in their order, cut into shards of `size`. Of every `block` motions in a row, `count` from the `first` on are the split's."""

    split: str
    first: int
    count: int
    block: int
    views: int
    sequences: int
    size: int

    def __len__(self) -> int:
        return -(-self.sequences // self.size)

    def shard(self, number: int) -> ShardPlan:
        """Its shard of this number, from 0."""
        return ShardPlan(shard_name(self.split, number), tuple(map(self._index, self.held(number))))

    def held(self, number: int) -> range:
        """The places of that shard's sequences among its own."""
        return range(number * self.size, min((number + 1) * self.size, self.sequences))

    def number_of(self, index: int) -> int:
        """The number of the shard that its sequence `index` lies in."""
        motion, view = divmod(index, self.views)
        blocks, place = divmod(motion, self.block)
        return ((blocks * self.count + place - self.first) * self.views + view) // self.size

    def _index(self, place: int) -> int:
        """The index of its sequence at a place."""
        motion, view = divmod(place, self.views)
        blocks, within = divmod(motion, self.count)
        return (blocks * self.block + self.first + within) * self.views + view


@dataclass(frozen=True)
class ShardPlans(Sequence[ShardPlan]):
    """Shards of a data set: each split's in order. `places`: which of all of them these are."""

    splits: tuple[SplitPlan, ...]
    places: range

    def __len__(self) -> int:
        return len(self.places)

    @overload
    def __getitem__(self, item: int) -> ShardPlan: ...
    @overload
    def __getitem__(self, item: slice) -> "ShardPlans": ...
    def __getitem__(self, item: int | slice) -> "ShardPlan | ShardPlans":
        if isinstance(item, slice):
            return replace(self, places=self.places[item])
        return self._plan(self.places[item])

    def __iter__(self) -> Iterator[ShardPlan]:
        return map(self._plan, self.places)

    @property
    def sequences(self) -> int:
        """How many sequences they hold."""
        return sum(length * count for length, count in self.lengths().items())

    def lengths(self, chosen: Sequence[int] | None = None) -> Counter[int]:
        """How many of them hold how many sequences; or of those at some places."""
        places = np.arange(self.places.start, self.places.stop, self.places.step) if chosen is None else self.places.start + self.places.step * np.asarray(chosen, int)
        found: Counter[int] = Counter()
        for split in filter(len, self.splits):
            start = self._starts[split.split]
            last = start + len(split) - 1  # the only one that need not be full
            found[split.size] += int(np.count_nonzero((places >= start) & (places < last)))
            found[len(split.held(len(split) - 1))] += int(np.count_nonzero(places == last))
        return +found

    def place(self, name: str) -> int | None:
        """The place of the shard of a name; None where it is not among them."""
        match = SHARD_NAME.fullmatch(name) if len(name) < LONGEST_NAME else None
        split = next((split for split in self.splits if match and split.split == match[1]), None)
        if split is None:
            return None
        number = int(name.partition("-")[2].removesuffix(".tar"))
        if number >= len(split) or shard_name(split.split, number) != name:
            return None
        overall = self._starts[split.split] + number
        return self.places.index(overall) if overall in self.places else None

    def ids(self, name: str) -> tuple[int, ...] | None:
        """The indices of the sequences of the shard of a name; None where it is not among them."""
        place = self.place(name)
        return None if place is None else self[place].ids

    def of_split(self, split: str) -> "ShardPlans":
        """Those of one split of a whole data set."""
        start, number = self._starts[split], next(len(plan) for plan in self.splits if plan.split == split)
        return self[start : start + number]

    @cached_property
    def _starts(self) -> dict[str, int]:
        """Where each split's shards begin among all."""
        return {split.split: sum(map(len, self.splits[:order])) for order, split in enumerate(self.splits)}

    def _plan(self, overall: int) -> ShardPlan:
        split, number = self._split(overall)
        return split.shard(number)

    def _split(self, overall: int) -> tuple[SplitPlan, int]:
        """The split of a shard by its place among all, and its number there."""
        for split in self.splits:
            if overall < len(split):
                break
            overall -= len(split)
        return split, overall


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

    def among(self, plans: ShardPlans) -> ShardPlans:
        """Those of all shards of a data set. A UserError where it has no such shard."""
        if self.shard is None:
            return plans[self.place :: self.of]
        name = self.shard.removesuffix(".tar")
        place = plans.place(f"{name}.tar")
        if place is None and name.isdecimal() and len(name) < LONGEST_NAME and name == str(int(name)) and int(name) < len(plans):
            place = int(name)
        if place is None:
            raise UserError(f"--only-shard {self.shard}: no such shard; there are {plans[0].name} to {plans[-1].name}, or by number 0 to {len(plans) - 1}")
        return plans[place : place + 1]


def parse_range(text: str) -> Portion:
    """The portion of `--shard-range i/n`: the i-th, from 0, of n that together are the data set."""
    place, slash, of = text.partition("/")
    if not slash or not (place + of).isdecimal() or not place or not of or len(text) > 20 or int(place) >= int(of):
        raise UserError(f"command line: --shard-range {text}: expected i/n with i from 0 to n - 1, as 0/4, 1/4, 2/4, 3/4 for four machines")
    return Portion(int(place), int(of))


def plan_shards(config: GenerateConfig) -> ShardPlans:
    """All shards of a data set: each split's sequences in order, `output.sequences_per_shard` at a time."""
    views, counts = config.camera.views, config.split.counts()
    size, block = max(views, config.output.sequences_per_shard // views * views), sum(counts.values())  # a motion's cameras stay together
    blocks, rest = divmod(config.sequences // views, block)
    splits = []
    for order, split in enumerate(SPLITS):
        first, count = sum(counts[before] for before in SPLITS[:order]), counts[split]
        motions = blocks * count + min(max(rest - first, 0), count)
        splits.append(SplitPlan(split, first, count, block, views, motions * views, size))
    return ShardPlans(tuple(splits), range(sum(map(len, splits))))


def shard_of(index: int, config: GenerateConfig) -> str:
    """The name of the shard that sequence `index` lies in."""
    split = next(split for split in plan_shards(config).splits if split.split == config.split_of(index))
    return shard_name(split.split, split.number_of(index))


def check_claim(directory: Place, identity: str) -> None:
    """A UserError where a folder is not, or no longer, that of the data set of this identity."""
    if identity_of(directory, at_work=True) != identity:
        raise UserError(f"{directory} has become another data set's while this run was at work")


def make_shard(plan: ShardPlan, sources: Sources, config: GenerateConfig, directory: Place, identity: str) -> ShardRecord:
    """Generates and writes one shard, then its record for the data set of this identity: the unit of work. The file is whole or not there.

    A UserError where the folder has become another data set's meanwhile, as it may where no locks keep runs apart.
    """
    rows = []

    def note(sequence: HandSequence, sha256: str) -> None:
        rows.append(index_row(sequence.meta, plan.name, sha256))

    def clips() -> Iterator[HandSequence]:
        check_claim(directory, identity)
        yield from generate_sequences(plan.ids, sources, config)
        check_claim(directory, identity)  # the last moment before the shard is seen

    record = write_shard(directory / SHARD_FOLDER / plan.name, clips(), jpeg_quality=config.output.jpeg_quality, wrote=note)
    record_shard(directory, record, rows, identity, just_written=True)
    return record
