"""Joint sets to be taught: weights that make points, orders written by hand, and the skeletons of the published graphs."""

import numpy as np
import pytest

from seqgen.joint_targets import TARGETS
from seqgen.skeleton import BONES, JOINT_NAMES

# Edges as JGR-P2O publishes them (Fang et al., ECCV 2020).
NYU_EDGES = {(0, 1), (2, 3), (4, 5), (6, 7), (8, 9), (9, 10), (13, 1), (13, 3), (13, 5), (13, 7), (13, 10), (13, 11), (13, 12)}
ICVL_EDGES = {(0, 1), (1, 2), (2, 3), (0, 4), (4, 5), (5, 6), (0, 7), (7, 8), (8, 9), (0, 10), (10, 11), (11, 12), (0, 13), (13, 14), (14, 15)}
MSRA_EDGES = {pair for start in (1, 5, 9, 13, 17) for pair in ((0, start), (start, start + 1), (start + 1, start + 2), (start + 2, start + 3))}


def flat_hand() -> np.ndarray:
    """A right hand seen from its back, fingers up along -y as the camera sees it, thumb at the left; metres."""
    joints = np.zeros((21, 3))
    for finger, (x, base, bone) in enumerate(((-0.035, -0.03, 0.03), (-0.03, -0.09, 0.03), (-0.01, -0.095, 0.03), (0.01, -0.09, 0.03), (0.03, -0.08, 0.025))):
        joints[1 + 4 * finger : 5 + 4 * finger] = np.stack([np.full(4, x), base - bone * np.arange(4), np.zeros(4)], 1)
    return joints


@pytest.mark.parametrize("name", TARGETS)
def test_every_point_is_a_weighted_mean(name: str) -> None:
    """Weights sum to 1, so that points move with the hand."""
    matrix = TARGETS[name].joint_set.matrix
    np.testing.assert_allclose(matrix.sum(1), 1.0, atol=1e-12)
    assert matrix.shape == (TARGETS[name].num_joints, 21)


@pytest.mark.parametrize(("name", "num", "root"), [("canonical", 21, "wrist"), ("msra", 21, "wrist"), ("nyu", 14, "palm"), ("icvl", 16, "palm")])
def test_numbers_and_roots(name: str, num: int, root: str) -> None:
    targets = TARGETS[name]
    assert targets.num_joints == num == len(set(targets.names)) and targets.names[targets.root] == root


@pytest.mark.parametrize(("name", "edges"), [("nyu", NYU_EDGES), ("icvl", ICVL_EDGES), ("msra", MSRA_EDGES), ("canonical", set(BONES))])
def test_bones_are_those_of_the_published_graphs(name: str, edges: set[tuple[int, int]]) -> None:
    assert {frozenset(bone) for bone in TARGETS[name].bones} == {frozenset(edge) for edge in edges}


@pytest.mark.parametrize("name", TARGETS)
def test_names_tell_where_points_are(name: str) -> None:
    """A finger's points lie nearest to that finger, and rise along it."""
    targets, hand = TARGETS[name], flat_hand()
    points = targets.joint_set.from_canonical(hand)
    for finger in ("thumb", "index", "middle", "ring", "pinky"):
        own = [place for place, joint in enumerate(targets.names) if joint.split("_")[0] == finger]
        for place in own:
            nearest = JOINT_NAMES[int(np.argmin(np.linalg.norm(hand - points[place], axis=1)))]
            assert nearest.startswith(finger), (targets.names[place], nearest)
        tip = targets.names.index(f"{finger}_tip")
        assert all(points[tip, 1] <= points[place, 1] for place in own)


def test_nyus_wrist_has_its_thumb_side_at_the_thumb() -> None:
    points = dict(zip(TARGETS["nyu"].names, TARGETS["nyu"].joint_set.from_canonical(flat_hand()), strict=True))
    assert points["wrist_thumb_side"][0] < points["wrist_pinky_side"][0]
    assert points["wrist_thumb_side"][1] > points["palm"][1] > points["middle_middle"][1]


def test_icvls_palm_lies_between_wrist_and_knuckles() -> None:
    hand = flat_hand()
    palm = TARGETS["icvl"].joint_set.from_canonical(hand)[0]
    np.testing.assert_allclose(palm, 0.3 * hand[0] + 0.7 * hand[[5, 9, 13, 17]].mean(0))
