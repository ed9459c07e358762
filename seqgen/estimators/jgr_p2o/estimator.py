"""JGR-P2O as an estimator (Fang et al., ECCV 2020): depth crops of a cube to joints by the votes of their pixels; see `network`."""

from collections.abc import Sequence
from typing import ClassVar, Literal

from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from seqgen.config import Section
from seqgen.estimators.jgr_p2o.joint_graph import Graph
from seqgen.estimators.jgr_p2o.losses import jgr_p2o_losses
from seqgen.estimators.jgr_p2o.network import Decoding, JgrP2oNetwork, StageOutput, Weighting
from seqgen.estimators.still_estimator import StillEstimator, StillOutput, absolute_joints
from seqgen.estimators.views.batch import Batch
from seqgen.estimators.views.cube import CubeConfig
from seqgen.estimators.views.projection import PixelScale, joints_from_uvd, uvd_from_joints
from seqgen.estimators.views.view import View
from seqgen.joint_targets import TARGETS, JointSetName


class JgrP2oInput(CubeConfig):
    kind: Literal["depth"] = "depth"
    """what the network is shown: a depth picture"""
    size: int = Field(96, ge=32, le=1024, multiple_of=32)
    """side of the depth picture, pixels"""


class JgrP2oConfig(Section):
    name: Literal["jgr_p2o"] = "jgr_p2o"
    """the network"""
    joints: JointSetName = "canonical"
    """the joints it says: 21, 21 in MSRA's order, 14 as NYU's, 16 as ICVL's"""
    stages: int = Field(2, ge=1, le=8)
    """hourglasses, each with joints of its own"""
    graph: Graph = "skeleton"
    """how joints tell each other: skeleton (the paper's choice), similarity (of features) or parameterised (learned)"""
    weighting: Weighting = "graph"
    """how pixels' votes are weighted: graph (the paper's choice), attention, or uniform"""
    decoding: Decoding = "offset"
    """what pixels say: offset (to each joint, the paper's choice) or heatmap (the 2.5D rival)"""
    channels: int = Field(128, ge=8, le=1024, multiple_of=8)
    """of the maps; scales all widths"""
    offset_weight: float = Field(1e-4, ge=0)
    """weight of each pixel's offsets beside the joints"""
    offset_foreground_only: bool = False
    """teach offsets where there is a hand only; published: everywhere"""

    @model_validator(mode="after")
    def _heat_maps_with_the_graph(self) -> "JgrP2oConfig":
        if self.decoding == "heatmap" and self.weighting != "graph":
            raise ValueError(f"model: decoding = heatmap goes with weighting = graph, got {self.weighting}")
        return self


class JgrP2o(StillEstimator):
    """The estimator."""

    name: ClassVar[str] = "jgr_p2o"

    def __init__(self, config: JgrP2oConfig, hand_layer: None = None) -> None:
        """Weights are drawn from torch's global generator."""
        super().__init__()
        self.config = config
        targets = TARGETS[config.joints]
        self.root = targets.root
        kinds = {"graph": config.graph, "weighting": config.weighting, "decoding": config.decoding}
        self.network = JgrP2oNetwork(targets.num_joints, targets.bones, stages=config.stages, channels=config.channels, **kinds)

    def stages_of(self, view: View) -> Sequence[StageOutput]:
        """Joints of every stage, with what the losses need."""
        return self.network(view.depth.flatten(0, 1)[:, None])

    def joints_of(self, stage: StageOutput, view: View) -> tuple[Tensor, Tensor]:
        """Pixels of the crop and metres of the camera frame."""
        return joints_from_uvd(stage.joints.unflatten(0, view.cube_m.shape), view, _scale(view))

    def losses(self, output: StillOutput, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Joints and offsets, see `losses`."""
        uvd = uvd_from_joints(batch.joints_px, absolute_joints(batch)[..., 2], batch, _scale(batch))
        choices = {"offset_weight": self.config.offset_weight, "offset_foreground_only": self.config.offset_foreground_only}
        return jgr_p2o_losses(output.stages, uvd.flatten(0, 1), batch.joints_valid.flatten(0, 1), **choices)

    def parts(self) -> dict[str, nn.Module]:
        """What fine-tuning may freeze: "encoder", the layers before the hourglasses; "head", the stages and what they tell each other."""
        network = self.network
        return {"encoder": network.stem, "head": nn.ModuleList([network.stages, network.from_maps, network.from_enhanced])}


def _scale(view: View) -> PixelScale:
    """Of labels and decoding alike: the published code divides by 95 and multiplies by 96."""
    return PixelScale(origin=0.0, unit=view.depth.shape[-1] - 1)
