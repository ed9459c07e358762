"""Vectors (3, *rows) and matrices (3, 3, *rows) with their components first: arithmetic for many rows at once, elementwise throughout.

Products are written out as sums in a fixed order, so a row's bits are the same alone and among any others, which BLAS, `einsum` and `sum` do not promise; and
along contiguous rows it is several times as fast as stacks of little matrices. Matrices act on columns, angles are in radians. Does not know what rows are.
"""

import numpy as np
from jaxtyping import Float

Array = np.ndarray


def components_first(values: Float[Array, "*rows_and_components"], axes: int = 1) -> Float[Array, "*components_and_rows"]:
    """Contiguous, the last `axes` axes moved to the front; no copy of what `rows_first` gave."""
    return np.ascontiguousarray(np.moveaxis(values, range(-axes, 0), range(axes)))


def rows_first(values: Float[Array, "*components_and_rows"], axes: int = 1) -> Float[Array, "*rows_and_components"]:
    """A view with the first `axes` axes moved to the end."""
    return np.moveaxis(values, range(axes), range(-axes, 0))


def dot(a: Float[Array, "3 *#rows"], b: Float[Array, "3 *#rows"]) -> Float[Array, "*rows"]:
    """Inner products."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def cross(a: Float[Array, "3 *#rows"], b: Float[Array, "3 *#rows"]) -> Float[Array, "3 *rows"]:
    """Cross products."""
    return np.stack([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]])


def unit(vectors: Float[Array, "3 *rows"]) -> Float[Array, "3 *rows"]:
    """Vectors of length one; those without a length stay as they are."""
    squared = dot(vectors, vectors)
    return vectors / np.sqrt(np.where(squared > 0, squared, 1.0))


def applied(matrices: Float[Array, "3 3 *#rows"], vectors: Float[Array, "3 *#rows"]) -> Float[Array, "3 *rows"]:
    """Matrices times vectors."""
    return matrices[:, 0] * vectors[0] + matrices[:, 1] * vectors[1] + matrices[:, 2] * vectors[2]


def composed(a: Float[Array, "3 3 *#rows"], b: Float[Array, "3 3 *#rows"]) -> Float[Array, "3 3 *rows"]:
    """Matrices times matrices."""
    return a[:, 0, None] * b[0] + a[:, 1, None] * b[1] + a[:, 2, None] * b[2]


def axis_angle_of(matrix: Float[Array, "3 3 *rows"]) -> Float[Array, "3 *rows"]:
    """Axis-angle vectors, angle in [0, pi], of rotation matrices: by the quaternion's largest component (Shepperd 1978), which no rounding makes small."""
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = matrix
    a, b, c, d, e, f = zy - yz, xz - zx, yx - xy, xy + yx, xz + zx, yz + zy
    w2, x2, y2, z2 = 1.0 + xx + yy + zz, 1.0 + xx - yy - zz, 1.0 - xx + yy - zz, 1.0 - xx - yy + zz
    table = np.stack([w2, a, b, c, a, x2, d, e, b, d, y2, f, c, e, f, z2])  # row i: the quaternion (w, x, y, z) times four times its i-th component
    largest = table[::5].argmax(0)
    w, *xyz = np.take_along_axis(table.reshape(4, 4, *largest.shape), largest[None, None], 0)[0]
    vector = np.stack(xyz)
    length = np.sqrt(dot(vector, vector))
    angle = 2.0 * np.arctan2(length, np.abs(w))
    return vector * (np.where(w < 0, -angle, angle) / np.where(length > 0, length, 1.0))
