"""The sequences of a config straight from the generator, with no disk between: what a reader of the data set would see, and on without end where that is asked for.

    SequenceStream(config, split="train")                                              # by rising index, in this process
    DataLoader(SequenceStream(config, endless=True), batch_size=None, num_workers=8)   # the same ones in the same order, whatever the number
    SequenceStream(config, endless=True, rank=3, world=8, start=120_000)               # one of eight, from an index on

A record is a pure function of config and index, so a stream has no state: it goes on from where it was by `start`. Knows nothing of training.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from seqgen.dataset.encoding import stored_rgb
from seqgen.dataset.sequence import HandSequence
from seqgen.errors import UserError
from seqgen.pipeline.assets import Assets, gather_assets
from seqgen.pipeline.config import GenerateConfig
from seqgen.pipeline.generate import Sources, generate_sequences, motions_at_once, open_sources, pictures_at_once
from seqgen.pipeline.process import keep_memory, one_thread
from seqgen.readers import reader_options
from seqgen.render import load_renderer
from seqgen.splits import SPLITS, SplitName

ENDLESS = 2**62  # more than any stream will give
log = logging.getLogger(__name__)


class Maker:
    """Makes sequences of a config in whatever process it finds itself. The first gathers the assets, when they are first needed; those that it starts map the same
    files. Leaves torch's threads and global random numbers as they were."""

    def __init__(self, config: GenerateConfig, say: Callable[[str], None] = log.info) -> None:
        self.config, self._say = config, say
        self._assets: Assets | None = None
        self._sources: Sources | None = None

    def gather(self) -> Assets:
        """The assets. UserError for what the config asks for and is not there."""
        if self._assets is None:
            if self.config.render.renderer != "warp" or self.config.device != "cpu":
                load_renderer(self.config.render.renderer, device=self.config.device)
            with undisturbed():
                self._assets = gather_assets(self.config, self._say)
        return self._assets

    def make(self, indices: Iterable[int]) -> Iterator[HandSequence]:
        """The sequences of these indices in their order, rgb as it is drawn. Some are made at once, when the first of them is asked for."""
        made, size = generate_sequences(indices, self._opened(), self.config), made_at_once(self.config)
        while True:
            with undisturbed():
                batch = list(islice(made, size))
            if not batch:
                return
            yield from batch

    def _opened(self) -> Sources:
        if self._sources is None:
            if get_worker_info() is not None:
                _check_workers(1, self.config)
                keep_memory()
            with undisturbed():
                self._sources = open_sources(self.gather().opened(), self.config)
        return self._sources

    def __getstate__(self) -> dict[str, Any]:
        """Assets are gathered before, not in each process, and poses are told by their place; sources are opened by each."""
        return {"config": self.config, "_say": log.info, "_assets": self.gather().kept(), "_sources": None}


def made_at_once(config: GenerateConfig) -> int:
    """How many sequences there are before the first of them is given."""
    return min(motions_at_once(config), pictures_at_once(config))


@contextmanager
def undisturbed() -> Iterator[None]:
    """One thread inside the block, and all as it was for those who go on after it: new layers of torch draw weights, and clips may be made between two steps of a
    training."""
    with one_thread(), torch.random.fork_rng(devices=[]):
        yield


@dataclass(frozen=True)
class Indices:
    """The indices of a split in rising order, or all of them: in closed form, for there is no last one. A block of the config's split has `count`, from `first` on."""

    first: int
    count: int
    block: int

    def __getitem__(self, number: int) -> int:
        """The index of that number."""
        return number // self.count * self.block + self.first + number % self.count

    def num_before(self, index: int) -> int:
        """How many come before an index."""
        return index // self.block * self.count + min(max(index % self.block - self.first, 0), self.count)


def indices_of(config: GenerateConfig, split: SplitName | None) -> Indices:
    """Those of a split, or all. UserError for a split that the config leaves empty."""
    if split is None:
        return Indices(0, 1, 1)
    if split not in splits_of(config):
        raise UserError(f"the config has no split {split!r}; it has {', '.join(splits_of(config))}")
    counts, views = config.split.counts(), config.camera.views
    before = sum(counts[name] for name in SPLITS[: SPLITS.index(split)])
    return Indices(before * views, counts[split] * views, sum(counts.values()) * views)


def splits_of(config: GenerateConfig) -> list[SplitName]:
    """Those that have sequences."""
    return [name for name, count in config.split.counts().items() if count]


class SequenceStream(IterableDataset[HandSequence]):
    """The sequences of a config with indices from `start` to `stop`, all or those of a split, by rising index; each time it is iterated, from the start.

    Every field is what reading the data set of this config gives, bit for bit. With `as_stored` false `rgb` is what was drawn, before the JPEG: a sixth of the work
    less.

    Several training processes: each gives its `rank` among `world`, and gets every world-th sequence; which ones depends on the index alone, so a stream that goes on
    with `start` one after its last sequence goes on with its own.

    Several workers: iterated in the workers of a torch `DataLoader`, each makes its share, and the loader has them in order with `batch_size=None`. Where the loader
    makes batches, give their size as `group`, the number of sequences in a row that one worker makes: then batches too are the same for any number of workers.
    `loader` starts workers cleanly. With device = cuda the process itself makes all.
    """

    def __init__(
        self,
        config: GenerateConfig,
        *,
        split: SplitName | None = None,
        start: int = 0,
        stop: int | None = None,
        endless: bool = False,
        rank: int = 0,
        world: int = 1,
        group: int = 1,
        as_stored: bool = True,
        say: Callable[[str], None] = log.info,
    ) -> None:
        """`stop`: None for the end of the data set, config.sequences; it may lie beyond. `endless`: no end at all. Gathers the assets: UserErrors for what is not there."""
        if endless and stop is not None:
            raise ValueError(f"an endless stream has no stop, got {stop}")
        stop = config.sequences if stop is None else stop
        if start < 0 or (start > stop and not endless):
            raise ValueError(f"start = {start} and stop = {stop}: expected 0 or more, the first not above the second")
        if not 0 <= rank < world or group < 1:
            raise ValueError(f"rank = {rank}, world = {world}, group = {group}: expected a rank from 0 to below world, and a group of at least 1")
        self.config, self.group, self.as_stored = config, group, as_stored
        self.maker, self._indices = Maker(config, say), indices_of(config, split)
        begin = self._indices.num_before(start)
        end = ENDLESS if endless else self._indices.num_before(stop)
        self._numbers = range(begin + (rank - begin) % world, end, world)  # of the split's, counted from its first
        self.maker.gather()

    def __iter__(self) -> Iterator[HandSequence]:
        for sequence in self.maker.make(self._indices[number] for number in self._own_numbers()):
            yield replace(sequence, rgb=stored_rgb(sequence.rgb, self.config.output.jpeg_quality)) if self.as_stored else sequence

    def __len__(self) -> int:
        """How many sequences it gives; TypeError for an endless one."""
        if self._numbers.stop == ENDLESS:
            raise TypeError("an endless stream has no length")
        return len(self._numbers)

    def _own_numbers(self) -> Iterator[int]:
        """Those that this process makes: all, or in a loader's worker every `num_workers`-th group."""
        worker = get_worker_info()
        first, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        for begin in range(first * self.group, len(self._numbers), workers * self.group):
            yield from self._numbers[begin : begin + self.group]

    def loader(self, workers: int, **options: Any) -> "DataLoader[Any]":
        """A loader with worker processes that hold one thread each, share the assets and end with this process; sequences one by one unless `options` (of torch's
        `DataLoader`) say `batch_size` and `collate_fn`. UserError for workers with device = cuda."""
        _check_workers(workers, self.config)
        ahead = {"prefetch_factor": made_at_once(self.config)} if workers and "batch_size" not in options else {}  # a worker makes the next ones while these are used
        return DataLoader(self, **{"batch_size": None, **reader_options(workers, __name__), **ahead, **options})


def _check_workers(workers: int, config: GenerateConfig) -> None:
    """Refuses several processes with what a process has alone."""
    if workers and config.device != "cpu":
        raise UserError(f"device = {config.device}: sequences are made in the process that uses them; take no workers, or device = cpu")
