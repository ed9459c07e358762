"""Residual blocks and the hourglass built of them (Newell et al., ECCV 2016), as narrow as JGR-P2O has them (Fang et al., ECCV 2020).

    Residual    x (N,I,H,W) -> 1x1, O/2 -> 3x3, O/2 -> 1x1, O -> + -> ReLU -> (N,O,H,W)
                  `------- nothing, or 1x1 to O where I is not O --'

    Hourglass   x (N,C,H,W) -> 3x3 maximum, stride 2 -> Residual -> [Hourglass one shallower] -> Residual -> nearest, x2 -> + -> (N,C,H,W)
                  `----------------------------- Residual -------------------------------------------------------------'

Batch normalisation follows every convolution, a ReLU every one but a block's last two. Nothing follows the hourglass's sum.

Does not know: joints, depth, how many hourglasses are stacked.
"""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate, relu

MOMENTUM = 0.05  # of running statistics; the published code keeps 0.95 of the old ones


def conv_norm(channels_in: int, channels_out: int, kernel: int = 1, *, stride: int = 1) -> nn.Sequential:
    """A convolution without bias and batch normalisation; the size stays, or is divided by the stride."""
    convolution = nn.Conv2d(channels_in, channels_out, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels_out, momentum=MOMENTUM))


def conv_block(channels_in: int, channels_out: int, kernel: int = 1, *, stride: int = 1) -> nn.Sequential:
    """The same with a ReLU."""
    return conv_norm(channels_in, channels_out, kernel, stride=stride).append(nn.ReLU())


class Residual(nn.Module):
    """The bottleneck block drawn above."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        inner = channels_out // 2
        self.inner = nn.Sequential(conv_block(channels_in, inner), conv_block(inner, inner, 3), conv_norm(inner, channels_out))
        self.shortcut = nn.Identity() if channels_in == channels_out else conv_norm(channels_in, channels_out)

    def forward(self, features: Float[Tensor, "batch channels_in rows columns"]) -> Float[Tensor, "batch channels_out rows columns"]:
        """Features of the same size."""
        return relu(self.inner(features) + self.shortcut(features))


class Hourglass(nn.Module):
    """Down `depth` times and up again; rows and columns must be multiples of 2^depth."""

    def __init__(self, depth: int, channels: int) -> None:
        super().__init__()
        self.upper = Residual(channels, channels)
        self.halve = nn.MaxPool2d(3, stride=2, padding=1)
        inner = [Hourglass(depth - 1, channels)] if depth > 1 else []
        self.lower = nn.Sequential(Residual(channels, channels), *inner, Residual(channels, channels))

    def forward(self, features: Float[Tensor, "batch channels rows columns"]) -> Float[Tensor, "batch channels rows columns"]:
        """Features of the same shape that have seen the whole map."""
        return self.upper(features) + interpolate(self.lower(self.halve(features)), scale_factor=2.0, mode="nearest")
