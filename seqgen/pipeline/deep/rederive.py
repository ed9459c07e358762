"""What a stored clip says of itself, derived again from its parts: the heart of `seqgen verify --deep`.

    finger rotations, seed, index ──> the hand before the camera, and all around it (`restage.py`) ──> pictures (`pictures.py`), scalars (`meta.py`)
    pose, betas, camera ... ──> joints, pixels, boxes, visibility, weak perspective, each from those that are stored beside it

Taken as stored, since only the bank of poses knows more: how the fingers bend, and the motion they were asked to follow. A pose that was exchanged together
with all that follows from it is found by regeneration alone, and so are colours, the sources of the motion, and whatever is behind.

Where a clip is right the very functions that made it give the same bits on a like platform. Elsewhere float32 arithmetic may differ in its last bits, 6e-8 m
half a metre away and some times that after skinning: the tolerances are far above and far below a millimetre.
"""

from dataclasses import fields
from itertools import product

import numpy as np
import torch
from jaxtyping import Float, Float32

from seqgen.camera import Camera, fit_weak_perspective
from seqgen.dataset.encoding import FRAME_MEMBERS
from seqgen.dataset.mirror import NEGATE_X
from seqgen.dataset.sequence import NOT_HIDDEN, HandSequence, Labels
from seqgen.geometry import matrix_from_axis_angle
from seqgen.pipeline.config import GenerateConfig
from seqgen.pipeline.deep.meta import frame_contradictions, meta_contradictions, stores_flow
from seqgen.pipeline.deep.pictures import as_in_mirror, picture_contradictions
from seqgen.pipeline.deep.restage import Deriver, Restaged, open_deriver, restage
from seqgen.pipeline.deep.values import FRAME, JOINT, contradiction, disagreement
from seqgen.pipeline.labels import hand_box, joints_hidden_by, renderer_extras, visible_box
from seqgen.pipeline.process import one_thread
from seqgen.render.renderer import Frames
from seqgen.skeleton import FINGER_BONES, PALM_M, PART_OCCLUDER, hand_frame

__all__ = ["Deriver", "contradictions", "open_deriver"]
Array = np.ndarray
PLACE_M, PLACE_PX = 1e-5, 1e-3
MESH_PX = 0.01  # PLACE_M of a vertex at 1,000 px a metre
TURN = 1e-5  # of a rotation matrix's entries
RELATIVE = 1e-5  # of focal lengths and scales
LARGEST = 100.0  # of a rotation vector; none of a hand comes near, and beyond it nothing can be reckoned
PALM_OFF_M = 1e-6  # a normalised pose is rounded to a micrometre
AXES_OFF = 0.05  # of the hand frame of a mean of two poses, which have one frame each
BONE_OFF_RAD = np.pi / 4  # mean over the bones of a frame: beyond it is another pose
BACKWARDS = 0.5  # a motion that fits the pose so much better from its end to its start is stored that way
SENSOR_REACH_PX = 5  # so far a depth sensor's reading is another's (its lateral noise stays below 4 px, and takes slopes from one more)
SENSOR_SHARE = {"warp": 0.01, "pyrender": 0.1}  # of readings that rounding takes to the next step, beyond a threshold, or to another bin of noise


def contradictions(sequence: HandSequence, deriver: Deriver) -> list[str]:
    """What in a clip contradicts its own parts, its config or its index: one line each, with array, place and amount; none when the clip is true."""
    config = deriver.config
    lines = frame_contradictions(sequence, config) + _absent(sequence, config) + _not_finite(sequence.labels)
    if lines:
        return lines
    with one_thread(), np.errstate(all="ignore"):  # injured values may divide by zero; what is then no number is a contradiction
        return _derived_off(sequence, deriver)


def _derived_off(sequence: HandSequence, deriver: Deriver) -> list[str]:
    """Of a clip that is in form."""
    config = deriver.config
    staged = restage(sequence.meta["index"], sequence.labels.pose[:, 1:], deriver)
    frames = deriver.renderer.render(staged.scene, renderer_extras(config.labels))
    frames = as_in_mirror(frames) if staged.left else frames
    vertices_m, joints_m = _posed(sequence.labels, staged.left, deriver)
    camera = Camera(config.camera.kind, sequence.labels.intrinsics.astype(float), config.clip.size)
    box_px = hand_box(vertices_m, camera)
    lines = _labels_off(sequence, camera, joints_m, box_px) + _stage_off(sequence.labels, staged, deriver)
    lines += picture_contradictions(sequence, frames, config.render.renderer, whole=staged.whole)
    lines += _sensor_off(sequence, frames, staged, deriver) + _motion_off(sequence.labels, joints_m, left=staged.left)
    return lines + meta_contradictions(sequence, staged, box_px, deriver.model.licence, config)


def _absent(clip: HandSequence, config: GenerateConfig) -> list[str]:
    """Which arrays and pictures are there that were not asked for, or were and are not."""
    asked, flow = config.labels, stores_flow(config)
    flow = clip.labels.flow_joints_m is not None if flow is None else flow
    labels = {"joints_hidden_by": asked.hidden_by, "box_px": asked.boxes, "box_visible_px": asked.boxes, "flow_joints_m": flow, "flow_source": flow}
    pictures = {name: getattr(asked, name) for name in ("normals", "mask_amodal", "mask_visible")}
    pictures |= {"flow_px": asked.optical_flow, "depth_sensor_tenth_mm": config.sensor.depth != "none"}
    told = [(clip.labels, name, wanted) for name, wanted in labels.items()] + [(clip, name, wanted) for name, wanted in pictures.items()]
    lines = [f"{name}: {'missing' if wanted else 'there, though the config asks for none'}" for record, name, wanted in told if (getattr(record, name) is not None) != wanted]
    for name, array in ((member.field, getattr(clip, member.field)) for member in FRAME_MEMBERS.values()):
        if array is not None and array.shape[:3] != clip.parts.shape:
            lines.append(f"{name}: of shape {array.shape}, parts of {clip.parts.shape}")
    return lines


def _not_finite(labels: Labels) -> list[str]:
    """Arrays that hold what is no number, or rotations beyond all measure."""
    arrays = {field.name: getattr(labels, field.name) for field in fields(Labels)}
    lines = [f"{name}: holds values that are not finite" for name, array in arrays.items() if array is not None and array.dtype.kind == "f" and not np.isfinite(array).all()]
    wild = [name for name in ("pose", "betas", "translation_m") if not np.abs(arrays[name]).max() <= LARGEST]
    return lines or [f"{name}: holds {np.abs(arrays[name]).max():.4g}, as no hand has" for name in wild]


def _posed(labels: Labels, left: bool, deriver: Deriver) -> tuple[Float32[Array, "frames vertices 3"], Float32[Array, "frames 21 3"]]:
    """Vertices and joints of the stored parameters, in the camera frame of the clip."""
    with torch.no_grad():
        mesh = deriver.layer(torch.tensor(labels.pose), torch.tensor(labels.betas)[None], torch.tensor(labels.translation_m))
    across = NEGATE_X if left else np.abs(NEGATE_X)
    return mesh.vertices_m.numpy() * across, mesh.joints_m.numpy() * across


def _labels_off(clip: HandSequence, camera: Camera, joints_m: Float32[Array, "frames 21 3"], box_px: Float32[Array, "frames 4"]) -> list[str]:
    """The labels against one another, and what is seen against the pictures stored with them."""
    labels = clip.labels
    stored_m, stored_px = labels.joints_m.astype(float), labels.joints_px.astype(float)
    off_m, off_px = (np.linalg.norm(off, axis=-1) for off in (stored_m - joints_m, stored_px - camera.project(stored_m)))
    weak, residual_px = fit_weak_perspective(stored_m, stored_px)
    weak_off = np.abs(labels.weak_perspective - weak) / np.array([1.0, PLACE_PX / RELATIVE, PLACE_PX / RELATIVE])
    weak_off[:, 0] /= np.abs(weak[:, 0])
    lines = contradiction("joints_m", off_m, PLACE_M, JOINT, "where pose, betas and translation_m put it", scale=1e3, unit="mm")
    lines += contradiction("joints_px", off_px, PLACE_PX, JOINT, "where joints_m and intrinsics put it", unit="px")
    lines += contradiction("weak_perspective", weak_off, RELATIVE, ("frame", "number"), "the least squares of joints_px", scale=1e2, unit="% (of the scale, or of 100 px)")
    residual_off = np.abs(labels.weak_perspective_residual_px - residual_px)
    lines += contradiction("weak_perspective_residual_px", residual_off, PLACE_PX, FRAME, "what least squares leave", unit="px")
    if labels.box_px is not None and labels.box_visible_px is not None:
        lines += contradiction("box_px", np.abs(labels.box_px - box_px).max(1).astype(float), MESH_PX, FRAME, "the box of the hand's mesh", unit="px")
        seen = np.abs(labels.box_visible_px - visible_box(clip.parts)).max(1).astype(float)
        lines += contradiction("box_visible_px", seen, 0.0, FRAME, "the box of the hand's parts", unit="px")
    return lines + _visibility_off(clip)


def _visibility_off(clip: HandSequence) -> list[str]:
    """What is seen at each joint's pixel. A joint at the border of two pixels, or at the end of the flesh, may be judged either way."""
    labels, hidden_by = clip.labels, clip.labels.joints_hidden_by
    asides = [np.array(aside, np.float32) for aside in product((-PLACE_PX, PLACE_PX), (-PLACE_PX, PLACE_PX), (-PLACE_M, PLACE_M))]
    z_m = labels.joints_m[..., 2]
    may_be = np.stack([joints_hidden_by(clip.parts, clip.depth_tenth_mm, labels.joints_px + aside[:2], z_m + aside[2]) for aside in asides])
    seen = (may_be == NOT_HIDDEN) == labels.joints_visible
    lines = disagreement("joints_visible", ~seen.any(0), JOINT, labels.joints_visible, "the surface at its pixel says otherwise")
    if hidden_by is None:
        return lines
    lines += disagreement("joints_hidden_by", ~(may_be == hidden_by).any(0), JOINT, hidden_by, "another part is at its pixel")
    return lines + disagreement("joints_hidden_by", (hidden_by == NOT_HIDDEN) != labels.joints_visible, JOINT, hidden_by, "joints_visible says otherwise")


def _stage_off(labels: Labels, staged: Restaged, deriver: Deriver) -> list[str]:
    """The shape, the camera and the hand's place against what the seed gives for the clip's fingers."""
    shot, because = staged.shot, "what seed, index and fingers give"
    camera = shot.camera.mirrored() if staged.left else shot.camera
    world = shot.view.camera_from_world * (np.outer(*[np.append(NEGATE_X, 1)] * 2) if staged.left else 1)
    turns = [matrix_from_axis_angle(pose[:, 0]) for pose in (labels.pose, shot.hand.pose)]
    lens_off = np.abs(labels.intrinsics - camera.intrinsics) / (PLACE_PX + RELATIVE * np.abs(camera.intrinsics))
    where_off = np.linalg.norm(labels.translation_m.astype(float) - shot.hand.translation_m, axis=-1)
    return (
        contradiction("betas", np.abs(labels.betas.astype(float) - shot.hand.betas), TURN, ("number",), "what seed and index give")
        + _fingers_off(labels, deriver)
        + contradiction("pose of the wrist", np.abs(turns[0] - turns[1]).max((1, 2)), TURN, FRAME, because + " (entries of its matrix)")
        + contradiction("translation_m", where_off, PLACE_M, FRAME, because, scale=1e3, unit="mm")
        + contradiction("intrinsics", lens_off.max((1, 2)), 1.0, FRAME, because, unit="times what rounding may do")
        + _not_rigid(labels.camera_from_world)
        + contradiction("camera_from_world", np.abs(labels.camera_from_world - world).max((1, 2)), PLACE_M, FRAME, "what seed and index give")
    )


def _fingers_off(labels: Labels, deriver: Deriver) -> list[str]:
    """Fingers posed by few principal components lie in their span."""
    count, model = deriver.config.hand.pose_components, deriver.model
    components = model.pose_components.astype(float)[:count]
    away = labels.pose[:, 1:].reshape(-1, 45).astype(float) - model.pose_mean
    if count == 45:
        return []
    coefficients = np.linalg.lstsq(components.T, away.T, rcond=None)[0]
    off = np.abs(away - coefficients.T @ components).reshape(-1, 15, 3).max(-1)
    return contradiction("pose", off, TURN, ("frame", "finger joint"), f"the {count} components it is drawn with", unit="rad")


def _not_rigid(matrices: Float32[Array, "frames 4 4"]) -> list[str]:
    turn, last = matrices[:, :3, :3].astype(float), matrices[:, 3]
    off = np.maximum(np.abs(turn @ turn.swapaxes(1, 2) - np.eye(3)).max((1, 2)), np.abs(last - [0, 0, 0, 1]).max(1))
    off = np.maximum(off, np.abs(np.linalg.det(turn) - 1))
    return contradiction("camera_from_world", off, TURN, FRAME, "a turn and a shift")


def _sensor_off(clip: HandSequence, frames: Frames, staged: Restaged, deriver: Deriver) -> list[str]:
    """The depth sensor's readings against those it makes of depth drawn again, and of the stored depth of what was not. Few may differ: noise and steps turn
    rounding into other readings here and there."""
    stored, config = clip.depth_sensor_tenth_mm, deriver.config
    if stored is None:
        return []
    camera = staged.shot.camera.mirrored() if staged.left else staged.shot.camera
    depth_m, known = frames.depth_m, np.True_
    if not staged.whole:
        unknown = clip.parts == PART_OCCLUDER
        depth_m, known = np.where(unknown, clip.depth_m, depth_m), ~_grown(unknown)
    readings = deriver.depth_sensor.measure(depth_m, camera, config.sensor.depth, seed=config.seed, sequence=clip.meta["index"])
    other, there = (stored != readings) & known, ((stored > 0) | (readings > 0)) & known
    shares = other.sum((1, 2)) / np.maximum(there.sum((1, 2)), 1)
    return contradiction("depth_sensor", shares, SENSOR_SHARE[config.render.renderer], FRAME, "what the sensor reads of depth drawn again", scale=1e2, unit="% of its readings")


def _grown(mask: Array) -> Array:
    """A mask with what is near to it."""
    grown = mask
    for axis in (1, 2):
        padded = np.pad(grown, [(SENSOR_REACH_PX,) * 2 if a == axis else (0, 0) for a in range(3)])
        grown = np.lib.stride_tricks.sliding_window_view(padded, 2 * SENSOR_REACH_PX + 1, axis).any(-1)
    return grown


def _motion_off(labels: Labels, joints_m: Float32[Array, "frames 21 3"], *, left: bool) -> list[str]:
    """The asked-for motion: in the hand frame, with the palm it is said to have, about as the pose is, and not backwards. Its steps are `meta.py`'s."""
    flow = labels.flow_joints_m
    if flow is None or labels.flow_source is None:
        return []
    frame = hand_frame(flow.astype(float))
    lines = contradiction("flow_joints_m", np.linalg.norm(frame.wrist, axis=-1), PALM_OFF_M, FRAME, "a hand frame, whose origin is the wrist", scale=1e3, unit="mm")
    lines += contradiction("flow_joints_m", np.abs(frame.palm - PALM_M), PALM_OFF_M, FRAME, f"a palm of {PALM_M * 1e3:g} mm", scale=1e3, unit="mm")
    lines += contradiction("flow_joints_m", np.abs(frame.axes - np.eye(3)).max((1, 2)), AXES_OFF, FRAME, "the axes of the hand frame")
    lines += disagreement("flow_source", labels.flow_source < 0, FRAME, labels.flow_source, "no row of a file")
    posed = joints_m.astype(float) * (NEGATE_X if left else 1)
    ways = [_bones(hand_frame(posed).normalise(posed)), _bones(flow.astype(float))]
    off = _mean_angle(*ways)
    lines += contradiction("flow_joints_m", off, BONE_OFF_RAD, FRAME, "the pose that follows it, on the mean over its finger bones", scale=180 / np.pi, unit="degrees")
    backwards = _mean_angle(ways[0], ways[1][::-1])
    if off.max() > 0 and backwards.mean() < BACKWARDS * off.mean():
        lines.append(f"flow_joints_m: {np.degrees(off.mean()):.3g} degrees from the pose that follows it, but {np.degrees(backwards.mean()):.3g} with its frames in reverse")
    return lines


def _bones(joints_m: Float[Array, "frames 21 3"]) -> Float[Array, "frames 15 3"]:
    """Directions of the finger bones."""
    parents, children = np.array(FINGER_BONES).T
    bones = joints_m[:, children] - joints_m[:, parents]
    return bones / np.maximum(np.linalg.norm(bones, axis=-1, keepdims=True), 1e-12)


def _mean_angle(first: Float[Array, "frames 15 3"], second: Float[Array, "frames 15 3"]) -> Float[Array, "frames"]:
    return np.arccos(np.clip((first * second).sum(-1), -1, 1)).mean(1)
