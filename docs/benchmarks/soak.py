"""Generates for a long time with workers that are never started anew, and watches memory and speed; prints a table and writes docs/benchmarks/soak.md.

    python docs/benchmarks/soak.py [--minutes 20] [--workers N] [--out FILE]

Memory is what Linux says in /proc/PID/smaps_rollup of the driver and of each worker: Rss, all pages that the process has in memory, and of these the anonymous
ones, which are its own. Not Pss: a page's share changes when other programs start and end that have the same library. Shards are removed when they are done: it
is not the disk that is measured.
"""

import argparse
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import numpy as np

SAMPLE_S, WARM_UP_S, BLOCK_S = 5.0, 60.0, 30.0
FIELDS = "--sequences 1000000 --output.sequences_per_shard 20 --output.preview 0 --split.val 0 --split.test 0".split()
DONE = re.compile(r"(\d+)/\d+ sequences")
LIBRARIES = ("numpy", "torch", "warp-lang", "ray")
PAGE = Path(__file__).with_suffix(".md")


@dataclass(frozen=True)
class Sample:
    """Memory at one time: seconds since the run began, and by process (Rss, its anonymous part) in MB."""

    at_s: float
    memory_mb: dict[str, tuple[float, float]]


@dataclass
class Soak:
    """What was seen. `progress`: (seconds, sequences made by then); `frames`: in a sequence."""

    frames: int
    samples: list[Sample] = field(default_factory=list)
    progress: list[tuple[float, int]] = field(default_factory=list)

    def began_s(self) -> float:
        """When the first shard was there: what is before is starting."""
        return self.progress[0][0]

    def growth(self, process: str, part: int = 0) -> float:
        """How much more memory a process has in the last minute than in the first one after the warm-up, of 1. `part`: 0 Rss, 1 anonymous."""
        begin, end = self.began_s() + WARM_UP_S, self.samples[-1].at_s
        early, late = (self._mean_mb(process, part, *span) for span in ((begin, begin + 60), (end - 60, end)))
        return late / early - 1

    def processes(self) -> list[str]:
        """Those that were there to the end."""
        return list(self.samples[-1].memory_mb)

    def frames_per_s(self) -> list[float]:
        """In each half minute after the warm-up."""
        at, made = np.array(self.progress).T
        edges = np.arange(self.began_s() + WARM_UP_S, at[-1], BLOCK_S)
        return (np.diff(np.interp(edges, at, made)) * self.frames / BLOCK_S).tolist()

    def speeds(self) -> tuple[float, float]:
        """Frames a second in the first and in the last quarter of the half minutes."""
        speeds = self.frames_per_s()
        quarter = max(1, len(speeds) // 4)
        return float(np.mean(speeds[:quarter])), float(np.mean(speeds[-quarter:]))

    def minute_mb(self, process: str, minute: int) -> tuple[float, float]:
        """Mean Rss and anonymous part in a minute since the run began."""
        span = self.began_s() + 60 * minute, self.began_s() + 60 * (minute + 1)
        return self._mean_mb(process, 0, *span), self._mean_mb(process, 1, *span)

    def _mean_mb(self, process: str, part: int, begin_s: float, end_s: float) -> float:
        return float(np.mean([sample.memory_mb[process][part] for sample in self.samples if begin_s <= sample.at_s <= end_s and process in sample.memory_mb]))


def soak(minutes: float, workers: int, *, frames: int = 10, config: str = "quickstart") -> Soak:
    """Runs `seqgen generate` for so long after its first shard and watches it."""
    with tempfile.TemporaryDirectory() as folder:
        words = [config, "--out", str(Path(folder) / "set"), "--workers", str(workers), "--clip.frames", str(frames), *FIELDS]
        command = [sys.executable, "-c", "from seqgen.cli import main; main()", "generate", *words]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as driver:
            found, start = Soak(frames), time.monotonic()
            threading.Thread(target=_listen, args=(driver, found, start), daemon=True).start()
            _watch(driver, found, start, 60 * minutes, Path(folder) / "set" / "shards")
            driver.send_signal(signal.SIGTERM)
            driver.wait()
    return found


def _listen(driver: subprocess.Popen, found: Soak, start: float) -> None:
    """Notes when how many sequences are there."""
    for line in driver.stdout:
        if match := DONE.match(line):
            found.progress.append((time.monotonic() - start, int(match[1])))


def _watch(driver: subprocess.Popen, found: Soak, start: float, seconds: float, shards: Path) -> None:
    while not found.progress or time.monotonic() - start - found.began_s() < seconds:
        if driver.poll() is not None:
            raise RuntimeError(f"the run ended by itself, with exit code {driver.returncode}")
        found.samples.append(Sample(time.monotonic() - start, {name: memory_mb(process) for name, process in workers_of(driver.pid)}))
        for shard in shards.glob("*.tar"):
            shard.unlink(missing_ok=True)
        time.sleep(SAMPLE_S)


def workers_of(driver: int) -> Iterator[tuple[str, int]]:
    """The driver and Ray's processes that work for it, by name; of Ray those alone that run our code."""
    yield "driver", driver
    parents = {int(entry.name): _parent(entry) for entry in Path("/proc").iterdir() if entry.name.isdigit()}
    for process in sorted(parents):
        if driver in _ancestors(process, parents) and re.match(rb"ray::\w*Worker\b", _read(Path(f"/proc/{process}/cmdline"))):
            yield f"worker {process}", process


def _ancestors(process: int, parents: dict[int, int]) -> Iterator[int]:
    while process := parents.get(process, 0):
        yield process


def _parent(entry: Path) -> int:
    return int(_read(entry / "stat").rpartition(b")")[2].split()[1] or 0) if _read(entry / "stat") else 0


def _read(path: Path) -> bytes:
    """A file in /proc; nothing where the process has ended."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def memory_mb(process: int) -> tuple[float, float]:
    """Rss of a process and its anonymous part; NaN where it has ended."""
    told = dict(re.findall(rb"^(\w+):\s+(\d+) kB", _read(Path(f"/proc/{process}/smaps_rollup")), re.MULTILINE))
    return float(told.get(b"Rss", "nan")) / 1000, float(told.get(b"Anonymous", "nan")) / 1000


def as_markdown(found: Soak, workers: int) -> str:
    """The page."""
    first, last = found.speeds()
    minutes = (found.samples[-1].at_s - found.began_s()) / 60
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in LIBRARIES)
    machine = f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}, {versions}"
    lines = [
        "# A long run: memory and speed",
        "",
        f"`python docs/benchmarks/soak.py --minutes {minutes:.0f} --workers {workers}`: preset quickstart, clips of {found.frames}, workers never started anew. {machine}.",
        "",
        "Rss and, of that, anonymous memory, MB, mean over a minute; growth from the first minute after the warm-up of one to the last.",
        "",
        "| process | first minute | second | middle | last | growth of Rss | of the anonymous part |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in found.processes():
        shown = ["{:.1f} ({:.1f})".format(*found.minute_mb(name, minute)) for minute in (0, 1, int(minutes / 2), int(minutes) - 1)]
        lines.append(f"| {name.split()[0]} | {' | '.join(shown)} | {found.growth(name):+.2%} | {found.growth(name, 1):+.2%} |")
    speeds = ", ".join(f"{speed:.0f}" for speed in found.frames_per_s())
    lines += ["", f"Frames a second: {first:.1f} in the first quarter after the warm-up, {last:.1f} in the last, {last / first - 1:+.2%}. By half minutes: {speeds}."]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=Path, default=PAGE)
    told = parser.parse_args()
    page = as_markdown(soak(told.minutes, told.workers), told.workers)
    told.out.write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
