"""Cameras: round trips, the closed forms of the pinhole, and the weak-perspective fit against linear least squares."""

from itertools import pairwise

import numpy as np
import pytest

from seqgen.camera import Camera, fit_weak_perspective, intrinsics_from_fov

KINDS = ("perspective", "weak_perspective")


def random_camera(kind, frames, rng):
    intrinsics = np.zeros((frames, 3, 3))
    intrinsics[:, 0, 0], intrinsics[:, 1, 1] = rng.uniform(100, 900, (2, frames))
    intrinsics[:, :2, 2] = rng.uniform(0, 300, (frames, 2))
    intrinsics[:, 2, 2] = 1
    return Camera(kind, intrinsics, (320, 240))


def random_points(frames, num, rng):
    return rng.uniform([-0.3, -0.3, 0.2], [0.3, 0.3, 1.5], (frames, num, 3))


@pytest.mark.parametrize("kind", KINDS)
def test_unproject_undoes_project(kind):
    rng = np.random.default_rng(0)
    camera, points = random_camera(kind, 4, rng), random_points(4, 21, rng)
    np.testing.assert_allclose(camera.unproject(camera.project(points), points[..., 2]), points, atol=1e-13)


def test_perspective_is_the_matrix_in_homogeneous_coordinates():
    rng = np.random.default_rng(1)
    camera, points = random_camera("perspective", 3, rng), random_points(3, 5, rng)
    homogeneous = np.einsum("tij,tnj->tni", camera.intrinsics, points)
    np.testing.assert_allclose(camera.project(points), homogeneous[..., :2] / homogeneous[..., 2:])


def test_weak_perspective_does_not_see_depth():
    rng = np.random.default_rng(2)
    camera, points = random_camera("weak_perspective", 3, rng), random_points(3, 5, rng)
    np.testing.assert_array_equal(camera.project(points), camera.project(points + np.array([0, 0, 7.0])))
    intrinsics = np.array([[[200.0, 0, 11], [0, 200, 12], [0, 0, 1]]])
    assert Camera("weak_perspective", intrinsics, (9, 9)).project(np.array([[[0.1, -0.2, 3.0]]])).tolist() == [[[31.0, -28.0]]]


@pytest.mark.parametrize("size", [(224, 224), (640, 480), (90, 160)])
def test_field_of_view_spans_the_shorter_side(size):
    """From the outer edge of the first pixel (-0.5) to that of the last; a point on the axis is seen in the picture's middle."""
    fov = np.radians(42.0)
    camera = Camera("perspective", intrinsics_from_fov(fov, size)[None], size)
    middle = (np.array(size) - 1) / 2
    edges = np.tile(middle, (1, 2, 1))
    edges[0, :, np.argmin(size)] = -0.5, min(size) - 0.5
    rays = camera.unproject(edges, np.ones((1, 2)))[0]
    assert np.arccos(np.dot(*rays) / np.prod(np.linalg.norm(rays, axis=1))) == pytest.approx(fov)
    np.testing.assert_allclose(camera.project(np.array([[[0, 0, 0.5]]])), middle[None, None])


def test_the_weak_perspective_fit_is_linear_least_squares():
    rng = np.random.default_rng(3)
    points = random_points(6, 21, rng)
    pixels = random_camera("perspective", 6, rng).project(points)
    found, rms = fit_weak_perspective(points, pixels)
    for frame in range(6):
        x, y = (points[frame, :, :2] - points[frame, 0, :2]).T
        one, zero = np.ones(21), np.zeros(21)
        system = np.concatenate([np.stack([x, one, zero], 1), np.stack([y, zero, one], 1)])
        solution, squares, *_ = np.linalg.lstsq(system, pixels[frame].T.ravel(), rcond=None)
        np.testing.assert_allclose(found[frame], solution, rtol=1e-9)
        assert rms[frame] == pytest.approx(np.sqrt(squares[0] / 21))


def test_the_fit_of_a_weak_perspective_picture_is_its_camera():
    """Scale is the camera's; the translation is where the root is seen."""
    rng = np.random.default_rng(4)
    camera, points = random_camera("weak_perspective", 5, rng), random_points(5, 21, rng)
    camera.intrinsics[:, 1, 1] = camera.intrinsics[:, 0, 0]
    pixels = camera.project(points)
    found, rms = fit_weak_perspective(points, pixels)
    np.testing.assert_allclose(found[:, 0], camera.intrinsics[:, 0, 0])
    np.testing.assert_allclose(found[:, 1:], pixels[:, 0])
    np.testing.assert_allclose(rms, 0, atol=1e-10)


def test_far_away_both_kinds_agree():
    """A pinhole at distance d is a weak perspective of scale f / d, up to (depth of the object) / d."""
    rng = np.random.default_rng(5)
    points = rng.uniform(-0.1, 0.1, (1, 21, 3))
    intrinsics = np.array([[[500.0, 0, 100], [0, 500, 100], [0, 0, 1]]])
    residuals = []
    for distance in (1.0, 10.0, 100.0):
        away = points + np.array([0, 0, distance])
        found, rms = fit_weak_perspective(away, Camera("perspective", intrinsics * [[distance, 1, 1], [1, distance, 1], [1, 1, 1]], (200, 200)).project(away))
        assert found[0, 0] == pytest.approx(500.0, rel=0.2 / distance)
        residuals.append(rms[0])
    assert all(far < near / 5 for near, far in pairwise(residuals))
