"""What a hand cannot do: limits that are passed, and capsules against closed forms, brute force and the surface they stand for."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

from seqgen.hand import load_hand, plausibility
from seqgen.hand.digits import DIGIT_JOINTS, FREE, digit_matrices, rotations_from_angles
from seqgen.hand.plausibility import (
    MAX_LIMIT_EXCESS_RAD,
    MAX_PENETRATION_M,
    PAIRS,
    Plausibility,
    hand_capsules,
)

HAND = load_hand("open")
CAPSULES = hand_capsules(HAND)
RIG = CAPSULES.rig
MEAN_SHAPE = np.zeros(10)
REST = np.zeros((1, 15, 3))


def posed(angles, betas=MEAN_SHAPE):
    """Ends (frames, 19, 2, 3) and radii (19) of one clip."""
    ends, radii = plausibility.posed_capsules(CAPSULES, digit_matrices(rotations_from_angles(RIG, angles)[None]), betas[None])
    return ends[..., 0, :].transpose(3, 2, 1, 0), radii[:, 0, 0]


def measure_plausibility(capsules, rotations, betas):
    """Of one clip."""
    return plausibility.measure_plausibility(capsules, rotations[None], betas[None])[0]


def depths_m(ends, radii):
    """Depths (frames, pairs) of capsules (frames, 19, 2, 3)."""
    return plausibility.depths_m(ends.transpose(3, 2, 1, 0), radii[:, None]).T


def segment_distances(first, second):
    """Of segments (rows, 2, 3)."""
    return plausibility.segment_distances(first.transpose(2, 1, 0), second.transpose(2, 1, 0))


def angles_at_rest(num=1):
    return np.repeat(RIG.rest_rad[None], num, 0)


def test_distances_of_segments_in_closed_form():
    cross = ([[-1, 0, 0], [1, 0, 0]], [[0, -1, 2], [0, 1, 2]], 2.0)  # one over the other
    parallel = ([[0, 0, 0], [3, 0, 0]], [[1, 4, 0], [9, 4, 0]], 4.0)
    in_line = ([[0, 0, 0], [1, 0, 0]], [[3, 0, 0], [4, 0, 0]], 2.0)
    ends = ([[0, 0, 0], [1, 0, 0]], [[4, 4, 0], [4, 9, 0]], 5.0)  # end to end, 3-4-5
    corner = ([[0, 0, 0], [2, 0, 0]], [[1, 0, 0.5], [1, 0, 3]], 0.5)  # an end over a middle
    first, second, expected = (np.array(values, float) for values in zip(cross, parallel, in_line, ends, corner, strict=True))
    np.testing.assert_allclose(segment_distances(first, second), expected, atol=1e-12)
    np.testing.assert_allclose(segment_distances(second, first), expected, atol=1e-12)


def test_distances_of_segments_are_the_least_over_all_their_points():
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((2, 20, 2, 3))
    for number, found in enumerate(segment_distances(first, second)):

        def apart(shares, a=first[number], b=second[number]):
            return ((a[0] + shares[0] * (a[1] - a[0]) - b[0] - shares[1] * (b[1] - b[0])) ** 2).sum()

        best = min(minimize(apart, start, bounds=[(0, 1)] * 2).fun for start in ([0.1, 0.9], [0.9, 0.1], [0.5, 0.5]))
        assert found == pytest.approx(np.sqrt(best), abs=1e-4)


def test_depths_are_radii_less_distance_where_capsules_meet_and_else_none():
    rng = np.random.default_rng(1)
    ends, radii = rng.uniform(-0.03, 0.03, (6, 19, 2, 3)), rng.uniform(0.004, 0.012, 19)
    first, second = PAIRS.T
    expected = [np.maximum(0, radii[first] + radii[second] - segment_distances(frame[first], frame[second])) for frame in ends]
    np.testing.assert_allclose(depths_m(ends, radii), expected, atol=1e-15)


def test_pairs_are_those_that_can_meet():
    assert len({tuple(sorted(pair)) for pair in PAIRS.tolist()}) == len(PAIRS)
    digits = PAIRS[(PAIRS < 15).all(1)]
    assert (digits[:, 0] // 3 != digits[:, 1] // 3).all() and len(digits) == 90
    assert set(PAIRS[PAIRS[:, 1] >= 15, 0].tolist()) == {1, 2, 5, 8, 11, 14}


@pytest.mark.parametrize("seed", [None, 0, 1, 2])
def test_capsules_fill_the_surface(seed):
    """Of the digits' vertices beside their bones half are inside the capsule by definition, and most are near its skin."""
    betas = MEAN_SHAPE if seed is None else np.random.default_rng(seed).standard_normal(10)
    vertices = HAND.template_m + HAND.shape_directions @ betas
    ends, radii = CAPSULES.of_shape(betas)
    for number, joint in enumerate(DIGIT_JOINTS.ravel()):
        own = vertices[HAND.skinning_weights.argmax(1) == joint]
        along = ends[number, 1] - ends[number, 0]
        share = (own - ends[number, 0]) @ along / (along @ along)
        beside = (share > 0) & (share < 1)
        away = np.linalg.norm(own[beside] - ends[number, 0] - np.outer(share[beside], along), axis=-1)
        assert 0.3 < (away < radii[number]).mean() < 0.7, number
        if number > 0:  # the thumb's metacarpal is in the flesh of the palm
            assert np.quantile(np.abs(away - radii[number]), 0.75) < 0.5 * radii[number], number
    assert (0.003 < radii).all() and (radii < 0.02).all()


def test_a_larger_hand_has_larger_capsules():
    assert (CAPSULES.of_shape(2 * np.eye(10)[0])[1] > CAPSULES.radii_m).all()


def test_capsules_turn_with_their_bones():
    """A straight index finger bent by 90 degrees at its first joint: its capsules keep their lengths and their places to one another, others stay."""
    angles = angles_at_rest(2)
    angles[1, 1, 0] += np.pi / 2
    ends, _ = posed(angles)
    np.testing.assert_allclose(ends[0], CAPSULES.ends_m, atol=1e-12)
    others = [number for number in range(19) if not 3 <= number < 6]
    np.testing.assert_allclose(ends[1, others], ends[0, others], atol=1e-12)
    finger = ends[:, 3:6].reshape(2, 6, 3)
    apart = np.linalg.norm(finger[:, :, None] - finger[:, None], axis=-1)
    np.testing.assert_allclose(apart[1], apart[0], atol=1e-12)
    assert np.linalg.norm(finger[1] - finger[0], axis=-1).min() > 0.005


def test_a_hand_at_rest_is_plausible_in_any_shape():
    for seed in range(20):
        measured = measure_plausibility(CAPSULES, REST, np.random.default_rng(seed).standard_normal(10))
        assert measured.penetration_m < 0.002 and measured.limit_excess_rad < 1e-9 and measured.is_plausible()


def test_limits_are_passed_by_as_much_as_they_are():
    angles = angles_at_rest(3)
    angles[1, 2, 3] = RIG.active.highest_rad[2, 3] + 0.2
    angles[2, 4, 0] = RIG.active.lowest_rad[4, 0] - 0.1
    assert measure_plausibility(CAPSULES, rotations_from_angles(RIG, angles), MEAN_SHAPE).limit_excess_rad == pytest.approx(0.2)
    assert measure_plausibility(CAPSULES, rotations_from_angles(RIG, angles[[0, 2]]), MEAN_SHAPE).limit_excess_rad == pytest.approx(0.1)


def test_a_thumb_through_a_finger_is_seen_and_deeper_is_worse():
    """The index is laid through the thumb by moving its capsules: depth is what the closed form of two crossing segments says."""
    ends, radii = (values.copy() for values in CAPSULES.of_shape(MEAN_SHAPE))
    thumb, index = 2, 5
    along = ends[thumb, 1] - ends[thumb, 0]
    across = np.cross(along, [0.3, 0.5, 0.8])
    across *= 0.01 / np.linalg.norm(across)
    up = np.cross(along, across)
    up /= np.linalg.norm(up)
    pair = np.flatnonzero((PAIRS == [thumb, index]).all(1))[0]
    for gap in (0.0, 0.004, 0.010, 0.020):
        ends[index] = ends[thumb].mean(0) + gap * up + np.stack([-across, across])
        assert depths_m(ends[None], radii)[0, pair] == pytest.approx(max(0, radii[thumb] + radii[index] - gap))


def test_a_fist_with_the_thumb_inside_is_no_hand():
    angles = angles_at_rest(2)
    angles[1, :, [0, 3, 5]] = np.where(np.arange(5) == 0, np.radians([[50], [50], [60]]), np.radians([[80], [95], [60]]))
    fine, through = (measure_plausibility(CAPSULES, rotations_from_angles(RIG, angles[number : number + 1]), MEAN_SHAPE) for number in (0, 1))
    assert fine.is_plausible() and not through.is_plausible()
    assert through.penetration_m > MAX_PENETRATION_M and through.limit_excess_rad < MAX_LIMIT_EXCESS_RAD


def test_the_worst_frame_counts_and_a_clip_is_measured_alone():
    rng = np.random.default_rng(2)
    rotations = rotations_from_angles(RIG, np.where(FREE, rng.uniform(*RIG.passive, size=(12, 5, 6)), 0))
    betas = rng.standard_normal(10)
    each = [measure_plausibility(CAPSULES, rotations[t : t + 1], betas) for t in range(12)]
    whole = measure_plausibility(CAPSULES, rotations, betas)
    assert whole == Plausibility(max(one.limit_excess_rad for one in each), max(one.penetration_m for one in each))


def test_thresholds():
    assert Plausibility(MAX_LIMIT_EXCESS_RAD, MAX_PENETRATION_M).is_plausible()
    assert not Plausibility(MAX_LIMIT_EXCESS_RAD + 1e-6, 0.0).is_plausible()
    assert not Plausibility(0.0, MAX_PENETRATION_M + 1e-6).is_plausible()


def test_where_a_hand_stands_does_not_matter_to_depths():
    ends, radii = posed(np.where(FREE, np.random.default_rng(3).uniform(*RIG.active, size=(4, 5, 6)), 0))
    turned = ends @ Rotation.from_rotvec([0.4, 1, -0.2]).as_matrix().T + 0.3
    np.testing.assert_allclose(depths_m(turned, radii), depths_m(ends, radii), atol=1e-12)
