"""SeqHAND-Net as an estimator (Yang et al., ECCV 2020): clips to numbers by one of the networks of its Table 2, numbers to hands, losses.

    rgb (B,T,3,S,S) -> SeqHandNetwork -> numbers (B,T,26) -> ParametricHand -> B * T hands, clip after clip

26: scale, translation 2, rotation 3, pose coefficients 10, betas 10; 29 where rotations are of six numbers.
A still is a clip of one frame. Under autocast only the encoder and the recurrent layer's convolutions are in low precision: numbers and hands are float32.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, UInt8
from pydantic import Field, field_validator
from torch import Tensor, nn

from seqgen.config import Section
from seqgen.estimators.estimator import Prediction
from seqgen.estimators.resnet import ResNetName, stem_channels
from seqgen.estimators.seqhand.losses import SeqHandLosses, seqhand_losses
from seqgen.estimators.seqhand.network import SeqHandNetwork, State, Temporal
from seqgen.estimators.seqhand.parametric_hand import ComponentHandLayer, HandOutput, ParametricHand, RotationKind
from seqgen.estimators.views.batch import Batch
from seqgen.estimators.views.sample import normalised
from seqgen.estimators.views.view import View
from seqgen.hand import HandKind
from seqgen.joint_targets import JointSetName


class SeqHandConfig(Section):
    name: Literal["seqhand"] = "seqhand"
    """the network"""
    backbone: ResNetName = "resnet50"
    """the encoder: resnet18, resnet34, resnet50 (the paper's), resnet101 or resnet152"""
    width: float = Field(1.0, gt=0, le=4)
    """factor of all the encoder's channels, a multiple of 1/8; 1 is the standard one, for which there are published weights"""
    temporal: Temporal = "convlstm"
    """what looks back: none, lstm, convlstm (the paper's choice), i3d (kernels inflated over time) or motion (differences of frames, as in MFNet)"""
    reduce: int | None = Field(None, ge=1, le=8192)
    """with convlstm: channels that go into it; a quarter of the encoder's unless given"""
    hidden: int | None = Field(None, ge=1, le=8192)
    """with convlstm or lstm: channels of its memory; a quarter, or a half, of the encoder's unless given"""
    pose_components: int = Field(10, ge=1, le=45)
    """coefficients of the hand's pose"""
    rotation: RotationKind = "axis_angle"
    """how the network says rotations: axis_angle (the paper's three numbers) or 6d (two columns, six numbers)"""
    joints: JointSetName = "canonical"
    """the joints it is taught and says: 21, 21 in MSRA's order, 14 as NYU's, 16 as ICVL's"""
    hand: HandKind = "open"
    """the hand whose parameters are estimated: open, or mano from your own files"""
    losses: SeqHandLosses = SeqHandLosses()
    """weights and units of the losses"""

    @field_validator("width")
    @classmethod
    def _whole_channels(cls, width: float) -> float:
        stem_channels(width)  # a ValueError unless they are whole
        return width


@dataclass(frozen=True)
class SeqHandOutput:
    """Hands of all frames, clip after clip."""

    hands: HandOutput
    num_clips: int
    num_frames: int


class SeqHand(nn.Module):
    """The estimator, drawn above; fits `Estimator`. In training, batch normalisation is over all frames of all clips of a batch."""

    name: ClassVar[str] = "seqhand"

    def __init__(self, config: SeqHandConfig, hand_layer: ComponentHandLayer) -> None:
        """Weights are drawn from torch's global generator."""
        super().__init__()
        self.config = config
        self.hand = ParametricHand(hand_layer, config.pose_components, config.rotation, num_points=config.losses.mask_points, joints=config.joints)
        sizes = {"width": config.width, "reduce": config.reduce, "hidden": config.hidden}
        self.network = SeqHandNetwork(config.backbone, config.temporal, **sizes, num_numbers=self.hand.num_numbers)

    def forward(self, view: View) -> SeqHandOutput:
        """The hands of a view's frames; every clip begins anew."""
        return self._run(view.rgb, None)[0]

    def losses(self, output: SeqHandOutput, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Weighted terms by name, see `losses`."""
        return seqhand_losses(output.hands, batch, self.config.losses)

    def prediction(self, output: SeqHandOutput, *, with_vertices: bool = False) -> Prediction:
        """What the output says. The surface is made only when asked for: it costs more than all the rest of a hand."""
        hands, shape = output.hands, (output.num_clips, output.num_frames)
        return Prediction(
            joints_m=hands.joints_m.unflatten(0, shape),
            joints_px=hands.joints_px.unflatten(0, shape),
            pose=hands.pose.unflatten(0, shape),
            betas=hands.betas.unflatten(0, shape),
            weak_perspective=hands.weak_perspective.unflatten(0, shape),
            vertices_m=hands.vertices_m().unflatten(0, shape) if with_vertices else None,
        )

    @torch.no_grad()
    def step(self, view: View, state: State | None) -> tuple[Prediction, State]:
        """One frame of each of several streams, and the state to give with the next; None starts. Predictions have one frame, and no gradients:
        a stream has no end."""
        output, state = self._run(view.rgb, state)
        return self.prediction(output), state

    def parts(self) -> dict[str, nn.Module]:
        """What fine-tuning may freeze: "encoder", "head", and "temporal" where the variant has such a part; see `SeqHandNetwork.parts`."""
        return self.network.parts()

    def start_from(self, batch: Batch) -> None:
        """The hand that zeros stand for, and training begins at, becomes the batch's mean."""
        self.hand.start_from(batch)

    def load_backbone(self, path: Path) -> None:
        """Starts the encoder's ResNet from published or trained weights, see `read_weights`; UserError if they are another network's."""
        self.network.load_backbone(path)

    def _run(self, rgb: UInt8[Tensor, "batch frames 3 size size"], state: State | None) -> tuple[SeqHandOutput, State]:
        numbers, state = self.network(normalised(rgb), state)
        return SeqHandOutput(self.hand(numbers.flatten(0, 1)), *numbers.shape[:2]), state
