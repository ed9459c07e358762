"""Small folders in the exact formats of real data sets, with made-up hands: what a reader must give back is known beforehand."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from mano_files import write_mano
from PIL import Image, ImageDraw

from seqgen.geometry import axis_angle_from_matrix, matrix_from_axis_angle
from seqgen.hand import load_hand
from seqgen.hand.anatomy import joint_axes, pose_from_angles
from seqgen.hand.layer import HandLayer
from seqgen.hand.mano import read_mano
from seqgen.hand.model import HandModel
from seqgen.skeleton import BONES, JOINT_SETS, hand_frame

Array = np.ndarray
FREIHAND_UNIQUE = 32_560
FREIHAND_K = np.array([[388.9, 0, 112.0], [0, 388.7, 112.0], [0, 0, 1]])
STB_BB_K = np.array([[822.79041, 0, 318.47345], [0, 822.79041, 250.31296], [0, 0, 1]])
STB_SK_K = np.array([[607.92271, 0, 314.78337], [0, 607.88192, 236.42484], [0, 0, 1]])
STB_ROTATION, STB_TRANSLATION_MM = matrix_from_axis_angle(np.array([0.00531, -0.01196, 0.00301])), np.array([-24.0381, -0.4563, -1.2326])
UP_FACING_CAMERA = np.diag([-1.0, -1.0, 1.0])  # hand frame to camera: fingers up, palm towards the camera


@dataclass(frozen=True)
class MadeUpHands:
    """Right hands before a camera, with all that a data set could say of them."""

    pose: Array  # (n, 16, 3), relative to the template
    betas: Array  # (n, 10)
    joints_m: Array  # (n, 21, 3)
    vertices_m: Array  # (n, vertices, 3)


@lru_cache
def mano_model() -> HandModel:
    """The made-up model in MANO's format."""
    with TemporaryDirectory() as folder:
        write_mano(Path(folder))
        return read_mano(Path(folder))


def made_up_hands(model: HandModel, count: int, *, depth_m: float = 0.7) -> MadeUpHands:
    """Bent hands of several shapes, fingers up, the n-th known from n."""
    n = np.arange(count)[:, None]
    angles = np.zeros((count, 16, 3))
    angles[:, 1:, 1] = 0.35 + 0.25 * np.sin(n + np.arange(15))
    pose = pose_from_angles(joint_axes(model), angles)
    rest = HandLayer(model).rest_joints(torch.zeros(1, 10)).numpy().astype(float)
    pose[:, 0] = axis_angle_from_matrix(matrix_from_axis_angle(0.3 * np.sin(n + np.arange(3))) @ UP_FACING_CAMERA @ hand_frame(rest).axes[0].T)
    betas = 0.5 * np.sin(2.0 * n + np.arange(10))
    middle = np.array([0, 0.08, depth_m]) + 0.01 * np.sin(n + np.arange(3))
    layer = HandLayer(model)
    mesh = layer(torch.tensor(pose).float(), torch.tensor(betas).float(), torch.zeros(count, 3))
    move = (middle - mesh.joints_m[:, 0].numpy())[:, None]
    return MadeUpHands(pose, betas, mesh.joints_m.numpy() + move, mesh.vertices_m.numpy() + move)


def pixels(joints_m: Array, intrinsics: Array) -> Array:
    """By the formula, one joint at a time."""
    return np.array([[(intrinsics @ point)[:2] / point[2] for point in hand] for hand in joints_m])


def draw(joints_px: Array, size: tuple[int, int], *, colour: tuple[int, int, int] = (205, 160, 130), ground: tuple[int, int, int] = (20, 140, 40)) -> Image.Image:
    """The bones as thick lines with round ends."""
    image = Image.new("RGB", size, ground)
    pen, radius = ImageDraw.Draw(image), size[1] / 50
    for parent, joint in BONES:
        pen.line([tuple(joints_px[parent]), tuple(joints_px[joint])], fill=colour, width=round(2 * radius))
    for x, y in joints_px:
        pen.ellipse([x - radius, y - radius, x + radius, y + radius], fill=colour)
    return image


def write_freihand(folder: Path, count: int = 4, *, split: str = "training", versions: Sequence[int] = (0, 1, 2, 3)) -> MadeUpHands:
    """The v2 layout with the first `count` hands of a split; ids as in the published set."""
    hands = freihand_hands(count)
    joints_px = pixels(hands.joints_m, FREIHAND_K)
    for kind in ("rgb", "mask") if split == "training" else ("rgb",):
        (folder / split / kind).mkdir(parents=True, exist_ok=True)
    for n in range(count):
        for version in versions if split == "training" else (0,):
            ground = [(20, 140, 40), (90, 90, 200), (200, 200, 60), (30, 30, 30)][version]
            draw(joints_px[n], (224, 224), ground=ground).save(folder / split / "rgb" / f"{n + version * FREIHAND_UNIQUE:08d}.jpg", quality=95)
        if split == "training":
            draw(joints_px[n], (224, 224), colour=(255,) * 3, ground=(0,) * 3).convert("L").save(folder / split / "mask" / f"{n:08d}.jpg", quality=95)
    for kind, value in freihand_lists(hands).items():
        write_list(folder / f"{split}_{kind}.json", value)
    return hands


@lru_cache
def freihand_hands(count: int) -> MadeUpHands:
    """Hands of the made-up model, with vertices at the tips of ring and pinky where FreiHAND takes them from."""
    hands = made_up_hands(mano_model(), count)
    vertices_m = hands.vertices_m.copy()
    vertices_m[:, [555, 672]] = hands.joints_m[:, [16, 20]]
    return MadeUpHands(hands.pose, hands.betas, hands.joints_m, vertices_m)


def freihand_lists(hands: MadeUpHands) -> dict[str, Any]:
    """The five lists, by the formulas of the authors' code: joint 9 is at ((uv - pp), f) / scale."""
    fingers = hands.pose[:, 1:].reshape(-1, 45) - mano_model().pose_mean
    focal, middle = FREIHAND_K[[0, 1], [0, 1]].mean(), hands.joints_m[:, 9]
    scale = focal / middle[:, 2]
    uv_root = FREIHAND_K[:2, 2] + middle[:, :2] * scale[:, None]
    mano = np.concatenate([hands.pose[:, 0], fingers, hands.betas, uv_root, scale[:, None]], 1)
    return {
        "K": np.repeat(FREIHAND_K[None], len(middle), 0).tolist(),
        "xyz": hands.joints_m.tolist(),
        "verts": hands.vertices_m.tolist(),
        "mano": mano[:, None].tolist(),
        "scale": np.linalg.norm(hands.joints_m[:, 10] - middle, axis=1).tolist(),
    }


def write_list(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value))


@lru_cache
def stb_hands(frames: int = 4) -> MadeUpHands:
    """Left hands in a colour camera's frame: the open hand, mirrored."""
    right = made_up_hands(load_hand("open"), frames, depth_m=0.5)
    return MadeUpHands(right.pose, right.betas, right.joints_m * [-1, 1, 1], right.vertices_m * [-1, 1, 1])


def stb_labels(joints_m: Array) -> Array:
    """`handPara` in the frame of `joints_m`: the palm's centre half way from wrist to ring MCP, then pinky to thumb; millimetres, (3, 21, frames)."""
    palm = (joints_m[:, 0] + joints_m[:, 13]) / 2
    fingers = np.concatenate([joints_m[:, 1 + 4 * finger : 5 + 4 * finger] for finger in (4, 3, 2, 1, 0)], 1)
    return np.concatenate([palm[:, None], fingers], 1).transpose(2, 1, 0) * 1e3


def write_stb(folder: Path, sequences: Sequence[str] = ("B1Counting", "B2Random"), frames: int = 4) -> MadeUpHands:
    """Sequences with the pictures of SK's colour camera and BB's two, in which hands stand at the same place before each."""
    from scipy.io import savemat

    hands = stb_hands(frames)
    (folder / "labels").mkdir(parents=True, exist_ok=True)
    in_depth_mm = np.einsum("ij,fkj->fki", STB_ROTATION, hands.joints_m * 1e3) + STB_TRANSLATION_MM  # X_depth = R X_colour + t
    for sequence in sequences:
        savemat(folder / "labels" / f"{sequence}_SK.mat", {"handPara": stb_labels(in_depth_mm / 1e3)})
        savemat(folder / "labels" / f"{sequence}_BB.mat", {"handPara": stb_labels(hands.joints_m)})
        (folder / "images" / sequence).mkdir(parents=True, exist_ok=True)
        right_m = hands.joints_m - [0.120054, 0, 0]
        for name, joints_px in {"SK_color": pixels(hands.joints_m, STB_SK_K), "BB_left": pixels(hands.joints_m, STB_BB_K), "BB_right": pixels(right_m, STB_BB_K)}.items():
            for frame in range(frames):
                draw(joints_px[frame], (640, 480)).save(folder / "images" / sequence / f"{name}_{frame}.png", compress_level=1)
    return hands


def write_folder(folder: Path, count: int = 3, *, side: str = "right") -> dict[str, Any]:
    """A folder of labelled pictures with masks and intrinsics; gives the table of labels.json."""
    hands = made_up_hands(load_hand("open"), count, depth_m=0.45)
    joints_m = hands.joints_m * ([1, 1, 1] if side == "right" else [-1, 1, 1])
    intrinsics = np.array([[180.0, 0, 79.5], [0, 180.0, 59.5], [0, 0, 1]])
    joints_px = pixels(joints_m, intrinsics)
    table: dict[str, Any] = {}
    folder.mkdir(parents=True, exist_ok=True)
    for n in range(count):
        draw(joints_px[n], (160, 120)).save(folder / f"{n}.png")
        draw(joints_px[n], (160, 120), colour=(255,) * 3, ground=(0,) * 3).convert("L").save(folder / f"{n}_mask.png")
        label = {"joints_m": joints_m[n].tolist(), "joints_px": joints_px[n].tolist(), "side": side, "intrinsics": intrinsics.tolist(), "mask": f"{n}_mask.png"}
        table[f"{n}.png"] = label
    write_list(folder / "labels.json", table)
    return table


def in_order(joints: Array, joint_set: str) -> Array:
    """Canonical joints as that set has them."""
    return JOINT_SETS[joint_set].from_canonical(joints)
