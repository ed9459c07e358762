"""Rotations and rigid motions on numpy arrays. Angles in radians, matrices act on column vectors, leading axes are batch axes."""

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

Array = np.ndarray
NEXT_AXIS = np.array([1, 2, 0])


def matrix_from_axis_angle(axis_angle: Float[Array, "*batch 3"]) -> Float[Array, "*batch 3 3"]:
    """Rotation matrices of axis-angle vectors (axis times angle)."""
    axis_angle = np.asarray(axis_angle, float)
    return Rotation.from_rotvec(axis_angle.reshape(-1, 3)).as_matrix().reshape(*axis_angle.shape, 3)


def matrices_from_axis_angles(*axis_angles: Float[Array, "... 3"]) -> list[Float[Array, "... 3 3"]]:
    """Rotation matrices of several arrays of axis-angle vectors, by one call: for a few rotations that is where the time goes."""
    matrices = matrix_from_axis_angle(np.concatenate([vectors.reshape(-1, 3) for vectors in axis_angles]))
    parts, first = [], 0
    for vectors in axis_angles:
        last = first + vectors.size // 3
        parts.append(matrices[first:last].reshape(*vectors.shape, 3))
        first = last
    return parts


def axis_angle_from_matrix(matrix: Float[Array, "*batch 3 3"]) -> Float[Array, "*batch 3"]:
    """Axis-angle vectors, angle in [0, pi], of rotation matrices, which have to be such: nothing is made orthogonal here."""
    matrix = np.asarray(matrix, float)
    return Rotation.from_matrix(matrix.reshape(-1, 3, 3), assume_valid=True).as_rotvec().reshape(matrix.shape[:-1])


def cross(first: Float[Array, "*#batch 3"], second: Float[Array, "*#batch 3"]) -> Float[Array, "*product 3"]:
    """Vector products: the bits of np.cross in a fifth of its time."""
    return (first * second.take(NEXT_AXIS, -1) - first.take(NEXT_AXIS, -1) * second).take(NEXT_AXIS, -1)


def slerp(start: Float[Array, "3 3"], end: Float[Array, "3 3"], fraction: Float[Array, "frames"]) -> Float[Array, "frames 3 3"]:
    """Rotations on the shortest arc from `start` (fraction 0) to `end` (fraction 1), at constant angular speed in `fraction`."""
    arc = axis_angle_from_matrix(start.T @ end)
    return start @ matrix_from_axis_angle(np.asarray(fraction)[:, None] * arc)


def random_rotation(rng: np.random.Generator) -> Float[Array, "3 3"]:
    """A rotation uniform on SO(3) (Haar): a normalised Gaussian quaternion."""
    return Rotation.from_quat(rng.standard_normal(4)).as_matrix()


def rigid_alignment(source: Float[Array, "*batch points 3"], target: Float[Array, "*batch points 3"]) -> tuple[Array, Array]:
    """Rotation (*batch, 3, 3) and translation (*batch, 3) that bring `source` nearest to `target` in least squares (Kabsch 1976)."""
    return similarity_alignment(source, target, with_scale=False)[1:]


def similarity_alignment(source: Float[Array, "*batch points 3"], target: Float[Array, "*batch points 3"], *, with_scale: bool = True) -> tuple[Array, Array, Array]:
    """Scale (*batch), rotation and translation that bring `source` nearest to `target` in least squares (Umeyama 1991)."""
    source_mean, target_mean = source.mean(-2, keepdims=True), target.mean(-2, keepdims=True)
    covariance = np.swapaxes(target - target_mean, -1, -2) @ (source - source_mean)
    u, singular, vt = np.linalg.svd(covariance)
    sign = np.ones_like(singular)
    sign[..., 2] = np.sign(np.linalg.det(u @ vt))  # a reflection is no rotation
    rotation = (u * sign[..., None, :]) @ vt
    spread = ((source - source_mean) ** 2).sum((-1, -2))
    scale = (singular * sign).sum(-1) / spread if with_scale else np.ones(spread.shape)
    translation = target_mean[..., 0, :] - scale[..., None] * np.einsum("...ij,...j->...i", rotation, source_mean[..., 0, :])
    return np.asarray(scale), rotation, translation  # without batch axes numpy gives a number


def transform_points(matrix: Float[Array, "*batch 4 4"], points: Float[Array, "*batch points 3"]) -> Float[Array, "*batch points 3"]:
    """Points under a homogeneous rigid motion."""
    return np.einsum("...ij,...nj->...ni", matrix[..., :3, :3], points) + matrix[..., None, :3, 3]


def rigid_matrix(rotation: Float[Array, "*batch 3 3"], translation: Float[Array, "*batch 3"]) -> Float[Array, "*batch 4 4"]:
    """The homogeneous matrix of a rotation followed by a translation."""
    matrix = np.zeros((*np.shape(rotation)[:-2], 4, 4))
    matrix[..., :3, :3], matrix[..., :3, 3], matrix[..., 3, 3] = rotation, translation, 1.0
    return matrix


def minimum_jerk(fraction: Float[Array, "*times"]) -> Float[Array, "*times"]:
    """The eased way from 0 to 1 with least jerk (Flash and Hogan 1985, Eq. 4); constant outside [0, 1]."""
    t = np.clip(fraction, 0.0, 1.0)
    return t**3 * (10.0 - 15.0 * t + 6.0 * t**2)
