"""The networks of SeqHAND's Table 2 (Yang et al., ECCV 2020), from clips to numbers; what the numbers mean is `parametric_hand`'s.

    clip (B,T,3,S,S) float32 -> encoder -> neck -> temporal -> head -> numbers (B,T,N), and the state that the next frames need

    temporal   encoder     neck                             temporal              head                           millions, ResNet-50 (paper)
    none       per frame   mean over the map                -                     C - C/2 - C/2 - C - N          28.8 (28.8; ResNet-101: 47.8, 47.8)
    lstm       per frame   mean                             LSTM, C to C/2        C/2 - C/2 - C - N              39.3 (39.3)
    convlstm   per frame   1 x 1 convolution, C to C/4      ConvLSTM, C/4 to C/4  mean, linear                   43.4 (43.2)
    i3d        inflated    mean                             -                     as `none`                      32.8 (31.5)
    motion     motion      mean                             in the encoder        as `none`                      37.2 (41.7)

C: channels of the backbone (2048 for a full ResNet-50); all other widths follow it, so that narrow networks are narrow throughout. The paper gives only
the last column: these are the plainest designs near it, and `docs/results/seqhand_parameters.md` holds the exact counts.
"""

from itertools import pairwise
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seqgen.estimators.resnet import ResNetName, channels_of
from seqgen.estimators.seqhand.spatiotemporal import FrameEncoder, InflatedEncoder, MotionEncoder, Past
from seqgen.estimators.seqhand.temporal import ConvLstm, Lstm, Memory

Temporal = Literal["none", "lstm", "convlstm", "i3d", "motion"]
State = tuple[Past, Memory | None]  # of the encoder, of the recurrent layer

LAST_LAYER_STD = 0.01  # so that training starts near the mean hand


class SeqHandNetwork(nn.Module):
    """One of the five, drawn above. `reduce` and `hidden`: channels into and out of the recurrent layer, None for those of the table."""

    def __init__(
        self, backbone: ResNetName, temporal: Temporal, *, width: float = 1.0, reduce: int | None = None, hidden: int | None = None, num_numbers: int = 26
    ) -> None:
        super().__init__()
        channels = channels_of(backbone, width=width)
        encoders = {"i3d": InflatedEncoder, "motion": MotionEncoder}
        self.encoder = encoders.get(temporal, FrameEncoder)(backbone, width=width)
        self.temporal: nn.Module | None = None
        if temporal == "convlstm":
            reduce, hidden = reduce or channels // 4, hidden or channels // 4
            self.neck = nn.Sequential(nn.Conv2d(channels, reduce, 1, bias=False), nn.BatchNorm2d(reduce), nn.ReLU())
            self.temporal = ConvLstm(reduce, hidden)
            self.head = nn.Sequential(_mean_over_map(), nn.Linear(hidden, num_numbers))
        elif temporal == "lstm":
            hidden = hidden or channels // 2
            self.neck = _mean_over_map()
            self.temporal = Lstm(channels, hidden)
            self.head = _perceptron(hidden, channels // 2, channels, num_numbers)
        else:
            self.neck = _mean_over_map()
            self.head = _perceptron(channels, channels // 2, channels // 2, channels, num_numbers)
        nn.init.normal_(self.head[-1].weight, std=LAST_LAYER_STD)
        nn.init.zeros_(self.head[-1].bias)

    def forward(self, clip: Float[Tensor, "clips frames 3 height width"], state: State | None = None) -> tuple[Float[Tensor, "clips frames numbers"], State]:
        """Numbers of every frame and the state after the last; None at a start."""
        past, memory = (None, None) if state is None else state
        features, past = self.encoder(clip, past)
        features = self.neck(features.flatten(0, 1)).unflatten(0, clip.shape[:2])
        if self.temporal is not None:
            features, memory = self.temporal(features, memory)
        with torch.autocast("cuda" if clip.is_cuda else "cpu", enabled=False):  # a number in bfloat16 would be off by a fifth of a pixel
            numbers = self.head(features.flatten(0, 1).float())
        return numbers.unflatten(0, clip.shape[:2]), (past, memory)

    def parts(self) -> dict[str, nn.Module]:
        """Every parameter in one of "encoder", "temporal" and "head". Temporal are the recurrent layer alone, or the motion features' projections; there is
        no such part where nothing looks back ("none") or all of the encoder does ("i3d")."""
        parts = {"encoder": nn.ModuleList([self.encoder.backbone, self.neck]), "head": self.head}
        temporal = self.encoder.motion if isinstance(self.encoder, MotionEncoder) else self.temporal
        return parts if temporal is None else {**parts, "temporal": temporal}

    def load_backbone(self, path: Path) -> None:
        """Starts the encoder's ResNet from published or trained weights, see `read_weights`; UserError if they are another network's."""
        self.encoder.load_backbone(path)


def _mean_over_map() -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())


def _perceptron(*widths: int) -> nn.Sequential:
    """Linear layers of these widths, ReLU between them."""
    layers: list[nn.Module] = []
    for wide, next_wide in pairwise(widths):
        layers += [nn.Linear(wide, next_wide), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
