"""From where clips are seen: directions by their statistics, turning by slerp, and one's own arm by its anatomy."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from scipy.stats import chi2

from seqgen.scene.view.own_arm import (
    ELBOW_DEG,
    EXTENDED,
    FOREARM,
    LIMITS_RAD,
    REACH_M,
    STATURE_M,
    UPPER_ARM,
    OwnArm,
    _elbow,
    draw_joint_angles,
    draw_own_arm,
    hand_rotation,
    turn_joints,
)
from seqgen.scene.view.view import FOREARM_CONE_RAD, FOREARM_ITSELF_RAD, TILT_DEG, CameraConfig, draw_view, eased, hidden_by_forearm

ANYWHERE, OWN = CameraConfig(egocentric=0.0), CameraConfig(egocentric=1.0)


def views(config, num, *, frames=1):
    return [draw_view(config, frames=frames, fps=30.0, rng=np.random.default_rng(seed)) for seed in range(num)]


@pytest.mark.parametrize("frames", [1, 2, 10])
def test_views_are_rigid_motions(frames):
    for view in views(CameraConfig(), 30, frames=frames):
        for rotation in (view.camera_from_hand, view.camera_from_world[:, :3, :3]):
            assert rotation.shape == (frames, 3, 3)
            np.testing.assert_allclose(rotation @ np.swapaxes(rotation, 1, 2), np.tile(np.eye(3), (frames, 1, 1)), atol=1e-12)
            np.testing.assert_allclose(np.linalg.det(rotation), 1)
        np.testing.assert_array_equal(view.camera_from_world[:, 3], np.tile([0, 0, 0, 1.0], (frames, 1)))
        np.testing.assert_allclose(view.camera_from_world[0, :3, 3], 0, atol=1e-15)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_share_of_egocentric_clips_is_as_asked(share):
    seen = [view.viewpoint for view in views(CameraConfig(egocentric=share), 200)]
    assert seen.count("egocentric") / 200 == pytest.approx(share, abs=0.12)  # 3.4 standard deviations


# --- third person ---


def cells(first, second, num=8):
    """Chi-square of two numbers that should be uniform over 0..1 and independent, over num x num cells, and its 99.9 % quantile."""
    counts = np.histogram2d(first, second, bins=num, range=[[0, 1], [0, 1]])[0]
    expected = len(first) / num**2
    return ((counts - expected) ** 2 / expected).sum(), chi2.ppf(0.999, num**2 - 1)


def test_directions_and_rolls_are_uniform_outside_the_forearms_cone():
    """On a sphere the cosine from an axis and the angle around it are uniform (Archimedes); a cone around the axis only bounds the cosine."""
    starts = np.stack([view.camera_from_hand[0] for view in views(ANYWHERE, 3000)])
    to_camera = -starts[:, 2]  # in the hand's frame
    cosine, around = -to_camera[:, 1], np.arctan2(to_camera[:, 0], to_camera[:, 2])
    height = (cosine + 1) / (np.cos(FOREARM_CONE_RAD) + 1)
    roll = np.arctan2(starts[:, 0, 1], starts[:, 1, 1])  # of the fingers in the picture
    for first, second in ((height, around / (2 * np.pi) + 0.5), (height, roll / (2 * np.pi) + 0.5)):
        found, most = cells(first, second)
        assert found < most


@pytest.mark.parametrize(("frames", "turn_deg_s"), [(10, 50.0), (10, 720.0), (120, 50.0)])
def test_no_frame_looks_along_the_forearm(frames, turn_deg_s):
    for view in views(CameraConfig(turn_deg_s=turn_deg_s), 200, frames=frames):
        assert not hidden_by_forearm(view.camera_from_hand)
        forearm = -view.camera_from_hand[:, :, 1]
        assert np.arccos(np.clip(forearm @ [0, 0, -1], -1, 1)).min() >= FOREARM_CONE_RAD - 1e-9


@pytest.mark.parametrize("config", [ANYWHERE, OWN], ids=["anywhere", "own"])
def test_hands_turn_by_slerp(config):
    """About one axis, by an angle that goes with the eased way."""
    for view in views(config, 30, frames=9):
        turned = Rotation.from_matrix(view.camera_from_hand[1:] @ view.camera_from_hand[0].T).as_rotvec()
        angle = np.linalg.norm(turned, axis=1)
        np.testing.assert_allclose(turned / angle[:, None], np.tile(turned[-1] / angle[-1], (8, 1)), atol=1e-6)
        np.testing.assert_allclose(angle / angle[-1], eased(9)[1:], atol=1e-6)


@pytest.mark.parametrize("frames", [10, 301])
def test_hands_turn_as_fast_as_asked(frames):
    """The root mean square of the angle turned, frame by frame, is the speed times the clip's length; of 300 it is known to 3 %."""
    config = CameraConfig(egocentric=0.0, turn_deg_s=60.0)
    turned = []
    for view in views(config, 300, frames=frames):
        way = view.camera_from_hand
        turned.append(Rotation.from_matrix(np.swapaxes(way[:-1], 1, 2) @ way[1:]).magnitude().sum())
    assert np.degrees(np.sqrt(np.mean(np.square(turned)))) == pytest.approx(60.0 * (frames - 1) / 30, rel=0.1)


# --- one's own arm ---

HANGING = OwnArm(shoulder=np.array([0.2, 0.2, 0.0]), elbow=np.array([0.2, 0.5, 0.0]), wrist=np.array([0.2, 0.5, 0.25]))  # forearm forwards


@pytest.mark.parametrize(
    ("angles_deg", "fingers", "back"),
    [
        ((0, 0, 0), (0, 0, 1), (1, 0, 0)),  # thumb up: the back of a right hand is to the right
        ((0, 90, 0), (0, 0, 1), (0, -1, 0)),  # pronated: palm down
        ((0, -90, 0), (0, 0, 1), (0, 1, 0)),  # supinated: palm up
        ((90, 0, 0), (1, 0, 0), (0, 0, -1)),  # extended: to the side of its back
        ((0, 0, 90), (0, 1, 0), (1, 0, 0)),  # ulnar deviation: away from the thumb, which is up
        ((90, 90, 0), (0, -1, 0), (0, 0, -1)),  # stop! palm forwards
    ],
)
def test_joint_angles_turn_the_hand_as_anatomy_says(angles_deg, fingers, back):
    rotation = hand_rotation(HANGING, np.radians(np.array(angles_deg, float)))
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)
    np.testing.assert_allclose(rotation[:, 1], fingers, atol=1e-12)
    np.testing.assert_allclose(rotation[:, 2], back, atol=1e-12)


def test_arms_have_human_lengths_and_reach():
    for seed in range(300):
        rng = np.random.default_rng(seed)
        arm = draw_own_arm(np.eye(3), rng)
        upper, fore = np.linalg.norm(arm.elbow - arm.shoulder), np.linalg.norm(arm.wrist - arm.elbow)
        assert upper / fore == pytest.approx(UPPER_ARM / FOREARM)
        assert STATURE_M[0] <= upper / UPPER_ARM <= STATURE_M[1]
        assert np.linalg.norm(arm.wrist - arm.shoulder) <= EXTENDED * (upper + fore)
        assert REACH_M[0] <= np.linalg.norm(arm.wrist) <= REACH_M[1]


def test_an_elbow_that_is_not_lifted_hangs():
    """The lower the elbow the smaller its lift: none is lower than at lift 0."""
    shoulder, wrist = np.array([0.18, 0.2, -0.08]), np.array([0.05, 0.25, 0.35])
    lifts = np.linspace(-np.pi, np.pi, 721)
    low = [_elbow(shoulder, wrist, 0.32, 0.25, lift)[1] for lift in lifts]
    assert lifts[np.argmax(low)] == pytest.approx(0.0, abs=1e-9)
    assert _elbow(shoulder, wrist, 0.32, 0.25, np.pi / 2)[0] > _elbow(shoulder, wrist, 0.32, 0.25, 0.0)[0] and ELBOW_DEG[0] > 0  # outwards is to the right


def test_joints_stay_within_their_limits():
    for seed in range(300):
        rng = np.random.default_rng(seed)
        start = draw_joint_angles(rng)
        change = rng.normal(0, 1.0, 3)
        end = turn_joints(start, change)
        for angles in (start, end):
            assert (angles >= LIMITS_RAD[:, 0]).all() and (angles <= LIMITS_RAD[:, 1]).all()
        small = turn_joints(np.zeros(3), 0.1 * change / np.abs(change).max())
        np.testing.assert_allclose(small, 0.1 * change / np.abs(change).max())


def test_ones_own_forearm_comes_from_below_or_from_the_right():
    """Never from above: its elbow is lower in the picture than the wrist, or more to the right."""
    config, towards_elbow = CameraConfig(egocentric=1.0, turn_deg_s=0.0), []
    for seed in range(500):
        rng = np.random.default_rng(seed)
        look = Rotation.from_rotvec([np.radians(rng.normal(*TILT_DEG["egocentric"])), 0, 0]).as_matrix()
        arm = draw_own_arm(look, rng)
        wrist, forearm = look @ arm.wrist, look @ (arm.elbow - arm.wrist)
        towards_elbow.append(forearm[:2] * wrist[2] - wrist[:2] * forearm[2])  # the way of the image of a point that leaves the wrist for the elbow
    hands = -np.stack([view.camera_from_hand[0, :2, 1] for view in views(config, 500)])
    for ways in (np.array(towards_elbow), hands):
        below, right = ways[:, 1] > 0, ways[:, 0] > 0
        assert (below | right).mean() > 0.99 and below.mean() > 0.95
        above = ways[:, 1] < -0.5 * np.linalg.norm(ways, axis=1)
        assert above.mean() < 0.005


def test_ones_own_hand_is_seen_from_all_sides():
    """Palm, back, thumb's side: each is turned to the eyes in a good share of clips."""
    to_eyes = np.stack([-view.camera_from_hand[0, 2] for view in views(OWN, 500)])
    assert (to_eyes[:, 2] > 0.5).mean() > 0.15 and (to_eyes[:, 2] < -0.5).mean() > 0.15 and (to_eyes[:, 0] < -0.5).mean() > 0.15


def test_ones_own_hand_turns_no_faster_than_asked_and_not_much_slower():
    turned = [Rotation.from_matrix(view.camera_from_hand[0].T @ view.camera_from_hand[-1]).magnitude() for view in views(OWN, 400, frames=10)]
    assert 0.8 < np.degrees(np.sqrt(np.mean(np.square(turned)))) / (50.0 * 9 / 30) < 1.05


def test_eyes_look_down_as_far_as_the_world_says():
    """Gravity in the camera's frame: the tilt that the arm was drawn with is the one that is stored."""
    for viewpoint, config in (("egocentric", OWN), ("third_person", ANYWHERE)):
        tilt = [np.degrees(np.arcsin(view.camera_from_world[0, 2, 1])) for view in views(config, 400)]
        mean, spread = TILT_DEG[viewpoint]
        assert np.mean(tilt) == pytest.approx(mean, abs=4 * spread / 20) and np.std(tilt) == pytest.approx(spread, rel=0.15)
    fingers = [view.camera_from_world[0, :3, :3].T @ view.camera_from_hand[0, :, 1] for view in views(OWN, 200)]
    ahead = [view.camera_from_world[0, 2, :3] * [1, 0, 1] for view in views(OWN, 200)]
    assert np.mean([finger @ way > 0 for finger, way in zip(fingers, ahead, strict=True)]) > 0.75  # and it reaches to where the head is heading


def test_the_forearm_is_that_of_ones_own_arm():
    """It stays where it is while the hand turns, wrist bends no farther than wrists do (a little more on the way between two ends), and it never points at the eyes."""
    straight = np.array([0.0, -1.0, 0.0])
    for view in views(OWN, 200, frames=5):
        forearm = np.einsum("tij,tj->ti", view.camera_from_hand, view.forearm_in_hand)
        np.testing.assert_allclose(forearm, np.repeat(forearm[:1], 5, 0), atol=1e-9)
        np.testing.assert_allclose(np.linalg.norm(forearm, axis=1), 1)
        assert np.arccos(np.clip(view.forearm_in_hand @ straight, -1, 1)).max() < np.linalg.norm(LIMITS_RAD[[0, 2], 1]) + np.radians(3)
        assert -forearm[0, 2] <= np.cos(FOREARM_ITSELF_RAD)
    assert all(view.forearm_in_hand is None for view in views(ANYWHERE, 5))
