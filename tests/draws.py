"""What tests of networks draw: numbers that are known from a seed, and first weights that are the same whatever ran before.

A file that imports `one_start` has it before each of its tests.
"""

from collections.abc import Iterator

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from seqgen.pipeline.process import one_thread


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Float[Tensor, "..."]:
    """Of mean 0 and deviation 1."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def uniform(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Float[Tensor, "..."]:
    """From 0 to 1."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.fixture(autouse=True)
def one_start() -> Iterator[None]:
    """One thread, and modules draw their first weights from torch's own generator, which is left as it was found."""
    with torch.random.fork_rng(), one_thread():
        torch.manual_seed(0)
        yield
