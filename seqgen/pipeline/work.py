"""What a worker does, with no cluster round it: open the sources once, then make shards; and how often a shard may fail.

    shard made                     its record
    raised, worker or node died    to the end of the line; after three times set aside, and the rest goes on
    the user's to mend, disk full  everything stops
"""

import traceback
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqgen.dataset.progress import FailedShard, note_run
from seqgen.dataset.provenance import describe_machine, platform_of
from seqgen.dataset.shards import ShardRecord
from seqgen.errors import UserError
from seqgen.files import is_storage_error
from seqgen.pipeline.assets import Assets
from seqgen.pipeline.config import GenerateConfig
from seqgen.pipeline.generate import open_sources
from seqgen.pipeline.plan import ShardPlan, make_shard
from seqgen.pipeline.process import one_thread

MAX_TRIES = 3
Made = ShardRecord | FailedShard


@dataclass(frozen=True)
class Work:
    """All that a worker must be told: what the clips are made from, the config, the folder, the identity of the data set, what is known of the run."""

    assets: Assets
    config: GenerateConfig
    directory: Path
    identity: str
    run: Mapping[str, Any]


class ShardWorker:
    """Opens its sources once, then makes shards."""

    def __init__(self, work: Work) -> None:
        self.work = work
        with one_thread():
            self.sources = open_sources(work.assets, work.config)
        here = {**work.run, **describe_machine(work.config.device)}
        if platform_of(here) != platform_of(work.run):  # a node of another kind
            note_run(work.directory, here)

    def make(self, plan: ShardPlan) -> ShardRecord:
        """Writes the shard and its record."""
        with one_thread():
            return make_shard(plan, self.sources, self.work.config, self.work.directory, self.work.identity)


class Line:
    """Shards that wait to be made. One that fails goes to the end, MAX_TRIES times at most."""

    def __init__(self, plans: Sequence[ShardPlan], seed: int) -> None:
        self.waiting, self.tries, self.seed = deque(plans), Counter(), seed

    def take(self) -> ShardPlan:
        """The next one."""
        plan = self.waiting.popleft()
        self.tries[plan.name] += 1
        return plan

    def failed(self, plan: ShardPlan, what: str) -> FailedShard | None:
        """Puts a shard back, or gives it up: `what` is the traceback, or what is known of its worker's death."""
        if self.tries[plan.name] < MAX_TRIES:
            self.waiting.append(plan)
            return None
        return FailedShard(plan.name, plan.ids, self.seed, MAX_TRIES, what)


def stops_everything(error: BaseException) -> bool:
    """Whether no other shard will fare better until somebody mends something."""
    return isinstance(error, UserError) or is_storage_error(error)


def make_in_process(plans: Sequence[ShardPlan], work: Work) -> Iterator[Made]:
    """Finished and failed shards as they come, without Ray: `--workers 0`."""
    line, worker = Line(plans, work.config.seed), ShardWorker(work) if plans else None
    while line.waiting:
        plan = line.take()
        try:
            made = worker.make(plan)
        except Exception as error:
            if stops_everything(error):
                raise
            made = line.failed(plan, traceback.format_exc())
        if made:
            yield made
