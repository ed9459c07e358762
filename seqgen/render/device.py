"""A Warp device and the memory that its kernels work in. One thread on the CPU; SEQGEN_CACHE, where set, is the folder that holds the compiled kernels."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import warp as wp

from seqgen.errors import UserError

Array = np.ndarray


class Workspace:
    """A device ("cpu", "cuda" or "cuda:N") with buffers that are kept from one clip to the next."""

    def __init__(self, device: str):
        self.device = open_device(device)
        self._buffers: dict[str, wp.array] = {}

    def launch(self, kernel: wp.Kernel, shape: tuple[int, ...], *arguments: object) -> None:
        wp.launch(kernel, shape, list(arguments), device=self.device)

    def launch_rows(self, kernel: wp.Kernel, shape: tuple[int, int, int], *arguments: object) -> None:
        """Runs a kernel over (frames, height, width) by pieces of a row: a GPU wants many threads, a CPU long loops; the bits are the same."""
        frames, height, width = shape
        columns = 1 if self.device.is_cuda else width
        self.launch(kernel, (frames, height, -(-width // columns)), *arguments, columns)

    def give(self, array: Array, dtype: Any, warp_dtype: Any) -> wp.array:
        """An array on the device: the memory of numpy itself on the CPU, which the kernels only read."""
        return wp.array(np.ascontiguousarray(array, dtype), dtype=warp_dtype, device=self.device, copy=False)

    def buffer(self, name: str, shape: tuple[int, ...], dtype: Any) -> wp.array:
        """Working memory with undefined content: the last clip's where the shape agrees."""
        if name not in self._buffers or self._buffers[name].shape != shape:
            self._buffers[name] = wp.empty(shape, dtype=dtype, device=self.device)
        return self._buffers[name]

    def new(self, shape: tuple[int, ...], dtype: Any) -> wp.array:
        """Memory that leaves with the result."""
        return wp.empty(shape, dtype=dtype, device=self.device)


def open_device(name: str) -> wp.Device:
    """Starts Warp, quietly, and finds the device."""
    wp.config.log_level = wp.LOG_WARNING
    if "SEQGEN_CACHE" in os.environ and wp.config.kernel_cache_dir is None:  # Warp has put its version into it since the first time
        wp.config.kernel_cache_dir = os.path.join(os.environ["SEQGEN_CACHE"], "warp")
    with _silence() if name == "cpu" else contextlib.nullcontext():
        wp.init()
    found = [device.alias for device in wp.get_devices()]
    if name not in found and not (name == "cuda" and wp.is_cuda_available()):
        raise UserError(f"device {name}: Warp looked for it, by the CUDA driver, and found only {', '.join(found)}; use one of these or install the driver")
    return wp.get_device(name)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Warp's native library tells standard error, past every setting, that there is no CUDA driver; who asked for the CPU need not hear it."""
    saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)
