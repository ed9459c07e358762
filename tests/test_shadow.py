"""Shadows: where the map lies, where shadows fall, and where none may."""

from dataclasses import replace

import numpy as np
import pytest
from scenes import blob_scene, make_camera, make_light, make_scene, rays, renderer_or_skip, sphere, sphere_depth, tessellated_plane

from seqgen.render.renderer import Renderer
from seqgen.render.shadow import SHADOW_OFFSET_M, light_from_camera
from seqgen.scene.scene import Scene, join_surfaces

Array = np.ndarray
SIDE = 256


@pytest.fixture(params=["warp", "pyrender"])
def renderer(request) -> Renderer:
    return renderer_or_skip(request.param)


def ball_before_wall(
    *, towards: Array, at: Array = (0.01, 0.0, 0.45), shadows: bool = True, cells: int = 30, kind: str = "perspective", colour=1.0, ambient=0.1, samples: int = 1
) -> Scene:
    """A ball of 3 cm radius (part 1), 9 cm before a wall (part 2) that fills the picture and reaches far beyond it."""
    vertices, faces, normals = sphere(at, 0.03, subdivisions=4)
    wall, wall_faces = tessellated_plane(np.random.default_rng(0), [0, 0, 1], 0.54, cells=cells, extent=0.6)
    camera = make_camera(kind, focal=160.0 if kind == "perspective" else 320.0, size=(64, 48))
    return make_scene(
        np.concatenate([vertices, wall]),
        np.concatenate([faces, wall_faces + len(vertices)]),
        camera,
        normals=np.concatenate([normals, np.tile([0, 0, -1], (len(wall), 1))]),
        parts=np.repeat([[1]] * len(faces) + [[2]] * len(wall_faces), 3, 1),
        light=make_light(ambient=ambient, directions=towards, colour=colour, shadows=shadows),
        samples=samples,
    )


# ---- the map ----


@pytest.mark.parametrize("seed", range(3))
def test_map_holds_what_is_seen_and_looks_along_the_light(seed):
    scene = blob_scene(seed, frames=4)
    matrices, points = light_from_camera(scene, SIDE).astype(float), scene.surface.vertices_m.astype(float)
    directions = scene.light.directions[:, 0].astype(float)
    placed = np.einsum("tij,tvj->tvi", matrices[:, :3, :3], points) + matrices[:, None, :3, 3]
    pixels = scene.camera.project(points)
    seen = ((pixels > 0) & (pixels < np.array(scene.camera.size) - 1)).all(-1)
    inside = ((placed[..., :2] >= 0) & (placed[..., :2] <= SIDE - 1)).all(-1)
    assert inside[seen].mean() > 0.99 and seen.mean() > 0.5
    np.testing.assert_allclose(np.einsum("tij,tj->ti", matrices[:, :3, :3], -directions), np.broadcast_to([0, 0, 1], (4, 3)), atol=1e-3)
    scales = np.linalg.svd(matrices[:, :3, :3], compute_uv=False)
    np.testing.assert_allclose(scales, np.broadcast_to([scales[0, 0], scales[0, 0], 1.0], scales.shape), rtol=1e-5)  # one scale all the time
    assert (np.linalg.det(matrices[:, :3, :3]) > 0).all()  # front faces stay front faces


def test_things_beside_the_picture_do_not_coarsen_the_map():
    scene = ball_before_wall(towards=[0.5, 0.3, -1.0])
    wider = replace(scene, surface=join_surfaces([scene.surface, replace(scene.surface, vertices_m=scene.surface.vertices_m + np.float32([2, 0, 0]))]))
    np.testing.assert_allclose(light_from_camera(wider, SIDE), light_from_camera(scene, SIDE), rtol=1e-5)


# ---- where shadows fall ----


@pytest.mark.parametrize("kind", ["perspective", "weak_perspective"])
@pytest.mark.parametrize("cells", [1, 30])
@pytest.mark.parametrize("towards", [[0.5, 0.3, -1.0], [-0.9, 0.2, -1.0], [0.0, -0.4, -1.0]])
def test_ball_casts_the_ellipse_that_geometry_says(renderer, kind, cells, towards):
    """Also on a wall with no vertex in the picture, about which the map does not care."""
    assert_shadow_is_where_geometry_says(renderer, ball_before_wall(towards=towards, kind=kind, cells=cells), towards, (0.01, 0.0, 0.45))


def test_ball_beside_the_picture_casts_its_shadow_into_it(renderer):
    towards, at = [-1.0, 0.0, -0.5], (-0.17, 0.0, 0.45)
    scene = ball_before_wall(towards=towards, at=at)
    assert not (renderer.render(scene).parts == 1).any()
    assert_shadow_is_where_geometry_says(renderer, scene, towards, at)


def assert_shadow_is_where_geometry_says(renderer: Renderer, scene: Scene, towards: Array, centre_m: Array) -> None:
    """A point of the wall is dark if its line to the light passes the ball's centre within the radius, but for its soft edge."""
    frames, direction = renderer.render(scene), np.array(towards) / np.linalg.norm(towards)
    y, x = np.mgrid[:48, :64]
    points = scene.camera.unproject(np.stack([x, y], -1).reshape(1, -1, 2).astype(float), np.full((1, x.size), 0.54)).reshape(48, 64, 3)
    miss_m = np.linalg.norm(np.cross(points - np.array(centre_m), direction), axis=-1) - 0.03
    texel_m = 1 / np.linalg.svd(light_from_camera(scene, SIDE)[0, :3, :3], compute_uv=False)[0]
    # sixteen texels are looked at, whose corners lie up to 2 sqrt(2) texels away and reach half a diagonal farther; the wall is looked up off itself
    slack_m = 2.5 * np.sqrt(2) * texel_m + SHADOW_OFFSET_M * np.hypot(*direction[:2])
    wall = frames.parts[0] == 2
    lit, dark = wall & (miss_m > slack_m), wall & (miss_m < -slack_m - 0.0003)
    assert texel_m < 0.0015 and dark.sum() > 80 and lit.sum() > 1500 and (wall & ~lit & ~dark).sum() < 500
    np.testing.assert_allclose(frames.radiance[0][dark], 0.1, atol=1e-6)
    np.testing.assert_allclose(frames.radiance[0][lit], 0.1 - direction[2], atol=1e-5)


def test_shadow_stops_one_light_only(renderer):
    """Not the second light, and nothing of what comes from all around."""
    towards = np.array([[0.5, 0.3, -1.0], [-0.2, 0.0, -1.0]])
    colours = np.array([[0.6, 0.5, 0.4], [0.1, 0.2, 0.3]])
    unit = towards / np.linalg.norm(towards, axis=1, keepdims=True)
    open_, shaded = (renderer.render(ball_before_wall(towards=towards, colour=colours, shadows=shadows)) for shadows in (False, True))
    wall = open_.parts[0] == 2
    fallen = (open_.radiance - shaded.radiance)[0][wall]
    np.testing.assert_allclose(fallen.min(0), 0, atol=1e-6)
    np.testing.assert_allclose(fallen.max(0), -unit[0, 2] * colours[0], atol=1e-5)
    assert 0.05 < (fallen[:, 0] > 0).mean() < 0.5


def test_light_from_the_camera_shows_no_shadow(renderer):
    """What the light does not see is then hidden from the camera too, but for what it only grazes."""
    open_, shaded = (renderer.render(ball_before_wall(towards=[0, 0, -1], shadows=shadows, kind="weak_perspective")) for shadows in (False, True))
    off = np.abs(open_.radiance - shaded.radiance)[0].max(-1)
    ball = open_.parts[0] == 1
    border = np.zeros_like(ball)
    for axis in (0, 1):
        for step in (-1, 1):
            border |= np.roll(ball, step, axis) != ball
    assert off[~border].max() < 0.03 and np.median(off) == 0


@pytest.mark.parametrize("radius", [0.03, 0.09])
@pytest.mark.parametrize("towards", [[0.5, 0.3, -1.0], [1.0, 0.0, -0.3], [0.0, -1.0, 0.0]])
def test_lit_ball_does_not_shade_itself(renderer, radius, towards):
    """No acne: away from the terminator the light is what it is without shadows, and behind it nothing changes either."""
    vertices, faces, normals = sphere((0.01, 0.0, 0.45), radius, subdivisions=5)
    camera, drawn = make_camera(focal=10 / radius), []
    for shadows in (False, True):
        light = make_light(ambient=0.0, directions=towards, colour=1.0, shadows=shadows)
        drawn.append(renderer.render(make_scene(vertices, faces, camera, normals=normals, light=light)).radiance[0, ..., 0])
    n = (rays(camera) * sphere_depth(camera, (0.01, 0.0, 0.45), radius)[..., None] - [0.01, 0.0, 0.45]) / radius
    facing = n @ towards / np.linalg.norm(towards)
    inner = sphere_depth(camera, (0.01, 0.0, 0.45), 0.97 * radius) > 0
    bright = inner & (facing > 0.15)
    assert bright.sum() > 100
    np.testing.assert_allclose(drawn[1][bright], drawn[0][bright], rtol=0.01)
    assert (drawn[1] <= drawn[0] + 1e-6).all() and not drawn[1][inner & (facing < -0.01)].any()


def test_shadow_falls_the_same_in_every_frame_of_a_still_clip(renderer):
    scene = ball_before_wall(towards=[0.5, 0.3, -1.0], samples=2)
    surface, light = scene.surface, scene.light
    long = replace(
        scene,
        camera=replace(scene.camera, intrinsics=np.repeat(scene.camera.intrinsics, 3, 0)),
        surface=replace(surface, vertices_m=np.repeat(surface.vertices_m, 3, 0), normals=np.repeat(surface.normals, 3, 0)),
        light=replace(light, ambient=np.repeat(light.ambient, 3, 0), directions=np.repeat(light.directions, 3, 0), colours=np.repeat(light.colours, 3, 0)),
        background=replace(scene.background, photo_from_pixel=np.repeat(scene.background.photo_from_pixel, 3, 0)),
    )
    drawn = renderer.render(long).radiance
    for t in range(3):
        np.testing.assert_array_equal(drawn[t], renderer.render(scene).radiance[0])


def test_without_lights_there_are_no_shadows(renderer):
    scene = ball_before_wall(towards=np.zeros((0, 3)), ambient=0.4)
    np.testing.assert_allclose(renderer.render(scene).radiance, 0.4, atol=1e-6)
