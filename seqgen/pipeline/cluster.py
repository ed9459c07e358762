"""Shards made by Ray workers: the only file that knows Ray. Actors of one core each take one shard at a time; paths and hashes come back.

    driver:  assets ──put once──> object store ──shared by all workers of a node
             plans  ──one shard to each free worker──> results as they come; the shard of a worker that died goes to a new one, three times at most

A shard is a pure function of config and plan, so a retry gives the same bytes.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from seqgen.errors import UserError
from seqgen.pipeline.assets import Assets
from seqgen.pipeline.config import GenerateConfig
from seqgen.pipeline.generate import open_sources
from seqgen.pipeline.plan import FinishedShard, ShardPlan, make_shard
from seqgen.pipeline.process import one_thread

MAX_TRIES = 3
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
# Ray's switch, read when it is imported, for machines that join no cluster: its servers then listen at 127.0.0.1 only. Otherwise it
# turns a loopback address that it is given into the machine's own.
LOOPBACK_ONLY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
OBJECT_STORE_BYTES = 150_000_000  # beside the assets themselves

log = logging.getLogger(__name__)


class ShardWorker:
    """What runs in each Ray worker: opens its sources once, then makes shards."""

    def __init__(self, assets: Assets, config: GenerateConfig, directory: str) -> None:
        self.config, self.directory = config, Path(directory)
        with one_thread():
            self.sources = open_sources(assets, config)

    def make(self, plan: ShardPlan) -> FinishedShard:
        with one_thread():
            return make_shard(plan, self.sources, self.config, self.directory)


def make_shards_in_process(plans: Sequence[ShardPlan], assets: Assets, config: GenerateConfig, directory: Path) -> Iterator[FinishedShard]:
    """The same without Ray: `--workers 0`."""
    worker = ShardWorker(assets, config, str(directory))
    for plan in plans:
        yield worker.make(plan)


class Cluster:
    """A connection to Ray: to RAY_ADDRESS when it is set, else to a small one of our own on this machine, loopback only. Use as a context.

    `failures` counts the workers that died.
    """

    def __init__(self, num_workers: int, assets_bytes: int) -> None:
        self.num_workers, self.assets_bytes, self.failures = num_workers, assets_bytes, 0

    def __enter__(self) -> "Cluster":
        address = os.environ.get("RAY_ADDRESS")
        os.environ.update(QUIET if address else QUIET | LOOPBACK_ONLY)
        import ray

        quiet = {"logging_level": "ERROR", "log_to_driver": False}
        try:
            if address:
                ray.init(address=address, **quiet)
            else:
                store = OBJECT_STORE_BYTES + 2 * self.assets_bytes
                ray.init(num_cpus=self.num_workers, include_dashboard=False, object_store_memory=store, _node_ip_address="127.0.0.1", **quiet)
        except ConnectionError as error:
            raise UserError(f"RAY_ADDRESS {address}: no Ray cluster answers there: {error}") from None
        return self

    def __exit__(self, *_: object) -> None:
        import ray

        ray.shutdown()

    def make_shards(self, plans: Sequence[ShardPlan], assets: Assets, config: GenerateConfig, directory: Path) -> Iterator[FinishedShard]:
        """Finished shards as they come, in any order."""
        import ray

        actor = ray.remote(num_cpus=1)(ShardWorker)
        shared = ray.put(assets)
        start = lambda: actor.remote(shared, config, str(directory))  # noqa: E731
        waiting, tries, running = list(plans)[::-1], dict.fromkeys(plans, 0), {}
        idle = [start() for _ in range(min(self.num_workers, len(plans)))]
        while waiting or running:
            while idle and waiting:
                plan, worker = waiting.pop(), idle.pop()
                tries[plan] += 1
                running[worker.make.remote(plan)] = (plan, worker)
            (done, *_), _ = ray.wait(list(running), num_returns=1)
            plan, worker = running.pop(done)
            try:
                yield ray.get(done)
                idle.append(worker)
            except ray.exceptions.RayActorError:
                self.failures += 1
                if tries[plan] == MAX_TRIES:
                    raise
                log.warning("a worker died making %s; trying again", plan.name)
                waiting.append(plan)
                idle.append(start())
            except ray.exceptions.RayTaskError as error:
                raise error.cause from error
