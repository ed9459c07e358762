"""The scalars of a stored clip (`meta.json`) against its config, its labels and what it was drawn from.

Not derived, because they come from the bank, from photos or from the user's own files: redraws and rows of the motion beyond their range, the background's
name, source and licence, the poses' licence of another bank than the built-in one, names of the user's skins and of his things.
"""

import math
from typing import Any

import numpy as np

from seqgen.dataset.meta import sequence_key
from seqgen.dataset.sequence import HandSequence
from seqgen.pipeline.assets import OWN, UNSTATED
from seqgen.pipeline.config import GenerateConfig
from seqgen.pipeline.deep.restage import Restaged
from seqgen.pipeline.labels import frames_outside
from seqgen.pipeline.streams import stream
from seqgen.scene.skin.tone import ita_from_uniform, tone_name
from seqgen.scene.surroundings.light import LightDraw

Array = np.ndarray
ROUNDED = 1e-9  # of a float that went through JSON, which keeps all its digits: relative, for another platform's last bits
STEP_MM = 1e-4  # of the mean step of joints that are stored in float32: its last bit at 0.2 m is 1.5e-5 mm
EDGE_PX = 0.01  # how near to the picture's edge a box may be on either side of it


def frame_contradictions(clip: HandSequence, config: GenerateConfig) -> list[str]:
    """What a clip says of its place and form against the config; while any of it is wrong nothing else can be derived."""
    index, frames = clip.meta["index"], len(clip.parts)
    lines = [] if index >= 0 else [f"meta.index: {index}"]
    told: dict[str, Any] = {"frames": config.clip.frames, "size": list(config.clip.size), "seed": config.seed}
    if not lines:
        told |= {"key": sequence_key(index), "split": config.split_of(index)}
    lines += _unlike(clip.meta, told)
    if (clip.key, clip.split) != (clip.meta["key"], clip.meta["split"]):
        lines.append(f"meta: key and split are {clip.meta['key']}, {clip.meta['split']}, the clip is filed as {clip.key}, {clip.split}")
    found, asked = (frames, *clip.parts.shape[:0:-1]), (config.clip.frames, *config.clip.size)
    if found != asked:
        lines.append("pictures: {} of {} x {}, where the config has {} of {} x {}".format(*found, *asked))
    return lines


def meta_contradictions(clip: HandSequence, staged: Restaged, box_px: Array, hand_licence: str, config: GenerateConfig) -> list[str]:
    """A line for each scalar that is not what config, labels and stage make it. `box_px`: of the hand's mesh, as `labels.hand_box` gives it."""
    meta, index = clip.meta, clip.meta["index"]
    told = _of_config(index, config) | _of_stage(staged) | {"licences.hand": hand_licence}
    told |= _of_light(index, config) | _of_skin(index, config) | {"skin.tone": tone_name(meta["skin"]["ita_deg"])}
    lines = _unlike(meta, told)
    least, most = (frames_outside(box_px + np.float32(grown) * np.float32([-1, -1, 1, 1]), config.clip.size) for grown in (-EDGE_PX, EDGE_PX))
    found = meta["camera"]["frames_outside"]
    if not least <= found <= most:
        lines.append(f"meta.camera.frames_outside: {found}, the hand's boxes say {most if least == most else f'{least} to {most}'}")
    return lines + _motion_off(clip, config)


def stores_flow(config: GenerateConfig) -> bool | None:
    """Whether the asked-for motion is stored; None where only the bank can say."""
    chosen = config.labels.flow_source
    return True if chosen is None and config.poses.bank == "built-in" else chosen


def _of_config(index: int, config: GenerateConfig) -> dict[str, Any]:
    lead = config.lead_of(index)
    built_in = {"licences.poses": OWN} if config.poses.bank == "built-in" else {}
    return built_in | {
        "fps": config.clip.stored_fps,
        "group": lead if config.camera.views > 1 else None,
        "flow.kind": config.flow.kind,
        "flow.fps": config.clip.stored_fps,
        "camera.kind": config.camera.kind,
        "camera.model": config.camera.model,
        "camera.view": index - lead,
        "hand.kind": config.hand.kind,
        "light.kind": config.light.kind,
        "sensor.kind": config.sensor.kind,
        "sensor.depth": config.sensor.depth,
    }


def _of_stage(staged: Restaged) -> dict[str, Any]:
    told = {"camera.viewpoint": staged.shot.view.viewpoint, "hand.side": "left" if staged.left else "right", "arm.kind": staged.arm}
    if staged.occluder is None:
        return told | {"licences.occluder": None}
    kind, manner = staged.occluder
    return told | {"occluder.kind": kind, "occluder.manner": manner, "licences.occluder": "none" if kind == "none" else OWN}


def _of_light(index: int, config: GenerateConfig) -> dict[str, Any]:
    """As `light.draw_light` has it, whatever the photo."""
    drawn = LightDraw.of(stream(config.seed, config.lead_of(index), "light")).count
    count = 0 if config.light.kind == "flat" else min(1 + int(drawn * config.light.lights), config.light.lights)
    return {"light.num_lights": count, "light.shadows": config.light.shadows and count > 0}


def _of_skin(index: int, config: GenerateConfig) -> dict[str, Any]:
    if config.skin.folder is not None:
        return {"licences.skin": UNSTATED}
    uniform = stream(config.seed, config.lead_of(index), "skin").random()
    ita_deg = ita_from_uniform(config.split.banded(uniform, config.split_of(index)))
    return {"licences.skin": OWN, "skin.name": config.skin.kind, "skin.ita_deg": ita_deg}


def _motion_off(clip: HandSequence, config: GenerateConfig) -> list[str]:
    """The mean step is a checksum of the whole asked-for motion: any frame or joint of it that is elsewhere changes it."""
    told, joints_m = clip.meta["flow"], clip.labels.flow_joints_m
    lines = [] if 0 <= told["redraws"] <= config.flow.redraws else [f"meta.flow.redraws: {told['redraws']}, the config allows 0 to {config.flow.redraws}"]
    for name in ("start_row", "end_row"):
        if (told[name] is None) != (joints_m is None) or (told[name] or 0) < 0:
            lines.append(f"meta.flow.{name}: {told[name]}, beside {'no ' if joints_m is None else ''}flow_joints_m")
    if joints_m is None:
        return lines
    steps = np.linalg.norm(np.diff(joints_m.astype(float), axis=0), axis=-1)
    mean_mm = float(steps.mean()) * 1e3 if len(steps) else 0.0
    if not abs(told["mm_per_frame"] - mean_mm) <= STEP_MM:
        lines.append(f"meta.flow.mm_per_frame: {told['mm_per_frame']:.6g}, flow_joints_m move by {mean_mm:.6g} a frame")
    return lines


def _unlike(meta: dict[str, Any], told: dict[str, Any]) -> list[str]:
    """A line for each dotted name whose value is another; those told as none where they cannot be known, but for the group, are not looked at."""
    lines = []
    for name, expected in told.items():
        section, _, field = name.rpartition(".")
        found = (meta[section] if section else meta)[field]
        unknown = expected is None and name != "group"
        alike = math.isclose(found, expected, rel_tol=ROUNDED) if isinstance(expected, float) else found == expected
        if not (unknown or alike):
            lines.append(f"meta.{name}: {found!r}, config and index say {expected!r}")
    return lines
