"""A scene always gives the same bits, on the CPU, on CUDA, alone and among others; and what Warp draws is what OpenGL draws."""

from dataclasses import replace

import numpy as np
import pytest
import warp as wp
from scenes import blob_scene, renderer_or_skip

from seqgen.errors import UserError
from seqgen.render import load_renderer
from seqgen.render.renderer import Frames, Renderer
from seqgen.scene.scene import Scene

Array = np.ndarray
EVERYTHING = frozenset({"flow", "normals", "amodal"})


@pytest.fixture(scope="module")
def warp() -> Renderer:
    return load_renderer("warp")


@pytest.fixture(params=["warp", "pyrender"])
def renderer(request) -> Renderer:
    return renderer_or_skip(request.param)


def assert_same(left: Frames, right: Frames) -> None:
    for name, picture in vars(left).items():
        np.testing.assert_array_equal(picture, getattr(right, name), name)


def frame_of(scene: Scene, t: int) -> Scene:
    """The clip of frame t alone."""
    surface, light, one = scene.surface, scene.light, slice(t, t + 1)
    return replace(
        scene,
        camera=replace(scene.camera, intrinsics=scene.camera.intrinsics[one]),
        surface=replace(surface, vertices_m=surface.vertices_m[one], normals=surface.normals[one]),
        light=replace(light, ambient=light.ambient[one], directions=light.directions[one], colours=light.colours[one]),
        background=replace(scene.background, photo_from_pixel=scene.background.photo_from_pixel[one]),
    )


# ---- the same bits ----


def test_labels_that_are_not_asked_for_are_not_there(renderer):
    scene = blob_scene(0, size=(40, 32))
    plain, full = renderer.render(scene), renderer.render(scene, EVERYTHING)
    assert plain.normals is plain.flow_px is plain.amodal is None
    assert_same(plain, replace(full, normals=None, flow_px=None, amodal=None))


@pytest.mark.parametrize("kind", ["perspective", "weak_perspective"])
def test_frame_alone_equals_frame_in_a_clip(warp, kind):
    """But for what looks at other frames: flow, and the shadow map's scale."""
    scene = blob_scene(0, kind, frames=4)
    scene, extras = replace(scene, light=replace(scene.light, shadows=False)), EVERYTHING - {"flow"}
    clip = warp.render(scene, extras)
    for t in (2, 0, 3, 1):
        one = slice(t, t + 1)
        expected = Frames(clip.radiance[one], clip.depth_m[one], clip.parts[one], clip.normals[one], amodal=clip.amodal[one])
        assert_same(warp.render(frame_of(scene, t), extras), expected)


def test_nothing_is_left_of_what_was_drawn_before(renderer):
    first, second = blob_scene(1), blob_scene(2, shutter=0.5)
    away = replace(second, surface=replace(second.surface, vertices_m=second.surface.vertices_m + np.float32([9, 0, 0])))
    drawn = [renderer.render(scene, EVERYTHING) for scene in (first, away, second, blob_scene(3, size=(64, 48), samples=1), second, first)]
    assert_same(drawn[0], drawn[-1])  # the first result is no view of working memory either
    assert_same(drawn[2], drawn[4])
    assert_same(drawn[2], type(renderer)().render(second, EVERYTHING))
    assert drawn[1].parts.max() == 0


def test_order_of_faces_does_not_matter(warp):
    scene = blob_scene(4)
    order = np.random.default_rng(0).permutation(len(scene.surface.faces))
    names = ("faces", "corner_parts", "corner_weights", "corner_uv", "face_materials")
    surface = replace(scene.surface, **{name: getattr(scene.surface, name)[order] for name in names})
    left, right = (warp.render(replace(scene, surface=each, hand_faces=len(order))) for each in (scene.surface, surface))
    np.testing.assert_array_equal(left.parts, right.parts)
    np.testing.assert_allclose(left.depth_m, right.depth_m, atol=1e-6)
    np.testing.assert_allclose(left.radiance, right.radiance, atol=1e-4)


def test_read_only_arrays_are_accepted(warp):
    scene = blob_scene(5, size=(48, 40))
    expected = warp.render(scene, EVERYTHING)
    for record in (scene.surface, scene.light, scene.background, *scene.surface.materials):
        for value in vars(record).values():
            if isinstance(value, np.ndarray):
                value.flags.writeable = False
    assert_same(warp.render(scene, EVERYTHING), expected)


def test_missing_device_is_the_users_error(warp):
    for device in ("cuda:77", "gpu", *(() if wp.is_cuda_available() else ("cuda",))):
        with pytest.raises(UserError, match=rf"device {device}: Warp looked for it, .* found only cpu"):
            load_renderer("warp", device)


@pytest.mark.parametrize("kind", ["perspective", "weak_perspective"])
@pytest.mark.parametrize("shutter", [0.0, 0.5])
def test_cuda_draws_the_same_bits(warp, kind, shutter):
    if not wp.is_cuda_available():
        pytest.skip("Warp finds no CUDA device")
    scene = blob_scene(6, kind, samples=3, shutter=shutter)
    assert_same(load_renderer("warp", "cuda").render(scene, EVERYTHING), warp.render(scene, EVERYTHING))


# ---- one renderer against the other ----


@pytest.mark.parametrize("kind", ["perspective", "weak_perspective"])
@pytest.mark.parametrize(("seed", "samples", "shutter"), [(0, 1, 0.0), (1, 2, 0.0), (2, 3, 0.5), (3, 2, 0.5)])
def test_renderers_agree(warp, kind, seed, samples, shutter):
    """Where Warp lights a pixel once and not each of its samples, fine textures differ; labels never do, nor does light that is taken at every sample."""
    scene = blob_scene(seed, kind, samples=samples, shutter=shutter)
    ours, theirs = warp.render(scene, EVERYTHING), renderer_or_skip("pyrender").render(scene, EVERYTHING)
    both, either = (ours.parts > 0) & (theirs.parts > 0), (ours.parts > 0) | (theirs.parts > 0)
    assert both.sum() / either.sum() > 0.999 and both.mean() > 0.05
    off_mm = 1e3 * np.abs(ours.depth_m - theirs.depth_m)[both]
    assert np.median(off_mm) < 0.001 and np.percentile(off_mm, 99) < 0.005
    within = both & ~near_border(ours.parts, 1)
    assert within.sum() > 0.5 * both.sum() and (ours.parts == theirs.parts)[within].mean() > 0.9999
    same = both & (ours.parts == theirs.parts)
    assert np.percentile(np.abs(ours.normals - theirs.normals)[same], 99) < 1e-4
    assert np.percentile(np.abs(ours.flow_px - theirs.flow_px), 99.9) < 0.01 and np.abs(ours.flow_px[0]).mean() > 1
    assert (ours.amodal == theirs.amodal).mean() > 0.999 and (ours.amodal & (ours.parts != ours.parts.clip(max=16))).any()
    off = np.abs(ours.radiance - theirs.radiance)
    assert (off.mean() < 1e-4 and np.percentile(off, 99) < 5e-4) if samples == 1 or shutter else off.mean() < 2e-3


def near_border(parts: Array, reach: int) -> Array:
    """Pixels with another part within `reach` pixels across or down."""
    near = np.zeros(parts.shape, bool)
    for axis in (1, 2):
        for step in range(-reach, reach + 1):
            near |= np.roll(parts, step, axis) != parts
    return near
