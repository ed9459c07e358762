"""A million shards through the real driver, without making them: what the loop, the manifest and the index cost at the scale of a billion frames.

    python docs/benchmarks/scale.py nodes --out DIR --shards 1000000 --clips 10 --nodes 10000     fake nodes in this process; records really written
    python docs/benchmarks/scale.py ray --nodes 10000 --seconds 180                     fake nodes behind real Ray actors that sleep

The code that runs is that of `seqgen generate`: `ShardPlans`, the loop of `seqgen.pipeline.loop`, the records, the check of what is there, index and manifest.
What is made up: a shard is an empty file with the size of a real one (no blocks on the disk), its clips' rows are real in form and drawn from a few values,
and a node takes a random time over it. Nodes of one process do not wait for the disk when they write a record, which real ones do on their own machines.
"""

import argparse
import asyncio
import hashlib
import heapq
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from seqgen import files
from seqgen.dataset.claim import Origin, claim_folder
from seqgen.dataset.index import IndexRow
from seqgen.dataset.licences import Asset
from seqgen.dataset.manifest import SHARD_FOLDER
from seqgen.dataset.meta import sequence_key
from seqgen.dataset.progress import record_shard
from seqgen.dataset.shards import ShardRecord
from seqgen.pipeline.cluster import Cluster, RayPool
from seqgen.pipeline.config import GenerateConfig
from seqgen.pipeline.finish import describe_run
from seqgen.pipeline.loop import Done, make_shards
from seqgen.pipeline.plan import Portion, ShardPlan, plan_shards
from seqgen.pipeline.run import Run
from seqgen.pipeline.work import Work

CLIP_BYTES = 260_000  # of a clip of ten frames of 224 x 224, about
TONES, PHOTOS = ("pale", "fair", "medium", "olive", "brown", "dark"), tuple(f"photo-{n:05d}.jpg" for n in range(5000))


def fake_rows(plan: ShardPlan) -> list[IndexRow]:
    """What the index would say of a shard's clips: as long and as varied as what it says of real ones."""
    split = plan.name.partition("-")[0]
    rows = []
    for index in plan.ids:
        digest = hashlib.sha256(index.to_bytes(8, "little"))
        a, b, c, d = digest.digest()[:4]
        kinds = {"viewpoint": "egocentric" if a % 3 else "frontal", "side": "right", "skin": TONES[b % 6]}
        things = {"arm": "bare" if c % 2 else "sleeve", "occluder": "none" if d % 4 else "box"}
        sources = {"background": PHOTOS[(256 * a + b) % 5000], "speed": 1.0 + (a * 256 + d) / 7e4, "frames_outside": c % 3 // 2, "sha256": digest.hexdigest()}
        fixed = {"hand": "open", "camera": "perspective", "camera_model": "pinhole", "sensor": "camera", "depth_sensor": "none"}
        licences = {"pose_licence": "CC0-1.0", "hand_licence": "CC0-1.0", "photo_licence": "CC-BY-2.0", "shareable": True}
        rows.append(IndexRow(id=index, key=sequence_key(index), shard=plan.name, part=0, split=split, group=-1, view=0, **kinds, **things, **sources, **fixed, **licences))
    return rows


def fake_shard(plan: ShardPlan, directory: Path, identity: str) -> ShardRecord:
    """A file of the size of a shard that takes no room, and its record."""
    path, size = directory / SHARD_FOLDER / plan.name, len(plan.ids) * CLIP_BYTES
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        file.truncate(size)
    record = ShardRecord(plan.name, plan.name.partition("-")[0], len(plan.ids), size, hashlib.sha256(plan.name.encode()).hexdigest())
    record_shard(directory, record, fake_rows(plan), identity, just_written=True)
    return record


class FakeNodes:
    """A `seqgen.pipeline.loop.Pool` of nodes that sleep: each takes a random time over a shard, and all are in this process."""

    failures = 0

    def __init__(self, work: Work, size: int, seconds: float) -> None:
        self.size, self._work, self._seconds, self._rng = size, work, seconds, np.random.default_rng(0)
        self._ends: list[tuple[float, int, ShardPlan | None]] = []
        self.spent = 0.0  # seconds that went into what real nodes do themselves

    def start(self) -> None:
        heapq.heappush(self._ends, (time.monotonic(), len(self._ends), None))

    def give(self, worker: int, plan: ShardPlan) -> None:
        heapq.heappush(self._ends, (time.monotonic() + self._seconds * self._rng.uniform(0.5, 1.5), worker, plan))

    def wait(self) -> list[Done]:
        time.sleep(max(0.0, self._ends[0][0] - time.monotonic()))
        now, ended = time.monotonic(), []
        while self._ends and self._ends[0][0] <= now and len(ended) < 1000:
            _, worker, plan = heapq.heappop(self._ends)
            began = time.process_time()
            record = fake_shard(plan, self._work.directory, self._work.identity) if plan else None
            self.spent += time.process_time() - began
            ended.append(Done(worker, plan, record))
        return ended


def memory_mb() -> float:
    """What this process has allocated: its anonymous memory. The share of libraries in PSS comes and goes with other processes."""
    with open("/proc/self/smaps_rollup") as file:
        return next(int(line.split()[1]) * 1024 / 1e6 for line in file if line.startswith("Anonymous:"))


@dataclass
class Watch:
    """The memory of the process while something is done: at the start, at most."""

    before_mb: float
    most_mb: float

    @property
    def growth_mb(self) -> float:
        return self.most_mb - self.before_mb


@contextmanager
def watched() -> Iterator[Watch]:
    """Looks at the memory five times a second."""
    watch, over = Watch(memory_mb(), memory_mb()), threading.Event()

    def look() -> None:
        while not over.wait(0.2):
            watch.most_mb = max(watch.most_mb, memory_mb())

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        over.set()
        thread.join()


class FakeAssets:
    """What `Assets` tells a run."""

    digest, store_flow = "of nothing", True

    def licences(self) -> list[Asset]:
        return [Asset("poses", "made up", "CC0-1.0", "nowhere")]


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


class Stopped(Exception):
    """So many shards are made."""


class WatchedRun(Run):
    """A run of the pipeline; how long the check of what is there and the writing of index and manifest take, and what memory they need, is noted in `told`."""

    def missing(self, *arguments: Any) -> Any:
        return self._timed("check", super().missing, *arguments)

    def finish(self) -> bool:
        return self._timed("finish", super().finish)

    def _timed(self, name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        start, cpu = time.monotonic(), time.process_time()
        with watched() as watch:
            result = function(*arguments)
        self.told[name] = {"seconds": time.monotonic() - start, "cpu_s": time.process_time() - cpu, "growth_mb": watch.growth_mb}
        return result


class Speed:
    """Told of each shard: how many a second there are, of each 10,000; stops the run after `until`."""

    def __init__(self, until: int) -> None:
        self.until, self.made, self.rates, self.start = until, 0, list[float](), time.monotonic()
        self._last = self.start

    def __call__(self, progress: Any) -> None:
        self.made += 1
        if self.made % 10_000 == 0:
            now = time.monotonic()
            self.rates.append(10_000 / (now - self._last))
            self._last = now
        if self.made % 100_000 == 0:
            say(f"{self.made:,} shards, {self.rates[-1]:.0f} a second, {memory_mb():.0f} MB")
        if self.made == self.until:
            raise Stopped


def drive(config: GenerateConfig, directory: Path, workers: Callable[..., Any], until: int) -> dict[str, Any]:
    """Makes the missing shards, or so many of them, with workers of some kind."""
    directory.mkdir(parents=True, exist_ok=True)
    origin, speed, cpu = Origin(config.content(), FakeAssets.digest), Speed(until), time.process_time()
    claim_folder(directory, origin)
    run = WatchedRun(config, directory, origin, FakeAssets(), describe_run(config, datetime.now(UTC), 0), say, speed, workers)
    try:
        with watched() as watch:
            run.make(plan_shards(config), Portion())
    except Stopped:
        pass
    spent = {name: run.told[name] for name in ("check", "finish") if name in run.told}
    whole = {"shards": speed.made, "seconds": time.monotonic() - speed.start, "cpu_s": time.process_time() - cpu, "growth_mb": watch.growth_mb}
    return {**whole, "slowest_10000_a_s": min(speed.rates, default=0.0), **spent}


def nodes(known: argparse.Namespace) -> dict[str, Any]:
    """Fake nodes in this process: interrupted in the middle, resumed, finished."""
    files.flush_to_disk = lambda path: None
    config = GenerateConfig(sequences=known.shards * known.clips, workers=known.nodes, output={"sequences_per_shard": known.clips})
    told: dict[str, Any] = {"shards": len(plan_shards(config)), "clips": config.sequences, "nodes": known.nodes}
    for part, until in (("first half", told["shards"] // 2), ("second half", told["shards"] + 1)):
        pools: list[FakeNodes] = []

        @contextmanager
        def workers(work: Work, number: int, say: Any, pools: list[FakeNodes] = pools) -> Iterator[FakeNodes]:
            pools.append(FakeNodes(work, number, known.node_seconds))
            yield pools[0]

        told[part] = drive(config, known.out, workers, until)
        told[part]["nodes_cpu_s"] = pools[0].spent
        say(f"{part}: {json.dumps(told[part])}")
    return told | {"index_bytes": (known.out / "index.parquet").stat().st_size, "manifest_bytes": (known.out / "dataset.json").stat().st_size}


class Sleeper:
    """A Ray actor that is very many nodes: each of its calls sleeps as one node would work, and says that a shard is made. No file is written."""

    async def open(self, work: Any) -> None:
        pass

    async def make(self, plan: ShardPlan, seconds: float) -> ShardRecord:
        await asyncio.sleep(seconds)
        return ShardRecord(plan.name, plan.name.partition("-")[0], len(plan.ids), len(plan.ids) * CLIP_BYTES, hashlib.sha256(plan.name.encode()).hexdigest())


class SleepingNode:
    """One of the nodes of a Sleeper, with the calls that `RayPool` makes of an actor."""

    def __init__(self, actor: Any, seconds: float, rng: np.random.Generator) -> None:
        self.open, self.make = actor.open, self
        self._actor, self._seconds, self._rng = actor, seconds, rng

    def remote(self, plan: ShardPlan) -> Any:
        return self._actor.make.remote(plan, self._seconds * self._rng.uniform(0.5, 1.5))


class _NoWork:
    """What nodes that sleep are told of their work."""

    config = GenerateConfig()

    def kept(self) -> "_NoWork":
        return self


class SleepingPool(RayPool):
    """The pool of a real run, whose actors are nodes that sleep: `processes` of Ray hold them all."""

    def __init__(self, cluster: Cluster, nodes: int, processes: int, seconds: float) -> None:
        import ray

        super().__init__(cluster, _NoWork())
        self.size = nodes
        kind = ray.remote(num_cpus=0, max_concurrency=nodes)(Sleeper)
        self._sleepers, self._seconds, self._rng = itertools.cycle([kind.remote() for _ in range(processes)]), seconds, np.random.default_rng(0)

    def new_worker(self) -> SleepingNode:
        return SleepingNode(next(self._sleepers), self._seconds, self._rng)


def through_ray(known: argparse.Namespace) -> dict[str, Any]:
    """Nodes behind real Ray: every shard is a call to an actor, waited for as in a run."""
    config = GenerateConfig(sequences=10**8)
    with Cluster(2, 0) as cluster:
        pool, speed = SleepingPool(cluster, known.nodes, 2, known.node_seconds), Speed(known.shards)
        warm, before, cpu = known.nodes, 0.0, 0.0
        try:
            for _ in make_shards(plan_shards(config), pool, config.seed):
                speed(None)
                if speed.made == warm:
                    before, cpu, start = memory_mb(), time.process_time(), time.monotonic()
                if time.monotonic() - speed.start > known.seconds:
                    break
        except Stopped:
            pass
        counted, seconds = speed.made - warm, time.monotonic() - start
        return {
            "nodes": known.nodes,
            "shards": counted,
            "seconds": seconds,
            "a_second": counted / seconds,
            "driver_cpu_us_a_shard": (time.process_time() - cpu) / counted * 1e6,
            "growth_mb": memory_mb() - before,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["nodes", "ray"])
    parser.add_argument("--out", type=Path, help="an empty folder with room for the records")
    parser.add_argument("--shards", type=int, default=1_000_000)
    parser.add_argument("--clips", type=int, default=10, help="in a shard")
    parser.add_argument("--nodes", type=int, default=10_000)
    parser.add_argument("--node-seconds", type=float, default=5.0, help="that a node takes over a shard, on average")
    parser.add_argument("--seconds", type=float, default=180.0, help="of part ray, at most")
    known = parser.parse_args()
    if known.part == "nodes" and known.out is None:
        parser.error("nodes needs --out, an empty folder")
    print(json.dumps({"nodes": nodes, "ray": through_ray}[known.part](known), indent=1))


if __name__ == "__main__":
    main()
