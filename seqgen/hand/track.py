"""From a recording's joints to hand parameters: one shape for the whole recording, a pose and a place for every frame.

    joints (T,21,3), metres, in any frame ──> start from directions ──> Levenberg-Marquardt on all unknowns ──> pose (T,16,3), betas (10), translation (T,3)

Minimised are the squared distances of the 21 joints; what joints cannot tell is settled by what is likely (weights below): shapes near the mean, digits inside
their limits, no twist without need. Frames meet only in the shape: each frame's unknowns are solved for as functions of the ten betas, and the betas from what
is left (the Schur complement). A hand model's palm is rigid and an annotated one is not, so a frame's turn balances palm and fingers.

A recording has its own noise and is followed as it is: no term over time. Right hands; mirror the world for left ones.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32

from seqgen.geometry import axis_angle_from_matrix, matrix_from_axis_angle, rigid_alignment
from seqgen.hand.digits import FREE, MOVES, DigitRig, digit_bones, digit_rig, pose_digits, posed_tips_m, rotations_from_angles, start_angles
from seqgen.hand.model import HandModel
from seqgen.hand.refine import HELD, direction_problem, refine_angles

Array = np.ndarray
NOISE_M = 0.002  # of an annotated joint (bones of one recorded hand vary so much): what the weights below are stated against
LIMIT_WEIGHT = (NOISE_M / np.radians(10.0)) ** 2  # past an active limit
TURN_WEIGHTS = (NOISE_M / np.radians(45.0)) ** 2 * np.array([0, 0, 1, 0, 1, 0])  # twist, and a thumb's MCP sideways, from rest
SHAPE_WEIGHT, MAX_BETA = NOISE_M**2, 3.0  # betas are in standard deviations
FRAMES_TOLD = 60  # errors of a recording's frames are alike: it tells no more of the shape than so many frames
FRAMES_AT_ONCE = 1000  # the shape comes from so many frames, evenly spread; poses follow in batches
MAX_STEPS, PROMISE = 50, 1e-4
DAMPING, MORE, LESS = 1e-3, 10.0, 0.2
ANGLES = slice(6, 36)  # of a frame's 36 unknowns; before them the wrist's shift and the hand's turn, both in the hand's own axes
_ALL, _ANGLE = np.arange(36), np.arange(6, 36)


class RecordingFit(NamedTuple):
    """MANO's parameters of a recording; `layer(pose, betas, translation_m)` gives joints near the recorded ones."""

    pose: Float32[Array, "frames 16 3"]
    betas: Float32[Array, "10"]
    translation_m: Float32[Array, "frames 3"]


class Posed(NamedTuple):
    """`DigitPose`, rows first: what its angles turn about, the turns of its bones."""

    axes: Float[Array, "6 frames 5 3"]
    turns: Float[Array, "3 frames 5 3 3"]


class State(NamedTuple):
    """Where all unknowns stand: `turn` and `wrist_m` bring the model's axes, wrist at the origin, to the recording."""

    betas: Float[Array, "10"]
    angles_rad: Float[Array, "frames 5 6"]
    turn: Float[Array, "frames 3 3"]
    wrist_m: Float[Array, "frames 3"]


class Quadratic(NamedTuple):
    """The cost (half a sum of squares) near a state, its ways down, and the Gauss-Newton matrix: frames with themselves, with the betas, the betas."""

    state: State
    cost: float
    descent: Float[Array, "frames 36"]
    beta_descent: Float[Array, "10"]
    normal: Float[Array, "frames 36 36"]
    mixed: Float[Array, "frames 36 10"]
    beta_normal: Float[Array, "10 10"]


def fit_recording(model: HandModel, joints_m: Float[Array, "frames 21 3"]) -> RecordingFit:
    """The hand parameters whose joints are nearest to recorded ones of one right hand. Its size must be a hand's: metres, not normalised to another unit."""
    rig, joints = digit_rig(model), np.asarray(joints_m, float)
    if not len(joints) or not np.isfinite(joints).all():
        raise ValueError("a recording to fit needs frames, and joints that are finite numbers")
    chosen = np.unique(np.linspace(0, len(joints) - 1, min(len(joints), FRAMES_AT_ONCE)).round().astype(int))
    state = _solve(rig, joints[chosen], _start(rig, joints[chosen], np.zeros(10)), with_shape=True)
    if len(chosen) < len(joints):
        parts = [joints[first : first + FRAMES_AT_ONCE] for first in range(0, len(joints), FRAMES_AT_ONCE)]
        fitted = [_solve(rig, part, _start(rig, part, state.betas), with_shape=False) for part in parts]
        state = State(state.betas, *(np.concatenate(values) for values in list(zip(*fitted, strict=True))[1:]))
    return _parameters(rig, state)


def _parameters(rig: DigitRig, state: State) -> RecordingFit:
    """The state as MANO's layer takes it."""
    betas = state.betas.astype(np.float32)
    pose = np.concatenate([axis_angle_from_matrix(state.turn)[:, None], rotations_from_angles(rig, state.angles_rad)], 1)
    return RecordingFit(pose.astype(np.float32), betas, (state.wrist_m - rig.joints_m(betas)[0]).astype(np.float32))


def _start(rig: DigitRig, joints_m: Float[Array, "frames 21 3"], betas: Float[Array, "10"]) -> State:
    """Fingers that point as recorded ones do, on a hand of this shape that is laid over the recorded one."""
    problem = direction_problem(rig, joints_m[None], betas[None], smoothness=0.0)
    angles = refine_angles(problem, start_angles(rig, problem.targets.transpose(3, 4, 1, 2, 0)))[0]
    frames = len(joints_m)
    still = State(betas, angles, np.broadcast_to(np.eye(3), (frames, 3, 3)), np.zeros((frames, 3)))
    turn, wrist = rigid_alignment(hand_joints(rig, still), joints_m)
    return State(betas, angles, turn, wrist)


def hand_joints(rig: DigitRig, state: State) -> Float[Array, "frames 21 3"]:
    """Joints in the model's axes, the wrist at the origin: without the hand's turn and place."""
    rest = rig.joints_m(state.betas)
    return _joints(rig, rest, _bones(_bones_at_rest(rig, rest, state.angles_rad), _posed(rig, state.angles_rad)))


def _posed(rig: DigitRig, angles_rad: Float[Array, "frames 5 6"]) -> Posed:
    """Digits at these angles."""
    axes, turns = pose_digits(rig, angles_rad)
    return Posed(np.ascontiguousarray(axes.transpose(2, 3, 1, 0)), np.ascontiguousarray(turns.transpose(3, 4, 2, 0, 1)))


def _bones_at_rest(rig: DigitRig, rest_m: Float[Array, "21 3"], angles_rad: Float[Array, "frames 5 6"]) -> Float[Array, "#frames 5 3 3"]:
    """The digits' bones in their frames at rest, as joints at rest have them; the tips where this pose moves them on their bones, if it does."""
    bones = digit_bones(rest_m)[None]
    if rig.tip_directions_m is not None:
        bones = np.repeat(bones, len(angles_rad), 0)
        bones[:, :, 2] += posed_tips_m(rig, rotations_from_angles(rig, angles_rad))
    return bones @ rig.rest


def _bones(at_rest_m: Float[Array, "#frames 5 3 3"], posed: Posed) -> Float[Array, "frames 5 3 3"]:
    """Posed bones in the digits' zero frames, of those in the frames at rest."""
    return (posed.turns @ at_rest_m.transpose(2, 0, 1, 3)[..., None])[..., 0].transpose(1, 2, 0, 3)


def _joints(rig: DigitRig, rest_m: Float[Array, "21 3"], bones_m: Float[Array, "frames 5 3 3"]) -> Float[Array, "frames 21 3"]:
    """The joints that posed bones lead to, from the wrist. Linear in both, so of ways to move it gives how joints move."""
    base = (rest_m - rest_m[0])[1::4, None]
    reached = base + np.cumsum(bones_m @ rig.zero.swapaxes(-1, -2), 2)
    digits = np.concatenate([np.broadcast_to(base, (len(bones_m), 5, 1, 3)), reached], 2)
    return np.concatenate([np.zeros((len(bones_m), 1, 3)), digits.reshape(-1, 20, 3)], 1)


def linearise(rig: DigitRig, joints_m: Float[Array, "frames 21 3"], state: State) -> Quadratic:
    """The cost at a state: an error of d costs d^2 while small, and 2 NOISE_M d when large (pseudo-Huber), so that a wrist which annotators see elsewhere
    does not drag the fingers. Errors are taken in the hand's own axes, where slopes do not know its turn and place."""
    posed, rest = _posed(rig, state.angles_rad), rig.joints_m(state.betas)
    bones = _bones(_bones_at_rest(rig, rest, state.angles_rad), posed)
    made = _joints(rig, rest, bones)
    missing = (joints_m - state.wrist_m[:, None]) @ state.turn - made
    far = np.sqrt(1.0 + (missing**2).sum(-1) / NOISE_M**2)
    weight = (1.0 / far)[:, :, None]
    slopes = np.concatenate([_slopes(rig, posed, bones, made), _shape_slopes(rig, posed)], 1)
    weighed = (slopes * weight[:, None]).reshape(len(made), 46, 63)
    descent = (weighed @ missing.reshape(-1, 63, 1))[..., 0]
    normal = weighed @ slopes.reshape(len(made), 46, 63).swapaxes(-1, -2)

    past, turned = rig.active.excess_rad(state.angles_rad), state.angles_rad - rig.rest_rad
    shape_weight = SHAPE_WEIGHT * max(1.0, len(made) / FRAMES_TOLD)
    descent[:, ANGLES] -= (LIMIT_WEIGHT * past + TURN_WEIGHTS * turned).reshape(-1, 30)
    normal[:, _ANGLE, _ANGLE] += (LIMIT_WEIGHT * (past != 0) + TURN_WEIGHTS).reshape(-1, 30)
    cost = 2.0 * NOISE_M**2 * (far - 1.0).sum() + LIMIT_WEIGHT * (past**2).sum() + (TURN_WEIGHTS * turned**2).sum() + shape_weight * (state.betas**2).sum()
    return Quadratic(
        state,
        0.5 * float(cost),
        descent[:, :36],
        descent[:, 36:].sum(0) - shape_weight * state.betas,
        normal[:, :36, :36],
        normal[:, :36, 36:],
        normal[:, 36:, 36:].sum(0) + shape_weight * np.eye(10),
    )


def _shape_slopes(rig: DigitRig, posed: Posed) -> Float[Array, "frames 10 21 3"]:
    """How joints move with the betas, which move those at rest and with them the bones."""
    return np.stack([_joints(rig, way, _bones((digit_bones(way) @ rig.rest)[None], posed)) for way in np.moveaxis(rig.joint_directions_m, -1, 0)], 1)


def _slopes(rig: DigitRig, posed: Posed, bones_m: Float[Array, "frames 5 3 3"], made_m: Float[Array, "frames 21 3"]) -> Float[Array, "frames 36 21 3"]:
    """How a frame's joints move with its 36 unknowns. An angle turns the bones after it about its axis, and carries the joints beyond along."""
    slopes = np.zeros((len(made_m), 36, 21, 3))
    slopes[:, :3] = np.eye(3)[:, None]
    slopes[:, 3:6] = cross(np.eye(3)[:, None], made_m[:, None])
    turning = cross(posed.axes.transpose(1, 2, 0, 3)[..., None, :], bones_m[:, :, None]) * MOVES[..., None]
    reached = np.cumsum(turning @ rig.zero.swapaxes(-1, -2)[:, None], 3)
    for digit in range(5):
        slopes[:, 6 + 6 * digit : 12 + 6 * digit, 2 + 4 * digit : 5 + 4 * digit] = reached[:, digit]
    return slopes


def cross(a: Float[Array, "*#batch 3"], b: Float[Array, "*#batch 3"]) -> Float[Array, "*batch 3"]:
    """Cross products, as `np.cross` without its checks."""
    (ax, ay, az), (bx, by, bz) = (a[..., 0], a[..., 1], a[..., 2]), (b[..., 0], b[..., 1], b[..., 2])
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], -1)


def _solve(rig: DigitRig, joints_m: Float[Array, "frames 21 3"], start: State, *, with_shape: bool) -> State:
    """Levenberg-Marquardt, until a step promises next to nothing. A step after which the cost is higher is taken back and damped more."""
    best, damping = linearise(rig, joints_m, start), DAMPING
    for _ in range(MAX_STEPS):
        move, beta_move = step(rig, best, damping, with_shape=with_shape)
        if 0.5 * ((best.descent * move).sum() + best.beta_descent @ beta_move) <= PROMISE * best.cost:
            break
        there = linearise(rig, joints_m, moved(rig, best.state, move, beta_move))
        if there.cost <= best.cost:
            best, damping = there, damping * LESS
        else:
            damping *= MORE
    return best.state


def moved(rig: DigitRig, state: State, move: Float[Array, "frames 36"], beta_move: Float[Array, "10"]) -> State:
    """The state after a step, inside the limits."""
    wrist = state.wrist_m + np.einsum("tij,tj->ti", state.turn, move[:, :3])
    angles = rig.passive.clip(state.angles_rad + move[:, ANGLES].reshape(-1, 5, 6))
    return State(np.clip(state.betas + beta_move, -MAX_BETA, MAX_BETA), angles, state.turn @ matrix_from_axis_angle(move[:, 3:6]), wrist)


def step(rig: DigitRig, at: Quadratic, damping: float, *, with_shape: bool) -> tuple[Float[Array, "frames 36"], Float[Array, "10"]]:
    """The damped Gauss-Newton step of the frames and of the betas. What stands at a limit and would leave it stays."""
    angles, betas = at.state.angles_rad, at.state.betas
    held = ~FREE | _leaving(angles, at.descent[:, ANGLES].reshape(-1, 5, 6), rig.passive.lowest_rad, rig.passive.highest_rad)
    normal = at.normal.copy()
    normal[:, _ALL, _ALL] *= 1.0 + damping
    normal[:, _ANGLE, _ANGLE] += damping * NOISE_M**2 + HELD * held.reshape(-1, 30)
    found = np.linalg.solve(normal, np.concatenate([at.descent[..., None], at.mixed], -1))
    if not with_shape:
        return found[..., 0], np.zeros(10)
    left = at.beta_normal * (1.0 + damping * np.eye(10)) - np.einsum("tui,tuj->ij", at.mixed, found[..., 1:])
    left += HELD * np.diag(_leaving(betas, at.beta_descent, -MAX_BETA, MAX_BETA))
    beta_move = np.linalg.solve(left, at.beta_descent - np.einsum("tui,tu->i", at.mixed, found[..., 0]))
    return found[..., 0] - found[..., 1:] @ beta_move, beta_move


def _leaving(values: Array, descent: Array, lowest: Array | float, highest: Array | float) -> Array:
    """What stands at a limit and is drawn past it."""
    return ((values <= lowest) & (descent < 0)) | ((values >= highest) & (descent > 0))
