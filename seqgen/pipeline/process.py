"""How a process works on clips: one thread in every library, so that no bit depends on how many cores there are; one Python thread at a time; and memory
that goes back to the system after the start, and stays from one batch of clips to the next."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits

from seqgen.turns import Turns

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
KEPT_BYTES, MOST_IN_HEAP = 2**28, 2**25  # the latter is the most that glibc takes
_limits = Turns()


def return_memory() -> None:
    """Gives memory that is free back to the system, where the C library knows how (glibc's malloc_trim): what was needed to start is not needed to go on."""
    _ask_c_library("malloc_trim", 0)


def keep_memory() -> None:
    """From now on up to KEPT_BYTES of what is freed stay with the process (glibc's mallopt). Else the system may get the pictures of each batch back and clear them
    anew, page by page, for the next: up to a third of the time of rendering."""
    _ask_c_library("mallopt", M_TRIM_THRESHOLD, KEPT_BYTES)
    _ask_c_library("mallopt", M_MMAP_THRESHOLD, MOST_IN_HEAP)


def _ask_c_library(name: str, *arguments: int) -> None:
    """Calls a function that some C libraries have. Windows has no name for the libraries that a process has loaded already, and its own has no such function."""
    function = None if sys.platform == "win32" else getattr(ctypes.CDLL(None), name, None)
    if function is not None:
        function(*arguments)


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
