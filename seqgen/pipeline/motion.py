"""How the hand of a clip moves: its shape, the motion it is asked to follow, finger rotations that follow it, and the posed hand."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

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
    fits = each_motion(clips, lambda leads: [_fit(clip, mover, config) for clip in leads])
    return [Fitted(**{**vars(clip), **fit}) for clip, fit in zip(clips, fits, strict=True)]


def _fit(clip: Moving, mover: Mover, config: GenerateConfig) -> dict[str, Any]:
    flow = clip.flow
    for redraws in range(config.flow.redraws + 1):
        flow = flow if redraws == 0 else _draw_flow(clip, redraws, mover, config)
        rotations = _follow(flow.joints_m, flow.fps, clip.betas, mover, config)
        if redraws == config.flow.redraws or measure_plausibility(mover.capsules, rotations, clip.betas).is_plausible():
            return {"flow": flow, "rotations": rotations, "redraws": redraws}
    raise AssertionError("unreachable: the last draw is always taken")


def draw_still(split: SplitName, frames: int, mover: Mover, rng: np.random.Generator) -> Float32[Array, "frames 15 3"]:
    """Finger rotations of one pose of a split's bank, held throughout: a hand that only passes by."""
    bank = mover.assets.poses[split].bank
    pose = bank.joints_m[int(rng.integers(len(bank)))].astype(np.float32)
    with torch.no_grad():
        return np.repeat(mover.encoder(torch.as_tensor(pose[None])).numpy(), frames, 0)


def pose_hand(rotations: Float32[Array, "frames 15 3"], betas: Float32[Array, "10"], camera_from_hand: Float[Array, "frames 3 3"], layer: HandLayer) -> HandMotion:
    """The hand turned as asked, not moved yet."""
    frames = len(rotations)
    turn = axis_angle_from_matrix(camera_from_hand @ model_from_hand(layer, betas).T)
    pose = np.concatenate([turn[:, None].astype(np.float32), rotations], 1)
    with torch.no_grad():
        mesh = layer(torch.as_tensor(pose), torch.as_tensor(betas)[None], torch.zeros(frames, 3))
    return HandMotion(pose, betas, np.zeros((frames, 3), np.float32), mesh.joints_m.numpy(), mesh.vertices_m.numpy())


def moved_hand(hand: HandMotion, wrist_m: Float[Array, "frames 3"]) -> HandMotion:
    """A hand that has no translation yet, with its wrist at `wrist_m`: the bits of the layer with that translation, at a hundredth of its cost."""
    assert not hand.translation_m.any()
    translation = (wrist_m - hand.joints_m[:, 0]).astype(np.float32)
    return HandMotion(hand.pose, hand.betas, translation, hand.joints_m + translation[:, None], hand.vertices_m + translation[:, None])


def _draw_flow(asked: Clip, redraw: int, mover: Mover, config: GenerateConfig) -> PoseFlow:
    """A motion through the poses of a split; one drawn anew has random numbers of its own."""
    poses, clip, rng = mover.assets.poses[asked.split], config.clip, stream(config.seed, asked.lead, "flow", redraw)
    if config.flow.kind == "walk":
        return draw_flow(poses.bank, poses.graph, config.flow, frames=clip.frames, stride=clip.stride, fps=clip.fps, rng=rng)
    return draw_paper_flow(poses.bank, config.flow, frames=clip.frames, fps=clip.stored_fps, rng=rng, search=mover.searches.get(asked.split))


def _follow(joints_m: Float[Array, "frames 21 3"], fps: float, betas: Float32[Array, "10"], mover: Mover, config: GenerateConfig) -> Float32[Array, "frames 15 3"]:
    """Finger rotations that follow a flow, in as many pose components as asked for."""
    with torch.no_grad():
        rotations = mover.encoder(torch.as_tensor(joints_m.astype(np.float32))).numpy()
    if config.hand.refine:
        rotations = refine_directions(mover.capsules.rig, rotations.astype(float), joints_m, betas.astype(float), fps=fps)
    if config.hand.pose_components == 45:
        return rotations
    components = mover.assets.hand.pose_components[: config.hand.pose_components].astype(float)
    mean = mover.assets.hand.pose_mean.astype(float)
    coefficients = np.einsum("cd,td->tc", components, rotations.reshape(-1, 45) - mean)
    return (mean + np.einsum("tc,cd->td", coefficients, components)).reshape(-1, 15, 3).astype(np.float32)
