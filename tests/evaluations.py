"""Made-up clips in memory, an estimator that errs by known amounts, and an evaluation of them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import ClassVar

import numpy as np
import torch
from sequences import make_sequence
from torch import Tensor, nn

from seqgen.config import Section
from seqgen.dataset.clip import LabelledClip
from seqgen.estimators.estimator import Prediction
from seqgen.estimators.views.batch import Batch
from seqgen.estimators.views.crop import InputConfig

SIZE = (32, 24)  # of the pictures
INPUT = InputConfig(size=48)  # twice the shorter side


def make_clip(n: int, *, frames: int = 4, side: str = "right", fps: float = 30.0) -> LabelledClip:
    """Sequence n of `sequences`, as a clip."""
    sequence = make_sequence(n, frames=frames, size=SIZE)
    labels = sequence.labels
    valid = np.ones((frames, 21), bool)
    return LabelledClip(f"clip {n}", "made up", side, fps, sequence.rgb, labels.joints_m, labels.joints_px, valid, labels.box_px, "perspective", labels.intrinsics)


def without_joints(clip: LabelledClip, frame: int, joints: Sequence[int]) -> LabelledClip:
    """The clip with some joints of a frame not labelled."""
    valid = clip.joints_valid.copy()
    valid[frame, joints] = False
    return replace(clip, joints_valid=valid)


@dataclass(frozen=True)
class Shelf:
    """Clips in memory as a source."""

    clips: Sequence[LabelledClip]
    name: str = "shelf"

    def __len__(self) -> int:
        return len(self.clips)

    def key(self, position: int) -> str:
        return self.clips[position].key

    def num_frames(self, position: int) -> int:
        return len(self.clips[position].rgb)

    def read(self, position: int, frames: Sequence[int] | None = None) -> LabelledClip:
        clip = self.clips[position]
        if frames is None:
            return clip
        per_frame = {field.name: getattr(clip, field.name) for field in fields(clip) if isinstance(getattr(clip, field.name), np.ndarray) and field.name != "betas"}
        return replace(clip, **{name: array[list(frames)] for name, array in per_frame.items()})


class NearlyRight(nn.Module):
    """Says the truth, every joint but the wrist off by `off_m`, and by `off_px` pixels of the crop. In training it errs by ten times as much."""

    name: ClassVar[str] = "nearly right"

    def __init__(self, off_m: Sequence[float] = (0.0, 0.0, 0.0), off_px: Sequence[float] = (0.0, 0.0)) -> None:
        super().__init__()
        self.config = Section()
        self.off_m, self.off_px = nn.Parameter(torch.tensor(off_m)), nn.Parameter(torch.tensor(off_px))
        self.frozen, self.moving = nn.BatchNorm1d(2), nn.Sequential(nn.Dropout(0.5))
        self.seen: list[tuple[str, ...]] = []

    def forward(self, batch: Batch) -> Prediction:
        self.seen.append(batch.keys)
        strength = 10.0 if any(module.training for module in self.modules()) or torch.is_grad_enabled() else 1.0
        but_wrist = torch.ones(21, 1)
        but_wrist[0] = 0
        return Prediction(batch.joints_m + strength * but_wrist * self.off_m, batch.joints_px + strength * but_wrist * self.off_px)

    def prediction(self, output: Prediction) -> Prediction:
        return output

    def losses(self, output: Prediction, batch: Batch) -> dict[str, Tensor]:
        return {}
