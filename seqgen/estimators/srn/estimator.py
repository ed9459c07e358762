"""SRN as an estimator (Ren et al., BMVC 2019): depth crops of a cube to joints, stage after stage; see `network`.

The crop's pixel p is u = p / (S / 2) - 1, as in the published code, and so are the pixels that the maps between stages are made of ("pixels"); the published
maps count them by another scale ("corners"), up to 7.8 mm off in a cube of 250 mm.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from seqgen.config import Section
from seqgen.estimators.resnet import ResNetName, read_weights
from seqgen.estimators.srn.losses import CoordinateLoss, srn_losses
from seqgen.estimators.srn.network import SrnNetwork
from seqgen.estimators.srn.reparameterisation import Grid, Interface
from seqgen.estimators.still_estimator import StillEstimator, StillOutput, absolute_joints
from seqgen.estimators.views.batch import Batch
from seqgen.estimators.views.cube import CubeConfig
from seqgen.estimators.views.projection import PixelScale, joints_from_uvd, project, uvd_from_joints
from seqgen.estimators.views.view import View
from seqgen.joint_targets import TARGETS, JointSetName

Coordinates = Literal["uvd", "cube"]


class SrnInput(CubeConfig):
    kind: Literal["depth"] = "depth"
    """what the network is shown: a depth picture"""


class SrnConfig(Section):
    name: Literal["srn"] = "srn"
    """the network"""
    joints: JointSetName = "canonical"
    """the joints it says: 21, 21 in MSRA's order, 14 as NYU's, 16 as ICVL's"""
    stages: int = Field(2, ge=1, le=8)
    """how often joints are regressed, each time seeing the last result"""
    backbone: ResNetName = "resnet18"
    """the ResNet whose first part is shared and whose rest is every stage's own"""
    width: float = Field(1.0, gt=0, le=4)
    """factor of all channels, a multiple of 1/8"""
    interface: Interface = "fields"
    """what a stage is told of the last one's joints: fields (unit vectors and 3D heat maps, the paper's choice), heatmap3d, heatmap2d, heatmap2d_depth, deconvolution"""
    kernel_size: float = Field(0.4, gt=0)
    """how far from a joint its maps reach, in half cubes"""
    grid: Grid = "pixels"
    """where the maps' pixels lie: pixels (where they do), or corners (as the published code counts)"""
    accumulate: bool = True
    """a stage sees the maps of all before it, else of the last alone"""
    loss: CoordinateLoss = "smooth_l1"
    """smooth_l1 (knee at 0.01 half cubes) or l2"""
    coordinates: Coordinates = "uvd"
    """what a joint's three numbers are: uvd (place in the crop, and depth), or cube (x, y, z from the cube's centre, half cubes), what Table 1 starts from; a single stage"""

    @model_validator(mode="after")
    def _maps_are_of_the_crop(self) -> "SrnConfig":
        if self.coordinates == "cube" and self.stages > 1:
            raise ValueError(f"model: coordinates = cube goes with stages = 1, got {self.stages}: maps between stages are drawn at u, v, d")
        return self


class Srn(StillEstimator):
    """The estimator."""

    name: ClassVar[str] = "srn"

    def __init__(self, config: SrnConfig, hand_layer: None = None) -> None:
        """Weights are drawn from torch's global generator."""
        super().__init__()
        self.config = config
        targets = TARGETS[config.joints]
        self.root = targets.root
        maps = {"interface": config.interface, "kernel_size": config.kernel_size, "grid": config.grid, "accumulate": config.accumulate}
        self.network = SrnNetwork(targets.num_joints, stages=config.stages, backbone=config.backbone, width=config.width, **maps)

    def stages_of(self, view: View) -> Sequence[Float[Tensor, "frames joints 3"]]:
        """UVD of every stage."""
        return self.network(view.depth.flatten(0, 1)[:, None])

    def joints_of(self, stage: Float[Tensor, "frames joints 3"], view: View) -> tuple[Tensor, Tensor]:
        """Pixels of the crop and metres of the camera frame."""
        said = stage.unflatten(0, view.cube_m.shape)
        if self.config.coordinates == "uvd":
            return joints_from_uvd(said, view, _scale(view))
        joints_m = said * (view.cube_m[..., None, None] / 2) + view.centre_m[:, :, None]
        return project(joints_m, view.intrinsics, view.perspective), joints_m

    def losses(self, output: StillOutput, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """One term a stage, see `losses`."""
        return srn_losses(output.stages, self._target(batch).flatten(0, 1), batch.joints_valid.flatten(0, 1), loss=self.config.loss)

    def _target(self, batch: Batch) -> Float[Tensor, "batch frames joints 3"]:
        """The labels as the network says joints."""
        joints_m = absolute_joints(batch)
        if self.config.coordinates == "uvd":
            return uvd_from_joints(batch.joints_px, joints_m[..., 2], batch, _scale(batch))
        return (joints_m - batch.centre_m[:, :, None]) / (batch.cube_m[..., None, None] / 2)

    def parts(self) -> dict[str, nn.Module]:
        """What fine-tuning may freeze: "encoder", what the stages share; "head", the stages and the maps between them."""
        return {"encoder": self.network.features, "head": nn.ModuleList([self.network.regressions, self.network.maps])}

    def load_backbone(self, path: Path) -> None:
        """Starts every stage from a ResNet's published weights: the stem's summed over the three colours, none for the maps of earlier stages."""
        self.network.load_torchvision_weights(read_weights(path), where=str(path))


def _scale(view: View) -> PixelScale:
    half = view.depth.shape[-1] / 2
    return PixelScale(origin=half, unit=half)
