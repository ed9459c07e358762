"""The losses of JGR-P2O (Fang et al., ECCV 2020, Eq. 7-9): joints of every stage, and a little of every pixel's offsets.

    term          of a picture                                                                     weight
    coordinates   Huber of u, v, z off, summed over stages and valid joints                        1
    offsets       Huber of du, dv, dz off, summed over stages, valid joints and the map's pixels   `offset_weight`

Both are means over the pictures that have a valid joint. The published code sums over its batch of 32 instead and adds 0.5e-4 / 2 times the squared weights
(of convolutions and linear layers, and the scales of batch normalisation); Adam hardly feels the first, but beside a mean the second would be 1/32 of that.
Weight decay is no business of this file but the optimiser's.

An offset's target is the joint minus the pixel, over the background as over the hand, as published: there z is the far end of the cube, and the pixel tells
what its place alone can tell. Does not know: the network beyond its output, how a batch was made, metres.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import huber_loss

from seqgen.estimators.jgr_p2o.network import StageOutput

BACKGROUND_Z = 1.0


def jgr_p2o_losses(
    stages: Sequence[StageOutput],
    joints: Float[Tensor, "batch joints 3"],
    valid: Bool[Tensor, "batch joints"],
    *,
    offset_weight: float = 1e-4,
    offset_foreground_only: bool = False,
    delta: float = 0.01,
) -> dict[str, Float[Tensor, ""]]:
    """Weighted terms by name. `joints`: u, v, z, anything where not valid. `delta`: where the Huber loss turns from x^2 / 2 to delta (|x| - delta / 2).

    The offsets' term is left out when its weight is zero (Table 2, first row) and for heat maps, which have none. `offset_foreground_only`: of the pixels
    that see something, those with z below 1.
    """
    num_pictures = valid.any(1).sum().clamp(min=1)
    terms = {"coordinates": sum(coordinate_loss(stage, joints, valid, delta=delta) for stage in stages) / num_pictures}
    if offset_weight > 0 and stages[0].offsets is not None:
        offsets = sum(offset_loss(stage, joints, valid, foreground_only=offset_foreground_only, delta=delta) for stage in stages)
        terms["offsets"] = offset_weight * offsets / num_pictures
    return terms


def coordinate_loss(stage: StageOutput, joints: Float[Tensor, "batch joints 3"], valid: Bool[Tensor, "batch joints"], *, delta: float) -> Float[Tensor, ""]:
    """Eq. 7, summed over the batch."""
    return _huber_sum(stage.joints - joints, valid[..., None], delta)


def offset_loss(
    stage: StageOutput, joints: Float[Tensor, "batch joints 3"], valid: Bool[Tensor, "batch joints"], *, foreground_only: bool, delta: float
) -> Float[Tensor, ""]:
    """Eq. 8, summed over the batch. ValueError for heat maps."""
    if stage.offsets is None:
        raise ValueError("heat maps have no offsets")
    target = joints[..., None, None] - stage.pixels[:, None]
    counted = valid[..., None, None, None]
    if foreground_only:
        counted = counted & (stage.pixels[:, None, 2:] < BACKGROUND_Z)
    return _huber_sum(stage.offsets - target, counted, delta)


def _huber_sum(difference: Float[Tensor, "..."], counted: Bool[Tensor, "..."], delta: float) -> Float[Tensor, ""]:
    """Over what counts; the rest may be no number and has no gradient."""
    difference = torch.where(counted, difference, torch.zeros_like(difference))
    return huber_loss(difference, torch.zeros_like(difference), reduction="sum", delta=delta)
