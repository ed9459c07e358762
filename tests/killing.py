"""Runs of the real command in a process of its own, to be killed: a job of 24 shards, its Ray workers, and what is left of them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

JOB = (
    *("--sequences", "48", "--seed", "3", "--clip.frames", "20", "--clip.size", "96,80", "--poses.rows", "1500", "--output.preview", "0"),
    *("--split.train", "3", "--split.val", "1", "--split.test", "0", "--output.sequences-per-shard", "2"),
)
NUM_SHARDS = 24
COMMAND = (sys.executable, "-c", "from seqgen.cli import main; main()")


def start(out: Path, *more: str, workers: int = 2, job: Sequence[str] = JOB) -> subprocess.Popen[str]:
    """The job in a folder, as a user would start it."""
    words = [*COMMAND, "generate", *job, "--out", str(out), "--workers", str(workers), *more]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def finish(run: subprocess.Popen[str], *, seconds: float = 120) -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    try:
        out, error = run.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(run.pid, signal.SIGKILL)
        raise
    return run.returncode, out, error


def family(pid: int) -> list[int]:
    """The process and all that descend from it."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended meanwhile
        if fields[0] != "Z":
            parents[int(entry.parent.name)] = int(fields[1])
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def ray_workers(pid: int) -> list[int]:
    """The Ray workers of a run that are at work."""
    return [one for one in family(pid) if _command_of(one).startswith(b"ray::RemoteWorker")]


def shards_in(out: Path) -> int:
    """How many shards are there, by their names."""
    return len(list((out / "shards").glob("*.tar")))


def wait_until(true, *, seconds: float = 60) -> None:
    """Polls; fails when it takes too long."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def _command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
