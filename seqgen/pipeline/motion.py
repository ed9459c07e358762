"""How the hand of a clip moves: its shape, the motion it is asked to follow, finger rotations that follow it, and the posed hand."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float, Float32
from scipy.special import ndtri

from seqgen.geometry import axis_angle_from_matrix
from seqgen.hand.fit import PoseEncoder, model_from_hand
from seqgen.hand.layer import HandLayer
from seqgen.hand.plausibility import Capsules, measure_plausibility
from seqgen.hand.refine import refine_directions
from seqgen.pipeline.assets import Assets
from seqgen.pipeline.config import GenerateConfig
from seqgen.pipeline.labels import HandMotion
from seqgen.pipeline.streams import stream
from seqgen.poses.flow import PoseFlow, draw_flow
from seqgen.poses.paper import draw_paper_flow
from seqgen.poses.search import PoseSearch
from seqgen.splits import SplitName

Array = np.ndarray
AnyClip = TypeVar("AnyClip", bound="Clip")
Made = TypeVar("Made")


@dataclass(frozen=True)
class Clip:
    """Sequence `index` of a config, as asked for: `lead` is the first of those that show its motion (itself but for the other cameras of a rig), and all that
    is drawn for a motion is drawn for its lead."""

    index: int
    lead: int
    split: SplitName
    left: bool
    betas: Float32[Array, "10"]


@dataclass(frozen=True)
class Moving(Clip):
    """A clip with the motion that its hand is asked to follow."""

    flow: PoseFlow


@dataclass(frozen=True)
class Fitted(Moving):
    """A clip with finger rotations, and how often its motion was drawn anew because no hand could do it."""

    rotations: Float32[Array, "frames 15 3"]
    redraws: int


@dataclass(frozen=True)
class Mover:
    """What moves hands, made ready in one process. `searches`: of each split's bank, where the paper's flow looks for nearest poses."""

    assets: Assets
    layer: HandLayer
    encoder: PoseEncoder
    capsules: Capsules
    searches: dict[SplitName, PoseSearch]


def draw_betas(config: GenerateConfig, split: SplitName, rng: np.random.Generator) -> Float32[Array, "10"]:
    """One shape a clip; the first coefficient comes from its split's bands, so that no two splits share a hand."""
    uniform = rng.random(10)
    uniform[0] = config.split.banded(uniform[0], split)
    uniform = np.clip(uniform, 1e-6, 1 - 1e-6)
    return (4 * uniform - 2 if config.hand.betas == "uniform" else ndtri(uniform)).astype(np.float32)


def draw_motions(indices: Sequence[int], mover: Mover, config: GenerateConfig) -> list[Moving]:
    """Clips with the motions they begin with, before anybody knows whether a hand can do them."""
    asked = [ask(index, config) for index in indices]
    flows = each_motion(asked, lambda leads: [_draw_flow(clip, 0, mover, config) for clip in leads])
    return [Moving(**vars(clip), flow=flow) for clip, flow in zip(asked, flows, strict=True)]


def ask(index: int, config: GenerateConfig) -> Clip:
    """Whose hand sequence `index` shows."""
    lead, split = config.lead_of(index), config.split_of(index)
    return Clip(index, lead, split, is_left(lead, config), draw_betas(config, split, stream(config.seed, lead, "shape")))


def is_left(lead: int, config: GenerateConfig) -> bool:
    """Whether the clips of a motion show a left hand."""
    return bool(stream(config.seed, lead, "side").random() < config.hand.left)


def each_motion(clips: Sequence[AnyClip], make: Callable[[Sequence[AnyClip]], Sequence[Made]]) -> list[Made]:
    """For every clip what `make` makes of one clip of its motion: clips of one motion share it."""
    leads = {clip.lead: clip for clip in clips}
    made = dict(zip(leads, make(list(leads.values())), strict=True))
    return [made[clip.lead] for clip in clips]


def fit_motions(clips: Sequence[Moving], mover: Mover, config: GenerateConfig) -> list[Fitted]:
    """Clips with finger rotations. A motion that no hand could do is drawn anew, at most `flow.redraws` times, and the last draw is taken as it is."""
    fits = each_motion(clips, lambda leads: _fit(leads, mover, config))
    return [replace(fit, index=clip.index) for clip, fit in zip(clips, fits, strict=True)]


def _fit(clips: Sequence[Moving], mover: Mover, config: GenerateConfig) -> list[Fitted]:
    fitted: list[Fitted] = []
    waiting = list(clips)
    for redraws in range(config.flow.redraws + 1):
        if redraws:
            waiting = [replace(clip, flow=_draw_flow(clip, redraws, mover, config)) for clip in waiting]
        betas = np.stack([clip.betas for clip in waiting])
        rotations = _follow([clip.flow for clip in waiting], betas, mover, config)
        plausible = [True] * len(waiting) if redraws == config.flow.redraws else [one.is_plausible() for one in measure_plausibility(mover.capsules, rotations, betas)]
        fitted += [Fitted(**vars(clip), rotations=turns, redraws=redraws) for clip, turns, done in zip(waiting, rotations, plausible, strict=True) if done]
        waiting = [clip for clip, done in zip(waiting, plausible, strict=True) if not done]
        if not waiting:
            break
    by_lead = {clip.lead: clip for clip in fitted}
    return [by_lead[clip.lead] for clip in clips]


def draw_still(split: SplitName, frames: int, mover: Mover, rng: np.random.Generator) -> Float32[Array, "frames 15 3"]:
    """Finger rotations of one pose of a split's bank, held throughout: a hand that only passes by."""
    bank = mover.assets.poses[split].bank
    pose = bank.joints_m[int(rng.integers(len(bank)))].astype(np.float32)
    return np.repeat(mover.encoder.of_clips(pose[None, None])[0], frames, 0)


def pose_hand(rotations: Float[Array, "frames 15 3"], betas: Float32[Array, "10"], camera_from_hand: Float[Array, "frames 3 3"], layer: HandLayer) -> HandMotion:
    """The hand turned as asked, not moved yet."""
    return pose_hands(rotations[None], betas[None], camera_from_hand[None], layer)[0]


def pose_hands(
    rotations: Float[Array, "clips frames 15 3"], betas: Float32[Array, "clips 10"], camera_from_hand: Float[Array, "clips frames 3 3"], layer: HandLayer
) -> list[HandMotion]:
    """The hands of several clips. Each has the bits it has alone; its vertices lie in memory with their coordinates first."""
    clips, frames = rotations.shape[:2]
    turn = axis_angle_from_matrix(camera_from_hand @ model_from_hand(layer, betas).swapaxes(-1, -2)[:, None])
    poses = np.concatenate([turn[:, :, None], rotations], 2).astype(np.float32)
    with torch.no_grad():
        given = (torch.as_tensor(values).to(layer.joint_template.device) for values in (poses.reshape(-1, 16, 3), betas, np.zeros((clips * frames, 3), np.float32)))
        vertices, joints = (values.cpu().numpy().reshape(clips, frames, -1, 3) for values in layer(*given))
    return [HandMotion(*of_clip) for of_clip in zip(poses, betas, np.zeros((clips, frames, 3), np.float32), joints, vertices, strict=True)]


def moved_hand(hand: HandMotion, wrist_m: Float[Array, "frames 3"]) -> HandMotion:
    """A hand that has no translation yet, with its wrist at `wrist_m`: the bits of the layer with that translation, at a hundredth of its cost."""
    assert not hand.translation_m.any()
    translation = (wrist_m - hand.joints_m[:, 0]).astype(np.float32)
    vertices_m = np.empty(hand.vertices_m.shape, np.float32)
    for axis in range(3):  # whose coordinates lie together in memory before, and apart from now on
        np.add(hand.vertices_m[..., axis], translation[:, None, axis], out=vertices_m[..., axis])
    return HandMotion(hand.pose, hand.betas, translation, hand.joints_m + translation[:, None], vertices_m)


def _draw_flow(asked: Clip, redraw: int, mover: Mover, config: GenerateConfig) -> PoseFlow:
    """A motion through the poses of a split; one drawn anew has random numbers of its own."""
    poses, clip, rng = mover.assets.poses[asked.split], config.clip, stream(config.seed, asked.lead, "flow", redraw)
    if config.flow.kind == "walk":
        return draw_flow(poses.bank, poses.graph, config.flow, frames=clip.frames, stride=clip.stride, fps=clip.fps, rng=rng)
    return draw_paper_flow(poses.bank, config.flow, frames=clip.frames, fps=clip.stored_fps, rng=rng, search=mover.searches.get(asked.split))


def _follow(flows: Sequence[PoseFlow], betas: Float32[Array, "clips 10"], mover: Mover, config: GenerateConfig) -> Float32[Array, "clips frames 15 3"]:
    """Finger rotations that follow flows, in as many pose components as asked for."""
    joints_m = np.stack([flow.joints_m for flow in flows])
    rotations = mover.encoder.of_clips(joints_m)
    if config.hand.refine:
        rotations = refine_directions(mover.capsules.rig, rotations.astype(float), joints_m, betas.astype(float), fps=config.clip.stored_fps)
    if config.hand.pose_components == 45:
        return rotations
    components = mover.assets.hand.pose_components[: config.hand.pose_components].astype(float)
    mean = mover.assets.hand.pose_mean.astype(float)
    coefficients = (rotations.reshape(*rotations.shape[:2], 45) - mean) @ components.T
    return (mean + coefficients @ components).reshape(rotations.shape).astype(np.float32)
