"""A picture's amplitude spectrum with another slope, its phase kept.

Pictures are mirrored at their edges before the transform, which makes it a discrete cosine transform: the Fourier transform would take opposite edges for
neighbours and write the jump between them into all frequencies. A positive gain on the coefficients is a positive gain on the mirrored picture's
amplitudes, and nothing at all on its phases.
"""

from functools import lru_cache

import numpy as np
from jaxtyping import Float32
from scipy.fft import dctn, idctn

Array = np.ndarray
PIVOT = 0.02  # cycles a pixel whose amplitude stays: detail changes, what is wider than a finger hardly does, which would glow about bright things
MAX_GAIN = 2.0  # a tilt and bend raise or lower no amplitude by more
MASK_PX = 1.0  # standard deviation of the blur in unsharp masking


def amplitude_gain(size: tuple[int, int], *, tilt: float, bend: float, sharpening: float) -> Float32[Array, "height width"]:
    """What the amplitudes of a picture of `size` = (width, height) are multiplied by: exp(-tilt L - bend L^2), L being ln(frequency / PIVOT), within
    MAX_GAIN, times unsharp masking's response. The mean keeps its amplitude.

    Diversity of amplitude spectra is among what lets networks go from synthetic to real hands (Zhao et al., Analyzing the synthetic-to-real domain gap in
    3D hand pose estimation, CVPR 2025).
    """
    octaves, masked = _responses(size)
    exponent = octaves * (-tilt - bend * octaves)
    limit = np.log(MAX_GAIN, dtype=np.float32)
    return np.exp(np.clip(exponent, -limit, limit, out=exponent), out=exponent) * (1 + sharpening * masked)


def amplitude_change(lumas: Float32[Array, "frames height width"], gain: Float32[Array, "height width"]) -> Float32[Array, "frames height width"]:
    """What a gain on the amplitudes adds to pictures."""
    spectra = dctn(lumas, axes=(1, 2), norm="ortho", workers=1)
    spectra *= gain - 1
    return idctn(spectra, axes=(1, 2), norm="ortho", overwrite_x=True, workers=1)


@lru_cache(maxsize=8)
def _responses(size: tuple[int, int]) -> tuple[Float32[Array, "height width"], Float32[Array, "height width"]]:
    """ln(frequency / PIVOT), 0 for the mean, and what a blur of MASK_PX leaves out, of every coefficient."""
    across, down = (np.arange(side) / (2 * side) for side in size)
    frequency = np.hypot(across, down[:, None])
    frequency[0, 0] = PIVOT
    octaves = np.log(frequency / PIVOT)
    frequency[0, 0] = 0.0
    masked = 1 - np.exp(-2 * (np.pi * MASK_PX * frequency) ** 2)
    responses = octaves.astype(np.float32), masked.astype(np.float32)
    for response in responses:
        response.flags.writeable = False
    return responses
