"""Injuries of a clip's content: each by its name, with what it does to a clip and a word that some line of a report on it has to hold."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from seqgen.dataset.mirror import mirrored
from seqgen.dataset.sequence import HandSequence, is_hand

Array = np.ndarray


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
