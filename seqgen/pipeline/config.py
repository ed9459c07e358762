"""The whole config of `seqgen generate`: every room's section, put together. What it is made from is stored with every data set."""

from typing import Any, Literal

from pydantic import Field, model_validator

from seqgen.config import Section, interval
from seqgen.pipeline.labels import LabelsConfig
from seqgen.poses.bank import PosesConfig
from seqgen.poses.flow import FlowConfig
from seqgen.poses.paper import update_share
from seqgen.scene.arm.arm import ArmConfig
from seqgen.scene.sensor import SensorConfig
from seqgen.scene.skin.record import SkinConfig
from seqgen.scene.surroundings.background import BackgroundConfig
from seqgen.scene.surroundings.light import LightConfig
from seqgen.scene.things.occluder import OccluderConfig
from seqgen.scene.view.view import CameraConfig
from seqgen.splits import SplitConfig, SplitName

RUN_ONLY = {"workers": True, "output": {"preview"}}  # change how a data set is made, not what is in it


class ClipConfig(Section):
    frames: int = Field(10, ge=1, le=10_000)
    """frames a clip"""
    size: tuple[int, int] = (224, 224)
    """width and height of the pictures, px"""
    fps: float = Field(30.0, gt=0, le=1000)
    """frames a second of the motion"""
    stride: int = Field(1, ge=1, le=1000)
    """frames of the motion from one stored frame to the next"""

    @property
    def stored_fps(self) -> float:
        """Stored frames a second."""
        return self.fps / self.stride

    @model_validator(mode="after")
    def _size_is_sane(self) -> "ClipConfig":
        if not all(16 <= side <= 4096 for side in self.size):
            raise ValueError(f"size {list(self.size)} must be [width, height] with 16 to 4096 px each")
        return self


class HandConfig(Section):
    kind: Literal["open", "mano"] = "open"
    """open: the free hand that comes with seqgen; mano: your own MANO files"""
    mano_dir: str | None = None
    """folder with MANO_RIGHT.pkl or .npz and, for textures of your own, MANO_UV_right.obj; none: mano_assets"""
    betas: Literal["normal", "uniform"] = "normal"
    """shapes drawn from N(0, 1), or from U(-2, 2) as in the SeqHAND paper"""
    encoder: str | None = None
    """encoder file made by `seqgen fit`; none: the one that comes with seqgen, or for another hand or bank one that is trained once and kept"""
    refine: bool = True
    """follow the motion closely: joint angles within limits refined after the encoder; false: the encoder alone, as in the SeqHAND paper"""
    pose_components: int = Field(45, ge=1, le=45)
    """principal components of the finger pose the hand is drawn with; 45 is the pose itself, the paper has 10"""
    left: float = Field(0.0, ge=0, le=1)
    """share of clips that show a left hand: the mirrored world, with the parameters of the mirrored right hand"""


class RenderConfig(Section):
    renderer: Literal["warp", "pyrender"] = "warp"
    """warp: our kernels, CPU and CUDA; pyrender: OpenGL, the independent check"""
    samples: int = Field(2, ge=1, le=3)
    """colour samples along each side of a pixel"""
    shutter: interval(0.0, 1.0) = (0.0, 0.0)
    """how long the shutter is open, as a share of the time between frames, least and most: motion blur, of four
    moments with 2 samples a side and of nine with 3, which fast motion needs if they are not to be seen one by one"""

    @model_validator(mode="after")
    def _blur_needs_samples(self) -> "RenderConfig":
        if self.shutter[1] > 0 and self.samples == 1:
            raise ValueError("shutter: motion blur needs samples = 2 or 3: each sample of a pixel is taken at its own moment")
        return self


class OutputConfig(Section):
    sequences_per_shard: int = Field(100, ge=1, le=100_000)
    """clips in one tar file"""
    jpeg_quality: int = Field(95, ge=1, le=100)
    """quality of the RGB frames; from 96 on with all colour (4:4:4), below with colour at half the width (4:2:2), which is read in two thirds of the time"""
    preview: int = Field(6, ge=0, le=100)
    """clips in the preview picture that a finished run leaves in its folder"""


class GenerateConfig(Section):
    seed: int = Field(0, ge=0, lt=2**63)
    """with the config and a sequence's index, all that its content depends on"""
    sequences: int = Field(100, ge=1, le=10**8)
    """how many clips"""
    workers: int | None = Field(None, ge=0, le=100_000)
    """Ray workers of one core each; 0: in this process, without Ray; none: one for each core"""
    device: Literal["cpu", "cuda"] = "cpu"
    """where pictures are drawn"""
    clip: ClipConfig = ClipConfig()
    split: SplitConfig = SplitConfig()
    poses: PosesConfig = PosesConfig()
    flow: FlowConfig = FlowConfig()
    hand: HandConfig = HandConfig()
    camera: CameraConfig = CameraConfig()
    skin: SkinConfig = SkinConfig()
    arm: ArmConfig = ArmConfig()
    light: LightConfig = LightConfig()
    background: BackgroundConfig = BackgroundConfig()
    occluder: OccluderConfig = OccluderConfig()
    sensor: SensorConfig = SensorConfig()
    render: RenderConfig = RenderConfig()
    labels: LabelsConfig = LabelsConfig()
    output: OutputConfig = OutputConfig()

    @model_validator(mode="after")
    def _paper_flow_can_go(self) -> "GenerateConfig":
        if self.flow.kind != "walk":
            update_share(self.flow.alpha, self.flow.steps or self.clip.frames, where="flow")
        return self

    @model_validator(mode="after")
    def _no_contradictions(self) -> "GenerateConfig":
        if self.render.renderer == "pyrender" and self.device == "cuda":
            raise ValueError("render.renderer = pyrender draws on the CPU; device = cuda goes with warp")
        over = self.sequences % self.camera.views
        if over:
            less, more = self.sequences - over, self.sequences - over + self.camera.views
            raise ValueError(f"sequences = {self.sequences} leave a motion without all its camera.views = {self.camera.views}; take {f'{less} or ' if less else ''}{more}")
        if self.sensor.depth != "none" and self.camera.kind == "weak_perspective":
            raise ValueError(f"sensor.depth = {self.sensor.depth} measures along the rays of a pinhole; camera.kind = weak_perspective has none")
        if self.poses.bank == "built-in" and self.poses.side == "left":
            raise ValueError("poses.side = left goes with a file of left hands; the built-in bank holds right ones")
        return self

    def lead_of(self, index: int) -> int:
        """The first of the sequences that show the motion of sequence `index`: itself but for the other cameras of a rig."""
        return index - index % self.camera.views

    def split_of(self, index: int) -> SplitName:
        """The split of sequence `index`; all that show one motion are in one."""
        return self.split.of(index // self.camera.views)

    def content(self) -> dict[str, Any]:
        """The part of the config that decides what the data set holds, as plain JSON values."""
        return self.model_dump(mode="json", exclude=RUN_ONLY)
