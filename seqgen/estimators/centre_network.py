"""Where the hand's centre is, from a crop about its centre of mass: the localisation refinement of SRN (Ren et al., BMVC 2019, section 4.2).

    depth crop (N,1,S,S) -> 4 x (3 x 3 convolution with stride 2, batch normalisation, ReLU), 16 to 128 channels -> means of 4 x 4 cells
                         -> linear to 128, ReLU -> linear -> offset (N,3)

The offset leads from the crop's centre, the centre of mass of what is near enough, to the mean of the joints: x, y, z of the camera in half cubes. The crop's
values are those that SRN reads, 1 where there is no hand. The paper says only "a simple 2D CNN"; this is ours, 0.36 M parameters. The cells keep where in the
crop something is, which a mean over all of it would lose. Before training the offset is zero: the centre of mass stands.
"""

from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

CHANNELS = (1, 16, 32, 64, 128)
CELLS = 4
HIDDEN = 128


class CentreNetwork(nn.Module):
    """Regresses the offset of the mean of the joints; any number of joints, crops of any size from 64 up (ValueError)."""

    def __init__(self) -> None:
        super().__init__()
        layers = [_convolution(channels, channels_out) for channels, channels_out in pairwise(CHANNELS)]
        self.encoder = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(CELLS), nn.Flatten())
        self.head = nn.Sequential(nn.Linear(CHANNELS[-1] * CELLS**2, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 3))
        nn.init.zeros_(self.head[-1].weight)
        nn.init.zeros_(self.head[-1].bias)

    def forward(self, depth: Float[Tensor, "batch 1 height width"]) -> Float[Tensor, "batch 3"]:
        """Offset of each crop, half cubes."""
        if min(depth.shape[-2:]) < 64:
            raise ValueError(f"crops of {depth.shape[-2]} x {depth.shape[-1]}: at least 64 x 64 are needed for {CELLS} x {CELLS} cells")
        return self.head(self.encoder(depth))


def _convolution(channels_in: int, channels_out: int) -> nn.Sequential:
    """Halves the size."""
    convolution = nn.Conv2d(channels_in, channels_out, 3, stride=2, padding=1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(convolution, nn.BatchNorm2d(channels_out), nn.ReLU())
