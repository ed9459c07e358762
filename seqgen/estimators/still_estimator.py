"""What estimators of single frames have in common: every frame of a clip is a picture of its own, and there is nothing to remember.

    view (B,T,...) -> `stages_of`: what each stage of the network says of the B * T frames -> the last one, decoded by `joints_of`: pixels, metres in space

A subclass has `config`, `network`, and the three methods that are abstract here. Does not know which networks there are.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seqgen.errors import UserError
from seqgen.estimators.estimator import Prediction
from seqgen.estimators.views.batch import Batch
from seqgen.estimators.views.view import View


@dataclass(frozen=True)
class StillOutput:
    """What the network's stages say of all frames, clip after clip, and what it was shown."""

    stages: Sequence[Any]
    view: View


class StillEstimator(nn.Module, ABC):
    """Fits `Estimator`, but for `losses` and what is told above."""

    root: int  # joint that root-relative places start from
    network: nn.Module

    @abstractmethod
    def stages_of(self, view: View) -> Sequence[Any]:
        """What the network says of the view's frames."""

    @abstractmethod
    def joints_of(self, stage: Any, view: View) -> tuple[Float[Tensor, "batch frames joints 2"], Float[Tensor, "batch frames joints 3"]]:
        """Pixels of the crop and metres of the camera frame."""

    @abstractmethod
    def losses(self, output: StillOutput, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Weighted terms by name."""

    def forward(self, view: View) -> StillOutput:
        """Every frame by itself."""
        return StillOutput(self.stages_of(view), view)

    def prediction(self, output: StillOutput) -> Prediction:
        """What the last stage says."""
        joints_px, joints_m = self.joints_of(output.stages[-1], output.view)
        root_m = joints_m[:, :, self.root]
        return Prediction(joints_m=joints_m - root_m[:, :, None], joints_px=joints_px, root_m=root_m)

    @torch.no_grad()
    def step(self, view: View, state: None) -> tuple[Prediction, None]:
        """One frame of each of several streams; nothing is remembered."""
        return self.prediction(self(view)), None

    def start_from(self, batch: Batch) -> None:
        """Nothing: these networks start where their weights say."""

    def load_backbone(self, path: Path) -> None:
        """UserError: no ResNet in it."""
        raise UserError(f"{path}: the network {self.name} has no ResNet to start from weights; leave run.backbone out")


def absolute_joints(batch: Batch) -> Float[Tensor, "batch frames joints 3"]:
    """Labels in the camera frame, metres."""
    return batch.joints_m + batch.root_m[:, :, None]
