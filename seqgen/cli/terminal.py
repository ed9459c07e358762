"""Standard input, output and error as a command may find them: closed, without a reader, of an encoding that cannot hold the name of a file. A command goes on all the same.

It does not know what the commands say.
"""

import io
import os
import sys

from seqgen.errors import UserError


def mend_streams() -> None:
    """Makes the three streams safe to use. Those that are no longer the process's own (in a test, in a notebook) are left alone."""
    _fill_closed()
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        if stream is None or stream is getattr(sys, f"__{name}__"):
            setattr(sys, name, _patient(number, "utf-8" if stream is None else stream.encoding))


def check_current_folder() -> None:
    """A UserError where the folder one is in has been removed: libraries do not start there, and say so in their own ways."""
    try:
        os.getcwd()
    except FileNotFoundError:
        raise UserError("the current folder has been removed; change to one that is there") from None


class _Unheard(io.FileIO):
    """A stream whose reader may leave, as `head` does: what is written after that goes nowhere."""

    def write(self, data: bytes) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            return len(data)


def _fill_closed() -> None:
    """The first files that a process opens would take the numbers of closed streams, and what a library says would be written into them."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, this one


def _patient(number: int, encoding: str) -> io.TextIOWrapper:
    """A line at a time; what the encoding lacks as an escape."""
    return io.TextIOWrapper(io.BufferedWriter(_Unheard(number, "w", closefd=False)), encoding=encoding, errors="backslashreplace", line_buffering=True)
