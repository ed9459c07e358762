"""A value whose arrays several processes share: they lie once in memory that has no name, and is gone with the last process that knows it, however that ends.

    Shared(assets)  ──started with a process──>  a few kB and a file descriptor  ──value──>  the same record, its arrays read-only in the shared memory

Ray's object store does the same for the workers of `cluster.py`.
"""

import mmap
import os
import pickle
import tempfile
from functools import cached_property
from itertools import accumulate
from multiprocessing import reduction
from typing import Any, Generic, TypeVar

ALIGNMENT = 64  # bytes, as numpy aligns its own
Value = TypeVar("Value")


class Shared(Generic[Value]):
    """A value to be sent to the processes that this one starts: by a fork as it is, otherwise while they are started."""

    def __init__(self, value: Value) -> None:
        buffers: list[pickle.PickleBuffer] = []
        self._record = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
        self._sizes = [buffer.raw().nbytes for buffer in buffers]
        self._descriptor = _nameless_file()
        with os.fdopen(os.dup(self._descriptor), "wb") as file:
            for begin, buffer in zip(self._begins(), buffers, strict=True):
                file.seek(begin)
                file.write(buffer.raw())
            file.truncate(max(1, file.tell()))

    @cached_property
    def value(self) -> Value:
        """The value; its arrays are views of the shared memory."""
        memory = memoryview(mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_READ))
        return pickle.loads(self._record, buffers=[memory[begin : begin + size] for begin, size in zip(self._begins(), self._sizes, strict=True)])

    def _begins(self) -> list[int]:
        """Where each array lies."""
        return list(accumulate((-(-size // ALIGNMENT) * ALIGNMENT for size in self._sizes), initial=0))[:-1] if self._sizes else []

    def __getstate__(self) -> dict[str, Any]:
        return {"_record": self._record, "_sizes": self._sizes, "_descriptor": reduction.DupFd(self._descriptor)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _descriptor=state["_descriptor"].detach())

    def __del__(self) -> None:
        if "_descriptor" in self.__dict__:
            os.close(self._descriptor)


def _nameless_file() -> int:
    """A file of which only its descriptor is known: in memory, where the system has such."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("seqgen")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
