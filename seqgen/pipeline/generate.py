"""One clip, from its index to its record: pure work. It knows no cluster and no clock, and of files only the photos among its assets, which are decoded when
they are first needed; the same index gives the same bytes.

    shape ──> flow ──> fit ──> view ──> place ──> scene ──> frames ──> record
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32
from scipy.special import ndtri

from seqgen.dataset.meta import build_meta, sequence_key
from seqgen.dataset.sequence import DEPTH_UNIT_M, HandSequence
from seqgen.geometry import axis_angle_from_matrix
from seqgen.hand.fit import PoseEncoder, encoder_of, model_from_hand
from seqgen.hand.layer import HandLayer
from seqgen.hand.plausibility import Capsules, hand_capsules, measure_plausibility
from seqgen.hand.refine import refine_directions
from seqgen.pipeline.assets import Assets
from seqgen.pipeline.config import GenerateConfig
from seqgen.pipeline.labels import HandMotion, make_labels
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
from seqgen.splits import SplitName

Array = np.ndarray
# The order is part of every data set: new concerns go to the end.
CONCERNS = ("flow", "shape", "camera", "light", "skin", "background", "arm", "occluder", "sensor")


@dataclass(frozen=True)
class Sources:
    """The assets made ready for work in one process."""

    assets: Assets
    layer: HandLayer
    encoder: PoseEncoder
    template: SurfaceTemplate
    skin: SkinMap
    capsules: Capsules
    renderer: Renderer
    searches: dict[SplitName, PoseSearch]  # of each split's bank, where the flow looks for nearest poses


def open_sources(assets: Assets, config: GenerateConfig) -> Sources:
    """Layers, templates and the renderer, in this process."""
    layer = HandLayer(assets.hand)
    encoder = encoder_of({name: torch.tensor(array) for name, array in assets.encoder.items()})
    template = surface_template(assets.hand)
    rest = layer.joints(torch.zeros(1, 16, 3), torch.zeros(1, 10))[0].numpy()
    normals = template.surface(assets.hand.template_m[None], assets.hand.template_m).normals[0, : len(assets.hand.template_m)]
    renderer = load_renderer(config.render.renderer, device=config.device)
    searches = {split: pose_search(source.bank.joints_m) for split, source in assets.poses.items()} if config.flow.kind == "paper" else {}
    return Sources(assets, layer, encoder, template, skin_map(assets.hand, rest, normals), hand_capsules(assets.hand), renderer, searches)


def stream(seed: int, index: int, concern: str, redraw: int = 0) -> np.random.Generator:
    """The random numbers of one concern of one sequence: switching a concern off leaves the others alone. A concern drawn anew has others."""
    key = (index, CONCERNS.index(concern), redraw) if redraw else (index, CONCERNS.index(concern))
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def generate_sequence(index: int, sources: Sources, config: GenerateConfig) -> HandSequence:
    """Sequence `index` of a config: a pure function of its arguments."""
    split, clip = config.split.of(index), config.clip
    poses = sources.assets.poses[split]
    timing = {"frames": clip.frames, "fps": clip.fps / clip.stride}

    betas = draw_betas(config, split, stream(config.seed, index, "shape"))
    flow, rotations, redraws = draw_motion(index, betas, sources, config)

    rng = stream(config.seed, index, "camera")
    view = draw_view(config.camera, **timing, rng=rng)
    turned = pose_hand(rotations, betas, view, np.zeros((clip.frames, 3)), sources)
    outline = sources.template.closed(turned.vertices_m).astype(float)
    placement = place_hand(config.camera, view, outline, size=clip.size, fps=timing["fps"], rng=rng)
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
        flow=_flow_meta(flow, redraws, poses.bank, sources.assets.store_flow),
        camera={"kind": placement.camera.kind, "viewpoint": view.viewpoint},
        hand={"kind": config.hand.kind, "side": "right"},
        skin={"tone": tone_name(ita_deg), "ita_deg": float(ita_deg)},
        light={"kind": config.light.kind, "num_lights": light.directions.shape[1]},
        background={"name": photo.name, "source": photo.source},
        sensor={"kind": "none"},
        licences={"poses": poses.bank.licence, "hand": sources.assets.hand.licence, "background": photo.licence},
    )
    return HandSequence(sequence_key(index), split, frames.rgb, depth, frames.parts, labels, meta)


def draw_motion(index: int, betas: Float32[Array, "10"], sources: Sources, config: GenerateConfig) -> tuple[PoseFlow, Float32[Array, "frames 15 3"], int]:
    """The motion a clip's hand is asked to follow, its finger rotations, and how often it was drawn anew because no hand could do it."""
    for redraws in range(config.flow.redraws + 1):
        flow = draw_pose_flow(config.split.of(index), sources, config, stream(config.seed, index, "flow", redraws))
        rotations = follow(flow, betas, sources, config)
        if redraws == config.flow.redraws or measure_plausibility(sources.capsules, rotations, betas).is_plausible():
            return flow, rotations, redraws
    raise AssertionError("unreachable: the last draw is always taken")


def draw_pose_flow(split: SplitName, sources: Sources, config: GenerateConfig, rng: np.random.Generator) -> PoseFlow:
    """A motion through the poses of a split."""
    poses, clip = sources.assets.poses[split], config.clip
    if config.flow.kind == "walk":
        return draw_flow(poses.bank, poses.graph, config.flow, frames=clip.frames, stride=clip.stride, fps=clip.fps, rng=rng)
    return draw_paper_flow(poses.bank, config.flow, frames=clip.frames, fps=clip.fps / clip.stride, rng=rng, search=sources.searches.get(split))


def follow(flow: PoseFlow, betas: Float32[Array, "10"], sources: Sources, config: GenerateConfig) -> Float32[Array, "frames 15 3"]:
    """Finger rotations that follow a flow, in as many pose components as asked for."""
    with torch.no_grad():
        rotations = sources.encoder(torch.as_tensor(flow.joints_m.astype(np.float32))).numpy()
    if config.hand.refine:
        rotations = refine_directions(sources.capsules.rig, rotations.astype(float), flow.joints_m, betas.astype(float), fps=flow.fps)
    if config.hand.pose_components == 45:
        return rotations
    components = sources.assets.hand.pose_components[: config.hand.pose_components].astype(float)
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


def _flow_meta(flow: PoseFlow, redraws: int, bank: PoseBank, store_flow: bool) -> dict[str, str | int | float | None]:
    rows = (int(bank.source_row[flow.start]), int(bank.source_row[flow.end])) if store_flow else (None, None)
    return {"kind": flow.kind, "start_row": rows[0], "end_row": rows[1], "mm_per_frame": flow.step_m() * 1e3, "fps": float(flow.fps), "redraws": redraws}
