"""How much memory a process and all its descendants take together: proportional set size (PSS), in which a page that several share counts once.

    Linux: Pss of /proc/PID/smaps_rollup, parents from /proc/PID/stat (proc(5))
"""

import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PROC = Path("/proc")
PSS = re.compile(rb"^Pss:\s+(\d+) kB", re.MULTILINE)
KINDS = {"worker": re.compile(rb"ray::\w*Worker\b"), "ray": re.compile(rb"\bray::|/ray/|raylet|gcs_server|ray_")}  # of a descendant, by its command line


@dataclass
class MemoryWatch:
    """Samples a process tree every so often while its block runs. `peak_mb`: the largest sum; `parts_mb`: what it was made of then: driver, worker, ray;
    `took_s`: how long each reading took."""

    pid: int
    every_s: float = 1.0
    peak_mb: float = 0.0
    parts_mb: dict[str, float] = field(default_factory=dict)
    took_s: list[float] = field(default_factory=list)

    def __enter__(self) -> "MemoryWatch":
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.is_set():
            start = time.monotonic()
            parts: dict[str, float] = {}
            for kind, _, megabytes in tree_memory(self.pid):
                parts[kind] = parts.get(kind, 0.0) + megabytes
            if sum(parts.values()) > self.peak_mb:
                self.peak_mb, self.parts_mb = sum(parts.values()), parts
            self.took_s.append(time.monotonic() - start)
            self._over.wait(max(0.0, self.every_s - self.took_s[-1]))


def tree_memory(pid: int) -> Iterator[tuple[str, int, float]]:
    """Kind, process and PSS in MB (10^6 bytes) of a process, which is the driver, and all its descendants: workers, and what else Ray has started."""
    for process in sorted(descendants(pid)):
        found = PSS.search(_read(PROC / str(process) / "smaps_rollup"))
        if found:
            yield ("driver" if process == pid else _kind(process)), process, int(found[1]) * 1024 / 1e6


def descendants(pid: int) -> set[int]:
    """A process and all that it has started, and they."""
    parents = {int(entry.name): _parent(entry) for entry in PROC.iterdir() if entry.name.isdecimal()}
    found, more = {pid}, {pid}
    while more:
        more = {process for process, parent in parents.items() if parent in more}
        found |= more
    return found


def _parent(entry: Path) -> int:
    stat = _read(entry / "stat")
    return int(stat.rpartition(b")")[2].split()[1]) if stat else 0


def _kind(process: int) -> str:
    command = _read(PROC / str(process) / "cmdline")
    return next((kind for kind, pattern in KINDS.items() if pattern.search(command)), "other")


def _read(path: Path) -> bytes:
    """A file of /proc; nothing where the process has ended or is another user's."""
    try:
        return path.read_bytes()
    except OSError:
        return b""
