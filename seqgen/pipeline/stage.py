"""Everything before and behind the hand of a clip: skin, arm, things in the way, light, background. From posed hand to `Scene`."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from seqgen.camera import Camera
from seqgen.pipeline.assets import Assets
from seqgen.pipeline.config import GenerateConfig
from seqgen.pipeline.labels import HandMotion
from seqgen.pipeline.motion import Mover, draw_still, moved_hand, pose_hand
from seqgen.pipeline.streams import stream
from seqgen.scene.arm.arm import ArmTemplate, arm_surface, arm_template, draw_arm
from seqgen.scene.arm.wrist import dome_surface
from seqgen.scene.scene import Light, Scene, Surface, join_surfaces
from seqgen.scene.skin.kept_map import kept_skin_map
from seqgen.scene.skin.paint import paint_skin
from seqgen.scene.skin.record import Skin
from seqgen.scene.skin.skin_map import SkinMap
from seqgen.scene.skin.tone import ita_from_uniform
from seqgen.scene.surface import SurfaceTemplate, surface_template
from seqgen.scene.surroundings.background import draw_background
from seqgen.scene.surroundings.harmonics import rotate_harmonics
from seqgen.scene.surroundings.light import draw_light
from seqgen.scene.surroundings.photos import PhotoRef
from seqgen.scene.things.occluder import Occluder, draw_occluder, occluder_surface
from seqgen.scene.things.pattern import draw_pattern
from seqgen.scene.things.second_hand import carried_in_mirror, out_of_mirror
from seqgen.scene.view.view import View, Viewpoint
from seqgen.splits import SplitName

Array = np.ndarray


@dataclass(frozen=True)
class Props:
    """What stands on the stage, made ready in one process."""

    assets: Assets
    mover: Mover
    hand: SurfaceTemplate
    arm: ArmTemplate | None  # of a hand with an open wrist
    skin: SkinMap


@dataclass(frozen=True)
class Stage:
    """A scene and what the labels say of it."""

    scene: Scene
    ita_deg: float
    skin: str
    arm: str
    occluder: Occluder | None
    photo: PhotoRef


def open_props(assets: Assets, mover: Mover, config: GenerateConfig) -> Props:
    """Templates and maps, in this process."""
    where = kept_skin_map(assets.hand, config.skin.texture)
    return Props(assets, mover, surface_template(assets.hand, where.corner_uv), arm_template(assets.hand) if len(assets.hand.wrist_loop) else None, where)


def set_stage(lead: int, split: SplitName, hand: HandMotion, camera: Camera, view: View, props: Props, config: GenerateConfig) -> Stage:
    """The scene of sequence `lead` in the camera frame of its first camera."""
    timing = {"frames": config.clip.frames, "fps": config.clip.stored_fps}
    skin_rng = stream(config.seed, lead, "skin")
    ita_deg = ita_from_uniform(config.split.banded(skin_rng.random(), split))
    skin = paint_skin(props.skin, config.skin, ita_deg, skin_rng, props.assets.skins[split])
    surface = props.hand.surface(hand.vertices_m, skin.hand, skin.colours)
    background, photo = draw_background(props.assets.photos[split], config.background, size=config.clip.size, **timing, rng=stream(config.seed, lead, "background"))
    light = draw_light(config.light, background, **timing, rng=stream(config.seed, lead, "light"))
    arm, arm_kind = _arm(stream(config.seed, lead, "arm"), surface, camera, view.viewpoint, view.forearm_in_hand, skin, props, config)
    occluder, in_the_way = _occluder(lead, split, hand, skin, camera, props, config)
    shutter = float(stream(config.seed, lead, "shutter").uniform(*config.render.shutter))
    scene = Scene(camera, join_surfaces([surface, *arm, *in_the_way]), light, background, config.render.samples, shutter, len(surface.faces))
    return Stage(scene, float(skin.ita_deg), skin.name, arm_kind, occluder, photo)


def seen_from(stage: Stage, view_from_first: Float[Array, "4 4"], camera: Camera, index: int, split: SplitName, props: Props, config: GenerateConfig) -> Stage:
    """The stage in the frame of another camera, before the background that sequence `index` draws."""
    turn, shift = view_from_first[:3, :3].astype(np.float32), view_from_first[:3, 3].astype(np.float32)
    scene, timing = stage.scene, {"frames": config.clip.frames, "fps": config.clip.stored_fps}
    surface = replace(scene.surface, vertices_m=scene.surface.vertices_m @ turn.T + shift, normals=scene.surface.normals @ turn.T)
    light = Light(rotate_harmonics(scene.light.ambient, turn).astype(np.float32), scene.light.directions @ turn.T, scene.light.colours, scene.light.shadows)
    background, photo = draw_background(props.assets.photos[split], config.background, size=config.clip.size, **timing, rng=stream(config.seed, index, "background"))
    return replace(stage, scene=replace(scene, camera=camera, surface=surface, light=light, background=background), photo=photo)


def _arm(
    rng: np.random.Generator, hand: Surface, camera: Camera, viewpoint: Viewpoint, forearm_in_hand: Array | None, skin: Skin, props: Props, config: GenerateConfig
) -> tuple[list[Surface], str]:
    """What closes a wrist, and its kind. `forearm_in_hand` where it is known which way the forearm goes."""
    if props.arm is None:
        return [], "none"
    arm = draw_arm(config.arm, frames=config.clip.frames, fps=config.clip.stored_fps, viewpoint=viewpoint, rng=rng, forearm_in_hand=forearm_in_hand)
    if arm is None:
        return [dome_surface(hand, props.arm.loop, skin.arm)], "none"
    cloth = draw_pattern(rng, cloth=True) if arm.sleeve else skin.arm
    return [arm_surface(props.arm, arm, hand.vertices_m, hand.normals, camera, skin.arm, cloth)], "sleeve" if arm.sleeve else "bare"


def _occluder(lead: int, split: SplitName, hand: HandMotion, skin: Skin, camera: Camera, props: Props, config: GenerateConfig) -> tuple[Occluder | None, list[Surface]]:
    """What is in the way, if anything."""
    rng = stream(config.seed, lead, "occluder")
    occluder = draw_occluder(
        config.occluder, joints_m=hand.joints_m.astype(float), camera=camera, fps=config.clip.stored_fps, meshes=props.assets.meshes, rng=rng
    )
    if occluder is None:
        return None, []
    if occluder.kind != "hand":
        return occluder, [occluder_surface(occluder)]
    return occluder, [_second_hand(occluder, split, hand.betas, skin, camera, rng, props, config)]


def _second_hand(occluder: Occluder, split: SplitName, betas: Array, skin: Skin, camera: Camera, rng: np.random.Generator, props: Props, config: GenerateConfig) -> Surface:
    """The other hand of the same person, in a pose of its own, with an arm of its own."""
    posed = moved_hand(pose_hand(draw_still(split, 1, props.mover, rng), betas, np.eye(3)[None], props.mover.layer), np.zeros((1, 3)))
    carried = carried_in_mirror(occluder, props.hand.surface(posed.vertices_m, skin.hand, skin.colours))
    arm, _ = _arm(rng, carried, camera.mirrored(), "third_person", None, skin, props, config)
    return out_of_mirror(join_surfaces([carried, *arm]))
