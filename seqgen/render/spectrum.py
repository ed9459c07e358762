"""A picture's amplitude spectrum with another slope, its phase kept.

Pictures are mirrored at their edges before the transform, which makes it a discrete cosine transform: the Fourier transform would take opposite edges for
neighbours and write the jump between them into all frequencies. A positive gain on the coefficients is a positive gain on the mirrored picture's
amplitudes, and nothing at all on its phases.
"""

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float32
from scipy.fft import dctn, idctn

Array = np.ndarray
PIVOT = 0.04  # cycles a pixel whose amplitude stays: detail changes, what is as wide as a finger hardly does
COARSE_GAIN = 1.15  # what is wider than the pivot is raised or lowered by no more: else there is fog about bright things, or a halo about the hand
FINE_GAIN = 1.5  # nor what is narrower, tilt, bend and sharpening together: else edges get outlines and noise becomes grain
MASK_PX = 1.0  # standard deviation of the blur in unsharp masking


def amplitude_gain(size: tuple[int, int], *, tilt: float, bend: float, sharpening: float) -> Float32[Array, "height width"]:
    """What the amplitudes of a picture of `size` = (width, height) are multiplied by: exp(-tilt L - bend L^2), L being ln(frequency / PIVOT), times unsharp
    masking's response, within COARSE_GAIN below the pivot and FINE_GAIN above. The mean keeps its amplitude.

    Diversity of amplitude spectra is among what lets networks go from synthetic to real hands (Zhao et al., Analyzing the synthetic-to-real domain gap in
    3D hand pose estimation, CVPR 2025).
    """
    octaves, masked, most = _responses(size)
    gain = np.exp(octaves * (-tilt - bend * octaves)) * (1 + sharpening * masked)
    return np.clip(gain, 1 / most, most, out=gain)


def amplitude_change(lumas: Float32[Array, "frames height width"], gain: Float32[Array, "height width"]) -> Float32[Array, "frames height width"]:
    """What a gain on the amplitudes adds to pictures."""
    spectra = dctn(lumas, axes=(1, 2), workers=1)
    spectra *= gain - 1
    return idctn(spectra, axes=(1, 2), overwrite_x=True, workers=1)


def amplitude_change_by_products(lumas: Float32[torch.Tensor, "frames height width"], gain: Float32[torch.Tensor, "height width"]) -> Float32[torch.Tensor, "frames height width"]:
    """The same on any device, as products with the transform's matrices; within 0.001 of `amplitude_change` for levels 0..255."""
    down, across = (cosines(side).to(lumas.device) for side in gain.shape)
    return down.T @ ((gain - 1) * (down @ lumas @ across.T)) @ across


@lru_cache(maxsize=8)
def cosines(side: int) -> Float32[torch.Tensor, "side side"]:
    """The orthonormal cosine transform of `side` numbers, a frequency a row."""
    frequency, place = torch.arange(side, dtype=torch.float64)[:, None], torch.arange(side, dtype=torch.float64) + 0.5
    rows = torch.cos(torch.pi / side * frequency * place) * (2 / side) ** 0.5
    rows[0] *= 0.5**0.5
    return rows.float()


@lru_cache(maxsize=8)
def _responses(size: tuple[int, int]) -> tuple[Float32[Array, "height width"], Float32[Array, "height width"], Float32[Array, "height width"]]:
    """Of every coefficient ln(frequency / PIVOT), 0 for the mean; what a blur of MASK_PX leaves out; the largest gain."""
    across, down = (np.arange(side) / (2 * side) for side in size)
    frequency = np.hypot(across, down[:, None])
    octaves = np.log(np.where(frequency > 0, frequency, PIVOT) / PIVOT)
    masked = 1 - np.exp(-2 * (np.pi * MASK_PX * frequency) ** 2)
    most = np.where(octaves > 0, FINE_GAIN, COARSE_GAIN)
    responses = octaves.astype(np.float32), masked.astype(np.float32), most.astype(np.float32)
    for response in responses:
        response.flags.writeable = False
    return responses
