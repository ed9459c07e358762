"""A Ray worker with which some shards cannot be made: one raises, one dies."""

import os

from seqgen.dataset.shards import ShardRecord
from seqgen.pipeline.cluster import RemoteWorker
from seqgen.pipeline.plan import ShardPlan

RAISES, DIES = "train-000001.tar", "val-000000.tar"


class PoisonedWorker(RemoteWorker):
    def make(self, plan: ShardPlan) -> ShardRecord:
        if plan.name == RAISES:
            raise ZeroDivisionError("poison")
        if plan.name == DIES:
            os._exit(7)
        return super().make(plan)
