"""Ray workers that cannot do all: with one, a shard raises and another one kills it; one dies before it has begun; one begins when it is told to."""

import os
import time

from seqgen.dataset.shards import ShardRecord
from seqgen.pipeline.cluster import RemoteWorker
from seqgen.pipeline.plan import ShardPlan
from seqgen.pipeline.work import Work

RAISES, DIES = "train-000001.tar", "val-000000.tar"


class PoisonedWorker(RemoteWorker):
    def make(self, plan: ShardPlan) -> ShardRecord:
        if plan.name == RAISES:
            raise ZeroDivisionError("poison")
        if plan.name == DIES:
            os._exit(7)
        return super().make(plan)


class DyingWorker(RemoteWorker):
    def open(self, work: Work) -> None:
        os._exit(7)


class WaitingWorker(RemoteWorker):
    """Notes beside the data set that it is there, and waits for the file `go`."""

    def open(self, work: Work) -> None:
        (work.directory.parent / f"begun-{os.getpid()}").touch()
        while not (work.directory.parent / "go").exists():
            time.sleep(0.05)
        super().open(work)
