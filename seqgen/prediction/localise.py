"""Where the hand is in a picture: a small learned localiser, behind a protocol that any other detector fits.

    rgb (H,W,3) --letterbox--> (128,128,3) --HandFinder--> heat (16,16): is the box's centre in this cell of 8 x 8 px?
                                                           box (16,16,4): centre's offset in cells, log of width and height in cells

After Zhou et al., "Objects as Points" (2019): the box is read where the heat is greatest. One hand a picture; which hand it is, it does not say.
Does not know: motion, sides, estimators. Made by `python -m seqgen.prediction.build_localiser`.
"""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from seqgen.errors import UserError
from seqgen.files import written_aside

Array = np.ndarray
Box = Float32[Array, "4"]  # x0, y0, x1, y1, pixels of the picture, whose pixels have their centres at integers

SHIPPED = Path(__file__).parent / "assets" / "localiser.safetensors"
INPUT_PX = 128
STRIDE = 8
CELLS = INPUT_PX // STRIDE
GREY = 128  # beside pictures that are not square
THRESHOLD = 0.5  # least heat of a hand: of those measured, most hands with any box less false alarms on validation clips (docs/benchmarks/localise.md)


@runtime_checkable
class Localiser(Protocol):
    """Finds the hand: any callable from a picture to the box of the whole hand (parts that something hides too), or None where it sees no hand."""

    def __call__(self, rgb: UInt8[Array, "height width 3"]) -> Box | None: ...


@dataclass(frozen=True)
class Letterbox:
    """A picture made to fit the network's square, and how: places in the square are `scale * (px + 0.5) + offset`, counted from its corner."""

    pixels: UInt8[Array, "128 128 3"]
    scale: tuple[float, float]
    offset: tuple[int, int]

    def to_picture(self, box: Float32[Array, "4"]) -> Box:
        """A box of the square (counted from its corner) in pixels of the picture."""
        scale, offset = np.array(self.scale * 2), np.array(self.offset * 2)
        return ((box - offset) / scale - 0.5).astype(np.float32)


def letterbox(rgb: UInt8[Array, "height width 3"]) -> Letterbox:
    """The whole picture in the middle of the square, its longer side filling it, grey beside it."""
    height, width = rgb.shape[:2]
    across = [max(1, round(side * INPUT_PX / max(width, height))) for side in (width, height)]
    small = Image.fromarray(rgb).resize((across[0], across[1]), Image.Resampling.BILINEAR, reducing_gap=2.0)
    left, top = ((INPUT_PX - side) // 2 for side in across)
    pixels = np.full((INPUT_PX, INPUT_PX, 3), GREY, np.uint8)
    pixels[top : top + across[1], left : left + across[0]] = np.asarray(small)
    return Letterbox(pixels, (across[0] / width, across[1] / height), (left, top))


class HandFinder(nn.Module):
    """A fully convolutional network of 289 thousand parameters: down to 1/32 for the whole view, and up again to 1/8."""

    def __init__(self) -> None:
        super().__init__()
        widths, width = (3, 16, 32, 48, 64, 96), 48
        steps = [_convolution(before, after, stride=2) for before, after in pairwise(widths)]
        self.down = nn.ModuleList(nn.Sequential(step, _Residual(after)) if 0 < level < 4 else step for level, (step, after) in enumerate(zip(steps, widths[1:], strict=True)))
        self.across = nn.ModuleList(nn.Conv2d(before, width, 1) for before in widths[3:])
        self.smooth = nn.Sequential(_convolution(width, width), _convolution(width, width))
        self.heads = nn.Conv2d(width, 5, 1)
        nn.init.constant_(self.heads.bias[:1], -3.0)  # hands are rare among cells: else the first steps only learn that

    def forward(self, pictures: UInt8[Tensor, "batch 3 128 128"]) -> tuple[Float32[Tensor, "batch 16 16"], Float32[Tensor, "batch 16 16 4"]]:
        """Logits of the heat, and boxes as drawn above."""
        features, levels = pictures.float() / 64 - 2, []
        for layer in self.down:
            features = layer(features)
            levels.append(features)
        merged = self.across[2](levels[4])
        for level in (3, 2):
            merged = self.across[level - 2](levels[level]) + nn.functional.interpolate(merged, scale_factor=2.0)
        numbers = self.heads(self.smooth(merged)).float()
        return numbers[:, 0], numbers[:, 1:].permute(0, 2, 3, 1)


class _Residual(nn.Module):
    """Two convolutions that correct what passes by them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _convolution(width, width)
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width))

    def forward(self, features: Tensor) -> Tensor:
        return torch.relu(features + self.second(self.first(features)))


def _convolution(before: int, after: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU())


def boxes_of(numbers: Float32[Tensor, "batch 16 16 4"]) -> Float32[Tensor, "batch 16 16 4"]:
    """Each cell's box x0, y0, x1, y1 in pixels of the square, counted from its corner."""
    ticks = torch.arange(CELLS) + 0.5
    cells = torch.stack(torch.meshgrid(ticks, ticks, indexing="xy"), -1)
    centre, half = cells + numbers[..., :2], numbers[..., 2:].clamp(-3, 3).exp() / 2
    return STRIDE * torch.cat([centre - half, centre + half], -1)


class LearnedLocaliser:
    """The shipped localiser, or one of other weights; 2.5 ms a picture of 640 x 480 on one core."""

    def __init__(self, network: HandFinder, *, threshold: float = THRESHOLD) -> None:
        self.network = network.eval().requires_grad_(False)
        self.threshold = threshold

    def __call__(self, rgb: UInt8[Array, "height width 3"]) -> Box | None:
        """The hand's box, cut to the picture; None where the heat stays below the threshold."""
        box, heat = self.detect(rgb)
        return box if heat >= self.threshold else None

    def detect(self, rgb: UInt8[Array, "height width 3"]) -> tuple[Box, float]:
        """The likeliest box, and its heat from 0 to 1."""
        boxed = letterbox(rgb)
        with torch.no_grad():
            heat, numbers = self.network(torch.as_tensor(boxed.pixels).permute(2, 0, 1)[None])
        place = int(heat.argmax())
        box = boxed.to_picture(boxes_of(numbers).view(-1, 4)[place].numpy())
        height, width = rgb.shape[:2]
        return box.clip(-0.5, np.array([width, height, width, height]) - np.float32(0.5)).astype(np.float32), float(heat.view(-1)[place].sigmoid())


def load_localiser(path: Path = SHIPPED) -> LearnedLocaliser:
    """The localiser kept in a safetensors file. A UserError when it is not one."""
    network = HandFinder()
    try:
        network.load_state_dict(load_file(path))
    except FileNotFoundError:
        raise UserError(f"{path}: no such localiser; `python -m seqgen.prediction.build_localiser` makes one") from None
    except (SafetensorError, RuntimeError) as error:
        raise UserError(f"{path}: not a localiser of seqgen: {str(error).splitlines()[0]}") from None
    return LearnedLocaliser(network)


def save_localiser(network: HandFinder, path: Path) -> None:
    """Weights to a safetensors file, in half precision, whole or not at all."""
    weights = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in network.state_dict().items()}
    with written_aside(path) as aside:
        save_file({name: tensor.contiguous() for name, tensor in weights.items()}, aside)
