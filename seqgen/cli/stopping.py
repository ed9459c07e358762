"""Ctrl-C and SIGTERM: a run that is told to stop unwinds and leaves what it has made; where it hangs in a library, it is ended all the same.

A Python handler runs only between two steps of the interpreter. A wake-up pipe is written to by the signal itself, so a thread at its other end knows
at once, and ends the process when it is still there after GRACE_S.
"""

import os
import signal
import sys
import threading
from types import FrameType

GRACE_S = 4.0  # a stopped run is gone within five seconds


class Stopping:
    """Inside its block SIGINT and SIGTERM raise KeyboardInterrupt, once, and the process is gone GRACE_S later at the latest. For the main thread.

    `signal_number`: which one it was, None where there was none; libraries may put another KeyboardInterrupt in the place of the first.
    """

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self._over = threading.Event()

    def __enter__(self) -> None:
        self._before = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}
        wake, self._woken = os.pipe()
        os.set_blocking(self._woken, False)
        self._pipe_before = signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)
        threading.Thread(target=self._end_late, args=(wake,), daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        signal.set_wakeup_fd(self._pipe_before)
        os.close(self._woken)  # ends the thread's reading
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def leave(self) -> None:
        """Ends the process after a signal, all being said and done: libraries that were cut off in their start abort when they are asked to tidy up."""
        if self.signal_number is not None:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(128 + self.signal_number)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.signal_number = number
        for later in self._before:
            signal.signal(later, signal.SIG_IGN)  # what unwinds is not to be stopped again
        raise KeyboardInterrupt

    def _end_late(self, wake: int) -> None:
        while signals := os.read(wake, 64):
            asked = set(signals) & {signal.SIGINT, signal.SIGTERM}
            if asked and not self._over.wait(GRACE_S):
                os._exit(128 + asked.pop())
        os.close(wake)
