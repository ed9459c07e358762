"""The driver's loop: hands shards to workers as they become free, whatever kind of workers they are.

    shard made                     its record
    raised, worker or node died    to the end of the line; after three times set aside, and the rest goes on
    the user's to mend, disk full  everything stops

It holds the shards that are under way and those that failed, never all: a data set may have a million, and thousands of workers. Knows no Ray.
"""

import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from seqgen.dataset.shards import ShardRecord
from seqgen.pipeline.plan import ShardPlan
from seqgen.pipeline.work import Line, Made, ShardWorker, Work, stops_everything


@dataclass(frozen=True)
class Done:
    """What a worker has come to. `worker`: None where it died. `plan`: the shard that it had, None where it was opening its sources. `record`: of a shard that
    was made. `error`: what was raised, `told` the same in words, or what is known of a death."""

    worker: Any | None
    plan: ShardPlan | None
    record: ShardRecord | None = None
    error: BaseException | None = None
    told: str = ""


@runtime_checkable
class Pool(Protocol):
    """Workers of one kind: `size` of them, each with one shard at a time. `failures`: how many died."""

    size: int
    failures: int

    def start(self) -> None:
        """Has one more worker open its sources."""

    def give(self, worker: Any, plan: ShardPlan) -> None:
        """Has a worker that is free make a shard."""

    def wait(self) -> list[Done]:
        """What has come to an end since it was last asked, once there is anything."""


def make_shards(plans: Iterable[ShardPlan], pool: Pool, seed: int) -> Iterator[Made]:
    """Finished and failed shards as they come, in any order. `pool.size` is not more than the shards."""
    line = Line(plans, seed)
    for _ in range(pool.size):
        pool.start()
    while line.waits or line.under_way:
        for done in pool.wait():
            if done.error and (done.plan is None or stops_everything(done.error)):
                raise done.error
            made = done.record
            if made:
                line.made(done.plan)
            elif done.plan:
                made = line.failed(done.plan, done.told)
            if done.worker is None:
                pool.start()
            elif line.waits:
                pool.give(done.worker, line.take())
            if made:
                yield made


class InProcess:
    """One worker in this process, without Ray: `--workers 0`. It works while it is waited for."""

    size, failures = 1, 0

    def __init__(self, work: Work) -> None:
        self.work, self._plan = work, None

    def start(self) -> None:
        self._worker = ShardWorker(self.work)

    def give(self, worker: ShardWorker, plan: ShardPlan) -> None:
        self._plan = plan

    def wait(self) -> list[Done]:
        plan, self._plan = self._plan, None
        if plan is None:
            return [Done(self._worker, None)]
        try:
            return [Done(self._worker, plan, record=self._worker.make(plan))]
        except Exception as error:
            return [Done(self._worker, plan, error=error, told=traceback.format_exc())]
