"""Shards made by Ray workers: the only file that knows Ray. Actors of one core each take one shard at a time; paths and hashes come back.

    driver:  assets ──put once──> object store ──shared by all workers of a node
             plans  ──one shard to each free worker──> results as they come; the shard of a worker that died goes to a new one, three times at most

A shard is a pure function of config and plan, so a retry gives the same bytes.
"""

import logging
import os
import socket
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

    def ready(self) -> None:
        """Answers once the worker runs and has its sources."""

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
        except (ConnectionError, ValueError) as error:
            raise UserError(f"RAY_ADDRESS {address}: no Ray cluster answers there: {str(error).splitlines()[0]}") from None
        return self

    def __exit__(self, *_: object) -> None:
        import ray

        ray.shutdown()

    def make_shards(self, plans: Sequence[ShardPlan], assets: Assets, config: GenerateConfig, directory: Path) -> Iterator[FinishedShard]:
        """Finished shards as they come, in any order."""
        import ray

        actor, shared = ray.remote(num_cpus=1)(ShardWorker), ray.put(assets)
        waiting, tries, jobs = list(plans)[::-1], dict.fromkeys(plans, 0), {}

        def start_worker() -> None:
            worker = actor.remote(shared, config, str(directory))
            jobs[worker.ready.remote()] = (None, worker)  # a worker that finds no free core must hold no shard

        for _ in range(min(self.num_workers, len(plans))):
            start_worker()
        while waiting or any(plan for plan, _ in jobs.values()):
            (done, *_), _ = ray.wait(list(jobs), num_returns=1)
            plan, worker = jobs.pop(done)
            try:
                result = ray.get(done)
            except ray.exceptions.RayActorError:
                self.failures += 1
                if (tries[plan] if plan else self.failures) >= MAX_TRIES:
                    raise
                log.warning("a worker died%s; starting another", f" making {plan.name}" if plan else "")
                waiting += [plan] if plan else []
                start_worker()
                continue
            except ray.exceptions.RayTaskError as error:
                raise error.cause from error
            if plan:
                yield result
            if waiting:
                plan = waiting.pop()
                tries[plan] += 1
                jobs[worker.make.remote(plan)] = (plan, worker)


def check_address() -> None:
    """Refuses at once a RAY_ADDRESS that Ray would try for minutes."""
    address = os.environ.get("RAY_ADDRESS", "auto")
    if address in ("", "auto", "local"):
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in address:
        raise UserError(f"RAY_ADDRESS {address}: expected host:port of a running cluster's head, or auto")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise UserError(f"RAY_ADDRESS {address}: nothing answers there ({error}); start a cluster, or unset RAY_ADDRESS to work on this machine alone") from None
