"""What a worker does, with no cluster round it: open the sources once, then make shards; and how often a shard may fail."""

import logging
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from platform import node
from typing import Any

from seqgen.dataset.claim import identity_of
from seqgen.dataset.hold import OLD_S
from seqgen.dataset.progress import FailedShard, note_run
from seqgen.dataset.provenance import describe_machine, platform_of
from seqgen.dataset.shards import ShardRecord
from seqgen.errors import UserError
from seqgen.files import is_storage_error, sweep_aside
from seqgen.pipeline.assets import Assets
from seqgen.pipeline.config import GenerateConfig
from seqgen.pipeline.generate import open_sources
from seqgen.pipeline.plan import ShardPlan, make_shard
from seqgen.pipeline.process import keep_memory, one_thread, return_memory
from seqgen.places import Place, try_store
from seqgen.remote import RemotePath
from seqgen.store_errors import StoreError

MAX_TRIES = 3
Made = ShardRecord | FailedShard
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Work:
    """All that a worker must be told: what the clips are made from, the config, the folder, the identity of the data set, what is known of the run."""

    assets: Assets
    config: GenerateConfig
    directory: Place
    identity: str
    run: Mapping[str, Any]

    def kept(self) -> "Work":
        """The same for other processes of this machine, which map the poses that are files as this one does."""
        return replace(self, assets=self.assets.kept())


class ShardWorker:
    """Opens its sources once, then makes shards."""

    def __init__(self, work: Work) -> None:
        self.work = work
        check_reach(work.directory, work.identity)
        with one_thread():
            self.sources = open_sources(work.assets.opened(), work.config)
        return_memory()
        keep_memory()
        here = {**work.run, **describe_machine(work.config.device)}
        if platform_of(here) != platform_of(work.run):  # a node of another kind
            note_run(work.directory, here)

    def make(self, plan: ShardPlan) -> ShardRecord:
        """Writes the shard and its record."""
        with one_thread():
            return make_shard(plan, self.sources, self.work.config, self.work.directory, self.work.identity)


def check_reach(directory: Place, identity: str) -> None:
    """A UserError where this node does not reach the run's folder: it may lack the disk, the driver or the rights that the run's own has. What may pass, a store
    that does not answer, is left to the first shard, which is tried again."""
    if isinstance(directory, RemotePath):
        sweep_aside(OLD_S)
    try:
        try_store(directory)
        here = identity_of(directory, at_work=True)
    except StoreError as error:
        log.warning("%s", error)
        return
    if here != identity:
        raise UserError(f"{directory}: on {node()} this is not the folder of the run; --out must be one that all machines share, or in a store, as s3://bucket/clips")


class Line:
    """Shards that wait to be made, each worked out when it is its turn. One that fails goes to the end, MAX_TRIES times at most."""

    def __init__(self, plans: Iterable[ShardPlan], seed: int) -> None:
        self._fresh, self._again, self.seed = iter(plans), deque[ShardPlan](), seed
        self._next = next(self._fresh, None)
        self._failures: Counter[str] = Counter()  # by name, of those that are not made yet
        self.under_way = 0

    @property
    def waits(self) -> bool:
        """Whether there is one to be taken."""
        return self._next is not None or bool(self._again)

    def take(self) -> ShardPlan:
        """The next one."""
        if self._next is None:
            plan = self._again.popleft()
        else:
            plan, self._next = self._next, next(self._fresh, None)
        self.under_way += 1
        return plan

    def made(self, plan: ShardPlan) -> None:
        """One is done."""
        self.under_way -= 1
        self._failures.pop(plan.name, None)

    def failed(self, plan: ShardPlan, what: str) -> FailedShard | None:
        """Puts a shard back, or gives it up: `what` is the traceback, or what is known of its worker's death."""
        self.under_way -= 1
        self._failures[plan.name] += 1
        if self._failures[plan.name] < MAX_TRIES:
            self._again.append(plan)
            return None
        return FailedShard(plan.name, plan.ids, self.seed, self._failures.pop(plan.name), what)


def stops_everything(error: BaseException) -> bool:
    """Whether no other shard will fare better until somebody mends something."""
    return isinstance(error, UserError) or is_storage_error(error)
