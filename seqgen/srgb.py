"""The sRGB transfer function (IEC 61966-2-1), both ways, exactly. Linear light and encoded values are both 0..1."""

import numpy as np
from jaxtyping import Float

Array = np.ndarray


def linear_from_srgb(encoded: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Linear light of encoded values."""
    return np.where(encoded <= 0.04045, encoded / 12.92, ((np.maximum(encoded, 0.04045) + 0.055) / 1.055) ** 2.4)


def srgb_from_linear(linear: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Encoded values of linear light."""
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055)


LINEAR_OF_LEVEL = linear_from_srgb(np.arange(256) / 255)  # of bytes
