"""Random numbers inside kernels: a hash of where a number is used, so that it is the same alone, in any order, on the CPU and on CUDA.

The hash is SplitMix64's (Steele, Lea, Flood, Fast splittable pseudorandom number generators, OOPSLA 2014), read as a counter: number i of stream k is the
finaliser of k + i steps. Normal numbers come from a table of quantiles, since the C library's `log` and `cos` differ between machines.
"""

from typing import no_type_check

import numpy as np
import warp as wp
from jaxtyping import Float32
from scipy.special import ndtri

wp.set_module_options({"enable_backward": False, "fuse_fp": False})

Array = np.ndarray
STEP, FIRST, SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
QUANTILES = 1024  # ten bits of a number choose one

_STEP = wp.constant(wp.uint64(STEP))
_FIRST = wp.constant(wp.uint64(FIRST))
_SECOND = wp.constant(wp.uint64(SECOND))
_TEN_BITS = wp.constant(wp.uint64(QUANTILES - 1))
_SIXTEEN_BITS = wp.constant(wp.uint64(0xFFFF))


@no_type_check
@wp.func
def hash_at(key: wp.uint64, i: wp.int32):
    """64 random bits: number i of the stream of a key. It may itself be the key of a stream."""
    z = key + (wp.uint64(i) + wp.uint64(1)) * _STEP
    z = (z ^ (z >> wp.uint64(30))) * _FIRST
    z = (z ^ (z >> wp.uint64(27))) * _SECOND
    return z ^ (z >> wp.uint64(31))


@no_type_check
@wp.func
def normal_from_bits(bits: wp.uint64, shift: wp.int32, quantiles: wp.array(dtype=wp.float32)):
    """A normal number from the ten bits above `shift`."""
    return quantiles[int((bits >> wp.uint64(shift)) & _TEN_BITS)]


@no_type_check
@wp.func
def uniform_from_bits(bits: wp.uint64, shift: wp.int32):
    """A number in [0, 1) from the sixteen bits above `shift`."""
    return float((bits >> wp.uint64(shift)) & _SIXTEEN_BITS) * (1.0 / 65536.0)


def hash_on_host(key: int, i: int) -> int:
    """`hash_at`, outside kernels."""
    mask = (1 << 64) - 1
    z = (key + (i + 1) * STEP) & mask
    z = (z ^ (z >> 30)) * FIRST & mask
    z = (z ^ (z >> 27)) * SECOND & mask
    return z ^ (z >> 31)


def stream_key(seed: int, sequence: int, concern: int) -> int:
    """The key of one concern's noise in one sequence."""
    return hash_on_host(hash_on_host(hash_on_host(0, seed), sequence), concern)


def normal_quantiles() -> Float32[Array, "1024"]:
    """Equally likely normal numbers, symmetric, of mean 0 and variance 1 (the bare quantiles have 0.998)."""
    bare = ndtri((np.arange(QUANTILES) + 0.5) / QUANTILES)
    return (bare / np.sqrt((bare**2).mean())).astype(np.float32)
