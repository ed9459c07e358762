"""Encoders of clips around a ResNet: frame by frame, with kernels inflated over time (I3D style), and with motion features (MFNet style).

    clip (B,T,3,S,S), past -> features (B,T,C,rows,columns), past

`past` is what the next frames must know of those before: None at a clip's start, else given back as it came. All three look backwards only, so that they
stream, and they give features for every frame: no striding over time. At a start the hand is taken to have stood still: the first frame is its own past.
Running a clip in pieces gives the same as running it at once, in `eval` mode; in training, batch normalisation is over all frames of all clips.

Differences from the published networks, both of which classify a whole clip: causal instead of centred in time, no temporal pooling. SeqHAND's paper gives
neither's details.
"""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seqgen.estimators.resnet import ResNet, ResNetName, Weights, matching_weights, read_weights

Past = tuple[Tensor, ...] | None  # the last frames of each place that looks back

TAPS = 3  # frames an inflated kernel sees
SHIFTS = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))  # rows, columns: where a motion filter looks for the past
MOTION_REDUCTION = 4  # channels in to channels compared


class FrameEncoder(nn.Module):
    """A ResNet on every frame by itself."""

    def __init__(self, name: ResNetName, *, width: float = 1.0) -> None:
        super().__init__()
        self.backbone = ResNet(name, width=width)

    def forward(self, clip: Float[Tensor, "clips frames 3 height width"], past: Past = None) -> tuple[Float[Tensor, "clips frames channels rows columns"], Past]:
        """Features of each frame; there is no past."""
        return self.backbone(_pictures(clip)).unflatten(0, clip.shape[:2]), ()

    def load_backbone(self, path: Path) -> None:
        """Takes over a ResNet's weights, see `read_weights`."""
        self.backbone.load_torchvision_weights(read_weights(path), where=str(path))


class InflatedEncoder(nn.Module):
    """A ResNet whose stem, and the first convolution of every second block, span three frames (Wang et al., Non-local Neural Networks, CVPR 2018: one kernel
    of every two blocks; Carreira and Zisserman, I3D, CVPR 2017: weights repeated over time and divided by their number).

    The three frames lie beside each other in the channels, oldest first: a 2D convolution of them is the 3D one. A hand that stands still gets exactly the
    features that the ResNet before inflation gives.
    """

    def __init__(self, name: ResNetName, *, width: float = 1.0) -> None:
        super().__init__()
        flat = ResNet(name, width=width)
        weights = flat.state_dict()
        self.backbone = flat
        for holder in (flat, *self._inflated_blocks()):
            holder.conv1 = _inflated(holder.conv1)
        flat.load_state_dict(self._repeated(weights))

    def forward(self, clip: Float[Tensor, "clips frames 3 height width"], past: Past = None) -> tuple[Float[Tensor, "clips frames channels rows columns"], Past]:
        """Features of each frame."""
        window = _Window(len(clip), TAPS - 1, past)
        features = self.backbone.stem(_beside(window.look_back(_pictures(clip))))
        wide = set(self._inflated_blocks())
        for stage in self.backbone.stages:
            for block in stage:
                features = block(features, _beside(window.look_back(features)) if block in wide else None)
        return features.unflatten(0, clip.shape[:2]), tuple(window.kept)

    def load_backbone(self, path: Path) -> None:
        """Takes over a ResNet's weights, see `read_weights`, repeated over time."""
        flat = matching_weights(ResNet(self.backbone.name, width=self.backbone.width), read_weights(path), where=str(path))
        self.backbone.load_state_dict(self._repeated(flat))

    def _inflated_blocks(self) -> list[nn.Module]:
        """Every second block of all, from the first."""
        return [block for stage in self.backbone.stages for block in stage][::2]

    def _repeated(self, weights: Weights) -> dict[str, Tensor]:
        """A ResNet's weights, those of inflated convolutions thrice over a third as large."""
        own = self.backbone.state_dict()
        return {name: tensor if tensor.shape == own[name].shape else tensor.repeat(1, TAPS, 1, 1) / TAPS for name, tensor in weights.items()}


def _inflated(conv: nn.Conv2d) -> nn.Conv2d:
    """The same convolution over three frames' channels, not initialised."""
    return nn.Conv2d(TAPS * conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, bias=False)


class MotionEncoder(nn.Module):
    """A ResNet to whose features, after each of its four layers, those of motion are added."""

    def __init__(self, name: ResNetName, *, width: float = 1.0) -> None:
        super().__init__()
        self.backbone = ResNet(name, width=width)
        self.motion = nn.ModuleList(MotionFeatures(channels) for channels in self.backbone.stage_channels)

    def forward(self, clip: Float[Tensor, "clips frames 3 height width"], past: Past = None) -> tuple[Float[Tensor, "clips frames channels rows columns"], Past]:
        """Features of each frame."""
        window = _Window(len(clip), 1, past)
        features = self.backbone.stem(_pictures(clip))
        for stage, motion in zip(self.backbone.stages, self.motion, strict=True):
            features = motion(stage(features), window)
        return features.unflatten(0, clip.shape[:2]), tuple(window.kept)

    def load_backbone(self, path: Path) -> None:
        """Takes over a ResNet's weights, see `read_weights`."""
        self.backbone.load_torchvision_weights(read_weights(path), where=str(path))


class MotionFeatures(nn.Module):
    """The motion filter of Lee et al. (Motion Feature Network, ECCV 2018): features, made fewer by a 1 x 1 convolution, minus those of the frame before, seen
    in place and shifted by one to four sides; the differences are projected back by a 1 x 1 convolution and added to the features.

    The projection starts at zero: at first there is only the appearance. No normalisation layers, so frozen weights mean a frozen layer.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        fewer = max(8, channels // MOTION_REDUCTION)
        self.reduce = nn.Conv2d(channels, fewer, 1, bias=False)  # in differences a bias would cancel
        self.project = nn.Conv2d(len(SHIFTS) * fewer, channels, 1)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)

    def forward(self, features: Float[Tensor, "pictures channels rows columns"], window: "_Window") -> Float[Tensor, "pictures channels rows columns"]:
        """Features of appearance and motion."""
        before, now = (frames.flatten(0, 1) for frames in window.look_back(self.reduce(features)))
        return features + self.project(torch.cat([now - _shifted(before, *shift) for shift in SHIFTS], 1))


def _shifted(maps: Float[Tensor, "pictures channels rows columns"], down: int, right: int) -> Float[Tensor, "pictures channels rows columns"]:
    """Maps moved by at most one row or column; what moves in is the edge itself. Not by padding: torch's has no reproducible gradient on CUDA."""
    for axis, by in ((2, down), (3, right)):
        last = maps.shape[axis] - 1
        if by == 1:
            maps = torch.cat([maps.narrow(axis, 0, 1), maps.narrow(axis, 0, last)], axis)
        elif by == -1:
            maps = torch.cat([maps.narrow(axis, 1, last), maps.narrow(axis, last, 1)], axis)
    return maps


class _Window:
    """Hands each place of a network its frames with some before them, place by place, and keeps the last of each for the next call."""

    def __init__(self, num_clips: int, reach: int, past: Past) -> None:
        self._num_clips, self._reach = num_clips, reach
        self._past = None if past is None else list(past)
        self.kept: list[Tensor] = []

    def look_back(self, features: Float[Tensor, "pictures channels rows columns"]) -> list[Float[Tensor, "clips frames channels rows columns"]]:
        """The clips `reach` frames ago, ..., one frame ago, now."""
        clips = features.unflatten(0, (self._num_clips, -1))
        frames = clips.shape[1]
        before = clips[:, :1].expand(-1, self._reach, -1, -1, -1) if self._past is None else self._past[len(self.kept)]
        longer = torch.cat([before, clips], 1)
        self.kept.append(longer[:, frames:])
        return [longer[:, start : start + frames] for start in range(self._reach + 1)]


def _beside(frames: list[Float[Tensor, "clips frames channels rows columns"]]) -> Float[Tensor, "pictures more_channels rows columns"]:
    """Frames seen together, in the channels of pictures."""
    return torch.cat(frames, 2).flatten(0, 1).contiguous(memory_format=torch.channels_last)


def _pictures(clip: Float[Tensor, "clips frames 3 height width"]) -> Float[Tensor, "pictures 3 height width"]:
    """Frames of all clips as a batch of pictures, colours innermost in memory, which convolutions are faster on."""
    return clip.flatten(0, 1).contiguous(memory_format=torch.channels_last)

