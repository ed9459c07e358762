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
from typing import Any

import numpy as np

from seqgen.config import build
from seqgen.errors import UserError
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
    """One run of a config, as it is. `cold`: with an empty cache of its own. A UserError of the run is one here."""
    with tempfile.TemporaryDirectory(prefix="seqgen-bench-") as folder:
        environment = {**os.environ, "SEQGEN_CACHE": f"{folder}/cache"} if cold else dict(os.environ)
        start = time.monotonic()
        with _job(environment) as job, MemoryWatch(job.pid) as memory:
            with contextlib.suppress(BrokenPipeError):  # a process that has not even begun says why in the end
                json.dump({"directory": f"{folder}/set", "config": config.model_dump(mode="json")}, job.stdin)
                job.stdin.close()
            shards = [(line["at_s"] - start, line["frames"]) for line in _lines(job)]
    return WholeRun(num_workers(config), shards, memory.peak_mb, memory.parts_mb)


def speed_config(config: GenerateConfig, *, clips: int, shards: int) -> GenerateConfig:
    """The config with `shards` shards of `clips` clips for each worker; a UserError where these are more than a data set may have."""
    views, workers = config.camera.views, max(1, num_workers(config))
    whole = -(-clips // views) * views
    where = f"--clips {clips}, {shards} shards of them for each of {workers} workers"
    return _changed(config, whole * shards * workers, {"sequences_per_shard": whole, "preview": 0}, where)


def start_config(config: GenerateConfig) -> GenerateConfig:
    """The config with one of its shards for each worker; a UserError where these are more than a data set may have."""
    views, workers = config.camera.views, max(1, num_workers(config))
    size = max(views, config.output.sequences_per_shard // views * views)
    return _changed(config, size * workers, {}, f"a shard of {size} clips for each of {workers} workers")


def _changed(config: GenerateConfig, sequences: int, output: dict[str, int], where: str) -> GenerateConfig:
    """A config with another size, judged as if the user had asked for it."""
    tables: dict[str, Any] = config.model_dump(mode="json")
    return build(GenerateConfig, {**tables, "sequences": sequences, "output": {**tables["output"], **output}}, where=where)


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
    """What it tells; a UserError where that is one."""
    for line in job.stdout:
        if line.startswith("{"):
            told = json.loads(line)
            if "error" in told:
                raise UserError(told["error"])
            yield told
