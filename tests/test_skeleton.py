"""The 21 joints: orders written out by hand, parts from a table, and the laws of the hand frame."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from seqgen.skeleton import BONES, CANONICAL_FROM_MANO, JOINT_NAMES, JOINT_SETS, MANO_PARENTS, MCPS, PALM_M, PARENTS, TIPS, JointSet, hand_frame, joint_parts

FINGER = ("mcp", "pip", "dip", "tip")
THUMB = ("cmc", "mcp", "ip", "tip")


def chain(finger, *, reverse=False):
    names = [f"{finger}_{joint}" for joint in (THUMB if finger == "thumb" else FINGER)]
    return names[::-1] if reverse else names


def chains(*fingers, reverse=False):
    return [name for finger in fingers for name in chain(finger, reverse=reverse)]


FOUR = ("index", "middle", "ring", "pinky")
ORDERS = {
    "canonical": ["wrist", *chains("thumb", *FOUR)],
    "hands17": ["wrist", "thumb_cmc", "index_mcp", "middle_mcp", "ring_mcp", "pinky_mcp", *(name for finger in ("thumb", *FOUR) for name in chain(finger)[1:])],
    "mano": ["wrist", *(name for finger in ("index", "middle", "pinky", "ring", "thumb") for name in chain(finger)[:3]), *(f"{f}_tip" for f in ("thumb", *FOUR))],
    "msra": ["wrist", *chains(*FOUR, "thumb")],
    "rhd": ["wrist", *chains("thumb", *FOUR, reverse=True)],
}
ORDERS["bighand"] = ORDERS["hands17"]


def some_hands(num=7, seed=0):
    return np.random.default_rng(seed).normal(0, 0.05, (num, 21, 3))


def right_hand(middle=0.095):
    """A flat right hand seen from its back, fingers up: the thumb is at the left (-x), the back towards the eye (+z)."""
    joints = np.zeros((1, 21, 3))
    for finger, x in enumerate((-0.04, -0.02, 0.0, 0.02, 0.04)):
        y = 0.03 if finger == 0 else middle if finger == 2 else 0.085
        joints[0, 1 + 4 * finger : 5 + 4 * finger] = np.stack([np.full(4, x), y + 0.02 * np.arange(4), np.zeros(4)], 1)
    return joints


def test_names_parents_and_bones_agree():
    assert list(JOINT_NAMES) == ORDERS["canonical"]
    for parent, joint in BONES:
        assert PARENTS[joint] == parent
        assert parent == 0 or JOINT_NAMES[parent].split("_")[0] == JOINT_NAMES[joint].split("_")[0]
    assert len(BONES) == 20
    assert [JOINT_NAMES[joint] for joint in MCPS] == [f"{finger}_mcp" for finger in FOUR]
    assert all(JOINT_NAMES[joint].endswith("tip") for joint in TIPS)


def test_canonical_from_mano_is_the_published_list():
    assert list(CANONICAL_FROM_MANO) == [0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20]


def test_manos_tree_is_ours():
    """A joint's parent is the same joint by either numbering; MANO's has no tips."""
    for joint, parent in enumerate(PARENTS):
        mano = CANONICAL_FROM_MANO[joint]
        if 0 < mano < 16:
            assert MANO_PARENTS[mano] == CANONICAL_FROM_MANO[parent]


@pytest.mark.parametrize("name", ORDERS)
def test_joint_orders_are_those_written_by_hand(name):
    numbered = np.repeat(np.arange(21.0)[:, None], 3, 1)
    in_set = JOINT_SETS[name].from_canonical(numbered)[:, 0].astype(int)
    assert [JOINT_NAMES[joint] for joint in in_set] == ORDERS[name]


@pytest.mark.parametrize("name", [name for name, joint_set in JOINT_SETS.items() if joint_set.exact])
@pytest.mark.parametrize("shape", [(), (4,), (2, 3)])
def test_exact_joint_sets_round_trip(name, shape):
    joints, joint_set = np.random.default_rng(0).standard_normal((*shape, 21, 3)), JOINT_SETS[name]
    np.testing.assert_array_equal(joint_set.to_canonical(joint_set.from_canonical(joints)), joints)
    np.testing.assert_array_equal(joint_set.from_canonical(joint_set.to_canonical(joints)), joints)
    np.testing.assert_array_equal(np.sort(joint_set.places()), range(21))


def test_stb_has_a_palm_instead_of_a_wrist_and_fingers_from_pinky_to_thumb():
    joints, stb = some_hands(1)[0], JOINT_SETS["stb"]
    named = dict(zip(["palm", *chains("pinky", "ring", "middle", "index", "thumb")], stb.from_canonical(joints), strict=True))
    for joint, name in enumerate(JOINT_NAMES[1:], 1):
        np.testing.assert_array_equal(named[name], joints[joint])
    along = joints[9] - joints[0]
    assert 0 < (named["palm"] - joints[0]) @ along / (along @ along) < 1
    np.testing.assert_allclose(np.cross(named["palm"] - joints[0], along), 0, atol=1e-15)


@pytest.mark.parametrize("joint_set", [JOINT_SETS["stb"], JointSet("tips", np.eye(21)[list(TIPS)], exact=True)], ids=lambda joint_set: joint_set.name)
def test_sets_that_lack_joints_are_not_canonical(joint_set):
    with pytest.raises(ValueError, match=joint_set.name):
        joint_set.to_canonical(joint_set.from_canonical(some_hands()))


def test_joint_parts_are_those_written_by_hand():
    """Part labels are 1 + MANO's number: palm 1, index 2-4, middle 5-7, pinky 8-10, ring 11-13, thumb 14-16; the arm is 20."""
    table = {"wrist": {20, 1}}
    for finger, first in {"thumb": 14, "index": 2, "middle": 5, "ring": 11, "pinky": 8}.items():
        connected = ({1, first}, {first, first + 1}, {first + 1, first + 2}, {first + 2})
        table |= dict(zip(chain(finger), connected, strict=True))
    assert dict(zip(JOINT_NAMES, map(set, joint_parts()), strict=True)) == table


def test_hand_frame_of_a_flat_right_hand_is_the_world():
    frame = hand_frame(right_hand())
    np.testing.assert_allclose(frame.axes[0], np.eye(3), atol=1e-15)
    np.testing.assert_allclose(frame.palm, PALM_M)
    thumb = frame.normalise(right_hand())[0, 4]
    assert thumb[0] < 0


def test_a_mirrored_hand_turns_its_back():
    """For a left hand, taken for a right one, z comes out of the palm: why left hands are mirrored first."""
    np.testing.assert_allclose(hand_frame(right_hand() * [-1, 1, 1]).axes[0], np.diag([-1, 1, -1]), atol=1e-15)


def test_hand_frames_are_right_handed_and_go_along_with_motion_and_size():
    rng = np.random.default_rng(1)
    joints, turns = some_hands(), Rotation.random(7, rng=rng).as_matrix()
    sizes, shifts = rng.uniform(0.1, 1000, 7), rng.normal(0, 500, (7, 3))
    frame = hand_frame(joints)
    moved_joints = sizes[:, None, None] * np.einsum("nij,nkj->nki", turns, joints) + shifts[:, None]
    moved = hand_frame(moved_joints)
    np.testing.assert_allclose(np.swapaxes(frame.axes, 1, 2) @ frame.axes, np.tile(np.eye(3), (7, 1, 1)), atol=1e-13)
    np.testing.assert_allclose(np.linalg.det(frame.axes), 1)
    np.testing.assert_allclose(moved.axes, turns @ frame.axes, atol=1e-9)
    np.testing.assert_allclose(moved.palm, sizes * frame.palm)
    np.testing.assert_allclose(moved.wrist, moved_joints[:, 0])
    np.testing.assert_allclose(moved.normalise(moved_joints), frame.normalise(joints), atol=1e-9)


def test_normalised_hands_have_their_middle_mcp_on_y_and_the_palm_in_xy():
    joints = hand_frame(some_hands()).normalise(some_hands())
    np.testing.assert_allclose(joints[:, 0], 0, atol=1e-16)
    np.testing.assert_allclose(joints[:, 9], np.tile([0, PALM_M, 0], (7, 1)), atol=1e-15)
    across = np.cross(joints[:, 17], joints[:, 5])
    assert (across[:, 2] > 0).all()
    np.testing.assert_allclose(across[:, 0], 0, atol=1e-16)


def test_restore_undoes_normalise():
    joints = some_hands() * 1e3 + [10, -20, 600]
    frame = hand_frame(joints)
    np.testing.assert_allclose(frame.restore(frame.normalise(joints)), joints, atol=1e-10)


def test_hands_without_a_palm_have_no_axes_and_raise_no_warning():
    assert np.isnan(hand_frame(np.zeros((2, 21, 3))).axes).all()
