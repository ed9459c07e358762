"""Numbers to hands: order, units and start of the numbers, against the hand's layer, against closed forms, and against the paper preset's labels."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from runs import small_config
from scipy.spatial.transform import Rotation

from seqgen.camera import Camera
from seqgen.estimators.seqhand.parametric_hand import (
    ComponentHandLayer,
    ParametricHand,
    axis_angle_from_matrix,
    mean_rotation,
    rotation_from_6d,
    spread_vertices,
)
from seqgen.geometry import matrix_from_axis_angle
from seqgen.hand import load_hand
from seqgen.hand.fit import encoder_of
from seqgen.hand.layer import HandLayer, rotation_matrices
from seqgen.hand.plausibility import hand_capsules
from seqgen.pipeline.assets import gather_assets
from seqgen.pipeline.motion import Mover, draw_motions, fit_motions, pose_hand
from seqgen.pipeline.process import one_thread
from seqgen.skeleton import PALM_M

OPEN = load_hand("open")


def bending(model):
    """The same hand with made-up pose directions of some millimetres, as MANO has them."""
    directions = np.random.default_rng(1).normal(0, 0.001, model.pose_directions.shape)
    return dataclasses.replace(model, pose_directions=directions.astype(np.float32))


def skewed(model):
    """The same hand with components that are neither of unit length nor at right angles."""
    mixing = np.eye(45) + 0.3 * np.random.default_rng(2).normal(0, 1, (45, 45)) / math.sqrt(45)
    return dataclasses.replace(model, pose_components=(mixing @ (2 * model.pose_components)).astype(np.float32))


def elsewhere(model):
    """The same hand with its wrist away from the origin, as MANO's is."""
    return dataclasses.replace(model, template_m=model.template_m + np.array([0.09, -0.02, 0.01], np.float32))


LAYER = ComponentHandLayer(OPEN)


@pytest.fixture(autouse=True)
def alone():
    """One thread: these are many small sums."""
    with one_thread():
        yield


def drawn(num, hand, seed=0, spread=0.5):
    """Numbers of `num` hands."""
    return spread * torch.randn(num, hand.num_numbers, generator=torch.Generator().manual_seed(seed))


def half_turns():
    """Rotations by exactly pi, and by hardly less or more, about many axes."""
    axes = np.concatenate([np.eye(3), np.random.default_rng(0).normal(0, 1, (20, 3))])
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    return np.concatenate([axes * angle for angle in (math.pi, math.pi - 1e-9, math.pi - 1e-4, math.pi + 1e-4)])


@pytest.mark.parametrize(("rotation", "components", "count"), [("axis_angle", 10, 26), ("6d", 10, 29), ("axis_angle", 45, 61), ("6d", 1, 20)])
def test_as_many_numbers_as_said(rotation, components, count):
    hand = ParametricHand(LAYER, components, rotation)
    assert hand.num_numbers == count
    output = hand(drawn(3, hand))
    assert output.theta.shape == (3, components) and output.betas.shape == (3, 10)
    with pytest.raises(ValueError, match=f"{count + 1} numbers a hand, expected {count}"):
        hand(torch.zeros(3, count + 1))


@pytest.mark.parametrize("components", [0, 46])
def test_components_that_no_hand_has_are_refused(components):
    with pytest.raises(ValueError, match="1 to 45"):
        ParametricHand(LAYER, components)


def test_a_layer_without_pose_components_is_refused():
    layer = HandLayer(OPEN)
    with pytest.raises(ValueError, match="pose components"):
        ParametricHand(layer)


@pytest.mark.parametrize("rotation", ["axis_angle", "6d"])
def test_zeros_are_the_mean_hand_at_the_start(rotation):
    hand = ParametricHand(LAYER, 10, rotation)
    turn = rotation_matrices(torch.tensor([0.3, -1.0, 0.2]))
    hand.set_start(431.0, (50.0, 70.5), turn)
    output = hand(torch.zeros(2, hand.num_numbers))
    pose = torch.cat([torch.zeros(1, 3), torch.tensor(OPEN.pose_mean).view(15, 3)])[None]
    rest = LAYER.joints(pose, torch.zeros(1, 10))[0]
    torch.testing.assert_close(output.joints_m[1], (rest - rest[0]) @ turn.T, atol=1e-6, rtol=0)
    torch.testing.assert_close(output.weak_perspective[1], torch.tensor([431.0, 50.0, 70.5]))
    torch.testing.assert_close(output.rotation[0], turn)


def test_what_each_number_does():
    hand = ParametricHand(LAYER)
    hand.set_start(500.0, (100.0, 120.0), rotation_matrices(torch.tensor([0.7, 1.1, -0.4])))
    numbers = torch.zeros(6, 26)
    numbers[1, 0] = math.log(2)
    numbers[2, 1], numbers[3, 2] = 0.5, 0.5
    numbers[4, 3:6] = torch.tensor([0, 0, math.pi / 2])
    numbers[5, 6], numbers[5, 16] = 0.7, -1.5
    output = hand(numbers)
    start_px, wrist_px = output.joints_px[0], torch.tensor([100.0, 120.0])
    torch.testing.assert_close(output.joints_px[1] - wrist_px, 2 * (start_px - wrist_px))  # twice the scale
    torch.testing.assert_close(output.joints_px[2] - start_px, torch.tensor([500 * PALM_M / 2, 0]).expand(21, 2), atol=1e-4, rtol=0)
    torch.testing.assert_close(output.joints_px[3] - start_px, torch.tensor([0, 500 * PALM_M / 2]).expand(21, 2), atol=1e-4, rtol=0)
    x, y, z = output.joints_m[0].unbind(-1)
    torch.testing.assert_close(output.joints_m[4], torch.stack([-y, x, z], -1), atol=1e-6, rtol=0)  # a quarter turn about the line of sight, after the start's
    torch.testing.assert_close(output.theta[5], torch.tensor([0.7] + [0.0] * 9))
    torch.testing.assert_close(output.betas[5], torch.tensor([-1.5] + [0.0] * 9))
    fingers = 0.7 * OPEN.pose_components[0] + OPEN.pose_mean
    torch.testing.assert_close(output.finger_pose[5].flatten(), torch.tensor(fingers))


@pytest.mark.parametrize("rotation", ["axis_angle", "6d"])
@pytest.mark.parametrize("model", [OPEN, bending(OPEN), skewed(OPEN), elsewhere(OPEN)], ids=["open", "pose directions", "skewed components", "wrist elsewhere"])
def test_the_layer_gives_the_same_hand_from_the_pose(model, rotation):
    """Joints and vertices equal those of the layer that is told the whole pose, its global orientation included, less the wrist; pixels are scale and shift."""
    layer = ComponentHandLayer(model)
    hand = ParametricHand(layer, 12, rotation)
    hand.set_start(600.0, (30.0, 40.0), rotation_matrices(torch.tensor([1.0, 2.0, -0.5])))
    output = hand(drawn(5, hand))
    mesh = layer(output.pose, output.betas, torch.zeros(5, 3))
    torch.testing.assert_close(output.joints_m, mesh.joints_m - mesh.joints_m[:, :1], atol=2e-6, rtol=0)
    torch.testing.assert_close(output.vertices_m(), mesh.vertices_m - mesh.joints_m[:, :1], atol=2e-6, rtol=0)
    for row in range(5):
        expected = output.scale_px_per_m[row] * output.joints_m[row, :, :2] + output.translation_px[row]
        torch.testing.assert_close(output.joints_px[row], expected)
    torch.testing.assert_close(output.joints_px[:, 0], output.translation_px)


def test_labels_of_the_paper_preset_are_representable():
    """The generator's ten components before a weak-perspective camera: numbers worked out from such labels give the labelled joints and pixels."""
    config = small_config(poses={"rows": 1000}, hand={"betas": "uniform", "pose_components": 10, "refine": False})
    with one_thread():
        assets = gather_assets(config)
        encoder = encoder_of({name: torch.tensor(array) for name, array in assets.encoder.items()})
        mover = Mover(assets, LAYER, encoder, hand_capsules(assets.hand), {})
        clip = fit_motions(draw_motions([0], mover, config), mover, config)[0]
        fingers, betas = clip.rotations, clip.betas
        labels = pose_hand(fingers, betas, matrix_from_axis_angle(np.random.default_rng(1).normal(0, 1.5, (len(fingers), 3))), LAYER)
    weak = np.array([[650.0, 90.0, 120.0]] * len(fingers))
    intrinsics = np.array([[[s, 0, x], [0, s, y], [0, 0, 1]] for s, x, y in weak])
    joints_m = labels.joints_m - labels.joints_m[:, :1]
    joints_px = Camera("weak_perspective", intrinsics, (224, 224)).project(joints_m.astype(float))

    hand, pose = ParametricHand(LAYER), torch.tensor(labels.pose)
    hand.set_start(500.0, (100.0, 100.0))
    place = torch.tensor([math.log(650 / 500), -10 / (500 * PALM_M), 20 / (500 * PALM_M)]).expand(len(pose), 3)
    output = hand(torch.cat([place, pose[:, 0], hand.theta_of_pose(pose), torch.tensor(betas).expand(len(pose), 10)], 1))
    np.testing.assert_allclose(output.joints_m, joints_m, atol=2e-6)
    np.testing.assert_allclose(output.joints_px, joints_px, atol=2e-3)
    np.testing.assert_allclose(output.vertices_m(), labels.vertices_m - labels.joints_m[:, :1], atol=2e-6)


@pytest.mark.parametrize("model", [OPEN, skewed(OPEN)], ids=["open", "skewed components"])
def test_theta_of_a_pose_is_least_squares(model):
    hand = ParametricHand(ComponentHandLayer(model))
    theta = torch.randn(4, 10, generator=torch.Generator().manual_seed(3))
    made = torch.cat([torch.zeros(4, 1, 3), (theta @ hand.components + hand.pose_mean).unflatten(1, (15, 3))], 1)
    torch.testing.assert_close(hand.theta_of_pose(made), theta, atol=1e-5, rtol=0)
    other = torch.randn(4, 16, 3, generator=torch.Generator().manual_seed(4))
    expected = np.linalg.lstsq(model.pose_components[:10].T.astype(float), (other[:, 1:].reshape(4, 45).numpy() - model.pose_mean).T.astype(float), rcond=None)[0].T
    np.testing.assert_allclose(hand.theta_of_pose(other), expected, atol=1e-5)


def test_sparse_points_are_vertices_spread_over_the_surface():
    hand = ParametricHand(ComponentHandLayer(bending(OPEN)), num_points=60)
    output = hand(drawn(2, hand))
    kept = spread_vertices(LAYER.surface.template, LAYER.tip_vertices, 60)
    points, all_px = output.points_px(), output.project(output.vertices_m())
    assert points.shape == (2, 65, 2) and len(set(kept)) == 65 and kept[:5] == list(OPEN.tip_vertices)
    torch.testing.assert_close(points, all_px[:, kept], atol=1e-3, rtol=0)
    template = OPEN.template_m.astype(float)
    for count in range(5, 65):  # the slow twin: each is the farthest from those before
        nearest = np.linalg.norm(template[:, None] - template[kept[:count]], axis=-1).min(1)
        assert nearest[kept[count]] > nearest.max() - 1e-7
    assert ParametricHand(LAYER, num_points=10_000)(drawn(1, hand)).points_px().shape == (1, len(template), 2)


def test_its_state_is_the_start_alone():
    layer = ComponentHandLayer(OPEN)
    before = set(layer.state_dict())
    hand, other = ParametricHand(layer), ParametricHand(layer)
    hand.set_start(321.0, (1.0, 2.0), rotation_matrices(torch.ones(3)))
    assert set(hand.state_dict()) == {"start_scale_px_per_m", "start_translation_px", "start_rotation"}
    assert set(layer.state_dict()) == before and not list(hand.parameters())
    other.load_state_dict(hand.state_dict())
    numbers = drawn(2, hand)
    assert torch.equal(hand(numbers).joints_px, other(numbers).joints_px)


@pytest.mark.parametrize(("scale", "translation"), [(0.0, (1.0, 1.0)), (-5.0, (1.0, 1.0)), (math.nan, (1.0, 1.0)), (math.inf, (1.0, 1.0)), (1.0, (math.nan, 1.0))])
def test_a_start_that_is_none_is_refused(scale, translation):
    with pytest.raises(ValueError, match="must be positive, all finite"):
        ParametricHand(LAYER).set_start(scale, translation)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_hands_are_computed_in_single_precision(dtype):
    """Half-precision numbers give the hand of the same numbers in single precision, under autocast too, and so do the surface's points."""
    hand = ParametricHand(LAYER)
    numbers = drawn(3, hand).to(dtype)
    expected = hand(numbers.float())
    with torch.autocast("cpu", dtype=dtype):
        output = hand(numbers)
        points, theta = output.points_px(), hand.theta_of_pose(output.pose)
    assert torch.equal(output.joints_px, expected.joints_px) and torch.equal(points, expected.points_px())
    torch.testing.assert_close(theta, output.theta, atol=1e-5, rtol=0)


def test_axis_angle_from_matrix_equals_scipys():
    small = np.array([0, 1e-9, 1e-4, 1.1e-3])[:, None] * np.ones(3)
    vectors = np.concatenate([np.random.default_rng(0).normal(0, 1.2, (200, 3)), half_turns(), small])
    matrices = Rotation.from_rotvec(vectors).as_matrix()
    ours = axis_angle_from_matrix(torch.tensor(matrices)).numpy()
    assert np.abs(matrix_from_axis_angle(ours) - matrices).max() < 1e-12
    assert np.linalg.norm(ours, axis=1).max() < math.pi + 1e-12
    theirs = Rotation.from_matrix(matrices).as_rotvec()
    short = np.linalg.norm(theirs, axis=1) < math.pi - 1e-6  # at half a turn both signs are right
    np.testing.assert_allclose(ours[short], theirs[short], rtol=1e-8, atol=1e-12)
    single = axis_angle_from_matrix(torch.tensor(matrices, dtype=torch.float32)).double().numpy()
    assert np.abs(matrix_from_axis_angle(single) - matrices).max() < 2e-6


def test_axis_angle_from_matrix_has_gradients():
    """Finite at no turn and near half a turn; equal to finite differences through the exponential, where only rotations are seen."""
    for vector in ([0.0, 0.0, 0.0], [1e-8, 0, 0], [0.5, -0.2, 0.9], [3.1, 0.0, 0.0], [0.0, 2.2, 2.2]):
        vector = torch.tensor(vector, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda v: axis_angle_from_matrix(rotation_matrices(v)), (vector,))


def test_six_numbers_are_two_columns():
    generator = torch.Generator().manual_seed(0)
    numbers = torch.randn(50, 6, generator=generator, dtype=torch.float64)
    rotations = rotation_from_6d(numbers)
    identity = torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(rotations @ rotations.mT, identity.expand(50, 3, 3))
    torch.testing.assert_close(torch.linalg.det(rotations), torch.ones(50, dtype=torch.float64))
    torch.testing.assert_close(rotation_from_6d(torch.zeros(6, dtype=torch.float64)), identity)
    columns = torch.cat([rotations[..., 0], rotations[..., 1]], -1)
    start = torch.cat([identity[0], identity[1]])
    torch.testing.assert_close(rotation_from_6d(columns - start), rotations)  # columns of a rotation give it back
    torch.testing.assert_close(rotation_from_6d(torch.cat([3 * columns[:, :3], columns[:, 3:] - 2 * columns[:, :3]], -1) - start), rotations)


def test_the_mean_of_rotations():
    centre = rotation_matrices(torch.tensor([0.4, -2.0, 1.0]))
    around = rotation_matrices(0.3 * torch.tensor([[1.0, 0, 0], [-1, 0, 0], [0, 1, 1], [0, -1, -1]]))
    torch.testing.assert_close(mean_rotation(around @ centre), centre, atol=1e-6, rtol=0)
    half = torch.diag_embed(torch.tensor([[1.0, -1, -1], [-1.0, 1, -1], [-1.0, -1, 1]]))  # the mean of seven, diag(-1, -3, -3) / 7, is a reflection
    torch.testing.assert_close(mean_rotation(half[[0, 0, 0, 1, 1, 2, 2]]), half[0])


@pytest.mark.parametrize("rotation", ["axis_angle", "6d"])
def test_gradients_are_finite_differences(rotation):
    hand = ParametricHand(ComponentHandLayer(bending(OPEN)), 4, rotation, num_points=7).double()
    numbers = drawn(2, hand).double().requires_grad_()

    def decode(x):
        output = hand(x)
        return output.joints_m, output.joints_px, output.points_px(), output.pose, output.weak_perspective

    assert torch.autograd.gradcheck(decode, (numbers,))


@pytest.mark.parametrize("angle", [0.0, math.pi])
def test_gradients_are_finite_at_no_turn_and_at_half_a_turn(angle):
    hand = ParametricHand(LAYER)
    numbers = torch.zeros(3, 26)
    numbers[:, 3:6] = angle * torch.eye(3)
    numbers.requires_grad_()
    output = hand(numbers)
    (output.joints_px.sum() + output.pose.square().sum() + output.vertices_m().square().sum()).backward()
    assert numbers.grad.isfinite().all() and numbers.grad[:, 3:6].abs().sum() > 0
