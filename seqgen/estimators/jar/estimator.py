"""Joint-Aware Regression as an estimator (Zheng et al., BMVC 2021), and the 2.5D baseline of its Table 2: pictures to places in the crop and depths behind the root.

    u, v, z of the network -> pixels, depth behind the root -> metres, once it is known how far away the root is:

    input.root = given     the protocols' way (RHD, STB, FreiHAND): the batch tells it
    unknown, or not given  as far away as makes the hand as large as the mean of the training data, see `root_depth`
"""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from seqgen.config import Section
from seqgen.estimators.estimator import Prediction
from seqgen.estimators.jar.decoders import DEPTH_UNIT_M, px_from_uv, uv_from_px
from seqgen.estimators.jar.detection25d import Detection25d
from seqgen.estimators.jar.losses import jar_losses
from seqgen.estimators.jar.network import ABLATIONS, DepthSplat, JarNetwork
from seqgen.estimators.jar.root_depth import flat_places, known_camera, root_depth, squared_length
from seqgen.estimators.resnet import ResNetName
from seqgen.estimators.still_estimator import StillEstimator, StillOutput
from seqgen.estimators.views.batch import Batch
from seqgen.estimators.views.crop import InputConfig
from seqgen.estimators.views.projection import unproject
from seqgen.estimators.views.sample import normalised
from seqgen.estimators.views.view import View
from seqgen.joint_targets import TARGETS, JointSetName

TYPICAL_SQUARED_LENGTH_M2 = 0.047  # of the 20 bones of an adult's hand, until training data say better


class JarInput(InputConfig):
    size: int = Field(256, ge=32, le=1024, multiple_of=32)
    """side of the network's input, pixels"""
    crop: Literal["picture", "box"] = "box"
    """picture: the largest square in the middle of the picture; box: a square about the hand's box in each frame"""
    margin: float = Field(1.5, ge=1.0, le=10.0)
    """with crop = box: the square's side over the box's longer edge"""
    root: Literal["unknown", "given"] = "given"
    """whether the network is told where the root of the hand is, as protocols of root-relative depth have it (RHD, STB, FreiHAND)"""


class JarConfig(Section):
    name: Literal["jar"] = "jar"
    """the network"""
    joints: JointSetName = "canonical"
    """the joints it says: 21, 21 in MSRA's order, 14 as NYU's, 16 as ICVL's"""
    backbone: ResNetName = "resnet50"
    """the encoder: resnet18, resnet34, resnet50, resnet101 or resnet152"""
    width: float = Field(1.0, gt=0, le=4)
    """factor of the encoder's channels, a multiple of 1/8; 1 is the standard one, for which there are published weights"""
    size: int = Field(256, ge=32, le=1024, multiple_of=32)
    """side of the crops it is made for, as input.size"""
    kind: Literal["jar", "detection25d"] = "jar"
    """jar, or the rival that finds heat maps and depth maps"""
    ablation: int = Field(7, ge=1, le=11)
    """row of the paper's Table 1: 7 is a single stage of the whole method, 10 two stages, 11 three"""
    stages: int | None = Field(None, ge=1, le=8)
    """how many stages, each refining the last; none: what the row of Table 1 has"""
    hidden: int | None = Field(None, ge=8, le=8192)
    """width of the decoder's layers; none: the paper's"""
    sigma: float = Field(1.5, gt=0)
    """how far a heat map of a later stage reaches, cells"""
    depth_splat: DepthSplat = "pixel"
    """where a depth map of a later stage says the depth: pixel, bilinear (shared by four) or heat (times the heat map)"""
    detach_joints: bool = False
    """keep later stages from teaching earlier ones through their joints"""

    @model_validator(mode="after")
    def _stages_refine(self) -> "JarConfig":
        if (self.stages or 1) > 1 and self.ablation < 7:
            raise ValueError(f"model: ablation = {self.ablation} has one stage, got stages = {self.stages}; later ones refine ablation = 7 or more")
        return self


class Jar(StillEstimator):
    """The estimator. Says nothing of the place in space: it was told, or guessed from the size of hands."""

    name: ClassVar[str] = "jar"
    squared_length_m2: Tensor

    def __init__(self, config: JarConfig, hand_layer: None = None) -> None:
        """Weights are drawn from torch's global generator."""
        super().__init__()
        self.config = config
        targets = TARGETS[config.joints]
        self.root, self.bones = targets.root, targets.bones
        if config.kind == "detection25d":
            self.network: nn.Module = Detection25d(num_joints=targets.num_joints, backbone=config.backbone, width=config.width)
        else:
            changes = {"hidden": config.hidden, "stages": config.stages}
            row = {**ABLATIONS[config.ablation], **{name: value for name, value in changes.items() if value is not None}}
            maps = {"sigma": config.sigma, "depth_splat": config.depth_splat, "detach_joints": config.detach_joints}
            self.network = JarNetwork(num_joints=targets.num_joints, backbone=config.backbone, width=config.width, size=config.size, **row, **maps)
        self.register_buffer("squared_length_m2", torch.tensor(TYPICAL_SQUARED_LENGTH_M2))

    def stages_of(self, view: View) -> Sequence[Float[Tensor, "frames joints 3"]]:
        """u, v, z of every stage."""
        return self.network(normalised(view.rgb).flatten(0, 1))

    def joints_of(self, stage: Float[Tensor, "frames joints 3"], view: View) -> tuple[Tensor, Tensor]:
        """Pixels of the crop, and metres: in space where the camera is known, else about the root."""
        said = stage.float().unflatten(0, view.cube_m.shape)
        joints_px, behind_m = px_from_uv(said[..., :2], view.rgb.shape[-1]), said[..., 2] * DEPTH_UNIT_M
        flat = flat_places(joints_px, behind_m, self.root, self.bones, self.squared_length_m2)
        known = known_camera(view.intrinsics)
        camera = torch.where(known[..., None, None], view.intrinsics, torch.eye(3, device=view.device))
        given = view.centre_m.any(-1)
        root_m = torch.where(given, view.centre_m[..., 2], root_depth(joints_px, behind_m, camera, self.bones, self.squared_length_m2))
        in_space = unproject(joints_px, root_m[..., None] + behind_m, camera, view.perspective)
        return joints_px, torch.where(known[..., None, None], in_space, flat)

    def prediction(self, output: StillOutput) -> Prediction:
        """What the last stage says, root-relative."""
        joints_px, joints_m = self.joints_of(output.stages[-1], output.view)
        return Prediction(joints_m=joints_m - joints_m[:, :, self.root, None], joints_px=joints_px)

    def losses(self, output: StillOutput, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Places and depths, see `losses`. Depths count in frames whose root has a label."""
        target = torch.cat([uv_from_px(batch.joints_px, batch.rgb.shape[-1]), batch.joints_m[..., 2:] / DEPTH_UNIT_M], -1)
        valid = batch.joints_valid
        with_depth = valid & valid[:, :, self.root, None]
        return jar_losses(output.stages, target.flatten(0, 1), valid.flatten(0, 1), with_depth.flatten(0, 1))

    def parts(self) -> dict[str, nn.Module]:
        """What fine-tuning may freeze: "encoder", the ResNet; "head", all the rest."""
        return {"encoder": self.network.backbone, "head": nn.ModuleList(module for name, module in self.network.named_children() if name != "backbone")}

    def start_from(self, batch: Batch) -> None:
        """How large hands are: the mean over the batch's frames that have all joints."""
        whole = batch.joints_valid.all(-1)
        if whole.any():
            self.squared_length_m2.copy_(squared_length(batch.joints_m, self.bones)[whole].mean())

    def load_backbone(self, path: Path) -> None:
        """Starts the ResNet from published or trained weights; UserError if they are another network's."""
        self.network.load_backbone(path)
