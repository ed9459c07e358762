"""What an estimator is: from a batch to a prediction, frame by frame too, with the losses that teach it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float32
from torch import Tensor, nn

from seqgen.config import Section
from seqgen.estimators.views.batch import Batch
from seqgen.estimators.views.view import View


@dataclass(frozen=True)
class Prediction:
    """What an estimator says of each frame: joints always, the rest where it has it. Root-relative, camera axes, metres; pixels of the crop; a right hand's.

    `root_m`: where the root is in the camera frame, of estimators that know how far away the hand is.
    """

    joints_m: Float32[Tensor, "batch frames joints 3"]
    joints_px: Float32[Tensor, "batch frames joints 2"]
    root_m: Float32[Tensor, "batch frames 3"] | None = None
    pose: Float32[Tensor, "batch frames 16 3"] | None = None
    betas: Float32[Tensor, "batch frames 10"] | None = None
    weak_perspective: Float32[Tensor, "batch frames 3"] | None = None
    vertices_m: Float32[Tensor, "batch frames vertices 3"] | None = None


@runtime_checkable
class Estimator(Protocol):
    """A `torch.nn.Module` that is taught with batches. Its constructor takes its config and the hand's layer: `SeqHand(config, hand_layer)`.

    `forward` sees a view, and knows no label; it gives whatever `losses` needs; the trainer calls `losses(forward(batch), batch)` and sums the terms, which are weighted already.
    """

    name: ClassVar[str]  # in ESTIMATORS, checkpoints and configs
    config: Section

    def forward(self, view: View) -> Any: ...

    def losses(self, output: Any, batch: Batch) -> dict[str, Float32[Tensor, ""]]:
        """Weighted terms by name; a term that does not apply to the batch is zero or left out."""
        ...

    def prediction(self, output: Any) -> Prediction:
        """What the output of `forward` says."""
        ...

    def step(self, view: View, state: Any) -> tuple[Prediction, Any]:
        """One frame of each of several streams, a view of clips of one frame, and the state to give with the next; None starts.
        Equal to the whole clip at once, in `eval` mode."""
        ...

    def parts(self) -> dict[str, nn.Module]:
        """The parts that fine-tuning may freeze, by name: "encoder", "temporal", "head"."""
        ...

    def load_backbone(self, path: Path) -> None:
        """Starts the backbone from published or trained weights. UserError if they are another network's, or the estimator has no backbone."""
        ...

    def start_from(self, batch: Batch) -> None:
        """Sets constants that training starts from (mean scale and place), from a batch of the data in use."""
        ...


def device_of(estimator: nn.Module) -> torch.device:
    """Where an estimator's weights are."""
    weight = next(estimator.parameters(), None)
    return torch.device("cpu") if weight is None else weight.device
