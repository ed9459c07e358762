"""What a stored clip was drawn from, made again from its config, its index and its finger rotations alone: the camera, the hand before it, and all that
stands in the picture as bare geometry, without skin, light or photo.

    config, seed, index ──> shape, view ─┐
    finger rotations ────────────────────┴──> hand placed before the camera ──> wrist or arm, thing in the way ──> Scene

Every random number is one that generating draws, from the same streams, so where the rotations are true all of it is. Does not know: the poses a hand was
asked to follow, and so neither the pose of a second hand; things from the user's folder; photos. Where such a thing is in the way, `whole` is false.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Float32

from seqgen.camera import Camera
from seqgen.hand.layer import HandLayer
from seqgen.hand.model import HandModel
from seqgen.pipeline.config import GenerateConfig
from seqgen.pipeline.motion import draw_betas, is_left
from seqgen.pipeline.shot import Shot, aim, aim_again
from seqgen.pipeline.streams import stream
from seqgen.render import load_renderer, load_sensors
from seqgen.render.depth_sensor import DepthSensor
from seqgen.render.renderer import Renderer
from seqgen.scene.arm.arm import ArmTemplate, arm_surface, arm_template, draw_arm
from seqgen.scene.arm.wrist import dome_surface
from seqgen.scene.scene import Background, Light, Scene, Surface, join_surfaces, plain_material
from seqgen.scene.surface import SurfaceTemplate, surface_template
from seqgen.scene.things.occluder import Occluder, draw_occluder, occluder_surface

Array = np.ndarray
MATERIAL = plain_material()  # geometry alone is looked at


@dataclass(frozen=True)
class Deriver:
    """What clips of one config are derived again with, made ready once. Pictures are drawn by our own renderer on the CPU, whatever drew the data set."""

    config: GenerateConfig
    model: HandModel
    layer: HandLayer
    hand: SurfaceTemplate
    arm: ArmTemplate | None  # of a hand with an open wrist
    renderer: Renderer
    depth_sensor: DepthSensor


@dataclass(frozen=True)
class Restaged:
    """`scene` and `shot` are of right hands; `left` says that the clip shows them in a mirror. `arm` and `occluder` as `meta.json` names them, None where that
    cannot be known; `whole`: all that is in the way is in `scene`."""

    shot: Shot
    scene: Scene
    left: bool
    arm: str
    occluder: tuple[str, str] | None  # kind, manner
    whole: bool


def open_deriver(config: GenerateConfig, model: HandModel) -> Deriver:
    """A deriver in this process; UserErrors as those of generating."""
    template = surface_template(model, np.zeros((len(model.faces), 3, 2), np.float32))
    arm = arm_template(model) if len(model.wrist_loop) else None
    return Deriver(config, model, HandLayer(model), template, arm, load_renderer("warp"), load_sensors()[1])


def restage(index: int, rotations: Float32[Array, "frames 15 3"], deriver: Deriver) -> Restaged:
    """Sequence `index` of the deriver's config, given how its fingers are bent."""
    config = deriver.config
    lead = config.lead_of(index)
    betas = draw_betas(config, config.split_of(index), stream(config.seed, lead, "shape"))
    shot = aim(lead, rotations, betas, deriver.layer, config)
    hand = deriver.hand.surface(shot.hand.vertices_m, MATERIAL, np.ones((len(deriver.model.template_m), 3), np.float32))
    arm, arm_kind = _arm(lead, hand, shot, deriver)
    things, occluder, whole = _in_the_way(lead, shot, config)
    surface = join_surfaces([hand, *arm, *things])
    if index != lead:
        shot, way = aim_again(index, lead, rotations, shot, deriver.layer, config)
        surface = _carried(surface, way)
    return Restaged(shot, _bare_scene(shot.camera, surface, len(hand.faces)), is_left(lead, config), arm_kind, occluder, whole)


def _arm(lead: int, hand: Surface, shot: Shot, deriver: Deriver) -> tuple[list[Surface], str]:
    """What closes the wrist, and its kind. A sleeve's cloth and the skin are drawn after all that has a shape."""
    if deriver.arm is None:
        return [], "none"
    config, view = deriver.config, shot.view
    timing = {"frames": config.clip.frames, "fps": config.clip.stored_fps}
    arm = draw_arm(config.arm, **timing, viewpoint=view.viewpoint, rng=stream(config.seed, lead, "arm"), forearm_in_hand=view.forearm_in_hand)
    if arm is None:
        return [dome_surface(hand, deriver.arm.loop, MATERIAL)], "none"
    surface = arm_surface(deriver.arm, arm, hand.vertices_m, hand.normals, shot.camera, MATERIAL, MATERIAL)
    return [surface], "sleeve" if arm.sleeve else "bare"


def _in_the_way(lead: int, shot: Shot, config: GenerateConfig) -> tuple[list[Surface], tuple[str, str] | None, bool]:
    """What can be drawn of a thing in the way, its kind and manner, and whether that is all there is."""
    rng = stream(config.seed, lead, "occluder")
    if config.occluder.folder is not None:
        present = bool(rng.random() < config.occluder.share)
        return [], None if present else ("none", "none"), not present
    occluder = draw_occluder(config.occluder, joints_m=shot.hand.joints_m.astype(float), camera=shot.camera, fps=config.clip.stored_fps, rng=rng)
    if occluder is None:
        return [], ("none", "none"), True
    return _solid(occluder), (occluder.kind, occluder.manner), occluder.kind != "hand"


def _solid(occluder: Occluder) -> list[Surface]:
    return [] if occluder.kind == "hand" else [occluder_surface(occluder)]


def _carried(surface: Surface, way: Float[Array, "4 4"]) -> Surface:
    """A surface in the frame of another camera, rounded as `stage.seen_from` rounds it."""
    turn, shift = way[:3, :3].astype(np.float32), way[:3, 3].astype(np.float32)
    return replace(surface, vertices_m=surface.vertices_m @ turn.T + shift, normals=surface.normals @ turn.T)


def _bare_scene(camera: Camera, surface: Surface, hand_faces: int) -> Scene:
    """The surface in the dark, before nothing."""
    frames = len(surface.vertices_m)
    light = Light(np.zeros((frames, 9, 3), np.float32), np.zeros((frames, 0, 3), np.float32), np.zeros((frames, 0, 3), np.float32))
    background = Background(np.zeros((2, 2, 3), np.uint8), np.tile(np.eye(2, 3, dtype=np.float32), (frames, 1, 1)))
    return Scene(camera, surface, light, background, samples=1, hand_faces=hand_faces)
