"""The built-in bank: shapes against their names, kinematics against a slow twin and the closed form, rows against anatomy."""

from itertools import combinations, pairwise

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from seqgen.poses.hand_shapes import (
    ANGLE_NAMES,
    DIP_FLEXION,
    HIGHEST,
    LOWEST,
    MCP_FLEXION,
    PIP_FLEXION,
    SHAPES,
    forward_kinematics,
    limits_rad,
    nominal_bones,
    shape_rad,
    within_limits,
)
from seqgen.poses.synthesis import MINIMUM_GAP_M, clear_of_itself, draw_subject, segment_distance, synthesise_poses
from seqgen.skeleton import BONES, FINGER_BONES, JOINT_NAMES, MCPS, PALM_M, TIPS, hand_frame

JOINT = {name: index for index, name in enumerate(JOINT_NAMES)}
ANGLE = {name: index for index, name in enumerate(ANGLE_NAMES)}
SEED, NUM_SUBJECTS = 3, 8


@pytest.fixture(scope="module")
def poses():
    return synthesise_poses(12000, seed=SEED, num_subjects=NUM_SUBJECTS)


@pytest.fixture(scope="module")
def subjects():
    """The subjects behind `poses`: the first thing that each one's random stream gives."""
    return [draw_subject(np.random.default_rng(np.random.SeedSequence(SEED, spawn_key=(index,)))) for index in range(NUM_SUBJECTS)]


def shape_joints(name):
    """Joints (21, 3) of a named shape on the nominal hand."""
    return forward_kinematics(shape_rad(SHAPES[name]), nominal_bones())


def gap_mm(joints, first, second):
    return 1e3 * np.linalg.norm(joints[..., JOINT[first], :] - joints[..., JOINT[second], :], axis=-1)


def bend_rad(joints, digit):
    """Angles (rows, 2) between the three bones of a digit."""
    bones = np.diff(joints[:, 1 + 4 * digit : 5 + 4 * digit].astype(float), axis=1)
    bones /= np.linalg.norm(bones, axis=-1, keepdims=True)
    return np.arccos(np.clip(np.einsum("nbi,nbi->nb", bones[:, :-1], bones[:, 1:]), -1.0, 1.0))


def slow_kinematics(angles_rad, bones):
    """One pose (21, 3) by chains of rotations, joint after joint."""
    joints = np.zeros((21, 3))
    for digit in range(5):
        if digit == 0:
            side, out, turn = bones.thumb_rest_rad + angles_rad[:3] * np.array([-1, 1, 1])
            turned, hinges = Rotation.from_euler("ZXY", [side, -out, -turn]), angles_rad[3:5]
        else:
            flexion, abduction, *hinges = angles_rad[1 + 4 * digit : 5 + 4 * digit]
            turned = Rotation.from_euler("YXZ", [bones.finger_roll_rad[digit - 1], -flexion, abduction if digit < 3 else -abduction])
        place = joints[1 + 4 * digit] = bones.bases_m[digit]
        for bone, hinge in enumerate((0.0, *hinges)):
            turned = turned * Rotation.from_euler("x", -hinge)
            place = joints[2 + 4 * digit + bone] = place + turned.apply([0.0, bones.bones_m[digit, bone], 0.0])
    return joints


# Kinematics


def test_straight_hand_is_the_closed_form():
    bones = nominal_bones()
    joints = forward_kinematics(np.zeros(21), bones)
    assert np.allclose(joints[9], [0.0, PALM_M, 0.0])
    for digit, mcp in enumerate(MCPS, start=1):
        reach = np.array([0.0, *np.cumsum(bones.bones_m[digit])])
        assert np.allclose(joints[mcp : mcp + 4], bones.bases_m[digit] + reach[:, None] * [0.0, 1.0, 0.0])
    assert np.allclose(joints[4], bones.bases_m[0] + bones.bones_m[0].sum() * np.array([-1.0, 1.0, 0.0]) / np.sqrt(2.0))


def test_kinematics_equal_the_slow_twin():
    rng = np.random.default_rng(1)
    for _ in range(20):
        bones, angles = draw_subject(rng).bones, rng.uniform(*limits_rad())
        assert np.allclose(forward_kinematics(angles, bones), slow_kinematics(angles, bones), atol=1e-12)


@pytest.mark.parametrize("finger", ["index", "middle", "ring", "pinky"])
@pytest.mark.parametrize("joint", ["mcp", "pip", "dip"])
def test_flexion_bends_to_the_palm(finger, joint):
    angles = np.zeros(21)
    angles[ANGLE[f"{finger}_{joint}_flexion"]] = 0.5
    moved = forward_kinematics(angles, nominal_bones()) - forward_kinematics(np.zeros(21), nominal_bones())
    assert moved[JOINT[f"{finger}_tip"], 2] < -0.005
    assert np.count_nonzero(np.abs(moved).max(-1) > 1e-12) == {"mcp": 3, "pip": 2, "dip": 1}[joint]


def test_abduction_spreads_and_the_thumb_moves_as_named():
    def moved(name):
        angles = np.zeros(21)
        angles[ANGLE[name]] = 0.3
        return (forward_kinematics(angles, nominal_bones()) - forward_kinematics(np.zeros(21), nominal_bones()))[JOINT[name.split("_")[0] + "_tip"]]

    assert moved("index_mcp_abduction")[0] < -0.01 and moved("middle_mcp_abduction")[0] < -0.01
    assert moved("ring_mcp_abduction")[0] > 0.01 and moved("pinky_mcp_abduction")[0] > 0.01
    assert moved("thumb_cmc_flexion")[0] > 0.01 and moved("thumb_cmc_abduction")[2] < -0.01 and moved("thumb_ip_flexion")[0] > 0.001
    assert np.allclose(moved("thumb_cmc_opposition"), 0.0)  # a straight thumb turns on the spot


# Shapes


def test_there_are_shapes_enough_and_all_are_possible():
    assert len(SHAPES) >= 55
    for shape in SHAPES.values():
        assert np.allclose(within_limits(shape_rad(shape), limits_rad()), shape_rad(shape))
    joints = np.stack([shape_joints(name) for name in SHAPES])
    assert clear_of_itself(joints).all()
    different = np.linalg.norm(joints[:, None] - joints, axis=-1).mean(-1) + np.eye(len(SHAPES))
    assert different.min() > 0.002


def test_limits_are_the_published_ones():
    assert np.max([finger[0] for finger in HIGHEST[1:]]) <= 100 and np.max([finger[2] for finger in HIGHEST[1:]]) <= 110 and np.max([finger[3] for finger in HIGHEST[1:]]) <= 90
    assert HIGHEST[0][3] <= 56 and HIGHEST[0][4] <= 80 and HIGHEST[0][1] <= 70 and LOWEST[0][1] >= 0


@pytest.mark.parametrize(
    ("name", "finger"),
    [
        *((name, "index") for name in ("tip_pinch", "palmar_pinch", "inferior_pincer", "ok", "letter_f", "count_0")),
        *((name, "middle") for name in ("letter_o", "letter_d", "purse")),
        ("ring_touch", "ring"),
        ("pinky_touch", "pinky"),
    ],
)
def test_pinches_touch(name, finger):
    assert 8.0 < gap_mm(shape_joints(name), "thumb_tip", f"{finger}_tip") < 15.0


def test_fists_are_closed_with_the_thumb_before_the_fingers():
    for name in ("fist", "thumbs_up", "letter_a"):
        tips = shape_joints(name)[list(TIPS[1:])]
        assert (tips[:, 1] < 0.085).all() and (tips[:, 2] < -0.009).all() and (tips[:, 2] > -0.06).all()
    fist, beside = shape_joints("fist"), shape_joints("letter_a")
    assert fist[4, 2] < fist[[JOINT["index_tip"], JOINT["middle_tip"]], 2].min() and fist[4, 0] > fist[JOINT["index_mcp"], 0]
    assert (beside[[3, 4], 0] < beside[5:9, 0].min()).all()  # the thumb beside the index


def test_other_shapes_are_what_they_say():
    flat, lateral, victory, horns = (shape_joints(name) for name in ("flat", "lateral", "victory", "horns"))
    assert (np.abs(flat[5:, 2]) < 0.01).all() and flat[4, 0] < flat[5, 0] and abs(flat[4, 0] - flat[5, 0]) < 0.03
    side_of_index = (lateral[JOINT["index_pip"]] + lateral[JOINT["index_dip"]]) / 2
    assert 1e3 * np.linalg.norm(0.35 * lateral[3] + 0.65 * lateral[4] - side_of_index) < 20.0
    assert gap_mm(victory, "index_tip", "middle_tip") > 45.0
    crossed = shape_joints("letter_r")
    assert crossed[JOINT["index_tip"], 0] > crossed[JOINT["middle_tip"], 0]
    far = np.linalg.norm(horns[list(TIPS[1:])], axis=-1) > 0.12
    assert far.tolist() == [True, False, False, True]


@pytest.mark.parametrize(("name", "count"), [("count_1", 1), ("count_2", 2), ("count_3", 3), ("count_4", 4), ("count_5", 4)])
def test_counting_holds_up_so_many_fingers_besides_the_thumb(name, count):
    joints = shape_joints(name)
    straight = np.linalg.norm(joints[list(TIPS[1:])] - joints[list(MCPS)], axis=-1) > 0.065
    assert straight.sum() == count


# The bank


def test_rows_are_right_hands_in_the_hand_frame(poses):
    assert poses.joints_m.shape == (12000, 21, 3) and np.isfinite(poses.joints_m).all() and np.isfinite(poses.angles_rad).all()
    assert np.array_equal(poses.joints_m, np.round(poses.joints_m.astype(float), 6).astype(np.float32))
    assert np.array_equal(poses.joints_m[:, 0], np.zeros((12000, 3))) and np.allclose(poses.joints_m[:, 9], [0.0, PALM_M, 0.0], atol=1e-7)
    assert np.abs(hand_frame(poses.joints_m.astype(float)).axes - np.eye(3)).max() < 1e-4
    assert (poses.joints_m[:, 1, 0] < 0).all() and (poses.joints_m[:, 5, 0] < 0).all() and (poses.joints_m[:, 17, 0] > 0).all()


def test_bones_are_constant_for_a_subject_and_differ_between_them(poses):
    joints = poses.joints_m.astype(float)
    lengths = np.stack([np.linalg.norm(joints[:, b] - joints[:, a], axis=-1) for a, b in BONES], 1)
    each = [lengths[poses.subject == subject] for subject in range(NUM_SUBJECTS)]
    assert max(np.ptp(own, axis=0).max() for own in each) < 4e-6
    assert min(np.abs(a[0] - b[0]).max() for a, b in combinations(each, 2)) > 0.5e-3


def test_angles_and_joints_agree_and_stay_within_each_subject_s_range(poses, subjects):
    for index, subject in enumerate(subjects):
        rows = poses.subject == index
        angles = poses.angles_rad[rows].astype(float)
        assert np.allclose(forward_kinematics(angles, subject.bones), poses.joints_m[rows], atol=2e-6)
        assert np.allclose(within_limits(angles, subject.limits_rad), angles, atol=1e-6)
        for digit in range(1, 5):
            recovered = bend_rad(poses.joints_m[rows], digit)
            highest = np.maximum(np.abs(subject.limits_rad[0]), subject.limits_rad[1])
            assert (recovered < highest[[PIP_FLEXION[digit - 1], DIP_FLEXION[digit - 1]]] + 3e-3).all()


def test_dip_follows_pip_and_neighbours_follow_each_other(poses):
    angles = poses.angles_rad
    for pip, dip in zip(PIP_FLEXION, DIP_FLEXION, strict=True):
        assert np.corrcoef(angles[:, pip], angles[:, dip])[0, 1] > 0.8
        assert 0.45 < np.polyfit(angles[:, pip], angles[:, dip], 1)[0] < 0.75
    follow = [np.corrcoef(angles[:, a], angles[:, b])[0, 1] for a, b in pairwise(MCP_FLEXION)]
    assert follow[2] > follow[1] > follow[0] > 0.3


def test_rows_of_a_movement_are_a_few_millimetres_apart(poses):
    step = 1e3 * np.linalg.norm(np.diff(poses.joints_m, axis=0), axis=-1).mean(-1)
    inside = np.diff(poses.movement) == 0
    assert set(np.diff(poses.movement)) == {0, 1} and poses.movement[0] == 0
    assert (np.diff(poses.subject)[inside] == 0).all() and np.array_equal(np.unique(poses.subject), np.arange(NUM_SUBJECTS))
    assert 2.0 < np.percentile(step[inside], 2) and np.percentile(step[inside], 98) < 4.5 and step[inside].max() < 6.0


def test_no_row_hits_itself_and_none_is_there_twice(poses):
    assert 0.0 < poses.dropped_share < 0.2
    some = poses.joints_m[::30].astype(float)
    for first, second in combinations(FINGER_BONES, 2):
        if (first[0] - 1) // 4 != (second[0] - 1) // 4:
            assert segment_distance(some[:, first], some[:, second]).min() > MINIMUM_GAP_M - 3e-6
    assert len(np.unique(np.round(poses.joints_m * 1e4).astype(int).reshape(-1, 63), axis=0)) == len(poses.joints_m)


def test_segment_distance_is_the_least_of_all_points():
    rng = np.random.default_rng(5)
    first, second = rng.normal(size=(2, 50, 2, 3))
    second[:5] = first[:5] + rng.normal(size=(5, 1, 3))  # parallel
    t = np.linspace(0.0, 1.0, 200)[:, None]
    points = [(1 - t) * ends[:, :1] + t * ends[:, 1:] for ends in (first, second)]
    brute = np.linalg.norm(points[0][:, :, None] - points[1][:, None], axis=-1).min((1, 2))
    exact = segment_distance(first, second)
    assert (exact <= brute + 1e-9).all() and (brute - exact < 0.02).all()


def test_hands_that_hit_themselves_are_found():
    through_index = shape_rad(SHAPES["flat"])
    through_index[ANGLE["index_mcp_abduction"]] = -0.35
    crossed, into_palm, flat = forward_kinematics(through_index, nominal_bones()), shape_joints("fist"), shape_joints("flat")
    into_palm[JOINT["middle_tip"]] = [0.0, 0.05, 0.004]
    assert clear_of_itself(np.stack([crossed, into_palm, flat])).tolist() == [False, False, True]


def test_the_bank_walks_through_many_dimensions(poses):
    flat = poses.joints_m.reshape(len(poses.joints_m), -1).astype(float)
    variance = np.linalg.svd(flat - flat.mean(0), compute_uv=False) ** 2
    assert 6 <= np.count_nonzero(np.cumsum(variance) < 0.95 * variance.sum()) + 1 <= 15


def test_same_seed_same_bits():
    first, again, other = (synthesise_poses(500, seed=seed, num_subjects=4) for seed in (7, 7, 8))
    for name in ("joints_m", "angles_rad", "subject", "movement"):
        assert getattr(first, name).tobytes() == getattr(again, name).tobytes()
    assert first.joints_m.tobytes() != other.joints_m.tobytes()


def test_rows_are_shared_out_and_too_few_are_refused():
    few = synthesise_poses(10, seed=0, num_subjects=4)
    assert np.bincount(few.subject).tolist() == [3, 3, 2, 2]
    with pytest.raises(ValueError, match="3 rows cannot hold 4 subjects"):
        synthesise_poses(3, seed=0, num_subjects=4)
