"""Measures how much memory a whole run takes with a bank of millions of poses: proportional set size of the driver, its workers and Ray's own processes.

    python docs/benchmarks/memory.py [--rows 2200000] [--workers 1 2 4] [--clips 400] [--folder DIR] > docs/benchmarks/memory.md

The bank is drawn as the built-in one is, with another seed, and written to an .npz file in DIR, a folder that is kept from run to run: with a cache of its
own, where the bank and its graph are made the first time (a quarter of an hour). Then, for each number of workers, `seqgen generate` makes clips of the default
preset, and /proc/PID/smaps_rollup of all its processes is read five times a second. The bound is the issue's: 1.8 GB and 350 MB a worker.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

import numpy as np

from seqgen.dataset.provenance import describe_machine
from seqgen.pipeline.bench.memory import MemoryWatch

ROWS, SEED = 2_200_000, 7
BASE_MB, WORKER_MB = 1800.0, 350.0
EVERY_S = 0.2
LIBRARIES = ("numpy", "torch", "warp-lang", "ray")
GENERATE = [sys.executable, "-c", "from seqgen.cli import main; main()", "generate", "quickstart", "--output.preview", "0"]


def bank_file(folder: Path, rows: int) -> Path:
    """The bank, written if it is not there."""
    path = folder / f"bank-{rows}.npz"
    if not path.exists():
        from seqgen.poses.synthesis import synthesise_poses

        folder.mkdir(parents=True, exist_ok=True)
        np.savez(path, joints_m=synthesise_poses(rows, seed=SEED).joints_m)
    return path


def run(bank: Path, workers: int, clips: int) -> MemoryWatch:
    """One run, watched."""
    words = ["--pose-bank", str(bank), "--pose-format", "npz", "--workers", str(workers), "--sequences", str(clips)]
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "SEQGEN_CACHE": str(bank.parent / "cache")}
        with subprocess.Popen([*GENERATE, *words, "--out", f"{folder}/set"], env=environment, stdout=subprocess.DEVNULL) as job, MemoryWatch(job.pid, EVERY_S) as seen:
            if job.wait():
                raise RuntimeError(f"the run ended with exit code {job.returncode}")
    return seen


def as_markdown(rows: int, clips: int, seen: dict[int, MemoryWatch], first: MemoryWatch | None, first_s: float) -> str:
    """The page."""
    words = f"--rows {rows} --workers {' '.join(map(str, seen))} --clips {clips}"
    lines = [
        "# Memory of a whole run",
        "",
        f"`python docs/benchmarks/memory.py {words}`: preset quickstart, {clips} clips, a bank of {rows:,} poses. Peak of the sum over all processes, PSS, MB (10^6 bytes).",
        "",
        f"Machine: {machine()}.",
        "",
        "| workers | all | bound | driver | workers | Ray's own |",
        "|---|---|---|---|---|---|",
    ]
    for workers, memory in seen.items():
        parts = [memory.parts_mb.get(kind, 0.0) for kind in ("driver", "worker", "ray")]
        lines.append(f"| {workers} | {memory.peak_mb:.0f} | {BASE_MB + WORKER_MB * workers:.0f} | {' | '.join(f'{part:.0f}' for part in parts)} |")
    lines += ["", "Pages of the bank and its graph, which all processes map from the cache, are counted with those that have looked at them, each once."]
    if first:
        lines += ["", f"The first run of all, which reads the file and builds the graph: {first.peak_mb:.0f} MB, {first_s:.0f} s."]
    lines += ["", how_often([took for memory in seen.values() for took in memory.took_s])]
    return "\n".join(lines)


def machine() -> str:
    """In words."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in LIBRARIES)
    return f"{describe_machine()['machine']['cpu']}, {len(os.sched_getaffinity(0))} cores, {platform.system()}, Python {platform.python_version()}, {versions}"


def how_often(took_s: list[float]) -> str:
    """How long the readings took, and whether that was longer than from one to the next."""
    late = sum(took > EVERY_S for took in took_s) / len(took_s)
    text = f"Read every {EVERY_S:g} s; a reading of all processes takes {1e3 * statistics.median(took_s):.0f} ms in the median, {1e3 * max(took_s):.0f} at most"
    return f"{text}; {late:.0%} of them took longer than {EVERY_S:g} s, so there were fewer." if late else f"{text}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--clips", type=int, default=400)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "seqgen-memory")
    told = parser.parse_args()
    bank, first, start = bank_file(told.folder, told.rows), None, time.monotonic()
    if not (told.folder / "cache").exists():
        first = run(bank, told.workers[0], 10)
    first_s = time.monotonic() - start
    print(as_markdown(told.rows, told.clips, {workers: run(bank, workers, told.clips) for workers in told.workers}, first, first_s))


if __name__ == "__main__":
    main()
