"""How surfaces take light, in both renderers: textures, bumps, light from all around, matt and glossy reflection against closed forms."""

from dataclasses import replace

import numpy as np
import pytest
from scenes import card, make_camera, make_light, make_material, make_scene, quad, rays, renderer_or_skip, rotation, sphere, sphere_depth
from scipy.ndimage import map_coordinates

from seqgen.render.renderer import Renderer
from seqgen.scene.scene import Material, join_surfaces, plain_material
from seqgen.srgb import LINEAR_OF_LEVEL, linear_from_srgb, srgb_from_linear

Array = np.ndarray
LEVEL = 0.04  # how near to an sRGB level Warp's decoding table brings light: it has 16 entries a level
FLAT_ON = np.array([0.0, 0.0, -1.0])  # the normal of what faces the camera
y, x = np.mgrid[:48, :64].astype(float)


@pytest.fixture(params=["warp", "pyrender"])
def renderer(request) -> Renderer:
    return renderer_or_skip(request.param)


def picture_camera():
    """A weak-perspective camera whose pixels are metres."""
    return make_camera("weak_perspective", focal=1.0, centre=(0.0, 0.0))


def mapped_plane(uv_from_pixel: Array, **told):
    """A plane before `picture_camera` that fills the picture, with texture coordinates `uv_from_pixel` (2, 3) @ (x, y, 1)."""
    vertices, faces = quad((-9, 99), (-9, 99), 1.0)
    uv = np.column_stack([vertices[:, :2], np.ones(4)]) @ np.asarray(uv_from_pixel).T
    return make_scene(vertices, faces, picture_camera(), uv=uv[faces], **told)


# ---- textures ----


@pytest.mark.parametrize("size", [(7, 5), (1, 6), (64, 1)])
def test_texture_is_bilinear_and_repeats(renderer, size):
    """Coordinates far below 0 and above 1, askew; what lies between texels also goes across the seam."""
    albedo = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    matrix = np.array([[0.043, 0.017, -1.3], [-0.021, 0.037, -0.6]])
    material = Material(albedo, np.full(size[::-1], 255, np.uint8), np.zeros(size[::-1], np.float32), 0.0)
    drawn = renderer.render(mapped_plane(matrix, materials=(material,))).radiance[0]
    u, v = np.einsum("ij,jhw->ihw", matrix, np.stack([x, y, np.ones_like(x)]))
    assert u.min() < -1.2 and u.max() > 2 and v.min() < -1.8 and v.max() > 1
    column, row = u * size[0] - 0.5, (1 - v) * size[1] - 0.5
    expected = np.stack([map_coordinates(LINEAR_OF_LEVEL[albedo[..., c]], [row, column], order=1, mode="grid-wrap") for c in range(3)], -1)
    np.testing.assert_allclose(drawn, expected, atol=2e-4)


def test_texels_have_their_centres_where_they_should(renderer):
    """A texture as large as the picture, v upwards, comes out as it is; so does a row of checks."""
    albedo = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    material = Material(albedo, np.full((48, 64), 255, np.uint8), np.zeros((48, 64), np.float32), 0.0)
    upright = np.array([[1 / 64, 0, 0.5 / 64], [0, -1 / 48, 1 - 0.5 / 48]])
    drawn = renderer.render(mapped_plane(upright, materials=(material,)))
    np.testing.assert_allclose(255 * srgb_from_linear(drawn.radiance[0].astype(float)), albedo, atol=LEVEL)
    checks = Material(np.array([[[255] * 3, [0] * 3], [[0] * 3, [255] * 3]], np.uint8), np.full((2, 2), 255, np.uint8), np.zeros((2, 2), np.float32), 0.0)
    drawn = renderer.render(mapped_plane([[1 / 2, 0, 1 / 4], [0, -1 / 2, 3 / 4]], materials=(checks,)))
    np.testing.assert_allclose(drawn.radiance[0, ..., 0], (x + y) % 2 == 0, atol=1e-4)


def test_texture_follows_perspective(renderer):
    """Coordinates linear on a slanted plane are not linear on the picture."""
    camera, slope = make_camera(focal=100.0), 0.9
    depth = 0.4 / (1 - slope * rays(camera)[..., 0])
    corners = 0.35 * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    vertices, faces = np.column_stack([corners, 0.4 + slope * corners[:, 0]]), quad((0, 1), (0, 1), 0)[1]
    ramp = np.linspace(0, 250, 256).astype(np.uint8)
    material = Material(np.tile(ramp[None, :, None], (1, 1, 3)), np.full((1, 256), 255, np.uint8), np.zeros((1, 256), np.float32), 0.0)
    uv = 0.5 + vertices[:, :2]
    drawn = renderer.render(make_scene(vertices, faces, camera, uv=uv[faces], materials=(material,)))
    u = 0.5 + (rays(camera) * depth[..., None])[..., 0]
    seen = drawn.parts[0] > 0
    levels = np.interp(u * 256 - 0.5, np.arange(256), ramp)
    assert seen.mean() > 0.8
    np.testing.assert_allclose(255 * srgb_from_linear(drawn.radiance[0, ..., 0].astype(float))[seen], levels[seen], atol=2 * LEVEL)


def test_joined_surfaces_keep_their_own_materials(renderer):
    """Cards of several sizes of texture beside each other show each just what it shows alone."""
    rng = np.random.default_rng(1)
    materials = [make_material(rng, size, bump_m=bump_m, reflectance=0.05) for size, bump_m in (((16, 8), 0.0), ((1, 1), 0.0), ((33, 57), 0.002))]
    cards = [card((0.07 * (i - 1), 0), 0.5, i + 1, material, half=0.025) for i, material in enumerate(materials)]
    light = make_light(ambient=0.4, directions=[[1, -1, -2]], colour=0.5)
    scene = make_scene(*quad((0, 1), (0, 1), 1), make_camera(focal=150.0), light=light, samples=2)
    scenes = [replace(scene, surface=surface) for surface in (*cards, join_surfaces([cards[0], join_surfaces(cards[1:])]))]
    *alone, joined = (renderer.render(scene) for scene in scenes)
    np.testing.assert_allclose(joined.radiance, sum(frames.radiance for frames in alone), atol=1e-6)
    np.testing.assert_array_equal(joined.parts, sum(frames.parts for frames in alone))
    assert set(np.unique(joined.parts)) == {0, 1, 2, 3}


def test_vertex_colours_multiply_the_texture(renderer):
    """Colours are linear between the corners, and may exceed 1."""
    vertices, faces = quad((0, 63), (-1, 48), 1.0)
    colours = np.array([[0, 0.5, 4.0], [1, 0.5, 2.0], [1, 0.5, 2.0], [0, 0.5, 4.0]])
    drawn = renderer.render(make_scene(vertices, faces, picture_camera(), colours=colours, materials=(plain_material((255, 188, 100)),))).radiance[0]
    across = x[..., None] / 63
    expected = ((1 - across) * colours[0] + across * colours[1]) * linear_from_srgb(np.array([255, 188, 100]) / 255)
    np.testing.assert_allclose(drawn[:, :-1], expected[:, :-1], atol=3e-6)  # OpenGL leaves out what lies on a right edge


# ---- bumps ----


@pytest.mark.parametrize("matrix", [[[0.02, 0.005], [-0.004, 0.015]], [[-0.02, 0.005], [0.004, 0.015]]])
def test_bumps_are_lit_as_the_height_says(renderer, matrix):
    """Waves along both coordinates, on a map that shears, and one that also mirrors; the surface is z = 1 - h(x, y), so its normal is -(h_x, h_y, 1)."""
    wave, height = 2 * np.pi * (np.arange(512) + 0.5) / 512, 5.0
    bump = height * (np.sin(wave) + np.cos(wave[:, None])).astype(np.float32)  # row r: v = 1 - (r + 0.5) / 512, and cos is even
    material = Material(np.full((512, 512, 3), 255, np.uint8), np.full((512, 512), 255, np.uint8), bump, 0.0)
    towards = np.array([0.7, -0.5, -1.0])
    light = make_light(ambient=0.0, directions=towards, colour=1.0)
    drawn = renderer.render(mapped_plane(np.column_stack([matrix, [0.3, 0.2]]), materials=(material,), light=light)).radiance[0, ..., 0]
    u, v = np.einsum("ij,jhw->ihw", np.column_stack([matrix, [0.3, 0.2]]), np.stack([x, y, np.ones_like(x)]))
    slopes = 2 * np.pi * height * np.stack([np.cos(2 * np.pi * u), -np.sin(2 * np.pi * v)], -1) @ np.array(matrix)
    normals = -np.dstack([slopes, np.ones_like(x)]) / np.sqrt(1 + (slopes**2).sum(-1, keepdims=True))
    assert 0.5 < np.linalg.norm(slopes, axis=-1).max() < 1
    np.testing.assert_allclose(drawn, np.maximum(normals @ towards / np.linalg.norm(towards), 0), atol=0.01)
    assert drawn.min() < 0.5 < 0.95 < drawn.max()


def test_bumps_turn_with_the_surface(renderer):
    """A bumped card in a light that turns with it looks the same from wherever it is turned."""
    rng = np.random.default_rng(2)
    material = make_material(rng, (64, 64), bump_m=0.001)
    turn = rotation([0.3, 1.0, 0.2], 0.5)
    vertices, faces = quad((-0.03, 0.03), (-0.03, 0.03), 0.0)
    uv = vertices[:, :2] / 0.06 + 0.5

    def middle(matrix: Array) -> Array:
        light = make_light(ambient=0.0, directions=matrix @ [0.5, 0.4, -1.0], colour=1.0)
        camera = make_camera(focal=3000.0, centre=(2.0, 2.0), size=(5, 5))
        scene = make_scene(vertices @ matrix.T + [0, 0, 0.5], faces, camera, normals=matrix @ FLAT_ON, uv=uv[faces], materials=(material,), light=light)
        return renderer.render(scene).radiance[0, 2, 2]

    flat = middle(np.eye(3))
    np.testing.assert_allclose(middle(turn), flat, atol=2e-4)
    np.testing.assert_allclose(middle(rotation([0, 0, 1], 1.0)), flat, atol=2e-4)


@pytest.mark.parametrize(("height", "slope"), [(6.0, 0.5888), (15.0, 1.0), (1e3, 1.0)])
def test_bumps_steeper_than_45_degrees_are_cut_to_that(renderer, height, slope):
    """Steepest at u = 0, where the middle of the picture is: 2 pi height / 64 m, but for the texels' size."""
    bump = height * np.sin(2 * np.pi * (np.arange(64) + 0.5) / 64, dtype=np.float32)[None]
    material = Material(np.full((1, 64, 3), 255, np.uint8), np.full((1, 64), 255, np.uint8), bump, 0.0)
    light = make_light(ambient=0.0, directions=FLAT_ON, colour=1.0)
    drawn = renderer.render(mapped_plane([[1 / 64, 0, -0.5], [0, 0, 0.5]], materials=(material,), light=light)).radiance
    np.testing.assert_allclose(drawn[0, :, 32], 1 / np.sqrt(1 + slope**2), atol=1e-3)


# ---- light ----


def test_light_from_all_around_is_nine_harmonics(renderer):
    camera, centre, radius = make_camera(focal=200.0), np.array([0.03, -0.02, 0.45]), 0.05
    vertices, faces, normals = sphere(centre, radius, subdivisions=5)  # soft light is interpolated between vertices
    coefficients = np.random.default_rng(0).normal(size=(9, 3)) * 0.4 + 0.3 * np.eye(9)[:, :1]
    drawn = renderer.render(make_scene(vertices, faces, camera, normals=normals, light=make_light(ambient=coefficients))).radiance[0]
    n = (rays(camera) * sphere_depth(camera, centre, radius)[..., None] - centre) / radius
    a, b, c = np.moveaxis(n, -1, 0)
    basis = [np.ones_like(a), a, b, c, a * b, b * c, a * c, 3 * c * c - 1, a * a - b * b]
    harmonics = np.einsum("khw,kc->hwc", basis, coefficients)
    expected = np.maximum(harmonics, 0)
    facing = sphere_depth(camera, centre, 0.9 * radius) > 0
    even = facing & (np.abs(harmonics).min(-1) > 0.05)  # where it is cut off at 0, interpolation rounds the corner over a face
    np.testing.assert_allclose(drawn[even], expected[even], atol=4e-3)
    assert even.sum() > 0.7 * facing.sum()
    assert (expected[facing] == 0).any() and expected[facing].max() > 1  # also where the nine would be negative, and too bright for a byte


@pytest.mark.parametrize("samples", [1, 2])
def test_sphere_is_lambertian(renderer, samples):
    camera, centre, radius = make_camera(focal=200.0), np.array([0.03, -0.02, 0.45]), 0.05
    vertices, faces, normals = sphere(centre, radius)
    towards = np.array([0.5, -0.6, -0.4])
    light = make_light(ambient=0.1, directions=towards, colour=[0.8, 0.4, 0.2])
    drawn = renderer.render(make_scene(vertices, faces, camera, normals=normals, colours=[0.9, 0.5, 0.2], light=light, samples=samples)).radiance[0]
    n = (rays(camera) * sphere_depth(camera, centre, radius)[..., None] - centre) / radius
    facing = np.maximum(n @ towards / np.linalg.norm(towards), 0)[..., None]
    smooth = (sphere_depth(camera, centre, 0.9 * radius) > 0) & (facing[..., 0] > 0.05)  # at the terminator the mean of samples is not the middle's light
    np.testing.assert_allclose(drawn[smooth], ((0.1 + facing * [0.8, 0.4, 0.2]) * [0.9, 0.5, 0.2])[smooth], atol=4e-3)


def test_normals_are_made_unit_in_every_pixel(renderer):
    """Normals 45 degrees to either side at the two ends of a plane: their mean in the middle is shorter than 1."""
    normals = np.array([[-1, 0, -1], [1, 0, -1], [1, 0, -1], [-1, 0, -1]]) / np.sqrt(2)
    light = make_light(ambient=0.0, directions=FLAT_ON, colour=1.0)
    drawn = renderer.render(make_scene(*quad((0, 63), (-1, 48), 1.0), picture_camera(), normals=normals, light=light)).radiance
    across = 2 * x / 63 - 1
    np.testing.assert_allclose(drawn[0, :, :-1, 0], 1 / np.sqrt(1 + across**2)[:, :-1], atol=1e-5)


def test_lights_add_up_and_none_comes_from_behind(renderer):
    light = make_light(ambient=0.05, directions=[[0, 0, -1], [0, 1, -1], [0, 0, 1]], colour=0.3)
    drawn = renderer.render(make_scene(*quad((-1, 1), (-1, 1), 0.5), make_camera(), colours=[0.1, 0.5, 4.0], light=light)).radiance
    np.testing.assert_allclose(drawn, np.broadcast_to([0.1, 0.5, 4.0] * np.array(0.05 + 0.3 + 0.3 / np.sqrt(2)), drawn.shape), rtol=1e-5)


# ---- gloss ----


def glossy_plane(renderer: Renderer, normal: Array, towards: Array, roughness: int, reflectance: float) -> float:
    """What a black plane with these normals mirrors straight ahead."""
    light = make_light(ambient=0.0, directions=towards, colour=1.0)
    material = plain_material((0, 0, 0), roughness=roughness, reflectance=reflectance)
    drawn = renderer.render(make_scene(*quad((-9, 99), (-9, 99), 1.0), picture_camera(), normals=normal, materials=(material,), light=light)).radiance
    assert np.ptp(drawn) <= 1e-4 * drawn.max()
    return float(drawn[0, 0, 0, 0])


@pytest.mark.parametrize("roughness", [60, 130, 255])
def test_gloss_where_the_normal_halves_the_way(renderer, roughness):
    """There GGX is 1 / (pi alpha^2); off it to either side it is equally less, as the half width of the lobe says."""
    towards, alpha = np.array([np.sin(0.8), 0.0, -np.cos(0.8)]), (roughness / 255) ** 2
    half, cosine = np.array([np.sin(0.4), 0.0, -np.cos(0.4)]), np.cos(0.4)
    fresnel = 0.03 + 0.97 * (1 - cosine) ** 5
    peak = glossy_plane(renderer, half, towards, roughness, 0.03)
    assert peak == pytest.approx(fresnel * cosine / (4 * cosine**2 * max(alpha, 0.02) ** 2), rel=2e-3)
    for side in (-1, 1):  # tilted out of the plane of incidence, both cosines shrink alike
        tilted = rotation(np.cross(half, [0, 1, 0]), side * 0.1) @ half
        lobe = (1 / (np.cos(0.1) ** 2 * (alpha**2 - 1) + 1) * alpha**2) ** 2
        assert glossy_plane(renderer, tilted, towards, roughness, 0.03) == pytest.approx(peak * lobe * np.cos(0.1), rel=5e-3)


def test_gloss_grows_at_grazing_light_and_needs_a_reflectance(renderer):
    steep, grazing = (np.array([np.sin(angle), 0, -np.cos(angle)]) for angle in (0.2, 2.6))
    bright, brighter = (glossy_plane(renderer, unit(towards + FLAT_ON), towards, 128, 0.03) for towards in (steep, grazing))
    assert brighter > 3 * bright > 0
    assert glossy_plane(renderer, FLAT_ON, steep, 128, 0.0) == 0
    assert glossy_plane(renderer, FLAT_ON, -FLAT_ON + [0.1, 0, 0], 128, 0.03) == 0


@pytest.mark.parametrize("kind", ["perspective", "weak_perspective"])
def test_highlight_of_a_sphere_lies_between_light_and_eye(renderer, kind):
    """The brightest pixel of a smooth black ball is that whose normal halves the way from the light to the eye at that point."""
    camera, centre, radius = make_camera(kind, focal=200.0 if kind == "perspective" else 400.0), np.array([0.02, -0.01, 0.3]), 0.04
    vertices, faces, normals = sphere(centre, radius)
    towards = unit(np.array([0.6, -0.5, -0.6]))
    material = plain_material((0, 0, 0), roughness=80, reflectance=0.05)
    light = make_light(ambient=0.0, directions=towards, colour=1.0)
    drawn = renderer.render(make_scene(vertices, faces, camera, normals=normals, materials=(material,), light=light)).radiance[0, ..., 0]
    eye = FLAT_ON
    for _ in range(20):  # the point whose normal is that half vector, found by going round
        point = centre + radius * unit(towards + eye)
        eye = -unit(point) if kind == "perspective" else FLAT_ON
    expected = camera.project(point[None, None])[0, 0]
    row, column = np.unravel_index(drawn.argmax(), drawn.shape)
    assert np.hypot(*(expected - [column, row])) < 1.2
    bright = drawn > 0.5 * drawn.max()
    assert 3 <= bright.sum() < 60


def unit(vector: Array) -> Array:
    return vector / np.linalg.norm(vector)
