"""One clip, from its index to its record: pure work. It knows no cluster and no clock, and of files only the photos among its assets, which are decoded when
they are first needed; the same index gives the same bytes.

    shape ──> flow ──> fit ──> view ──> place ──> stage ──> frames ──> sensors ──> labels ──> record (──> mirror)
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from seqgen.camera import Camera
from seqgen.dataset.meta import build_meta, sequence_key
from seqgen.dataset.mirror import mirrored
from seqgen.dataset.sequence import HandSequence, Labels, depth_counts
from seqgen.geometry import transform_points
from seqgen.hand.fit import encoder_of
from seqgen.hand.layer import HandLayer
from seqgen.hand.plausibility import hand_capsules
from seqgen.pipeline.assets import OWN, UNSTATED, Assets
from seqgen.pipeline.config import GenerateConfig
from seqgen.pipeline.labels import HandMotion, extra_pictures, frames_outside, hand_box, make_labels, renderer_extras
from seqgen.pipeline.motion import Mover, draw_betas, draw_motion, moved_hand, pose_hand
from seqgen.pipeline.stage import Props, Stage, open_props, seen_from, set_stage
from seqgen.pipeline.streams import stream
from seqgen.poses.bank import PoseBank
from seqgen.poses.flow import PoseFlow
from seqgen.poses.search import pose_search
from seqgen.render import load_renderer, load_sensors
from seqgen.render.renderer import Frames, Renderer
from seqgen.scene.sensor import draw_sensor
from seqgen.scene.skin.tone import tone_name
from seqgen.scene.view.placement import place_hand
from seqgen.scene.view.rig import draw_rig
from seqgen.scene.view.view import View, draw_view
from seqgen.turns import Turns

if TYPE_CHECKING:
    from seqgen.render.depth_sensor import DepthSensor
    from seqgen.render.sensor import Developer

Array = np.ndarray


@dataclass(frozen=True)
class Sources:
    """The assets made ready for work in one process. Threads that share them take turns: a renderer has one working memory (and pyrender's belongs to the
    thread that opened it); processes share the work, each with Sources of its own.
    """

    assets: Assets
    mover: Mover
    props: Props
    renderer: Renderer
    developer: "Developer"
    depth_sensor: "DepthSensor"
    turns: Turns = field(default_factory=Turns)


@dataclass(frozen=True)
class Shot:
    """A hand before a camera, in that camera's frame."""

    view: View
    camera: Camera
    hand: HandMotion


def open_sources(assets: Assets, config: GenerateConfig) -> Sources:
    """Layers, templates, the renderer and the sensors, in this process."""
    encoder = encoder_of({name: torch.tensor(array) for name, array in assets.encoder.items()})
    searches = {split: pose_search(source.bank.joints_m) for split, source in assets.poses.items()} if config.flow.kind == "paper" else {}
    mover = Mover(assets, HandLayer(assets.hand), encoder, hand_capsules(assets.hand), searches)
    return Sources(assets, mover, open_props(assets, mover, config), load_renderer(config.render.renderer, config.device), *load_sensors(config.device))


def generate_sequence(index: int, sources: Sources, config: GenerateConfig) -> HandSequence:
    """Sequence `index` of a config: a pure function of its arguments. Clips of one motion from several cameras have their first one, `lead`, in common."""
    with sources.turns.take():
        return _generate(index, sources, config)


def _generate(index: int, sources: Sources, config: GenerateConfig) -> HandSequence:
    lead, split = config.lead_of(index), config.split_of(index)
    betas = draw_betas(config, split, stream(config.seed, lead, "shape"))
    flow, rotations, redraws = draw_motion(lead, split, betas, sources.mover, config)

    shot = aim(lead, rotations, betas, sources.mover.layer, config)
    stage = set_stage(lead, split, shot.hand, shot.camera, shot.view, sources.props, config)
    if index != lead:
        shot, view_from_first = aim_again(index, lead, rotations, shot, sources.mover.layer, config)
        stage = seen_from(stage, view_from_first, shot.camera, index, split, sources.props, config)

    frames = sources.renderer.render(stage.scene, renderer_extras(config.labels))
    left = is_left(lead, config)
    sensor = draw_sensor(config.sensor, rng=stream(config.seed, index, "sensor"))
    bank, store_flow = sources.assets.poses[split].bank, sources.assets.store_flow
    depth = depth_counts(frames.depth_m)
    labels = make_labels(shot.hand, shot.camera, shot.view, flow, frames.parts, depth, bank, config.labels, store_flow=store_flow)
    sequence = HandSequence(
        key=sequence_key(index),
        split=split,
        rgb=sources.developer.develop(frames.radiance, sensor, seed=config.seed, sequence=index),
        depth_tenth_mm=depth,
        parts=frames.parts,
        labels=labels,
        meta=describe(index, lead, split, shot, labels, stage, _flow_meta(flow, redraws, bank, store_flow), sources.assets, config),
        **extra_pictures(config.labels, frames),
        **sensed_depth(frames, shot.camera, index, left, sources, config),
    )
    return mirrored(sequence) if left else sequence


def is_left(lead: int, config: GenerateConfig) -> bool:
    """Whether the clips of a motion show a left hand."""
    return bool(stream(config.seed, lead, "side").random() < config.hand.left)


def aim(lead: int, rotations: Array, betas: Array, layer: HandLayer, config: GenerateConfig) -> Shot:
    """The hand turned and placed before the first camera."""
    fps, rng = config.clip.stored_fps, stream(config.seed, lead, "camera")
    view = draw_view(config.camera, frames=config.clip.frames, fps=fps, rng=rng)
    hand = pose_hand(rotations, betas, view.camera_from_hand, layer)
    outline_m = (hand.vertices_m - hand.joints_m[:, :1]).astype(float)
    placement = place_hand(config.camera, view, outline_m, size=config.clip.size, fps=fps, rng=rng)
    return Shot(view, placement.camera, moved_hand(hand, placement.wrist_m))


def aim_again(index: int, lead: int, rotations: Array, first: Shot, layer: HandLayer, config: GenerateConfig) -> tuple[Shot, Array]:
    """The same hand before another camera of the rig, and the way from the first camera's frame to this one's."""
    rig = draw_rig(config.camera, index - lead, first.view, first.hand.vertices_m.astype(float), size=config.clip.size, rng=stream(config.seed, lead, "rig"))
    turn = rig.view_from_first[:3, :3]
    view = View("third_person", turn @ first.view.camera_from_hand, rig.view_from_first @ first.view.camera_from_world)
    wrist_m = transform_points(rig.view_from_first, first.hand.joints_m[:, 0].astype(float))
    hand = moved_hand(pose_hand(rotations, first.hand.betas, view.camera_from_hand, layer), wrist_m)
    return Shot(view, rig.camera, hand), rig.view_from_first


def sensed_depth(frames: Frames, camera: Camera, index: int, left: bool, sources: Sources, config: GenerateConfig) -> dict[str, Array]:
    """What a depth camera would see, where one is asked for. A clip that will be mirrored is measured in the mirror: the sensor itself has no mirror image."""
    if config.sensor.depth == "none":
        return {}
    before, after = (camera.mirrored(), slice(None, None, -1)) if left else (camera, slice(None))
    readings = sources.depth_sensor.measure(frames.depth_m[:, :, after], before, config.sensor.depth, seed=config.seed, sequence=index)
    return {"depth_sensor_tenth_mm": readings[:, :, after]}


def describe(index: int, lead: int, split: str, shot: Shot, labels: Labels, stage: Stage, flow: dict[str, Any], assets: Assets, config: GenerateConfig) -> dict[str, Any]:
    """The clip in scalars."""
    clip, scene, occluder = config.clip, stage.scene, stage.occluder
    outside = frames_outside(hand_box(shot.hand.vertices_m, shot.camera) if labels.box_px is None else labels.box_px, clip.size)
    camera = {"kind": shot.camera.kind, "model": config.camera.model, "viewpoint": shot.view.viewpoint, "view": index - lead, "frames_outside": outside}
    return build_meta(
        index=index,
        split=split,
        seed=config.seed,
        frames=clip.frames,
        fps=clip.stored_fps,
        size=list(clip.size),
        flow=flow,
        camera=camera,
        hand={"kind": config.hand.kind, "side": "right"},
        skin={"name": stage.skin, "tone": tone_name(stage.ita_deg), "ita_deg": stage.ita_deg},
        arm={"kind": stage.arm},
        light={"kind": config.light.kind, "num_lights": scene.light.directions.shape[1], "shadows": bool(scene.light.shadows)},
        background={"name": stage.photo.name, "source": stage.photo.source},
        occluder={"kind": occluder.kind if occluder else "none", "manner": occluder.manner if occluder else "none"},
        sensor={"kind": config.sensor.kind, "depth": config.sensor.depth},
        licences={
            "poses": assets.poses[split].bank.licence,
            "hand": assets.hand.licence,
            "background": stage.photo.licence,
            "skin": UNSTATED if assets.skins[split] else OWN,
            "occluder": "none" if occluder is None else UNSTATED if occluder.kind in {mesh.name for mesh in assets.meshes} else OWN,
        },
        group=lead if config.camera.views > 1 else None,
    )


def _flow_meta(flow: PoseFlow, redraws: int, bank: PoseBank, store_flow: bool) -> dict[str, str | int | float | None]:
    rows = (int(bank.source_row[flow.start]), int(bank.source_row[flow.end])) if store_flow else (None, None)
    return {"kind": flow.kind, "start_row": rows[0], "end_row": rows[1], "mm_per_frame": flow.step_m() * 1e3, "fps": float(flow.fps), "redraws": redraws}
