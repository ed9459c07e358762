"""How a process works on clips: one thread in every library, so that no bit depends on how many cores there are; one Python thread at a time; and no memory kept that is free."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits

from seqgen.turns import Turns

_limits = Turns()


def return_memory() -> None:
    """Gives memory that is free back to the system, where the C library knows how (glibc's malloc_trim): what was needed to start is not needed to go on.
    Windows has no name for the libraries that a process has loaded already, and its own has no such function."""
    trim = None if sys.platform == "win32" else getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for BLAS, OpenMP and torch inside the block. The libraries count for the whole process, so blocks of several Python threads wait for one another."""
    with _limits.take():
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with threadpool_limits(1):
                yield
        finally:
            torch.set_num_threads(threads)
