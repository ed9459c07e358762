"""One clip, from its index to its record: pure work. It knows no cluster, no file and no clock; the same index gives the same bytes.

    flow ──> fit ──> shape ──> view ──> place ──> scene ──> frames ──> record
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, UInt8, UInt16
from scipy.special import ndtri

from seqgen.camera import Camera, fit_weak_perspective
from seqgen.dataset.meta import build_meta, sequence_key
from seqgen.dataset.sequence import DEPTH_UNIT_M, HandSequence, Labels
from seqgen.geometry import axis_angle_from_matrix
from seqgen.hand.fit import PoseEncoder, model_from_hand
from seqgen.hand.layer import HandLayer
from seqgen.pipeline.assets import Assets
from seqgen.pipeline.config import GenerateConfig, HandConfig
from seqgen.poses.bank import PoseBank
from seqgen.poses.flow import PoseFlow, draw_flow
from seqgen.poses.paper import draw_paper_flow
from seqgen.poses.search import PoseSearch, pose_search
from seqgen.render import load_renderer
from seqgen.render.renderer import Renderer
from seqgen.scene.background import draw_background
from seqgen.scene.light import draw_light
from seqgen.scene.scene import Scene
from seqgen.scene.skin import SkinMap, ita_from_uniform, paint_skin, skin_map, tone_name
from seqgen.scene.surface import SurfaceTemplate, surface_template
from seqgen.scene.view import View, draw_view, place_hand
from seqgen.skeleton import joint_parts
from seqgen.splits import SplitName

Array = np.ndarray
# The order is part of every data set: new concerns go to the end.
CONCERNS = ("flow", "shape", "camera", "light", "skin", "background", "arm", "occluder", "sensor")
FLESH_M = (-0.003, 0.035)  # a joint lies at most this far in front of and behind the surface it is seen through


@dataclass(frozen=True)
class Sources:
    """The assets made ready for work in one process."""

    assets: Assets
    layer: HandLayer
    encoder: PoseEncoder
    template: SurfaceTemplate
    skin: SkinMap
    renderer: Renderer
    searches: dict[SplitName, PoseSearch]  # of each split's bank, where the flow looks for nearest poses


@dataclass(frozen=True)
class HandMotion:
    """The hand's parameters over a clip, as they are stored, with the joints and vertices they give (camera frame)."""

    pose: Float32[Array, "frames 16 3"]
    betas: Float32[Array, "10"]
    translation_m: Float32[Array, "frames 3"]
    joints_m: Float32[Array, "frames 21 3"]
    vertices_m: Float32[Array, "frames vertices 3"]


def open_sources(assets: Assets, config: GenerateConfig) -> Sources:
    """Layers, templates and the renderer, in this process."""
    layer, encoder = HandLayer(assets.hand), PoseEncoder()
    encoder.load_state_dict({name: torch.tensor(array) for name, array in assets.encoder.items()})
    template = surface_template(assets.hand)
    rest = layer.joints(torch.zeros(1, 16, 3), torch.zeros(1, 10))[0].numpy()
    normals = template.surface(assets.hand.template_m[None], assets.hand.template_m).normals[0, : len(assets.hand.template_m)]
    renderer = load_renderer(config.render.renderer, device=config.device)
    searches = {split: pose_search(source.bank.joints_m) for split, source in assets.poses.items()} if config.flow.kind == "paper" else {}
    return Sources(assets, layer, encoder.eval().requires_grad_(False), template, skin_map(assets.hand, rest, normals), renderer, searches)


def stream(seed: int, index: int, concern: str) -> np.random.Generator:
    """The random numbers of one concern of one sequence: switching a concern off leaves the others alone."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(index, CONCERNS.index(concern))))


def generate_sequence(index: int, sources: Sources, config: GenerateConfig) -> HandSequence:
    """Sequence `index` of a config: a pure function of its arguments."""
    split, clip = config.split.of(index), config.clip
    poses = sources.assets.poses[split]
    timing = {"frames": clip.frames, "fps": clip.fps / clip.stride}

    flow = draw_motion(split, sources, config, stream(config.seed, index, "flow"))
    rotations = follow(flow, sources, config.hand)
    betas = draw_betas(config, split, stream(config.seed, index, "shape"))

    rng = stream(config.seed, index, "camera")
    view = draw_view(config.camera, **timing, rng=rng)
    turned = pose_hand(rotations, betas, view, np.zeros((clip.frames, 3)), sources)
    placement = place_hand(config.camera, view, turned.vertices_m.astype(float), size=clip.size, fps=timing["fps"], rng=rng)
    hand = pose_hand(rotations, betas, view, placement.wrist_m, sources)

    light = draw_light(config.light, **timing, rng=stream(config.seed, index, "light"))
    skin_rng = stream(config.seed, index, "skin")
    ita_deg = ita_from_uniform(config.split.banded(skin_rng.random(), split))
    surface = sources.template.surface(hand.vertices_m, paint_skin(sources.skin, config.skin, ita_deg, skin_rng))
    background, photo = draw_background(sources.assets.photos[split], config.background, size=clip.size, **timing, rng=stream(config.seed, index, "background"))

    frames = sources.renderer.render(Scene(placement.camera, surface, light, background, config.render.samples))
    depth = np.round(frames.depth_m.astype(float) / DEPTH_UNIT_M).clip(0, 65535).astype(np.uint16)
    labels = make_labels(hand, placement.camera, view, flow, frames.parts, depth, poses.bank, store_flow=sources.assets.store_flow)
    meta = build_meta(
        index=index,
        split=split,
        seed=config.seed,
        frames=clip.frames,
        fps=float(timing["fps"]),
        size=list(clip.size),
        flow=_flow_meta(flow, poses.bank, sources.assets.store_flow),
        camera={"kind": placement.camera.kind, "viewpoint": view.viewpoint},
        hand={"kind": config.hand.kind, "side": "right"},
        skin={"tone": tone_name(ita_deg), "ita_deg": float(ita_deg)},
        light={"kind": config.light.kind, "num_lights": light.directions.shape[1]},
        background={"name": photo.name, "source": photo.source},
        sensor={"kind": "none"},
        licences={"poses": poses.bank.licence, "hand": sources.assets.hand.licence, "background": photo.licence},
    )
    return HandSequence(sequence_key(index), split, frames.rgb, depth, frames.parts, labels, meta)


def draw_motion(split: SplitName, sources: Sources, config: GenerateConfig, rng: np.random.Generator) -> PoseFlow:
    """The motion a clip's hand is asked to follow."""
    poses, clip = sources.assets.poses[split], config.clip
    if config.flow.kind == "walk":
        return draw_flow(poses.bank, poses.graph, config.flow, frames=clip.frames, stride=clip.stride, fps=clip.fps, rng=rng)
    return draw_paper_flow(poses.bank, config.flow, frames=clip.frames, fps=clip.fps / clip.stride, rng=rng, search=sources.searches.get(split))


def follow(flow: PoseFlow, sources: Sources, config: HandConfig) -> Float32[Array, "frames 15 3"]:
    """Finger rotations that follow a flow, in as many pose components as asked for."""
    with torch.no_grad():
        rotations = sources.encoder(torch.as_tensor(flow.joints_m.astype(np.float32))).numpy()
    if config.pose_components == 45:
        return rotations
    components = sources.assets.hand.pose_components[: config.pose_components].astype(float)
    mean = sources.assets.hand.pose_mean.astype(float)
    coefficients = np.einsum("cd,td->tc", components, rotations.reshape(-1, 45) - mean)
    return (mean + np.einsum("tc,cd->td", coefficients, components)).reshape(-1, 15, 3).astype(np.float32)


def draw_betas(config: GenerateConfig, split: SplitName, rng: np.random.Generator) -> Float32[Array, "10"]:
    """One shape a clip; the first coefficient comes from its split's bands, so that no two splits share a hand."""
    uniform = rng.random(10)
    uniform[0] = config.split.banded(uniform[0], split)
    uniform = np.clip(uniform, 1e-6, 1 - 1e-6)
    return (4 * uniform - 2 if config.hand.betas == "uniform" else ndtri(uniform)).astype(np.float32)


def pose_hand(rotations: Float32[Array, "frames 15 3"], betas: Float32[Array, "10"], view: View, wrist_m: Float[Array, "frames 3"], sources: Sources) -> HandMotion:
    """The hand turned as the view says, its wrist at `wrist_m` in the camera frame."""
    frames = len(rotations)
    shape = torch.as_tensor(betas)
    turn = axis_angle_from_matrix(view.camera_from_hand @ model_from_hand(sources.layer, betas).T)
    pose = np.concatenate([turn[:, None].astype(np.float32), rotations], 1)
    with torch.no_grad():
        rest_wrist = sources.layer.joints(torch.zeros(1, 16, 3), shape[None])[0, 0].numpy()
        translation = (wrist_m - rest_wrist).astype(np.float32)
        mesh = sources.layer(torch.as_tensor(pose), shape.expand(frames, 10), torch.as_tensor(translation))
    return HandMotion(pose, betas, translation, mesh.joints_m.numpy(), mesh.vertices_m.numpy())


def make_labels(
    hand: HandMotion, camera: Camera, view: View, flow: PoseFlow, parts: UInt8[Array, "t h w"], depth_tenth_mm: UInt16[Array, "t h w"], bank: PoseBank, *, store_flow: bool
) -> Labels:
    """All that is known of a clip. Everything is computed from the values as they are stored."""
    intrinsics = camera.intrinsics.astype(np.float32)
    joints_px = Camera(camera.kind, intrinsics.astype(float), camera.size).project(hand.joints_m.astype(float))
    weak, _ = fit_weak_perspective(hand.joints_m.astype(float), joints_px)
    return Labels(
        joints_m=hand.joints_m,
        joints_px=joints_px.astype(np.float32),
        joints_visible=visible_joints(parts, depth_tenth_mm, joints_px, hand.joints_m[..., 2]),
        pose=hand.pose,
        betas=hand.betas,
        translation_m=hand.translation_m,
        intrinsics=intrinsics,
        camera_from_world=view.camera_from_world.astype(np.float32),
        weak_perspective=weak.astype(np.float32),
        flow_joints_m=flow.joints_m.astype(np.float32) if store_flow else None,
        flow_source=bank.source_row[flow.source].astype(np.int64) if store_flow else None,
    )


def visible_joints(
    parts: UInt8[Array, "frames h w"], depth_tenth_mm: UInt16[Array, "frames h w"], joints_px: Float[Array, "frames 21 2"], joints_z_m: Float[Array, "frames 21"]
) -> Bool[Array, "frames 21"]:
    """A joint is visible when the surface at its pixel belongs to a part that the joint connects, and is the flesh over the joint.

    By the part alone, a wrist behind the whole length of the palm would count: the surface has to lie within FLESH_M of the joint.
    """
    connects = np.zeros((21, 256), bool)
    for joint, labels in enumerate(joint_parts()):
        connects[joint, list(labels)] = True
    frames, height, width = parts.shape
    x, y = np.moveaxis(np.round(joints_px).astype(int), -1, 0)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    at = (np.arange(frames)[:, None], y.clip(0, height - 1), x.clip(0, width - 1))
    over_m = joints_z_m.astype(float) - depth_tenth_mm[at] * DEPTH_UNIT_M
    return inside & connects[np.arange(21), parts[at]] & (over_m >= FLESH_M[0]) & (over_m <= FLESH_M[1])


def _flow_meta(flow: PoseFlow, bank: PoseBank, store_flow: bool) -> dict[str, str | int | float | None]:
    rows = (int(bank.source_row[flow.start]), int(bank.source_row[flow.end])) if store_flow else (None, None)
    return {"kind": flow.kind, "start_row": rows[0], "end_row": rows[1], "mm_per_frame": flow.step_m() * 1e3, "fps": float(flow.fps)}
