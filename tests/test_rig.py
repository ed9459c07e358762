"""Synchronised cameras: they agree on where everything is, stand apart, upright, and all see the hand."""

from itertools import combinations

import numpy as np
import pytest
from outlines import outline_of

from seqgen.scene.view.placement import place_hand
from seqgen.scene.view.rig import APART_RAD, HEIGHT, draw_rig
from seqgen.scene.view.view import FOREARM_CONE_RAD, ROLL_DEG, CameraConfig, draw_view

SIZE, NUM = (160, 120), 4
CONFIGS = {"free": {}, "weak": {"kind": "weak_perspective"}, "model": {"model": "sr300"}, "own": {"egocentric": 1.0}}


def rig(seed, frames=6, **settings):
    """A first camera's view, placement and vertices, and the rig's other cameras."""
    config = CameraConfig(views=NUM, **settings)
    view = draw_view(config, frames=frames, fps=30.0, rng=np.random.default_rng(seed))
    outline = outline_of(view, seed)
    placement = place_hand(config, view, outline, size=SIZE, fps=30.0, rng=np.random.default_rng([seed, 1]))
    vertices = outline + placement.wrist_m[:, None]
    others = [draw_rig(config, number, view, vertices, size=SIZE, rng=np.random.default_rng([seed, 2])) for number in range(1, NUM)]
    return view, placement, vertices, others


def triangulated(cameras, views_from_world, pixels):
    """The world point seen at `pixels` by each camera, by linear least squares (the direct linear transform)."""
    rows = []
    for camera, view_from_world, (u, v) in zip(cameras, views_from_world, pixels, strict=True):
        projection = camera.intrinsics[0] @ view_from_world[:3]
        rows += [u * projection[2] - projection[0], v * projection[2] - projection[1]]
    point = np.linalg.svd(np.array(rows))[2][-1]
    return point[:3] / point[3]


@pytest.mark.parametrize("settings", CONFIGS.values(), ids=CONFIGS)
def test_cameras_stand_still_as_one_rigid_rig(settings):
    for other in rig(0, **settings)[3]:
        rotation, last = other.view_from_first[:3, :3], other.view_from_first[3]
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(rotation) == pytest.approx(1) and last.tolist() == [0, 0, 0, 1]
        np.testing.assert_array_equal(other.camera.intrinsics, np.repeat(other.camera.intrinsics[:1], 6, 0))
        assert other.camera.size == SIZE


def test_the_same_point_is_seen_by_all():
    """Pixels of a vertex in all pictures, and what is stored of the cameras, give the vertex back in the world."""
    view, placement, vertices, others = rig(1, frames=2, approach=0.0)
    cameras = [placement.camera, *(other.camera for other in others)]
    for frame in range(2):
        views_from_world = [view.camera_from_world[frame], *(other.view_from_first @ view.camera_from_world[frame] for other in others)]
        for vertex in (0, 400, 1500):
            world = np.linalg.inv(views_from_world[0]) @ np.append(vertices[frame, vertex], 1)
            pixels = [camera.project((matrix @ world)[None, None, :3].repeat(2, 0))[0, 0] for camera, matrix in zip(cameras, views_from_world, strict=True)]
            np.testing.assert_allclose(triangulated(cameras, views_from_world, pixels), world[:3], atol=1e-6)


@pytest.mark.parametrize("settings", CONFIGS.values(), ids=CONFIGS)
def test_every_camera_sees_all_of_the_hand_in_every_frame(settings):
    least, most = CameraConfig(**settings).outline_bounds()
    for seed in range(10):
        for other in rig(seed, **settings)[3]:
            rotation, shift = other.view_from_first[:3, :3], other.view_from_first[:3, 3]
            seen = rig(seed, **settings)[2] @ rotation.T + shift
            pixels = other.camera.project(seen)
            assert (pixels >= -1e-4).all() and (pixels <= np.array(SIZE) - 1 + 1e-4).all() and seen[..., 2].min() > 0.09
            assert 0.7 * least < np.ptp(pixels[3], axis=0).max() / min(SIZE) < 1.03 * most


def test_cameras_stand_apart_upright_and_out_of_the_forearms_way():
    for seed in range(40):
        view, _, _, others = rig(seed)
        first_from_world, hand = view.camera_from_world[3, :3, :3], view.camera_from_hand[3]
        rotations = [np.eye(3), *(other.view_from_first[:3, :3] for other in others)]
        to_camera = [-(rotation @ first_from_world)[2] for rotation in rotations]
        for a, b in combinations(to_camera, 2):
            assert np.arccos(a @ b) >= APART_RAD - 1e-9
        for rotation, direction in zip(rotations[1:], to_camera[1:], strict=True):
            assert HEIGHT[0] <= -direction[1] <= HEIGHT[1]
            gravity = (rotation @ first_from_world)[:2, 1]
            assert abs(np.degrees(np.arctan2(gravity[0], gravity[1]))) < 5 * ROLL_DEG
            assert np.arccos((rotation @ hand)[2, 1]) >= FOREARM_CONE_RAD - 1e-9


def test_each_camera_is_the_same_whichever_others_are_drawn():
    config = CameraConfig(views=NUM)
    view, _, vertices, others = rig(2)
    rng = np.random.default_rng([2, 2])
    state = rng.bit_generator.state
    draw_rig(config, 3, view, vertices, size=SIZE, rng=rng)
    assert rng.bit_generator.state == state
    again = draw_rig(config, 1, view, vertices, size=SIZE, rng=np.random.default_rng([2, 2]))
    np.testing.assert_array_equal(again.view_from_first, others[0].view_from_first)
    assert not np.allclose(others[0].view_from_first, others[1].view_from_first)
