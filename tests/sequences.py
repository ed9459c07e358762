"""Made-up sequences whose n-th is known from n: a fan of five fingers that turns and sways, drawn as capsules, consistent in all its labels."""

from typing import Any

import numpy as np
from jaxtyping import Float

from seqgen.camera import Camera, fit_weak_perspective, intrinsics_from_fov
from seqgen.dataset.meta import build_meta, sequence_key
from seqgen.dataset.sequence import HandSequence, Labels
from seqgen.skeleton import BONES, CANONICAL_FROM_MANO, PALM_M, PART_ARM, joint_parts

Array = np.ndarray

VIEWPOINTS = ("egocentric", "frontal", "top")
PARTS_OF_BONES = tuple(1 if parent == 0 else CANONICAL_FROM_MANO[parent] + 1 for parent, _ in BONES)


def make_sequence(n: int, *, frames: int = 3, size: tuple[int, int] = (32, 24), split: str = "train", flow_labels: bool = True) -> HandSequence:
    """Sequence n."""
    joints_m = _fan(n, frames)
    camera = Camera("perspective", np.repeat(intrinsics_from_fov(0.6, size)[None], frames, 0), size)
    joints_px = camera.project(joints_m)
    depth_tenth_mm, parts = _draw(joints_m, joints_px, camera.intrinsics[0, 0, 0], size)
    labels = Labels(
        joints_m=joints_m.astype(np.float32),
        joints_px=joints_px.astype(np.float32),
        joints_visible=_visible(joints_px, parts),
        pose=_numbers(n, (frames, 16, 3)),
        betas=_numbers(n + 1, (10,)),
        translation_m=joints_m[:, 0].astype(np.float32),
        intrinsics=camera.intrinsics.astype(np.float32),
        camera_from_world=np.repeat(np.eye(4, dtype=np.float32)[None], frames, 0),
        weak_perspective=fit_weak_perspective(joints_m, joints_px)[0].astype(np.float32),
        flow_joints_m=(joints_m - joints_m[:, :1]).astype(np.float32) if flow_labels else None,
        flow_source=np.arange(frames, dtype=np.int64) + 2**40 + n if flow_labels else None,
    )
    return HandSequence(sequence_key(n), split, _colours(n, parts), depth_tenth_mm, parts, labels, make_meta(n, frames=frames, size=size, split=split))


def make_meta(n: int, **fields: Any) -> dict[str, Any]:
    """The meta of sequence n; its fractional numbers are whole for even n, which readers that guess types stumble over."""
    fields = {"frames": 3, "size": (32, 24), "split": "train", **fields}
    return build_meta(
        index=n,
        split=fields["split"],
        seed=7,
        frames=fields["frames"],
        fps=30.0,
        size=list(fields["size"]),
        flow={"kind": "walk", "start_row": 10 * n, "end_row": 10 * n + 9, "mm_per_frame": 1.0 + n / 2, "fps": 30.0, "redraws": 0},
        camera={"kind": "perspective", "viewpoint": VIEWPOINTS[n % 3]},
        hand={"kind": "open", "side": "right"},
        skin={"tone": f"tone {n % 6}", "ita_deg": 50.0 - 17.5 * (n % 6)},
        light={"kind": "lamps", "num_lights": n % 3},
        background={"name": f"pattern {n}", "source": "made up"},
        sensor={"kind": "none"},
        licences={"poses": "CC0-1.0", "hand": "CC0-1.0", "background": "none" if n % 2 else "research only"},
    )


def _fan(n: int, frames: int) -> Float[Array, "frames 21 3"]:
    """Joints in the camera frame: fingers spread like a fan, turning with time, the tips swaying in depth."""
    finger, place = np.arange(5), np.arange(4)
    spread = np.deg2rad([52, 20, 4, -11, -26])
    reach = np.where(finger == 0, 0.04, PALM_M)[:, None] + np.where(finger == 0, 0.032, 0.026)[:, None] * place
    time = np.arange(frames) / 12
    angle = spread[None] + 0.35 * np.sin(0.9 * n + 2 * time)[:, None]
    sway = 0.012 * place * np.sin(n + 3 * time[:, None, None] + finger[None, :, None])
    x, y = -reach * np.sin(angle)[..., None], -reach * np.cos(angle)[..., None]
    fingers = np.stack([x, y, np.broadcast_to(sway, x.shape)], -1).reshape(frames, 20, 3)
    return np.concatenate([np.zeros((frames, 1, 3)), fingers], 1) + np.array([0.0, 0.085, 0.45 + 0.01 * (n % 5)])


def _draw(joints_m: Float[Array, "frames 21 3"], joints_px: Float[Array, "frames 21 2"], focal_px: float, size: tuple[int, int]) -> tuple[Array, Array]:
    """Depth (uint16) and part pictures of the bones, and of an arm, as capsules with a z-buffer."""
    joints_px = np.concatenate([joints_px, joints_px[:, :1] + [0, 2.0 * size[1]]], 1)  # a joint below the picture: the arm's end
    z = np.concatenate([joints_m[..., 2], joints_m[:, :1, 2] + 0.03], 1)
    grid = np.stack(np.meshgrid(np.arange(size[0]), np.arange(size[1])), -1).astype(float)
    depth, parts = np.full((len(z), size[1], size[0]), np.inf), np.zeros((len(z), size[1], size[0]), np.uint8)
    for (parent, joint), part in zip((*BONES, (0, 21)), (*PARTS_OF_BONES, PART_ARM), strict=True):
        radius_m = 0.009 if part not in (1, PART_ARM) else 0.016
        start, bone = joints_px[:, None, None, parent], (joints_px[:, joint] - joints_px[:, parent])[:, None, None]
        along = np.clip(((grid - start) * bone).sum(-1) / np.maximum((bone**2).sum(-1), 1e-9), 0, 1)
        off = np.linalg.norm(grid - start - along[..., None] * bone, axis=-1) * z[:, :1, None] / focal_px / radius_m
        surface = z[:, parent, None, None] + along * (z[:, joint] - z[:, parent])[:, None, None] - radius_m * np.sqrt(np.clip(1 - off**2, 0, 1))
        nearer = (off < 1) & (surface < depth)
        depth, parts = np.where(nearer, surface, depth), np.where(nearer, np.uint8(part), parts)
    return np.where(np.isinf(depth), 0, depth * 1e4).round().astype(np.uint16), parts


def _visible(joints_px: Float[Array, "frames 21 2"], parts: Array) -> Array:
    """Whether the part at the joint's pixel is one that the joint connects."""
    column, row = np.clip(joints_px.round().astype(int), 0, np.array(parts.shape[:0:-1]) - 1).transpose(2, 0, 1)
    seen = parts[np.arange(len(parts))[:, None], row, column]
    inside = (joints_px.round() == np.stack([column, row], -1)).all(-1)
    return inside & np.stack([np.isin(seen[:, joint], list(connected)) for joint, connected in enumerate(joint_parts())], 1)


def _colours(n: int, parts: Array) -> Array:
    """A smooth pattern that depends on n, with the hand over it."""
    frames, height, width = parts.shape
    y, x, t = (np.arange(length) / length for length in (height, width, frames))
    waves = [np.sin(3 * x[None, None] + channel + n) + np.cos(4 * y[None, :, None] - 0.5 * n + t[:, None, None]) for channel in range(3)]
    background = np.stack(waves, -1) * 50 + 110
    return np.where((parts > 0)[..., None], np.array([205, 160, 130]) - 3.0 * parts[..., None], background).astype(np.uint8)


def _numbers(n: int, shape: tuple[int, ...]) -> Array:
    """Numbers that are not round, from n."""
    return np.sin(np.arange(np.prod(shape)) + n).reshape(shape).astype(np.float32)
