"""The loss of SRN (Ren et al., BMVC 2019, Eq. 3 and 5): coordinates of every stage against the label, summed over joints, axes and stages.

    smooth L1 of x:  x^2 / 2 where |x| < delta, else delta (|x| - delta / 2)                 delta = 0.01 of half a cube, 1.25 mm of 250
    L2 of x:         x^2 / 2, what Table 1 starts from

The paper's learning rate of 0.3 goes with the sums and the small slope of smooth L1; L2's slope is 30 times that at 0.3, so it needs a smaller rate.
Divided by the frames of the batch that have a label. Does not know: the network, what the coordinates mean.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import huber_loss

CoordinateLoss = Literal["smooth_l1", "l2"]


def srn_losses(
    stages: Sequence[Float[Tensor, "batch joints 3"]],
    joints_uvd: Float[Tensor, "batch joints 3"],
    valid: Bool[Tensor, "batch joints"],
    *,
    loss: CoordinateLoss = "smooth_l1",
    delta: float = 0.01,
) -> dict[str, Float[Tensor, ""]]:
    """Terms "stage_1", "stage_2", ..., whose sum is the loss; the network's outputs against labels in the same unit. Joints that are not valid count nothing."""
    frames = valid.any(-1).sum().clamp(min=1)
    return {f"stage_{number}": _total(joints, joints_uvd, valid, loss, delta) / frames for number, joints in enumerate(stages, 1)}


def _total(joints: Tensor, label: Tensor, valid: Tensor, loss: CoordinateLoss, delta: float) -> Float[Tensor, ""]:
    """Of all coordinates of valid joints."""
    off = torch.where(valid[..., None], joints - label, torch.zeros_like(joints))  # on differences, so that what is not valid may be no number
    if loss == "l2":
        return off.square().sum() / 2
    return huber_loss(off, torch.zeros_like(off), reduction="sum", delta=delta)
