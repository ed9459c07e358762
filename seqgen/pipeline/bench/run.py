"""Whole runs of the pipeline, looked at from outside: how long until the first shard, how fast after that, how much memory.

A run is a fresh process that writes a data set to a temporary folder (`job.py`). Its speed is what it makes between the time when every worker has
finished a shard and the last shard: start-up is not in it, and is told apart.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from seqgen.pipeline.bench.memory import MemoryWatch
from seqgen.pipeline.config import GenerateConfig
from seqgen.pipeline.run import num_workers


@dataclass(frozen=True)
class WholeRun:
    """What was seen of a run: frames made by so many seconds after its start, shard by shard; `peak_mb` of PSS, and of whom."""

    workers: int
    shards: list[tuple[float, int]]
    peak_mb: float
    parts_mb: dict[str, float]

    @property
    def first_shard_s(self) -> float:
        """From the start of the process to the first shard on disk."""
        return self.shards[0][0]

    @property
    def frames_per_s(self) -> float:
        """After every worker's first shard; of a run too short for that, from the first on."""
        begin = min(max(1, self.workers), len(self.shards) - 1) - 1
        (start_s, before), (end_s, after) = self.shards[max(0, begin)], self.shards[-1]
        return (after - before) / (end_s - start_s) if end_s > start_s else float("nan")


def whole_run(config: GenerateConfig, *, cold: bool = False) -> WholeRun:
    """One run of a config, as it is. `cold`: with an empty cache of its own."""
    with tempfile.TemporaryDirectory(prefix="seqgen-bench-") as folder:
        environment = {**os.environ, "SEQGEN_CACHE": f"{folder}/cache"} if cold else dict(os.environ)
        start = time.monotonic()
        with _job(environment) as job, MemoryWatch(job.pid) as memory:
            json.dump({"directory": f"{folder}/set", "config": config.model_dump(mode="json")}, job.stdin)
            job.stdin.close()
            shards = [(line["at_s"] - start, line["frames"]) for line in _lines(job)]
    return WholeRun(num_workers(config), shards, memory.peak_mb, memory.parts_mb)


def speed_config(config: GenerateConfig, *, clips: int, shards: int) -> GenerateConfig:
    """The config with `shards` shards of `clips` clips for each worker."""
    views = config.camera.views
    clips = -(-clips // views) * views
    return config.model_copy(
        update={
            "sequences": clips * shards * max(1, num_workers(config)),
            "output": config.output.model_copy(update={"sequences_per_shard": clips, "preview": 0}),
        }
    )


def start_config(config: GenerateConfig) -> GenerateConfig:
    """The config with one of its shards for each worker."""
    views = config.camera.views
    size = max(views, config.output.sequences_per_shard // views * views)
    return config.model_copy(update={"sequences": size * max(1, num_workers(config))})


def median_first_shard_s(runs: Sequence[WholeRun]) -> float:
    """Of several runs."""
    return float(np.median([run.first_shard_s for run in runs]))


@contextlib.contextmanager
def _job(environment: dict[str, str]) -> Iterator[subprocess.Popen]:
    """The process; a RuntimeError with what it said where it failed."""
    with tempfile.TemporaryFile("w+") as said:
        command = [sys.executable, "-m", "seqgen.pipeline.bench.job"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True, env=environment) as job:
            try:
                yield job
            except BaseException:
                job.terminate()
                raise
        if job.returncode:
            said.seek(0)
            raise RuntimeError(f"the run that was to be measured ended with exit code {job.returncode}:\n{said.read()}")


def _lines(job: subprocess.Popen) -> Iterator[dict[str, float]]:
    for line in job.stdout:
        if line.startswith("{"):
            yield json.loads(line)
