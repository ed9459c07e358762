"""Rotations and rigid motions: closed forms, scipy as the slow twin, and laws."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation, Slerp
from scipy.stats import kstest

from seqgen.geometry import (
    axis_angle_from_matrix,
    cross,
    matrices_from_axis_angles,
    matrix_from_axis_angle,
    minimum_jerk,
    random_rotation,
    rigid_alignment,
    rigid_matrix,
    similarity_alignment,
    slerp,
    transform_points,
)

ANGLES = (0.0, 1e-14, 1e-9, 1e-6, 1e-3, 0.5, 2.0, 3.0, np.pi - 1e-3, np.pi - 1e-6, np.pi - 1e-9, np.pi)
SHAPES = [(), (5,), (2, 3), (0,)]


def axes(num, seed=0):
    vectors = np.random.default_rng(seed).standard_normal((num, 3))
    vectors = np.concatenate([vectors, np.eye(3), -np.eye(3)])
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def turn_between(a, b):
    """Angle of the rotation from a to b, exact near zero too: |R - I| = 2 sqrt(2) sin(angle / 2)."""
    off = np.linalg.norm(np.swapaxes(a, -1, -2) @ b - np.eye(3), axis=(-2, -1))
    return 2 * np.arcsin(np.clip(off / (2 * np.sqrt(2)), 0, 1))


@pytest.mark.parametrize("angle", ANGLES)
def test_matrix_is_rodrigues_formula(angle):
    for axis in axes(10):
        x, y, z = axis
        cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
        expected = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
        np.testing.assert_allclose(matrix_from_axis_angle(angle * axis), expected, atol=1e-14)


@pytest.mark.parametrize("angle", ANGLES)
def test_axis_angle_comes_back(angle):
    vectors = angle * axes(50)
    back = axis_angle_from_matrix(matrix_from_axis_angle(vectors))
    assert (np.linalg.norm(back, axis=1) <= np.pi + 1e-15).all()
    if angle > 3.14:  # at pi an axis and its opposite are the same turn
        back *= np.sign((back * vectors).sum(1, keepdims=True))
    np.testing.assert_allclose(back, vectors, atol=1e-8 if angle > 3.14 else 1e-15 + 1e-12 * angle)


@pytest.mark.parametrize("shape", SHAPES)
def test_matrix_comes_back_with_any_batch_axes(shape):
    vectors = np.random.default_rng(1).uniform(-6, 6, (*shape, 3))
    matrix = matrix_from_axis_angle(vectors)
    assert matrix.shape == (*shape, 3, 3)
    np.testing.assert_allclose(matrix_from_axis_angle(axis_angle_from_matrix(matrix)), matrix, atol=1e-12)
    np.testing.assert_allclose(matrix @ np.swapaxes(matrix, -1, -2), np.broadcast_to(np.eye(3), matrix.shape), atol=1e-14)
    np.testing.assert_allclose(np.linalg.det(matrix), np.ones(shape), atol=1e-14)


def test_rotations_of_several_arrays_are_those_of_each():
    rng = np.random.default_rng(2)
    vectors = [rng.uniform(-6, 6, (*shape, 3)) for shape in SHAPES]
    together = matrices_from_axis_angles(*vectors)
    assert len(together) == len(SHAPES)
    for one, several in zip(vectors, together, strict=True):
        np.testing.assert_array_equal(several, matrix_from_axis_angle(one))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shapes", [((3,), (3,)), ((7, 3), (7, 3)), ((4, 1, 3), (5, 3)), ((0, 3), (3,))])
def test_vector_products_are_numpys_to_the_bit(shapes, dtype):
    first, second = (np.random.default_rng(n).standard_normal(shape).astype(dtype) for n, shape in enumerate(shapes))
    product = cross(first, second)
    np.testing.assert_array_equal(product, np.cross(first, second))
    assert product.dtype == dtype and product.tobytes() == np.cross(first, second).tobytes()


@pytest.mark.parametrize("seed", range(5))
def test_slerp_is_the_shortest_way_at_constant_speed(seed):
    start, end = Rotation.random(2, rng=np.random.default_rng(seed)).as_matrix()
    fraction = np.array([0.0, 0.1, 0.5, 0.7, 1.0])
    way = slerp(start, end, fraction)
    np.testing.assert_allclose(way[[0, -1]], [start, end], atol=1e-12)
    np.testing.assert_allclose(turn_between(start, way), fraction * turn_between(start, end), atol=1e-7)
    np.testing.assert_allclose(way, Slerp([0, 1], Rotation.from_matrix([start, end]))(fraction).as_matrix(), atol=1e-12)


def test_slerp_between_equals_stays():
    np.testing.assert_allclose(slerp(np.eye(3), np.eye(3), np.linspace(0, 1, 4)), np.tile(np.eye(3), (4, 1, 1)), atol=1e-15)


def test_random_rotations_are_haar():
    """Under Haar's measure the angle has density (1 - cos a) / pi, the trace has mean 0 and variance 1, and any vector goes everywhere alike."""
    rng = np.random.default_rng(0)
    drawn = np.stack([random_rotation(rng) for _ in range(3000)])
    assert kstest(turn_between(np.eye(3), drawn), lambda a: (a - np.sin(a)) / np.pi).pvalue > 0.01
    trace = np.trace(drawn, axis1=1, axis2=2)
    assert abs(trace.mean()) < 4 / np.sqrt(len(drawn))
    assert trace.var() == pytest.approx(1.0, abs=0.1)
    for row in range(3):
        for column in range(3):
            assert kstest(drawn[:, row, column], "uniform", args=(-1, 2)).pvalue > 0.001  # Archimedes: a coordinate of a point on the sphere is uniform


def test_random_rotation_is_a_function_of_the_rng():
    np.testing.assert_array_equal(random_rotation(np.random.default_rng(3)), random_rotation(np.random.default_rng(3)))


def random_similarity(shape, rng):
    turns = Rotation.random(int(np.prod(shape)), rng=rng).as_matrix().reshape(*shape, 3, 3)
    return rng.uniform(0.2, 5.0, shape), turns, rng.normal(0, 3, (*shape, 3))


@pytest.mark.parametrize("flat", [False, True], ids=["solid", "planar"])
@pytest.mark.parametrize("shape", [(1,), (6,), (2, 3)])
def test_alignment_recovers_a_known_motion(shape, flat):
    rng = np.random.default_rng(2)
    source = rng.standard_normal((*shape, 21, 3)) * ([1, 1, 0] if flat else [1, 1, 1])
    scale, rotation, translation = random_similarity(shape, rng)
    turned = np.einsum("...ij,...nj->...ni", rotation, source)
    found = similarity_alignment(source, scale[..., None, None] * turned + translation[..., None, :])
    for got, expected in zip(found, (scale, rotation, translation), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-11)
    for got, expected in zip(rigid_alignment(source, turned + translation[..., None, :]), (rotation, translation), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-11)


@pytest.mark.parametrize("mirror", [1.0, -1.0], ids=["noisy", "mirrored"])
def test_rigid_alignment_equals_its_twin(mirror):
    """scipy's Kabsch of a Wahba problem; a mirrored target must not tempt it into a reflection."""
    rng = np.random.default_rng(4)
    source = rng.standard_normal((8, 21, 3))
    target = source * [1, 1, mirror] + 0.1 * rng.standard_normal(source.shape) + 5.0
    rotation, translation = rigid_alignment(source, target)
    np.testing.assert_allclose(np.linalg.det(rotation), 1.0)
    for row in range(len(source)):
        twin = Rotation.align_vectors(target[row] - target[row].mean(0), source[row] - source[row].mean(0))[0].as_matrix()
        np.testing.assert_allclose(rotation[row], twin, atol=1e-9)
        np.testing.assert_allclose(translation[row], target[row].mean(0) - twin @ source[row].mean(0), atol=1e-9)


@pytest.mark.parametrize("mirror", [1.0, -1.0], ids=["noisy", "mirrored"])
def test_no_small_change_aligns_better(mirror):
    rng = np.random.default_rng(5)
    source = rng.standard_normal((21, 3))
    target = 2.0 * source * [1, 1, mirror] + 0.3 * rng.standard_normal(source.shape)

    def error(scale, rotation, translation):
        return ((scale * source @ rotation.T + translation - target) ** 2).sum()

    scale, rotation, translation = similarity_alignment(source, target)
    best = error(scale, rotation, translation)
    for change in 1e-3 * rng.standard_normal((200, 7)):
        assert error(scale + change[0], matrix_from_axis_angle(change[1:4]) @ rotation, translation + change[4:]) > best


def test_rigid_matrices_compose():
    rng = np.random.default_rng(6)
    (_, r1, t1), (_, r2, t2) = random_similarity((4,), rng), random_similarity((4,), rng)
    points = rng.standard_normal((4, 7, 3))
    both = transform_points(rigid_matrix(r2, t2) @ rigid_matrix(r1, t1), points)
    np.testing.assert_allclose(both, transform_points(rigid_matrix(r2, t2), transform_points(rigid_matrix(r1, t1), points)), atol=1e-12)
    np.testing.assert_allclose(transform_points(rigid_matrix(r1, t1), points)[2, 3], r1[2] @ points[2, 3] + t1[2], atol=1e-12)


def test_minimum_jerk_solves_its_problem():
    """Of the ways from rest to rest the one of least jerk: its sixth derivative is zero (Euler-Lagrange), so it is the quintic with these ends."""
    time = np.linspace(0, 1, 40)
    way = np.polynomial.Polynomial.fit(time, minimum_jerk(time), 8, domain=[0, 1], window=[0, 1])
    np.testing.assert_allclose(way.coef[6:], 0, atol=1e-7)
    np.testing.assert_allclose([way(0), way(1)], [0, 1], atol=1e-10)
    for order in (1, 2):
        np.testing.assert_allclose([way.deriv(order)(0), way.deriv(order)(1)], 0, atol=1e-7)


def test_minimum_jerk_is_symmetric_rising_and_rests_outside():
    time = np.linspace(-1, 2, 301)
    way = minimum_jerk(time)
    np.testing.assert_allclose(way + minimum_jerk(1 - time), 1, atol=1e-15)
    assert (np.diff(way) >= 0).all() and (way[time <= 0] == 0).all() and (way[time >= 1] == 1).all()
    assert np.diff(way).max() / 0.01 == pytest.approx(1.875, abs=1e-3)  # Flash and Hogan: peak speed is 15/8 of the mean
