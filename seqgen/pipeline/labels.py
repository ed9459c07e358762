"""All that is exactly known of a clip, computed from the values as they are stored: its label arrays, and the pictures beside colour, depth and parts."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8, UInt16

from seqgen.camera import Camera, fit_weak_perspective
from seqgen.config import Section
from seqgen.dataset.conventions import FLESH_M
from seqgen.dataset.sequence import DEPTH_UNIT_M, NOT_HIDDEN, NOTHING_THERE, Labels, is_hand, mask_bytes, normal_bytes
from seqgen.poses.bank import PoseBank
from seqgen.poses.flow import PoseFlow
from seqgen.render.renderer import Extra, Frames
from seqgen.scene.view.view import View
from seqgen.skeleton import PART_BACKGROUND, joint_parts

Array = np.ndarray


class LabelsConfig(Section):
    flow_source: bool | None = None
    """store the asked-for motion and its source rows; none: unless the bank's licence forbids copies"""
    optical_flow: bool = False
    """store how far each pixel moves to the next frame (.flow.npy, 8 bytes a pixel)"""
    normals: bool = False
    """store the surface's normals (.normals.png)"""
    mask_amodal: bool = False
    """store where the hand would be seen if nothing were before it (.mask_amodal.png)"""
    mask_visible: bool = False
    """store where the hand is seen (.mask_visible.png); `parts` says so too"""
    hidden_by: bool = True
    """name what hides each hidden joint (joints_hidden_by in labels.npz)"""
    boxes: bool = True
    """store the boxes of the whole hand and of what is seen of it (box_px, box_visible_px in labels.npz)"""


@dataclass(frozen=True)
class HandMotion:
    """The hand's parameters over a clip, as they are stored, with the joints and vertices they give (camera frame)."""

    pose: Float32[Array, "frames 16 3"]
    betas: Float32[Array, "10"]
    translation_m: Float32[Array, "frames 3"]
    joints_m: Float32[Array, "frames 21 3"]
    vertices_m: Float32[Array, "frames vertices 3"]


def make_labels(
    hand: HandMotion,
    camera: Camera,
    view: View,
    flow: PoseFlow,
    parts: UInt8[Array, "frames h w"],
    depth_tenth_mm: UInt16[Array, "frames h w"],
    bank: PoseBank,
    config: LabelsConfig,
    *,
    store_flow: bool,
) -> Labels:
    """All arrays that are known of a clip and asked for. `parts` and `depth_tenth_mm` are the pictures as they are stored."""
    intrinsics = camera.intrinsics.astype(np.float32)
    stored = Camera(camera.kind, intrinsics.astype(float), camera.size)
    joints_px = stored.project(hand.joints_m.astype(float)).astype(np.float32)
    weak, residual_px = fit_weak_perspective(hand.joints_m.astype(float), joints_px.astype(float))
    hidden_by = joints_hidden_by(parts, depth_tenth_mm, joints_px, hand.joints_m[..., 2])
    return Labels(
        joints_m=hand.joints_m,
        joints_px=joints_px,
        joints_visible=hidden_by == NOT_HIDDEN,
        pose=hand.pose,
        betas=hand.betas,
        translation_m=hand.translation_m,
        intrinsics=intrinsics,
        camera_from_world=view.camera_from_world.astype(np.float32),
        weak_perspective=weak.astype(np.float32),
        weak_perspective_residual_px=residual_px.astype(np.float32),
        joints_hidden_by=hidden_by if config.hidden_by else None,
        box_px=hand_box(hand.vertices_m, stored) if config.boxes else None,
        box_visible_px=visible_box(parts) if config.boxes else None,
        flow_joints_m=flow.joints_m.astype(np.float32) if store_flow else None,
        flow_source=bank.source_row[flow.source].astype(np.int64) if store_flow else None,
    )


def renderer_extras(config: LabelsConfig) -> frozenset[Extra]:
    """What the renderer has to draw beside colour, depth and parts."""
    asked: dict[Extra, bool] = {"flow": config.optical_flow, "normals": config.normals, "amodal": config.mask_amodal}
    return frozenset(name for name, wanted in asked.items() if wanted)


def extra_pictures(config: LabelsConfig, frames: Frames) -> dict[str, Array]:
    """The optional pictures asked for, under their names in `HandSequence`, as they are stored. `frames` was drawn with `renderer_extras(config)`."""
    pictures: dict[str, Array] = {}
    if config.optical_flow:
        pictures["flow_px"] = frames.flow_px
    if config.normals:
        pictures["normals"] = normal_bytes(frames.normals)
    if config.mask_amodal:
        pictures["mask_amodal"] = mask_bytes(frames.amodal)
    if config.mask_visible:
        pictures["mask_visible"] = mask_bytes(is_hand(frames.parts))
    return pictures


def joints_hidden_by(
    parts: UInt8[Array, "frames h w"], depth_tenth_mm: UInt16[Array, "frames h w"], joints_px: Float[Array, "frames 21 2"], joints_z_m: Float[Array, "frames 21"]
) -> UInt8[Array, "frames 21"]:
    """NOT_HIDDEN, or the part at the joint's pixel that hides it, or NOTHING_THERE.

    A joint is visible when the surface at its pixel belongs to a part that the joint connects, and is the flesh over the joint. By the part alone, a wrist
    behind the whole length of the palm would count: the surface has to lie within FLESH_M of the joint.
    """
    frames, height, width = parts.shape
    x, y = np.moveaxis(np.round(joints_px).astype(int), -1, 0)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    at = (np.arange(frames)[:, None], y.clip(0, height - 1), x.clip(0, width - 1))
    seen = np.where(inside, parts[at], np.uint8(PART_BACKGROUND))
    over_m = joints_z_m.astype(float) - depth_tenth_mm[at] * DEPTH_UNIT_M
    visible = _connects()[np.arange(21), seen] & (over_m >= FLESH_M[0]) & (over_m <= FLESH_M[1])
    return np.where(visible, np.uint8(NOT_HIDDEN), np.where(seen == PART_BACKGROUND, np.uint8(NOTHING_THERE), seen))


def hand_box(vertices_m: Float32[Array, "frames vertices 3"], camera: Camera) -> Float32[Array, "frames 4"]:
    """x0, y0, x1, y1 of the projected mesh, px; it may exceed the picture. Extremes come first and pixels after: the way from slopes to pixels only rises, so
    rounding too leaves their order alone."""
    x, y, z = np.moveaxis(vertices_m, -1, 0).astype(float, order="C")  # along memory an extreme costs a twentieth
    slopes = (x, y) if camera.kind == "weak_perspective" else (x / z, y / z)
    corners = np.stack([[extreme(slope, 1) for slope in slopes] + [np.ones(len(z))] for extreme in (np.min, np.max)])
    return camera.project(corners.transpose(2, 0, 1)).reshape(-1, 4).astype(np.float32)


def visible_box(parts: UInt8[Array, "frames h w"]) -> Float32[Array, "frames 4"]:
    """x0, y0, x1, y1 of the hand's pixels along their outer edges, px; zeros where none is seen."""
    hand = is_hand(parts)
    columns, rows = hand.any(1), hand.any(2)
    (x0, x1), (y0, y1) = _extent(columns), _extent(rows)
    return np.where(rows.any(1)[:, None], np.stack([x0, y0, x1, y1], 1), 0).astype(np.float32)


def frames_outside(box_px: Float32[Array, "frames 4"], size: tuple[int, int]) -> int:
    """In how many frames a part of the hand is outside the picture, whose outermost pixels reach half a pixel beyond their centres."""
    return int(((box_px[:, :2] < -0.5) | (box_px[:, 2:] > np.array(size) - 0.5)).any(1).sum())


def _extent(used: Bool[Array, "frames length"]) -> tuple[Float[Array, "frames"], Float[Array, "frames"]]:
    """The outer edges of the first and the last place that is used."""
    return used.argmax(1) - 0.5, used.shape[1] - used[:, ::-1].argmax(1) - 0.5


@cache
def _connects() -> Bool[Array, "21 256"]:
    """Whether a joint connects the part of a label."""
    connects = np.zeros((21, 256), bool)
    for joint, labels in enumerate(joint_parts()):
        connects[joint, list(labels)] = True
    connects.flags.writeable = False
    return connects
