"""Light from all around as nine numbers a colour: the real spherical harmonics up to order 2, which hold matt shading to about 1 % (Ramamoorthi & Hanrahan 2001).

Coefficients here are those of `scene.Light.ambient`: radiance leaving a white matt surface, that is irradiance / pi, for a unit normal n, on the basis
1, x, y, z, x y, y z, x z, 3 z^2 - 1, x^2 - y^2.
"""

from functools import cache

import numpy as np
from jaxtyping import Float

Array = np.ndarray
# Irradiance / pi has coefficients (A_l / pi) N_k^2 times the integral of radiance times b_k: N_k normalises basis function k over the sphere, and
# A = pi, 2 pi / 3, pi / 4 are those of the clamped cosine for orders 0, 1, 2 (Ramamoorthi & Hanrahan 2001, Eq. 8).
WEIGHTS = np.array([4.0, 8.0, 8.0, 8.0, 15.0, 15.0, 15.0, 1.25, 3.75]) / (16 * np.pi)


def harmonic_basis(normals: Float[Array, "*batch 3"]) -> Float[Array, "*batch 9"]:
    """The nine basis functions at unit normals."""
    x, y, z = np.moveaxis(np.asarray(normals, float), -1, 0)
    return np.stack([np.ones_like(x), x, y, z, x * y, y * z, x * z, 3 * z * z - 1, x * x - y * y], -1)


def harmonic_radiance(coefficients: Float[Array, "9 3"], normals: Float[Array, "*batch 3"]) -> Float[Array, "*batch 3"]:
    """Radiance leaving white matt surfaces with these unit normals; below 0 it counts as 0 when drawn."""
    return np.einsum("...k,kc->...c", harmonic_basis(normals), coefficients)


def projection_matrix(directions: Float[Array, "directions 3"], solid_angles: Float[Array, "directions"]) -> Float[Array, "9 directions"]:
    """The matrix that takes radiance arriving from `directions`, each standing for a solid angle in steradians, to coefficients."""
    return WEIGHTS[:, None] * harmonic_basis(directions).T * solid_angles


def rotate_harmonics(coefficients: Float[Array, "*#batch 9 3"], rotation: Float[Array, "*#batch 3 3"]) -> Float[Array, "*rotated 9 3"]:
    """The same light turned: a normal `rotation @ n` then gets what n got. Exact, for each order turns into itself."""
    points, fit = _fit()
    before = harmonic_basis(points @ np.asarray(rotation, float))  # rows: rotation^T p
    return np.einsum("kp,...pj,...jc->...kc", fit, before, coefficients)


def uniform_ambient(rgb: tuple[float, float, float]) -> Float[Array, "9 3"]:
    """Light of one colour from everywhere."""
    coefficients = np.zeros((9, 3))
    coefficients[0] = rgb
    return coefficients


def sphere_points(count: int) -> Float[Array, "count 3"]:
    """Unit vectors spread evenly over the sphere: a Fibonacci lattice (González 2010)."""
    z = 1 - (2 * np.arange(count) + 1) / count
    angle = np.pi * (3 - np.sqrt(5)) * np.arange(count)
    radius = np.sqrt(1 - z * z)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), z], -1)


@cache
def _fit() -> tuple[Float[Array, "points 3"], Float[Array, "9 points"]]:
    """Directions at which nine coefficients are known from their values, and the matrix that finds them."""
    points = sphere_points(24)
    return points, np.linalg.pinv(harmonic_basis(points))
