"""A Warp device and the memory that its kernels work in. One thread on the CPU; the compiled kernels are kept in the folder `warp` of our cache."""

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import warp as wp

from seqgen.errors import UserError
from seqgen.files import cache_folder

Array = np.ndarray
_starting = threading.Lock()  # Warp starts and compiles for one thread at a time
_launched: set[tuple[str, str]] = set()  # kernels, by device, that are compiled and loaded


class Workspace:
    """A device ("cpu", "cuda" or "cuda:N") with buffers that are kept from one clip to the next."""

    def __init__(self, device: str):
        self.device = open_device(device)
        self.fine = self.device.is_cuda  # work is cut into as many threads as there are pixels and faces, step by step; else whole frames, one after the other
        self._buffers: dict[str, wp.array] = {}

    def launch(self, kernel: wp.Kernel, shape: tuple[int, ...], *arguments: object) -> None:
        """Runs a kernel; the first time it is compiled, and kept in the cache, from where Warp loads it."""
        name = kernel.key, self.device.alias
        with contextlib.nullcontext() if name in _launched else _starting:
            try:
                wp.launch(kernel, shape, list(arguments), device=self.device)
            except OSError as error:
                raise _no_place(wp.config.kernel_cache_dir, error) from error
            _launched.add(name)

    def launch_rows(self, kernel: wp.Kernel, shape: tuple[int, int, int], *arguments: object) -> None:
        """Runs a kernel over (frames, height, width) by pieces of a row: a GPU wants many threads, a CPU long loops; the bits are the same."""
        frames, height, width = shape
        columns = 1 if self.fine else width
        self.launch(kernel, (frames, height, -(-width // columns)), *arguments, columns)

    def launch_pieces(self, kernel: wp.Kernel, shape: tuple[int, int, int], *arguments: object) -> None:
        """Runs a kernel over (frames, height, width) by pieces of a picture: single pixels on a GPU, whole pictures on a CPU; the bits are the same."""
        frames, height, width = shape
        rows, columns = (1, 1) if self.fine else (height, width)
        self.launch(kernel, (frames, -(-height // rows), -(-width // columns)), *arguments, rows, columns)

    def launch_list(self, kernel: wp.Kernel, shape: tuple[int, int], *arguments: object) -> None:
        """Runs a kernel over (frames, things) by pieces of the list of things: one on a GPU, all on a CPU; the bits are the same."""
        piece = 1 if self.fine else max(shape[1], 1)
        self.launch(kernel, (shape[0], -(-shape[1] // piece)), *arguments, piece)

    def give(self, array: Any, dtype: Any, warp_dtype: Any) -> wp.array:
        """An array on the device, where it may be already: the memory of numpy itself on the CPU, which the kernels only read."""
        if isinstance(array, wp.array) and array.device == self.device and array.dtype == warp_dtype:
            return array
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
    with _starting:
        wp.config.log_level = wp.LOG_WARNING
        if wp.config.kernel_cache_dir is None:  # Warp puts its version into it
            wp.config.kernel_cache_dir = _kernel_folder()
        with _silence() if name == "cpu" else contextlib.nullcontext():
            wp.init()
    found = [device.alias for device in wp.get_devices()]
    if name not in found and not (name == "cuda" and wp.is_cuda_available()):
        raise UserError(f"device {name}: Warp looked for it, by the CUDA driver, and found only {', '.join(found)}; use one of these or install the driver")
    return wp.get_device(name)


def _kernel_folder() -> str:
    """Where compiled kernels are kept: in the folder that Warp's own variable names, else in our cache. Made here, before Warp fails at it."""
    folder = os.environ.get("WARP_CACHE_PATH") or os.path.join(cache_folder(), "warp")
    if os.fsencode(folder) != folder.encode("utf-8", "replace"):  # Warp takes it so, whatever the locale
        raise UserError(f"{folder!a}: compiled kernels cannot be kept in a folder whose name is no UTF-8 here; set PYTHONUTF8=1, or SEQGEN_CACHE to a plain name")
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise _no_place(folder, error) from error
    return folder


def _no_place(folder: str, error: OSError) -> UserError:
    return UserError(f"{folder}: compiled kernels cannot be kept there ({error.strerror or error}); set SEQGEN_CACHE to a folder with room that can be written to")


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
