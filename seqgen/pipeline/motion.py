"""How the hand of a clip moves: its shape, the motion it is asked to follow, finger rotations that follow it, and the posed hand."""

from dataclasses import dataclass

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


def draw_motion(index: int, split: SplitName, betas: Float32[Array, "10"], mover: Mover, config: GenerateConfig) -> tuple[PoseFlow, Float32[Array, "frames 15 3"], int]:
    """The motion a clip's hand is asked to follow, its finger rotations, and how often it was drawn anew because no hand could do it."""
    for redraws in range(config.flow.redraws + 1):
        flow = _draw_flow(split, mover, config, stream(config.seed, index, "flow", redraws))
        rotations = _follow(flow.joints_m, flow.fps, betas, mover, config)
        if redraws == config.flow.redraws or measure_plausibility(mover.capsules, rotations, betas).is_plausible():
            return flow, rotations, redraws
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


def _draw_flow(split: SplitName, mover: Mover, config: GenerateConfig, rng: np.random.Generator) -> PoseFlow:
    """A motion through the poses of a split."""
    poses, clip = mover.assets.poses[split], config.clip
    if config.flow.kind == "walk":
        return draw_flow(poses.bank, poses.graph, config.flow, frames=clip.frames, stride=clip.stride, fps=clip.fps, rng=rng)
    return draw_paper_flow(poses.bank, config.flow, frames=clip.frames, fps=clip.stored_fps, rng=rng, search=mover.searches.get(split))


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
