"""Clips of every preset contradict nothing; clips whose content was injured, however slightly, are found out, each by what was injured.

`pytest -m slow tests/test_rederive.py` looks at many clips of every preset.
"""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from injuries import INJURIES, every_label, every_picture, picture, swapped

from seqgen.config import build, find_config, overlay, read_toml, shipped_configs
from seqgen.dataset.sequence import HandSequence
from seqgen.hand import load_hand
from seqgen.hand.layer import HandLayer, HandMesh
from seqgen.pipeline.assets import gather_assets
from seqgen.pipeline.config import GenerateConfig
from seqgen.pipeline.deep.photo_motion import photo_motion_error
from seqgen.pipeline.deep.rederive import Deriver, contradictions, open_deriver
from seqgen.pipeline.generate import generate_sequence, open_sources
from seqgen.pipeline.process import one_thread
from seqgen.render.pyrender_renderer import why_unavailable
from seqgen.scene.surroundings.background import BackgroundConfig, draw_patches, photo_from_pixel

Array = np.ndarray
EVERYTHING = {"labels.optical_flow": True, "labels.normals": True, "labels.mask_amodal": True, "labels.mask_visible": True}
SMALL = {"clip.frames": 5, "poses.rows": 1500, "skin.texture": 64, "split.train": 1, "split.val": 0, "split.test": 0}
LITTLE = {"clip.size": [96, 80], "clip.frames": 3}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "right": ("quickstart", {"clip.size": [128, 112], "occluder.share": 0.0, "flow.median_step_mm": 3.0}),
    "left": ("kinect_v1", {"clip.size": [160, 120], "hand.left": 1.0, "occluder.share": 1.0, "occluder.hand": 0.0}),
    "weak": ("paper", {"clip.size": [112, 112]}),
}
MORE: dict[str, tuple[str, dict[str, Any]]] = {
    "views": ("quickstart", {"camera.views": 3, "sequences": 99, "hand.left": 0.5} | LITTLE),
    "second hands": ("kinect_v2", {"occluder.share": 1.0, "occluder.held": 0.0, "occluder.hand": 1.0, "clip.size": [128, 106]}),
    "left hands, things": ("d435", {"occluder.share": 1.0, "hand.left": 1.0, "clip.size": [212, 120]}),
    "stride, blur": ("quickstart", {"clip.stride": 3, "render.shutter": [0.5, 1.0]} | LITTLE),
    "one frame": ("quickstart", LITTLE | {"clip.frames": 1}),
    "beyond the edge": ("phone", {"camera.outside": 1.0, "hand.left": 0.5} | LITTLE),
    "weak perspective, arm": ("quickstart", {"camera.kind": "weak_perspective", "hand.left": 0.5} | LITTLE),
    "paper's flow": ("paper", {"flow.kind": "paper"} | LITTLE),
    "no flow": ("quickstart", {"labels.flow_source": False, "labels.boxes": False, "labels.hidden_by": False} | LITTLE),
    "pyrender": ("quickstart", {"render.renderer": "pyrender", "render.samples": 1, "hand.left": 0.5} | LITTLE),
    "pyrender, sensor": ("kinect_v1", {"render.renderer": "pyrender", "render.samples": 1, "clip.size": [160, 120]}),
}
PRESETS = {name: (name, {"clip.size": [96, 80], "clip.frames": 3}) for name in shipped_configs()}
ALL = CASES | MORE | PRESETS


def config_of(case: str, **more: Any) -> GenerateConfig:
    name, changed = ALL[case]
    tables = read_toml(find_config(name))
    for dotted, value in (EVERYTHING | SMALL | changed | more).items():
        tables = overlay(tables, dotted, value)
    return build(GenerateConfig, tables, where=case)


def make_clips(config: GenerateConfig, indices: range) -> list[HandSequence]:
    with one_thread():
        sources = open_sources(gather_assets(config), config)
        return [generate_sequence(index, sources, config) for index in indices]


@cache
def true_clips(case: str) -> tuple[list[HandSequence], Deriver]:
    if "pyrender" in case and why_unavailable():
        pytest.skip(f"no OpenGL: {why_unavailable()}")
    config = config_of(case)
    return make_clips(config, range(3 if case in CASES or "hands" in case else 2)), open_deriver(config, load_hand("open"))


@pytest.mark.parametrize("case", ALL)
def test_true_clips_contradict_nothing(case: str) -> None:
    clips, deriver = true_clips(case)
    assert [contradictions(clip, deriver) for clip in clips] == [[]] * len(clips)


@pytest.mark.slow
@pytest.mark.parametrize("case", ALL)
def test_no_true_clip_of_many_contradicts_anything(case: str) -> None:
    """At the presets' own sizes and lengths."""
    if "pyrender" in case and why_unavailable():
        pytest.skip(f"no OpenGL: {why_unavailable()}")
    size = {} if case in CASES | MORE else {"clip.size": read_toml(find_config(case)).get("clip", {}).get("size", [224, 224])}
    config = config_of(case, **size, **{"clip.frames": 1 if case == "one frame" else 10, "seed": 7})
    deriver = open_deriver(config, load_hand("open"))
    assert {line for clip in make_clips(config, range(100, 112)) for line in contradictions(clip, deriver)} == set()


class OtherRounding(HandLayer):
    """A hand posed in double precision: what another platform's float32 differs by, and more."""

    def forward(self, pose: torch.Tensor, betas: torch.Tensor, translation_m: torch.Tensor) -> HandMesh:
        mesh = in_double()(pose.double(), betas.double(), translation_m.double())
        return HandMesh(mesh.vertices_m.float(), mesh.joints_m.float())


@cache
def in_double() -> HandLayer:
    return HandLayer(load_hand("open")).double()


@pytest.mark.parametrize("case", CASES)
def test_other_rounding_is_no_fault(case: str) -> None:
    clips, deriver = true_clips(case)
    elsewhere = replace(deriver, layer=OtherRounding(deriver.model))
    vertices = [layer(*(torch.tensor(array) for array in posed(clips[0]))).vertices_m for layer in (deriver.layer, elsewhere.layer)]
    assert 0 < (vertices[0] - vertices[1]).abs().max() < 1e-6  # it does differ
    for clip in clips:
        assert contradictions(clip, elsewhere) == []


def posed(clip: HandSequence) -> tuple[Array, Array, Array]:
    return clip.labels.pose, clip.labels.betas[None], clip.labels.translation_m


def test_there_are_enough_injuries() -> None:
    assert len(INJURIES) >= 100


def in_turn() -> list[Any]:
    """Every injury of every case: by default one case each, in turn."""
    pairs = []
    for number, (name, injury) in enumerate(INJURIES.items()):
        cases = {"parts": list(CASES), "flow_joints_m": ["left", "right"]}.get(injury.needs, ["left"])
        for case in cases:
            pairs.append(pytest.param(name, case, marks=[] if case == cases[number % len(cases)] else pytest.mark.slow))
    return pairs


@pytest.mark.parametrize(("name", "case"), in_turn())
def test_an_injury_of_content_is_found(name: str, case: str) -> None:
    (clip, *_), deriver = true_clips(case)
    injury = INJURIES[name]
    lines = contradictions(injury.inflict(clip), deriver)
    assert any(injury.named in line for line in lines), lines
    assert all("\n" not in line for line in lines)


@pytest.mark.parametrize("case", CASES)
def test_pictures_of_another_clip_are_found(case: str) -> None:
    (clip, other, *_), deriver = true_clips(case)
    pictures = {name: getattr(other, name) for name in ("rgb", "depth_tenth_mm", "parts", "depth_sensor_tenth_mm", "flow_px", "normals", "mask_amodal", "mask_visible")}
    assert any(line.startswith("parts") for line in contradictions(replace(clip, **pictures), deriver))
    assert contradictions(replace(clip, labels=other.labels), deriver)


def test_a_slow_clips_neighbours_are_told_apart() -> None:
    """At 0.1 mm a frame, before a camera that hardly moves: what of a frame can be seen at all."""
    still = {"flow.median_step_mm": 0.1, "flow.spread": 0.0, "flow.rest": 0.0, "camera.turn_deg_s": 0.0, "camera.drift": 0.0, "camera.approach": 0.0, "occluder.share": 0.0}
    config = config_of("right", **still)
    deriver = open_deriver(config, load_hand("open"))
    for clip in make_clips(config, range(2)):
        assert contradictions(clip, deriver) == []
        for injury in (picture("depth_tenth_mm", swapped(1, 2)), picture("parts", swapped(1, 2)), every_picture(swapped(1, 2)), every_label(swapped(1, 2))):
            assert contradictions(injury(clip), deriver)


def test_an_unknown_thing_is_before_what_it_hides() -> None:
    clips, deriver = true_clips("second hands")
    clip = next(clip for clip in clips if clip.meta["occluder"]["kind"] == "hand" and (clip.parts == 30).any())
    behind = replace(clip, depth_tenth_mm=np.where(clip.parts == 30, 60000, clip.depth_tenth_mm).astype(np.uint16))
    nothing = replace(clip, depth_tenth_mm=np.where(clip.parts == 30, 0, clip.depth_tenth_mm).astype(np.uint16))
    as_hand = replace(clip, parts=np.where(clip.parts == 30, 1, clip.parts).astype(np.uint8))
    for injured in (behind, nothing, as_hand):
        assert [line for line in contradictions(injured, deriver) if line.startswith(("depth", "parts"))]


def test_a_photos_motion_is_that_of_its_patches() -> None:
    """Against the maps a clip's background is drawn from, and against one that leaps."""
    rng, size, frames = np.random.default_rng(3), (40, 30), 7
    start, end = draw_patches((400, 300), size, BackgroundConfig(speed=2.0, turn_deg=20.0), 0.3, rng)
    share = np.linspace(0, 1, frames)[:, None, None]
    maps = (1 - share) * photo_from_pixel(start, size) + share * photo_from_pixel(end, size)
    whole = np.concatenate([maps, np.tile([[[0.0, 0.0, 1.0]]], (frames, 1, 1))], 1)
    pixels = np.stack([*np.meshgrid(np.arange(size[0]), np.arange(size[1])), np.ones(size[::-1])], -1)
    steps = np.linalg.solve(whole[1:], whole[:-1])
    flow = (np.einsum("tij,hwj->thwi", steps, pixels) - pixels)[..., :2].astype(np.float32)
    seen = rng.random(flow.shape[:3]) < 0.5
    assert np.abs(flow).max() > 1 and photo_motion_error(flow, seen).max() < 1e-3
    flow[3] += 0.5
    assert photo_motion_error(flow, seen).argmax() == 3
    assert not photo_motion_error(flow, np.zeros_like(seen)).any()
