"""Clips, from their indices to their records: pure work in stages. It knows no cluster and no clock, and of files only the photos among its assets, which are
decoded when they are first needed.

    indices ──> flow ──> fit ──> skinning ──> scene ──> render ──> image formation ──> labels ──> HandSequences

A stage takes some clips at once, as what the stage before it made of them, and gives as many. That is for speed alone: the same index gives the same bits,
whatever clips go with it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from seqgen.camera import Camera
from seqgen.dataset.meta import sequence_key
from seqgen.dataset.mirror import mirrored
from seqgen.dataset.sequence import HandSequence, depth_counts
from seqgen.errors import UserError
from seqgen.hand.fit import encoder_of
from seqgen.hand.layer import HandLayer
from seqgen.hand.plausibility import hand_capsules
from seqgen.pipeline import stage as scenery
from seqgen.pipeline.assets import Assets
from seqgen.pipeline.config import GenerateConfig
from seqgen.pipeline.describe import describe
from seqgen.pipeline.labels import extra_pictures, make_labels, renderer_extras
from seqgen.pipeline.motion import Fitted, Mover, Moving, draw_motions, each_motion, fit_motions
from seqgen.pipeline.shot import Posed, pose_clips
from seqgen.pipeline.streams import stream
from seqgen.poses.search import pose_search
from seqgen.render import load_renderer, load_sensors
from seqgen.render.renderer import Frames, Renderer
from seqgen.scene.sensor import draw_sensor
from seqgen.turns import Turns

if TYPE_CHECKING:
    from seqgen.render.depth_sensor import DepthSensor
    from seqgen.render.sensor import Developer

Array = np.ndarray
BATCH_FRAMES = 160  # of clips whose hands move at once: the more, the fewer steps in Python fall to each; at least one clip
BATCH_PIXELS = 2_600_000  # of clips whose pictures are made at once, which are all in memory: five of ten frames of 224 x 224; at least one clip


@dataclass(frozen=True)
class Sources:
    """The assets made ready for work in one process. Threads that share them take turns: a renderer has one working memory (and pyrender's belongs to the
    thread that opened it); processes share the work, each with Sources of its own.
    """

    assets: Assets
    mover: Mover
    props: scenery.Props
    renderer: Renderer
    developer: "Developer"
    depth_sensor: "DepthSensor"
    turns: Turns = field(default_factory=Turns)


@dataclass(frozen=True)
class Staged(Posed):
    """A clip with all that a renderer must be told."""

    stage: scenery.Stage


@dataclass(frozen=True)
class Drawn(Staged):
    """A clip as the renderer drew it."""

    frames: Frames


@dataclass(frozen=True)
class Pictured(Staged):
    """A clip with its pictures as they are stored, under their names in `HandSequence`."""

    pictures: dict[str, Array]


def open_sources(assets: Assets, config: GenerateConfig) -> Sources:
    """Layers, templates, the renderer and the sensors, in this process. UserErrors of the renderer, or of a device that is not there."""
    check_device(config.device)
    renderer = load_renderer(config.render.renderer, config.device, keep_light=config.device != "cpu")
    encoder = encoder_of({name: torch.tensor(array) for name, array in assets.encoder.items()})  # on the CPU, whatever the device: see `of_clips`
    searches = {split: pose_search(source.bank.joints_m) for split, source in assets.poses.items()} if config.flow.kind == "paper" else {}
    mover = Mover(assets, HandLayer(assets.hand).to(config.device), encoder, hand_capsules(assets.hand), searches)
    return Sources(assets, mover, scenery.open_props(assets, mover, config), renderer, *load_sensors(config.device))


def check_device(device: str) -> None:
    """A UserError where a device is not there for both that work on it: Warp, which draws, and torch, which moves hands."""
    if device == "cpu":
        return
    load_renderer("warp", device)
    if not torch.cuda.is_available():
        raise UserError(f"device {device}: Warp finds it, torch does not; install a torch built for CUDA, or give --device cpu")


def generate_sequence(index: int, sources: Sources, config: GenerateConfig) -> HandSequence:
    """Sequence `index` of a config: a pure function of its arguments. Clips of one motion from several cameras have their first one, `lead`, in common."""
    return next(generate_sequences([index], sources, config))


def generate_sequences(indices: Iterable[int], sources: Sources, config: GenerateConfig) -> Iterator[HandSequence]:
    """The sequences of these indices, in their order, each with the bits of `generate_sequence`. Some are made at once, when the first of them is asked for."""
    waiting = iter(indices)
    while asked := list(islice(waiting, motions_at_once(config))):
        posed = iter(_through(MOTION_STAGES, asked, sources, config))
        while batch := list(islice(posed, pictures_at_once(config))):
            yield from _through(PICTURE_STAGES, batch, sources, config)


def motions_at_once(config: GenerateConfig) -> int:
    """How many clips' hands move at once."""
    return max(1, BATCH_FRAMES // config.clip.frames)


def pictures_at_once(config: GenerateConfig) -> int:
    """How many clips' pictures are made at once."""
    width, height = config.clip.size
    return max(1, BATCH_PIXELS // (config.clip.frames * width * height))


def _through(names: Sequence[str], clips: list[Any], sources: Sources, config: GenerateConfig) -> list[Any]:
    """Some clips through some stages, in this thread's turn."""
    with sources.turns.take():
        for name in names:
            clips = STAGES[name](clips, sources, config)
    return clips


def draw_flows(indices: Sequence[int], sources: Sources, config: GenerateConfig) -> list[Moving]:
    """flow: whose hand it is, and the motion that it is asked to follow."""
    return draw_motions(indices, sources.mover, config)


def fit_hands(clips: Sequence[Moving], sources: Sources, config: GenerateConfig) -> list[Fitted]:
    """fit: finger rotations that follow the motion; a motion that no hand could do is drawn anew."""
    return fit_motions(clips, sources.mover, config)


def skin_hands(clips: Sequence[Fitted], sources: Sources, config: GenerateConfig) -> list[Posed]:
    """skinning: the surface of the hand, turned and placed before its camera."""
    return pose_clips(clips, sources.mover.layer, config)


def set_scenes(clips: Sequence[Posed], sources: Sources, config: GenerateConfig) -> list[Staged]:
    """scene: all that is around the hand. The cameras of a rig see one stage, each before a background of its own."""

    def set_all(leads: Sequence[Posed]) -> list[scenery.Stage]:
        return scenery.set_stages(leads, sources.props, config)

    def seen(clip: Posed, stage: scenery.Stage) -> scenery.Stage:
        if clip.view_from_first is None:
            return stage
        return scenery.seen_from(stage, clip.view_from_first, clip.shot.camera, clip.index, clip.split, sources.props, config)

    return [Staged(**vars(clip), stage=seen(clip, stage)) for clip, stage in zip(clips, each_motion(clips, set_all), strict=True)]


def draw_frames(clips: Sequence[Staged], sources: Sources, config: GenerateConfig) -> list[Drawn]:
    """render: light, depth and parts, and what else is asked for."""
    extras = renderer_extras(config.labels)
    drawn = sources.renderer.render_clips([clip.stage.scene for clip in clips], extras)
    return [Drawn(**vars(clip), frames=frames) for clip, frames in zip(clips, drawn, strict=True)]


def form_images(clips: Sequence[Drawn], sources: Sources, config: GenerateConfig) -> list[Pictured]:
    """image formation: what a camera, and a depth camera where one is asked for, make of light and depth."""
    return [_form_image(clip, sources, config) for clip in clips]


def label_clips(clips: Sequence[Pictured], sources: Sources, config: GenerateConfig) -> list[HandSequence]:
    """labels: the finished record; of a left hand in the mirror."""
    return [_label_clip(clip, sources.assets, config) for clip in clips]


Stage = Callable[[Sequence[Any], Sources, GenerateConfig], list[Any]]
STAGES: dict[str, Stage] = {
    "flow": draw_flows,
    "fit": fit_hands,
    "skinning": skin_hands,
    "scene": set_scenes,
    "render": draw_frames,
    "image formation": form_images,
    "labels": label_clips,
}
MOTION_STAGES, PICTURE_STAGES = tuple(STAGES)[:3], tuple(STAGES)[3:]


def _form_image(clip: Drawn, sources: Sources, config: GenerateConfig) -> Pictured:
    sensor = draw_sensor(config.sensor, rng=stream(config.seed, clip.index, "sensor"))
    kept = {name: value for name, value in vars(clip).items() if name != "frames"}
    return Pictured(
        **kept,
        pictures={
            "rgb": sources.developer.develop(clip.frames.radiance, sensor, seed=config.seed, sequence=clip.index),
            "depth_tenth_mm": depth_counts(clip.frames.depth_m),
            "parts": clip.frames.parts,
            **extra_pictures(config.labels, clip.frames),
            **_sensed_depth(clip.frames, clip.shot.camera, clip.index, clip.left, sources, config),
        },
    )


def _sensed_depth(frames: Frames, camera: Camera, index: int, left: bool, sources: Sources, config: GenerateConfig) -> dict[str, Array]:
    """What a depth camera would see, where one is asked for. A clip that will be mirrored is measured in the mirror: the sensor itself has no mirror image."""
    if config.sensor.depth == "none":
        return {}
    before, after = (camera.mirrored(), slice(None, None, -1)) if left else (camera, slice(None))
    readings = sources.depth_sensor.measure(frames.depth_m[:, :, after], before, config.sensor.depth, seed=config.seed, sequence=index)
    return {"depth_sensor_tenth_mm": readings[:, :, after]}


def _label_clip(clip: Pictured, assets: Assets, config: GenerateConfig) -> HandSequence:
    shot, parts, depth, bank = clip.shot, clip.pictures["parts"], clip.pictures["depth_tenth_mm"], assets.poses[clip.split].bank
    labels = make_labels(shot.hand, shot.camera, shot.view, clip.flow, parts, depth, bank, config.labels, store_flow=assets.store_flow)
    meta = describe(clip, clip.stage, labels, assets, config)
    sequence = HandSequence(key=sequence_key(clip.index), split=clip.split, labels=labels, meta=meta, **clip.pictures)
    return mirrored(sequence) if clip.left else sequence
