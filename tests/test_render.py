"""Where surfaces are, which part they show, how samples and the photo behind make up a pixel: against closed forms."""

import numpy as np
import pytest
from scenes import make_background, make_camera, make_scene, quad, rays, renderer_or_skip, sphere, sphere_depth, tessellated_plane

from seqgen.render import load_renderer
from seqgen.render.renderer import Renderer
from seqgen.scene.scene import plain_material
from seqgen.srgb import linear_from_srgb, srgb_from_linear

Array = np.ndarray
LEVEL = 0.04  # how near to an sRGB level Warp's decoding table brings light: it has 16 entries a level


@pytest.fixture(scope="module")
def warp() -> Renderer:
    return load_renderer("warp")


@pytest.fixture(params=["warp", "pyrender"])
def renderer(request) -> Renderer:
    return renderer_or_skip(request.param)


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
        assert frames.depth_m.min() > 0 and frames.radiance.min() > 1 - 1e-6


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


# ---- samples and the photo behind ----


def test_srgb_of_linear_light():
    np.testing.assert_allclose(srgb_from_linear(np.array([0, 0.001, 0.5, 1])), [0, 0.01292, 0.7353569831, 1], atol=1e-10)
    encoded = np.linspace(0, 1, 1001)
    np.testing.assert_allclose(srgb_from_linear(linear_from_srgb(encoded)), encoded, atol=1e-7)  # the standard's two pieces meet to 1e-8


@pytest.mark.parametrize("samples", [1, 2, 3])
def test_photo_passes_through_untouched(renderer, samples):
    photo = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    scene = make_scene(*quad((-1, 1), (-1, 1), -1.0), make_camera(), background=make_background(photo=photo), samples=samples)
    frames = renderer.render(scene)
    np.testing.assert_allclose(frames.radiance[0], linear_from_srgb(photo / 255), atol=1e-6)
    assert not frames.depth_m.any() and not frames.parts.any()


def test_photo_is_bilinear_and_its_edges_repeat(renderer):
    photo = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)

    def levels(shift: tuple[float, float]) -> Array:
        scene = make_scene(*quad((-1, 1), (-1, 1), -1.0), make_camera(), background=make_background(photo=photo, shift=shift))
        return 255 * srgb_from_linear(renderer.render(scene).radiance[0].astype(float))

    p = photo.astype(float)
    np.testing.assert_allclose(levels((0.5, 0))[:30, :39], (p[:, :-1] + p[:, 1:]) / 2, atol=LEVEL)
    np.testing.assert_allclose(levels((-10, -9)), np.pad(p, ((9, 9), (10, 14), (0, 0)), mode="edge"), atol=LEVEL)
    mixed = 0.25 * (0.75 * p[:-1, :-1] + 0.25 * p[:-1, 1:]) + 0.75 * (0.75 * p[1:, :-1] + 0.25 * p[1:, 1:])
    np.testing.assert_allclose(levels((0.25, 0.75))[:29, :39], mixed, atol=LEVEL)


@pytest.mark.parametrize(
    ("samples", "edge", "share"), [(2, 0.1, 1 / 2), (2, 0.5, 1), (2, -0.26, 0), (2, -0.2, 1 / 2), (3, 0.1, 2 / 3), (3, -0.1, 1 / 3), (3, 0.4, 1), (1, 0.1, 1), (1, -0.1, 0)]
)
def test_edge_is_averaged_in_linear_light(renderer, samples, edge, share):
    """A half plane of light 0.8 that ends `edge` pixels right of the centre of column 20, before a photo of level 100."""
    camera = make_camera("weak_perspective", focal=1.0, centre=(0.0, 0.0))
    photo = np.full((4, 4, 3), 100, np.uint8)
    scene = make_scene(*quad((-9, 20 + edge), (-9, 99), 1.0), camera, colours=0.8, background=make_background(photo=photo), samples=samples)
    drawn, behind = renderer.render(scene), linear_from_srgb(np.array(100 / 255))
    np.testing.assert_allclose(drawn.radiance[0, :, :20], 0.8, atol=1e-6)
    np.testing.assert_allclose(drawn.radiance[0, :, 20], share * 0.8 + (1 - share) * behind, atol=1e-6)
    np.testing.assert_allclose(drawn.radiance[0, :, 21:], behind, atol=1e-6)
    assert (drawn.depth_m[0, :, 20] > 0).all() == (edge >= 0)  # labels are the centre's


@pytest.mark.parametrize("kind", ["perspective", "weak_perspective"])
@pytest.mark.parametrize(("behind_m", "face_materials"), [(0.004, 0), (0.3, 0), (0.0001, [0, 0, 1, 1])])
def test_edge_before_another_surface_is_averaged_too(renderer, kind, behind_m, face_materials):
    """Not taken for one place, whose light is worked out once: what lies 4 mm behind, or what is of another material."""
    scale = 1.0 if kind == "weak_perspective" else 0.5
    near, far = quad((-9, scale * 20.1), (-9, 99), 0.5), quad((-99, 99), (-99, 99), 0.5 + behind_m)
    camera = make_camera(kind, focal=1.0, centre=(0.0, 0.0))
    colours, faces = np.repeat([[0.8], [0.2]], 4, 0), np.concatenate([near[1], far[1] + 4])
    materials = (plain_material(), plain_material())
    scene = make_scene(np.concatenate([near[0], far[0]]), faces, camera, colours=colours, materials=materials, face_materials=face_materials, samples=2)
    drawn = renderer.render(scene).radiance[0, :, [19, 20, 21], 0]
    np.testing.assert_allclose(drawn, np.broadcast_to([[0.8], [0.5], [0.2]], drawn.shape), atol=1e-6)


@pytest.mark.parametrize("samples", [2, 3])
def test_partial_coverage_and_bare_background_agree(warp, samples):
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
        samples=samples,
    )
    np.testing.assert_allclose(warp.render(scene).radiance[0], linear_from_srgb(photo / 255), atol=1e-6)
