"""All that is exactly known of a clip, computed from the values as they are stored."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8, UInt16

from seqgen.camera import Camera, fit_weak_perspective
from seqgen.dataset.conventions import FLESH_M
from seqgen.dataset.sequence import DEPTH_UNIT_M, Labels
from seqgen.poses.bank import PoseBank
from seqgen.poses.flow import PoseFlow
from seqgen.scene.view import View
from seqgen.skeleton import joint_parts

Array = np.ndarray


@dataclass(frozen=True)
class HandMotion:
    """The hand's parameters over a clip, as they are stored, with the joints and vertices they give (camera frame)."""

    pose: Float32[Array, "frames 16 3"]
    betas: Float32[Array, "10"]
    translation_m: Float32[Array, "frames 3"]
    joints_m: Float32[Array, "frames 21 3"]
    vertices_m: Float32[Array, "frames vertices 3"]


def make_labels(
    hand: HandMotion, camera: Camera, view: View, flow: PoseFlow, parts: UInt8[Array, "t h w"], depth_tenth_mm: UInt16[Array, "t h w"], bank: PoseBank, *, store_flow: bool
) -> Labels:
    """All that is known of a clip. Everything is computed from the values as they are stored."""
    intrinsics = camera.intrinsics.astype(np.float32)
    joints_px = Camera(camera.kind, intrinsics.astype(float), camera.size).project(hand.joints_m.astype(float)).astype(np.float32)
    weak, _ = fit_weak_perspective(hand.joints_m.astype(float), joints_px.astype(float))
    return Labels(
        joints_m=hand.joints_m,
        joints_px=joints_px,
        joints_visible=visible_joints(parts, depth_tenth_mm, joints_px, hand.joints_m[..., 2]),
        pose=hand.pose,
        betas=hand.betas,
        translation_m=hand.translation_m,
        intrinsics=intrinsics,
        camera_from_world=view.camera_from_world.astype(np.float32),
        weak_perspective=weak.astype(np.float32),
        flow_joints_m=flow.joints_m.astype(np.float32) if store_flow else None,
        flow_source=bank.source_row[flow.source].astype(np.int64) if store_flow else None,
    )


def visible_joints(
    parts: UInt8[Array, "frames h w"], depth_tenth_mm: UInt16[Array, "frames h w"], joints_px: Float[Array, "frames 21 2"], joints_z_m: Float[Array, "frames 21"]
) -> Bool[Array, "frames 21"]:
    """A joint is visible when the surface at its pixel belongs to a part that the joint connects, and is the flesh over the joint.

    By the part alone, a wrist behind the whole length of the palm would count: the surface has to lie within FLESH_M of the joint.
    """
    connects = np.zeros((21, 256), bool)
    for joint, labels in enumerate(joint_parts()):
        connects[joint, list(labels)] = True
    frames, height, width = parts.shape
    x, y = np.moveaxis(np.round(joints_px).astype(int), -1, 0)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    at = (np.arange(frames)[:, None], y.clip(0, height - 1), x.clip(0, width - 1))
    over_m = joints_z_m.astype(float) - depth_tenth_mm[at] * DEPTH_UNIT_M
    return inside & connects[np.arange(21), parts[at]] & (over_m >= FLESH_M[0]) & (over_m <= FLESH_M[1])
