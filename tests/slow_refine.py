"""The slow twin of `hand/refine.py`: one clip, rows first, with numpy's stacked products, as the refinement was before it took many clips at once."""

import numpy as np
from scipy.linalg import solveh_banded

from seqgen.geometry import axis_angle_from_matrix, matrix_from_axis_angle
from seqgen.hand.digits import DIGIT_JOINTS, FREE, MOVES, DigitRig, digit_bones, turned, unit
from seqgen.hand.refine import DAMPING, HELD, LESS, LIMIT_WEIGHT, MAX_STEPS, MORE, PROMISE, smoothness_at
from seqgen.skeleton import hand_frame

TURN_WEIGHTS = np.array([[0, 0, 0.01, 0, 0.01, 0]] + [[0, 0, 0.01, 0, 0, 0]] * 4)
FROM = np.array([0, 0, 0, 1, 1, 1])
BONES_MOVED = MOVES.sum(1)


def refine_clip(rig: DigitRig, rotations: np.ndarray, joints_m: np.ndarray, betas: np.ndarray, *, fps: float) -> np.ndarray:
    """Finger rotations (frames, 15, 3) of one clip, for a hand whose tips do not move on their bones."""
    shape = rig.joints_m(betas)
    palms = hand_frame(np.concatenate([joints_m, shape[None]])).axes
    targets = unit(digit_bones(joints_m)) @ (palms[:-1, None] @ (palms[-1].T @ rig.zero))
    problem = rig, targets, unit(digit_bones(shape)) @ rig.rest, smoothness_at(fps)
    best, damping = linearise(*problem, rig.passive.clip(angles_of(rig, rotations))), DAMPING
    for _ in range(MAX_STEPS):
        move = step(*problem, *best, damping)
        if 0.5 * (best[2] * move).sum() <= PROMISE * best[1]:
            break
        there = linearise(*problem, rig.passive.clip(best[0] + move))
        best, damping = (there, damping * LESS) if there[1] <= best[1] else (best, damping * MORE)
    return rotations_of(rig, best[0])


def angles_of(rig, rotations):
    turn = rig.before.swapaxes(-1, -2) @ matrix_from_axis_angle(rotations[:, DIGIT_JOINTS - 1]) @ rig.after
    flexion, abduction = np.arctan2(-turn[..., 2, 0], turn[..., 0, 0]), np.arcsin(np.clip(turn[..., 1, 0], -1, 1))
    twist = np.arctan2(-turn[..., 1, 2], turn[..., 1, 1])
    six = [flexion[..., 0], abduction[..., 0], twist[..., 0], flexion[..., 1], abduction[..., 1], flexion[..., 2]]
    return np.where(FREE, np.stack(six, -1) + rig.rest_rad * FROM, 0.0)


def rotations_of(rig, angles):
    joints = np.zeros((len(angles), 5, 9))
    joints[..., [0, 1, 2, 3, 4, 6]] = angles - rig.rest_rad * FROM
    rotations = np.zeros((len(angles), 15, 3))
    rotations[:, DIGIT_JOINTS - 1] = axis_angle_from_matrix(rig.before @ turned(joints.reshape(-1, 5, 3, 3)) @ rig.after.swapaxes(-1, -2))
    return rotations


def linearise(rig, targets, bones_at_rest, smoothness, angles):
    """Angles, cost, way down (frames, 5, 6), normal matrices (frames, 5, 6, 6)."""
    turn, axes, bones = np.eye(3), [], []
    for number in range(6):
        axis = rig.axes[:, :, number].T  # (5, 3)
        turn = turn @ matrix_from_axis_angle((angles - rig.rest_rad * FROM)[..., number, None] * axis)
        axes.append((turn @ axis[..., None])[..., 0])
        if number in (2, 4, 5):
            bones.append((turn @ bones_at_rest[:, len(bones), :, None])[..., 0])
    axes, bones = np.stack(axes, 2), np.stack(bones, 2)
    slopes = np.cross(axes[:, :, :, None], bones[:, :, None]) * MOVES[..., None]
    missing, past, aside = bones - targets, rig.active.excess_rad(angles), angles - rig.rest_rad
    bend = np.diff(angles, n=2, axis=0)
    second = np.diff(np.eye(len(angles)), n=2, axis=0)
    cost = 0.5 * ((missing**2).sum() + LIMIT_WEIGHT * (past**2).sum() + (TURN_WEIGHTS * aside**2).sum() + smoothness * (BONES_MOVED * bend**2).sum())
    flat = slopes.reshape(*slopes.shape[:3], 9)
    descent = -(flat @ missing.reshape(*missing.shape[:2], 9, 1))[..., 0] - LIMIT_WEIGHT * past - TURN_WEIGHTS * aside
    descent -= smoothness * np.einsum("it,idk->tdk", second, BONES_MOVED * bend)
    normal = flat @ flat.swapaxes(-1, -2) + (TURN_WEIGHTS + LIMIT_WEIGHT * (past != 0))[..., None] * np.eye(6)
    return angles, cost, descent, normal


def step(rig, targets, bones_at_rest, smoothness, angles, cost, descent, normal, damping):
    held = ~FREE | ((angles <= rig.passive.lowest_rad) & (descent < 0)) | ((angles >= rig.passive.highest_rad) & (descent > 0))
    second = np.diff(np.eye(len(angles)), n=2, axis=0)
    moved = np.zeros_like(angles)
    for digit in range(5):
        dense = np.kron(smoothness * second.T @ second, np.diag(BONES_MOVED))
        for frame in range(len(angles)):
            block = slice(6 * frame, 6 * frame + 6)
            dense[block, block] += normal[frame, digit] + np.diag(damping + HELD * held[frame, digit])
        band = np.stack([np.concatenate([np.diag(dense, -below), np.zeros(below)]) for below in range(min(13, len(dense)))])
        moved[:, digit] = solveh_banded(band, np.where(held, 0.0, descent)[:, digit].ravel(), lower=True).reshape(-1, 6)
    return moved
