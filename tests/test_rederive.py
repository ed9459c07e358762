"""Clips of every preset contradict nothing; clips whose content was injured, however slightly, are found out, each by what was injured.

`pytest -m slow tests/test_rederive.py` looks at many clips of every preset.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from seqgen.config import build, find_config, overlay, read_toml, shipped_configs
from seqgen.dataset.mirror import mirrored
from seqgen.dataset.sequence import HandSequence, is_hand
from seqgen.hand import load_hand
from seqgen.hand.layer import HandLayer, HandMesh
from seqgen.pipeline.assets import gather_assets
from seqgen.pipeline.config import GenerateConfig
from seqgen.pipeline.generate import generate_sequence, open_sources
from seqgen.pipeline.photo_motion import photo_motion_error
from seqgen.pipeline.process import one_thread
from seqgen.pipeline.rederive import Deriver, contradictions, open_deriver
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


# ---- injuries: name -> what is done to a clip, and a word that some line of the report has to hold


@dataclass(frozen=True)
class Injury:
    """`needs`: an array without which there is nothing to injure."""

    inflict: Callable[[HandSequence], HandSequence]
    named: str
    needs: str = "parts"


def label(name: str, change: Callable[[Array], Array]) -> Callable[[HandSequence], HandSequence]:
    """One array of the labels, changed."""
    return lambda clip: replace(clip, labels=replace(clip.labels, **{name: like(getattr(clip.labels, name), change)}))


def picture(name: str, change: Callable[[Array], Array]) -> Callable[[HandSequence], HandSequence]:
    """One kind of pictures, changed."""
    return lambda clip: replace(clip, **{name: like(getattr(clip, name), change)})


def scalar(dotted: str, change: Callable[[Any], Any]) -> Callable[[HandSequence], HandSequence]:
    """One scalar of the meta, changed."""

    def inflict(clip: HandSequence) -> HandSequence:
        section, _, field = dotted.rpartition(".")
        holder = clip.meta[section] if section else clip.meta
        changed = {**holder, field: change(holder[field])}
        return replace(clip, meta={**clip.meta, section: changed} if section else changed)

    return inflict


def like(array: Array, change: Callable[[Array], Array]) -> Array:
    """The change of a copy, in the type it had."""
    return np.ascontiguousarray(change(array.copy()), array.dtype)


def at(place: Any, amount: float) -> Callable[[Array], Array]:
    """`amount` more at one place."""

    def change(array: Array) -> Array:
        array[place] += amount
        return array

    return change


def swapped(first: int, second: int, axis: int = 0) -> Callable[[Array], Array]:
    def change(array: Array) -> Array:
        order = np.arange(array.shape[axis])
        order[[first, second]] = second, first
        return np.take(array, order, axis)

    return change


def every_label(change: Callable[[Array], Array]) -> Callable[[HandSequence], HandSequence]:
    """All arrays that have frames."""

    def inflict(clip: HandSequence) -> HandSequence:
        arrays = {field.name: getattr(clip.labels, field.name) for field in fields(clip.labels) if field.name != "betas"}
        return replace(clip, labels=replace(clip.labels, **{name: like(array, change) for name, array in arrays.items() if array is not None}))

    return inflict


def every_picture(change: Callable[[Array], Array], but: tuple[str, ...] = ()) -> Callable[[HandSequence], HandSequence]:
    names = [field.name for field in fields(HandSequence) if field.name not in ("key", "split", "labels", "meta", *but)]
    return lambda clip: replace(clip, **{name: like(getattr(clip, name), change) for name in names if getattr(clip, name) is not None})


def flipped(array: Array) -> Array:
    """All that is, of one bool."""
    array[1, 6] ^= True
    return array


def over_hand(counts: int) -> Callable[[HandSequence], HandSequence]:
    return lambda clip: replace(clip, depth_tenth_mm=(clip.depth_tenth_mm + counts * is_hand(clip.parts)).astype(np.uint16))


def relabelled(labels: dict[int, int]) -> Callable[[HandSequence], HandSequence]:
    """Parts under other labels, with all that follows from them in the masks."""
    table = np.arange(256)
    for label, other in labels.items():
        table[label] = other
    return picture("parts", lambda parts: table[parts])


def inner_pixel(clip: HandSequence) -> tuple[int, int, int]:
    """The pixel of frame 1 that has its own part of the hand, at most evenly deep, all around."""
    parts, depth = clip.parts[1], clip.depth_tenth_mm[1].astype(int)
    around = [(slice(dy, parts.shape[0] - 2 + dy), slice(dx, parts.shape[1] - 2 + dx)) for dy in range(3) for dx in range(3)]
    one = np.all([parts[place] == parts[1:-1, 1:-1] for place in around], 0) & is_hand(parts)[1:-1, 1:-1]
    relief = np.where(one, np.ptp([depth[place] for place in around], axis=0), 1 << 20)
    row, column = np.unravel_index(relief.argmin(), relief.shape)
    return 1, int(row) + 1, int(column) + 1


def pixel(name: str, amount: int) -> Callable[[HandSequence], HandSequence]:
    return lambda clip: picture(name, at(inner_pixel(clip), amount))(clip)


def together(*injuries: Callable[[HandSequence], HandSequence]) -> Callable[[HandSequence], HandSequence]:
    def inflict(clip: HandSequence) -> HandSequence:
        for injury in injuries:
            clip = injury(clip)
        return clip

    return inflict


def hidden_where_seen(clip: HandSequence) -> HandSequence:
    """A visible joint called hidden, by the part at its pixel, in both arrays."""
    frame, joint = np.argwhere(clip.labels.joints_visible)[0]
    visible, hidden_by = clip.labels.joints_visible.copy(), clip.labels.joints_hidden_by.copy()
    visible[frame, joint], hidden_by[frame, joint] = False, 20
    return replace(clip, labels=replace(clip.labels, joints_visible=visible, joints_hidden_by=hidden_by))


def moved_with_its_pose(clip: HandSequence) -> HandSequence:
    """The hand of all frames 1 mm deeper, joints and translation agreeing."""
    deeper = label("joints_m", lambda joints: joints + np.float32([0, 0, 1e-3]))(clip)
    return label("translation_m", lambda places: places + np.float32([0, 0, 1e-3]))(deeper)


def photo_flow(clip: HandSequence) -> HandSequence:
    """The photo of one frame glides 0.3 px farther."""
    moved = clip.flow_px.copy()
    moved[1][clip.parts[1] == 0] += np.float32(0.3)
    return replace(clip, flow_px=moved)


def turned_world(matrices: Array) -> Array:
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_rotvec([0, 0.01, 0]).as_matrix()
    return turn @ matrices


def shifted(pictures: Array) -> Array:
    return np.roll(pictures, 1, 2)


INJURIES: dict[str, Injury] = {
    "a joint 1 mm aside": Injury(label("joints_m", at((2, 8, 0), 1e-3)), "joints_m, frame 2, joint index_tip: off by 1 mm"),
    "a joint half a pixel aside": Injury(label("joints_px", at((3, 0, 1), 0.5)), "joints_px, frame 3, joint wrist: off by 0.5 px"),
    "joints in millimetres": Injury(label("joints_m", lambda joints: joints * 1e3), "joints_m"),
    "joints not numbers": Injury(label("joints_m", at((0, 0, 0), np.nan)), "joints_m"),
    "joints in one place": Injury(label("joints_m", lambda joints: joints * 0), "joints_m"),
    "pixels beyond all": Injury(label("joints_px", lambda px: px * 1e30), "joints_px"),
    "no focal length": Injury(label("intrinsics", lambda k: k * 0), "intrinsics"),
    "fingers turned to and fro": Injury(label("pose", lambda pose: pose * 20), "pose of the wrist"),
    "a shape as none": Injury(label("betas", lambda betas: betas + 90), "betas"),
    "no motion": Injury(label("flow_joints_m", lambda joints: joints * 0), "a palm of 95 mm", "flow_joints_m"),
    "two fingers' joints exchanged": Injury(label("joints_m", lambda joints: joints[:, [0, 1, 2, 3, 4, 9, 10, 11, 12, 5, 6, 7, 8, *range(13, 21)]]), "joints_m"),
    "joints of neighbouring frames swapped": Injury(label("joints_m", swapped(1, 2)), "joints_m"),
    "a visible flag flipped": Injury(label("joints_visible", flipped), "joints_visible"),
    "hidden by another": Injury(label("joints_hidden_by", lambda hidden_by: np.where(hidden_by == 3, 4, 3)), "joints_hidden_by"),
    "a seen joint hidden in both": Injury(hidden_where_seen, "joints_visible"),
    "a finger bent by a hundredth": Injury(label("pose", at((2, 5, 2), 0.01)), "joints_m, frame 2"),
    "the wrist turned by a hundredth": Injury(label("pose", at((2, 0, 1), 0.01)), "pose of the wrist, frame 2"),
    "a finger twisted about itself": Injury(label("pose", at((2, 2, 0), 0.05)), "frame 2"),
    "another shape": Injury(label("betas", at(3, 0.02)), "betas, number 3"),
    "translation 1 mm aside": Injury(label("translation_m", at((4, 2), 1e-3)), "translation_m, frame 4: off by 1 mm"),
    "the hand deeper, with its joints": Injury(moved_with_its_pose, "translation_m"),
    "intrinsics scaled": Injury(label("intrinsics", lambda k: k * np.float32([[1.001], [1.001], [1]])), "intrinsics"),
    "the principal point aside": Injury(label("intrinsics", at((1, 0, 2), 0.5)), "intrinsics, frame 1"),
    "a world that is not rigid": Injury(label("camera_from_world", lambda m: m * np.float32(1.001)), "camera_from_world, frame 0: off by 0.00"),
    "another world": Injury(label("camera_from_world", turned_world), "camera_from_world"),
    "a world 1 mm aside": Injury(label("camera_from_world", at((1, 0, 3), 1e-3)), "camera_from_world, frame 1"),
    "weak perspective scaled": Injury(label("weak_perspective", lambda w: w * np.float32([1.001, 1, 1])), "weak_perspective"),
    "weak perspective aside": Injury(label("weak_perspective", at((2, 1), 0.5)), "weak_perspective, frame 2"),
    "another residual": Injury(label("weak_perspective_residual_px", at(2, 0.01)), "weak_perspective_residual_px, frame 2"),
    "a box aside": Injury(label("box_px", at((2, 3), 0.5)), "box_px, frame 2"),
    "a box of what is seen aside": Injury(label("box_visible_px", at((2, 0), 1)), "box_visible_px, frame 2"),
    "all labels of two frames swapped": Injury(every_label(swapped(1, 2)), "from what seed"),
    "all labels backwards": Injury(every_label(lambda array: array[::-1]), "parts"),
    "labels of the mirror image": Injury(lambda clip: replace(clip, labels=mirrored(clip).labels), "joints_m"),
    "a frame of labels repeated": Injury(every_label(lambda array: array[[0, 1, 1, 3, 4]]), "parts"),
    "the other side": Injury(scalar("hand.side", {"left": "right", "right": "left"}.get), "meta.hand.side"),
    "the whole clip in a mirror": Injury(mirrored, "meta.hand.side"),
    "the whole clip in a mirror, side kept": Injury(lambda clip: replace(mirrored(clip), meta=clip.meta), "joints_m"),
    "asked-for motion 1 mm aside": Injury(label("flow_joints_m", at((2, 8, 0), 1e-3)), "mm_per_frame", "flow_joints_m"),
    "asked-for motion larger": Injury(label("flow_joints_m", lambda joints: joints * 1.01), "a palm of 95 mm", "flow_joints_m"),
    "asked-for motion backwards": Injury(label("flow_joints_m", lambda joints: joints[::-1]), "in reverse", "flow_joints_m"),
    "asked-for motion of a left hand": Injury(label("flow_joints_m", lambda joints: joints * [-1, 1, 1]), "axes of the hand frame", "flow_joints_m"),
    "asked-for frames swapped": Injury(label("flow_joints_m", swapped(1, 3)), "mm_per_frame", "flow_joints_m"),
    "a source before the first": Injury(label("flow_source", at(1, -(2**40))), "flow_source, frame 1", "flow_source"),
    "no source": Injury(lambda clip: replace(clip, labels=replace(clip.labels, flow_source=None)), "flow_source", "flow_source"),
    "depth of neighbouring frames swapped": Injury(picture("depth_tenth_mm", swapped(1, 2)), "depth"),
    "parts of neighbouring frames swapped": Injury(picture("parts", swapped(2, 3)), "parts"),
    "all pictures of two frames swapped": Injury(every_picture(swapped(0, 1)), "parts"),
    "depth in millimetres": Injury(picture("depth_tenth_mm", lambda depth: depth // 10), "depth"),
    "depth in metres": Injury(picture("depth_tenth_mm", lambda depth: depth // 10000), "depth"),
    "depth 1 mm deeper over the hand": Injury(over_hand(10), "depth"),
    "depth one count deeper over the hand": Injury(over_hand(1), "on the mean over the part"),
    "one pixel deeper": Injury(pixel("depth_tenth_mm", 4), "depth, frame 1"),
    "depth of the photo": Injury(picture("depth_tenth_mm", lambda depth: np.where(depth == 0, 9000, depth)), "depth"),
    "depth in a mirror": Injury(picture("depth_tenth_mm", lambda depth: depth[:, :, ::-1]), "depth"),
    "depth a pixel aside": Injury(picture("depth_tenth_mm", shifted), "depth"),
    "all pictures a pixel aside": Injury(every_picture(shifted), "parts"),
    "all pictures in a mirror": Injury(every_picture(lambda pictures: pictures[:, :, ::-1]), "parts"),
    "parts in canonical order": Injury(relabelled({2: 5, 3: 6, 4: 7, 5: 8, 6: 9, 7: 10, 8: 14, 9: 15, 10: 16, 14: 2, 15: 3, 16: 4}), "parts"),
    "two fingers' parts exchanged": Injury(relabelled({2: 5, 3: 6, 4: 7, 5: 2, 6: 3, 7: 4}), "parts"),
    "hand as arm": Injury(relabelled({1: 20}), "parts"),
    "hand as a thing in the way": Injury(relabelled(dict.fromkeys(range(1, 17), 30)), "parts"),
    "labels no part has": Injury(relabelled({1: 17}), "no part (17)"),
    "one pixel of another part": Injury(pixel("parts", 1), "parts, frame 1"),
    "masks exchanged": Injury(lambda clip: replace(clip, mask_visible=255 - clip.mask_amodal, mask_amodal=clip.mask_visible), "mask_visible"),
    "the amodal mask of the next frame": Injury(picture("mask_amodal", lambda mask: mask[[0, 2, 2, 3, 4]]), "mask_amodal"),
    "the amodal mask inverted": Injury(picture("mask_amodal", lambda mask: 255 - mask), "mask_amodal"),
    "a mask of ones": Injury(picture("mask_visible", lambda mask: mask // 255), "mask_visible"),
    "normals inwards": Injury(picture("normals", lambda n: np.where(n.any(-1, keepdims=True), 255 - n, 0)), "normals"),
    "normals in another order": Injury(picture("normals", lambda n: n[..., [2, 1, 0]]), "normals"),
    "normals shorter": Injury(picture("normals", lambda n: np.where(n.any(-1, keepdims=True), 128 + (n.astype(int) - 128) * 0.95, 0)), "normals"),
    "normals of neighbouring frames swapped": Injury(picture("normals", swapped(1, 2)), "normals"),
    "optical flow longer": Injury(picture("flow_px", lambda flow: flow * 1.1), "flow"),
    "optical flow y, x": Injury(picture("flow_px", lambda flow: flow[..., ::-1]), "flow"),
    "optical flow backwards": Injury(picture("flow_px", lambda flow: -flow), "flow"),
    "optical flow of neighbouring frames swapped": Injury(picture("flow_px", swapped(1, 2)), "flow"),
    "optical flow of the photo aside": Injury(photo_flow, "even motion of a photo"),
    "optical flow in the last frame": Injury(picture("flow_px", at((4, 5, 5, 0), 1.0)), "flow, frame 4"),
    "sensor depth in millimetres": Injury(picture("depth_sensor_tenth_mm", lambda depth: depth // 10), "depth_sensor", "depth_sensor_tenth_mm"),
    "sensor depth a pixel aside": Injury(picture("depth_sensor_tenth_mm", shifted), "depth_sensor", "depth_sensor_tenth_mm"),
    "sensor depth 1 mm deeper": Injury(picture("depth_sensor_tenth_mm", lambda depth: depth + 10 * (depth > 0)), "depth_sensor", "depth_sensor_tenth_mm"),
    "sensor depth that is the clean one": Injury(lambda clip: replace(clip, depth_sensor_tenth_mm=clip.depth_tenth_mm), "depth_sensor", "depth_sensor_tenth_mm"),
    "sensor depth in a mirror": Injury(picture("depth_sensor_tenth_mm", lambda depth: depth[:, :, ::-1]), "depth_sensor", "depth_sensor_tenth_mm"),
    "sensor depth of neighbouring frames swapped": Injury(picture("depth_sensor_tenth_mm", swapped(1, 2)), "depth_sensor", "depth_sensor_tenth_mm"),
    "pictures that were not asked for": Injury(lambda clip: replace(clip, mask_visible=None), "mask_visible: missing"),
    "seed": Injury(scalar("seed", lambda seed: seed + 1), "meta.seed"),
    "frames": Injury(scalar("frames", lambda frames: frames + 1), "meta.frames"),
    "fps": Injury(scalar("fps", lambda fps: fps * 2), "meta.fps"),
    "size": Injury(scalar("size", lambda size: size[::-1] if size[0] != size[1] else [size[0], size[0] + 1]), "meta.size"),
    "split": Injury(together(scalar("split", lambda _: "test"), lambda clip: replace(clip, split="test")), "meta.split"),
    "index": Injury(together(scalar("index", lambda index: index + 1), scalar("key", lambda _: "00000001"), lambda clip: replace(clip, key="00000001")), "betas"),
    "camera kind": Injury(scalar("camera.kind", lambda kind: "perspective" if kind == "weak_perspective" else "weak_perspective"), "meta.camera.kind"),
    "camera model": Injury(scalar("camera.model", lambda model: model + "2"), "meta.camera.model"),
    "viewpoint": Injury(scalar("camera.viewpoint", lambda view: "egocentric" if view == "third_person" else "third_person"), "meta.camera.viewpoint"),
    "view": Injury(scalar("camera.view", lambda view: view + 1), "meta.camera.view"),
    "group": Injury(scalar("group", lambda _: 0), "meta.group"),
    "frames outside": Injury(scalar("camera.frames_outside", lambda count: count + 1), "meta.camera.frames_outside"),
    "hand kind": Injury(scalar("hand.kind", lambda _: "mano"), "meta.hand.kind"),
    "arm": Injury(scalar("arm.kind", lambda kind: "none" if kind == "bare" else "bare"), "meta.arm.kind"),
    "lights": Injury(scalar("light.num_lights", lambda count: count + 1), "meta.light.num_lights"),
    "shadows": Injury(scalar("light.shadows", lambda shadows: not shadows), "meta.light.shadows"),
    "thing in the way": Injury(scalar("occluder.kind", lambda kind: "box" if kind != "box" else "capsule"), "meta.occluder.kind"),
    "colour sensor": Injury(scalar("sensor.kind", lambda kind: "none" if kind == "drawn" else "drawn"), "meta.sensor.kind"),
    "depth sensor": Injury(scalar("sensor.depth", lambda kind: "none" if kind != "none" else "d435"), "meta.sensor.depth"),
    "skin's angle": Injury(scalar("skin.ita_deg", lambda angle: angle + 1e-3), "meta.skin.ita_deg"),
    "skin's tone": Injury(scalar("skin.tone", lambda tone: "dark" if tone != "dark" else "tan"), "meta.skin.tone"),
    "licence": Injury(scalar("licences.hand", lambda _: "not stated"), "meta.licences.hand"),
    "speed": Injury(scalar("flow.mm_per_frame", lambda step: step + 1e-3), "meta.flow.mm_per_frame", "flow_joints_m"),
    "kind of motion": Injury(scalar("flow.kind", lambda kind: kind + "2"), "meta.flow.kind"),
    "rows of the motion": Injury(scalar("flow.start_row", lambda _: None), "meta.flow.start_row", "flow_joints_m"),
    "draws of the motion": Injury(scalar("flow.redraws", lambda _: 99), "meta.flow.redraws"),
}

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
