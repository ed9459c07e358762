"""A lock for what a process has only one of: Python threads that share it take turns."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """A lock that a thread may take several times, and that is free in a forked child even where another thread of its parent had it."""

    def __init__(self) -> None:
        self._locks: dict[int, threading.RLock] = {}

    @contextmanager
    def take(self) -> Iterator[None]:
        """Waits for the turn of this thread."""
        with self._locks.setdefault(os.getpid(), threading.RLock()):
            yield
