"""The hand of a clip before its camera: turned as a view asks, posed, and put where its picture wants it; and the same hand before the other cameras of a rig."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from seqgen.camera import Camera
from seqgen.geometry import transform_points
from seqgen.hand.layer import HandLayer
from seqgen.pipeline.config import GenerateConfig
from seqgen.pipeline.labels import HandMotion
from seqgen.pipeline.motion import Fitted, each_motion, moved_hand, pose_hand, pose_hands
from seqgen.pipeline.streams import stream
from seqgen.scene.view.placement import place_hand
from seqgen.scene.view.rig import draw_rig
from seqgen.scene.view.view import View, draw_view

Array = np.ndarray


@dataclass(frozen=True)
class Shot:
    """A hand before a camera, in that camera's frame."""

    view: View
    camera: Camera
    hand: HandMotion


@dataclass(frozen=True)
class Posed(Fitted):
    """A clip whose hand stands before its camera; `first` is the same hand before the first camera of its motion. `view_from_first` leads from that camera's
    frame to this one's; None for the first itself.
    """

    shot: Shot
    first: Shot
    view_from_first: Float[Array, "4 4"] | None


def pose_clips(clips: Sequence[Fitted], layer: HandLayer, config: GenerateConfig) -> list[Posed]:
    """The hands of all clips before their cameras."""

    def aim_leads(leads: Sequence[Fitted]) -> list[Shot]:
        rotations, betas = (np.stack(values) for values in zip(*((clip.rotations, clip.betas) for clip in leads), strict=True))
        return aim_all([clip.lead for clip in leads], rotations, betas, layer, config)

    firsts = each_motion(clips, aim_leads)
    return [_posed(clip, first, layer, config) for clip, first in zip(clips, firsts, strict=True)]


def _posed(clip: Fitted, first: Shot, layer: HandLayer, config: GenerateConfig) -> Posed:
    shot, way = (first, None) if clip.index == clip.lead else aim_again(clip.index, clip.lead, clip.rotations, first, layer, config)
    return Posed(**vars(clip), shot=shot, first=first, view_from_first=way)


def aim(lead: int, rotations: Float32[Array, "frames 15 3"], betas: Float32[Array, "10"], layer: HandLayer, config: GenerateConfig) -> Shot:
    """The hand turned and placed before the first camera."""
    return aim_all([lead], rotations[None], betas[None], layer, config)[0]


def aim_all(
    leads: Sequence[int], rotations: Float32[Array, "clips frames 15 3"], betas: Float32[Array, "clips 10"], layer: HandLayer, config: GenerateConfig
) -> list[Shot]:
    """The hands of several motions, each before its first camera; each with the bits it has alone."""
    clip, streams = config.clip, [stream(config.seed, lead, "camera") for lead in leads]
    views = [draw_view(config.camera, frames=clip.frames, fps=clip.stored_fps, rng=rng) for rng in streams]
    hands = pose_hands(rotations, betas, np.stack([view.camera_from_hand for view in views]), layer)
    return [_placed(view, hand, rng, config) for view, hand, rng in zip(views, hands, streams, strict=True)]


def _placed(view: View, hand: HandMotion, rng: np.random.Generator, config: GenerateConfig) -> Shot:
    outline_m = (hand.vertices_m - hand.joints_m[:, :1]).astype(float)
    placement = place_hand(config.camera, view, outline_m, size=config.clip.size, fps=config.clip.stored_fps, rng=rng)
    return Shot(view, placement.camera, moved_hand(hand, placement.wrist_m))


def aim_again(index: int, lead: int, rotations: Array, first: Shot, layer: HandLayer, config: GenerateConfig) -> tuple[Shot, Array]:
    """The same hand before another camera of the rig, and the way from the first camera's frame to this one's."""
    rig = draw_rig(config.camera, index - lead, first.view, first.hand.vertices_m.astype(float), size=config.clip.size, rng=stream(config.seed, lead, "rig"))
    turn = rig.view_from_first[:3, :3]
    view = View("third_person", turn @ first.view.camera_from_hand, rig.view_from_first @ first.view.camera_from_world)
    wrist_m = transform_points(rig.view_from_first, first.hand.joints_m[:, 0].astype(float))
    hand = moved_hand(pose_hand(rotations, first.hand.betas, view.camera_from_hand, layer), wrist_m)
    return Shot(view, rig.camera, hand), rig.view_from_first
