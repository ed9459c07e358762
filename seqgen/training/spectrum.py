"""The slope of pictures' amplitude spectra, made steeper or flatter: real cameras differ in it, and one renderer does not.

The spectrum of a natural picture falls as a power of the frequency. Its slope differs between synthetic and real hands more than poses or backgrounds do, and
training on a spread of slopes helps the step to real pictures (Zhao et al., Analyzing the synthetic-to-real domain gap in 3D hand pose estimation, CVPR 2025).
"""

from functools import lru_cache

import numpy as np
from jaxtyping import Float32
from scipy.fft import dctn, idctn

Array = np.ndarray


def spectral_change(planes: Float32[Array, "frames height width"], *, slope: float, blur_px: float = 0.0) -> Float32[Array, "frames height width"]:
    """What to add to pictures so that their amplitudes are multiplied by frequency ** slope and blurred by a Gaussian of `blur_px` (standard deviation).

    Mean and contrast (standard deviation over the clip) stay under the slope. Of the mirrored picture (a cosine transform): the Fourier transform would take
    opposite edges for neighbours. Each frame has the same gain, so what stands still keeps still.
    """
    spectra = dctn(planes, axes=(1, 2), norm="ortho", workers=1)
    frequency = _frequencies(planes.shape[1:])
    gain = frequency ** np.float32(slope)
    power = np.square(spectra).sum(0)
    power[0, 0] = 0
    energy = (power * gain**2).sum()
    gain *= np.sqrt(power.sum() / energy) if energy > 0 else np.float32(1)
    gain *= np.exp(np.float32(-2 * (np.pi * blur_px) ** 2) * frequency**2)
    gain[0, 0] = 1
    return idctn(spectra * (gain - 1), axes=(1, 2), norm="ortho", overwrite_x=True, workers=1)


@lru_cache(maxsize=8)
def _frequencies(shape: tuple[int, int]) -> Float32[Array, "height width"]:
    """Cycles a pixel of each coefficient; that of the mean, whose gain is set apart, counts as 1."""
    down, across = (np.arange(side) / (2 * side) for side in shape)
    frequency = np.hypot(down[:, None], across)
    frequency[0, 0] = 1
    frequency = frequency.astype(np.float32)
    frequency.flags.writeable = False
    return frequency
