"""Everything before and behind the hand of a clip: skin, arm, things in the way, light, background. From posed hand to `Scene`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from seqgen.camera import Camera
from seqgen.pipeline.assets import Assets
from seqgen.pipeline.config import GenerateConfig
from seqgen.pipeline.motion import Mover, draw_still, moved_hand, pose_hand
from seqgen.pipeline.shot import Posed
from seqgen.pipeline.streams import stream
from seqgen.scene.arm.arm import ArmTemplate, arm_surface, arm_template, draw_arm
from seqgen.scene.arm.wrist import dome_surface
from seqgen.scene.scene import Background, Light, Scene, Surface, join_surfaces
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
from seqgen.scene.view.view import Viewpoint
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


def set_stages(clips: Sequence[Posed], props: Props, config: GenerateConfig) -> list[Stage]:
    """The scenes of several motions, in the camera frames of their first cameras.

    One part for all clips after the other: what a part works with then stays in the processor's caches.
    """
    skins = [_skin(clip, props, config) for clip in clips]
    hands = [props.hand.surface(clip.first.hand.vertices_m, skin.hand, skin.colours) for clip, skin in zip(clips, skins, strict=True)]
    backgrounds = [_background(clip.lead, clip.split, props, config) for clip in clips]
    lights = [_light(clip, background, config) for clip, (background, _) in zip(clips, backgrounds, strict=True)]
    arms = [_own_arm(clip, hand, skin, props, config) for clip, hand, skin in zip(clips, hands, skins, strict=True)]
    things = [_occluder(clip, skin, props, config) for clip, skin in zip(clips, skins, strict=True)]
    return [_stage(*parts, config) for parts in zip(clips, skins, hands, backgrounds, lights, arms, things, strict=True)]


def _stage(
    clip: Posed,
    skin: Skin,
    hand: Surface,
    behind: tuple[Background, PhotoRef],
    light: Light,
    arm: tuple[list[Surface], str],
    thing: tuple[Occluder | None, list[Surface]],
    config: GenerateConfig,
) -> Stage:
    (background, photo), (arms, arm_kind), (occluder, in_the_way) = behind, arm, thing
    shutter = float(stream(config.seed, clip.lead, "shutter").uniform(*config.render.shutter))
    scene = Scene(clip.first.camera, join_surfaces([hand, *arms, *in_the_way]), light, background, config.render.samples, shutter, len(hand.faces))
    return Stage(scene, float(skin.ita_deg), skin.name, arm_kind, occluder, photo)


def seen_from(stage: Stage, view_from_first: Float[Array, "4 4"], camera: Camera, index: int, split: SplitName, props: Props, config: GenerateConfig) -> Stage:
    """The stage in the frame of another camera, before the background that sequence `index` draws."""
    turn, shift = view_from_first[:3, :3].astype(np.float32), view_from_first[:3, 3].astype(np.float32)
    scene = stage.scene
    surface = replace(scene.surface, vertices_m=scene.surface.vertices_m @ turn.T + shift, normals=scene.surface.normals @ turn.T)
    light = Light(rotate_harmonics(scene.light.ambient, turn).astype(np.float32), scene.light.directions @ turn.T, scene.light.colours, scene.light.shadows)
    background, photo = _background(index, split, props, config)
    return replace(stage, scene=replace(scene, camera=camera, surface=surface, light=light, background=background), photo=photo)


def _skin(clip: Posed, props: Props, config: GenerateConfig) -> Skin:
    rng = stream(config.seed, clip.lead, "skin")
    ita_deg = ita_from_uniform(config.split.banded(rng.random(), clip.split))
    return paint_skin(props.skin, config.skin, ita_deg, rng, props.assets.skins[clip.split])


def _background(index: int, split: SplitName, props: Props, config: GenerateConfig) -> tuple[Background, PhotoRef]:
    clip, rng = config.clip, stream(config.seed, index, "background")
    return draw_background(props.assets.photos[split], config.background, size=clip.size, frames=clip.frames, fps=clip.stored_fps, rng=rng)


def _light(clip: Posed, background: Background, config: GenerateConfig) -> Light:
    return draw_light(config.light, background, frames=config.clip.frames, fps=config.clip.stored_fps, rng=stream(config.seed, clip.lead, "light"))


def _own_arm(clip: Posed, hand: Surface, skin: Skin, props: Props, config: GenerateConfig) -> tuple[list[Surface], str]:
    view = clip.first.view
    return _arm(stream(config.seed, clip.lead, "arm"), hand, clip.first.camera, view.viewpoint, view.forearm_in_hand, skin, props, config)


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


def _occluder(clip: Posed, skin: Skin, props: Props, config: GenerateConfig) -> tuple[Occluder | None, list[Surface]]:
    """What is in the way, if anything."""
    rng, hand, camera = stream(config.seed, clip.lead, "occluder"), clip.first.hand, clip.first.camera
    occluder = draw_occluder(
        config.occluder, joints_m=hand.joints_m.astype(float), camera=camera, fps=config.clip.stored_fps, meshes=props.assets.meshes, rng=rng
    )
    if occluder is None:
        return None, []
    if occluder.kind != "hand":
        return occluder, [occluder_surface(occluder)]
    return occluder, [_second_hand(occluder, clip.split, hand.betas, skin, camera, rng, props, config)]


def _second_hand(occluder: Occluder, split: SplitName, betas: Array, skin: Skin, camera: Camera, rng: np.random.Generator, props: Props, config: GenerateConfig) -> Surface:
    """The other hand of the same person, in a pose of its own, with an arm of its own."""
    posed = moved_hand(pose_hand(draw_still(split, 1, props.mover, rng), betas, np.eye(3)[None], props.mover.layer), np.zeros((1, 3)))
    carried = carried_in_mirror(occluder, props.hand.surface(posed.vertices_m, skin.hand, skin.colours))
    arm, _ = _arm(rng, carried, camera.mirrored(), "third_person", None, skin, props, config)
    return out_of_mirror(join_surfaces([carried, *arm]))
