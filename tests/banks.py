"""Little pose banks and annotation files of them."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from seqgen.poses.bank import Annotations, PoseBank, build_bank
from seqgen.poses.graph import NeighbourGraph, build_graph
from seqgen.poses.hand_shapes import MCP_FLEXION, PIP_FLEXION, forward_kinematics, nominal_bones
from seqgen.poses.synthesis import synthesise_poses
from seqgen.skeleton import JOINT_SETS

Array = np.ndarray


def annotate(joints_m: Array, subject: Array | None = None) -> Annotations:
    """Joints as a reader would give them; nobody's, unless told."""
    subject = np.full(len(joints_m), -1) if subject is None else subject
    return Annotations("test", "CC0-1.0", True, joints_m.astype(float), subject.astype(np.int32))


@lru_cache
def built_in_hands(num_rows: int = 2000, *, num_subjects: int = 6) -> Annotations:
    """Rows as the built-in bank has them, in the hand frame."""
    poses = synthesise_poses(num_rows, seed=3, num_subjects=num_subjects)
    return annotate(poses.joints_m, poses.subject)


@lru_cache
def built_in_bank(num_rows: int = 2000) -> PoseBank:
    return build_bank(built_in_hands(num_rows))


def curling_hands(fist: Array, hook: Array) -> Array:
    """The nominal hand with all MCPs bent by `fist` and all PIPs by `hook`, radians: a surface of two parameters in pose space."""
    angles = np.zeros((len(fist), 21))
    angles[:, MCP_FLEXION], angles[:, PIP_FLEXION] = np.asarray(fist)[:, None], np.asarray(hook)[:, None]
    return forward_kinematics(angles, nominal_bones())


def random_curls(num_rows: int, seed: int = 0, *, low: float = 0.0, high: float = 1.4) -> Array:
    fist, hook = np.random.default_rng(seed).uniform(low, high, (2, num_rows))
    return curling_hands(fist, hook)


def bank_of(joints_m: Array) -> PoseBank:
    return build_bank(annotate(joints_m))


def graph_of(bank: PoseBank) -> NeighbourGraph:
    return NeighbourGraph(**build_graph(bank.joints_m.reshape(len(bank), -1)))


def straight_hands(places: Array) -> Array:
    """Poses on one straight line of pose space: 0 is the flat hand, 1 a hand curled by a radian at MCPs and PIPs; the palm stays as it is."""
    flat, curled = curling_hands(np.array([0.0, 1.0]), np.array([0.0, 1.0]))
    return flat + np.asarray(places)[:, None, None] * (curled - flat)


def line_bank(num_rows: int = 150) -> PoseBank:
    """Evenly spaced poses on a straight line; row i stands at i / (num_rows - 1) of it."""
    return bank_of(straight_hands(np.linspace(0, 1, num_rows)))


def thinned_to_islands(num_rows: int = 2000) -> PoseBank:
    """The built-in bank without the poses near the plane that halves it along its widest axis: two islands, farther apart than a walk may step."""
    bank = built_in_bank(num_rows)
    rows = bank.joints_m.reshape(len(bank), -1).astype(float)
    rows = rows - rows.mean(0)
    along = rows @ np.linalg.eigh(rows.T @ rows)[1][:, -1] / np.sqrt(21)
    return bank.subset(np.flatnonzero(np.abs(along - np.median(along)) > 0.01))


def with_near_twins(bank: PoseBank, every: int = 10, apart_m: float = 1e-6) -> PoseBank:
    """Every so many poses one again, a hair off here and there."""
    rng = np.random.default_rng(0)
    twins = bank.joints_m[::every] + apart_m * rng.choice(np.float32([-1, 0, 1]), bank.joints_m[::every].shape, p=[0.2, 0.6, 0.2]).astype(np.float32)
    joints = np.concatenate([bank.joints_m, twins])
    return replace(bank, joints_m=joints, source_row=np.arange(len(joints)), subject=np.zeros(len(joints), np.int32))


def rows_of(bank: PoseBank) -> Array:
    """Poses as rows of 63 numbers, double precision."""
    return bank.joints_m.reshape(len(bank), -1).astype(float)


def before_camera(joints_m: Array, seed: int = 0) -> Array:
    """Hands of several sizes, each turned somehow, some 0.6 m before a camera."""
    rng = np.random.default_rng(seed)
    turns = Rotation.random(len(joints_m), rng=rng).as_matrix()
    sizes = rng.uniform(0.75, 1.15, (len(joints_m), 1, 1))
    return sizes * np.einsum("nij,nkj->nki", turns, joints_m) + rng.uniform([-0.2, -0.2, 0.4], [0.2, 0.2, 0.8], (len(joints_m), 1, 3))


def hands17_lines(joints_m: Array, *, scale: float = 1e3, joint_set: str = "hands17", separator: str = "\t") -> list[str]:
    """Lines of a HANDS 2017 annotation, unless another unit or joint order is asked for."""
    rows = JOINT_SETS[joint_set].from_canonical(joints_m) * scale
    return [separator.join([f"image_D{number:08d}.png", *(f"{value:.6f}" for value in row.ravel())]) for number, row in enumerate(rows, 1)]


def write_lines(path: Path, lines: Sequence[str], *, newline: str = "\n") -> Path:
    path.write_bytes("".join(line + newline for line in lines).encode())
    return path
