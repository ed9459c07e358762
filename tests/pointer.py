"""A toy estimator whose answers are known in closed form, and what it is shown: pictures, clips and films of a spot."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from seqgen.benchmarks.pinhole import FLESH_M
from seqgen.dataset.clip import LabelledClip
from seqgen.estimators.checkpoint import LoadedEstimator
from seqgen.estimators.estimator import Prediction
from seqgen.estimators.views.crop import InputConfig
from seqgen.estimators.views.view import View
from seqgen.prediction.video import VideoWriter
from tests.sequences import make_sequence

Array = np.ndarray
POINTS_M = np.random.default_rng(5).normal(0, 0.05, (10, 3))
JOINTS_M = np.concatenate([np.zeros((1, 3)), POINTS_M, -POINTS_M]).astype(np.float32)  # their box has the wrist in its middle
SCALE = float(24 / (2 * np.abs(JOINTS_M[:, :2]).max() + 2 * FLESH_M))  # and half the side of a crop of 48 px: margin 2 keeps its size


class Pointer(torch.nn.Module):
    """A toy estimator: the wrist is where the crop's green is, the other joints lie about it at SCALE px/m; betas[0] counts the frames since the state was None."""

    def step(self, view: View, state: int | None) -> tuple[Prediction, int]:
        light = view.rgb[:, 0, 1].double()
        ticks = torch.arange(view.rgb.shape[-1], dtype=torch.float64)
        total = light.sum().clamp(min=1)
        wrist = torch.stack([(light.sum(1) * ticks).sum(), (light.sum(2) * ticks).sum()]).div(total).float()
        seen = 1 if state is None else state + 1
        joints_m = torch.from_numpy(JOINTS_M)[None, None]
        betas = torch.zeros(1, 1, 10).index_fill_(2, torch.tensor(0), seen)
        weak = torch.cat([torch.tensor([SCALE]), wrist])[None, None]
        return Prediction(joints_m, SCALE * joints_m[..., :2] + wrist, pose=torch.zeros(1, 1, 16, 3), betas=betas, weak_perspective=weak), seen


LOADED = LoadedEstimator(Pointer(), InputConfig(size=48, crop="box", margin=2.0), {})


def spot(x: float, y: float, *, size: tuple[int, int] = (120, 90)) -> Array:
    """A picture that is black but for a smooth green spot."""
    columns, rows = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    light = 250 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 5.0**2))
    return np.stack([0 * light, light, 0 * light], -1).round().astype(np.uint8)


def box_about(x: float, y: float, half: float = 20) -> Array:
    return np.array([x - half, y - half, x + half, y + half], np.float32)


class MadeUp:
    """Clips of `tests.sequences`, the second of a left hand."""

    name = "made up"

    def __len__(self) -> int:
        return 2

    def key(self, position: int) -> str:
        return f"{position:08d}"

    def num_frames(self, position: int) -> int:
        return 3

    def read(self, position: int, frames: Sequence[int] | None = None) -> LabelledClip:
        sequence = make_sequence(position, size=(64, 48))
        labels, chosen = sequence.labels, list(range(3) if frames is None else frames)
        return LabelledClip(
            key=sequence.key, source=self.name, side=("right", "left")[position], fps=30.0, rgb=sequence.rgb[chosen], joints_m=labels.joints_m[chosen],
            joints_px=labels.joints_px[chosen], joints_valid=np.ones((len(chosen), 21), bool), box_px=labels.box_px[chosen], camera_kind="perspective",
        )  # fmt: skip


def save(path: Path, picture: Array, **options: Any) -> Path:
    Image.fromarray(picture).save(path, **options)
    return path


def film(path: Path, pictures: Sequence[Array], fps: float = 25.0) -> Path:
    with VideoWriter(path, fps=fps) as writer:
        for picture in pictures:
            writer.add(picture)
    return path
