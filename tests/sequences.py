"""Made-up sequences whose n-th is known from n: a fan of five fingers that turns and sways, drawn as capsules, consistent in all its labels."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from seqgen.camera import Camera, fit_weak_perspective, intrinsics_from_fov
from seqgen.dataset.claim import Origin, claim_folder
from seqgen.dataset.index import IndexRow, index_row
from seqgen.dataset.index_writer import write_index
from seqgen.dataset.manifest import Asset, build_manifest, write_manifest
from seqgen.dataset.meta import build_meta, sequence_key
from seqgen.dataset.progress import clear_progress
from seqgen.dataset.provenance import describe_machine
from seqgen.dataset.sequence import HandSequence, Labels, is_hand, mask_bytes, normal_bytes
from seqgen.dataset.shards import ShardRecord, write_shard
from seqgen.geometry import matrix_from_axis_angle, rigid_matrix
from seqgen.skeleton import BONES, CANONICAL_FROM_MANO, PALM_M, PART_ARM, joint_parts

Array = np.ndarray

VIEWPOINTS = ("egocentric", "frontal", "top")
SEED = 7
PARTS_OF_BONES = tuple(1 if parent == 0 else CANONICAL_FROM_MANO[parent] + 1 for parent, _ in BONES)


OPTIONAL_PICTURES = ("depth_sensor_tenth_mm", "flow_px", "normals", "mask_amodal", "mask_visible")
OPTIONAL_LABELS = ("joints_hidden_by", "box_px", "box_visible_px", "flow_joints_m", "flow_source")


def make_sequence(
    n: int,
    *,
    frames: int = 3,
    size: tuple[int, int] = (32, 24),
    split: str = "train",
    pictures: Sequence[str] = (),
    labels: Sequence[str] = OPTIONAL_LABELS,
    seed: int = SEED,
    group: int | None = None,
) -> HandSequence:
    """Sequence n, with the optional pictures and labels asked for. Another seed shows, under its name, what is 100 sequences on for each step from SEED."""
    name, n = n, n + 100 * (seed - SEED)
    joints_m = _fan(n, frames)
    camera = Camera("perspective", np.repeat(intrinsics_from_fov(0.6, size)[None], frames, 0), size)
    joints_px = camera.project(joints_m)
    drawn = _draw(joints_m, joints_px, camera.intrinsics[0, 0, 0], size)
    weak, residual_px = fit_weak_perspective(joints_m, joints_px)
    hidden_by = _hidden_by(joints_px, drawn.parts)
    known = Labels(
        joints_m=joints_m.astype(np.float32),
        joints_px=joints_px.astype(np.float32),
        joints_visible=hidden_by == 0,
        pose=_numbers(n, (frames, 16, 3)),
        betas=_numbers(n + 1, (10,)),
        translation_m=joints_m[:, 0].astype(np.float32),
        intrinsics=camera.intrinsics.astype(np.float32),
        camera_from_world=_turns(n, frames),
        weak_perspective=weak.astype(np.float32),
        weak_perspective_residual_px=residual_px.astype(np.float32),
        joints_hidden_by=hidden_by,
        box_px=np.concatenate([joints_px.min(1) - 1.5, joints_px.max(1) + 1.5], 1).astype(np.float32),
        box_visible_px=_visible_box(drawn.parts),
        flow_joints_m=(joints_m - joints_m[:, :1]).astype(np.float32),
        flow_source=np.arange(frames, dtype=np.int64) + 2**40 + n,
    )
    known = replace(known, **{name: None for name in OPTIONAL_LABELS if name not in labels})
    extra = {name: _PAINTERS[name](drawn) for name in pictures}
    meta = make_meta(name, frames=frames, size=size, split=split, seed=seed, group=group)
    return HandSequence(sequence_key(name), split, _colours(n, drawn.parts), drawn.depth_tenth_mm, drawn.parts, known, meta, **extra)


def make_meta(n: int, **fields: Any) -> dict[str, Any]:
    """The meta of sequence n; its fractional numbers are whole for even n, which readers that guess types stumble over."""
    fields = {"frames": 3, "size": (32, 24), "split": "train", "seed": SEED, "group": None, **fields}
    return build_meta(
        index=n,
        split=fields["split"],
        seed=fields["seed"],
        group=fields["group"],
        frames=fields["frames"],
        fps=30.0,
        size=list(fields["size"]),
        flow={"kind": "walk", "start_row": 10 * n, "end_row": 10 * n + 9, "mm_per_frame": 1.0 + n / 2, "fps": 30.0, "redraws": 0},
        camera={"kind": "perspective", "model": "pinhole", "viewpoint": VIEWPOINTS[n % 3], "view": 0, "frames_outside": n % 2},
        hand={"kind": "open", "side": "right"},
        skin={"name": "drawn", "tone": f"tone {n % 6}", "ita_deg": 50.0 - 17.5 * (n % 6)},
        arm={"kind": ("none", "bare", "sleeve")[n % 3]},
        light={"kind": "lamps", "num_lights": n % 3, "shadows": n % 2 == 1},
        background={"name": f"pattern {n}", "source": "made up"},
        occluder={"kind": "none" if n % 4 else "box", "manner": "none" if n % 4 else "passing"},
        sensor={"kind": "none", "depth": "none"},
        licences={"poses": "CC0-1.0", "hand": "CC0-1.0", "background": "none" if n % 2 else "research only", "skin": "CC0-1.0", "occluder": "none"},
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


@dataclass(frozen=True)
class _Drawn:
    """Pictures of the capsules; `flow_px` moves what is seen with its capsule's axis."""

    depth_tenth_mm: Array
    parts: Array
    flow_px: Array
    normals: Array
    amodal: Array


def _draw(joints_m: Float[Array, "frames 21 3"], joints_px: Float[Array, "frames 21 2"], focal_px: float, size: tuple[int, int]) -> _Drawn:
    """The bones, and an arm, as capsules with a z-buffer."""
    joints_px = np.concatenate([joints_px, joints_px[:, :1] + [0, 2.0 * size[1]]], 1)  # a joint below the picture: the arm's end
    z = np.concatenate([joints_m[..., 2], joints_m[:, :1, 2] + 0.03], 1)
    grid = np.stack(np.meshgrid(np.arange(size[0]), np.arange(size[1])), -1).astype(float)
    shape = (len(z), size[1], size[0])
    depth, parts, flow, normals, amodal = np.full(shape, np.inf), np.zeros(shape, np.uint8), np.zeros((*shape, 2)), np.zeros((*shape, 3)), np.zeros(shape, bool)
    for (parent, joint), part in zip((*BONES, (0, 21)), (*PARTS_OF_BONES, PART_ARM), strict=True):
        radius_m = 0.009 if part not in (1, PART_ARM) else 0.016
        start, bone = joints_px[:, None, None, parent], (joints_px[:, joint] - joints_px[:, parent])[:, None, None]
        along = np.clip(((grid - start) * bone).sum(-1) / np.maximum((bone**2).sum(-1), 1e-9), 0, 1)
        away = (grid - start - along[..., None] * bone) * z[:, :1, None, None] / focal_px / radius_m
        off = np.linalg.norm(away, axis=-1)
        height = np.sqrt(np.clip(1 - off**2, 0, 1))
        surface = z[:, parent, None, None] + along * (z[:, joint] - z[:, parent])[:, None, None] - radius_m * height
        nearer = (off < 1) & (surface < depth)
        depth, parts = np.where(nearer, surface, depth), np.where(nearer, np.uint8(part), parts)
        flow = np.where(nearer[..., None], _carry(grid, start, bone) - grid, flow)
        normals = np.where(nearer[..., None], np.concatenate([away, -height[..., None]], -1), normals)
        amodal |= (off < 1) & (part != PART_ARM)
    flow[-1] = 0
    return _Drawn(np.where(np.isinf(depth), 0, depth * 1e4).round().astype(np.uint16), parts, flow, normals, amodal)


def _carry(grid: Float[Array, "height width 2"], start: Float[Array, "frames 1 1 2"], bone: Float[Array, "frames 1 1 2"]) -> Float[Array, "frames height width 2"]:
    """Where each place is in the next frame when the plane turns, grows and shifts with a bone; the last frame stays."""
    place, begin, way = (array[..., 0] + 1j * array[..., 1] for array in (grid, start, bone))
    following = np.minimum(np.arange(1, len(begin) + 1), len(begin) - 1)
    carried = begin[following] + (place - begin) * way[following] / way
    return np.stack([carried.real, carried.imag], -1)


_PAINTERS: dict[str, Callable[[_Drawn], Array]] = {
    "depth_sensor_tenth_mm": lambda drawn: np.where(drawn.parts % 3 == 1, 0, drawn.depth_tenth_mm // 7 * 7).astype(np.uint16),
    "flow_px": lambda drawn: drawn.flow_px.astype(np.float32),
    "normals": lambda drawn: normal_bytes(drawn.normals.astype(np.float32)),
    "mask_amodal": lambda drawn: mask_bytes(drawn.amodal),
    "mask_visible": lambda drawn: mask_bytes(is_hand(drawn.parts)),
}


def _hidden_by(joints_px: Float[Array, "frames 21 2"], parts: Array) -> Array:
    """0 where the part at the joint's pixel is one that the joint connects, else that part, 255 for none."""
    column, row = np.clip(joints_px.round().astype(int), 0, np.array(parts.shape[:0:-1]) - 1).transpose(2, 0, 1)
    inside = (joints_px.round() == np.stack([column, row], -1)).all(-1)
    seen = np.where(inside, parts[np.arange(len(parts))[:, None], row, column], 0)
    connected = np.stack([np.isin(seen[:, joint], list(labels)) for joint, labels in enumerate(joint_parts())], 1)
    return np.where(connected, 0, np.where(seen == 0, 255, seen)).astype(np.uint8)


def _visible_box(parts: Array) -> Array:
    """The box of each frame's hand pixels, one frame at a time."""
    boxes = np.zeros((len(parts), 4), np.float32)
    for box, picture in zip(boxes, parts, strict=True):
        rows, columns = np.nonzero((picture >= 1) & (picture <= 16))
        if len(rows):
            box[:] = columns.min() - 0.5, rows.min() - 0.5, columns.max() + 0.5, rows.max() + 0.5
    return boxes


def _turns(n: int, frames: int) -> Float32[Array, "frames 4 4"]:
    """A camera that turns about all axes and moves."""
    vectors = np.sin(np.arange(3) + n + 0.2 * np.arange(frames)[:, None])
    return rigid_matrix(matrix_from_axis_angle(vectors), vectors[:, ::-1] / 10).astype(np.float32)


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


QUALITY = 90
CONFIG = {"seed": SEED, "sequences": 9, "clip": {"frames": 3, "size": [32, 24]}}
ORIGIN = Origin(CONFIG, "of some assets")
SHARDS = {"train-000000.tar": range(0, 4), "train-000001.tar": range(4, 7), "val-000000.tar": range(7, 9)}


def split_of(name: str) -> str:
    """The split of a shard, by its name."""
    return name.split("-")[0]


def write_rows(directory: Path, name: str, ids: Sequence[int], **options: Any) -> tuple[ShardRecord, list[IndexRow]]:
    """A shard of made-up sequences (`make_sequence` takes the options), and the rows of the index for it."""
    rows: list[IndexRow] = []
    sequences = (make_sequence(n, split=split_of(name), **options) for n in ids)
    record = write_shard(
        directory / "shards" / name, sequences, jpeg_quality=QUALITY, wrote=lambda sequence, sha256: rows.append(index_row(sequence.meta, name, sha256))
    )
    return record, rows


_machine = cache(describe_machine)  # asks git, at 20 ms
ASSET = Asset("poses", "built-in", "CC0-1.0", "made up")


def write_data_set(
    directory: Path, planned: Mapping[str, Sequence[int]] = SHARDS, *, config: Mapping[str, Any] = CONFIG, assets: Sequence[Asset] = (ASSET,), **options: Any
) -> None:
    """Sequences (nine in three shards of two splits, unless told) in a data set that is finished as the pipeline finishes one; `make_sequence` takes the options."""
    origin = replace(ORIGIN, config=dict(config))
    claim_folder(directory, origin)
    written = [write_rows(directory, name, ids, seed=config["seed"], **options) for name, ids in planned.items()]
    rows = [row for _, rows in written for row in rows]
    index = write_index(directory, reversed(rows), origin.as_dict())
    about = {"assets": assets, "left_out": {}, "shards": [record for record, _ in written], "rows": rows, "index": index, "run": _machine()}
    write_manifest(directory, build_manifest(origin.config, origin.identity, seed=config["seed"], frames=options.get("frames", 3), **about))
    clear_progress(directory)
