"""Ctrl-C and SIGTERM: a run that is told to stop unwinds and leaves what it has made; where it hangs in a library, it is ended all the same.

A Python handler runs only between two steps of the interpreter. A wake-up pipe is written to by the signal itself, so a thread at its other end knows
at once, and ends the process when it is still there after GRACE_S.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

GRACE_S = 4.0  # a stopped run is gone within five seconds


class Stopped(KeyboardInterrupt):
    """The user, or whoever manages the machine, ends the run. `signal_number` says how."""

    def __init__(self, signal_number: int) -> None:
        super().__init__()
        self.signal_number = signal_number


@contextmanager
def stoppable() -> Iterator[None]:
    """Inside the block SIGINT and SIGTERM raise Stopped once; the process is gone GRACE_S later at the latest. For the main thread."""
    before = {number: signal.signal(number, _stop) for number in (signal.SIGINT, signal.SIGTERM)}
    wake, woken = os.pipe()
    for end in (wake, woken):
        os.set_blocking(end, end == wake)
    pipe_before = signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    over = threading.Event()
    threading.Thread(target=_end_late, args=(wake, over), daemon=True).start()
    try:
        yield
    finally:
        over.set()
        signal.set_wakeup_fd(pipe_before)
        os.close(woken)  # ends the thread's reading
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(number: int, frame: FrameType | None) -> None:
    for later in (signal.SIGINT, signal.SIGTERM):
        signal.signal(later, signal.SIG_IGN)  # what unwinds is not to be stopped again
    raise Stopped(number)


def _end_late(wake: int, over: threading.Event) -> None:
    while signals := os.read(wake, 64):
        asked = set(signals) & {signal.SIGINT, signal.SIGTERM}
        if asked and not over.wait(GRACE_S):
            os._exit(128 + asked.pop())
    os.close(wake)
