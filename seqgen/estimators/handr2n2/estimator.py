"""HandR2N2 as an estimator (Cheng and Ko, ICCV 2023): points of a cube to joints, by as many iterations as one likes; see `network`.

The network counts lengths in 1.1 edges of the cube, as published (275 mm for one of 250), so that its radii mean what they did there.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from seqgen.config import Section
from seqgen.estimators.handr2n2.losses import handr2n2_losses
from seqgen.estimators.handr2n2.network import CandidateActivation, Gates, GraphInit, GraphKind, HandR2N2Network
from seqgen.estimators.still_estimator import StillEstimator, StillOutput, absolute_joints
from seqgen.estimators.views.batch import Batch
from seqgen.estimators.views.cube import CubeConfig
from seqgen.estimators.views.projection import project
from seqgen.estimators.views.view import View
from seqgen.joint_targets import TARGETS, JointSetName

UNIT_OVER_EDGE = 1.1


class HandR2N2Input(CubeConfig):
    kind: Literal["points"] = "points"
    """what the network is shown: points"""


class HandR2N2Config(Section):
    name: Literal["handr2n2"] = "handr2n2"
    """the network"""
    joints: JointSetName = "canonical"
    """the joints it says: 21, 21 in MSRA's order, 14 as NYU's, 16 as ICVL's"""
    iterations: int = Field(3, ge=0, le=64)
    """how often joints are refined while training, and later unless `inference_iterations` says otherwise"""
    inference_iterations: int | None = Field(None, ge=0, le=64)
    """how often when not training; none: as while training"""
    neighbours: int = Field(48, ge=1, le=1024)
    """points about a joint that an iteration looks at"""
    gates: Gates = "attentive"
    """attentive (the paper's), conventional (one reset gate a joint) or none"""
    graph: GraphKind = "channel_wise"
    """how joints tell each other: channel_wise (the paper's), shared (one matrix for all channels) or none"""
    residual: bool = True
    """an iteration says how far joints move; else where they are"""
    candidate_activation: CandidateActivation = "leaky_relu"
    """of the candidate state: leaky_relu (what the published code does) or tanh (what the paper writes)"""
    graph_init: GraphInit = "near_identity"
    """first weights of the graph: near_identity, or official (normal of deviation 1)"""
    official_weights: bool = False
    """weigh iterations as the published code does, one power more than its paper"""
    decay: float = Field(0.8, gt=0, le=1)
    """how much less an iteration counts than the next one"""


class HandR2N2(StillEstimator):
    """The estimator."""

    name: ClassVar[str] = "handr2n2"

    def __init__(self, config: HandR2N2Config, hand_layer: None = None) -> None:
        """Weights are drawn from torch's global generator."""
        super().__init__()
        self.config = config
        targets = TARGETS[config.joints]
        self.root = targets.root
        names = ("neighbours", "gates", "graph", "residual", "candidate_activation", "graph_init")
        self.network = HandR2N2Network(targets.num_joints, **{name: getattr(config, name) for name in names})

    def stages_of(self, view: View) -> Sequence[Float[Tensor, "frames joints 3"]]:
        """Joints of every iteration, the first guess first."""
        later = self.config.inference_iterations
        iterations = self.config.iterations if self.training or later is None else later
        return self.network(view.points.flatten(0, 1) / UNIT_OVER_EDGE, iterations)

    def joints_of(self, stage: Float[Tensor, "frames joints 3"], view: View) -> tuple[Tensor, Tensor]:
        """Pixels of the crop and metres of the camera frame."""
        edges = stage.unflatten(0, view.cube_m.shape) * UNIT_OVER_EDGE
        joints_m = edges * view.cube_m[..., None, None] + view.centre_m[:, :, None]
        return project(joints_m, view.intrinsics, view.perspective), joints_m

    def losses(self, output: StillOutput, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """One term an iteration, see `losses`."""
        target = (absolute_joints(batch) - batch.centre_m[:, :, None]) / (batch.cube_m[..., None, None] * UNIT_OVER_EDGE)
        choices = {"decay": self.config.decay, "official_weights": self.config.official_weights}
        return handr2n2_losses(output.stages, target.flatten(0, 1), batch.joints_valid.flatten(0, 1), **choices)

    def parts(self) -> dict[str, nn.Module]:
        """What fine-tuning may freeze: "encoder", the layers on points; "head", all the rest."""
        network = self.network
        head = [network.bias_induced, network.first_regressor, network.unit, network.regressor]
        return {"encoder": nn.ModuleList([network.local_encoder, network.global_encoder, network.pooling]), "head": nn.ModuleList(head)}
