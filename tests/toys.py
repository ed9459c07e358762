"""A made-up network of a few linear layers and made-up clips for it: what the training tests teach."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor, nn

from seqgen.config import Section
from seqgen.dataset.clip import LabelledClip
from seqgen.estimators import ESTIMATORS, EstimatorKind
from seqgen.estimators.estimator import Prediction
from seqgen.estimators.views.batch import Batch
from seqgen.estimators.views.sample import normalised
from seqgen.estimators.views.view import View
from seqgen.training.config import TrainConfig, train_config


class ToyConfig(Section):
    name: Literal["toy"] = "toy"
    width: int = 8
    """channels of the hidden layers"""
    norm: bool = True
    """whether there are batch normalisations: they see a batch as a whole"""
    dropout: float = 0.0
    """share of channels that each step drops"""


class Toy(nn.Module):
    """Mean colours of a 4 x 4 grid to 21 joints, by a convolution and linear layers; fits `Estimator`."""

    name: ClassVar[str] = "toy"

    def __init__(self, config: ToyConfig, hand_layer: None) -> None:
        super().__init__()
        self.config = config
        norm = nn.BatchNorm2d if config.norm else nn.Identity
        self.encoder = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Conv2d(3, config.width, 3, padding=1), norm(config.width), nn.ReLU(), nn.Flatten())
        norm = nn.BatchNorm1d if config.norm else nn.Identity
        self.temporal = nn.Sequential(nn.Linear(16 * config.width, config.width), norm(config.width), nn.Dropout(config.dropout))
        self.head = nn.Linear(config.width, 21 * 3)
        self.register_buffer("start_m", torch.zeros(21, 3))

    def forward(self, batch: Batch) -> Float32[Tensor, "batch frames 21 3"]:
        features = self.temporal(self.encoder(normalised(batch.rgb).flatten(0, 1)))
        return self.start_m + 0.1 * self.head(features).float().unflatten(-1, (21, 3)).unflatten(0, batch.rgb.shape[:2])

    def losses(self, output: Float32[Tensor, "batch frames 21 3"], batch: Batch) -> dict[str, Float32[Tensor, ""]]:
        off = output - batch.joints_m
        return {"joints": 100 * off.square().mean(), "last": off[..., -1, :].abs().mean()}

    def prediction(self, output: Float32[Tensor, "batch frames 21 3"]) -> Prediction:
        return Prediction(joints_m=output, joints_px=output[..., :2])

    def step(self, view: View, state: Any) -> tuple[Prediction, Any]:
        raise NotImplementedError

    def load_backbone(self, path: Path) -> None:
        raise NotImplementedError

    def parts(self) -> dict[str, nn.Module]:
        return {"encoder": self.encoder, "temporal": self.temporal, "head": self.head}

    def start_from(self, batch: Batch) -> None:
        self.start_m.copy_(batch.joints_m.mean((0, 1)))


def know_toy() -> None:
    """Enters the toy among the estimators of this process."""
    ESTIMATORS["toy"] = EstimatorKind(ToyConfig, Toy)


@dataclass(frozen=True)
class ToyClips:
    """Clips of noise whose brightness says where the joints are. The clip named in `broken` has a label whose square is no number."""

    name: str = "toys"
    count: int = 12
    frames: int = 3
    broken: int | None = None

    def __len__(self) -> int:
        return self.count

    def key(self, position: int) -> str:
        return f"{position:08d}"

    def num_frames(self, position: int) -> int:
        return self.frames

    def read(self, position: int, frames: Sequence[int] | None = None) -> LabelledClip:
        chosen = list(range(self.frames) if frames is None else frames)
        rng = np.random.default_rng([position, self.frames])
        light = rng.uniform(50, 200, (self.frames, 1, 1, 1))
        rgb = (light + rng.uniform(-40, 40, (self.frames, 16, 16, 3))).astype(np.uint8)[chosen]
        joints_m = (np.linspace(0, 0.1, 21)[:, None] * (light.reshape(-1, 1, 1) / 100) * [1.0, 0.5, 0.2]).astype(np.float32)[chosen] + np.float32([0, 0, 0.5])
        if position == self.broken:
            joints_m[0, 3] = 1e30
        count = len(chosen)
        return LabelledClip(
            key=self.key(position),
            source=self.name,
            side="right",
            fps=30.0,
            rgb=rgb,
            joints_m=joints_m,
            joints_px=np.full((count, 21, 2), 8, np.float32),
            joints_valid=np.ones((count, 21), bool),
            box_px=np.tile(np.float32([0, 0, 15, 15]), (count, 1)),
            camera_kind="perspective",
        )


def toy_tables(**sections: Any) -> dict[str, Any]:
    """The sections of a small training of the toy, some fields replaced: `toy_tables(run={"steps": 5})`."""
    small: dict[str, Any] = {
        "data": {"train": "toys", "reading": {"frames": 3, "batch": 4, "readers": 0}},
        "input": {"size": 16},
        "model": {"name": "toy"},
        "optim": {"lr": 1e-2},
        "run": {"steps": 20, "log_every": 1, "validate_every": 5, "checkpoint_every": 5, "threads": 1},
    }
    return {name: {**small.get(name, {}), **sections.get(name, {})} for name in {**small, **sections}}


def toy_config(**sections: Any) -> TrainConfig:
    """The config of these tables."""
    return train_config(toy_tables(**sections), where="test")
