"""What a GPU would do, without one: every kernel of the house is compiled for CUDA (Warp brings NVIDIA's compiler along), and its way of working is run on a CPU."""

import re
from dataclasses import fields, replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import warp as wp
from scenes import blob_scene

import seqgen.render
from seqgen.render.device import Workspace
from seqgen.render.renderer import Frames
from seqgen.render.warp_renderer import WarpRenderer

EVERYTHING = frozenset({"flow", "normals", "amodal"})
KERNELS = sorted(path.stem for path in Path(seqgen.render.__file__).parent.glob("*_kernels.py") if "@wp.kernel" in path.read_text("utf-8"))
# Assembly whose results are not the nearest floats, as a CPU's are: fused operations, and quick divisions and roots.
INEXACT = re.compile(r"\bfma\.r|\bmad\.rn\.f|\b(div|sqrt|rcp|rsqrt)\.(approx|full)")


@pytest.mark.parametrize("name", KERNELS)
def test_kernels_compile_for_cuda_and_round_as_a_cpu_does(name, tmp_path):
    WarpRenderer()  # Warp is started, with our cache
    if 90 not in wp.get_cuda_supported_archs():
        pytest.skip("this Warp has no compiler for CUDA")
    compiled = wp.compile_aot_module(import_module(f"seqgen.render.{name}"), arch=90, module_dir=tmp_path, use_ptx=True)
    code = [path.read_text() for path in tmp_path.glob("*.ptx")]
    assert compiled and len(code) == 1
    assert not INEXACT.findall(code[0])


def test_inexact_instructions_are_recognised():
    for line in ("fma.rn.f32 %f1, %f2;", "div.approx.f32 %f1;", "sqrt.approx.ftz.f32 %f1;", "mad.rn.f32 %f1;", "div.full.f32 %f1;"):
        assert INEXACT.search(line)
    for line in ("div.rn.f32 %f1;", "sqrt.rn.f32 %f1;", "mul.rn.f32 %f1;", "mad.lo.s32 %r1;", "mad.wide.u32 %r1;"):
        assert not INEXACT.search(line)


@pytest.mark.parametrize(("samples", "shutter"), [(1, 0.0), (2, 0.0), (3, 0.0), (2, 0.5), (3, 0.9)])
def test_a_thread_a_pixel_draws_what_a_thread_a_frame_does(samples, shutter):
    """Step by step, in threads of one face or one pixel, as on a GPU, the bits are those of whole frames one after the other."""
    scene = blob_scene(samples, samples=samples, shutter=shutter)
    whole, fine = WarpRenderer(), WarpRenderer()
    fine._space.fine = True
    expected, drawn = whole.render(scene, EVERYTHING), fine.render(scene, EVERYTHING)
    assert (expected.parts > 0).mean() > 0.05
    assert_same(drawn, expected)
    assert_same(whole.render(scene), replace(expected, normals=None, flow_px=None, amodal=None))  # with nothing kept of a frame


@pytest.mark.parametrize("fine", [False, True])
def test_clips_drawn_together_are_those_drawn_alone(fine):
    """Of other shapes, samples and materials, so that every buffer is in other hands in between."""
    scenes = [blob_scene(seed, frames=frames, samples=samples, subdivisions=3) for seed, (frames, samples) in enumerate([(2, 2), (3, 1), (1, 3), (2, 2)])]
    together, alone = WarpRenderer(), WarpRenderer()
    together._space.fine = alone._space.fine = fine
    for drawn, scene in zip(together.render_clips(scenes), scenes, strict=True):
        assert_same(drawn, alone.render(scene))


def test_light_may_stay_on_the_device():
    """A developer there is given it without a copy; it is the light that the host would have had."""
    scene = blob_scene(0, frames=2, subdivisions=3)
    kept, host = WarpRenderer(keep_light=True).render(scene).radiance, WarpRenderer().render(scene).radiance
    given = Workspace("cpu").give(kept, np.float32, wp.vec3)
    assert isinstance(kept, wp.array) and given is kept and kept.shape == host.shape[:3]
    np.testing.assert_array_equal(kept.numpy(), host)


def assert_same(drawn: Frames, expected: Frames) -> None:
    for field in fields(Frames):
        one, other = getattr(drawn, field.name), getattr(expected, field.name)
        assert (one is None) == (other is None)
        if one is not None:
            assert one.dtype == other.dtype and one.tobytes() == other.tobytes(), field.name


@pytest.mark.parametrize("fine", [False, True])
@pytest.mark.parametrize("shift_m", [(0.0, -3.0), (0.0, 3.0), (-3.0, 0.0), (3.0, 0.0), (-300.0, -300.0)])
@pytest.mark.parametrize("beside", [[1], [0, 1, 2]])
def test_frames_with_nothing_on_the_picture(beside, shift_m, fine):
    """What lies beyond a side of the picture in some frames is not seen there, and leaves the other frames alone."""
    scene, renderer = blob_scene(0, frames=3), WarpRenderer()
    renderer._space.fine = fine
    moved = scene.surface.vertices_m.copy()
    moved[beside, :, :2] += np.float32(shift_m)
    expected, drawn = renderer.render(scene), renderer.render(replace(scene, surface=replace(scene.surface, vertices_m=moved)))
    others = [frame for frame in range(3) if frame not in beside]
    assert not drawn.parts[beside].any() and not drawn.depth_m[beside].any() and expected.parts[beside].any()
    for name in ("radiance", "depth_m", "parts"):
        assert np.array_equal(getattr(drawn, name)[others], getattr(expected, name)[others])
