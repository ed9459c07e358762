"""Finger rotations that follow clips closely: damped Gauss-Newton from the encoder's, over all frames of a clip at once, and many clips beside one another.

    rotations (C,T,15,3), joints (C,T,21,3), betas (C,10) ──> angles of the digits ──> Levenberg-Marquardt steps ──> rotations (C,T,15,3)

Matched are the directions of the 15 finger bones in the palm's frame, not positions: a subject with longer bones than the drawn shape's must not bend its
fingers. The unknowns are the digits' angles (`digits.py`), so hinges only flex. What is minimised, per clip (weights below):

    sum of |bone - target|^2  +  past active limits  +  twist and sideways turns from rest  +  accelerations of all angles

and angles stay inside the passive limits. Digits do not depend on one another given the palm, and accelerations join a frame to the two after it, so the
normal equations are one banded matrix of half-width 12, ordered by clip, digit, frame, angle, and a step is one Cholesky factorisation (LAPACK `pbsv`).

A clip is solved by itself: each has its own damping, and leaves when its own steps promise nothing. All arithmetic is elementwise or along one clip, so its
bits cannot depend on others. Arrays are component first (`componentwise.py`), clips and frames last. The palm's own rotation is not this file's; neither are
positions (`track.py`).
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32
from scipy.linalg.lapack import dpbsv

from seqgen.componentwise import applied, components_first, cross, dot, rows_first, unit
from seqgen.hand.digits import FREE, MOVES, DigitRig, Limits, angles_from_rotations, digit_bones, pose_digits, posed_tips_m, rotations_from_angles
from seqgen.skeleton import hand_frame

Array = np.ndarray
LIMIT_WEIGHT = 0.1  # a radian past an active limit weighs as much as 0.3 off a bone's direction
# Directions hardly tell a thumb's twist from its MCP's sideways turn, nor any twist of a straight finger.
FREE_TURN_WEIGHTS = np.array([[0, 0, 0.01, 0, 0.01, 0]] + [[0, 0, 0.01, 0, 0, 0]] * 4)[..., None, None]
CUTOFF_HZ = 10.0  # above this hands do not move; accelerations are weighed as by a smoothing spline with this corner
MAX_STEPS = 12
PROMISE = 0.01  # a step that would take away less than this share of the cost is not worth its time
DAMPING, MORE, LESS = 0.01, 10.0, 0.2
HELD = 1e6  # what an angle at its limit is damped by
ANGLES = np.arange(6)
_BELOW = np.minimum(ANGLES[:, None] + ANGLES, 5)  # of a block's column (second index) the row that is so far (first index) below its diagonal
_IN_BLOCK = (ANGLES[:, None] + ANGLES < 6).astype(float)
_MOVES = MOVES[..., None, None]
_BOTH_MOVE = (MOVES @ MOVES.T)[..., None, None]  # bones that both of two angles move
_BONES_MOVED = MOVES.sum(1)[:, None, None]  # so many directions hold an angle against the term over time


class Problem(NamedTuple):
    """Clips to fit: where their bones should point and those of their shapes at rest, unit vectors; the weight of accelerations."""

    rig: DigitRig
    targets: Float[Array, "3 5 3 clips frames"]  # in the digits' zero frames
    bones: Float[Array, "3 5 3 clips #frames"]  # in the digits' frames at rest
    smoothness: float

    def of(self, clips: Bool[Array, "clips"]) -> "Problem":
        """Some of the clips."""
        return self._replace(targets=self.targets[..., clips, :], bones=self.bones[..., clips, :])


class Quadratic(NamedTuple):
    """Each clip's cost (half a sum of squares) near some angles: its value, the way down, and the Gauss-Newton matrix of each digit in each frame."""

    angles_rad: Float[Array, "5 6 clips frames"]
    cost: Float[Array, "clips"]
    descent: Float[Array, "5 6 clips frames"]
    normal: Float[Array, "5 6 6 clips frames"]

    def of(self, clips: Bool[Array, "clips"]) -> "Quadratic":
        """Some of the clips."""
        return Quadratic(self.angles_rad[..., clips, :], self.cost[clips], self.descent[..., clips, :], self.normal[..., clips, :])

    def where(self, clips: Bool[Array, "clips"], other: "Quadratic") -> "Quadratic":
        """These for some clips, for the rest the others."""
        if clips.all():
            return self
        cost, rest = np.where(clips, self.cost, other.cost), clips[:, None]
        return Quadratic(np.where(rest, self.angles_rad, other.angles_rad), cost, np.where(rest, self.descent, other.descent), np.where(rest, self.normal, other.normal))


def refine_directions(
    rig: DigitRig,
    rotations: Float[Array, "clips frames 15 3"],
    joints_m: Float[Array, "clips frames 21 3"],
    betas: Float[Array, "clips 10"],
    *,
    fps: float = 30.0,
) -> Float32[Array, "clips frames 15 3"]:
    """Rotations near the given ones with which hands of these shapes point their finger bones as the joints do, seen from the palm; the joints' frame and
    size do not matter."""
    problem = direction_problem(rig, joints_m, betas, smoothness=smoothness_at(fps))
    refined = rotations_from_angles(rig, refine_angles(problem, angles_from_rotations(rig, rotations)))
    if rig.tip_directions_m is not None:
        problem = problem._replace(bones=_bones_at_rest(rig, betas, refined))
        refined = rotations_from_angles(rig, refine_angles(problem, angles_from_rotations(rig, refined)))
    return refined.astype(np.float32)


def _bones_at_rest(rig: DigitRig, betas: Float[Array, "clips 10"], rotations: Float[Array, "clips frames 15 3"]) -> Float[Array, "3 5 3 clips frames"]:
    """Directions of the shapes' bones at rest, the last of each digit to where this pose moves the tip on it."""
    bones = np.repeat(digit_bones(shapes_m(rig, betas))[:, None], rotations.shape[1], 1)
    bones[..., 2, :] += np.stack([posed_tips_m(rig, clip) for clip in rotations])
    return _in_rest_frames(rig, bones)


def shapes_m(rig: DigitRig, betas: Float[Array, "clips 10"]) -> Float[Array, "clips 21 3"]:
    """Canonical joints of shapes at rest."""
    return np.stack([rig.joints_m(shape) for shape in betas])


def _in_rest_frames(rig: DigitRig, bones: Float[Array, "clips frames 5 3 3"]) -> Float[Array, "3 5 3 clips frames"]:
    """Directions of bones in the model's axes, in the digits' frames at rest."""
    return applied(rig.rest.transpose(2, 1, 0)[..., None, None, None], unit(np.ascontiguousarray(bones.transpose(4, 2, 3, 0, 1))))


def smoothness_at(fps: float) -> float:
    """The weight of squared second differences of an angle, for each bone that it moves: that of a smoothing spline that halves what moves at CUTOFF_HZ."""
    return (2.0 * np.pi * CUTOFF_HZ / fps) ** -4


def direction_problem(rig: DigitRig, joints_m: Float[Array, "clips frames 21 3"], betas: Float[Array, "clips 10"], *, smoothness: float) -> Problem:
    """The problem of following these joints with hands of these shapes: both seen from their own palm."""
    shapes, joints = shapes_m(rig, betas), np.asarray(joints_m, float)
    palms = hand_frame(joints.reshape(-1, 21, 3)).axes.reshape(*joints.shape[:2], 3, 3).transpose(3, 2, 0, 1)  # transposed: into the palm
    in_palm = applied(palms[:, :, None, None], unit(np.ascontiguousarray(digit_bones(joints).transpose(4, 2, 3, 0, 1))))
    zero_from_palm = rig.zero.swapaxes(-1, -2) @ hand_frame(shapes).axes[:, None]
    targets = applied(zero_from_palm.transpose(2, 3, 1, 0)[:, :, :, None, :, None], in_palm)
    return Problem(rig, targets, _in_rest_frames(rig, digit_bones(shapes)[:, None]), smoothness)


def refine_angles(problem: Problem, start_rad: Float[Array, "clips frames 5 6"]) -> Float[Array, "clips frames 5 6"]:
    """Levenberg-Marquardt, until a step promises next to nothing. A step after which the cost is higher is taken back and damped more."""
    best = linearise(problem, components_first(problem.rig.passive.clip(start_rad), 2))
    refined, clips, damping = best.angles_rad.copy(), np.arange(len(best.cost)), np.full(len(best.cost), DAMPING)
    for _ in range(MAX_STEPS):
        move = step(problem, best, damping)
        worth_it = 0.5 * _sums(best.descent * move) > PROMISE * best.cost
        if not worth_it.all():
            problem, best, clips, damping, move = problem.of(worth_it), best.of(worth_it), clips[worth_it], damping[worth_it], move[..., worth_it, :]
        if not len(clips):
            break
        there = linearise(problem, _clipped(problem.rig.passive, best.angles_rad + move))
        better = there.cost <= best.cost
        best, damping = there.where(better, best), damping * np.where(better, LESS, MORE)
        refined[..., clips, :] = best.angles_rad
    return rows_first(refined, 2)


def _clipped(limits: Limits, angles_rad: Float[Array, "5 6 clips frames"]) -> Float[Array, "5 6 clips frames"]:
    """The nearest angles inside the limits."""
    return np.minimum(np.maximum(angles_rad, limits.lowest_rad[..., None, None]), limits.highest_rad[..., None, None])


def _sums(values: Float[Array, "*components clips frames"]) -> Float[Array, "clips"]:
    """Over all of each clip: every clip's numbers lie together, so they are added in the same order whatever lies beside them."""
    return np.ascontiguousarray(np.moveaxis(values, -2, 0)).reshape(values.shape[-2], -1).sum(1)


def linearise(problem: Problem, angles_rad: Float[Array, "5 6 clips frames"]) -> Quadratic:
    """The cost at these angles. A bone b that an angle moves has the slope w x b, w being the angle's axis; as b is a unit vector, the products of slopes are
    (w . w')(b . b) - (w . b)(w' . b), and that with what is missing is w . (b x target)."""
    rig, frames = problem.rig, angles_rad.shape[-1]
    axes, turns = pose_digits(rig, rows_first(angles_rad, 2))
    bones = applied(turns, problem.bones)
    along = dot(axes[:, :, :, None], bones[:, :, None]) * _MOVES
    normal = dot(axes[:, :, :, None], axes[:, :, None]) * _BOTH_MOVE
    pulls = dot(axes[:, :, :, None], cross(bones, problem.targets)[:, :, None]) * _MOVES
    for bone in range(3):
        normal -= along[:, :, None, bone] * along[:, None, :, bone]
    pull = pulls[:, :, 0] + pulls[:, :, 1] + pulls[:, :, 2]

    missing, past, turn = bones - problem.targets, angles_rad - _clipped(rig.active, angles_rad), angles_rad - rig.rest_rad[..., None, None]
    bend = angles_rad[..., 2:] - 2.0 * angles_rad[..., 1:-1] + angles_rad[..., :-2]
    leaning, turning = LIMIT_WEIGHT * past, FREE_TURN_WEIGHTS * turn
    cost = _sums(dot(missing, missing)) + _sums(leaning * past + turning * turn) + problem.smoothness * _sums(_BONES_MOVED * (bend * bend))
    descent = pull - leaning - turning
    if frames > 2:
        descent -= problem.smoothness * _bent_back(_BONES_MOVED * bend)
    normal[:, ANGLES, ANGLES] += FREE_TURN_WEIGHTS + LIMIT_WEIGHT * (past != 0)
    return Quadratic(angles_rad, 0.5 * cost, descent, normal)


def _bent_back(bend: Float[Array, "5 6 clips inner"]) -> Float[Array, "5 6 clips frames"]:
    """The transpose of second differences."""
    back = np.zeros((*bend.shape[:-1], bend.shape[-1] + 2))
    back[..., 2:] += bend
    back[..., 1:-1] -= 2.0 * bend
    back[..., :-2] += bend
    return back


def step(problem: Problem, at: Quadratic, damping: Float[Array, "clips"]) -> Float[Array, "5 6 clips frames"]:
    """The damped Gauss-Newton step: one banded solve. Angles that stand at a passive limit and would leave it stay.

    After the last clip there is one that is none: then LAPACK's loops are as long for every clip as for any other, and so are their roundings.
    """
    (lowest, highest), (clips, frames) = (limit[..., None, None] for limit in problem.rig.passive), at.angles_rad.shape[2:]
    held = ~FREE[..., None, None] | ((at.angles_rad <= lowest) & (at.descent < 0)) | ((at.angles_rad >= highest) & (at.descent > 0))
    band = np.zeros((2 * 6 + 1, clips + 1, 5, frames, 6))  # the first index: how far below the diagonal
    band[:6, :-1] = (at.normal[:, _BELOW, ANGLES[:, None]] * _IN_BLOCK[..., None, None]).transpose(2, 3, 0, 4, 1)
    band[::6, :-1] += problem.smoothness * _bending(frames)[:, None, None, :, None] * _BONES_MOVED[:, 0, 0]
    band[0, :-1] += damping[:, None, None, None] + HELD * held.transpose(2, 0, 3, 1)
    band[0, -1] = 1.0
    right = np.zeros((clips + 1, 5, frames, 6))
    right[:-1] = np.where(held, 0.0, at.descent).transpose(2, 0, 3, 1)
    _, moved, failed = dpbsv(band.reshape(13, -1), right.reshape(-1), lower=1, overwrite_ab=1)
    assert not failed, "a damped sum of squares is positive definite"
    return np.ascontiguousarray(moved.reshape(right.shape)[:-1].transpose(1, 3, 0, 2))


@lru_cache(maxsize=64)
def _bending(frames: int) -> Float[Array, "3 frames"]:
    """The matrix of summed squared second differences over time: its diagonal and the two below, each as long as the diagonal."""
    diagonals, inner = np.zeros((3, frames)), max(0, frames - 2)
    for first, share in enumerate((1.0, -2.0, 1.0)):
        for second in range(first, 3):
            diagonals[second - first, first : first + inner] += share * (1.0, -2.0, 1.0)[second]
    diagonals.flags.writeable = False
    return diagonals
