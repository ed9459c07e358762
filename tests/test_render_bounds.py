"""Kernels stay within their arrays, wherever a hand is: guards around every array they are given keep their bytes, inputs too, and what a guard holds is seen by none."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import warp as wp
from scenes import blob_scene, make_background

from seqgen.render.depth_sensor import DEVICES, DepthSensor
from seqgen.render.device import Workspace
from seqgen.render.renderer import Frames
from seqgen.render.sensor import Developer
from seqgen.render.warp_renderer import WarpRenderer
from seqgen.scene.scene import Scene
from seqgen.scene.sensor import Sensor
from seqgen.srgb import linear_from_srgb

Array = np.ndarray
GUARD = 1 << 16  # bytes before and after an array: many rows of any picture here
ALIGNED = 64
SIZES = [(16, 16), (17, 23), (64, 16), (16, 65), (65, 48)]
EXTRAS = frozenset({"flow", "normals", "amodal"})
KINDS = ["perspective", "weak_perspective"]
SENSOR = Sensor("drawn", 0.8, np.float32([1.2, 1.0, 0.9]), 2000.0, 2.0, 0.5, 0.05, 0.0, 80)
AWAY_M = (0.6, 1.0, 30.0, 1e4, 1e8)  # from where the hand is in the picture


# ---- guards ----


@dataclass
class Memory:
    """Arrays for kernels, each between two guards of random bytes; what they hold at first is random too. Keeps what of them must stay as it is."""

    rng: np.random.Generator
    kept: list[tuple[str, Array, slice, Array]] = field(default_factory=list)

    def array(self, name: str, shape: tuple[int, ...], dtype: Any, content: bytes | None = None) -> wp.array:
        """With content it is an input, which must stay as it is too."""
        size = int(np.prod(shape)) * wp.types.type_size_in_bytes(dtype)
        whole = self.rng.integers(0, 256, size + 2 * GUARD + ALIGNED, np.uint8)
        start = GUARD + -(whole.ctypes.data + GUARD) % ALIGNED
        own = slice(start, start + size)
        if content is not None:
            whole[own] = np.frombuffer(content, np.uint8)
        self.kept.append((name, whole, own if content is None else slice(0), whole.copy()))
        return wp.array(ptr=whole.ctypes.data + start, shape=shape, dtype=dtype, device="cpu")

    def check(self) -> None:
        """Nothing was written but into arrays that are there to be written to."""
        for name, whole, free, before in self.kept:
            before[free] = whole[free]
            changed = np.flatnonzero(whole != before)
            assert not len(changed), f"{name}: {len(changed)} bytes changed outside of {free}, the first at {changed[0]}"


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Memory:
    """What every workspace takes its arrays from."""
    made, give = Memory(np.random.default_rng(0)), Workspace.give

    def given(space: Workspace, array: Any, dtype: Any, warp_dtype: Any) -> wp.array:
        if isinstance(array, wp.array):
            return array
        found = give(space, array, dtype, warp_dtype)
        return made.array("an input", found.shape, warp_dtype, found.numpy().tobytes())

    monkeypatch.setattr(Workspace, "give", given)
    monkeypatch.setattr(Workspace, "buffer", lambda space, name, shape, dtype: made.array(name, shape, dtype))
    monkeypatch.setattr(Workspace, "new", lambda space, shape, dtype: made.array("a result", shape, dtype))
    return made


def pictures(scene: Scene, memory: Memory) -> list[bytes]:
    """All that is made of a scene, in new memory that is checked."""
    memory.kept.clear()
    frames = WarpRenderer().render(scene, EXTRAS)
    made = [getattr(frames, name) for name in Frames.__dataclass_fields__]
    made.append(Developer().develop(frames.radiance, SENSOR, seed=1, sequence=2))
    if scene.camera.kind == "perspective":
        made += [DepthSensor().measure(frames.depth_m, scene.camera, kind, seed=1, sequence=2) for kind in DEVICES]
    memory.check()
    return [picture.tobytes() for picture in made]


# ---- scenes ----


def moved(scene: Scene, by_m: Array) -> Scene:
    """A scene whose surfaces are elsewhere, frame by frame."""
    return replace(scene, surface=replace(scene.surface, vertices_m=(scene.surface.vertices_m + by_m[:, None]).astype(np.float32)))


def drawn_scene(rng: np.random.Generator, kind: Any, samples: int) -> Scene:
    """Hands in the picture, across its edges and corners, around the camera itself, behind it, and ever farther beside it."""
    frames, (width, height) = int(rng.integers(1, 5)), SIZES[rng.integers(len(SIZES))]
    scene = blob_scene(int(rng.integers(1000)), kind, frames=frames, size=(width, height), subdivisions=2, samples=samples, shutter=float(samples > 1 and rng.random() < 0.5))
    ways = rng.integers(-1, 2, (frames, 3)) * [1, 1, rng.random() < 0.3]
    return moved(scene, ways * rng.choice([0.0, 0.05, 0.45, *AWAY_M], (frames, 3)))


def outside(scene: Scene) -> Array:
    """Frames in which all vertices lie to one side of the picture, by more than a pixel."""
    x, y, z = np.moveaxis(scene.surface.vertices_m.astype(float), -1, 0)
    scale = scene.camera.intrinsics[:, :1, 0] / (z if scene.camera.kind == "perspective" else 1.0)
    beside = [(x * scale + scene.camera.intrinsics[:, :1, 2], scene.camera.size[0]), (y * scale + scene.camera.intrinsics[:, 1:2, 2], scene.camera.size[1])]
    return np.any([(place.max(1) < -2) | (place.min(1) > side + 1) for place, side in beside], axis=0) & (z > 0).all(1)


# ---- what must hold ----


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("samples", [1, 2, 3])
def test_nothing_but_pictures_is_written_and_nothing_beyond_is_read(kind, samples, memory):
    """The same scene in memory that held other bytes, between other guards, has the same pictures."""
    rng = np.random.default_rng(samples)
    for _ in range(6):
        scene = drawn_scene(rng, kind, samples)
        assert pictures(scene, memory) == pictures(scene, memory)


def test_a_byte_beyond_an_array_or_in_an_input_is_found(memory):
    for name, content, place in (("before", None, -1), ("behind", None, 24), ("input", bytes(24), 3)):
        memory.kept.clear()
        memory.array(name, (2, 3), wp.float32, content)
        memory.check()
        whole, start = memory.kept[0][1], GUARD + -(memory.kept[0][1].ctypes.data + GUARD) % ALIGNED
        whole[start + place] += 1
        with pytest.raises(AssertionError, match=name):
            memory.check()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("samples", [1, 2, 3])
def test_a_frame_whose_hand_is_wholly_outside_is_the_photo(kind, samples):
    """Every second frame has its hand beside the picture, to any side and ever farther. The photo moves by whole pixels, so it is seen as it is."""
    frames, rng = 10, np.random.default_rng(3)
    away = np.zeros((frames, 3))
    away[1::2, :2] = np.array([[-1, 0], [1, 0], [0, -1], [0, 1], [1, 1]]) * rng.permutation(AWAY_M)[:, None]
    scene = moved(blob_scene(1, kind, frames=frames, size=(64, 48), subdivisions=2, samples=samples), away)
    photo = rng.integers(0, 256, (70, 90, 3)).astype(np.uint8)
    scene = replace(scene, background=make_background(frames, photo=photo, shift=(5, 3), speed=(2, 1)))
    gone = outside(scene)
    assert gone[1::2].all() and not gone[::2].any()
    seen = WarpRenderer().render(scene, EXTRAS)
    for frame in range(frames):
        left, top = 5 + 2 * frame, 3 + frame
        if not gone[frame]:
            assert seen.parts[frame].any() and seen.depth_m[frame].any() and seen.amodal[frame].any()
            continue
        np.testing.assert_allclose(seen.radiance[frame], linear_from_srgb(photo[top : top + 48, left : left + 64] / 255), atol=1e-6)
        np.testing.assert_allclose(seen.flow_px[frame], np.broadcast_to([-2.0, -1.0] if frame < frames - 1 else [0.0, 0.0], (48, 64, 2)), atol=1e-4)
        assert not any(picture[frame].any() for picture in (seen.depth_m, seen.parts, seen.normals, seen.amodal))


@pytest.mark.parametrize("kind", KINDS)
def test_a_frames_box_is_that_of_the_vertices_that_can_be_drawn(kind):
    """In a perspective camera half of the vertices are behind it; all lie to the upper left of the picture, where a box of pixels is negative."""
    scene = moved(blob_scene(1, kind, frames=3, size=(64, 48), subdivisions=2, samples=1), np.full((3, 3), [-1.0, -0.9, 0.0]))
    vertices = scene.surface.vertices_m.copy()
    vertices[:, ::2, 2] -= 5.0
    scene = replace(scene, surface=replace(scene.surface, vertices_m=vertices))
    renderer = WarpRenderer()
    told = renderer._tell(scene, keep=True)
    renderer._prepare_vertices(told)
    ahead = vertices[:, 1::2] if kind == "perspective" else vertices
    places = scene.camera.project(ahead.astype(float))
    low, high = np.floor(places.min(1)), np.floor(places.max(1)) + 1
    assert (high < 0).all()
    np.testing.assert_array_equal(told.seen.boxes.numpy(), np.concatenate([low, -high], 1))
