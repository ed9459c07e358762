"""What the renderers draw against closed forms, and against each other."""

from dataclasses import replace

import numpy as np
import pytest
import warp as wp
from scenes import blob_scene, make_background, make_camera, make_light, make_scene, quad, rays, sphere, sphere_depth, tessellated_plane

from seqgen.errors import UserError
from seqgen.render import load_renderer
from seqgen.render.pyrender_renderer import why_unavailable
from seqgen.render.renderer import Frames, Renderer
from seqgen.render.srgb import linear_from_srgb, srgb_from_linear
from seqgen.scene.scene import Scene

Array = np.ndarray


@pytest.fixture(scope="module")
def warp() -> Renderer:
    return load_renderer("warp")


@pytest.fixture(params=["warp", "pyrender"])
def renderer(request) -> Renderer:
    if request.param == "pyrender" and (reason := why_unavailable()):
        pytest.skip(reason)
    return load_renderer(request.param)


def expected_bytes(linear: Array) -> Array:
    return np.floor(255 * srgb_from_linear(np.asarray(linear, float)) + 0.5).astype(np.uint8)


def assert_same(left: Frames, right: Frames) -> None:
    for name in ("rgb", "depth_m", "parts"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name), name)


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


# ---- where surfaces are ----


def test_depth_of_tilted_plane(renderer):
    camera, normal = make_camera(), np.array([0.5, -0.3, 0.8])
    frames = renderer.render(make_scene(*tessellated_plane(np.random.default_rng(0), normal, 0.4), camera))
    np.testing.assert_allclose(frames.depth_m[0], 0.4 / (rays(camera) @ normal), atol=2e-6)


def test_depth_of_tilted_plane_in_weak_perspective(renderer):
    camera = make_camera("weak_perspective", focal=500.0)
    xy = np.array([[-0.2, -0.2], [0.2, -0.2], [0.2, 0.2], [-0.2, 0.2]])
    frames = renderer.render(make_scene(np.column_stack([xy, 0.5 + xy @ [0.4, -0.7]]), quad((0, 1), (0, 1), 0)[1], camera))
    y, x = np.mgrid[:48, :64]
    np.testing.assert_allclose(frames.depth_m[0], 0.5 + 0.4 * (x - 30.2) / 500 - 0.7 * (y - 24.7) / 500, atol=2e-6)


@pytest.mark.parametrize("samples", [1, 2])
def test_plane_of_many_triangles_has_no_holes(renderer, samples):
    """Every sample of every pixel sees the white plane, never the black photo behind it."""
    for seed in range(5):
        rng = np.random.default_rng(seed)
        plane = tessellated_plane(rng, [*rng.uniform(-0.5, 0.5, 2), 1.0], 0.4, cells=60)
        frames = renderer.render(make_scene(*plane, make_camera(), samples=samples))
        assert frames.depth_m.min() > 0 and frames.rgb.min() == 255


def test_edge_through_pixel_centres_is_covered_once_and_fully(warp):
    """Two triangles share the diagonal on which the pixels' centres lie; a third, behind them, never shows."""
    camera = make_camera("weak_perspective", focal=1.0, centre=(0.0, 0.0))
    vertices, faces = quad((0, 47), (0, 47), 1.0)
    behind, _ = quad((-10, 80), (-10, 80), 2.0)
    parts = warp.render(make_scene(np.concatenate([vertices, behind]), np.concatenate([faces, faces + 4]), camera, parts=np.repeat([[1], [2], [3], [3]], 3, 1))).parts[0]
    assert set(np.unique(parts[:48, :48])) == {1, 2}
    assert (np.diag(parts[:48, :48]) == 1).all()  # at equal depth the first face wins


def test_depth_and_mask_of_sphere(renderer):
    camera, centre, radius = make_camera(focal=200.0), (0.03, -0.02, 0.45), 0.05
    vertices, faces, normals = sphere(centre, radius)
    frames, expected = renderer.render(make_scene(vertices, faces, camera, normals=normals)), sphere_depth(camera, centre, radius)
    mask, drawn = np.isfinite(expected), frames.parts[0] > 0
    assert (mask & drawn).sum() / (mask | drawn).sum() > 0.995 and not (drawn & ~mask).any()  # the polyhedron lies inside the sphere
    np.testing.assert_array_equal(drawn, frames.depth_m[0] > 0)
    facing = drawn & (sphere_depth(camera, centre, 0.9 * radius) > 0)
    np.testing.assert_allclose(frames.depth_m[0][facing], expected[facing], atol=3e-5)


def test_silhouette_of_sphere_in_weak_perspective_is_a_circle(renderer):
    vertices, faces, normals = sphere((0.01, 0.005, 0.45), 0.05)
    drawn = renderer.render(make_scene(vertices, faces, make_camera("weak_perspective", focal=400.0), normals=normals)).parts[0] > 0
    y, x = np.mgrid[:48, :64]
    radius = np.hypot(x - 30.2 - 4, y - 24.7 - 2)
    assert drawn[radius < 19.9].all() and not drawn[radius > 20].any()


@pytest.mark.parametrize("kind", ["perspective", "weak_perspective"])
@pytest.mark.parametrize("order", [[0, 1, 2, 3], [2, 3, 0, 1]])
def test_nearest_surface_is_seen(renderer, kind, order):
    """Two planes that cut through each other; weak perspective does not mind if z is negative."""
    camera, slopes = make_camera(kind, focal=100.0), np.array([0.9, -0.9])
    corners = 0.5 * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    if kind == "perspective":
        depths = 0.4 / (1 - slopes * rays(camera)[..., :1])
        planes = [np.column_stack([corners, np.ones(4)]) * (0.4 / (1 - slope * corners[:, :1])) for slope in slopes]
    else:
        depths = -0.1 + slopes * (np.arange(64.0)[None, :, None] - 30.2) / 100 + np.zeros((48, 1, 1))
        planes = [np.column_stack([corners, -0.1 + slope * corners[:, 0]]) for slope in slopes]
    faces = np.concatenate([quad((0, 1), (0, 1), 0)[1], quad((0, 1), (0, 1), 0)[1] + 4])[order]
    parts = np.repeat(np.array([[1], [1], [2], [2]]), 3, 1)[order]
    frames = renderer.render(make_scene(np.concatenate(planes), faces, camera, parts=parts))
    np.testing.assert_allclose(frames.depth_m[0], depths.min(-1), atol=3e-6)
    np.testing.assert_array_equal(frames.parts[0], 1 + depths.argmin(-1))


def test_back_faces_are_invisible(renderer):
    vertices, faces, normals = sphere((0, 0, 0.4), 0.05, subdivisions=2)
    front = renderer.render(make_scene(vertices, faces, make_camera(focal=200.0), normals=normals))
    back = renderer.render(make_scene(vertices, faces[:, ::-1], make_camera(focal=200.0), normals=normals))
    mask = front.parts > 0
    assert (mask == (back.parts > 0)).mean() > 0.999 and mask.mean() > 0.2
    tangent_m = (0.4**2 - 0.05**2) / 0.4
    assert front.depth_m[mask].max() < tangent_m + 0.003 < 0.448 < back.depth_m.max() and back.depth_m[back.depth_m > 0].min() > tangent_m - 0.003


def test_triangles_at_the_near_plane_are_left_out_whole(renderer):
    near = np.array([[-0.1, -0.1, 0.5], [0.1, 0.2, 0.5], [0.1, -0.1, 0.01]])
    rest, faces = quad((-0.05, 0.05), (-0.05, 0.05), 0.6)
    scene = make_scene(np.concatenate([near, rest]), [[0, 1, 2], *(faces + 3)], make_camera(), parts=[[1] * 3, [2] * 3, [2] * 3])
    assert set(np.unique(renderer.render(scene).parts)) == {0, 2}
    behind = make_scene(-near, [[0, 1, 2], [0, 2, 1]], make_camera())
    assert renderer.render(behind).depth_m.max() == 0


def test_places_beyond_the_fixed_point_are_left_out(warp):
    vertices, faces = quad((-1e5, 1e5), (-1e5, 1e5), 0.02)
    assert warp.render(make_scene(vertices, faces, make_camera())).depth_m.max() == 0
    assert warp.render(make_scene(vertices * [np.nan, 1, 1], faces, make_camera())).depth_m.max() == 0


# ---- parts ----


def test_parts_divide_a_triangle_where_weights_are_equal(warp):
    """A triangle seen so obliquely that weights linear on the picture would put the borders elsewhere."""
    camera, rng = make_camera(), np.random.default_rng(1)
    corners = np.array([[-0.1, -0.1, 0.25], [0.3, 0.6, 1.4], [0.35, -0.3, 0.9]])
    weights = rng.dirichlet([1, 1, 1], 3)
    scene = make_scene(corners, [[0, 1, 2]], camera, parts=[[4, 7, 9]], weights=weights[None])
    ray = rays(camera)
    normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
    points = ray * (normal @ corners[0] / (ray @ normal))[..., None]
    shares = points @ np.linalg.inv(corners)
    candidate = shares @ weights
    certain = np.sort(candidate, -1)[..., 2] - np.sort(candidate, -1)[..., 1] > 1e-4
    inside = (shares > 1e-4).all(-1)
    drawn = warp.render(scene).parts[0]
    np.testing.assert_array_equal(drawn[inside & certain], np.array([4, 7, 9])[candidate.argmax(-1)][inside & certain])
    assert len(np.unique(drawn[inside])) == 3 and not drawn[(shares < -1e-4).any(-1)].any()
    on_picture = np.linalg.inv(np.column_stack([camera.project(corners[None])[0], np.ones(3)]))
    y, x = np.mgrid[:48, :64]
    linear = np.stack([x, y, np.ones_like(x)], -1) @ on_picture @ weights
    assert (linear.argmax(-1) != candidate.argmax(-1))[inside & certain].mean() > 0.05


def test_first_of_equal_candidates_wins(warp):
    for weights, part in (([1, 1, 1], 5), ([0, 1, 1], 6), ([1, 0, 1], 5), ([0, 0, 1], 7)):
        scene = make_scene(*quad((-0.1, 0.1), (-0.1, 0.1), 0.5), make_camera(), parts=[5, 6, 7], weights=weights)
        assert set(np.unique(warp.render(scene).parts)) == {0, part}


# ---- colour ----


def test_srgb_of_linear_light():
    np.testing.assert_allclose(srgb_from_linear(np.array([0, 0.001, 0.5, 1])), [0, 0.01292, 0.7353569831, 1], atol=1e-10)
    encoded = np.linspace(0, 1, 1001)
    np.testing.assert_allclose(srgb_from_linear(linear_from_srgb(encoded)), encoded, atol=1e-7)  # the standard's two pieces meet to 1e-8


@pytest.mark.parametrize("samples", [1, 2])
def test_every_colour_is_the_nearest_byte(warp, samples):
    """A ramp of light across the picture, through all 256 levels."""
    size, steps = (512, 4), np.arange(512) / 511
    camera = make_camera("weak_perspective", focal=1.0, centre=(0.0, 0.0), size=size)
    vertices = np.concatenate([np.column_stack([np.arange(512), np.full(512, y), np.ones(512)]) for y in (-1, 4)])
    i = np.arange(511)
    faces = np.concatenate([np.column_stack([i, i + 512, i + 1]), np.column_stack([i + 1, i + 512, i + 513])])
    light = linear_from_srgb(steps)
    drawn = warp.render(make_scene(vertices, faces, camera, colours=np.tile(light, 2)[:, None], samples=samples)).rgb[0, :, 1:-1]
    seen = light if samples == 1 else 0.75 * light + 0.125 * (np.roll(light, 1) + np.roll(light, -1))
    exact = 255 * srgb_from_linear(seen)[1:-1, None]
    assert np.abs(drawn - exact).max() < 0.501
    assert len(np.unique(drawn)) >= 254


@pytest.mark.parametrize("samples", [1, 2])
def test_sphere_is_lambertian(renderer, samples):
    camera, centre, radius = make_camera(focal=200.0), np.array([0.03, -0.02, 0.45]), 0.05
    vertices, faces, normals = sphere(centre, radius)
    towards = np.array([0.5, -0.6, -0.4])
    light = make_light(ambient=0.1, directions=towards, colour=0.8)
    drawn = renderer.render(make_scene(vertices, faces, camera, normals=normals, colours=[0.9, 0.5, 0.2], light=light, samples=samples)).rgb[0]
    n = (rays(camera) * sphere_depth(camera, centre, radius)[..., None] - centre) / radius
    radiance = 0.1 + 0.8 * np.maximum(n @ towards / np.linalg.norm(towards), 0)
    facing = sphere_depth(camera, centre, 0.9 * radius) > 0
    smooth = facing & (np.abs(radiance - 0.1) > 0.05)  # not at the terminator, where the mean of samples is not the middle's light
    assert np.abs(drawn[smooth] - 255 * srgb_from_linear(radiance[..., None] * [0.9, 0.5, 0.2])[smooth]).max() < 1.6


def test_normals_are_made_unit_in_every_pixel(warp):
    """Normals 45 degrees to either side at the two ends of a plane: their mean in the middle is shorter than 1."""
    camera = make_camera("weak_perspective", focal=1.0, centre=(0.0, 0.0))
    normals = np.array([[-1, 0, -1], [1, 0, -1], [1, 0, -1], [-1, 0, -1]]) / np.sqrt(2)
    light = make_light(ambient=0.0, directions=[0, 0, -1], colour=1.0)
    drawn = warp.render(make_scene(*quad((0, 63), (-1, 48), 1.0), camera, normals=normals, light=light)).rgb
    across = 2 * np.arange(64) / 63 - 1
    assert np.abs(drawn[0, :, :, 0] - 255 * srgb_from_linear(1 / np.sqrt(1 + across**2))).max() < 0.501


def test_light_is_clipped_and_adds_up(renderer):
    vertices, faces = quad((-1, 1), (-1, 1), 0.5)
    light = make_light(ambient=0.05, directions=[[0, 0, -1], [0, 1, -1], [0, 0, 1]], colour=0.3)
    drawn = renderer.render(make_scene(vertices, faces, make_camera(), colours=[0.1, 0.5, 4.0], light=light)).rgb
    assert (drawn == expected_bytes(np.minimum([0.1, 0.5, 4.0] * np.array(0.05 + 0.3 + 0.3 / np.sqrt(2)), 1))).all()


@pytest.mark.parametrize("samples", [1, 2])
def test_photo_passes_through_untouched(renderer, samples):
    photo = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    scene = make_scene(*quad((-1, 1), (-1, 1), -1.0), make_camera(), background=make_background(photo=photo), samples=samples)
    frames = renderer.render(scene)
    np.testing.assert_array_equal(frames.rgb[0], photo)
    assert not frames.depth_m.any() and not frames.parts.any()


def test_photo_is_bilinear_and_its_edges_repeat(renderer):
    photo = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    nothing = quad((-1, 1), (-1, 1), -1.0)
    across = renderer.render(make_scene(*nothing, make_camera(), background=make_background(photo=photo, shift=(0.5, 0)))).rgb[0]
    np.testing.assert_array_equal(across[:30, :39], (photo[:, :-1].astype(int) + photo[:, 1:] + 1) // 2)
    moved = renderer.render(make_scene(*nothing, make_camera(), background=make_background(photo=photo, shift=(-10, -9)))).rgb[0]
    np.testing.assert_array_equal(moved, np.pad(photo, ((9, 9), (10, 14), (0, 0)), mode="edge"))
    both = renderer.render(make_scene(*nothing, make_camera(), background=make_background(photo=photo, shift=(0.25, 0.75)))).rgb[0, :29, :39]
    p = photo.astype(float)
    mixed = 0.25 * (0.75 * p[:-1, :-1] + 0.25 * p[:-1, 1:]) + 0.75 * (0.75 * p[1:, :-1] + 0.25 * p[1:, 1:])
    np.testing.assert_array_equal(both, np.floor(mixed + 0.5))


@pytest.mark.parametrize(("edge", "share"), [(0.1, 0.5), (0.5, 1.0), (-0.26, 0.0), (-0.2, 0.5)])
def test_edge_is_averaged_in_linear_light(renderer, edge, share):
    """A half plane of light 0.8 that ends `edge` pixels right of the centre of column 20, before a photo of level 100."""
    camera = make_camera("weak_perspective", focal=1.0, centre=(0.0, 0.0))
    photo = np.full((4, 4, 3), 100, np.uint8)
    scene = make_scene(*quad((-9, 20 + edge), (-9, 99), 1.0), camera, colours=0.8, background=make_background(photo=photo), samples=2)
    drawn = renderer.render(scene)
    assert (drawn.rgb[0, :, 20] == expected_bytes(share * 0.8 + (1 - share) * linear_from_srgb(np.array(100 / 255)))).all()
    assert (drawn.rgb[0, :, :20] == expected_bytes(0.8)).all() and (drawn.rgb[0, :, 21:] == 100).all()
    assert (drawn.depth_m[0, :, 20] > 0).all() == (edge >= 0)  # labels are the centre's


def test_partial_coverage_and_bare_background_agree(warp):
    """Surfaces of just the photo's light, in every level, covering half of each pixel of a row, leave no trace in the picture."""
    levels = np.arange(256)
    camera = make_camera("weak_perspective", focal=1.0, centre=(0.0, 0.0), size=(256, 20))
    quads = [quad((x - 0.5, x + 0.5), (-1, 10), 1.0) for x in levels]
    photo = np.tile(levels[None, :, None], (20, 1, 3)).astype(np.uint8)
    scene = make_scene(
        np.concatenate([vertices for vertices, _ in quads]),
        np.concatenate([faces + 4 * x for x, (_, faces) in enumerate(quads)]),
        camera,
        colours=np.repeat(linear_from_srgb(levels / 255), 4)[:, None],
        background=make_background(photo=photo),
        samples=2,
    )
    np.testing.assert_array_equal(warp.render(scene).rgb[0], photo)


# ---- the same bits ----


@pytest.mark.parametrize("kind", ["perspective", "weak_perspective"])
def test_frame_alone_equals_frame_in_a_clip(warp, kind):
    scene = blob_scene(0, kind, frames=4)
    clip = warp.render(scene)
    for t in (2, 0, 3, 1):
        alone = warp.render(frame_of(scene, t))
        assert_same(alone, Frames(clip.rgb[t : t + 1], clip.depth_m[t : t + 1], clip.parts[t : t + 1]))


def test_nothing_is_left_of_what_was_drawn_before(renderer):
    first, second = blob_scene(1), blob_scene(2)
    away = replace(second, surface=replace(second.surface, vertices_m=second.surface.vertices_m + np.float32([9, 0, 0])))
    drawn = [renderer.render(scene) for scene in (first, away, second, blob_scene(3, size=(64, 48), samples=1), second, first)]
    assert_same(drawn[0], drawn[-1])  # the first result is no view of working memory either
    assert_same(drawn[2], drawn[4])
    assert_same(drawn[2], type(renderer)().render(second))
    assert drawn[1].parts.max() == 0


def test_order_of_faces_does_not_matter(warp):
    scene = blob_scene(4)
    order = np.random.default_rng(0).permutation(len(scene.surface.faces))
    surface = replace(scene.surface, **{name: getattr(scene.surface, name)[order] for name in ("faces", "corner_parts", "corner_weights")})
    left, right = warp.render(scene), warp.render(replace(scene, surface=surface))
    np.testing.assert_array_equal(left.parts, right.parts)
    np.testing.assert_allclose(left.depth_m, right.depth_m, atol=1e-6)
    assert np.abs(left.rgb.astype(int) - right.rgb).max() <= 1


def test_read_only_arrays_are_accepted(warp):
    scene = blob_scene(5, size=(48, 40))
    expected = warp.render(scene)
    for record in (scene.surface, scene.light, scene.background):
        for array in vars(record).values():
            array.flags.writeable = False
    assert_same(warp.render(scene), expected)


def test_missing_device_is_the_users_error(warp):
    for device in ("cuda:77", "gpu", *(() if wp.is_cuda_available() else ("cuda",))):
        with pytest.raises(UserError, match=rf"device {device}: Warp looked for it, .* found only cpu"):
            load_renderer("warp", device)


@pytest.mark.parametrize("kind", ["perspective", "weak_perspective"])
def test_cuda_draws_the_same_bits(warp, kind):
    if not wp.is_cuda_available():
        pytest.skip("Warp finds no CUDA device")
    assert_same(load_renderer("warp", "cuda").render(blob_scene(6, kind)), warp.render(blob_scene(6, kind)))


# ---- one renderer against the other ----


@pytest.mark.parametrize("kind", ["perspective", "weak_perspective"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_renderers_agree(warp, kind, seed):
    if reason := why_unavailable():
        pytest.skip(reason)
    scene = blob_scene(seed, kind)
    ours, theirs = warp.render(scene), load_renderer("pyrender").render(scene)
    both, either = (ours.parts > 0) & (theirs.parts > 0), (ours.parts > 0) | (theirs.parts > 0)
    assert both.sum() / either.sum() > 0.995 and both.mean() > 0.05
    off_mm = 1e3 * np.abs(ours.depth_m - theirs.depth_m)[both]
    assert np.median(off_mm) < 0.02 and np.percentile(off_mm, 99) < 0.2
    within = both & ~near_border(ours.parts, 3)
    assert within.sum() > 0.2 * both.sum() and (ours.parts == theirs.parts)[within].mean() > 0.995
    off_levels = np.abs(ours.rgb.astype(int) - theirs.rgb)
    assert off_levels.mean() < 0.2 and np.percentile(off_levels, 99) <= 2


def near_border(parts: Array, reach: int) -> Array:
    """Pixels with another part within `reach` pixels across or down."""
    near = np.zeros(parts.shape, bool)
    for axis in (1, 2):
        for step in range(-reach, reach + 1):
            near |= np.roll(parts, step, axis) != parts
    return near
