"""Finger rotations that follow a clip closely: damped Gauss-Newton from the encoder's, over all frames of the clip at once.

    rotations (T,15,3), joints (T,21,3), betas (10) ──> angles of the digits ──> Levenberg-Marquardt steps ──> rotations (T,15,3)

Matched are the directions of the 15 finger bones in the palm's frame, not positions: a subject with longer bones than the drawn shape's must not bend its
fingers. The unknowns are the digits' angles (`digits.py`), so hinges only flex. What is minimised, per clip (weights below):

    sum of |bone - target|^2  +  past active limits  +  twist and sideways turns from rest  +  accelerations of all angles

and angles stay inside the passive limits. Digits do not depend on one another given the palm, and accelerations join a frame to the two after it, so the
normal equations are one banded matrix of half-width 12, ordered by digit, frame, angle, and a step is one Cholesky factorisation (LAPACK `pbsv`).

A clip is solved by itself: its bits cannot depend on others. The palm's own rotation is not this file's; neither are positions (`track.py`).
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32
from scipy.linalg.lapack import dpbsv

from seqgen.hand.digits import FREE, MOVES, DigitRig, angles_from_rotations, digit_bones, pose_digits, posed_tips_m, rotations_from_angles, unit
from seqgen.skeleton import hand_frame

Array = np.ndarray
LIMIT_WEIGHT = 0.1  # a radian past an active limit weighs as much as 0.3 off a bone's direction
# Directions hardly tell a thumb's twist from its MCP's sideways turn, nor any twist of a straight finger.
FREE_TURN_WEIGHTS = np.array([[0, 0, 0.01, 0, 0.01, 0]] + [[0, 0, 0.01, 0, 0, 0]] * 4)
CUTOFF_HZ = 10.0  # above this hands do not move; accelerations are weighed as by a smoothing spline with this corner
MAX_STEPS = 12
PROMISE = 0.01  # a step that would take away less than this share of the cost is not worth its time
DAMPING, MORE, LESS = 0.01, 10.0, 0.2
HELD = 1e6  # what an angle at its limit is damped by
ANGLES = np.arange(6)
_BELOW = np.minimum(ANGLES[:, None] + ANGLES, 5)  # of a block's column (second index) the row that is so far (first index) below its diagonal
_IN_BLOCK = (ANGLES[:, None] + ANGLES < 6).astype(float)
_BOTH_MOVE = MOVES @ MOVES.T  # bones that both of two angles move
_BONES_MOVED = MOVES.sum(1)  # so many directions hold an angle against the term over time


class Problem(NamedTuple):
    """A clip to fit: where its bones should point and those of the shape at rest, unit vectors; the weight of accelerations."""

    rig: DigitRig
    targets: Float[Array, "frames 5 3 3"]  # in the digits' zero frames
    bones: Float[Array, "#frames 5 3 3"]  # in the digits' frames at rest
    smoothness: float


class Quadratic(NamedTuple):
    """The cost (half a sum of squares) near some angles: its value, the way down, and the Gauss-Newton matrix of each digit in each frame."""

    angles_rad: Float[Array, "frames 5 6"]
    cost: float
    descent: Float[Array, "frames 5 6"]
    normal: Float[Array, "frames 5 6 6"]


def refine_directions(
    rig: DigitRig, rotations: Float[Array, "frames 15 3"], joints_m: Float[Array, "frames 21 3"], betas: Float[Array, "10"], *, fps: float = 30.0
) -> Float32[Array, "frames 15 3"]:
    """Rotations near the given ones with which a hand of this shape points its finger bones as the joints do, seen from the palm; the joints' frame and size do not matter."""
    problem = direction_problem(rig, joints_m, betas, smoothness=smoothness_at(fps))
    refined = rotations_from_angles(rig, refine_angles(problem, angles_from_rotations(rig, rotations)))
    if rig.tip_directions_m is not None:
        problem = problem._replace(bones=_bones_at_rest(rig, betas, refined))
        refined = rotations_from_angles(rig, refine_angles(problem, angles_from_rotations(rig, refined)))
    return refined.astype(np.float32)


def _bones_at_rest(rig: DigitRig, betas: Float[Array, "10"], rotations: Float[Array, "frames 15 3"]) -> Float[Array, "frames 5 3 3"]:
    """Directions of a shape's bones at rest, the last of each digit to where this pose moves the tip on it."""
    bones = np.repeat(digit_bones(rig.joints_m(betas))[None], len(rotations), 0)
    bones[:, :, 2] += posed_tips_m(rig, rotations)
    return unit(bones) @ rig.rest


def smoothness_at(fps: float) -> float:
    """The weight of squared second differences of an angle, for each bone that it moves: that of a smoothing spline that halves what moves at CUTOFF_HZ."""
    return (2.0 * np.pi * CUTOFF_HZ / fps) ** -4


def direction_problem(rig: DigitRig, joints_m: Float[Array, "frames 21 3"], betas: Float[Array, "10"], *, smoothness: float) -> Problem:
    """The problem of following these joints with a hand of this shape: both seen from their own palm."""
    shape = rig.joints_m(betas)
    palms = hand_frame(np.concatenate([joints_m, shape[None]])).axes
    from_palm = palms[-1].T @ rig.zero  # vectors are rows
    return Problem(rig, unit(digit_bones(np.asarray(joints_m, float))) @ (palms[:-1, None] @ from_palm), (unit(digit_bones(shape)) @ rig.rest)[None], smoothness)


def refine_angles(problem: Problem, start_rad: Float[Array, "frames 5 6"]) -> Float[Array, "frames 5 6"]:
    """Levenberg-Marquardt, until a step promises next to nothing. A step after which the cost is higher is taken back and damped more."""
    best, damping = linearise(problem, problem.rig.passive.clip(start_rad)), DAMPING
    for _ in range(MAX_STEPS):
        move = step(problem, best, damping)
        if 0.5 * (best.descent * move).sum() <= PROMISE * best.cost:
            break
        there = linearise(problem, problem.rig.passive.clip(best.angles_rad + move))
        if there.cost <= best.cost:
            best, damping = there, damping * LESS
        else:
            damping *= MORE
    return best.angles_rad


def linearise(problem: Problem, angles_rad: Float[Array, "frames 5 6"]) -> Quadratic:
    """The cost at these angles. A bone b that an angle moves has the slope w x b, w being the angle's axis; as b is a unit vector, the products of slopes are
    (w . w')(b . b) - (w . b)(w' . b), and that with what is missing is w . (b x target)."""
    rig, frames = problem.rig, len(angles_rad)
    posed = pose_digits(rig, angles_rad)
    axes = np.ascontiguousarray(posed.axes.transpose(1, 2, 0, 3))
    bones = (posed.turns @ problem.bones.transpose(2, 0, 1, 3)[..., None])[..., 0].transpose(1, 2, 0, 3)
    along = (axes @ bones.swapaxes(-1, -2)) * MOVES
    normal = (axes @ axes.swapaxes(-1, -2)) * _BOTH_MOVE - along @ along.swapaxes(-1, -2)
    pull = ((axes @ cross(bones, problem.targets).swapaxes(-1, -2)) * MOVES).sum(-1)

    missing, past, turn = bones - problem.targets, rig.active.excess_rad(angles_rad), angles_rad - rig.rest_rad
    bend = angles_rad[2:] - 2.0 * angles_rad[1:-1] + angles_rad[:-2]
    cost = _squares(missing) + LIMIT_WEIGHT * _squares(past) + _squares(turn, FREE_TURN_WEIGHTS) + problem.smoothness * _squares(bend, _BONES_MOVED)
    descent = pull - LIMIT_WEIGHT * past - FREE_TURN_WEIGHTS * turn
    if frames > 2:
        descent -= problem.smoothness * _bent_back(_BONES_MOVED * bend)
    normal[..., ANGLES, ANGLES] += FREE_TURN_WEIGHTS + LIMIT_WEIGHT * (past != 0)
    return Quadratic(angles_rad, 0.5 * cost, descent, normal)


def _squares(values: Array, weights: Array | float = 1.0) -> float:
    return float((weights * values * values).sum())


def cross(a: Float[Array, "*#batch 3"], b: Float[Array, "*#batch 3"]) -> Float[Array, "*batch 3"]:
    """Cross products, as `np.cross` without its checks."""
    (ax, ay, az), (bx, by, bz) = (a[..., 0], a[..., 1], a[..., 2]), (b[..., 0], b[..., 1], b[..., 2])
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], -1)


def _bent_back(bend: Float[Array, "inner 5 6"]) -> Float[Array, "frames 5 6"]:
    """The transpose of second differences."""
    back = np.zeros((len(bend) + 2, 5, 6))
    back[2:] += bend
    back[1:-1] -= 2.0 * bend
    back[:-2] += bend
    return back


def step(problem: Problem, at: Quadratic, damping: float) -> Float[Array, "frames 5 6"]:
    """The damped Gauss-Newton step: one banded solve. Angles that stand at a passive limit and would leave it stay."""
    frames, passive = len(at.angles_rad), problem.rig.passive
    held = ~FREE | ((at.angles_rad <= passive.lowest_rad) & (at.descent < 0)) | ((at.angles_rad >= passive.highest_rad) & (at.descent > 0))
    band = np.zeros((2 * 6 + 1, 5, frames, 6))  # the first index: how far below the diagonal
    band[:6] = (at.normal.swapaxes(0, 1)[..., _BELOW, ANGLES[:, None]] * _IN_BLOCK).transpose(3, 0, 1, 2)
    band[::6] += problem.smoothness * _bending(frames)[:, None, :, None] * _BONES_MOVED
    band[0] += damping + HELD * held.swapaxes(0, 1)
    right = np.where(held, 0.0, at.descent).swapaxes(0, 1)
    _, moved, failed = dpbsv(band.reshape(13, -1), right.reshape(-1), lower=1, overwrite_ab=1)
    assert not failed, "a damped sum of squares is positive definite"
    return moved.reshape(5, frames, 6).swapaxes(0, 1)


@lru_cache(maxsize=64)
def _bending(frames: int) -> Float[Array, "3 frames"]:
    """The matrix of summed squared second differences over time: its diagonal and the two below, each as long as the diagonal."""
    diagonals, inner = np.zeros((3, frames)), max(0, frames - 2)
    for first, share in enumerate((1.0, -2.0, 1.0)):
        for second in range(first, 3):
            diagonals[second - first, first : first + inner] += share * (1.0, -2.0, 1.0)[second]
    diagonals.flags.writeable = False
    return diagonals
