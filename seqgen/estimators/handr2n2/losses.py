"""The loss of HandR2N2 (Cheng and Ko, ICCV 2023, Eq. 8 and 9): the smooth L1 distance of every iteration's joints, later ones counting more.

    L = sum over i of lambda^(I-i) sum over valid joints and their coordinates of s(J_i - J*),  s(x) = 50 x^2 if |x| < 0.01, else |x| - 0.005

Joints are in the network's normalised space, so the knee is at a hundredth of the cube's side. The mean is over those of a batch that have a valid joint.
Does not know: the network, how a batch was made.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

KNEE = 0.01


def handr2n2_losses(
    outputs: Sequence[Float[Tensor, "batch joints 3"]],
    targets: Float[Tensor, "batch joints 3"],
    valid: Bool[Tensor, "batch joints"],
    *,
    decay: float = 0.8,
    official_weights: bool = False,
) -> dict[str, Float[Tensor, ""]]:
    """Weighted terms "joints_0" .. "joints_I". `decay`: the paper's lambda. ValueError without outputs.

    `official_weights`: the published code has one power more than Eq. 9 in all terms but the last. (Its factor of 3 J and its sum over the batch, which
    AdamW hardly feels, are left out here too.)
    """
    if not outputs:
        raise ValueError("no outputs to compare")
    last = len(outputs) - 1
    powers = [last - number + (official_weights and number < last) for number in range(len(outputs))]
    return {f"joints_{number}": decay**power * smooth_l1(joints, targets, valid) for number, (power, joints) in enumerate(zip(powers, outputs, strict=True))}


def smooth_l1(joints: Float[Tensor, "batch joints 3"], targets: Float[Tensor, "batch joints 3"], valid: Bool[Tensor, "batch joints"]) -> Float[Tensor, ""]:
    """Eq. 8 summed over valid joints, mean over the batch."""
    chosen = valid[..., None]
    zero = torch.zeros_like(joints)  # what is not valid is taken out before the subtraction, so that it leaves no trace in the gradients
    distance = smooth_l1_loss(torch.where(chosen, joints, zero), torch.where(chosen, targets, zero), beta=KNEE, reduction="sum")
    return distance / valid.any(-1).sum().clamp(min=1)
