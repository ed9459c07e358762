"""The loss of Joint-Aware Regression (Zheng et al., BMVC 2021, section 3.2): L1, of all stages alike; the 2.5D baseline is taught with it too.

    term    of a joint            mean over
    uv      (|du| + |dv|) / 3     joints that are valid
    depth   |dz| / 3              those whose depth is valid too

Where everything is valid, the two add up to the mean absolute difference of all numbers. A picture without 3D labels has joints that are valid and depths that are not: its u and v
count, its z does not, and among other pictures it does not make their depths count less.
Knows no metres and no pictures; u, v, z are told in `decoders`.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Coordinates = Float[Tensor, "batch joints 3"]
NUM_COORDINATES = 3


def jar_losses(
    outputs: Sequence[Coordinates],
    targets: Coordinates,
    valid: Bool[Tensor, "batch joints"],
    valid_depth: Bool[Tensor, "batch joints"] | None = None,
) -> dict[str, Float[Tensor, ""]]:
    """The two terms, means over the stages' `outputs`. `valid_depth`: joints whose z is known, of those that are valid; None for all. What is not valid
    counts nothing, whatever the targets hold; a term of which nothing is valid is zero. ValueError without outputs."""
    if not outputs:
        raise ValueError("no outputs: give those of at least one stage")
    with_depth = valid if valid_depth is None else valid & valid_depth
    known = torch.stack([valid, valid, with_depth], -1)
    off = torch.stack([torch.where(known, output - targets, 0.0).abs() for output in outputs]).mean(0)
    return {"uv": _share(off[..., :2], valid), "depth": _share(off[..., 2:], with_depth)}


def _share(off: Float[Tensor, "batch joints coordinates"], valid: Bool[Tensor, "batch joints"]) -> Float[Tensor, ""]:
    """Mean over valid joints of their coordinates' sum over three; what is not valid is zero in `off`."""
    return off.sum() / (NUM_COORDINATES * valid.sum().clamp(min=1))
