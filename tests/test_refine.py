"""Fingers that follow: angles and rotations, the refinement of a clip, the fit of a recording; each against what is known beforehand."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from banks import built_in_bank, built_in_hands, curling_hands
from scipy.spatial.transform import Rotation
from threadpoolctl import threadpool_limits

import seqgen.hand.refine as refine
import seqgen.hand.track as track
from seqgen.hand import load_hand
from seqgen.hand.anatomy import joint_axes
from seqgen.hand.digits import FREE, angles_from_rotations, digit_bones, digit_rig, pose_digits, rotations_from_angles, start_angles, unit
from seqgen.hand.fit import HINGES, SHIPPED, read_encoder
from seqgen.hand.layer import HandLayer
from seqgen.poses.hand_shapes import HIGHEST, LOWEST, nominal_bones
from seqgen.skeleton import JOINT_SETS, hand_frame

HAND = load_hand("open")
RIG = digit_rig(HAND)
LAYER = HandLayer(HAND).double()
ENCODER = read_encoder(SHIPPED)
MEAN_SHAPE = np.zeros(10)
REFERENCE = os.environ.get("SEQGEN_REFERENCE_DATA")
needs_reference = pytest.mark.skipif(REFERENCE is None, reason="SEQGEN_REFERENCE_DATA names no folder with real_track")


def pose_directions_hand():
    """A hand like MANO, whose tips move a little on their bones with the pose."""
    directions = np.random.default_rng(1).normal(0, 0.0003, HAND.pose_directions.shape).astype(np.float32)
    return dataclasses.replace(HAND, pose_directions=directions)


def angles_inside(num, seed=0, *, twist=False):
    """Angles (num, 5, 6) inside the active limits; twists, which directions hardly tell, at rest unless asked for."""
    angles = np.where(FREE, np.random.default_rng(seed).uniform(*RIG.active, size=(num, 5, 6)), 0)
    if not twist:
        angles[..., 2], angles[:, 0, 4] = RIG.rest_rad[:, 2], RIG.rest_rad[0, 4]
    return angles


def hands_of(rotations, betas=MEAN_SHAPE, model=HAND):
    """Joints by the layer, the slow way, float64, of hands that are not turned."""
    layer = LAYER if model is HAND else HandLayer(model).double()
    pose = torch.cat([torch.zeros(len(rotations), 1, 3), torch.as_tensor(np.asarray(rotations))], 1).double()
    return layer.joints(pose, torch.as_tensor(np.asarray(betas, float)).expand(len(pose), 10)).numpy()


def directions(joints):
    """Finger bones (frames, 15, 3) in the palm's frame."""
    return (unit(digit_bones(joints)) @ hand_frame(joints).axes[:, None]).reshape(-1, 15, 3)


def off_degrees(joints, targets):
    return np.degrees(2 * np.arcsin(np.clip(np.linalg.norm(directions(joints) - directions(targets), axis=-1) / 2, 0, 1)))


def jerk_over_speed(clips):
    """Mean third over mean first difference of the joints, over all clips of a list."""
    third, first = (np.concatenate([np.linalg.norm(np.diff(clip, n=n, axis=0), axis=-1).ravel() for clip in clips]).mean() for n in (3, 1))
    return third / first


# Angles


def test_angles_and_rotations_are_two_ways_to_say_the_same():
    angles = angles_inside(50, twist=True)
    rotations = rotations_from_angles(RIG, angles)
    np.testing.assert_allclose(angles_from_rotations(RIG, rotations), angles, atol=1e-12)
    np.testing.assert_allclose(angles_from_rotations(RIG, np.zeros((1, 15, 3)))[0], RIG.rest_rad, atol=1e-12)


def test_hinges_only_flex():
    local = np.einsum("tjc,jca->tja", rotations_from_angles(RIG, angles_inside(50, twist=True)), joint_axes(HAND)[1:])
    sideways = [joint - 1 for joint in HINGES]
    np.testing.assert_allclose(local[:, sideways][..., [0, 2]], 0, atol=1e-12)
    assert np.abs(local[:, sideways, 1]).max() > 1


@pytest.mark.parametrize("seed", range(3))
def test_posed_digits_point_as_the_layers_bones_do(seed):
    betas, angles = np.random.default_rng(seed).standard_normal(10), angles_inside(20, seed, twist=True)
    bones = unit(digit_bones(RIG.joints_m(betas))) @ RIG.rest
    made = np.einsum("ijdbt,dbj->tdbi", pose_digits(RIG, angles).turns, bones) @ RIG.zero.swapaxes(-1, -2)
    np.testing.assert_allclose(made, unit(digit_bones(hands_of(rotations_from_angles(RIG, angles), betas))), atol=1e-6)


def test_limits_are_those_of_the_named_shapes_and_the_rest_pose_is_inside():
    lowest, highest = (np.array([[digit[0], digit[2], digit[3]] for digit in shape[1:]]) for shape in (LOWEST, HIGHEST))
    np.testing.assert_allclose(np.degrees(RIG.active.lowest_rad)[1:, [0, 3, 5]], lowest)
    np.testing.assert_allclose(np.degrees(RIG.active.highest_rad)[1:, [0, 3, 5]], highest)
    assert (RIG.active.excess_rad(RIG.rest_rad) == 0).all()
    assert (RIG.passive.lowest_rad <= RIG.active.lowest_rad).all() and (RIG.passive.highest_rad >= RIG.active.highest_rad).all()


def test_angles_mean_what_the_named_shapes_angles_mean():
    """The nominal hand, made of those angles by another kinematics, is read with them; the open hand's fingers are not quite straight, so to some degrees."""
    asked = np.radians([[0.0, 0], [60, 0], [0, 70], [50, 60]])
    read = fitted_angles(curling_hands(*asked.T))
    np.testing.assert_allclose(read[:, 1:, 0], np.repeat(asked[:, :1], 4, 1), atol=np.radians(6))
    np.testing.assert_allclose(read[:, 1:, 3], np.repeat(asked[:, 1:], 4, 1), atol=np.radians(6))
    np.testing.assert_allclose(read[:, 1:, 5], 0, atol=np.radians(8))
    np.testing.assert_allclose(read[:, 1:, 1], np.sin(asked[:, :1]) * np.sin(nominal_bones().finger_roll_rad), atol=np.radians(8))  # rolled fingers bend to the side


def fitted_angles(joints, betas=MEAN_SHAPE, start=None):
    """Each frame by itself: no term over time."""
    problem = refine.direction_problem(RIG, joints[None], betas[None], smoothness=0.0)
    return refine.refine_angles(problem, start_angles(RIG, problem.targets.transpose(3, 4, 1, 2, 0)) if start is None else start[None])[0]


def refined_clip(rotations, joints, betas=MEAN_SHAPE, *, rig=RIG, fps=30.0):
    """One clip alone."""
    return refine.refine_directions(rig, rotations[None], joints[None], betas[None], fps=fps)[0]


def rows_first(values):
    """A single clip's (5, 6, ..., 1, frames) as (frames, 5, 6, ...)."""
    return np.moveaxis(values[..., 0, :], -1, 0)


def components_first(angles):
    """The other way."""
    return np.moveaxis(angles, 0, -1)[..., None, :]


# One step


def clip_problem(seed=0, frames=5):
    angles = angles_inside(frames, seed, twist=True)
    targets = hands_of(rotations_from_angles(RIG, angles_inside(frames, seed + 1)))
    return refine.direction_problem(RIG, targets[None], np.random.default_rng(seed).standard_normal((1, 10)), smoothness=0.3), 1.2 * angles


def quadratic(problem, angles):
    return refine.linearise(problem, components_first(angles))


def test_the_way_down_is_the_slope_of_the_cost():
    problem, angles = clip_problem()
    at, small = quadratic(problem, angles), 1e-6
    for frame, digit, angle in np.argwhere(np.broadcast_to(FREE, angles.shape))[::7]:
        shift = np.zeros_like(angles)
        shift[frame, digit, angle] = small
        slope = (quadratic(problem, angles + shift).cost[0] - quadratic(problem, angles - shift).cost[0]) / (2 * small)
        assert at.descent[digit, angle, 0, frame] == pytest.approx(-slope, abs=1e-6)


def test_the_normal_matrix_is_that_of_the_bones_slopes():
    problem, angles = clip_problem()
    problem = problem._replace(rig=dataclasses.replace(RIG, active=RIG.passive))  # no limit is passed
    angles = RIG.active.clip(angles)

    def bones(values):
        return np.einsum("ijdbt,jdb->tdbi", pose_digits(RIG, values).turns, problem.bones[..., 0, 0]).reshape(-1, 5, 9)

    slopes = np.stack([(bones(angles + shift) - bones(angles - shift)) / 2e-6 for shift in 1e-6 * np.eye(6)[:, None, None]], 2)
    expected = slopes @ slopes.swapaxes(-1, -2) + np.eye(6) * refine.FREE_TURN_WEIGHTS[:, None, :, 0, 0]
    np.testing.assert_allclose(rows_first(quadratic(problem, angles).normal), expected, atol=1e-8)


@pytest.mark.parametrize("frames", [1, 2, 3, 7])
def test_a_step_solves_the_whole_system_at_once(frames):
    """The banded solve against a dense one over all frames."""
    problem, angles = clip_problem(frames=frames)
    at = quadratic(problem, RIG.active.clip(angles))
    second = np.diff(np.eye(frames), n=2, axis=0)
    moved, normal, descent = (rows_first(values) for values in (refine.step(problem, at, np.array([0.01])), at.normal, at.descent))
    for digit in range(5):
        dense = np.kron(problem.smoothness * second.T @ second, np.diag([3.0, 3, 3, 2, 2, 1])) + 0.01 * np.eye(6 * frames)
        for frame in range(frames):
            dense[6 * frame : 6 * frame + 6, 6 * frame : 6 * frame + 6] += normal[frame, digit] + np.diag(1e6 * ~FREE[digit])
        np.testing.assert_allclose(moved[:, digit].ravel(), np.linalg.solve(dense, descent[:, digit].ravel()), atol=1e-9)


# A clip


def test_a_hand_inside_its_limits_is_found_again():
    """fit(hand(p)) = p, for drawn shapes, from rotations that are off by 0.2 rad."""
    rng = np.random.default_rng(0)
    for seed in range(5):
        angles, betas = angles_inside(40, seed), rng.standard_normal(10)
        joints = hands_of(rotations_from_angles(RIG, angles), betas)
        found = fitted_angles(joints, betas, angles + 0.2 * rng.standard_normal(angles.shape) * FREE)
        made = hands_of(rotations_from_angles(RIG, found), betas)
        assert off_degrees(made, joints).max() < 0.5
        assert np.linalg.norm(made - joints, axis=-1).max() < 5e-4
        assert np.degrees(np.abs(found - angles)).mean() < 0.3


def test_still_hands_stay_as_they_are():
    """Through the whole door: encoder, refinement, rotations."""
    angles = np.repeat(angles_inside(1, 4), 10, 0)
    joints = hands_of(rotations_from_angles(RIG, angles))
    refined = refined_clip(encoded(joints), joints)
    assert refined.dtype == np.float32 and refined.shape == (10, 15, 3)
    assert off_degrees(hands_of(refined), joints).max() < 0.5
    assert np.abs(np.diff(refined, axis=0)).max() < 1e-6


def encoded(joints):
    """What the shipped encoder makes of joints."""
    return ENCODER(torch.as_tensor(hand_frame(joints).normalise(joints), dtype=torch.float32)).numpy()


def test_bones_of_other_lengths_bend_no_finger():
    joints = hands_of(rotations_from_angles(RIG, angles_inside(10, 3)))
    stretched, factor = joints.copy(), np.random.default_rng(0).uniform(0.6, 1.6, (5, 3, 1))
    stretched[:, 1:] = (joints[:, 1::4, None] + np.concatenate([np.zeros((10, 5, 1, 3)), np.cumsum(factor * digit_bones(joints), 2)], 2)).reshape(10, 20, 3)
    start = encoded(joints)
    np.testing.assert_allclose(*(refined_clip(start, hands) for hands in (joints, stretched)), atol=1e-6)


def test_neither_place_nor_size_nor_turn_of_the_joints_matters():
    joints, turn = hands_of(rotations_from_angles(RIG, angles_inside(10, 3))), Rotation.from_rotvec([0.3, -1, 0.7]).as_matrix()
    start = encoded(joints)
    np.testing.assert_allclose(*(refined_clip(start, hands) for hands in (joints, 7 * joints @ turn.T + 0.4)), atol=1e-6)


def test_limits_hold_and_are_leaned_on_before():
    """Fingers asked to bend backwards from every joint, by 60 degrees."""
    angles = np.repeat(RIG.rest_rad[None], 4, 0)
    angles[:, 1:, [0, 3, 5]] = np.radians(-60)
    joints = hands_of(rotations_from_angles(RIG, angles))
    found = angles_from_rotations(RIG, refined_clip(np.zeros((4, 15, 3)), joints))
    assert np.abs(RIG.passive.excess_rad(found)).max() < 1e-6
    assert (RIG.active.excess_rad(found)[:, 1:, [0, 3, 5]] < 0).any(-1).all()
    few_past = angles_inside(30, 1)
    few_past[:, 1:, 3] = RIG.active.highest_rad[1:, 3] + np.radians(8)
    past = RIG.active.excess_rad(fitted_angles(hands_of(rotations_from_angles(RIG, few_past))))[:, 1:, 3]
    assert (past > 0).all() and np.degrees(past.max()) < 8


def smooth_clip(frames, seed=0):
    """Joints that sway at 1 Hz, 30 frames a second, between two poses."""
    way = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(frames) / 30)[:, None, None]
    start, end = angles_inside(2, seed)
    return hands_of(rotations_from_angles(RIG, start + way * 0.5 * (end - start)))


def test_noise_is_smoothed_and_smooth_motion_is_left_alone():
    clean = smooth_clip(60)
    noisy = clean + np.random.default_rng(0).normal(0, 0.0005, clean.shape)
    follow = {fps: hands_of(refined_clip(encoded(noisy), noisy, fps=fps)) for fps in (30.0, 1e-3)}  # the second: no term over time
    smoothed, rough = (np.linalg.norm(np.diff(joints, n=3, axis=0), axis=-1).mean() for joints in (follow[30.0], follow[1e-3]))
    assert smoothed < 0.6 * rough
    followed, alone = (hands_of(refined_clip(encoded(clean), clean, fps=fps)) for fps in (30.0, 1e-3))
    assert np.abs(followed - alone).max() < 0.01 * np.ptp(alone, axis=0).max()
    assert jerk_over_speed([followed]) < 1.05 * jerk_over_speed([clean])


def test_a_clip_has_the_same_bits_alone_and_beside_others():
    clips = [smooth_clip(frames, seed) for seed, frames in enumerate((10, 10, 3, 25))]
    starts = [encoded(clip) for clip in clips]
    forth = [refined_clip(start, clip) for start, clip in zip(starts, clips, strict=True)]
    with threadpool_limits(1):
        back = [refined_clip(starts[i], clips[i], rig=digit_rig(HAND)) for i in (3, 2, 1, 0)][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(forth, back, strict=True))


def test_tips_that_move_on_their_bones_are_met_too():
    model = pose_directions_hand()
    rig, betas = digit_rig(model), np.random.default_rng(0).standard_normal(10)
    joints = hands_of(rotations_from_angles(rig, angles_inside(20)), betas, model)
    refined, rigid = (refined_clip(encoded(joints), joints, betas, rig=each, fps=1e-3) for each in (rig, dataclasses.replace(rig, tip_directions_m=None)))
    errors = [off_degrees(hands_of(rotations, betas, model), joints)[:, 2::3].mean() for rotations in (refined, rigid)]
    assert errors[0] < 0.3 * errors[1]


def follow_clips(clips):
    """Joints before and after, each clip with its own drawn shape, and what the encoder alone makes of it."""
    made, alone = [], []
    for number, clip in enumerate(clips):
        betas = np.random.default_rng(number).standard_normal(10)
        start = encoded(clip)
        made.append(hands_of(refined_clip(start, clip, betas), betas))
        alone.append(hands_of(start, betas))
    return made, alone


def errors_of(made, clips):
    return np.concatenate([off_degrees(a, b) for a, b in zip(made, clips, strict=True)])


def test_the_built_in_bank_is_followed_closely():
    clips = [built_in_hands().joints_m[first : first + 10] for first in range(0, 2000, 40)]
    made, _ = follow_clips(clips)
    errors = errors_of(made, clips)
    assert errors.mean() < 2 and np.quantile(errors, 0.99) < 6
    assert jerk_over_speed(made) < 1.1 * jerk_over_speed(clips)


def real_track_m():
    """The recording of real hands, metres."""
    lines = (Path(REFERENCE) / "real_track" / "Training_Annotation.txt").read_text().splitlines()
    numbers = np.array([line.split()[1:] for line in lines], float).reshape(-1, 21, 3) / 1e3
    return JOINT_SETS["hands17"].to_canonical(numbers)


@needs_reference
def test_a_real_recording_is_followed_closely():
    joints = real_track_m()
    clips = [joints[first : first + 10] for first in range(0, len(joints) - 10, 12)]
    made, alone = follow_clips(clips)
    errors = errors_of(made, clips)
    assert errors.mean() < 3 and np.quantile(errors, 0.99) < 10
    assert errors.mean() < 0.5 * errors_of(alone, clips).mean()
    assert jerk_over_speed(made) < 1.1 * jerk_over_speed(clips)


# A recording


def recording(seed, frames=60, *, stretch=0.0):
    """Joints of a hand of drawn shape in poses of the built-in bank, somewhere before a camera; with bones longer or shorter by that share."""
    rng = np.random.default_rng(seed)
    betas = rng.standard_normal(10).clip(-2.5, 2.5)
    angles = RIG.active.clip(fitted_angles(built_in_bank().joints_m[seed::20][:frames].astype(float), betas))
    angles[..., 2], angles[:, 0, 4] = RIG.rest_rad[:, 2], RIG.rest_rad[0, 4]
    joints = hands_of(rotations_from_angles(RIG, angles), betas)
    bases = joints[:, 1::4] * (1 + stretch / 2 * rng.standard_normal((5, 1)))
    bones = digit_bones(joints) * (1 + stretch * rng.standard_normal((5, 3, 1)))
    joints[:, 1:] = (bases[:, :, None] + np.concatenate([np.zeros((len(joints), 5, 1, 3)), np.cumsum(bones, 2)], 2)).reshape(-1, 20, 3)
    return betas, np.einsum("nij,nkj->nki", Rotation.random(len(joints), rng=rng).as_matrix(), joints) + rng.normal(0, 0.3, (len(joints), 1, 3))


def joints_of_fit(fit, model=HAND):
    mesh = HandLayer(model)(*(torch.as_tensor(values) for values in (fit.pose, np.repeat(fit.betas[None], len(fit.pose), 0), fit.translation_m)))
    return mesh.joints_m.double().numpy()


def mean_error_mm(fit, joints, model=HAND):
    return 1e3 * np.linalg.norm(joints_of_fit(fit, model) - joints, axis=-1).mean()


@pytest.mark.parametrize("seed", range(3))
def test_a_recording_of_a_hand_gives_back_its_shape_and_poses(seed):
    betas, joints = recording(seed)
    fit = track.fit_recording(HAND, joints)
    assert mean_error_mm(fit, joints) < 0.3
    assert (np.abs(fit.betas) <= track.MAX_BETA).all()
    np.testing.assert_allclose(RIG.joints_m(fit.betas.astype(float)), RIG.joints_m(betas), atol=1.5e-3)  # some betas thicken flesh: joints do not tell them
    np.testing.assert_allclose(fit.betas[:2], betas[:2], atol=0.3)


def test_bones_of_other_lengths_are_met_as_well_as_a_shape_can():
    for seed in range(3):
        _, joints = recording(seed, stretch=0.06)
        assert mean_error_mm(track.fit_recording(HAND, joints), joints) < 2


def test_a_long_recording_has_its_shape_from_some_frames_and_poses_for_all(monkeypatch):
    _, joints = recording(5, frames=50)
    monkeypatch.setattr(track, "FRAMES_AT_ONCE", 20)
    fit = track.fit_recording(HAND, joints)
    assert len(fit.pose) == len(fit.translation_m) == 50 and mean_error_mm(fit, joints) < 0.3


def test_a_recording_of_a_hand_like_mano():
    model = pose_directions_hand()
    angles, betas = angles_inside(30, 2), np.random.default_rng(0).standard_normal(10)
    joints = hands_of(rotations_from_angles(RIG, angles), betas, model)
    assert mean_error_mm(track.fit_recording(model, joints), joints, model) < 0.5


def test_the_same_recording_gives_the_same_bits():
    _, joints = recording(1, frames=20)
    first, second = track.fit_recording(HAND, joints), track.fit_recording(HAND, joints.copy())
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("joints", [np.zeros((0, 21, 3)), np.full((2, 21, 3), np.nan)], ids=["no frame", "not numbers"])
def test_a_recording_without_joints_is_refused(joints):
    with pytest.raises(ValueError, match="finite"):
        track.fit_recording(HAND, joints)


def test_the_recordings_way_down_is_the_slope_of_its_cost():
    _, joints = recording(0, frames=3)
    state = track.State(0.3 * np.arange(10.0) - 1, 1.2 * angles_inside(3, 1), Rotation.random(3, rng=np.random.default_rng(0)).as_matrix(), joints[:, 0] + 0.01)
    at, small = track.linearise(RIG, joints, state), 1e-6

    def slope(move, beta_move):
        ends = [track.linearise(RIG, joints, track.moved(wide, state, sign * move, sign * beta_move)).cost for sign in (1, -1)]
        return (ends[0] - ends[1]) / (2 * small)

    wide = dataclasses.replace(RIG, passive=type(RIG.passive)(RIG.passive.lowest_rad - 9, RIG.passive.highest_rad + 9))
    for unknown in [0, 1, 2, 3, 4, 5, 6, 8, 10, 13, 20, 29, 35]:
        move = np.zeros((3, 36))
        move[1, unknown] = small
        assert at.descent[1, unknown] == pytest.approx(-slope(move, np.zeros(10)), abs=1e-7), unknown
    for beta in range(10):
        assert at.beta_descent[beta] == pytest.approx(-slope(np.zeros((3, 36)), small * np.eye(10)[beta]), abs=1e-7), beta


@needs_reference
def test_a_real_recording_is_met_with_one_shape():
    joints = real_track_m()
    fit = track.fit_recording(HAND, joints)
    assert mean_error_mm(fit, joints) < 4
