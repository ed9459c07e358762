"""Small folders in the exact formats of NYU and ICVL, with made-up hands before a wall: what a reader must give back is known beforehand."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image
from real_sets import MadeUpHands, made_up_hands
from scipy.io import savemat

from seqgen.hand import load_hand
from seqgen.joint_targets import TARGETS

Array = np.ndarray
NYU_K = np.array([[588.036865, 0, 320], [0, 587.075073, 240], [0, 0, 1]])
NYU_POINTS = [0, 3, 6, 9, 12, 15, 18, 21, 24, 25, 27, 30, 31, 32]
ICVL_K = np.array([[240.99, 0, 160], [0, 240.96, 120], [0, 0, 1]])
WALL_MM, FAR_MM = 1500, 8000  # the wall, and what is behind a hole in it at the picture's top


@lru_cache
def nyu_hands(count: int = 4) -> MadeUpHands:
    """Right hands, the joints of NYU."""
    return _with_joints("nyu", count, 0.7)


@lru_cache
def icvl_hands(count: int = 4) -> MadeUpHands:
    """Left hands, as the camera shows them; the joints of ICVL."""
    right = _with_joints("icvl", count, 0.35)
    return MadeUpHands(right.pose, right.betas, right.joints_m * [-1, 1, 1], right.vertices_m * [-1, 1, 1])


def _with_joints(name: str, count: int, depth_m: float) -> MadeUpHands:
    hands = made_up_hands(load_hand("open"), count, depth_m=depth_m)
    return MadeUpHands(hands.pose, hands.betas, np.einsum("jc,ncx->njx", TARGETS[name].joint_set.matrix, hands.joints_m), hands.vertices_m)


def depth_picture_mm(vertices_m: Array, intrinsics: Array, size: tuple[int, int], *, reach: int = 3) -> Array:
    """The nearest vertex about each pixel, before a wall with a hole."""
    depth = np.full((size[1], size[0]), WALL_MM, np.int64)
    depth[:10] = FAR_MM
    depth[10:20] = 0
    for x, y, z in vertices_m:
        column, row = round(intrinsics[0, 0] * x / z + intrinsics[0, 2]), round(intrinsics[1, 1] * y / z + intrinsics[1, 2])
        if reach <= column < size[0] - reach and reach <= row < size[1] - reach:
            patch = depth[row - reach : row + reach + 1, column - reach : column + reach + 1]
            np.minimum(patch, round(1000 * z), out=patch, where=patch > 0)
    return depth


def write_nyu(folder: Path, split: str = "train", *, rows: Sequence[int] | None = None, count: int = 4, cameras: Sequence[int] = (1,)) -> MadeUpHands:
    """A split whose labels are the hands over and over, `count` of them, and pictures of the rows asked for. Camera k sees the same hands (k - 1) cm farther right."""
    hands = nyu_hands()
    (folder / split).mkdir(parents=True, exist_ok=True)
    write_nyu_labels(folder / split / "joint_data.mat", np.stack([hands.joints_m[np.arange(count) % 4] + [0.01 * k, 0, 0] for k in range(3)]))
    for camera in cameras:
        pictures = [depth_picture_mm(vertices + np.array([0.01 * (camera - 1), 0, 0]), NYU_K, (640, 480)) for vertices in hands.vertices_m]
        for row in range(count) if rows is None else rows:
            write_packed(folder / split / f"depth_{camera}_{row + 1:07d}.png", pictures[row % 4])
    return hands


def write_nyu_labels(path: Path, joints_m: Array, **more: Array) -> None:
    """`joint_xyz` (3, frames, 36, 3) with y up, of joints (3, frames, 14, 3) with y down; the other points lie anywhere."""
    points = np.full((3, joints_m.shape[1], 36, 3), 1e4) * np.cos(np.arange(36))[:, None]
    points[:, :, NYU_POINTS] = 1e3 * joints_m * [1, -1, 1]
    savemat(path, {"joint_xyz": points, "joint_names": np.array(["finger"], object), **more}, do_compression=True)


def write_packed(path: Path, depth_mm: Array) -> None:
    """Green the high byte, blue the low one, red anything."""
    Image.fromarray(np.stack([np.full_like(depth_mm, 77), depth_mm // 256, depth_mm % 256], -1).astype(np.uint8)).save(path)


def icvl_line(name: str, joints_m: Array) -> str:
    """u v d of each joint by the formula."""
    numbers = [(ICVL_K[0, 0] * x / z + 160, ICVL_K[1, 1] * y / z + 120, 1000 * z) for x, y, z in joints_m]
    return " ".join([name, *(f"{value:.9f}" for joint in numbers for value in joint)]) + " \n"


def write_icvl(folder: Path) -> MadeUpHands:
    """Both splits: a recording of training with a gap in its numbers and one turned copy, and the two test sequences of two frames."""
    hands = icvl_hands()
    turned = np.stack([-hands.joints_m[..., 1], hands.joints_m[..., 0], hands.joints_m[..., 2]], -1)
    training = [("201403121135/image_0000.png", 0), ("201403121135/image_0001.png", 1), ("201403121135/image_0003.png", 2), ("201403121140/image_0004.png", 3)]
    lines = [icvl_line(name, hands.joints_m[n]) for name, n in training] + ["\n", icvl_line("201403121135/90/image_0000.png", turned[0])]
    (folder / "Training").mkdir(parents=True)
    (folder / "Training" / "labels.txt").write_text("".join(lines))
    for name, n in [*training, ("201403121135/90/image_0000.png", 0)]:
        write_depth_16(folder / "Training" / "Depth" / name, depth_picture_mm(hands.vertices_m[n], ICVL_K, (320, 240)))
    for sequence in (1, 2):
        names = [f"test_seq_{sequence}/image_{n:04d}.png" for n in range(2)]
        for n, name in enumerate(names):
            write_depth_16(folder / "Testing" / "Depth" / name, depth_picture_mm(hands.vertices_m[n], ICVL_K, (320, 240)))
        (folder / "Testing" / f"test_seq_{sequence}.txt").write_text("".join(icvl_line(name, hands.joints_m[n]) for n, name in enumerate(names)))
    return hands


def write_depth_16(path: Path, depth_mm: Array) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(depth_mm.astype(np.uint16)).save(path)
