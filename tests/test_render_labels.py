"""Normals, flow and the amodal mask of both renderers against closed forms."""

from dataclasses import replace

import numpy as np
import pytest
from scenes import make_background, make_camera, make_material, make_scene, quad, rays, renderer_or_skip, rotation, sphere, sphere_depth, tessellated_plane

from seqgen.render.renderer import Renderer

Array = np.ndarray
EVERYTHING = frozenset({"flow", "normals", "amodal"})


@pytest.fixture(params=["warp", "pyrender"])
def renderer(request) -> Renderer:
    return renderer_or_skip(request.param)


def test_normals_of_sphere(renderer):
    """Interpolated, made unit, and blind to bumps; nothing where there is no surface."""
    camera, centre, radius = make_camera(focal=200.0), np.array([0.03, -0.02, 0.45]), 0.05
    vertices, faces, normals = sphere(centre, radius)
    bumpy = make_material(np.random.default_rng(0), (8, 8), bump_m=0.01)
    uv = vertices[faces][..., :2]
    frames = renderer.render(make_scene(vertices, faces, camera, normals=normals, uv=uv, materials=(bumpy,)), EVERYTHING)
    expected = (rays(camera) * sphere_depth(camera, centre, radius)[..., None] - centre) / radius
    facing = sphere_depth(camera, centre, 0.9 * radius) > 0
    assert np.abs(frames.normals[0] - expected)[facing].max() < 2e-3
    lengths = np.linalg.norm(frames.normals[0], axis=-1)
    np.testing.assert_allclose(lengths, frames.parts[0] > 0, atol=1e-6)


@pytest.mark.parametrize("kind", ["perspective", "weak_perspective"])
def test_flow_of_rigid_plane(renderer, kind):
    """The plane turns and moves while the camera zooms: each pixel's point carried along by hand."""
    normal, (turn, shift) = np.array([0.3, -0.2, 0.9]), (rotation([0.2, -0.5, 1.0], 0.15), np.array([0.01, -0.02, 0.03]))
    first, faces = tessellated_plane(np.random.default_rng(0), normal, 0.4)
    camera = make_camera(kind, focal=100.0, frames=2)
    camera.intrinsics[1] += [[8, 0, 1.5], [0, 8, -2.5], [0, 0, 0]]
    frames = renderer.render(make_scene(np.stack([first, first @ turn.T + shift]), faces, camera), EVERYTHING)
    assert (frames.parts[0] > 0).mean() == 1
    y, x = np.mgrid[:48, :64].astype(float)
    pixels = np.stack([x, y], -1).reshape(1, -1, 2)
    if kind == "perspective":
        depth = 0.4 / (rays(camera) @ normal)
    else:
        depth = (0.4 - (np.stack([x - 30.2, y - 24.7], -1) / 100) @ normal[:2]) / normal[2]
    points = replace(camera, intrinsics=camera.intrinsics[:1]).unproject(pixels, depth.reshape(1, -1))
    landed = replace(camera, intrinsics=camera.intrinsics[1:]).project(points @ turn.T + shift)
    np.testing.assert_allclose(frames.flow_px[0].reshape(-1, 2), (landed - pixels)[0], atol=1e-3)
    assert not frames.flow_px[1].any()


def test_flow_of_background(renderer):
    """A photo that glides, grows and turns; in the last frame nothing has a next place."""
    maps = np.array([[[1, 0, 5], [0, 1, 3]], [[1.1, 0.2, 4], [-0.2, 1.1, 6]], [[0.9, 0, 1], [0.1, 1.2, 2]]], np.float32)
    background = replace(make_background(photo=np.zeros((80, 80, 3), np.uint8)), photo_from_pixel=maps)
    scene = make_scene(*quad((-1, 1), (-1, 1), -1.0), make_camera(frames=3), background=background)
    flow, pixels = renderer.render(scene, EVERYTHING).flow_px, np.moveaxis(np.mgrid[:48, :64][::-1], 0, -1)
    for t in range(2):
        shown, next_shown = (each[:, :2] @ place[..., None] + each[:, 2:] for each, place in ((maps[t], pixels), (maps[t + 1], pixels + flow[t])))
        np.testing.assert_allclose(shown, next_shown, atol=1e-4)
    assert not flow[2].any() and np.abs(flow[:2]).max() > 1


def test_what_passes_behind_the_camera_has_no_flow(renderer):
    vertices, faces = quad((-1, 1), (-1, 1), 0.5)
    frames = renderer.render(make_scene(np.stack([vertices, vertices - [0, 0, 0.6]]), faces, make_camera(frames=2)), EVERYTHING)
    assert frames.parts[0].all() and not frames.flow_px.any()


def test_amodal_mask_sees_through_what_is_before_the_hand(renderer):
    hand, far = quad((-0.1, 0.1), (-0.1, 0.1), 0.6), quad((-0.3, 0.3), (-0.3, 0.3), 0.9)
    near = quad((-0.3, 0.0), (-0.3, 0.3), 0.4)
    vertices, faces = np.concatenate([hand[0], near[0], far[0]]), np.concatenate([hand[1], near[1] + 4, far[1] + 8])
    parts = np.repeat([[2], [2], [30], [30], [31], [31]], 3, 1)
    scene = make_scene(vertices, faces, make_camera(), parts=parts, samples=2, hand_faces=2)
    alone = renderer.render(make_scene(*hand, make_camera()))
    frames = renderer.render(scene, EVERYTHING)
    np.testing.assert_array_equal(frames.amodal, alone.parts > 0)
    assert 0.4 < (frames.parts == 2).sum() / frames.amodal.sum() < 0.6 and not (frames.parts == 2)[~frames.amodal].any()
    assert not renderer.render(replace(scene, hand_faces=0), EVERYTHING).amodal.any()
