"""Draws a whole clip at once with Warp kernels, on the CPU (one thread) or a CUDA device. No other file but `kernels.py` knows Warp.

The same scene gives the same bits, whatever was drawn before and whatever is drawn beside it: every frame is its own row of every buffer, and every
buffer is filled anew before it is read. SEQGEN_CACHE, where set, is the folder that holds the compiled kernels.
"""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import warp as wp

from seqgen.errors import UserError
from seqgen.render import kernels
from seqgen.render.renderer import Frames
from seqgen.render.srgb import linear_from_srgb
from seqgen.scene.scene import Scene

Array = np.ndarray
StructInstance = Any  # Warp's structs are no Python types


class WarpRenderer:
    """A renderer that keeps its working memory between clips of one shape. `device`: "cpu", "cuda" or "cuda:N"."""

    def __init__(self, device: str = "cpu"):
        self._device = _open_device(device)
        self._buffers: dict[str, wp.array] = {}
        self._tables = _record(kernels.SrgbTables, **{name: wp.array(table, device=self._device) for name, table in _srgb_tables().items()})

    def render(self, scene: Scene) -> Frames:
        """The pictures of a clip."""
        surface = self._give_surface(scene)
        screen, boxes = self._project(scene)
        centre_keys = self._rasterise("centre", scene, screen, surface.faces, samples=1)
        colour_keys = centre_keys if scene.samples == 1 else self._rasterise("colour", scene, screen, surface.faces, samples=scene.samples)
        return self._resolve(scene, (screen, boxes, centre_keys, colour_keys, surface))

    def _project(self, scene: Scene) -> tuple[wp.array, wp.array]:
        """The vertices on the picture, and the box of every frame that holds them."""
        num_frames, num_vertices, _ = scene.surface.vertices_m.shape
        screen = self._buffer("screen", (num_frames, num_vertices), kernels.ScreenVertex)
        boxes = self._buffer("boxes", (num_frames, 4), wp.int32)
        boxes.fill_(np.iinfo(np.int32).max)
        vertices = self._give(scene.surface.vertices_m, np.float32, wp.vec3)
        intrinsics = self._give(scene.camera.intrinsics, np.float32, wp.mat33)
        self._launch(kernels.project, (num_frames, num_vertices), vertices, intrinsics, scene.camera.kind == "perspective", screen, boxes)
        return screen, boxes

    def _rasterise(self, name: str, scene: Scene, screen: wp.array, faces: wp.array, *, samples: int) -> wp.array:
        """The key of the nearest face at each of samples x samples places in every pixel."""
        width, height = scene.camera.size
        keys = self._buffer(name, (screen.shape[0], height * samples, width * samples), wp.uint64)
        keys.fill_(kernels.EMPTY)
        self._launch(kernels.rasterise, (screen.shape[0], faces.shape[0]), screen, faces, scene.camera.kind == "perspective", *_grid(samples), keys)
        return keys

    def _resolve(self, scene: Scene, drawn: tuple) -> Frames:
        """The pictures of the faces that won."""
        width, height = scene.camera.size
        shape = (len(scene.camera.intrinsics), height, width)
        columns = 1 if self._device.is_cuda else width  # a GPU wants many threads, a CPU long loops; the bits are the same
        lit = (self._give_light(scene), self._give_background(scene), self._tables)
        frames = [wp.empty(shape, dtype=dtype, device=self._device) for dtype in (wp.vec3ub, wp.float32, wp.uint8)]  # new: they leave the renderer
        self._launch(kernels.resolve, (*shape[:2], -(-width // columns)), *drawn, *lit, scene.samples, *_grid(scene.samples), columns, *frames)
        return Frames(*(array.numpy() for array in frames))

    def _give_surface(self, scene: Scene) -> StructInstance:
        given = scene.surface
        return _record(
            kernels.Surface,
            faces=self._give(given.faces, np.int32, wp.vec3i),
            normals=self._give(given.normals, np.float32, wp.vec3),
            colours=self._give(given.colours, np.float32, wp.vec3),
            corner_parts=self._give(given.corner_parts, np.uint8, wp.vec3ub),
            corner_weights=self._give(given.corner_weights, np.float32, wp.mat33),
        )

    def _give_light(self, scene: Scene) -> StructInstance:
        return _record(kernels.Light, **{name: self._give(getattr(scene.light, name), np.float32, wp.vec3) for name in ("ambient", "directions", "colours")})

    def _give_background(self, scene: Scene) -> StructInstance:
        photo = self._give(scene.background.photo, np.uint8, wp.vec3ub)
        return _record(kernels.Background, photo=photo, photo_from_pixel=self._give(scene.background.photo_from_pixel, np.float32, wp.vec3))

    def _launch(self, kernel: wp.Kernel, shape: tuple[int, ...], *arguments: object) -> None:
        wp.launch(kernel, shape, list(arguments), device=self._device)

    def _give(self, array: Array, dtype: type, warp_dtype: Any) -> wp.array:
        """An array on the device: the memory of numpy itself on the CPU, which the kernels only read."""
        return wp.array(np.ascontiguousarray(array, dtype), dtype=warp_dtype, device=self._device, copy=False)

    def _buffer(self, name: str, shape: tuple[int, ...], dtype: Any) -> wp.array:
        """Working memory with undefined content: the last clip's where the shape agrees."""
        if name not in self._buffers or self._buffers[name].shape != shape:
            self._buffers[name] = wp.empty(shape, dtype=dtype, device=self._device)
        return self._buffers[name]


def _grid(samples: int) -> tuple[int, int]:
    """Where samples lie along a side of a pixel: (i << shift) + offset steps of 1/4096 px. Centred on the pixel, which spans -0.5 to 0.5."""
    assert samples > 0 and kernels.SUBPIXELS % samples == 0, f"{samples} samples: only powers of two fall on fixed-point places"
    step = kernels.SUBPIXELS // samples
    return step.bit_length() - 1, (step - kernels.SUBPIXELS) // 2


def _record(kind: Any, **fields: wp.array) -> StructInstance:
    """A Warp struct from its fields."""
    record = kind()
    for name, value in fields.items():
        setattr(record, name, value)
    return record


def _srgb_tables() -> dict[str, Array]:
    """The fields of `kernels.SrgbTables`: what the kernels have instead of `pow`."""
    decode = linear_from_srgb(np.arange(255 * kernels.QUARTERS + 2) / (255.0 * kernels.QUARTERS))
    thresholds = np.append(linear_from_srgb((np.arange(255) + 0.5) / 255.0), np.inf).astype(np.float32)
    starts = np.searchsorted(thresholds, np.arange(kernels.LEVELS + 1, dtype=np.float32) / kernels.LEVELS, side="right")
    return {"decode": decode.astype(np.float32), "starts": starts.astype(np.uint8), "thresholds": thresholds}


def _open_device(name: str) -> wp.Device:
    """Starts Warp, quietly, and finds the device."""
    wp.config.log_level = wp.LOG_WARNING
    if "SEQGEN_CACHE" in os.environ:
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
